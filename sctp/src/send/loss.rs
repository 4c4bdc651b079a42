//! Loss recovery: the owner of RACK, of the probes and of the loss under repair.

use super::black_hole::BlackHoleDetector;
use super::outstanding::{Chunk, ChunkState, Outstanding};
use super::rack::Rack;
use super::recovery::{AckProgress, FastRecovery};
use super::rtt_sample::RttSample;
use super::tlp::{SinglePacket, TailLossProbe};
use super::undo::Undo;
use crate::path::Path;
use crate::serial::{TransmissionNumber, UnwrappedTsn};
use crate::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LossRecovery {
    pub(super) rack: Rack,
    pub(super) tlp: TailLossProbe,
    pub(super) black_hole: BlackHoleDetector,
    pub(super) undo: Undo,
    /// True if evidence has come that a chunk which counted as lost was not, since that was last asked.
    has_needless_loss: bool,
    /// The loss under repair.
    fast_recovery: Option<FastRecovery>,
    /// Time at which Fast Recovery lets the next packet out if no SACK comes.
    stalled_until: Option<Instant>,
    /// The first outstanding chunk was retransmitted since T3-rtx was last looked at.
    restarts_t3: bool,
}

impl LossRecovery {
    pub(super) fn new() -> Self {
        Self {
            rack: Rack::new(),
            tlp: TailLossProbe::new(),
            black_hole: BlackHoleDetector::default(),
            undo: Undo::default(),
            has_needless_loss: false,
            fast_recovery: None,
            stalled_until: None,
            restarts_t3: false,
        }
    }

    pub(super) fn is_in_recovery(&self) -> bool {
        self.fast_recovery.is_some()
    }

    /// Begins recovery: a loss was found, and none is being repaired yet.
    pub(super) fn begin_recovery(&mut self, recovery: FastRecovery) {
        self.fast_recovery = Some(recovery);
        self.tlp.on_recovery_started();
    }

    /// Ends the repair if all that was outstanding when the loss was found is acknowledged (RFC 9260 §7.2.4 step 6).
    pub(super) fn end_recovery(&mut self, cumulative: UnwrappedTsn) {
        if self.fast_recovery.take_if(|recovery| recovery.is_over(cumulative)).is_some() {
            tracing::debug!(cumulative_tsn_ack = cumulative.wrap().0, "Fast Recovery left");
            self.rack.on_recovery_ended();
        }
    }

    /// Ends the repair because T3-rtx makes a new start.
    pub(super) fn drop_recovery(&mut self) {
        if self.fast_recovery.take().is_some() {
            tracing::debug!("Fast Recovery ended by T3-rtx");
        }
    }

