//! From a frame to a request.
//!
//! Arguments that are absent or have another type than the service's are treated alike, as generated code does: numbers are 0, anything else is missed.
//! Must not: look beyond its frame.

use std::borrow::Cow;

use bytes::Bytes;
use kqueue_broker::{Body, ClientError, Expiry, Request};
use thrift::TConfiguration;
use thrift::protocol::{
    TBinaryInputProtocol, TInputProtocol, TListIdentifier, TMessageType, TSetIdentifier, TType,
};
use thrift::{ProtocolErrorKind, TransportErrorKind};

use super::{Call, Limits, Method, What};

/// Items of one `put`, ids of one `confirm` or `abort`: they are dealt with in one go, while everybody else waits.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// No method of anybody has a longer name.
const METHOD_BYTES_MAX: usize = 250;

/// A frame that was understood.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) call: Call,
    pub(super) request: Request,
}

/// Why a frame was not understood, to be answered to what it may have called.
pub(super) type Broken = (Call, Cow<'static, str>);

/// What is wrong with a call.
enum Fault {
    /// It does not say what is needed, or too much. The frame's end is known.
    Refused(Cow<'static, str>),
    /// The frame cannot be read.
    Unreadable(Cow<'static, str>),
}

impl From<thrift::Error> for Fault {
    fn from(error: thrift::Error) -> Self {
        Self::Unreadable(reason(&error).into())
    }
}

type Reader<'f> = TBinaryInputProtocol<&'f [u8]>;

/// Reads the call that is a frame.
pub(super) fn frame(frame: &Bytes, limits: &Limits) -> Result<Decoded, Broken> {
    // Whatever says how long it is must fit into what has arrived.
    let config = TConfiguration::builder()
        .max_frame_size(None)
        .max_message_size(Some(frame.len()))
        .max_container_size(Some(frame.len()))
        .max_string_size(Some(frame.len()))
        .build()
        .unwrap_or_default();
    let mut reader = TBinaryInputProtocol::with_config(&frame[..], false, config);
    let broken = |name: String, sequence, reason| {
        (Call { sequence, what: What::Broken(name), is_oneway: false }, reason)
    };
    let message = reader
        .read_message_begin()
        .map_err(|error| broken(String::new(), 0, reason(&error).into()))?;
    let (name, sequence) = (message.name, message.sequence_number);
    let is_oneway = match message.message_type {
        TMessageType::Call => false,
        TMessageType::OneWay => true,
        TMessageType::Reply | TMessageType::Exception => {
            return Err(broken(String::new(), sequence, "the message is not a call".into()));
        }
    };
    if name.len() > METHOD_BYTES_MAX {
        return Err(broken(String::new(), sequence, "the name of the method is too long".into()));
    }
    let Some(method) = Method::named(&name) else {
        let error = ClientError::UnknownCommand(name.clone().into_bytes().into());
        let request = Request::Malformed { error, noreply: is_oneway };
        return Ok(Decoded {
            call: Call { sequence, what: What::Unknown(name), is_oneway },
            request,
        });
    };
    let request =
        match arguments(&mut reader, method, limits).and_then(|given| given.request(method)) {
            Ok(request) => request,
            Err(Fault::Refused(reason)) => {
                Request::Malformed { error: ClientError::BadMessage(reason), noreply: is_oneway }
            }
            Err(Fault::Unreadable(reason)) => return Err(broken(name, sequence, reason)),
        };
    Ok(Decoded { call: Call { sequence, what: What::Method(method), is_oneway }, request })
}

/// Arguments of any method, by what they are.
#[derive(Default)]
struct Arguments {
    queue: Option<Bytes>,
    items: Option<Vec<Body>>,
    ids: Option<Vec<i64>>,
    /// By their place, which begins with 1.
    numbers: [i32; 5],
}

fn arguments(reader: &mut Reader<'_>, method: Method, limits: &Limits) -> Result<Arguments, Fault> {
    let mut given = Arguments::default();
    reader.read_struct_begin()?;
    loop {
        let field = reader.read_field_begin()?;
        let place = usize::try_from(field.id.unwrap_or(0)).unwrap_or(0);
        match (field.field_type, place) {
            (TType::Stop, _) => break,
            (TType::String, 1) => given.queue = Some(reader.read_bytes()?.into()),
            (TType::List, 2) if method == Method::Put => {
                given.items = Some(read_items(reader, limits)?);
            }
            (TType::Set, 2) if matches!(method, Method::Confirm | Method::Abort) => {
                given.ids = Some(read_ids(reader)?);
            }
            (TType::I32, 1..=4) => given.numbers[place] = reader.read_i32()?,
            (other, _) => reader.skip(other)?,
        }
        reader.read_field_end()?;
    }
    reader.read_struct_end()?;
    reader.read_message_end()?;
    if !reader.transport.is_empty() {
        return Err(Fault::Unreadable("there is more in the frame than a call".into()));
    }
    Ok(given)
}

fn read_items(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Body>, Fault> {
    let TListIdentifier { element_type, size } = reader.read_list_begin()?;
    let count = check_entries(element_type, TType::String, size)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let body = reader.read_bytes()?;
        items.push(match body.len() <= limits.item_bytes {
            true => Body::Bytes(body.into()),
            false => Body::TooLarge { bytes: body.len() as u64 },
        });
    }
    reader.read_list_end()?;
    Ok(items)
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<i64>, Fault> {
    let TSetIdentifier { element_type, size } = reader.read_set_begin()?;
    let count = check_entries(element_type, TType::I64, size)?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(reader.read_i64()?);
    }
    reader.read_set_end()?;
    Ok(ids)
}

/// How many entries are to be read.
fn check_entries(found: TType, wanted: TType, size: i32) -> Result<usize, Fault> {
    let count = usize::try_from(size).unwrap_or(0);
    if count > ENTRIES_MAX {
        return Err(Fault::Refused(format!("{count} at a time: at most {ENTRIES_MAX}").into()));
    }
    if count > 0 && found != wanted {
        return Err(Fault::Refused("entries of another type".into()));
    }
    Ok(count)
}

impl Arguments {
    fn request(self, method: Method) -> Result<Request, Fault> {
        let missing = |what| Fault::Refused(Cow::Borrowed(what));
        let Self { queue, items, ids, numbers } = self;
        let key = queue.ok_or(missing("missing queue_name"));
        let ids = ids.ok_or(missing("missing ids"));
        Ok(match method {
            Method::Put => Request::PutAll {
                key: key?,
                expiry: Expiry::AfterMs(u64::try_from(numbers[3]).unwrap_or(0)),
                bodies: items.ok_or(missing("missing items"))?,
            },
            Method::Get => Request::Fetch {
                key: key?,
                max: u32::try_from(numbers[2]).unwrap_or(u32::MAX),
                wait_ms: u32::try_from(numbers[3]).unwrap_or(0),
                auto_abort_ms: u32::try_from(numbers[4]).unwrap_or(0),
            },
            Method::Confirm => Request::Settle { ids: ids?, abort: false },
            Method::Abort => Request::Settle { ids: ids?, abort: true },
            Method::Peek => Request::QueueInfo { key: key? },
            Method::FlushQueue => Request::Flush { key: key? },
            Method::FlushAllQueues => Request::FlushAll { noreply: false },
            Method::DeleteQueue => Request::Delete { key: key?, noreply: false },
            Method::CurrentStatus => Request::Status { set: None },
            Method::SetStatus => {
                let name = match numbers[1] {
                    1 => "quiescent",
                    2 => "readonly",
                    3 => "up",
                    _ => return Err(missing("no status that can be set")),
                };
                Request::Status { set: Some(Bytes::from_static(name.as_bytes())) }
            }
            Method::GetVersion => Request::Version,
        })
    }
}

/// Why a frame cannot be read, in few words whatever the peer sent.
fn reason(error: &thrift::Error) -> &'static str {
    match error {
        thrift::Error::Transport(error) if error.kind == TransportErrorKind::EndOfFile => {
            "the frame ends too early"
        }
        thrift::Error::Protocol(error) => match error.kind {
            ProtocolErrorKind::BadVersion => "not the binary protocol",
            ProtocolErrorKind::DepthLimit => "nested too deeply",
            ProtocolErrorKind::NegativeSize | ProtocolErrorKind::SizeLimit => {
                "something is said to be longer than the frame"
            }
            _ => "malformed",
        },
        _ => "malformed",
    }
}
