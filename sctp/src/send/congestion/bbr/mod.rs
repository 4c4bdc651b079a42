//! Model-based congestion control of the kind of `BBRv3` (draft-ietf-ccwg-bbr).
//!
//! Two filters estimate the path: the greatest delivery rate, and the least round-trip time. Their product is what the
//! path holds without a queue. Packets leave at the estimated rate, the congestion window is a multiple of the product,
//! and losses bound both. The rate is raised for a moment every few seconds, to find bandwidth that has become free.
//!
//! The draft answers each loss. Here losses below a tenth count only if round trips are longer than the least one by
//! an eighth: loss without a queue does not come from this flow, and does not become less if it slows down. The
//! draft's probe lasts for three rounds without growth, and its pace is a hundredth below the estimate; here a probe
//! ends as soon as a round brings a queue of a quarter of the product instead of growth, and the pace is the estimate.
//! The draft probes even if others fill the queue, and takes most of their bandwidth; here [`competition`] takes the
//! place of probes then.

mod bandwidth;
mod competition;
mod cycle;
mod delivery;
mod extra_acked;
mod full_pipe;
mod loss_bounds;
mod min_rtt;
mod probing;
mod window;

#[cfg(test)]
mod tests;

pub(in crate::send) use self::delivery::Departure;

use self::bandwidth::{Bandwidth, MaxBandwidth};
use self::competition::{Competition, StandingQueue};
use self::cycle::{BbrState, ProbeCycle};
use self::delivery::{DeliverySampler, RateSample};
use self::extra_acked::ExtraAcked;
use self::full_pipe::FullPipe;
use self::loss_bounds::LossBounds;
use self::min_rtt::MinRtt;
use self::window::ModelWindow;
use super::{Acked, CwndUsage, Delivery};
use crate::send::pacer::PacingRate;
use crate::serial::TransmissionNumber;
use crate::stats::CongestionStats;
use crate::time::{Duration, Instant};

/// Rounds of Drain at most: with others in the queue it does not become empty.
const DRAIN_ROUNDS_MAX: u64 = 3;

/// Share of the bandwidth-delay product, in percent, that one SACK acknowledges at most if it is no jump.
const JUMP_SHARE: u64 = 25;
/// Packets of a batch that a receiver reads at once.
const JUMP_PACKETS_MIN: usize = 128;

/// Estimates of the path.
#[derive(Debug, Default)]
struct PathModel {
    max_bandwidth: MaxBandwidth,
    min_rtt: MinRtt,
    extra_acked: ExtraAcked,
    full_pipe: FullPipe,
    srtt: Duration,
}

impl PathModel {
    /// Returns true if packets wait in a queue: they take an eighth longer than the quickest.
    fn has_queue(&self) -> bool {
        self.min_rtt.get().is_some_and(|min_rtt| self.srtt > min_rtt + min_rtt / 8)
    }
}

/// Round trips, counted by packets: a round ends when a packet is acknowledged that was sent in it.
#[derive(Debug, Default)]
struct RoundCounter {
    count: u64,
    /// Bytes that are delivered when a packet is sent that ends the round.
    end: u64,
    is_start: bool,
    /// True if cwnd was full in this round, and in the one before.
    was_cwnd_limited: [bool; 2],
}

impl RoundCounter {
    fn begin(&mut self, delivered: u64) {
        self.end = delivered;
    }

    fn on_sample(&mut self, sample: &RateSample, delivered: u64, usage: CwndUsage) {
        self.is_start = sample.prior_delivered >= self.end;
        if self.is_start {
            self.count += 1;
            self.end = delivered;
            self.was_cwnd_limited = [false, self.was_cwnd_limited[0]];
        }
        self.was_cwnd_limited[0] |= usage == CwndUsage::CwndLimited;
    }

    fn is_cwnd_limited(&self) -> bool {
        self.was_cwnd_limited.contains(&true)
    }
}

/// State before a recovery, to come back to if nothing was lost.
#[derive(Clone, Debug)]
struct BeforeRecovery {
    cwnd: usize,
    inflight_longterm: Option<usize>,
    inflight_shortterm: Option<usize>,
    bandwidth_shortterm: Option<Bandwidth>,
    competition: Competition,
    /// The state that the recovery ended.
    ended: Option<BbrState>,
}

/// The controller.
#[derive(Debug)]
pub(in crate::send) struct Bbr {
    sampler: DeliverySampler,
    round: RoundCounter,
    model: PathModel,
    bounds: LossBounds,
    state: BbrState,
    cycle: ProbeCycle,
    window: ModelWindow,
    queue: StandingQueue,
    competition: Competition,
    undo: Option<BeforeRecovery>,
}

impl Bbr {
    /// Creates a controller for a path of which nothing is known.
    pub(super) fn new(pmdcs: usize) -> Self {
        Self {
            sampler: DeliverySampler::default(),
            round: RoundCounter::default(),
            model: PathModel::default(),
            bounds: LossBounds::default(),
            state: BbrState::Startup,
            cycle: ProbeCycle::default(),
            window: ModelWindow::new(pmdcs),
            queue: StandingQueue::default(),
            competition: Competition::new(pmdcs),
            undo: None,
        }
    }

