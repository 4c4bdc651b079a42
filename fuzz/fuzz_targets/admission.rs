//! The table of peers that have proved nothing yet.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| narrowboat::fuzzing::admission(script));
