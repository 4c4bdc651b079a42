//! Any operations on two associations and the network between them, against a naive model of what they promise.
//!
//! `cargo +nightly fuzz run operations`; `cargo test -p narrowboat-sctp --test operations` replays the corpus.
#![no_main]

#[path = "../../sctp/tests/operations_model/mod.rs"]
mod operations_model;

libfuzzer_sys::fuzz_target!(|script: &[u8]| operations_model::run(script.get(..4000).unwrap_or(script)));
