//! Probing for bandwidth, and for the round-trip time without a queue.

use super::bandwidth::Bandwidth;
use super::cycle::{AckPhase, BbrState};
use super::delivery::RateSample;
use super::loss_bounds::{self, BETA, share};
use super::window::packets_min;
use super::{Acked, Bbr};
use crate::time::{Duration, Instant};

/// Share of the long-term bound, in percent, that is used between two probes: the rest is room for others.
const HEADROOM: u64 = 85;

/// Share of the bandwidth-delay product, in percent, with which a probe is over if the delivery rate does not grow:
/// what its rate has put in flight after a round trip. The rest is a queue.
const PROBE_INFLIGHT: u64 = 125;

/// Time for which little is in flight, at least, when the round-trip time is probed.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

impl Bbr {
    // Bandwidth

    pub(super) fn begin_down(&mut self, now: Instant) {
        self.bounds.reset_signals();
        self.begin_cycle(now);
        self.enter(BbrState::Down);
    }

    /// Begins the wait for the next probe with the estimate.
    pub(super) fn begin_cruise(&mut self, now: Instant) {
        self.bounds.reset_signals();
        self.begin_cycle(now);
        self.enter(BbrState::Cruise);
    }

    pub(super) fn begin_cycle(&mut self, now: Instant) {
        // Numbers that others do not have: the time of this event, and the bytes until it.
        let noise = self.sampler.delivered() ^ u64::from(self.model.srtt.subsec_nanos());
        let random = noise.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.cycle.begin(now, random);
        self.round.begin(self.sampler.delivered());
        self.queue.restart();
    }

    pub(super) fn begin_refill(&mut self) {
        self.bounds.reset_shortterm();
        self.cycle.begin_refill();
        self.round.begin(self.sampler.delivered());
        self.enter(BbrState::Refill);
    }

    fn begin_up(&mut self, acked: &Acked, sample: &RateSample) {
        self.cycle.is_probe_sample = true;
        self.cycle.begin_up(self.window.cwnd, acked.pmdcs);
        self.round.begin(self.sampler.delivered());
        self.model.full_pipe.restart(sample.bandwidth.unwrap_or_default());
        self.enter(BbrState::Up);
    }

    /// Moves on in the cycle of probing.
    pub(super) fn update_probe(&mut self, acked: &Acked, flight_size: usize, sample: &RateSample) {
        if !self.model.full_pipe.is_reached() || self.adapt_longterm(acked, sample) {
            return;
        }
        match self.state {
            BbrState::Down | BbrState::Cruise => {
                if self.is_probe_due(acked) {
                    self.begin_probe(acked);
                } else if self.state == BbrState::Down && self.is_drained(flight_size, acked.pmdcs) {
                    self.enter(BbrState::Cruise);
                }
            }
            BbrState::Compete => self.compete(acked),
            BbrState::Refill if self.round.is_start => self.begin_up(acked, sample),
            BbrState::Up => self.check_probe_over(acked, flight_size, sample),
            _ => {}
        }
    }

    pub(super) fn is_probe_due(&self, acked: &Acked) -> bool {
        let packets = self.target_inflight() / acked.pmdcs.max(1);
        self.cycle.is_probe_due(acked.now, packets)
    }

    fn is_drained(&self, flight_size: usize, pmdcs: usize) -> bool {
        let bandwidth = self.model.max_bandwidth.get();
        flight_size <= self.longterm_with_headroom(pmdcs).unwrap_or(usize::MAX)
            && flight_size <= self.inflight_of(bandwidth, 100, pmdcs)
    }

    fn check_probe_over(&mut self, acked: &Acked, flight_size: usize, sample: &RateSample) {
        if self.is_probe_over(flight_size, acked.pmdcs, sample) {
            self.cycle.was_too_high = false;
            self.begin_down(acked.now);
        }
    }

    fn is_probe_over(&mut self, flight_size: usize, pmdcs: usize, sample: &RateSample) -> bool {
        let bound = self.bounds.inflight_longterm;
        if self.cycle.was_too_high && bound.is_some_and(|bound| flight_size >= bound) {
            self.cycle.was_precautionary = true;
            return true;
        }
        if self.round.is_cwnd_limited() && bound.is_some_and(|bound| self.window.cwnd >= bound) {
            // The bound limits the bandwidth, not the path.
            self.model.full_pipe.restart(sample.bandwidth.unwrap_or_default());
            return false;
        }
        let has_built_queue = flight_size >= self.inflight_of(self.model.max_bandwidth.get(), PROBE_INFLIGHT, pmdcs);
        has_built_queue && self.model.full_pipe.is_flat() || self.model.full_pipe.is_full_now()
    }

