//! What is sent again, or given up: losses that SACKs and timers find (RFC 9260 §6.3.3, §7.2.4; RFC 8985; RFC 3758 §4.1).

use std::time::{Duration, Instant};

use super::outstanding::{Chunk, ChunkState};
use super::queued::Limit;
use super::recovery::{AckProgress, Recovery};
use super::{CwndExemption, Sender};
use crate::path::Rto;
use crate::serial::UnwrappedTsn;

impl Sender {
    /// Takes a chunk as lost: it is sent again, or its message is given up (RFC 3758 §4.1, RFC 7496 §3.1).
    pub(super) fn on_lost(&mut self, now: Instant, tsn: UnwrappedTsn) {
        let Some(chunk) = self.outstanding.chunk(tsn) else { return };
        // A loss found a moment ago may have abandoned the whole message, this fragment included.
        if chunk.state != ChunkState::InFlight {
            return;
        }
        if self.is_over(now, chunk) {
            let message = chunk.message;
            self.abandon(now, tsn, message.stream, message.key);
        } else {
            self.outstanding.mark_lost(tsn);
        }
    }

    /// Whether the chunk's message is to be given up rather than sent again.
    pub(super) fn is_over(&self, now: Instant, chunk: &Chunk) -> bool {
        let is_over = match chunk.message.limit {
            Limit::Never => false,
            Limit::Retransmits(max) => chunk.transmissions > max,
            limit @ Limit::Until(_) => limit.is_expired(now),
        };
        is_over && self.can_abandon
    }

    /// T3 expired (RFC 9260 §6.3.3, §7.2.3). `is_window_probe`: what was unanswered was a probe of a closed window,
    /// which is no sign of congestion.
    pub(crate) fn on_t3_timeout(&mut self, now: Instant, is_window_probe: bool, rto: &Rto) {
        if is_window_probe {
            self.on_window_probe_unanswered(rto);
        } else {
            self.congestion.on_timeout();
        }
        self.loss.on_timeout();
        // The time-out is a new start: the episode that was being repaired is over.
        self.recovery = None;
        self.cwnd_exemption = CwndExemption::Repetition;
        let in_flight: Vec<UnwrappedTsn> = self.outstanding.in_flight().collect();
        for tsn in in_flight {
            self.on_lost(now, tsn);
        }
        self.renew_forward_tsn();
    }

    /// Whether what is in flight is only the probe of a closed window (RFC 9260 §6.1 A).
    pub(crate) fn is_probing_window(&self) -> bool {
        self.peer_rwnd == 0 && self.outstanding.chunks_in_flight() <= 1
    }

    /// The reordering timer expired.
    pub(crate) fn on_rack_timeout(&mut self, now: Instant, rto: &Rto) -> Option<Instant> {
        self.detect_losses(now, rto)
    }

    /// The probe timer expired: sends one more packet, new data if there is some, else the last chunk again
    /// (RFC 8985 §7.3).
    pub(crate) fn on_probe_timeout(&mut self, now: Instant) {
        if self.recovery.is_some() {
            return self.on_repair_stalled(now);
        }
        if self.outstanding.has_lost() || self.outstanding.is_empty() {
            return;
        }
        let next = self.queues.peek(now, &mut self.notices);
        let has_new = next.is_some_and(|next| self.has_window(self.payload_len(next.left)));
        if !has_new {
            // A probe is a question, not a loss: what may not be sent again is left to T3.
            let last = self.outstanding.in_flight().next_back();
            let last = last.filter(|last| self.outstanding.chunk(*last).is_some_and(|chunk| !self.is_over(now, chunk)));
            let Some(last) = last else { return };
            self.outstanding.mark_lost(last);
        }
        self.cwnd_exemption = if has_new { CwndExemption::Anything } else { CwndExemption::Repetition };
        self.loss.on_probe_sent(self.outstanding.last_assigned_tsn(), !has_new);
    }

    /// A loss is being repaired, and nothing was heard or sent for a while. RACK finds a lost repetition only if something
    /// that was sent later arrives, and nothing can be sent later once the peer's window is full behind the gap. RFC 8985
    /// leaves that to T3. One packet more costs little and tells as much: what is missing first goes once more, and its
    /// acknowledgement overtakes all that was lost before it. The wait doubles until something is acknowledged.
    fn on_repair_stalled(&mut self, now: Instant) {
        if !self.outstanding.has_lost() {
            let first = self.outstanding.in_flight().next();
            let first = first.filter(|at| self.outstanding.chunk(*at).is_some_and(|chunk| !self.is_over(now, chunk)));
            let Some(first) = first else { return };
            self.outstanding.mark_lost(first);
        }
        self.cwnd_exemption = CwndExemption::Repetition;
        self.loss.on_repair_probe_sent();
    }

    /// When to probe if nothing is heard, if at all: for a lost tail if all is gap-free and nothing is being repaired, for a
    /// lost repetition if something is.
    pub(crate) fn probe_delay(&self, rto: &Rto) -> Option<Duration> {
        let has_gaps = !self.outstanding.gap_reports().is_empty();
        // What fills a gap is taken although the window is closed.
        if self.outstanding.flight_size() == 0 || self.is_probing_window() && !has_gaps {
            return None;
        }
        // While there is a gap, the peer delays no SACK.
        let is_single_packet = self.outstanding.chunks_in_flight() == 1 && !has_gaps;
        if self.recovery.is_some() {
            self.loss.repair_probe_delay(rto, is_single_packet)
        } else if has_gaps || self.outstanding.has_lost() {
            None
        } else {
            self.loss.probe_delay(rto, is_single_packet)
        }
    }

    pub(super) fn detect_losses(&mut self, now: Instant, rto: &Rto) -> Option<Instant> {
        let mut lost = Vec::new();
        let in_recovery = self.recovery.is_some();
        let flight_before = self.outstanding.flight_size();
        let reo_deadline = self.loss.detect(now, in_recovery, rto, &self.outstanding, &mut lost);
        if lost.is_empty() {
            return reo_deadline;
        }
        for tsn in lost {
            self.on_lost(now, tsn);
        }
        if self.recovery.is_none() {
            self.congestion.on_loss();
            self.counters.congestion_events += 1;
            let mut recovery = Recovery::new(now, self.outstanding.last_assigned_tsn(), flight_before);
            if self.is_out_of_data {
                recovery.on_out_of_data();
            }
            // A loss that a timer finds comes without a SACK, whose room the first packet would need.
            self.recovery = Some(recovery);
            self.on_recovery_progress(now, 0, rto);
            self.loss.on_recovery_started();
            self.cwnd_exemption = CwndExemption::Repetition;
        }
        reo_deadline
    }

    /// `bytes` were acknowledged for the first time.
    pub(super) fn on_recovery_progress(&mut self, now: Instant, bytes: usize, rto: &Rto) {
        let progress = AckProgress {
            bytes,
            flight_size: self.outstanding.flight_size(),
            window: self.congestion.cwnd(),
            mtu: self.mtu,
            now,
            srtt: rto.srtt().unwrap_or_default(),
        };
        if let Some(recovery) = &mut self.recovery {
            recovery.on_acked(progress);
        }
    }
}
