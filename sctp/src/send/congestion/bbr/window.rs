//! The congestion window and the pacing rate that follow from the model.

use super::bandwidth::Bandwidth;
use super::cycle::BbrState;
use super::{Acked, Bbr};
use crate::send::congestion::window::INITIAL_PACKETS;
use crate::send::pacer::{BURST_TIME, PacingRate};
use crate::time::{Duration, Instant};

/// Packets that leave at once if the rate allows no more.
const BURST_PACKETS: usize = 2;

/// Round-trip time that counts before one is measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(1);

/// Returns the least window: with four packets in flight, and a SACK for every other one, no end waits for the other.
pub(super) fn packets_min(pmdcs: usize) -> usize {
    4 * pmdcs
}

/// The window, the rate, and what bounds them for a while.
#[derive(Debug)]
pub(super) struct ModelWindow {
    pub(super) cwnd: usize,
    pub(super) initial: usize,
    /// Flight size after the last SACK.
    pub(super) flight_size: usize,
    /// The window before it was cut for a probe of the round-trip time.
    prior_cwnd: usize,
    rate: Option<Bandwidth>,
    pub(super) is_idle_restart: bool,
    /// Round with which Drain ends at the latest.
    pub(super) drain_until: u64,
    /// Time until which the round-trip time is probed, once little is in flight.
    pub(super) probe_rtt_until: Option<Instant>,
}

impl ModelWindow {
    pub(super) fn new(pmdcs: usize) -> Self {
        let initial = INITIAL_PACKETS * pmdcs;
        Self {
            cwnd: initial,
            initial,
            flight_size: 0,
            prior_cwnd: 0,
            rate: None,
            is_idle_restart: false,
            drain_until: 0,
            probe_rtt_until: None,
        }
    }

    /// Returns the rate at which packets leave: before anything is measured, Startup's share of the initial window in a
    /// round trip.
    pub(super) fn pacing_rate(&self, srtt: Option<Duration>) -> PacingRate {
        let rate = self.rate.unwrap_or_else(|| self.initial_rate(srtt.unwrap_or(RTT_UNKNOWN)));
        PacingRate {
            bytes: usize::try_from(rate.bytes_per_second()).unwrap_or(usize::MAX),
            interval: Duration::from_secs(1),
            burst_packets: BURST_PACKETS,
        }
    }

    fn initial_rate(&self, srtt: Duration) -> Bandwidth {
        Bandwidth::of(self.initial as u64, srtt).percent(BbrState::Startup.pacing_gain())
    }

    pub(super) fn save(&mut self) {
        self.prior_cwnd = self.cwnd;
    }

    pub(super) fn restore(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    pub(super) fn on_timeout(&mut self, pmdcs: usize) {
        self.cwnd = pmdcs;
    }
}

impl Bbr {
    /// Sets the pacing rate. It does not fall before the pipe was full once: until then a low sample says only that
    /// little was sent.
    pub(super) fn set_pacing_rate(&mut self, gain: u64) {
        let bandwidth = self.bandwidth();
        if bandwidth == Bandwidth::default() {
            return;
        }
        let rate = bandwidth.percent(gain);
        let current = self.window.rate.unwrap_or_else(|| self.window.initial_rate(self.model.srtt));
        self.window.rate = Some(if self.model.full_pipe.is_reached() { rate } else { rate.max(current) });
    }

    /// Moves the window towards what the model wants in flight: down at once, up by what was acknowledged.
    pub(super) fn set_cwnd(&mut self, acked: &Acked) {
        let pmdcs = acked.pmdcs;
        let product = self.product(self.state.cwnd_gain());
        let max = self.quantize(product.saturating_add(self.model.extra_acked.get()), pmdcs);
        let cwnd = self.window.cwnd;
        if self.state == BbrState::Compete {
            self.window.cwnd = self.competition.cwnd();
            return;
        }
        if self.model.full_pipe.is_reached() {
            self.window.cwnd = (cwnd + acked.bytes).min(max);
        } else if cwnd < max || self.sampler.delivered() < self.window.initial as u64 {
            self.window.cwnd = cwnd + acked.bytes;
        }
        let bound = self.bound(pmdcs).unwrap_or(usize::MAX).max(packets_min(pmdcs));
        self.window.cwnd = self.window.cwnd.max(packets_min(pmdcs)).min(bound);
    }

    /// Returns the bound by losses, and by the probe of the round-trip time.
    fn bound(&self, pmdcs: usize) -> Option<usize> {
        let longterm = match self.state {
            BbrState::Startup | BbrState::Drain | BbrState::Compete => None,
            BbrState::Down | BbrState::Refill | BbrState::Up => self.bounds.inflight_longterm,
            BbrState::Cruise | BbrState::ProbeRtt => self.longterm_with_headroom(pmdcs),
        };
        let probe_rtt = (self.state == BbrState::ProbeRtt).then(|| self.probe_rtt_cwnd(pmdcs));
        [longterm, self.bounds.inflight_shortterm, probe_rtt].into_iter().flatten().min()
    }

    /// Returns what has to be in flight for a share of the bandwidth-delay product, in percent.
    pub(super) fn inflight(&self, percent: u64, pmdcs: usize) -> usize {
        self.inflight_of(self.bandwidth(), percent, pmdcs)
    }

    pub(super) fn inflight_of(&self, bandwidth: Bandwidth, percent: u64, pmdcs: usize) -> usize {
        self.quantize(self.product_of(bandwidth, percent), pmdcs)
    }

    /// Raises a flight size to the least that works: packets leave in bursts, and are acknowledged by twos.
    fn quantize(&self, inflight: usize, pmdcs: usize) -> usize {
        let burst = self.window.rate.unwrap_or_default().bytes_in(BURST_TIME);
        let probe = if self.state == BbrState::Up { 2 * pmdcs } else { 0 };
        inflight.max(burst).max(packets_min(pmdcs)).saturating_add(probe)
    }
}
