//! Requests and replies of every kind, as both halves know them.

use super::*;
use crate::{
    Body, CAPABILITY_WORDS, Cursor, DELAY_MS_MAX, DeadCause, Expiry, Found, FoundDead, GetOptions,
    ItemState, Kick, Priority, Purge, Request, Response, StatsWriter,
};
use proptest::option;
use proptest::prelude::*;
use std::vec;

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..40)
        .prop_filter("a name", |bytes| Name::check(bytes).is_ok())
}

/// Most random bytes are no name, so bad ones are replaced rather than thrown away.
fn any_name() -> impl Strategy<Value = Name> {
    let letters = "[a-zA-Z0-9_:$%+-]{1,40}".prop_map(|mut text| {
        if text.starts_with('+') {
            text.insert(0, 'q');
            text.truncate(250);
        }
        text.into_bytes()
    });
    prop_oneof![letters, name()].prop_map(|bytes| Name::parse(&Bytes::from(bytes)).unwrap())
}

fn body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn options() -> impl Strategy<Value = GetOptions> {
    (0..=i32::MAX as u32, any::<[bool; 4]>())
        .prop_map(|(wait_ms, [open, close, abort, peek])| GetOptions {
            wait_ms,
            open,
            close,
            abort,
            peek,
            close_all: false,
        })
        .prop_filter("options that go together", |options| options.check().is_ok())
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low])
}

fn state() -> impl Strategy<Value = ItemState> {
    prop::sample::select(vec![
        ItemState::Ready,
        ItemState::Delayed,
        ItemState::Open,
        ItemState::Dead,
    ])
}

fn cursor() -> impl Strategy<Value = Cursor> {
    any::<(u64, u64)>().prop_map(|(lane, id)| Cursor(lane, id))
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(DELAY_MS_MAX), 0..=DELAY_MS_MAX]
}

/// Any bytes that are one word, also such as look like options.
fn idempotency_key() -> impl Strategy<Value = Bytes> {
    let bytes = prop::collection::vec(any::<u8>(), 1..=128).prop_map(|mut bytes| {
        for byte in &mut bytes {
            if *byte == b' ' || byte.is_ascii_control() {
                *byte = b'=';
            }
        }
        bytes
    });
    prop_oneof![bytes, Just(b"key=".to_vec()), Just(b"ttl=1".to_vec())].prop_map(Bytes::from)
}

pub(super) fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![kestrels_request(), put_request(), settling_request(), other_request()]
}

fn kestrels_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any_name(), any::<u32>(), any::<i32>(), body()).prop_map(|(key, flags, expiry, body)| {
            Request::Set {
                key: key.into_bytes(),
                flags,
                expiry: Expiry::Kestrel(expiry),
                body: Body::Bytes(body),
                noreply: false,
            }
        }),
        (any_name(), options()).prop_map(|(key, options)| Request::Get {
            key: key.into_bytes(),
            options,
            with_cas: false
        }),
        any_name().prop_map(|key| Request::Delete { key: key.into_bytes(), noreply: false }),
        any_name().prop_map(|key| Request::Flush { key: key.into_bytes() }),
        Just(Request::FlushAll { noreply: false }),
        Just(Request::Stats),
        Just(Request::Version),
        Just(Request::Quit),
        Just(Request::Capabilities),
    ]
}

fn put_request() -> impl Strategy<Value = Request> {
    let numbers = (any::<u32>(), any::<u32>(), delay());
    (any_name(), numbers, priority(), option::of(idempotency_key()), body()).prop_map(
        |(key, (ttl_seconds, flags, delay_ms), priority, idempotency_key, body)| Request::Put {
            key,
            ttl_seconds,
            flags,
            delay_ms,
            priority,
            idempotency_key,
            body: Body::Bytes(body),
        },
    )
}

fn settling_request() -> impl Strategy<Value = Request> {
    let reason = prop::collection::vec(any::<u8>(), 0..=1024).prop_map(Bytes::from);
    prop_oneof![
        (any_name(), any::<u64>()).prop_map(|(key, id)| Request::Ack { key, id }),
        (any_name(), any::<u64>(), option::of(delay()))
            .prop_map(|(key, id, delay_ms)| Request::Release { key, id, delay_ms }),
        (any_name(), any::<u64>(), any::<u32>()).prop_map(|(key, id, lease_ms)| Request::Touch {
            key,
            id,
            lease_ms
        }),
        (any_name(), any::<u64>(), reason).prop_map(|(key, id, reason)| Request::Bury {
            key,
            id,
            reason
        }),
    ]
}

