//! The corpus of the fuzz target `channels`, replayed without a fuzzer.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod fuzzing;
#[path = "../../fuzz/replay.rs"]
mod replay;

use narrowboat_sctp::testing::Random;

#[test]
fn every_script_of_the_corpus_passes_what_the_fuzz_target_checks() {
    replay::replay("channels", 5, fuzzing::run);
}

/// Scripts that look random, and are the same in every run.
#[test]
fn drawn_scripts_pass_what_the_fuzz_target_checks() {
    for seed in 1..200_u64 {
        let mut random = Random(seed);
        println!("seed {seed}");
        // No script that breaks rules: those have no end to compare.
        fuzzing::run(
            &(0..96).map(|at| if at % 2 == 0 { random.u8() & 0x7F } else { random.u8() }).collect::<Vec<u8>>(),
        );
    }
}
