//! Load generator and comparison benchmarks.
fn main() {}
