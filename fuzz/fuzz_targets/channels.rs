//! Two ends with channels and the network between them.
#![no_main]

#[path = "../../dcep/tests/fuzzing/mod.rs"]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|script: &[u8]| fuzzing::run(script));
