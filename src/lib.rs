//! The PHP extension `kqueue`: class `KQueue` and what belongs to it.
//!
//! This crate is glue. It turns PHP values into the arguments of `kqueue-client` and its results
//! into PHP values; sockets, pools, retry and failover are the client's. Layout:
//!
//! - `zend`: everything that touches the engine through C, and all `unsafe` code;
//! - `queue`, `message`, `messages`, `exceptions`: the classes;
//! - `arguments`, `settings`: checked arguments, constructor options and ini settings;
//! - `state`: what the process keeps between calls and requests: the pools, the reserved items;
//! - `phpinfo`: the module's section there.
//!
//! Rules of the whole crate: no thread and no async runtime; while PHP code can run (generators,
//! destructors, signal handlers, `__toString`) no `RefCell` is borrowed and no connection is taken.

mod arguments;
mod exceptions;
mod message;
mod messages;
mod phpinfo;
mod queue;
mod settings;
mod state;
mod zend;