    pub(super) fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    pub(super) fn pacing_rate(&self, srtt: Option<Duration>) -> PacingRate {
        self.window.pacing_rate(srtt)
    }

    pub(super) fn on_packet_sent(&mut self, now: Instant, departure: Departure) {
        self.sampler.on_sent(now, departure);
    }

    /// Handles an attempt to send in which the application ran out of data.
    pub(super) fn on_app_limited(&mut self, flight_size: usize) {
        self.sampler.mark_app_limited(flight_size);
    }

    /// Handles a SACK that acknowledges new data.
    pub(super) fn on_acked(&mut self, acked: &Acked, delivery: Delivery) {
        self.model.srtt = acked.srtt;
        let sample = self.sampler.on_acked(acked.now, acked.bytes, delivery.newest, self.model.min_rtt.get());
        if acked.bytes > self.product(JUMP_SHARE).max(JUMP_PACKETS_MIN * acked.pmdcs) {
            self.sampler.mark_jump();
        }
        if let Some(sample) = sample {
            self.update_model(acked, delivery, &sample);
        }
        self.window.is_idle_restart = false;
        self.set_pacing_rate(self.state.pacing_gain());
        self.set_cwnd(acked);
    }

    fn update_model(&mut self, acked: &Acked, delivery: Delivery, sample: &RateSample) {
        self.window.flight_size = delivery.flight_size;
        self.round.on_sample(sample, self.sampler.delivered(), acked.usage);
        self.watch_queue(acked);
        if self.round.is_start {
            self.cycle.on_round();
            self.model.extra_acked.on_round(!self.model.full_pipe.is_reached());
        }
        if let Some(bandwidth) = sample.bandwidth
            && (!sample.is_app_limited || bandwidth >= self.model.max_bandwidth.get())
        {
            self.model.max_bandwidth.update(bandwidth);
        }
        let has_queue = self.model.has_queue();
        let round_loss = self.bounds.on_sample(sample, &self.sampler, has_queue);
        if round_loss.is_some_and(|loss| loss.is_congestion) && !self.state.answers_losses() {
            self.bounds.adapt_to_loss(self.model.max_bandwidth.get(), self.window.cwnd);
        }
        let bandwidth = self.bandwidth();
        self.model.extra_acked.on_acked(acked.now, acked.bytes, bandwidth, self.window.cwnd);
        if !sample.is_app_limited {
            self.model.full_pipe.on_sample(sample.bandwidth.unwrap_or_default(), self.round.is_start);
        }
        if self.state == BbrState::Startup {
            self.check_startup_done(acked, round_loss.is_some_and(|loss| loss.ends_startup));
        }
        if self.state == BbrState::Drain {
            self.check_drain_done(acked, delivery.flight_size);
        }
        self.update_probe(acked, delivery.flight_size, sample);
        self.model.min_rtt.on_sample(acked.now, acked.rtt);
        self.check_probe_rtt(acked, delivery.flight_size);
        if round_loss.is_some() {
            self.bounds.advance(sample);
        }
    }

    /// Returns the bandwidth that the flow uses.
    fn bandwidth(&self) -> Bandwidth {
        let max = self.model.max_bandwidth.get();
        self.bounds.bandwidth_shortterm.map_or(max, |bound| bound.min(max))
    }

    /// Returns true if the rate doubles with each round trip.
    pub(super) fn is_in_startup(&self) -> bool {
        self.state == BbrState::Startup
    }

    /// Leaves Startup if the pipe is full.
    fn check_startup_done(&mut self, acked: &Acked, has_high_loss: bool) {
        if has_high_loss && acked.in_recovery && !self.model.full_pipe.is_reached() {
            self.model.full_pipe.set_reached(true);
            self.bounds.inflight_longterm = Some(self.product(100).max(self.bounds.latest_inflight()));
            self.note_ended(BbrState::Startup);
        }
        if self.model.full_pipe.is_flat() && self.model.has_queue() {
            self.model.full_pipe.set_reached(true);
        }
        if self.model.full_pipe.is_reached() {
            self.enter(BbrState::Drain);
            self.window.drain_until = self.round.count + DRAIN_ROUNDS_MAX;
        }
    }

    fn check_drain_done(&mut self, acked: &Acked, flight_size: usize) {
        if flight_size <= self.inflight(100, acked.pmdcs) || self.round.count > self.window.drain_until {
            self.begin_down(acked.now);
        }
    }

    fn enter(&mut self, state: BbrState) {
        self.state = state;
        let (state, cwnd, bandwidth) = (state.name(), self.window.cwnd, self.bandwidth().bytes_per_second());
        let min_rtt = self.model.min_rtt.get();
        tracing::debug!(state, cwnd, bandwidth, ?min_rtt, "congestion state changed");
    }

    /// Notes that losses end this state, to come back to it if nothing was lost.
    fn note_ended(&mut self, state: BbrState) {
        if let Some(undo) = &mut self.undo {
            undo.ended = Some(state);
        }
    }