    /// Follows the samples of a probe. Returns true if the state has changed.
    fn adapt_longterm(&mut self, acked: &Acked, sample: &RateSample) -> bool {
        if self.round.is_start {
            match self.cycle.ack_phase {
                AckPhase::ProbeStarting => self.cycle.ack_phase = AckPhase::ProbeFeedback,
                AckPhase::ProbeStopping => {
                    self.cycle.is_probe_sample = false;
                    self.cycle.ack_phase = AckPhase::Nothing;
                    if self.state.is_probe_bw() {
                        if !sample.is_app_limited {
                            self.model.max_bandwidth.advance();
                        }
                        if self.cycle.was_precautionary && !self.cycle.was_too_high {
                            self.begin_refill();
                            return true;
                        }
                    }
                }
                _ => {}
            }
        }
        if loss_bounds::is_too_much(sample.lost, sample.flight_size as u64, self.model.has_queue()) {
            return false;
        }
        if let Some(bound) = &mut self.bounds.inflight_longterm {
            *bound = (*bound).max(sample.flight_size);
            if self.state == BbrState::Up && self.round.is_cwnd_limited() && self.window.cwnd >= *bound {
                *bound += self.cycle.growth.on_acked(acked.bytes) * acked.pmdcs;
                if self.round.is_start {
                    self.cycle.growth.steepen(self.window.cwnd, acked.pmdcs);
                }
            }
        }
        false
    }

    /// Handles losses that show that a probe went too far.
    pub(super) fn on_inflight_too_high(&mut self, now: Instant, flight_size: usize, is_app_limited: bool) {
        self.cycle.was_too_high = true;
        self.cycle.is_probe_sample = false;
        if !is_app_limited {
            self.bounds.inflight_longterm = Some(flight_size.max(share(self.target_inflight(), BETA)));
        }
        if self.state == BbrState::Up {
            self.note_ended(BbrState::Up);
            self.begin_down(now);
        }
    }

    /// Returns what the flow wants in flight.
    fn target_inflight(&self) -> usize {
        self.product(100).min(self.window.cwnd)
    }

    /// Returns the long-term bound less the room for others.
    pub(super) fn longterm_with_headroom(&self, pmdcs: usize) -> Option<usize> {
        let bound = self.bounds.inflight_longterm?;
        Some(share(bound, HEADROOM).min(bound.saturating_sub(pmdcs)).max(packets_min(pmdcs)))
    }

    // Round-trip time

    pub(super) fn check_probe_rtt(&mut self, acked: &Acked, flight_size: usize) {
        if self.state != BbrState::ProbeRtt && self.model.min_rtt.is_probe_due() && !self.window.is_idle_restart {
            self.competition.is_interrupted = self.state == BbrState::Compete;
            self.enter(BbrState::ProbeRtt);
            self.window.save();
            self.window.probe_rtt_until = None;
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.round.begin(self.sampler.delivered());
        }
        if self.state != BbrState::ProbeRtt {
            return;
        }
        // Samples with little in flight say nothing about the bandwidth.
        self.sampler.mark_app_limited(flight_size);
        if self.window.probe_rtt_until.is_some() {
            if self.round.is_start {
                self.check_probe_rtt_done(acked.now, acked.pmdcs);
            }
        } else if flight_size <= self.probe_rtt_cwnd(acked.pmdcs) {
            self.window.probe_rtt_until = Some(acked.now + PROBE_RTT_TIME);
            self.round.begin(self.sampler.delivered());
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, now: Instant, pmdcs: usize) {
        if self.window.probe_rtt_until.is_none_or(|until| now <= until) {
            return;
        }
        self.model.min_rtt.on_probed(now);
        self.window.restore();
        self.bounds.reset_shortterm();
        if self.competition.is_interrupted {
            self.resume_competition(now, pmdcs);
        } else if self.model.full_pipe.is_reached() {
            self.begin_cruise(now);
        } else {
            self.enter(BbrState::Startup);
        }
    }

    pub(super) fn probe_rtt_cwnd(&self, pmdcs: usize) -> usize {
        self.product(BbrState::ProbeRtt.cwnd_gain()).max(packets_min(pmdcs))
    }

    /// Returns the bandwidth-delay product, or a share of it in percent.
    pub(super) fn product(&self, percent: u64) -> usize {
        self.product_of(self.bandwidth(), percent)
    }

    pub(super) fn product_of(&self, bandwidth: Bandwidth, percent: u64) -> usize {
        match self.model.min_rtt.get() {
            Some(min_rtt) => share(bandwidth.bytes_in(min_rtt), percent),
            None => self.window.initial,
        }
    }
}
