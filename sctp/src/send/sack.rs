//! Processing of a SACK (RFC 9260 §6.2.1, §7.2; RFC 8985; RFC 3758 §3.5).

use super::Sender;
use super::congestion::Delivery;
use super::rate::NewlyAcked;
use super::rtt_sample::RttSample;
use super::tlp::ProbeOutcome;
use crate::error::Violation;
use crate::path::Path;
use crate::serial::{TransmissionNumber, Tsn, UnwrappedTsn};
use crate::time::{Duration, Instant};
use crate::wire::Sack;

/// Result of a SACK.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SackOutcome {
    /// Older than one that came before, or contradictory: nothing changed.
    Dropped,
    /// Processed.
    Accepted {
        /// True if the Cumulative TSN Ack Point moved.
        advanced: bool,
        /// True if anything was acknowledged for the first time.
        is_new: bool,
        /// A round-trip time to feed the estimator with.
        rtt: Option<Duration>,
        /// Time since a retransmission that the SACK seems to answer, if it yields no round-trip time.
        ambiguous_rtt: Option<Duration>,
        /// Time at which to look for losses again.
        reo_deadline: Option<Instant>,
    },
}

impl Sender {
    pub(crate) fn on_sack(&mut self, now: Instant, sack: &Sack<'_>, path: &Path) -> Result<SackOutcome, Violation> {
        let cumulative = self.outstanding.unwrap(sack.cumulative_tsn_ack);
        if cumulative < self.outstanding.cumulative_tsn_ack_point() {
            return Ok(SackOutcome::Dropped);
        }
        // RFC 9260 §12.4: acknowledging what was never sent is an attack.
        if cumulative >= self.outstanding.next_tsn() {
            return Err(Violation::AckOfUnsentTsn);
        }
        // A gap block beyond what was sent does not end the association: unlike the Cumulative TSN Ack, which cannot be
        // taken back, a gap block is only a hint (§6.2). The whole SACK is dropped, because nothing in it can be
        // trusted. The next SACK repeats the cumulative acknowledgement, which also counts for T3.
        let highest = highest_reported(cumulative, sack);
        if !sack.has_valid_gap_blocks() || highest >= self.outstanding.next_tsn() {
            return Ok(SackOutcome::Dropped);
        }
        let (in_recovery, single) = (self.loss.is_in_recovery(), self.loss.single_packet());
        let is_advanced = cumulative > self.outstanding.cumulative_tsn_ack_point();
        let (bytes, rtt_sample, newest) = self.acknowledge(now, cumulative, sack, path);

        let (rtt, ambiguous_rtt) = (rtt_sample.rtt(), rtt_sample.ambiguous_rtt());
        let duplicates = sack.duplicate_tsns().len();
        if duplicates > 0 {
            self.counters.spurious += duplicates as u64;
            tracing::debug!(duplicates, "spurious retransmission");
            for tsn in sack.duplicate_tsns() {
                self.loss.on_original_arrived(self.outstanding.unwrap(tsn));
            }
        }
        self.undo_needless_loss(now, cumulative, is_advanced, path);
        self.loss.end_recovery(cumulative);
        let next_tsn = self.outstanding.next_tsn();
        let delivery = Delivery { newest, flight_size: self.outstanding.flight_size() };
        let acked = NewlyAcked { bytes, cumulative, is_advanced, next_tsn, rtt, in_recovery, delivery };
        self.rate.on_acked(now, acked, path);
        if let Some(rtt) = rtt {
            self.loss.tlp.on_rtt_sample(rtt, single.filter(|_| self.outstanding.is_empty()), &path.rto);
        }
        self.end_probe(now, cumulative, duplicates > 0, path);
        if self.outstanding.has_reneged() {
            self.on_reneging(cumulative, sack);
        }
        let reo_deadline = self.detect_losses(now, path);
        // A SACK without news still says that a packet arrived, one that lies above what it has room to report.
        let arrived = if bytes == 0 && self.loss.rack.is_report_truncated() { path.mtu() } else { bytes };
        if arrived > 0 {
            self.on_recovery_progress(now, arrived, path);
        }
        self.peer_window.on_sack(now, sack.a_rwnd, self.outstanding.payload_in_flight());
        self.repeat_refused_probe(now, path);
        if self.outstanding.is_empty() {
            self.rate.on_all_acked();
        }
        self.forward_point.on_sack(now, &mut self.outstanding, path);
        // Every SACK is a measurement, as in QUIC (RFC 9002 §5.3): one a round trip, as RFC 9260 §6.3.1 C4 has it,
        // learns of a queue that builds only when the time-out has fired.
        Ok(SackOutcome::Accepted { advanced: is_advanced, is_new: bytes > 0, rtt, ambiguous_rtt, reo_deadline })
    }

