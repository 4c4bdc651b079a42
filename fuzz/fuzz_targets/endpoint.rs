//! An endpoint with many peers.
#![no_main]

#[path = "../../sctp/tests/fuzzing/mod.rs"]
mod fuzzing;
#[path = "../../sctp/tests/victim/mod.rs"]
mod victim;

libfuzzer_sys::fuzz_target!(|script: &[u8]| fuzzing::endpoint::run(script));
