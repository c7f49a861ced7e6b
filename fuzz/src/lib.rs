//! What the fuzz targets do, each a function of bytes that panics if something is wrong: libFuzzer calls them (`make fuzz`), and `tests/seeds.rs`
//! runs them over the files in `seeds/`, where inputs that found a defect stay.

mod bytes_in;
mod client;
mod journal_replay;
mod journal_scan;
mod log;
mod proto_reply;
mod proto_request;
mod session;
mod text_request;
mod world;

pub use client::client;
pub use journal_replay::journal_replay;
pub use journal_scan::journal_scan;
pub use proto_reply::proto_reply;
pub use proto_request::proto_request;
pub use session::session;
pub use text_request::text_request;
