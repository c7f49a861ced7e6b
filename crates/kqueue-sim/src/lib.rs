//! Deterministic simulation: the broker that the server runs, with virtual clients, a virtual clock and a virtual disk.
//!
//! One number, the seed, decides everything that happens: how requests are split and pipelined, who disconnects when, when the disk is slow, full or fails, when
//! the process dies or the power goes, and which unsynced sectors survive. What the clients saw is judged by an oracle that knows no queue
//! (`oracle.rs`). A seed that breaks a promise breaks it every time: `kqueue-sim replay SEED`.
//!
//! Must not: use a clock, a thread or any other source of chance in a simulated life.

mod codec;
mod conn;
mod disk;
mod faults;
mod oracle;
mod queues;
mod reply;
mod rules;
mod scenario;
mod start;
mod status;
mod world;

pub use disk::{Failure, Fault};
pub use faults::FaultSet;
pub use oracle::Tally;
pub use scenario::{Extras, Sabotage, Scenario, Summary, Violation};
pub use world::{replay, run, run_changed};