fn other_request() -> impl Strategy<Value = Request> {
    let kick = prop_oneof![
        Just(Kick::All),
        (1..=u32::MAX).prop_map(Kick::Some),
        any::<u64>().prop_map(Kick::Id)
    ];
    let purge = prop::sample::select(vec![Purge::Ready, Purge::Delayed, Purge::Dead, Purge::All]);
    let browse = (any_name(), state(), 1u32..=1000, option::of(cursor()), option::of(any::<u32>()));
    prop_oneof![
        (1u32..=1000, any::<u32>(), any::<u32>(), prop::collection::vec(any_name(), 1..=16))
            .prop_map(|(max, wait_ms, lease_ms, keys)| Request::Reserve {
                max,
                wait_ms,
                lease_ms,
                keys: keys.into(),
            }),
        browse.prop_map(|(key, state, max, after, body_bytes)| Request::Browse {
            key,
            state,
            max,
            after,
            body_bytes,
        }),
        (any_name(), kick).prop_map(|(key, which)| Request::Kick { key, which }),
        (any_name(), purge).prop_map(|(key, what)| Request::Purge { key, what }),
        any_name().prop_map(|key| Request::Pause { key }),
        any_name().prop_map(|key| Request::Resume { key }),
    ]
}

/// Says a request as a client does.
pub(super) fn encode(out: &mut Vec<u8>, request: &Request) {
    let body = match request {
        Request::Set { key: k, flags, expiry, body: Body::Bytes(body), .. } => {
            let Expiry::Kestrel(expiry) = *expiry else { unreachable!("made above") };
            set(out, key(k), *flags, expiry, body.len()).unwrap();
            body
        }
        Request::Put {
            key,
            ttl_seconds,
            flags,
            delay_ms,
            priority,
            idempotency_key,
            body: Body::Bytes(body),
        } => {
            let options = PutOptions {
                ttl_seconds: *ttl_seconds,
                flags: *flags,
                delay_ms: *delay_ms,
                priority: *priority,
                idempotency_key: idempotency_key.as_deref(),
            };
            put(out, key.by_ref(), body.len(), &options).unwrap();
            body
        }
        Request::Bury { key, id, reason } => {
            bury(out, key.by_ref(), *id, reason.len()).unwrap();
            reason
        }
        other => return encode_line(out, other),
    };
    out.extend_from_slice(body);
    out.extend_from_slice(BODY_END);
}

fn encode_line(out: &mut Vec<u8>, request: &Request) {
    match request {
        Request::Get { key: k, options, .. } => get(out, key(k), options).unwrap(),
        Request::Delete { key: k, .. } => delete(out, key(k)),
        Request::Flush { key: k } => flush(out, key(k)),
        Request::FlushAll { .. } => flush_all(out),
        Request::Stats => stats(out),
        Request::Version => version(out),
        Request::Quit => quit(out),
        Request::Capabilities => capabilities(out),
        Request::Reserve { max, wait_ms, lease_ms, keys } => {
            let keys: Vec<_> = keys.iter().map(Name::by_ref).collect();
            reserve(out, *max, *wait_ms, *lease_ms, &keys).unwrap();
        }
        Request::Ack { key, id } => ack(out, key.by_ref(), *id),
        Request::Release { key, id, delay_ms } => {
            release(out, key.by_ref(), *id, *delay_ms).unwrap();
        }
        Request::Touch { key, id, lease_ms } => touch(out, key.by_ref(), *id, *lease_ms),
        Request::Browse { key, state, max, after, body_bytes } => {
            let options = BrowseOptions { after: *after, body_bytes: *body_bytes };
            browse(out, key.by_ref(), *state, *max, &options).unwrap();
        }
        Request::Kick { key, which } => kick(out, key.by_ref(), *which).unwrap(),
        Request::Purge { key, what } => purge(out, key.by_ref(), *what),
        Request::Pause { key } => pause(out, key.by_ref()),
        Request::Resume { key } => resume(out, key.by_ref()),
        other => panic!("has no encoder: {other:?}"),
    }
}

fn dead() -> impl Strategy<Value = FoundDead> {
    let cause = prop::sample::select(vec![DeadCause::Attempts, DeadCause::Buried]);
    let reason = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..80),
        Just((0..=255).collect()),
    ];
    (cause, any::<(u64, u64)>(), reason).prop_map(|(cause, (first_ms, last_ms), reason)| {
        FoundDead { cause, first_ms, last_ms, reason: reason.into() }
    })
}

