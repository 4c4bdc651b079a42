//! A deterministic simulation of endpoints, associations and data channels on a virtual clock and a seeded network.
//!
//! - `SIM_SEEDS=2000 cargo test --release --test simulation` runs that many seeds, `SIM_FIRST=50000` others.
//! - `SIM_SEED=17 cargo test --release --test simulation seeds -- --nocapture` replays one, and tells all that happens.
//!
//! `SIM_BASE=1` draws the options with `Options::draw` alone, `SIM_BASE=2` with `Options::draw_all`, and `SIM_BASE=3`
//! with `Options::draw_whole`, as `regressions` do; each adds kinds of trouble to the one before. `SIM_BASE=4`
//! (`Options::draw_streams`) adds byte streams to all, `SIM_BASE=5` (`Options::draw_extensions`) schedulers, and
//! `SIM_BASE=6` (`Options::draw_more`) adds streams to associations that begin with few, and asks peers to reset
//! streams. `SIM_BASE=7` (`Options::draw_sizes`) adds searches for the size of packets, and links that carry packets up
//! to a size, and `SIM_BASE=8` (`Options::draw_idle`) other idle time-outs. Without it
//! `Options::draw_policies` adds policies for messages that wait, model-based congestion control, packets without
//! checksums, and associations whose INITs signalling has carried.
//!
//! A run draws its whole set of options from the seed (`options`), lets nodes (`node`, `session`, `app`) talk over a
//! faulty network (`network`, `faults`) through the phases of `phases`, and checks the invariants after each step. In
//! half of the runs one of the nodes has the manners of another stack (`foreign`). `model` checks the messages
//! delivered, `observer` (with `outgoing`, `incoming`, `resets`) the packets on the wire, read by a parser of its own
//! (`packet`), `invariants` the statistics of an association, `alloc` its memory.
//!
//! | invariant | where it is asserted |
//! | --- | --- |
//! | I01 time-outs and steps of one instant end | `world` (`step`, `pass_to`), `session` (`finish`) |
//! | I02 a seed replays to the same trace | `same_seed_same_trace` below |
//! | I03 no panic, no overflow, no failed recount | the profile `sim`; `check_consistency` of each room |
//! | I04 packets are well formed, in size, tag, order and checksum | `observer` (`check_form`, `check_tag`), `session` |
//! | I05 one packet without DATA for a packet; answers to strangers are short | `session` (`transmit`), `node` (`route`) |
//! | I06 flight size | `invariants` (`check_step`); recounted in `send` |
//! | I07, I08 TSNs are contiguous; acknowledged chunks are not retransmitted | `outgoing` (`on_data`) |
//! | I09 congestion window, its cuts, bursts | `invariants` (`check_window`), `session` (`check_congestion`, `transmit`) |
//! | I10 the peer's window | `invariants` (`check_step`, `check_window`) |
//! | I11 T3, RTO, Karn's rule | `invariants` (`check_step`), `session` (`on_datagram`); `check_timers` in `sctp` |
//! | I12 FORWARD-TSN | `outgoing` (`on_forward_tsn`, `check_abandonable`) |
//! | I13 fragments and SSNs | `outgoing` (`on_new`) |
//! | I14 buffered amounts and their event | `app` (`check`, `on_event`); recounted in `send` |
//! | I15 limits of partial reliability, events of what was abandoned | `outgoing` (`check_promise`), `model` (`check_abandoned`) |
//! | I16 SACKs report the TSNs that arrived, after a refusal a part; one SACK at least for two packets | `incoming` |
//! | I17 the advertised window and real memory | `incoming` (`on_sack`), `invariants` (`check_heap`) |
//! | I18 to I22 messages arrive once, in order, whole, on their channel | `model` (`on_delivered`, `check_delivered`) |
//! | I23 states and the one last event | `invariants` (`check_transition`, `check_step`), `app` (`on_event`) |
//! | I24 nothing is kept before a valid cookie | `node` (`route`, `check_stateless`), `observer` (`agree`) |
//! | I25 packets without a meaning change nothing | `invariants` (`check_void`) |
//! | I27 one association a pair, tags agreed on | `node` (`adopt`), `observer` (`check_tag`) |
//! | I28 each timer has an owner, and fires in time | `invariants` (`check_step`, `check_early_timeout`) |
//! | I29 silent peers, and only those, time out | `session` (`on_timeout`, `on_event`), `phases` (`vanish`) |
//! | I30, I31 stream resets | `resets`, `outgoing` (`on_reset_requested`) |
//! | I32 to I35 ids, DCEP, events, tables | `app` (`check`, `on_event`, `bury`), `outgoing` (`on_message`) |
//! | I36 the endpoint's table and limits | `node` (`check`) |
//! | I37 restarts | `app` (`on_event`) |
//! | I39 everything ends in time once the network has healed | `phases` (`settle`, `end_within`) |
//! | I40 an open window is found, a full buffer takes the chunk all wait for | `observer` (DATA), `incoming` (`on_sack`) |
//! | I41 rest | `phases` (`rest`) |
//! | I43 nothing is left | `phases` (`tear_down`, `leave_nothing`), `node` (`kill`) |
//! | I44 byte streams with half close: one FIN, no bytes after it, each ends unless it is cut | `streams`, `app` (`bury`, `check_streams`) |
//! | I45 the handshake decides the type of chunks with user data | `observer` (`check_data_format`) |
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
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
mod foreign;
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
mod regressions;
mod resets;
mod runner;
mod session;
mod stack;
mod streams;
mod trace;
mod world;
mod wrap;

/// The errors of the state machine of `streams`.
mod error {
    pub(crate) use narrowboat::error::ByteStreamError;
}

use options::Options;
use runner::{check, check_all, seeds_from_environment};
use trace::Verbosity;

#[test]
fn seeds() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().map(|seed| seed.parse().expect("SIM_SEED is a number")) {
        let options = match std::env::var("SIM_BASE").as_deref() {
            Ok("1") => Options::draw(seed),
            Ok("2") => Options::draw_all(seed),
            Ok("3") => Options::draw_whole(seed),
            Ok("4") => Options::draw_streams(seed),
            Ok("5") => Options::draw_extensions(seed),
            Ok("6") => Options::draw_more(seed),
            Ok("7") => Options::draw_sizes(seed),
            Ok(_) => Options::draw_idle(seed),
            Err(_) => Options::draw_policies(seed),
        };
        eprintln!("{options:#?}");
        let outcome = runner::run(&options, Verbosity::All).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("{outcome:?}");
        return;
    }
    check_all(seeds_from_environment(), Options::draw_policies);
}

#[test]
fn same_seed_same_trace() {
    for seed in seeds_from_environment().step_by(100) {
        let options = Options::draw_policies(seed);
        let [once, again] = [0, 1].map(|_| check(&options));
        assert_eq!(once, again, "I02: seed {seed} does not replay");
    }
}