    /// Handles the loss of a chunk of `bytes`, whose latest transmission is given.
    pub(super) fn on_chunk_lost(&mut self, now: Instant, number: TransmissionNumber, bytes: usize) {
        self.note_loss(Some(number));
        let Some(packet) = self.sampler.on_lost(number, bytes) else { return };
        if self.cycle.is_probe_sample
            && loss_bounds::is_too_much(packet.lost, packet.flight_size as u64, self.model.has_queue())
        {
            let flight_size = loss_bounds::inflight_at_loss(packet.flight_size, packet.lost, bytes);
            self.on_inflight_too_high(now, flight_size, packet.is_app_limited);
        }
    }

    fn note_loss(&mut self, number: Option<TransmissionNumber>) {
        if self.bounds.on_lost(number, &self.sampler) {
            self.undo = Some(BeforeRecovery {
                cwnd: self.window.cwnd,
                inflight_longterm: self.bounds.inflight_longterm,
                inflight_shortterm: self.bounds.inflight_shortterm,
                bandwidth_shortterm: self.bounds.bandwidth_shortterm,
                competition: self.competition.clone(),
                ended: None,
            });
        }
    }

    /// Handles the beginning of a recovery.
    pub(super) fn on_loss(&mut self, pmdcs: usize) {
        self.note_loss(None);
        self.answer_loss_of_others(pmdcs);
    }

    /// Handles the expiry of T3-rtx: one packet tells whether the path is still there, and the window grows from that
    /// by what is acknowledged.
    pub(super) fn on_timeout(&mut self, pmdcs: usize) {
        self.note_loss(None);
        self.window.on_timeout(pmdcs);
        if self.state == BbrState::Compete {
            self.enter(BbrState::Cruise);
        }
    }

    /// Undoes the response to a recovery in which nothing was lost.
    pub(super) fn on_spurious_loss(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.window.cwnd = self.window.cwnd.max(undo.cwnd);
        self.bounds.forget_loss();
        self.model.full_pipe.restart(Bandwidth::default());
        // No bound is the highest.
        let higher = |bound: Option<usize>, before: Option<usize>| Some(bound?.max(before?));
        self.bounds.inflight_longterm = higher(self.bounds.inflight_longterm, undo.inflight_longterm);
        self.bounds.inflight_shortterm = higher(self.bounds.inflight_shortterm, undo.inflight_shortterm);
        self.bounds.bandwidth_shortterm =
            self.bounds.bandwidth_shortterm.zip(undo.bandwidth_shortterm).map(|(bound, before)| bound.max(before));
        self.competition.on_spurious_loss(&undo.competition);
        match undo.ended {
            Some(BbrState::Startup) => {
                self.model.full_pipe.set_reached(false);
                if self.state != BbrState::ProbeRtt {
                    self.enter(BbrState::Startup);
                }
            }
            Some(BbrState::Down | BbrState::Cruise) if self.state == BbrState::Compete => self.enter(BbrState::Cruise),
            Some(BbrState::Up) if self.state != BbrState::ProbeRtt => self.begin_refill(),
            _ => {}
        }
    }

    /// Handles the end of loss detection. No transmission before `oldest` is in flight.
    pub(super) fn on_losses_detected(&mut self, oldest: Option<TransmissionNumber>) {
        self.sampler.forget_before(oldest);
    }

    /// Handles an attempt to send while nothing is outstanding: what was measured is still true, so the window stays,
    /// and the pipe is filled at the estimated rate.
    pub(super) fn on_nothing_outstanding(&mut self, now: Instant, pmdcs: usize) {
        if !self.sampler.is_app_limited() || self.window.is_idle_restart {
            return;
        }
        self.window.is_idle_restart = true;
        self.model.extra_acked.restart(now);
        if self.state == BbrState::Compete {
            self.begin_cruise(now);
        }
        if self.state.is_probe_bw() {
            self.set_pacing_rate(100);
        } else if self.state == BbrState::ProbeRtt {
            self.check_probe_rtt_done(now, pmdcs);
        }
    }

    /// Handles the end of a wait for the peer's window. The queue has been empty for a round trip, so the least
    /// round-trip time needs no probe.
    pub(super) fn on_window_opened(&mut self, now: Instant) {
        self.model.min_rtt.on_probed(now);
    }

    pub(super) fn on_mtu_changed(&mut self, pmdcs: usize) {
        self.window.cwnd = self.window.cwnd.max(window::packets_min(pmdcs));
        self.competition.on_mtu_changed(window::packets_min(pmdcs));
    }

    /// Returns what the model says of the path.
    pub(super) fn stats(&self, srtt: Option<Duration>) -> CongestionStats {
        CongestionStats {
            state: self.state.public(),
            bandwidth: Some(self.bandwidth().bytes_per_second()).filter(|bandwidth| *bandwidth > 0),
            min_rtt: self.model.min_rtt.get(),
            pacing_rate: self.pacing_rate(srtt).bytes_per_second(),
            ssthresh: None,
        }
    }

    pub(super) fn check_consistency(&self, pmdcs: usize) {
        assert!(self.window.cwnd >= pmdcs, "a window below one packet");
        self.competition.check_consistency();
    }
}
