//! What one half writes, the other reads, however it is cut.

use super::*;
use crate::{
    Body, CAPABILITY_WORDS, Decoder, Expiry, GetOptions, Limits, Priority, Request, Response,
    StatsWriter,
};
use proptest::prelude::*;
use std::string::String;
use std::vec;

fn text_of(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"<".to_vec();
    encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn golden_bytes_of_every_request() {
    let q = key(b"q");
    let open = GetOptions { open: true, close: true, wait_ms: 250, ..GetOptions::default() };
    let forever = GetOptions { wait_ms: u32::MAX, ..GetOptions::default() };
    let all = PutOptions { ttl_seconds: 60, flags: 7 };
    for (written, expected) in [
        (text_of(|out| set(out, q, 1, 0, 5).unwrap()), "<set q 1 0 5\r\n"),
        (text_of(|out| set(out, q, 0, i32::MIN, 0).unwrap()), "<set q 0 -2147483648 0\r\n"),
        (text_of(|out| get(out, q, &GetOptions::default()).unwrap()), "<get q\r\n"),
        (text_of(|out| get(out, q, &open).unwrap()), "<get q/t=250/close/open\r\n"),
        (text_of(|out| get(out, q, &forever).unwrap()), "<get q/t=2147483647\r\n"),
        (text_of(|out| delete(out, q)), "<delete q\r\n"),
        (text_of(|out| flush(out, q)), "<flush q\r\n"),
        (text_of(flush_all), "<flush_all\r\n"),
        (text_of(stats), "<stats\r\n"),
        (text_of(version), "<version\r\n"),
        (text_of(quit), "<quit\r\n"),
        (text_of(capabilities), "<capabilities\r\n"),
        (text_of(|out| put(out, q, 5, &PutOptions::default()).unwrap()), "<put q 5\r\n"),
        (text_of(|out| put(out, q, 5, &all).unwrap()), "<put q 5 ttl=60 flags=7\r\n"),
        (text_of(|out| reserve(out, 2, 3, 4, &[q, key(b"r")]).unwrap()), "<reserve 2 3 4 q r\r\n"),
        (text_of(|out| ack(out, q, u64::MAX)), "<ack q 18446744073709551615\r\n"),
        (text_of(|out| release(out, q, 0)), "<release q 0\r\n"),
    ] {
        assert_eq!(written, expected);
    }
}

#[test]
fn what_cannot_be_sent_leaves_no_byte() {
    let q = key(b"q");
    let long = [b'n'; 250];
    let long = key(&long);
    let bad = GetOptions { peek: true, open: true, ..GetOptions::default() };
    let mut out = Vec::new();
    let too_large = Err(EncodeError::BodyTooLarge);
    assert_eq!(set(&mut out, q, 0, 0, i32::MAX as usize + 1), too_large);
    assert_eq!(put(&mut out, q, usize::MAX, &PutOptions::default()), too_large);
    assert_eq!(get(&mut out, q, &bad), Err(EncodeError::BadOptions));
    assert_eq!(reserve(&mut out, 0, 0, 0, &[q]), Err(EncodeError::NoItems));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[]), Err(EncodeError::QueueCount));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[q; 17]), Err(EncodeError::QueueCount));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[long; 16]), Err(EncodeError::LineTooLong));
    assert!(out.is_empty());
}

#[test]
fn the_longest_line_that_is_sent_is_taken() {
    let long = [b'n'; 250];
    let mut keys = vec![key(&long); 8];
    // "reserve 1 0 0" and 8 names are 2021 bytes; one more name of 26 with its space: 2048.
    let rest = [b'r'; 26];
    keys.push(key(&rest));
    let mut out = Vec::new();
    reserve(&mut out, 1, 0, 0, &keys).unwrap();
    assert_eq!(out.len(), 2048 + 2);
    let mut buf = BytesMut::from(&out[..]);
    let decoded = Decoder::new(Limits::default()).decode(&mut buf);
    assert!(matches!(decoded, Ok(Some(Request::Reserve { keys, .. })) if keys.len() == 9));
    let rest = [b'r'; 27];
    keys[8] = key(&rest);
    assert_eq!(reserve(&mut out, 1, 0, 0, &keys), Err(EncodeError::LineTooLong));
}

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

