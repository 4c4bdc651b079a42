//! One association in ten start states, against a peer that sends anything.
#![no_main]

#[path = "../../sctp/tests/fuzzing/mod.rs"]
mod fuzzing;
#[path = "../../sctp/tests/victim/mod.rs"]
mod victim;

libfuzzer_sys::fuzz_target!(|script: &[u8]| fuzzing::association::run(script));
