//! Session descriptions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narrowboat::fuzzing::sdp(bytes));
