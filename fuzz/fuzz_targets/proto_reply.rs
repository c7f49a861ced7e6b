//! See `src/proto_reply.rs`; run by `make fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kqueue_fuzz::proto_reply(input));
