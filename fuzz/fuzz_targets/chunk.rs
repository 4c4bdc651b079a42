//! Any bytes as one chunk: its type, its flags, its value.
#![no_main]

#[path = "../../sctp/tests/round_trip/mod.rs"]
mod round_trip;

libfuzzer_sys::fuzz_target!(|chunk: &[u8]| round_trip::check_chunk(chunk));
