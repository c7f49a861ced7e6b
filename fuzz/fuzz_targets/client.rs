//! See `src/client.rs`; run by `make fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kqueue_fuzz::client(input));