/// Requests as both halves know them.
fn any_request() -> impl Strategy<Value = Request> {
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
        (any_name(), any::<u32>(), any::<u32>(), body()).prop_map(
            |(key, ttl_seconds, flags, body)| Request::Put {
                key,
                ttl_seconds,
                flags,
                delay_ms: 0,
                priority: Priority::Normal,
                idempotency_key: None,
                body: Body::Bytes(body),
            }
        ),
        (1u32..=1000, any::<u32>(), any::<u32>(), prop::collection::vec(any_name(), 1..=16))
            .prop_map(|(max, wait_ms, lease_ms, keys)| Request::Reserve {
                max,
                wait_ms,
                lease_ms,
                keys: keys.into(),
            }),
        (any_name(), any::<u64>()).prop_map(|(key, id)| Request::Ack { key, id }),
        (any_name(), any::<u64>()).prop_map(|(key, id)| Request::Release {
            key,
            id,
            delay_ms: None
        }),
    ]
}

fn encode(out: &mut Vec<u8>, request: &Request) {
    let body = match request {
        Request::Set { key: k, flags, expiry, body: Body::Bytes(body), .. } => {
            let Expiry::Kestrel(expiry) = *expiry else { unreachable!("made above") };
            set(out, key(k), *flags, expiry, body.len()).unwrap();
            body
        }
        Request::Put { key, ttl_seconds, flags, body: Body::Bytes(body), .. } => {
            let options = PutOptions { ttl_seconds: *ttl_seconds, flags: *flags };
            put(out, key.by_ref(), body.len(), &options).unwrap();
            body
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
        Request::Release { key, id, .. } => release(out, key.by_ref(), *id),
        other => panic!("has no encoder: {other:?}"),
    }
}

/// Replies that the server writes, with what the client must read.
fn any_reply() -> impl Strategy<Value = (Response, Vec<Reply>)> {
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
        Just((Response::Ok, vec![Reply::Ok])),
        Just((Response::NotHeld, vec![Reply::NotHeld])),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_server_reads_what_the_client_writes(
        requests in prop::collection::vec(any_request(), 1..8),
        step in 1usize..300,
    ) {
        let mut wire = Vec::new();
        for request in &requests {
            encode(&mut wire, request);
        }
        let mut decoder = Decoder::new(Limits::default());
        let mut buf = BytesMut::new();
        let mut decoded = Vec::new();
        for piece in wire.chunks(step) {
            buf.extend_from_slice(piece);
            while let Some(request) = decoder.decode(&mut buf).unwrap() {
                decoded.push(request);
            }
        }
        prop_assert_eq!(decoded, requests);
        prop_assert!(!decoder.is_mid_request(&buf));
    }

    #[test]
    fn the_client_reads_what_the_server_writes(
        replies in prop::collection::vec(any_reply(), 1..8),
        step in 1usize..300,
    ) {
        let mut wire = BytesMut::new();
        let mut expected = Vec::new();
        for (response, replies) in replies {
            response.encode(&mut wire);
            expected.extend(replies.into_iter().map(Ok));
        }
        let limits = ReplyLimits { body_bytes: 200, ..ReplyLimits::default() };
        prop_assert_eq!(&feed(limits, [&wire[..]]), &expected);
        prop_assert_eq!(&feed(limits, wire.chunks(step)), &expected);
    }

    #[test]
    fn any_cut_of_damaged_replies_gives_the_same(
        replies in prop::collection::vec(any_reply(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        step in 1usize..50,
    ) {
        let mut wire = BytesMut::new();
        for (response, _) in &replies {
            response.encode(&mut wire);
        }
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let limits = ReplyLimits { line_bytes: 60, body_bytes: 150 };
        let whole = feed(limits, [&wire[..]]);
        prop_assert_eq!(&feed(limits, wire.chunks(step)), &whole);
        prop_assert_eq!(&feed(limits, wire.chunks(1)), &whole);
    }
}