    /// Ends the episode of a probe that is acknowledged. Congestion control is told of a loss that it has repaired.
    fn end_probe(&mut self, now: Instant, cumulative: UnwrappedTsn, has_duplicates: bool, path: &Path) {
        let probe = self.loss.tlp.on_cumulative_ack(now, cumulative, has_duplicates, path.rto.rtt_min());
        let ProbeOutcome::Repaired(tsn) = probe else { return };
        if !self.loss.is_in_recovery() {
            tracing::debug!(cumulative_tsn_ack = cumulative.wrap().0, "loss repaired by a tail loss probe");
            // A duplicate may still show that the SACK was that of the original.
            self.loss.undo.begin(now, self.rate.before_loss());
            self.loss.undo.on_lost(now, tsn, false, path.rto.srtt().unwrap_or_default());
            self.on_congestion(path);
        }
    }

    /// Handles the Cumulative TSN Ack of a SHUTDOWN, which has no window and no gap blocks (RFC 9260 §3.3.8). Returns
    /// `true` if the Cumulative TSN Ack Point moved.
    pub(crate) fn on_shutdown_ack_point(&mut self, now: Instant, point: Tsn, path: &Path) -> Result<bool, Violation> {
        let cumulative = self.outstanding.unwrap(point);
        if cumulative >= self.outstanding.next_tsn() {
            return Err(Violation::AckOfUnsentTsn);
        }
        if cumulative <= self.outstanding.cumulative_tsn_ack_point() {
            return Ok(false);
        }
        self.acknowledge_to(now, cumulative, path, &mut RttSample::default(), &mut None);
        self.loss.end_recovery(cumulative);
        Ok(true)
    }

    /// Moves the Cumulative TSN Ack Point. Returns the bytes that this acknowledges for the first time.
    fn acknowledge_to(
        &mut self,
        now: Instant,
        cumulative: UnwrappedTsn,
        path: &Path,
        rtt: &mut RttSample,
        newest: &mut Option<TransmissionNumber>,
    ) -> usize {
        let (loss, rtt_min, mut bytes) = (&mut self.loss, path.rto.rtt_min(), 0);
        self.outstanding.acknowledge_to(cumulative, |tsn, chunk| {
            bytes += chunk.wire_len();
            *newest = (*newest).max(Some(chunk.transmission));
            loss.on_acked(now, tsn, chunk, rtt_min, rtt);
        });
        loss.rack.on_cumulative_advanced(cumulative);
        self.queue.streams.on_acknowledged(cumulative);
        self.queue.notices.on_acknowledged(cumulative);
        bytes
    }

    /// Marks what is acknowledged. Returns the bytes that are so for the first time, their round-trip time, and the
    /// latest transmission of this SACK.
    fn acknowledge(
        &mut self,
        now: Instant,
        cumulative: UnwrappedTsn,
        sack: &Sack<'_>,
        path: &Path,
    ) -> (usize, RttSample, Option<TransmissionNumber>) {
        let (mut bytes, mut rtt, mut newest) = (0, RttSample::default(), None);
        if cumulative > self.outstanding.cumulative_tsn_ack_point() {
            bytes += self.acknowledge_to(now, cumulative, path, &mut rtt, &mut newest);
        }
        let (loss, rtt_min) = (&mut self.loss, path.rto.rtt_min());
        let mut reported = 0;
        for block in sack.gap_blocks() {
            let (start, end) = (cumulative.add(block.start.into()), cumulative.add(block.end.into()));
            self.outstanding.acknowledge_gap(start, end, |tsn, chunk| {
                bytes += chunk.wire_len();
                reported += u64::from(chunk.packet_place.begins_packet);
                newest = newest.max(Some(chunk.transmission));
                loss.on_acked(now, tsn, chunk, rtt_min, &mut rtt);
            });
        }
        loss.rack.on_gap_reported(reported);
        loss.rack.on_gap_blocks(sack.gap_blocks().len(), highest_reported(cumulative, sack));
        (bytes, rtt, newest)
    }

    /// Handles reneging: the peer no longer reports chunks that it reported before (RFC 9260 §6.2.1 D iii). Chunks that
    /// this SACK reports need not be retransmitted.
    fn on_reneging(&mut self, cumulative: UnwrappedTsn, sack: &Sack<'_>) {
        tracing::debug!(cumulative_tsn_ack = cumulative.wrap().0, "gap reports taken back by the peer");
        self.outstanding.forget_gap_reports();
        for block in sack.gap_blocks() {
            let (start, end) = (cumulative.add(block.start.into()), cumulative.add(block.end.into()));
            self.outstanding.acknowledge_gap(start, end, |_, _| {});
        }
    }
}

/// Returns the highest TSN that the SACK acknowledges.
fn highest_reported(cumulative: UnwrappedTsn, sack: &Sack<'_>) -> UnwrappedTsn {
    sack.gap_blocks().next_back().map_or(cumulative, |block| cumulative.add(block.end.into()))
}
