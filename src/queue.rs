//! Class `KQueue`: the servers, as a program sees them.
//!
//! Every method reads and checks its arguments, then takes the client out of the object, then talks.
//! In this order, because reading arguments may run PHP code, and that may call the constructor again.
//! It lets go of the client before it makes PHP values or throws: both can end the request by a jump
//! over our frames (memory limit), and what they own is then never released.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ext_php_rs::builders::FunctionBuilder;
use ext_php_rs::class::{ClassMetadata, ConstructorMeta, ConstructorResult, RegisteredClass};
use ext_php_rs::convert::IntoZvalDyn;
use ext_php_rs::describe::DocComments;
use ext_php_rs::flags::{ClassFlags, ConstantFlags, DataType, MethodFlags};
use ext_php_rs::types::Zval;
use ext_php_rs::zend::{BailoutGuard, ExecuteData};
use kqueue_client::{Cluster, Held, PushError, ServerStats};

use crate::message::Arrived;
use crate::messages::Messages;
use crate::zend::array::{self, ArrayBuilder, Key};
use crate::zend::call::{Call, call_user, handler};
use crate::zend::class::{self, Union, method, optional, required};
use crate::zend::error::{self, Thrown};
use crate::zend::{iterate, signal};
use crate::{arguments, exceptions, message, settings, state};

/// How long `consume` waits for an item unless it is told otherwise.
const CONSUME_TIMEOUT: Duration = Duration::from_secs(1);

type Return = Result<Zval, Thrown>;

/// The Rust side of a `KQueue` object.
pub(crate) struct Queue {
    cluster: Rc<Cluster>,
    /// Under which its reserved items are registered.
    number: u64,
    /// The process knows that it may have pushes to await.
    owes_sync: Cell<bool>,
}

/// Registers the class. At module startup only.
pub(crate) fn register() -> ext_php_rs::error::Result<()> {
    class::register::<Queue>(&[
        Union { method: "__construct", parameter: 0, or_null: true },
        Union { method: "reserve", parameter: 0, or_null: false },
        Union { method: "reservemany", parameter: 0, or_null: false },
        Union { method: "consume", parameter: 0, or_null: false },
        Union { method: "messages", parameter: 0, or_null: false },
    ])
}

fn construct(ex: &mut ExecuteData) -> ConstructorResult<Queue> {
    // What was thrown is pending in the engine; there is nothing to add.
    build(&Call::new(ex)).map_or(ConstructorResult::ArgError, ConstructorResult::Ok)
}

fn build(call: &Call<'_>) -> Result<Queue, Thrown> {
    call.expect_arguments(0, 2)?;
    let servers = settings::servers(call, 1)?;
    let options = settings::options(call.array(2)?, 2)?;
    match Cluster::new(state::pools(), servers, options) {
        Ok(cluster) => Ok(Queue {
            cluster: Rc::new(cluster),
            number: state::next_number(),
            owes_sync: Cell::new(false),
        }),
        Err(problem) => Err(exceptions::throw(&problem)),
    }
}

/// The client of `$this`, to be taken after the arguments.
fn cluster(call: &Call<'_>) -> Result<Rc<Cluster>, Thrown> {
    Ok(Rc::clone(&call.this::<Queue>()?.cluster))
}

