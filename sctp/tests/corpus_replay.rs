//! The corpus of the fuzz target `packet`, replayed without a fuzzer.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod round_trip;

use std::path::{Path, PathBuf};

#[test]
fn every_file_of_the_corpus_passes_what_the_fuzz_target_checks() {
    let files = corpus();
    assert!(files.len() >= 30, "only {} files in the corpus", files.len());
    for file in files {
        let datagram = std::fs::read(&file).unwrap();
        println!("{}", file.display());
        round_trip::check_datagram(&datagram);
    }
}

#[test]
fn a_file_cut_short_or_with_a_byte_changed_passes_too() {
    for file in corpus() {
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

fn corpus() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/packet");
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
