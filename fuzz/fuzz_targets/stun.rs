//! STUN messages, with and without a right FINGERPRINT.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narrowboat::fuzzing::stun(bytes));
