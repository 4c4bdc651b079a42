//! The corpora of fuzz targets, replayed without a fuzzer.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod fuzzing;
#[path = "../../fuzz/replay.rs"]
mod replay;
mod round_trip;
mod victim;

use replay::{corpus, replay};

#[test]
fn every_packet_of_the_corpus_passes_what_the_fuzz_target_checks() {
    replay("packet", 30, round_trip::check_datagram);
}

#[test]
fn every_chunk_of_the_corpus_passes_what_the_fuzz_target_checks() {
    replay("chunk", 5, round_trip::check_chunk);
}

#[test]
fn every_script_against_an_association_passes_what_the_fuzz_target_checks() {
    replay("association", 5, fuzzing::association::run);
}

#[test]
fn every_script_against_an_endpoint_passes_what_the_fuzz_target_checks() {
    replay("endpoint", 5, fuzzing::endpoint::run);
}

#[test]
fn a_file_cut_short_or_with_a_byte_changed_passes_too() {
    for file in corpus("packet") {
        let datagram = std::fs::read(&file).unwrap();
        // Of a packet full of payload, the ends are where anything happens.
        let positions = (0..datagram.len()).filter(|&at| at < 100 || at + 20 > datagram.len());
        for at in positions {
            println!("{} at byte {at}", file.display());
            round_trip::check_datagram(&datagram[..at]);
            for change in [1, 0x80, 0xFF] {
                let mut changed = datagram.clone();
                changed[at] ^= change;
                round_trip::check_datagram(&changed);
            }
        }
    }
}
