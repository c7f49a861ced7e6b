//! Class `KQueue\Message`: one reserved item.
//!
//! The object holds a ticket; the reservation itself is with the process ([`state`]), which returns
//! it at the end of the request whether or not this object's destructor runs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ext_php_rs::builders::FunctionBuilder;
use ext_php_rs::class::{ClassMetadata, ConstructorMeta, ConstructorResult, RegisteredClass};
use ext_php_rs::convert::IntoZvalDyn;
use ext_php_rs::describe::DocComments;
use ext_php_rs::error::Result;
use ext_php_rs::exception::PhpException;
use ext_php_rs::flags::{ClassFlags, ConstantFlags, DataType, MethodFlags};
use ext_php_rs::types::Zval;
use ext_php_rs::zend::{BailoutGuard, ce};
use kqueue_client::Held;

use crate::state::{self, Ticket};
use crate::zend::array;
use crate::zend::call::{Call, handler};
use crate::zend::class::{self, method, optional};
use crate::zend::error::Thrown;
use crate::{arguments, exceptions};

/// The Rust side of a message. What can be asked after it is settled is kept here.
pub(crate) struct Message {
    ticket: Ticket,
    queue: Zval,
    body: Zval,
    id: Zval,
    attempts: u64,
    age_on_arrival: Duration,
    arrived: Instant,
}

/// Registers the class. At module startup only.
pub(crate) fn register() -> Result<()> {
    class::register::<Message>(&[])
}

/// An item that the process has taken charge of, on its way to PHP.
pub(crate) struct Arrived {
    ticket: Ticket,
    queue: Vec<u8>,
    body: Bytes,
    id: String,
    attempts: u64,
    age: Duration,
}

/// Registers reserved items with the process under `owner`, in order.
///
/// All of them before the first object is made, because that can end the request (memory limit); what
/// is returned is not PHP's memory, and freed also then.
pub(crate) fn take_charge(items: Vec<Held>, owner: u64) -> BailoutGuard<Vec<Arrived>> {
    let arrived = items.into_iter().map(|mut held| Arrived {
        queue: held.queue().to_vec(),
        body: held.take_body(),
        id: held.id().to_owned(),
        attempts: u64::from(held.attempts()),
        age: Duration::from_millis(held.age_ms()),
        ticket: state::hold(held, owner),
    });
    BailoutGuard::new(arrived.collect())
}

impl Arrived {
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The object.
    pub(crate) fn to_message(&self) -> Zval {
        array::object(Message {
            ticket: self.ticket,
            queue: array::string(&self.queue),
            body: array::string(&self.body),
            id: array::string(self.id.as_bytes()),
            attempts: self.attempts,
            age_on_arrival: self.age,
            arrived: Instant::now(),
        })
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // Unsettled and forgotten by the program: back to its queue. Also runs when PHP frees objects
        // after the request's end, when there is nothing left to return.
        state::give_back(self.ticket);
    }
}

type Return = std::result::Result<Zval, Thrown>;

fn get_queue(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    Ok(call.this::<Message>()?.queue.shallow_clone())
}

fn get_body(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    Ok(call.this::<Message>()?.body.shallow_clone())
}

fn get_id(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    Ok(call.this::<Message>()?.id.shallow_clone())
}

fn get_attempts(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    Ok(array::int(call.this::<Message>()?.attempts))
}

fn get_age(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let message = call.this::<Message>()?;
    Ok(array::float((message.age_on_arrival + message.arrived.elapsed()).as_secs_f64()))
}

fn is_settled(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let ticket = call.this::<Message>()?.ticket;
    Ok(array::bool(!state::is_held(ticket)))
}

fn ack(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    settle(call.this::<Message>()?.ticket, Held::ack)
}

fn release(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 1)?;
    let delay = arguments::delay(call, 1)?;
    settle(call.this::<Message>()?.ticket, |held| held.release(delay))
}

fn bury(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 1)?;
    let reason = arguments::reason(call, 1)?;
    settle(call.this::<Message>()?.ticket, |held| held.bury(reason))
}

fn touch(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 1)?;
    let lease = arguments::seconds(call, 1)?;
    settle(call.this::<Message>()?.ticket, |held| held.touch(lease))
}

/// Does it, or throws what came of it.
pub(crate) fn settle(
    ticket: Ticket,
    how: impl FnOnce(&mut Held) -> std::result::Result<(), kqueue_client::Error>,
) -> Return {
    match state::with(ticket, how) {
        Ok(()) => Ok(array::null()),
        Err(state::NotSettled::NotHeld) => Err(exceptions::throw_lost(
            "this message is no longer held: it was settled, returned or lost before",
        )),
        Err(state::NotSettled::Failed(error)) => Err(exceptions::throw(&error)),
    }
}

static METADATA: ClassMetadata<Message> = ClassMetadata::new(&[]);

impl RegisteredClass for Message {
    const CLASS_NAME: &'static str = "KQueue\\Message";
    const BUILDER_MODIFIER: Option<
        fn(ext_php_rs::builders::ClassBuilder) -> ext_php_rs::builders::ClassBuilder,
    > = None;
    const EXTENDS: Option<ext_php_rs::class::ClassEntryInfo> = None;
    const IMPLEMENTS: &'static [ext_php_rs::class::ClassEntryInfo] = &[];
    const FLAGS: ClassFlags = ClassFlags::NoDynamicProperties;

    fn get_metadata() -> &'static ClassMetadata<Self> {
        &METADATA
    }

    fn method_builders() -> Vec<(FunctionBuilder<'static>, MethodFlags)> {
        let getter = |name, handler, of| {
            (method(name, handler).returns(of, false, false), MethodFlags::Public)
        };
        let with_one = |name, handler, argument| {
            let builder = method(name, handler).arg(argument).required_args(0);
            (builder.returns(DataType::Void, false, false), MethodFlags::Public)
        };
        vec![
            getter("getQueue", handler!(get_queue), DataType::String),
            getter("getBody", handler!(get_body), DataType::String),
            getter("getId", handler!(get_id), DataType::String),
            getter("getAttempts", handler!(get_attempts), DataType::Long),
            getter("getAge", handler!(get_age), DataType::Double),
            getter("ack", handler!(ack), DataType::Void),
            with_one("release", handler!(release), optional("delay", DataType::Double, "0.0")),
            with_one("bury", handler!(bury), optional("reason", DataType::String, "''")),
            with_one("touch", handler!(touch), optional("lease", DataType::Double, "0.0")),
            getter("isSettled", handler!(is_settled), DataType::Bool),
        ]
    }

    /// Private, so never called by a program; reflection can, and gets the error.
    fn constructor() -> Option<ConstructorMeta<Self>> {
        Some(ConstructorMeta {
            constructor: |_| {
                ConstructorResult::Exception(PhpException::new(
                    "KQueue\\Message objects come from KQueue::reserve()".to_owned(),
                    0,
                    ce::error(),
                ))
            },
            build_fn: |function| function,
            flags: Some(MethodFlags::Private),
        })
    }

    fn constants() -> &'static [(&'static str, &'static dyn IntoZvalDyn, DocComments, ConstantFlags)]
    {
        &[]
    }
}
