//! The two state machines of stream resets.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| narrowboat_sctp::fuzzing::reset(std::time::Instant::now(), script));
