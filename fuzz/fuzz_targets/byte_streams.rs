//! Two ends of a byte stream and the network between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| narrowboat::fuzzing::byte_streams(script));
