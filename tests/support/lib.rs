//! Support for the cross-process tests: starts real daemons, talks to them in raw bytes, ends them by their pid.
//!
//! Invariants: every daemon listens on a loopback port that the kernel chose and keeps its data in a directory of its own; nothing outlives the test
//! that started it; waiting is for an event, never for a time.

pub mod clock;
pub mod crowd;
pub mod ctl;
pub mod daemon;
pub mod dice;
pub mod exposition;
pub mod extended;
pub mod faults;
pub mod fpm;
pub mod haproxy;
pub mod http;
pub mod ledger;
pub mod left;
pub mod load;
pub mod program;
pub mod segment;
pub mod tool;
pub mod user;
pub mod wire;

pub use clock::FakeClock;
pub use crowd::{connect_from, open_files, scale};
pub use ctl::Ctl;
pub use daemon::{Daemon, Exit, Starting, ctl_binary, daemon_binary, extension, repository};
pub use dice::Dice;
pub use extended::{Found, Reserved};
pub use faults::{SmallDisk, Strace, announce};
pub use fpm::Fpm;
pub use haproxy::{HaProxy, free_port};
pub use http::{Answer, Http};
pub use left::Left;
pub use load::{Clients, Load};
pub use program::{packages, php, run, run_with_input};
pub use tool::{Done, files_in, settings_of, tool, tool_command, tool_started};
pub use user::{give_away, unprivileged};
pub use wire::Wire;