    /// Handles the first acknowledgement of a chunk; see [`Rack::on_acked`].
    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        tsn: UnwrappedTsn,
        chunk: &Chunk,
        rtt_min: Option<Duration>,
        rtt_sample: &mut RttSample,
    ) {
        let is_probe_answer = self.tlp.on_acked();
        self.black_hole.on_acked(chunk);
        if chunk.state == ChunkState::Lost || chunk.transmissions > 1 {
            self.on_suspect_acked(now, tsn, chunk, rtt_min);
        }
        self.rack.on_acked(now, tsn, chunk, rtt_min, is_probe_answer, rtt_sample);
    }

    /// Handles the acknowledgement of a chunk that counts as lost, or was retransmitted. Sooner than half of any round
    /// trip after the retransmission it must be the original that has arrived.
    #[cold]
    fn on_suspect_acked(&mut self, now: Instant, tsn: UnwrappedTsn, chunk: &Chunk, rtt_min: Option<Duration>) {
        let elapsed = now.saturating_duration_since(chunk.sent_at);
        if chunk.state == ChunkState::Lost {
            self.undo.on_late_original(tsn);
        } else if rtt_min.is_none_or(|min| elapsed >= min / 2) {
            return;
        }
        self.on_original_arrived(tsn);
    }

    /// Handles the arrival of the original of a chunk that may have counted as lost.
    pub(super) fn on_original_arrived(&mut self, tsn: UnwrappedTsn) {
        self.has_needless_loss |= self.undo.on_original_arrived(tsn);
    }

    /// Returns true once if a loss was none.
    pub(super) fn take_needless_loss(&mut self) -> bool {
        std::mem::take(&mut self.has_needless_loss)
    }

    /// Ends the repair of a loss that was none.
    pub(super) fn on_spurious_recovery(&mut self) {
        if self.fast_recovery.take().is_some() {
            self.rack.on_recovery_ended();
        }
    }

    /// Handles the first acknowledgement of any chunk of a SACK.
    pub(super) fn on_progress(&mut self, progress: AckProgress) {
        if let Some(recovery) = &mut self.fast_recovery {
            recovery.on_acked(progress);
        }
    }

    /// Records that a chunk leaves that takes `bytes` in its packet. Returns the number of the transmission.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        tsn: UnwrappedTsn,
        bytes: usize,
        is_retransmission: bool,
    ) -> TransmissionNumber {
        if let Some(recovery) = &mut self.fast_recovery {
            recovery.on_sent(now, bytes);
        }
        self.rack.on_sent(tsn, is_retransmission)
    }

    /// Restarts T3-rtx, because the first outstanding chunk was retransmitted (RFC 9260 §7.2.4 step 4).
    pub(super) fn restart_t3(&mut self) {
        self.restarts_t3 = true;
    }

    /// Returns `true` if T3-rtx is to start again, once.
    pub(super) fn take_t3_restart(&mut self) -> bool {
        std::mem::take(&mut self.restarts_t3)
    }

    /// Returns `true` if rate reduction lets a chunk out. `has_cwnd` is true if cwnd has room for it.
    pub(super) fn may_send(&self, has_cwnd: bool) -> bool {
        self.fast_recovery.as_ref().map_or(has_cwnd, |recovery| recovery.may_send(has_cwnd))
    }

    /// Makes room for a packet if the repair has stalled. cwnd must have room for it.
    pub(super) fn relieve_stall(&mut self, now: Instant) {
        if let Some(recovery) = &mut self.fast_recovery {
            recovery.relieve_stall(now);
        }
    }

    /// Handles the departure of a packet whose chunks [`on_sent`](Self::on_sent) has counted. `first` is the first of
    /// their transmissions; `asks` is true if the packet asks for a SACK at once.
    pub(super) fn on_packet_sent(&mut self, first: TransmissionNumber, asks_for_sack: bool) {
        self.tlp.on_packet_sent(first, asks_for_sack);
        if let Some(recovery) = &mut self.fast_recovery {
            recovery.on_packet_sent();
        }
    }

    pub(super) fn stalled_until(&self) -> Option<Instant> {
        self.stalled_until
    }

    /// Handles the end of an attempt to send.
    pub(super) fn on_attempted(&mut self, is_app_limited: bool, has_cwnd: bool) {
        if let Some(recovery) = self.fast_recovery.as_mut().filter(|_| is_app_limited) {
            recovery.on_app_limited();
        }
        let held = self.fast_recovery.as_ref().filter(|_| has_cwnd);
        self.stalled_until = held.and_then(FastRecovery::stalled_until);
    }

    /// Handles the expiry of T3-rtx, which ends the repair of an earlier loss.
    pub(super) fn on_t3_timeout(&mut self) {
        self.rack.on_t3_timeout();
        self.tlp.on_t3_timeout();
        self.drop_recovery();
    }

    /// Returns the time of the next probe if nothing is heard, if there is to be one: for a lost tail if no gap is
    /// reported and nothing is being repaired, for a lost retransmission if something is.
    pub(super) fn probe_deadline(
        &self,
        now: Instant,
        last_sent: Instant,
        outstanding: &Outstanding,
        is_probing_window: bool,
        path: &Path,
    ) -> Option<Instant> {
        let has_gaps = !outstanding.gap_reports().is_empty();
        if self.is_in_recovery() {
            // The peer accepts a chunk that fills a gap, although its window is closed.
            if outstanding.flight_size() == 0 || is_probing_window && !has_gaps {
                return None;
            }
            // While there is a gap, the peer delays no SACK.
            let single = self.single_packet().filter(|_| !has_gaps);
            return Some(now + self.tlp.repair_probe_timeout(&path.rto, single)?);
        }
        if !self.has_open_tail(outstanding, is_probing_window) {
            return None;
        }
        self.tlp.deadline(now, last_sent, &path.rto, self.single_packet())
    }

    /// Returns `true` if nothing is known to be missing of what is in flight, and no probe is out.
    pub(super) fn has_open_tail(&self, outstanding: &Outstanding, is_probing_window: bool) -> bool {
        let is_complete = outstanding.gap_reports().is_empty() && !outstanding.has_lost();
        outstanding.flight_size() > 0 && is_complete && !is_probing_window && !self.tlp.is_out()
    }

    /// Returns the last packet if no other is in flight.
    pub(super) fn single_packet(&self) -> Option<SinglePacket> {
        self.tlp.single_packet(self.rack.oldest_transmission()?)
    }

    pub(super) fn check_consistency(&self, outstanding: &Outstanding) {
        self.rack.check_consistency(outstanding);
        let cumulative = outstanding.cumulative_tsn_ack_point();
        let has_end = self.fast_recovery.as_ref().is_none_or(|recovery| !recovery.is_over(cumulative));
        assert!(has_end, "recovery has no end");
    }
}
