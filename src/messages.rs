//! Class `KQueue\Messages`: what `KQueue::messages()` returns, for `foreach`.
//!
//! It takes the next item when it is asked for it, never one ahead: an item that is not looked at is
//! in its queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ext_php_rs::builders::FunctionBuilder;
use ext_php_rs::class::{
    ClassEntryInfo, ClassMetadata, ConstructorMeta, ConstructorResult, RegisteredClass,
};
use ext_php_rs::convert::IntoZvalDyn;
use ext_php_rs::describe::DocComments;
use ext_php_rs::error::Result;
use ext_php_rs::exception::PhpException;
use ext_php_rs::flags::{ClassFlags, ConstantFlags, DataType, MethodFlags};
use ext_php_rs::types::Zval;
use ext_php_rs::zend::ce;
use kqueue_client::Cluster;

use crate::queue::Wish;
use crate::zend::array;
use crate::zend::call::{Call, handler};
use crate::zend::class::{self, method};
use crate::zend::error::Thrown;
use crate::zend::signal;
use crate::{exceptions, queue};

/// The Rust side of the iterator.
pub(crate) struct Messages {
    cluster: Rc<Cluster>,
    owner: u64,
    queues: Vec<Vec<u8>>,
    timeout: Duration,
    /// `None` before the first and after the last item.
    current: RefCell<Option<Zval>>,
    /// How many came before the current one.
    key: Cell<u64>,
    has_begun: Cell<bool>,
}

/// Registers the class. At module startup only.
pub(crate) fn register() -> Result<()> {
    class::register::<Messages>(&[])
}

impl Messages {
    /// A new iterator object.
    pub(crate) fn over(
        cluster: Rc<Cluster>,
        owner: u64,
        queues: Vec<Vec<u8>>,
        timeout: Duration,
    ) -> Zval {
        array::object(Self {
            cluster,
            owner,
            queues,
            timeout,
            current: RefCell::default(),
            key: Cell::new(0),
            has_begun: Cell::new(false),
        })
    }
}

type Return = std::result::Result<Zval, Thrown>;

/// Takes the next item. Holds nothing of the object while signal handlers run.
fn fetch(call: &Call<'_>) -> std::result::Result<(), Thrown> {
    let (cluster, owner, queues, timeout) = {
        let this = call.this::<Messages>()?;
        (Rc::clone(&this.cluster), this.owner, this.queues.clone(), this.timeout)
    };
    let (lease, interrupt) = (Duration::ZERO, signal::is_pending);
    let arrived = queue::take(cluster, owner, Wish { queues, max: 1, timeout, lease, interrupt })?;
    let message = arrived.first().map(|item| item.to_message());
    drop(arrived);
    let is_end = message.is_none();
    let before = call.this::<Messages>()?.current.replace(message);
    drop(before);
    if is_end { signal::dispatch() } else { Ok(()) }
}

fn rewind(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let this = call.this::<Messages>()?;
    if !this.has_begun.replace(true) {
        fetch(call)?;
    } else if this.key.get() > 0 {
        return Err(exceptions::throw_plain(
            "Cannot rewind KQueue\\Messages: taken items do not come again",
        ));
    }
    Ok(array::null())
}

fn next(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let this = call.this::<Messages>()?;
    let before = this.current.take();
    if this.has_begun.replace(true) {
        this.key.set(this.key.get() + 1);
    }
    drop(before);
    fetch(call)?;
    Ok(array::null())
}

fn valid(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    begin(call)?;
    Ok(array::bool(call.this::<Messages>()?.current.borrow().is_some()))
}

fn current(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    begin(call)?;
    let current = call.this::<Messages>()?.current.borrow().as_ref().map(Zval::shallow_clone);
    Ok(current.unwrap_or_else(array::null))
}

fn key(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    begin(call)?;
    let this = call.this::<Messages>()?;
    let is_there = this.current.borrow().is_some();
    Ok(if is_there { array::int(this.key.get()) } else { array::null() })
}

/// As a generator does: whatever is asked first, it begins.
fn begin(call: &Call<'_>) -> std::result::Result<(), Thrown> {
    if call.this::<Messages>()?.has_begun.replace(true) { Ok(()) } else { fetch(call) }
}

static METADATA: ClassMetadata<Messages> = ClassMetadata::new(&[]);

impl RegisteredClass for Messages {
    const CLASS_NAME: &'static str = "KQueue\\Messages";
    const BUILDER_MODIFIER: Option<
        fn(ext_php_rs::builders::ClassBuilder) -> ext_php_rs::builders::ClassBuilder,
    > = None;
    const EXTENDS: Option<ClassEntryInfo> = None;
    const IMPLEMENTS: &'static [ClassEntryInfo] = &[(ce::iterator, "Iterator")];
    const FLAGS: ClassFlags = ClassFlags::Final.union(ClassFlags::NoDynamicProperties);

    fn get_metadata() -> &'static ClassMetadata<Self> {
        &METADATA
    }

    fn method_builders() -> Vec<(FunctionBuilder<'static>, MethodFlags)> {
        let plain = |name, handler, of, or_null| {
            (method(name, handler).returns(of, false, or_null), MethodFlags::Public)
        };
        vec![
            plain("rewind", handler!(rewind), DataType::Void, false),
            plain("valid", handler!(valid), DataType::Bool, false),
            plain("current", handler!(current), DataType::object("KQueue\\Message"), true),
            plain("key", handler!(key), DataType::Long, true),
            plain("next", handler!(next), DataType::Void, false),
        ]
    }

    /// Private, so never called by a program; reflection can, and gets the error.
    fn constructor() -> Option<ConstructorMeta<Self>> {
        Some(ConstructorMeta {
            constructor: |_| {
                ConstructorResult::Exception(PhpException::new(
                    "KQueue\\Messages objects come from KQueue::messages()".to_owned(),
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
