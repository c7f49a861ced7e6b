//! From a reply to a frame.
//!
//! Must not: decide what a reply is; it only says it in Thrift's words.

use bytes::{BufMut, BytesMut};
use kqueue_broker::{Fetched, QueueInfo, Response};
use thrift::protocol::{
    TBinaryOutputProtocol, TFieldIdentifier, TListIdentifier, TMessageIdentifier, TMessageType,
    TOutputProtocol, TStructIdentifier, TType,
};
use thrift::{ApplicationError, ApplicationErrorKind};

use super::{Call, LENGTH_BYTES, Method, What};

/// What an item takes besides its body, and a message besides its items, at most.
const ITEM_BYTES: usize = 32;
const MESSAGE_BYTES: usize = 256;

/// Appends the reply to a call, as a frame.
pub(super) fn reply(call: &Call, response: &Response, out: &mut BytesMut) {
    let at = out.len();
    out.reserve(MESSAGE_BYTES + body_bytes(response));
    out.put_bytes(0, LENGTH_BYTES);
    let written = message(call, response, out);
    debug_assert!(written.is_ok(), "memory takes everything: {written:?}");
    let length = (out.len() - at - LENGTH_BYTES) as u32;
    out[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

fn body_bytes(response: &Response) -> usize {
    match response {
        Response::Fetched(items) => items.iter().map(|item| item.body.len() + ITEM_BYTES).sum(),
        Response::QueueInfo(info) => info.head.as_ref().map_or(0, |head| head.len()),
        _ => 0,
    }
}

/// The value of a method, or why there is none.
enum Outcome<'r> {
    Void,
    Number(i32),
    Items(&'r [Fetched]),
    Info(&'r QueueInfo),
    Text(&'r str),
    Failed(ApplicationErrorKind, String),
}

fn message(call: &Call, response: &Response, out: &mut BytesMut) -> thrift::Result<()> {
    let name = match &call.what {
        What::Method(method) => method.name(),
        What::Unknown(name) | What::Broken(name) => name,
    };
    let outcome = outcome(&call.what, response);
    let kind = match outcome {
        Outcome::Failed(..) => TMessageType::Exception,
        _ => TMessageType::Reply,
    };
    let mut writer = TBinaryOutputProtocol::new(out.writer(), true);
    let writer: &mut dyn TOutputProtocol = &mut writer;
    writer.write_message_begin(&TMessageIdentifier::new(name, kind, call.sequence))?;
    if let Outcome::Failed(kind, message) = outcome {
        let error = ApplicationError::new(kind, message);
        thrift::Error::write_application_error_to_out_protocol(&error, writer)?;
    } else {
        writer.write_struct_begin(&structure())?;
        result(outcome, writer)?;
        writer.write_field_stop()?;
        writer.write_struct_end()?;
    }
    writer.write_message_end()
}

fn outcome<'r>(what: &What, response: &'r Response) -> Outcome<'r> {
    use ApplicationErrorKind as Kind;
    let method = match what {
        What::Method(method) => *method,
        What::Unknown(name) => {
            let name = name.escape_default();
            return Outcome::Failed(Kind::UnknownMethod, format!("Invalid method name: '{name}'"));
        }
        What::Broken(_) => {
            return Outcome::Failed(Kind::ProtocolError, reason(response).to_owned());
        }
    };
    match (method, response) {
        (Method::Put | Method::Confirm | Method::Abort, Response::Count(count)) => {
            Outcome::Number(clamped(*count))
        }
        (Method::Get, Response::Fetched(items)) => Outcome::Items(items),
        (Method::Peek, Response::QueueInfo(info)) => Outcome::Info(info),
        (Method::FlushQueue | Method::SetStatus, Response::End)
        | (Method::FlushAllQueues, Response::Flushed)
        | (Method::DeleteQueue, Response::Deleted) => Outcome::Void,
        (Method::CurrentStatus, Response::Status(status)) => Outcome::Number(status_number(status)),
        (Method::GetVersion, Response::Version(version)) => Outcome::Text(version),
        _ => {
            let (name, reason) = (method.name(), reason(response));
            let message = format!("Internal error processing {name}: '{reason}'");
            Outcome::Failed(Kind::InternalError, message)
        }
    }
}

fn reason(response: &Response) -> &str {
    match response {
        Response::ClientError(reason)
        | Response::Error(reason)
        | Response::ServerError(reason)
        | Response::NotStoredBecause(reason) => reason,
        other => {
            debug_assert!(false, "no answer to this call: {other:?}");
            "this answer has no words here"
        }
    }
}

/// `WRITEAVOID` has no number in Kestrel's interface.
fn status_number(status: &str) -> i32 {
    match status {
        "QUIESCENT" => 1,
        "READONLY" => 2,
        "UP" => 3,
        _ => 0,
    }
}

/// The field of a result that holds the value.
fn result(outcome: Outcome<'_>, writer: &mut dyn TOutputProtocol) -> thrift::Result<()> {
    match outcome {
        Outcome::Void | Outcome::Failed(..) => Ok(()),
        Outcome::Number(number) => write_i32(writer, 0, number),
        Outcome::Text(text) => write_bytes(writer, 0, text.as_bytes()),
        Outcome::Items(items) => {
            writer.write_field_begin(&field(TType::List, 0))?;
            let count = i32::try_from(items.len()).unwrap_or(i32::MAX);
            writer.write_list_begin(&TListIdentifier::new(TType::Struct, count))?;
            for item in items {
                writer.write_struct_begin(&structure())?;
                write_bytes(writer, 1, &item.body)?;
                write_i64(writer, 2, item.id)?;
                writer.write_field_stop()?;
                writer.write_struct_end()?;
            }
            writer.write_list_end()?;
            writer.write_field_end()
        }
        Outcome::Info(info) => {
            writer.write_field_begin(&field(TType::Struct, 0))?;
            write_info(writer, info)?;
            writer.write_field_end()
        }
    }
}

fn write_info(writer: &mut dyn TOutputProtocol, info: &QueueInfo) -> thrift::Result<()> {
    let QueueInfo { head, items, bytes, journal_bytes, age_ms, waiters, open_transactions } = info;
    writer.write_struct_begin(&structure())?;
    if let Some(head) = head {
        write_bytes(writer, 1, head)?;
    }
    for (id, number) in [(2, items), (3, bytes), (4, journal_bytes), (5, age_ms)] {
        write_i64(writer, id, i64::try_from(*number).unwrap_or(i64::MAX))?;
    }
    for (id, number) in [(6, waiters), (7, open_transactions)] {
        write_i32(writer, id, clamped(*number))?;
    }
    writer.write_field_stop()?;
    writer.write_struct_end()
}

fn clamped(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Neither names of fields nor of structures are on the wire.
fn field(kind: TType, id: i16) -> TFieldIdentifier {
    TFieldIdentifier::new::<Option<String>, String, i16>(None, kind, id)
}

fn structure() -> TStructIdentifier {
    TStructIdentifier::new(String::new())
}

fn write_bytes(writer: &mut dyn TOutputProtocol, id: i16, bytes: &[u8]) -> thrift::Result<()> {
    writer.write_field_begin(&field(TType::String, id))?;
    writer.write_bytes(bytes)?;
    writer.write_field_end()
}

fn write_i32(writer: &mut dyn TOutputProtocol, id: i16, number: i32) -> thrift::Result<()> {
    writer.write_field_begin(&field(TType::I32, id))?;
    writer.write_i32(number)?;
    writer.write_field_end()
}

fn write_i64(writer: &mut dyn TOutputProtocol, id: i16, number: i64) -> thrift::Result<()> {
    writer.write_field_begin(&field(TType::I64, id))?;
    writer.write_i64(number)?;
    writer.write_field_end()
}
