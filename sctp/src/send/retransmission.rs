//! Retransmissions: losses that SACKs and timers find, and probes (RFC 9260 §6.3.3, §7.2.4; RFC 8985).

use super::Sender;
use super::congestion::BeforeLoss;
use super::outstanding::ChunkState;
use super::rate::CwndExemption;
use super::recovery::{AckProgress, FastRecovery};
use crate::path::Path;
use crate::serial::UnwrappedTsn;
use crate::time::Instant;

impl Sender {
    /// Handles the loss of a chunk in flight: it is retransmitted, or its message is abandoned (RFC 3758 §4.1, RFC 7496
    /// §3.1). `reason` names the rule that found the loss.
    fn on_lost(&mut self, now: Instant, tsn: UnwrappedTsn, reason: &'static str, path: &Path) {
        // A loss found a moment ago may have abandoned the whole message, this fragment included.
        let chunk = self.outstanding.chunk(tsn).filter(|chunk| chunk.state == ChunkState::InFlight);
        let Some(chunk) = chunk else { return };
        tracing::debug!(tsn = tsn.wrap().0, transmissions = chunk.transmissions, reason, "chunk lost");
        self.loss.black_hole.on_lost(chunk, self.loss.rack.next_transmission());
        self.loss.undo.on_lost(now, tsn, chunk.transmissions > 1, path.rto.srtt().unwrap_or_default());
        self.rate.on_chunk_lost(now, chunk.transmission, chunk.wire_len());
        if self.must_abandon(now, chunk) {
            let message = chunk.message;
            self.abandon(now, tsn, message.into(), message.limit.into());
        } else {
            self.outstanding.mark_lost(tsn);
        }
    }

    /// Reports a loss to congestion control, once per window (RFC 9260 §7.2.3).
    pub(super) fn on_congestion(&mut self, path: &Path) {
        self.rate.on_loss(path);
        self.counters.congestion_events += 1;
    }

    /// Looks for losses (RFC 8985 §6.2 step 5). Returns when to look again.
    pub(super) fn detect_losses(&mut self, now: Instant, path: &Path) -> Option<Instant> {
        let mut lost = Vec::new();
        let in_recovery = self.loss.is_in_recovery();
        let flight_before = self.outstanding.flight_size();
        let reo_deadline = self.loss.rack.detect(now, in_recovery, path, &self.outstanding, &mut lost);
        if lost.is_empty() {
            self.rate.on_losses_detected(self.loss.rack.oldest_transmission());
            return reo_deadline;
        }
        if let [tsn] = lost[..]
            && self.peer_window.is_probe(tsn)
        {
            self.outstanding.mark_lost(tsn);
            self.rate.on_losses_detected(self.loss.rack.oldest_transmission());
            return reo_deadline;
        }
        if !in_recovery {
            self.loss.undo.begin(now, self.rate.before_loss());
        }
        for tsn in lost {
            self.on_lost(now, tsn, "RACK", path);
        }
        self.rate.on_losses_detected(self.loss.rack.oldest_transmission());
        if !in_recovery {
            let exit_point = self.outstanding.last_assigned_tsn();
            tracing::debug!(exit_point = exit_point.wrap().0, flight_size = flight_before, "Fast Recovery entered");
            self.on_congestion(path);
            let mut recovery = FastRecovery::new(now, exit_point, flight_before);
            if self.rate.is_app_limited() || self.rate.paces_repair() {
                recovery.on_app_limited();
            }
            self.loss.begin_recovery(recovery);
            // A loss that a timer finds comes without a SACK, whose room the first packet would need.
            self.on_recovery_progress(now, 0, path);
            self.rate.set_cwnd_exemption(CwndExemption::Retransmission);
        }
        reo_deadline
    }

    /// Sends the window probe again at once when the window has opened without an acknowledgement of it: the peer has
    /// refused it. RACK would find that a round trip later. A probe that is younger than a round trip may have arrived
    /// after the SACK was sent.
    pub(super) fn repeat_refused_probe(&mut self, now: Instant, path: &Path) {
        let Some(tsn) = self.peer_window.probe_before_opening() else { return };
        let Some(chunk) = self.outstanding.chunk(tsn).filter(|chunk| chunk.state == ChunkState::InFlight) else {
            return;
        };
        let age = now.saturating_duration_since(chunk.sent_at);
        if path.rto.srtt().is_some_and(|srtt| age > srtt) {
            tracing::debug!(tsn = tsn.wrap().0, "window probe refused");
            self.outstanding.mark_lost(tsn);
            self.rate.on_window_opened(now);
        }
    }

    /// Undoes the congestion response to a loss, or to a time-out, that a SACK shows to have been needless.
    pub(super) fn undo_needless_loss(
        &mut self,
        now: Instant,
        cumulative: UnwrappedTsn,
        is_advanced: bool,
        path: &Path,
    ) {
        if let Some(before) = self.loss.undo.take_needless_timeout(cumulative, is_advanced) {
            // The rest of the window is on its way, too, so it is not retransmitted.
            self.outstanding.unmark_lost();
            self.loss.rack.rebuild(&self.outstanding);
            self.rate.set_cwnd_exemption(CwndExemption::None);
            self.on_spurious_congestion(before, path);
        }
        if self.loss.take_needless_loss() {
            self.loss.rack.on_needless_loss();
            if let Some(before) = self.loss.undo.take_needless_recovery(now) {
                self.on_spurious_congestion(before, path);
            }
        }
    }

    fn on_spurious_congestion(&mut self, before: BeforeLoss, path: &Path) {
        tracing::debug!("congestion response undone");
        self.loss.on_spurious_recovery();
        self.rate.on_spurious_loss(before, path);
        self.counters.congestion_events_undone += 1;
    }

