//! Any bytes as a datagram: nothing panics, and a decoded packet is the same after it was written and read again.
#![no_main]

#[path = "../../sctp/tests/round_trip/mod.rs"]
mod round_trip;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| round_trip::check_datagram(datagram));
