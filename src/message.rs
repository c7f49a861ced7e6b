//! Class `KQueue\Message`: one reserved item.
//!
//! The object holds a ticket; the reservation itself is with the process ([`state`]), which returns
//! it at the end of the request whether or not this object's destructor runs.

use std::time::{Duration, Instant};

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

/// Hands a reserved item to PHP: registers it with the process under `owner`, then makes the object.
///
/// In this order, because making an object can end the request (memory limit).
pub(crate) fn deliver(held: Held, owner: u64) -> Zval {
    // Not PHP's memory: it must not leak if the copy into PHP's memory ends the request.
    let body = BailoutGuard::new(held.body().clone());
    let queue = BailoutGuard::new(held.queue().to_vec());
    let id = BailoutGuard::new(held.id().to_owned());
    let (attempts, age_on_arrival) =
        (u64::from(held.attempts()), Duration::from_millis(held.age_ms()));
    let ticket = state::hold(held, owner);
    array::object(Message {
        ticket,
        queue: array::string(&queue),
        body: array::string(&body),
        id: array::string(id.as_bytes()),
        attempts,
        age_on_arrival,
        arrived: Instant::now(),
    })
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
    let ticket = call.this::<Message>()?.ticket;
    settle(ticket, state::ack)
}

fn release(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 1)?;
    let delay = arguments::seconds(call, 1)?;
    let ticket = call.this::<Message>()?.ticket;
    if !delay.is_zero() && state::is_held(ticket) {
        return Err(exceptions::throw_server(
            "releasing with a delay is not offered by this server: release at once, or later",
        ));
    }
    settle(ticket, state::release)
}

fn settle(ticket: Ticket, how: fn(Ticket) -> std::result::Result<(), state::NotSettled>) -> Return {
    match how(ticket) {
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
        vec![
            getter("getQueue", handler!(get_queue), DataType::String),
            getter("getBody", handler!(get_body), DataType::String),
            getter("getId", handler!(get_id), DataType::String),
            getter("getAttempts", handler!(get_attempts), DataType::Long),
            getter("getAge", handler!(get_age), DataType::Double),
            getter("ack", handler!(ack), DataType::Void),
            (
                method("release", handler!(release))
                    .arg(optional("delay", DataType::Double, "0.0"))
                    .required_args(0)
                    .returns(DataType::Void, false, false),
                MethodFlags::Public,
            ),
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
