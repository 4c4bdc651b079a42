//! Two associations and the network between them, against a naive model of their promises: 32 operations.
#![no_main]

#[path = "../../sctp/tests/operations_model/mod.rs"]
mod operations_model;

libfuzzer_sys::fuzz_target!(|script: &[u8]| operations_model::run(script.get(..64).unwrap_or(script)));
