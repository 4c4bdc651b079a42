//! DCEP messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narrowboat_dcep::fuzzing::control(bytes));