fn push(call: &Call<'_>) -> Return {
    call.expect_arguments(2, 3)?;
    let queue = arguments::queue(call, 1)?;
    let body = call.string(2)?.as_bytes();
    let ttl = arguments::ttl(call, 3)?;
    let outcome = cluster(call)?.put(queue, body, ttl);
    match outcome {
        Ok(id) => Ok(array::string(id.as_bytes())),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn push_many(call: &Call<'_>) -> Return {
    call.expect_arguments(2, 3)?;
    let queue = arguments::queue(call, 1)?;
    let ttl = arguments::ttl(call, 3)?;
    let pairs = iterate::string_pairs(call, 2)?;
    if let Some(key) = first_repeated(&pairs) {
        let text = format!("must not have the key {key} twice");
        return Err(error::value_error(2, &text));
    }
    let bodies = pairs.iter().enumerate().map(|(index, pair)| (index, pair.body()));
    let key_of = |index: usize| pairs[index].key.clone();
    let outcome = cluster(call)?.put_many(queue, ttl, bodies);
    match outcome {
        Ok(stored) => {
            let mut ids = ArrayBuilder::new();
            for (index, id) in stored {
                ids.set(&key_of(index), array::string(id.as_bytes()));
            }
            Ok(ids.finish())
        }
        Err(failure) => {
            let stored = failure.stored.into_iter().map(|(index, id)| (key_of(index), id));
            let failed = failure.failed.into_iter().map(key_of);
            Err(exceptions::throw_push(&failure.source, stored.collect(), failed.collect()))
        }
    }
}

/// A generator may yield a key twice; the ids of such items could not be told apart.
fn first_repeated(pairs: &[iterate::Pair]) -> Option<String> {
    let mut seen = std::collections::HashSet::with_capacity(pairs.len());
    pairs.iter().find(|pair| !seen.insert(&pair.key)).map(|pair| pair.key.to_string())
}

fn push_async(call: &Call<'_>) -> Return {
    call.expect_arguments(2, 3)?;
    let queue = arguments::queue(call, 1)?;
    let body = call.string(2)?.as_bytes();
    let ttl = arguments::ttl(call, 3)?;
    let outcome = {
        let this = call.this::<Queue>()?;
        let outcome = this.cluster.put_async(queue, body, ttl);
        if !this.owes_sync.replace(true) {
            for failure in state::owe_sync(Rc::clone(&this.cluster)) {
                error::log_warning(&format!(
                    "of pushAsync(), by an object that is gone: {failure}"
                ));
            }
        }
        outcome
    };
    match outcome {
        Ok(()) => Ok(array::null()),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn sync(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let outcome = cluster(call)?.sync(None);
    match outcome {
        Ok(stored) => Ok(array::int(stored as u64)),
        Err(failure) => Err(throw_unsynced(failure)),
    }
}

/// The keys are how many pushes came before each.
fn throw_unsynced(failure: PushError<usize>) -> Thrown {
    let key = |nth: usize| Key::Int(i64::try_from(nth).unwrap_or(i64::MAX));
    let stored = failure.stored.into_iter().map(|(nth, id)| (key(nth), id));
    let failed = failure.failed.into_iter().map(key);
    exceptions::throw_push(&failure.source, stored.collect(), failed.collect())
}

fn pop(call: &Call<'_>) -> Return {
    call.expect_arguments(1, 2)?;
    let queue = arguments::queue(call, 1)?;
    let timeout = arguments::seconds(call, 2)?;
    let outcome = cluster(call)?.pop(queue, timeout, &signal::is_pending);
    match outcome {
        Ok(Some(body)) => Ok(array::string(&body)),
        Ok(None) => nothing_came(),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn reserve(call: &Call<'_>) -> Return {
    call.expect_arguments(1, 3)?;
    let queues = arguments::queues(call, 1)?;
    let timeout = arguments::seconds(call, 2)?;
    let lease = arguments::seconds(call, 3)?;
    let wish = Wish { queues, max: 1, timeout, lease, interrupt: signal::is_pending };
    match reserve_some(call, wish)?.first() {
        Some(arrived) => Ok(arrived.to_message()),
        None => nothing_came(),
    }
}

fn reserve_many(call: &Call<'_>) -> Return {
    call.expect_arguments(2, 4)?;
    let queues = arguments::queues(call, 1)?;
    let max = arguments::at_most(call, 2)?;
    let timeout = arguments::seconds(call, 3)?;
    let lease = arguments::seconds(call, 4)?;
    let wish = Wish { queues, max, timeout, lease, interrupt: signal::is_pending };
    let arrived = reserve_some(call, wish)?;
    if arrived.is_empty() {
        signal::dispatch()?;
    }
    let mut messages = ArrayBuilder::new();
    for item in arrived.iter() {
        messages.push(item.to_message());
    }
    Ok(messages.finish())
}

/// What is to be taken, and how long to wait for it.
pub(crate) struct Wish {
    pub(crate) queues: Vec<Vec<u8>>,
    pub(crate) max: u32,
    pub(crate) timeout: Duration,
    pub(crate) lease: Duration,
    /// Ends the wait.
    pub(crate) interrupt: fn() -> bool,
}

/// The items are registered with the process when this returns.
fn reserve_some(call: &Call<'_>, wish: Wish) -> Result<BailoutGuard<Vec<Arrived>>, Thrown> {
    let this = call.this::<Queue>()?;
    take(Rc::clone(&this.cluster), this.number, wish)
}

/// As [`reserve_some`], for an object that may be gone.
pub(crate) fn take(
    cluster: Rc<Cluster>,
    owner: u64,
    wish: Wish,
) -> Result<BailoutGuard<Vec<Arrived>>, Thrown> {
    let outcome = {
        let names: Vec<&[u8]> = wish.queues.iter().map(Vec::as_slice).collect();
        cluster.reserve(&names, wish.max, wish.timeout, wish.lease, &wish.interrupt)
    };
    drop((wish, cluster));
    match outcome {
        Ok(items) => Ok(message::take_charge(items, owner)),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

/// Nothing that needs to be dropped is held while the handler runs, but what a guard drops.
fn consume(call: &Call<'_>) -> Return {
    call.expect_arguments(2, 4)?;
    let queues = BailoutGuard::new(arguments::queues(call, 1)?);
    let handler = call.callable(2)?;
    let max = arguments::stop_after(call, 3)?;
    let timeout = if call.is_given(4) { arguments::seconds(call, 4)? } else { CONSUME_TIMEOUT };
    let worker = signal::Loop::begin();
    let mut handled = 0_u64;
    while max.is_none_or(|max| handled < max) && !signal::Loop::is_told_to_end() {
        let interrupt = signal::Loop::is_interrupted;
        let (queues, lease) = (queues.clone(), Duration::ZERO);
        let arrived = reserve_some(call, Wish { queues, max: 1, timeout, lease, interrupt })?;
        let Some(item) = arrived.first() else { break };
        let ticket = item.ticket();
        let message = item.to_message();
        drop(arrived);
        let returned = match call_user(handler, &message) {
            Ok(returned) => returned,
            Err(thrown) => {
                // As the queue's settings say; what the handler has settled is left alone.
                state::give_back(ticket);
                return Err(thrown);
            }
        };
        handled += 1;
        if state::is_held(ticket) {
            message::settle(ticket, Held::ack)?;
        }
        if returned.dereference().is_false() {
            break;
        }
    }
    drop(worker);
    signal::dispatch()?;
    Ok(array::int(handled))
}

fn messages(call: &Call<'_>) -> Return {
    call.expect_arguments(1, 2)?;
    let queues = arguments::queues(call, 1)?;
    let timeout = arguments::seconds(call, 2)?;
    let this = call.this::<Queue>()?;
    Ok(Messages::over(Rc::clone(&this.cluster), this.number, queues, timeout))
}

/// Null; if it is because of a signal, its handlers run first (and may throw).
fn nothing_came() -> Return {
    signal::dispatch()?;
    Ok(array::null())
}

fn peek(call: &Call<'_>) -> Return {
    call.expect_arguments(1, 1)?;
    let queue = arguments::queue(call, 1)?;
    let outcome = cluster(call)?.peek(queue);
    match outcome {
        Ok(body) => Ok(body.map_or_else(array::null, |body| array::string(&body))),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn size(call: &Call<'_>) -> Return {
    call.expect_arguments(1, 1)?;
    let queue = arguments::queue(call, 1)?;
    let outcome = cluster(call)?.size(queue);
    match outcome {
        Ok(items) => Ok(array::int(items)),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn purge(call: &Call<'_>) -> Return {
    on_all_servers(call, Cluster::purge)
}

fn delete(call: &Call<'_>) -> Return {
    on_all_servers(call, Cluster::delete)
}

fn on_all_servers(
    call: &Call<'_>,
    what: fn(&Cluster, &[u8]) -> Result<(), kqueue_client::Error>,
) -> Return {
    call.expect_arguments(1, 1)?;
    let queue = arguments::queue(call, 1)?;
    let outcome = what(&*cluster(call)?, queue);
    match outcome {
        Ok(()) => Ok(array::null()),
        Err(failure) => Err(exceptions::throw(&failure)),
    }
}

fn stats(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let mut servers = ArrayBuilder::new();
    for server in cluster(call)?.stats() {
        let address = server.address.as_str().to_owned();
        servers.set_text(&address, server_stats(server));
    }
    Ok(servers.finish())
}

/// `server`: what it says of itself, null if it did not answer. `client`: this process's view of it.
fn server_stats(server: ServerStats) -> Zval {
    let health = &server.health;
    let mut client = ArrayBuilder::new();
    client.set_text("state", array::string(if health.is_up { b"up" } else { b"down" }));
    client.set_text("refuses_pushes", array::bool(health.refuses_pushes));
    client.set_text("extended", health.is_extended.map_or_else(array::null, array::bool));
    client.set_text("idle_connections", array::int(health.idle_connections as u64));
    client.set_text("opened", array::int(health.opened));
    client.set_text("errors", array::int(health.failures));
    let last_error = health.last_error.as_ref();
    client.set_text(
        "last_error",
        last_error.map_or_else(array::null, |text| array::string(text.as_bytes())),
    );

    let mut both = ArrayBuilder::new();
    let said = match server.stats {
        Ok(lines) => {
            let mut said = ArrayBuilder::new();
            for (name, value) in lines {
                said.set(&Key::from_text(&name), number_or_text(&value));
            }
            said.finish()
        }
        Err(_) => array::null(),
    };
    both.set_text("server", said);
    both.set_text("client", client.finish());
    both.finish()
}

/// Counters are ints in PHP; versions and whatever else a server says stay text.
fn number_or_text(value: &[u8]) -> Zval {
    Key::from_text(value).into_value()
}

fn ping(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let mut times = ArrayBuilder::new();
    for (address, time) in cluster(call)?.ping() {
        let seconds = time.map_or_else(array::null, |time| array::float(time.as_secs_f64()));
        times.set_text(address.as_str(), seconds);
    }
    Ok(times.finish())
}

fn close(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    let number = call.this::<Queue>()?.number;
    let cluster = cluster(call)?;
    let synced = cluster.sync(None);
    state::give_back_all(number);
    cluster.close();
    drop(cluster);
    synced.map(|_| array::null()).map_err(throw_unsynced)
}

fn close_all(call: &Call<'_>) -> Return {
    call.expect_arguments(0, 0)?;
    state::close_all();
    Ok(array::null())
}

static METADATA: ClassMetadata<Queue> = ClassMetadata::new(&[]);

impl RegisteredClass for Queue {
    const CLASS_NAME: &'static str = "KQueue";
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
        let mut methods: Vec<_> = [moving_methods(), asking_methods()]
            .into_iter()
            .flatten()
            .map(|builder| (builder, MethodFlags::Public))
            .collect();
        methods.push((
            method("closeAll", handler!(close_all)).returns(DataType::Void, false, false),
            MethodFlags::Public.union(MethodFlags::Static),
        ));
        methods
    }

    fn constructor() -> Option<ConstructorMeta<Self>> {
        Some(ConstructorMeta {
            constructor: construct,
            build_fn: |function| {
                function
                    .arg(optional("servers", DataType::String, "null"))
                    .arg(optional("options", DataType::Array, "[]"))
                    .required_args(0)
            },
            flags: Some(MethodFlags::Public),
        })
    }

    fn constants() -> &'static [(&'static str, &'static dyn IntoZvalDyn, DocComments, ConstantFlags)]
    {
        &[]
    }
}

fn queue_parameter() -> ext_php_rs::args::Arg<'static> {
    required("queue", DataType::String)
}

/// Its type is a union, set after registration.
fn queues_parameter() -> ext_php_rs::args::Arg<'static> {
    required("queues", DataType::String)
}

fn lease_parameter() -> ext_php_rs::args::Arg<'static> {
    optional("lease", DataType::Double, "0.0")
}

fn timeout_parameter() -> ext_php_rs::args::Arg<'static> {
    optional("timeout", DataType::Double, "0.0")
}

/// Methods that put or take items.
fn moving_methods() -> Vec<FunctionBuilder<'static>> {
    vec![
        method("push", handler!(push))
            .arg(queue_parameter())
            .arg(required("body", DataType::String))
            .arg(optional("ttl", DataType::Long, "0"))
            .required_args(2)
            .returns(DataType::String, false, false),
        method("pushMany", handler!(push_many))
            .arg(queue_parameter())
            .arg(required("bodies", DataType::Iterable))
            .arg(optional("ttl", DataType::Long, "0"))
            .required_args(2)
            .returns(DataType::Array, false, false),
        method("pushAsync", handler!(push_async))
            .arg(queue_parameter())
            .arg(required("body", DataType::String))
            .arg(optional("ttl", DataType::Long, "0"))
            .required_args(2)
            .returns(DataType::Void, false, false),
        method("sync", handler!(sync)).returns(DataType::Long, false, false),
        method("pop", handler!(pop))
            .arg(queue_parameter())
            .arg(timeout_parameter())
            .required_args(1)
            .returns(DataType::String, false, true),
        method("reserve", handler!(reserve))
            .arg(queues_parameter())
            .arg(timeout_parameter())
            .arg(lease_parameter())
            .required_args(1)
            .returns(DataType::object("KQueue\\Message"), false, true),
        method("reserveMany", handler!(reserve_many))
            .arg(queues_parameter())
            .arg(required("max", DataType::Long))
            .arg(timeout_parameter())
            .arg(lease_parameter())
            .required_args(2)
            .returns(DataType::Array, false, false),
        method("consume", handler!(consume))
            .arg(queues_parameter())
            .arg(required("handler", DataType::Callable))
            .arg(optional("max", DataType::Long, "0"))
            .arg(optional("timeout", DataType::Double, "1.0"))
            .required_args(2)
            .returns(DataType::Long, false, false),
        method("messages", handler!(messages))
            .arg(queues_parameter())
            .arg(timeout_parameter())
            .required_args(1)
            .returns(DataType::object("Iterator"), false, false),
    ]
}

/// Methods about queues, servers and connections.
fn asking_methods() -> Vec<FunctionBuilder<'static>> {
    let about_queue = |name, handler, of, or_null| {
        method(name, handler).arg(queue_parameter()).required_args(1).returns(of, false, or_null)
    };
    vec![
        about_queue("peek", handler!(peek), DataType::String, true),
        about_queue("size", handler!(size), DataType::Long, false),
        about_queue("purge", handler!(purge), DataType::Void, false),
        about_queue("delete", handler!(delete), DataType::Void, false),
        method("stats", handler!(stats)).returns(DataType::Array, false, false),
        method("ping", handler!(ping)).returns(DataType::Array, false, false),
        method("close", handler!(close)).returns(DataType::Void, false, false),
    ]
}