    /// Handles the first acknowledgement of `bytes`.
    pub(super) fn on_recovery_progress(&mut self, now: Instant, bytes: usize, path: &Path) {
        self.loss.on_progress(AckProgress {
            bytes,
            flight_size: self.outstanding.flight_size(),
            window: self.rate.cwnd(),
            pmdcs: path.pmdcs(),
            now,
            srtt: path.rto.pacing_rtt().unwrap_or_default(),
        });
    }

    /// Handles the expiry of the reordering timer (RFC 8985 §6.3).
    pub(crate) fn on_rack_timeout(&mut self, now: Instant, path: &Path) -> Option<Instant> {
        self.detect_losses(now, path)
    }

    /// Handles the expiry of T3-rtx (RFC 9260 §6.3.3, §7.2.3). `is_window_probe` is true if only a window probe was
    /// unanswered, which is not a sign of congestion.
    pub(crate) fn on_t3_timeout(&mut self, now: Instant, is_window_probe: bool, path: &Path) {
        let (flight_size, cumulative) = (self.outstanding.flight_size(), self.cumulative_tsn_ack_point().wrap().0);
        tracing::debug!(flight_size, cumulative_tsn_ack = cumulative, is_window_probe, "T3-rtx expired");
        if is_window_probe {
            self.peer_window.on_probe_unanswered(&path.rto);
        } else {
            let outstanding = (self.cumulative_tsn_ack_point().next(), self.outstanding.last_assigned_tsn());
            self.loss.undo.begin_timeout(now, self.rate.before_loss(), outstanding, 2 * path.rto.current());
            self.rate.on_t3_timeout(path);
        }
        self.loss.on_t3_timeout();
        self.rate.set_cwnd_exemption(CwndExemption::Retransmission);
        let in_flight: Vec<UnwrappedTsn> = self.outstanding.in_flight().collect();
        for tsn in in_flight {
            self.on_lost(now, tsn, "T3-rtx", path);
        }
        self.rate.on_losses_detected(None);
        // Packets have the base size from here on.
        self.loss.black_hole.forget_losses();
        self.forward_point.on_t3_timeout(now, &mut self.outstanding, path);
    }

    /// Sends one more packet after the probe time-out: new data if there is any, otherwise the last chunk again (RFC
    /// 8985 §7.3). Either asks for a SACK at once. Returns true if T3-rtx is to start again, because this is a tail
    /// loss probe.
    pub(crate) fn on_probe_timeout(&mut self, now: Instant, path: &Path) -> bool {
        if self.loss.is_in_recovery() {
            self.on_repair_stalled(now);
            return false;
        }
        if self.outstanding.has_lost() || self.outstanding.is_empty() {
            return false;
        }
        let has_new = self.peek(now, path).is_some_and(|next| self.has_peer_window(&next, path));
        if !has_new {
            // A probe is a question, not a loss: what may not be retransmitted is left to T3.
            let last = self.outstanding.in_flight().next_back();
            let Some(last) = last.filter(|last| self.may_probe_with(now, *last)) else { return false };
            self.outstanding.request_sack(last);
            self.outstanding.mark_lost(last);
        }
        self.rate.set_cwnd_exemption(if has_new { CwndExemption::Any } else { CwndExemption::Retransmission });
        let end = self.outstanding.last_assigned_tsn();
        tracing::debug!(tsn = end.wrap().0, is_retransmission = !has_new, "tail loss probe");
        let single = self.loss.single_packet();
        self.loss.tlp.on_probe_sent(now, end, !has_new, single);
        true
    }

    /// Handles a stalled repair: a loss is being repaired, and nothing was heard or sent for a while. RACK finds a lost
    /// retransmission only if something that was sent later arrives, and nothing can be sent later once the peer's
    /// window is full behind the gap. RFC 8985 leaves that to T3. One packet more costs little and tells as much: the
    /// first missing chunk goes once more, and its acknowledgement overtakes all that was lost before it. The wait
    /// doubles until something is acknowledged.
    fn on_repair_stalled(&mut self, now: Instant) {
        if !self.outstanding.has_lost() {
            let first = self.outstanding.in_flight().next();
            let Some(first) = first.filter(|first| self.may_probe_with(now, *first)) else { return };
            self.outstanding.request_sack(first);
            self.outstanding.mark_lost(first);
        }
        tracing::debug!(cumulative_tsn_ack = self.cumulative_tsn_ack_point().wrap().0, "probe of a stalled recovery");
        self.rate.set_cwnd_exemption(CwndExemption::Retransmission);
        self.loss.tlp.on_repair_probe_sent();
    }

    fn may_probe_with(&self, now: Instant, tsn: UnwrappedTsn) -> bool {
        self.outstanding.chunk(tsn).is_some_and(|chunk| !self.must_abandon(now, chunk))
    }

    /// Returns the time of the next probe, if one is to be sent unless the peer is heard before.
    pub(crate) fn probe_deadline(&self, now: Instant, path: &Path) -> Option<Instant> {
        let last_sent = self.rate.last_sent()?;
        self.loss.probe_deadline(now, last_sent, &self.outstanding, self.is_probing_window(), path)
    }

    /// Returns `true` if nothing is known to be missing of what is in flight, and no probe is out.
    pub(super) fn has_open_tail(&self) -> bool {
        self.loss.has_open_tail(&self.outstanding, self.is_probing_window())
    }

    /// Returns `true` if T3-rtx is to start again, once.
    pub(crate) fn take_t3_restart(&mut self) -> bool {
        self.loss.take_t3_restart()
    }
}
