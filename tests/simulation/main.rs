//! A deterministic simulation of endpoints, associations and data channels on a virtual clock and a seeded network.
//!
//! - `SIM_SEEDS=2000 cargo test --release --test simulation` runs that many seeds, `SIM_FIRST=50000` others.
//! - `SIM_SEED=17 cargo test --release --test simulation seeds -- --nocapture` replays one, and tells all that happens.
//!
//! A run draws its whole set of options from the seed (`options`), lets nodes (`node`, `session`, `app`) talk over a
//! faulty network (`network`, `faults`) through the phases of `phases`, and checks after each step what must hold:
//! `model` what is delivered, `observer` (with `outgoing`, `incoming`, `resets`) what is on the wire, read by a parser of
//! its own (`packet`), `invariants` what an association shows, `alloc` what it holds.

#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test harness: it panics when something is wrong"
)]

mod alloc;
mod app;
mod clock;
mod faults;
mod incoming;
mod invariants;
mod model;
mod network;
mod node;
mod observer;
mod options;
mod outgoing;
mod packet;
mod payload;
mod phases;
mod pipe;
mod prng;
mod resets;
mod runner;
mod session;
mod stack;
mod trace;
mod world;

use options::Options;
use runner::{check, check_all, seeds_from_environment};
use trace::Verbosity;

#[test]
fn seeds() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().map(|seed| seed.parse().expect("SIM_SEED is a number")) {
        let options = Options::draw(seed);
        eprintln!("{options:#?}");
        let outcome = runner::run(&options, Verbosity::All).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("{outcome:?}");
        return;
    }
    check_all(seeds_from_environment(), Options::draw);
}

#[test]
fn same_seed_same_trace() {
    for seed in seeds_from_environment().step_by(100) {
        let options = Options::draw(seed);
        let [once, again] = [0, 1].map(|_| check(&options));
        assert_eq!(once, again, "I02: seed {seed} does not replay");
    }
}
