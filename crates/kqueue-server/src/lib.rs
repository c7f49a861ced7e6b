//! The KQueue daemon: a thin shell of sockets, threads, files and signals around `kqueue-broker`.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`run`] | the life of a server, from recovery to drain |
//! | `listen`, `conn` | sockets: accepting, reading, writing |
//! | `shared`, `connections` | the broker behind its lock, the four lanes to the disk, and whom to wake |
//! | `boot`, [`datadir`], [`disk`] | the files |
//! | `control` | reload, status, shutdown |
//! | `admin` | HTTP for operators, load balancers and monitoring |
//! | `clock`, `latency` | the only clock, and what it measured |
//! | `fatal` | panics after which nobody may go on |
//! | [`tools`] | the subcommands: check, check-config, dump, import, backup, restore |

/// The version as it is.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version as clients see it: without what stands behind the third number of a version before its release. Some parse it, and want numbers only.
const CLIENT_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    ".",
    env!("CARGO_PKG_VERSION_PATCH")
);

mod admin;
mod boot;
mod budget;
mod clock;
pub mod config;
mod conn;
mod connections;
mod control;
pub mod datadir;
mod descriptors;
pub mod disk;
mod fatal;
mod latency;
mod listen;
mod protocol;
mod quarantine;
pub mod run;
mod shared;
mod status_file;
mod thrift;
pub mod tools;

pub use control::Source;
pub use listen::Bound;
