//! Tickets and fingerprints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narrowboat::fuzzing::ticket(bytes));
