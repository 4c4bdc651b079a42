//! The controller on a path of 12 Mbit/s and 50 ms without loss, in rounds.

use super::super::testing::{MTU, acked};
use super::*;
use crate::testing::some_time;

const MS: Duration = Duration::from_millis(1);
const RTT: Duration = Duration::from_millis(50);
/// Packets that the path delivers in a round trip.
const PRODUCT: usize = 50;

struct World {
    bbr: Bbr,
    now: Instant,
    next: TransmissionNumber,
    /// Time that packets wait behind those of others.
    wait: Duration,
}

impl World {
    fn new() -> Self {
        Self { bbr: Bbr::new(MTU), now: some_time(), next: TransmissionNumber::default(), wait: Duration::ZERO }
    }

    /// Sends a window, or as many packets, and delivers them one after the other a round trip later.
    fn round(&mut self, packets: Option<usize>) {
        let packets = packets.unwrap_or_else(|| self.bbr.cwnd() / MTU);
        let sent: Vec<TransmissionNumber> = (0..packets).map(|index| self.send(index)).collect();
        self.now += RTT + self.wait;
        for (index, newest) in sent.into_iter().enumerate() {
            self.deliver(newest, packets - index - 1);
            self.now += MS;
        }
    }

    fn send(&mut self, in_flight: usize) -> TransmissionNumber {
        let first = self.next.take();
        let (flight_before, flight_size) = (in_flight * MTU, (in_flight + 1) * MTU);
        self.bbr.on_packet_sent(self.now, Departure { first, flight_before, flight_size });
        first
    }

    fn deliver(&mut self, newest: TransmissionNumber, in_flight: usize) {
        let rtt = Some(RTT + self.wait + u32::try_from(in_flight.saturating_sub(PRODUCT)).unwrap() * MS);
        let sack = Acked { rtt, srtt: RTT + self.wait, now: self.now, ..acked(MTU) };
        self.bbr.on_acked(&sack, Delivery { newest: Some(newest), flight_size: in_flight * MTU });
        self.bbr.check_consistency(MTU);
    }

    fn full() -> Self {
        let mut world = Self::new();
        for _ in 0..20 {
            world.round(None);
        }
        assert!(world.bbr.state.is_probe_bw(), "{:?}", world.bbr.state);
        world
    }
}

#[test]
fn startup_doubles_the_window_until_the_pipe_is_full() {
    let mut world = World::new();
    let before = world.bbr.cwnd();
    world.round(None);
    assert_eq!(world.bbr.cwnd(), 2 * before);
    assert_eq!(world.bbr.state, BbrState::Startup);
    for _ in 0..20 {
        world.round(None);
    }
    let stats = world.bbr.stats(Some(RTT));
    assert!(stats.bandwidth.is_some_and(|bandwidth| (500_000..=1_300_000).contains(&bandwidth)), "{stats:?}");
    assert_eq!(stats.min_rtt, Some(RTT));
}

#[test]
fn a_time_out_leaves_one_packet_and_the_window_comes_back() {
    let mut world = World::full();
    let before = world.bbr.cwnd();
    world.bbr.on_timeout(MTU);
    assert_eq!(world.bbr.cwnd(), MTU);
    for _ in 0..8 {
        world.round(None);
    }
    assert!(world.bbr.cwnd() >= before / 2, "{} of {before}", world.bbr.cwnd());
}

#[test]
fn an_idle_time_takes_nothing_from_the_window_and_the_rate_is_the_estimate() {
    let mut world = World::full();
    let before = world.bbr.cwnd();
    world.bbr.on_app_limited(0);
    world.now += 60 * Duration::from_secs(1);
    world.bbr.on_nothing_outstanding(world.now, MTU);
    assert_eq!(world.bbr.cwnd(), before);
    let (rate, bandwidth) = (world.bbr.pacing_rate(Some(RTT)).bytes_per_second(), world.bbr.bandwidth());
    assert_eq!(rate, Some(bandwidth.bytes_per_second()));
}

