//! The exception classes, by what the caller does next, and the one place that maps the client's
//! errors to them.
//!
//! `getCode()` is [`OUTCOME_UNKNOWN`] when the request may have been carried out although no answer
//! came, else 0.

use ext_php_rs::builders::FunctionBuilder;
use ext_php_rs::error::Result;
use ext_php_rs::flags::DataType;
use ext_php_rs::types::Zval;
use ext_php_rs::zend::{ClassEntry, ce};
use kqueue_client::{Error, ErrorKind};

use crate::zend::array::{ArrayBuilder, Key};
use crate::zend::call::{Call, handler};
use crate::zend::class::{self, ClassSlot};
use crate::zend::error::{self, Thrown};
use crate::zend::signal;

/// `getCode()` of an exception after which it is not known whether the server did what was asked.
const OUTCOME_UNKNOWN: i32 = 1;

static BASE: ClassSlot = ClassSlot::new();
static CONNECTION: ClassSlot = ClassSlot::new();
static TIMEOUT: ClassSlot = ClassSlot::new();
static SERVER: ClassSlot = ClassSlot::new();
static FULL: ClassSlot = ClassSlot::new();
static AUTH: ClassSlot = ClassSlot::new();
static PUSH: ClassSlot = ClassSlot::new();
static LOST: ClassSlot = ClassSlot::new();
static PROTOCOL: ClassSlot = ClassSlot::new();

/// Registers the tree, parents first. At module startup only.
pub(crate) fn register() -> Result<()> {
    let base = || BASE.get();
    let plain = class::register_exception;
    plain("KQueueException", class::runtime_exception, "RuntimeException", vec![], &BASE)?;
    plain("KQueueConnectionException", base, "KQueueException", vec![], &CONNECTION)?;
    plain(
        "KQueueTimeoutException",
        || CONNECTION.get(),
        "KQueueConnectionException",
        vec![],
        &TIMEOUT,
    )?;
    plain("KQueueServerException", base, "KQueueException", vec![], &SERVER)?;
    plain("KQueueFullException", || SERVER.get(), "KQueueServerException", vec![], &FULL)?;
    plain("KQueueAuthException", || SERVER.get(), "KQueueServerException", vec![], &AUTH)?;
    plain("KQueuePushException", base, "KQueueException", push_methods(), &PUSH)?;
    class::declare_private_array(PUSH.get(), "stored")?;
    class::declare_private_array(PUSH.get(), "failed")?;
    plain("KQueueLostException", base, "KQueueException", vec![], &LOST)?;
    plain("KQueueProtocolException", base, "KQueueException", vec![], &PROTOCOL)
}

fn push_methods() -> Vec<FunctionBuilder<'static>> {
    vec![
        class::method("getStored", handler!(get_stored)).returns(DataType::Array, false, false),
        class::method("getFailed", handler!(get_failed)).returns(DataType::Array, false, false),
    ]
}

fn get_stored(call: &Call<'_>) -> std::result::Result<Zval, Thrown> {
    property(call, "stored")
}

fn get_failed(call: &Call<'_>) -> std::result::Result<Zval, Thrown> {
    property(call, "failed")
}

fn property(call: &Call<'_>, name: &str) -> std::result::Result<Zval, Thrown> {
    call.expect_arguments(0, 0)?;
    let object = call.object()?;
    Ok(class::read_property(PUSH.get(), object, name))
}

/// Throws what the client reports. PHP's signal handlers run first; if one throws, that stands.
pub(crate) fn throw(error: &Error) -> Thrown {
    if let Err(thrown) = signal::dispatch() {
        return thrown;
    }
    error::throw(class_of(error.kind()), code_of(error), error.message())
}

fn class_of(kind: ErrorKind) -> &'static ClassEntry {
    match kind {
        ErrorKind::Connection => CONNECTION.get(),
        ErrorKind::Timeout => TIMEOUT.get(),
        ErrorKind::Server => SERVER.get(),
        ErrorKind::Full => FULL.get(),
        ErrorKind::Auth => AUTH.get(),
        ErrorKind::Lost => LOST.get(),
        ErrorKind::Protocol => PROTOCOL.get(),
        ErrorKind::InvalidArgument => ce::value_error(),
    }
}

fn code_of(error: &Error) -> i32 {
    if error.outcome_unknown() { OUTCOME_UNKNOWN } else { 0 }
}

/// Throws `KQueuePushException`: `stored` maps the caller's keys to ids, `failed` lists keys.
pub(crate) fn throw_push(cause: &Error, stored: Vec<(Key, String)>, failed: Vec<Key>) -> Thrown {
    if let Err(thrown) = signal::dispatch() {
        return thrown;
    }
    let message = format!(
        "{} of {} items were not stored: {cause}",
        failed.len(),
        failed.len() + stored.len()
    );
    let mut ids = ArrayBuilder::new();
    for (key, id) in stored {
        ids.set(&key, crate::zend::array::string(id.as_bytes()));
    }
    let mut keys = ArrayBuilder::new();
    for key in failed {
        keys.push(key.into_value());
    }
    class::throw_with(
        PUSH.get(),
        code_of(cause).into(),
        &message,
        vec![("stored", ids.finish()), ("failed", keys.finish())],
    )
}

/// Throws `KQueueLostException`.
pub(crate) fn throw_lost(message: &str) -> Thrown {
    error::throw(LOST.get(), 0, message)
}

/// Throws a plain `\Exception`, as the engine does for an iterator that cannot go back.
pub(crate) fn throw_plain(message: &str) -> Thrown {
    error::throw(ce::exception(), 0, message)
}