fn any_found() -> impl Strategy<Value = Found> {
    let numbers = any::<(u64, u32, u32, u64)>();
    let times = any::<(Option<u64>, Option<u64>, Option<u64>)>();
    let origin = option::of((any_name(), any::<u64>()));
    let of = (any_name(), state(), priority(), numbers, times);
    (of, option::of(dead()), origin, body(), any::<u64>()).prop_map(
        |((key, state, priority, numbers, times), dead, origin, body, hidden)| {
            let (id, flags, attempts, age_ms) = numbers;
            let (ttl_ms, due_ms, lease_ms) = times;
            Found {
                key: key.into_bytes(),
                id,
                state,
                size: (body.len() as u64).saturating_add(hidden),
                flags,
                attempts,
                age_ms,
                priority,
                ttl_ms,
                due_ms,
                lease_ms,
                dead,
                origin: origin.map(|(queue, id)| (queue.into_bytes(), id)),
                body,
            }
        },
    )
}

/// Replies that the server writes, with what the client must read.
pub(super) fn any_reply() -> impl Strategy<Value = (Response, Vec<Reply>)> {
    prop_oneof![
        3 => simple_reply(),
        1 => any_found().prop_map(|found| {
            let found = std::boxed::Box::new(found);
            (Response::Found(found.clone()), vec![Reply::Found(found)])
        }),
    ]
}

fn simple_reply() -> impl Strategy<Value = (Response, Vec<Reply>)> {
    let text = || "[ -~]{1,40}";
    prop_oneof![
        Just((Response::Stored, vec![Reply::Stored(None)])),
        any::<u64>().prop_map(|id| (Response::StoredId(id), vec![Reply::Stored(Some(id))])),
        Just((Response::NotStored, vec![Reply::NotStored(None)])),
        text().prop_map(|text| (
            Response::NotStoredBecause(text.clone().into()),
            vec![Reply::NotStored(Some(text))]
        )),
        (any_name(), any::<u32>(), body()).prop_map(|(key, flags, body)| {
            let key = key.into_bytes();
            let reply = Reply::Value { key: key.clone(), flags, body: body.clone() };
            (Response::ValueEnd { key, flags, body, cas: None }, vec![reply, Reply::End])
        }),
        (any_name(), any::<(u64, u32, u32, u64)>(), body()).prop_map(
            |(key, (id, flags, attempts, age_ms), body)| {
                let key = key.into_bytes();
                let response = Response::Item {
                    key: key.clone(),
                    id,
                    flags,
                    attempts,
                    age_ms,
                    body: body.clone(),
                };
                (response, vec![Reply::Item { key, id, flags, attempts, age_ms, body }])
            }
        ),
        Just((Response::End, vec![Reply::End])),
        Just((Response::Deleted, vec![Reply::Deleted])),
        Just((Response::Flushed, vec![Reply::Flushed])),
        (any_name(), any::<u64>()).prop_map(|(key, value)| {
            let mut stats = StatsWriter::new();
            stats.queue_stat(&key, "items", value);
            let name = [b"queue_", key.as_bytes(), b"_items"].concat().into();
            let value = Bytes::from(std::format!("{value}"));
            (stats.finish(), vec![Reply::Stat { name, value }])
        }),
        Just((Response::Version("0.1.0"), vec![Reply::Version(Bytes::from_static(b"0.1.0"))])),
        Just((
            Response::Capabilities("9"),
            vec![Reply::Capabilities(Capabilities::new(
                std::format!("kqueue/9 {CAPABILITY_WORDS}").into()
            ))]
        )),
        cursor().prop_map(|at| (Response::EndWithCursor(at), vec![Reply::EndWithCursor(at)])),
        Just((Response::Ok, vec![Reply::Ok])),
        any::<u64>().prop_map(|count| (Response::OkCount(count), vec![Reply::OkCount(count)])),
        Just((Response::NotHeld, vec![Reply::NotHeld])),
        Just((Response::NotFound, vec![Reply::NotFound])),
        text().prop_map(|text| (
            Response::ClientError(text.clone().into()),
            vec![Reply::ClientError(text)]
        )),
        text().prop_map(|text| (Response::Error(text.clone().into()), vec![Reply::Error(text)])),
        text().prop_map(|text| (
            Response::ServerError(text.clone().into()),
            vec![Reply::ServerError(text)]
        )),
    ]
}
