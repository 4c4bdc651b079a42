//! States of the model, and the clock of the cycle in which it probes for bandwidth.

use crate::stats::CongestionState;
use crate::time::{Duration, Instant};

/// State of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BbrState {
    /// The rate doubles each round trip, until the pipe is full.
    Startup,
    /// The queue that Startup has built drains.
    Drain,
    /// Less than the estimate is sent, so that the queue of the last probe drains and others find room.
    Down,
    /// The estimate is sent.
    Cruise,
    /// The pipe fills to the last bound, before more is tried.
    Refill,
    /// More than the estimate is sent.
    Up,
    /// Others keep the queue filled: the window follows losses as theirs do.
    Compete,
    /// Little is in flight, so that the round-trip time without a queue is seen.
    ProbeRtt,
}

impl BbrState {
    /// Returns the share of the bandwidth that is sent, in percent.
    pub(super) fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            // The window bounds what is in flight.
            Self::Up | Self::Compete => 125,
        }
    }

    /// Returns the share of the bandwidth-delay product that may be in flight, in percent.
    pub(super) fn cwnd_gain(self) -> u64 {
        match self {
            Self::ProbeRtt => 50,
            Self::Up => 225,
            _ => 200,
        }
    }

    /// Returns the name of the state in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::Down => "probe bandwidth: down",
            Self::Cruise => "probe bandwidth: cruise",
            Self::Refill => "probe bandwidth: refill",
            Self::Up => "probe bandwidth: up",
            Self::Compete => "compete",
            Self::ProbeRtt => "probe round-trip time",
        }
    }

    /// Returns the state for users.
    pub(super) fn public(self) -> CongestionState {
        match self {
            Self::Startup => CongestionState::Startup,
            Self::Drain => CongestionState::Drain,
            Self::Down => CongestionState::ProbeBwDown,
            Self::Cruise => CongestionState::ProbeBwCruise,
            Self::Refill => CongestionState::ProbeBwRefill,
            Self::Up => CongestionState::ProbeBwUp,
            Self::Compete => CongestionState::Compete,
            Self::ProbeRtt => CongestionState::ProbeRtt,
        }
    }

    /// Returns true in the cycle of probing for bandwidth, and while competition takes its place.
    pub(super) fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up | Self::Compete)
    }

    /// Returns true if losses have an answer of their own: the flow sends more on purpose, has done so, or competes.
    pub(super) fn answers_losses(self) -> bool {
        matches!(self, Self::Startup | Self::Drain | Self::Refill | Self::Up | Self::Compete)
    }
}

/// Meaning of the next acknowledgements for a probe.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum AckPhase {
    #[default]
    Nothing,
    /// They are of data sent before the pipe is full.
    Refilling,
    /// They are of data sent before the probe.
    ProbeStarting,
    /// They are of the probe.
    ProbeFeedback,
    /// They are of the probe, which is over.
    ProbeStopping,
}

/// Rounds after a probe in which a queue is that of the probe.
const DOWN_ROUNDS: u64 = 6;

/// Rounds after which the bandwidth is probed at the latest, so that a flow with a small window gets its share beside
/// Reno.
const PROBE_ROUNDS_MAX: u64 = 63;

/// Least time between two probes. A random part of a second is added, so that flows do not probe at once.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// The clock of the cycle, and the results of the last probe.
#[derive(Debug, Default)]
pub(super) struct ProbeCycle {
    pub(super) ack_phase: AckPhase,
    began_at: Option<Instant>,
    wait: Duration,
    /// Rounds since the last probe.
    rounds: u64,
    /// True if losses of the probe are still to be answered.
    pub(super) is_probe_sample: bool,
    /// True if the last probe found losses.
    pub(super) was_too_high: bool,
    /// True if the last probe stopped at the bound that the one before had found, without losses.
    pub(super) was_precautionary: bool,
    pub(super) growth: LongtermGrowth,
}

/// Growth of the long-term bound during a probe: by a packet in the first round, and twice as fast in each one after.
#[derive(Debug, Default)]
pub(super) struct LongtermGrowth {
    rounds: u32,
    acked: usize,
    acked_per_packet: usize,
}

impl ProbeCycle {
    /// Begins a cycle. `random` is any number that other flows do not have.
    pub(super) fn begin(&mut self, now: Instant, random: u64) {
        self.began_at = Some(now);
        self.rounds = random & 1;
        self.wait = PROBE_WAIT + Duration::from_millis((random >> 1) % 1000);
        self.ack_phase = AckPhase::ProbeStopping;
    }

    /// Forgets what the last probe has found.
    pub(super) fn forget_probe(&mut self) {
        (self.is_probe_sample, self.was_too_high, self.was_precautionary) = (false, false, false);
    }

    pub(super) fn on_round(&mut self) {
        self.rounds += 1;
    }

    /// Returns true if the queue may still be that of the last probe.
    pub(super) fn has_own_queue(&self) -> bool {
        self.rounds < DOWN_ROUNDS
    }

    /// Returns true if it is time for a probe. Reno would have taken as many rounds as `packets` to win that many.
    pub(super) fn is_probe_due(&self, now: Instant, packets: usize) -> bool {
        self.began_at.is_some_and(|at| now > at + self.wait) || self.rounds >= PROBE_ROUNDS_MAX.min(packets as u64)
    }

    pub(super) fn begin_refill(&mut self) {
        self.growth = LongtermGrowth::default();
        self.was_precautionary = false;
        self.ack_phase = AckPhase::Refilling;
    }

    pub(super) fn begin_up(&mut self, cwnd: usize, pmdcs: usize) {
        self.ack_phase = AckPhase::ProbeStarting;
        self.growth.steepen(cwnd, pmdcs);
    }
}

impl LongtermGrowth {
    pub(super) fn steepen(&mut self, cwnd: usize, pmdcs: usize) {
        self.acked_per_packet = (cwnd >> self.rounds).max(pmdcs);
        self.rounds = (self.rounds + 1).min(30);
    }

    /// Returns the packets by which the bound grows.
    pub(super) fn on_acked(&mut self, bytes: usize) -> usize {
        self.acked += bytes;
        let step = self.acked_per_packet.max(1);
        let packets = self.acked / step;
        self.acked %= step;
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_probe_is_due_after_two_to_three_seconds_or_as_many_rounds_as_reno_needs() {
        for (random, wait) in [(0, 2000), (1999, 2999), (3, 2001)] {
            let (mut cycle, start) = (ProbeCycle::default(), some_time());
            cycle.begin(start, random);
            assert!(!cycle.is_probe_due(start + wait * MS, 100));
            assert!(cycle.is_probe_due(start + wait * MS + MS, 100));
            (0..62 - (random & 1)).for_each(|_| cycle.on_round());
            assert!(!cycle.is_probe_due(start, 100));
            assert!(cycle.is_probe_due(start, 62), "a small window");
            cycle.on_round();
            assert!(cycle.is_probe_due(start, 100));
        }
    }

    #[test]
    fn the_bound_grows_twice_as_fast_each_round() {
        let mut growth = LongtermGrowth::default();
        for packets in [1, 2, 4, 8] {
            growth.steepen(100_000, 1000);
            assert_eq!(growth.on_acked(100_000), packets);
        }
        (0..20).for_each(|_| growth.steepen(100_000, 1000));
        assert_eq!(growth.on_acked(100_500), 100, "a packet for each at most");
        assert_eq!(growth.on_acked(500), 1, "nothing is lost");
    }
}