#[test]
fn the_response_to_a_loss_that_was_none_is_undone() {
    let mut world = World::full();
    let (before, lost) = (world.bbr.cwnd(), world.send(0));
    world.bbr.on_chunk_lost(world.now, lost, MTU);
    world.bbr.on_timeout(MTU);
    world.bbr.bounds.inflight_longterm = Some(10 * MTU);
    world.bbr.on_spurious_loss();
    assert_eq!(world.bbr.cwnd(), before);
    assert_eq!(world.bbr.bounds.inflight_longterm, None, "there was no bound before");
    world.bbr.bounds.inflight_longterm = Some(10 * MTU);
    world.bbr.on_spurious_loss();
    assert_eq!(world.bbr.bounds.inflight_longterm, Some(10 * MTU), "undone once");
}

#[test]
fn a_little_loss_costs_nothing_and_much_loss_lowers_the_rate() {
    for (lost, is_lower) in [(1, false), (10, true)] {
        let mut world = World::full();
        world.bbr.enter(BbrState::Cruise);
        for _ in 0..2 {
            let first = world.next;
            world.round(Some(PRODUCT - lost));
            for _ in 0..lost {
                world.bbr.on_chunk_lost(world.now, first, MTU);
            }
        }
        world.round(Some(PRODUCT));
        assert_eq!(world.bbr.bounds.bandwidth_shortterm.is_some(), is_lower, "{lost} of {PRODUCT}");
    }
}

#[test]
fn a_probe_ends_when_a_round_brings_a_queue_instead_of_bandwidth() {
    for (percent, is_over) in [(115, false), (140, true)] {
        let mut world = World::full();
        let product = world.bbr.product(100) / MTU;
        world.bbr.begin_refill();
        world.round(Some(product));
        assert_eq!(world.bbr.state, BbrState::Up);
        // The queue makes the round trip longer by what it holds, so the rate stays.
        (0..2).for_each(|_| world.round(Some(product * percent / 100)));
        assert_eq!(world.bbr.state != BbrState::Up, is_over, "{percent} % of the product in flight");
    }
}

/// Returns a world in the state in which a probe would be due, but for the others that fill the queue.
fn competing() -> World {
    let mut world = World::full();
    world.bbr.enter(BbrState::Cruise);
    world.wait = 20 * MS;
    for _ in 0..50 {
        world.round(Some(PRODUCT));
        if world.bbr.state == BbrState::Compete {
            return world;
        }
        assert_eq!(world.bbr.state, BbrState::Cruise, "others fill the queue: no probe");
    }
    panic!("no probe was due")
}

#[test]
fn a_flow_competes_instead_of_probing_while_others_fill_the_queue() {
    let mut world = competing();
    assert_eq!(world.bbr.stats(Some(RTT)).state, crate::stats::CongestionState::Compete);
    let before = world.bbr.cwnd();
    assert!(before <= (PRODUCT + 2) * MTU, "what was in flight is kept, {before} bytes");
    world.bbr.on_loss(MTU);
    world.round(Some(1));
    assert!(world.bbr.cwnd() <= before * 8 / 10, "{} of {before}", world.bbr.cwnd());
    // The others have gone.
    world.wait = Duration::ZERO;
    for _ in 0..50 {
        world.round(None);
    }
    assert!(world.bbr.state != BbrState::Compete);
}

#[test]
fn a_loss_in_a_queue_of_others_begins_the_competition_and_one_that_was_none_ends_it() {
    let mut world = World::full();
    world.bbr.enter(BbrState::Cruise);
    world.bbr.on_loss(MTU);
    assert_eq!(world.bbr.state, BbrState::Cruise, "there is no queue");
    world.bbr.on_spurious_loss();
    world.wait = 20 * MS;
    (0..4).for_each(|_| world.round(Some(PRODUCT)));
    let before = world.bbr.cwnd();
    world.bbr.window.flight_size = 40 * MTU;
    world.bbr.on_loss(MTU);
    assert_eq!(world.bbr.state, BbrState::Compete);
    assert_eq!(world.bbr.competition.cwnd(), 28 * MTU, "as much less as CUBIC's");
    world.bbr.on_spurious_loss();
    assert_eq!((world.bbr.state, world.bbr.cwnd()), (BbrState::Cruise, before));
}

#[test]
fn a_time_out_and_an_idle_time_end_the_competition() {
    let mut world = competing();
    world.bbr.on_timeout(MTU);
    assert_eq!((world.bbr.state, world.bbr.cwnd()), (BbrState::Cruise, MTU));
    let mut world = competing();
    world.bbr.on_app_limited(0);
    world.bbr.on_nothing_outstanding(world.now, MTU);
    assert_eq!(world.bbr.state, BbrState::Cruise);
}
