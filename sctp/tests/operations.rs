//! Any operations on two associations and the network between them, in any order, against a naive model. `OPERATIONS=N`
//! says how many scripts; a script that fails is printed as a seed, which `OPERATIONS_SEED` replays.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod operations_model;
#[path = "../../fuzz/replay.rs"]
mod replay;

use narrowboat_sctp::testing::Random;

fn script(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let len = 20 + 4 * usize::from(random.u8());
    (0..2 * len).map(|_| random.u8()).collect()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn any_operations_in_any_order_keep_every_promise() {
    let seeds = match variable("OPERATIONS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("OPERATIONS").unwrap_or(100),
    };
    for seed in seeds {
        // Shown if it fails.
        println!("OPERATIONS_SEED={seed}");
        operations_model::run(&script(seed));
    }
}

#[test]
fn scripts_of_one_operation_over_and_over_keep_every_promise() {
    for what in 0..16 {
        for how in [0, 1, 2, 3, 0x55, 0xAA, 0xFE, 0xFF] {
            println!("{what} {how}");
            operations_model::run(&[what, how].repeat(60));
        }
    }
}

#[test]
fn every_script_of_the_corpus_passes_what_the_fuzz_target_checks() {
    replay::replay("operations", 8, operations_model::run);
}
