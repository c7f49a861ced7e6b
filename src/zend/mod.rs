//! Everything that touches the engine through C.
//!
//! This folder owns all `unsafe` code of the extension. What it exposes is safe to call from the
//! rest of the crate as long as one rule holds: code outside keeps no `RefCell` borrow, lock or
//! connection while it calls something here that may run PHP code (each such function says so).
//!
//! It knows nothing about queues.
#![allow(unsafe_code)]

pub(crate) mod array;
pub(crate) mod call;
pub(crate) mod class;
pub(crate) mod compat;
pub(crate) mod error;
pub(crate) mod info;
pub(crate) mod ini;
pub(crate) mod iterate;
pub(crate) mod module;
pub(crate) mod signal;
mod sys;
