//! State Cookies, made and made up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narrowboat_sctp::fuzzing::cookie(std::time::Instant::now(), bytes));
