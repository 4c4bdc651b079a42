//! What a SACK does to the sender (RFC 9260 §6.2.1, §7.2; RFC 3758 §3.5).

use std::time::{Duration, Instant};

use super::Sender;
use super::congestion::Acked;
use crate::error::Violation;
use crate::path::Rto;
use crate::serial::{Tsn, UnwrappedTsn};
use crate::wire::Sack;

/// What became of a SACK.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SackOutcome {
    /// Older than one that came before, or contradictory: nothing changed.
    Dropped,
    /// Taken in.
    Accepted {
        /// Whether the Cumulative TSN Ack Point moved.
        advanced: bool,
        /// Whether anything was acknowledged for the first time.
        is_new: bool,
        /// A round-trip time to feed the estimator with.
        rtt: Option<Duration>,
        /// When to look for losses again.
        reo_deadline: Option<Instant>,
    },
}

impl Sender {
    pub(crate) fn on_sack(&mut self, now: Instant, sack: &Sack<'_>, rto: &Rto) -> Result<SackOutcome, Violation> {
        let cumulative = self.outstanding.unwrap(sack.cumulative_tsn_ack);
        if cumulative < self.outstanding.cumulative_tsn_ack_point() {
            return Ok(SackOutcome::Dropped);
        }
        // RFC 9260 §12.4: acknowledging what was never sent is an attack.
        if cumulative >= self.outstanding.next_tsn() {
            return Err(Violation::AckOfUnsentTsn);
        }
        // A gap block beyond what was sent is no reason to end the association: unlike the Cumulative TSN Ack, which cannot be
        // taken back, it is only a hint (§6.2). The whole SACK is dropped, since nothing in it can be trusted; what it
        // acknowledges cumulatively comes again with the next one, which also counts for T3.
        let highest = highest_reported(cumulative, sack);
        if !sack.has_valid_gap_blocks() || highest >= self.outstanding.next_tsn() {
            return Ok(SackOutcome::Dropped);
        }
        let in_recovery = self.recovery.is_some();
        let advanced = cumulative > self.outstanding.cumulative_tsn_ack_point();
        let (bytes, rtt) = self.acknowledge(now, cumulative, sack, rto);

        let duplicates = sack.duplicate_tsns().len();
        if duplicates > 0 {
            self.counters.spurious += duplicates as u64;
            self.loss.on_duplicates_reported();
        }
        if self.recovery.take_if(|recovery| recovery.is_over(cumulative)).is_some() {
            self.loss.on_recovery_ended();
        }
        let is_new_round = cumulative >= self.round_end;
        if is_new_round {
            self.round_end = self.outstanding.next_tsn();
        }
        // RFC 9260 §7.2.4, note: the window grows by what was acknowledged before it shrinks for what was not.
        if bytes > 0 {
            self.congestion.on_acked(Acked {
                bytes,
                cumulative: advanced,
                usage: self.window_usage,
                in_recovery,
                rtt,
                srtt: rto.srtt().or(rtt).unwrap_or_default(),
                now,
                is_new_round,
            });
        }
        if self.loss.on_probe_answered(cumulative, duplicates > 0) && self.recovery.is_none() {
            self.congestion.on_loss();
            self.counters.congestion_events += 1;
        }
        if self.outstanding.has_reneged() {
            self.outstanding.forget_gap_reports();
            // What this very SACK reports is there, and need not be sent again.
            for block in sack.gap_blocks() {
                let (start, end) = (cumulative.add(block.start.into()), cumulative.add(block.end.into()));
                self.outstanding.acknowledge_gap(start, end, |_, _| {});
            }
        }
        let reo_deadline = self.detect_losses(now, rto);
        // A SACK without news still says that a packet arrived, one that lies above what it has room to report.
        let arrived = if bytes == 0 && self.loss.is_report_truncated() { self.mtu } else { bytes };
        self.on_recovery_progress(now, arrived, rto);
        // §6.2.1 D ii
        self.window_probe.on_window_told(now, sack.a_rwnd);
        self.peer_rwnd = (sack.a_rwnd as usize).saturating_sub(self.outstanding.payload_in_flight());
        if self.outstanding.is_empty() {
            self.congestion.on_all_acked();
        }
        self.schedule_forward_tsn(now, rto);
        // Every SACK is a measurement, as in QUIC (RFC 9002 §5.3): one a round trip, as RFC 9260 §6.3.1 C4 has it, learns of a
        // queue that builds only when the time-out has fired.
        Ok(SackOutcome::Accepted { advanced, is_new: bytes > 0, rtt, reo_deadline })
    }

    /// SHUTDOWN acknowledges cumulatively, without window or gaps (RFC 9260 §3.3.8). Returns whether the point moved.
    pub(crate) fn on_shutdown_ack_point(&mut self, now: Instant, point: Tsn, rto: &Rto) -> Result<bool, Violation> {
        let cumulative = self.outstanding.unwrap(point);
        if cumulative >= self.outstanding.next_tsn() {
            return Err(Violation::AckOfUnsentTsn);
        }
        if cumulative <= self.outstanding.cumulative_tsn_ack_point() {
            return Ok(false);
        }
        let mut rtt = None;
        let loss = &mut self.loss;
        self.outstanding.acknowledge_to(cumulative, |tsn, chunk| {
            loss.on_acked(now, tsn, chunk, rto, &mut rtt);
        });
        loss.on_cumulative_advanced();
        self.queues.on_acknowledged(cumulative);
        self.recovery.take_if(|recovery| recovery.is_over(cumulative));
        Ok(true)
    }

    /// Marks what is acknowledged. Returns the bytes that are so for the first time, and the round-trip time of the latest
    /// transmission among them if its chunk was sent once only (Karn).
    fn acknowledge(
        &mut self,
        now: Instant,
        cumulative: UnwrappedTsn,
        sack: &Sack<'_>,
        rto: &Rto,
    ) -> (usize, Option<Duration>) {
        let (mut bytes, mut rtt) = (0, None);
        let loss = &mut self.loss;
        if cumulative > self.outstanding.cumulative_tsn_ack_point() {
            self.outstanding.acknowledge_to(cumulative, |tsn, chunk| {
                bytes += chunk.wire_len();
                loss.on_acked(now, tsn, chunk, rto, &mut rtt);
            });
            loss.on_cumulative_advanced();
            self.queues.on_acknowledged(cumulative);
        }
        let mut reported = 0;
        for block in sack.gap_blocks() {
            let (start, end) = (cumulative.add(block.start.into()), cumulative.add(block.end.into()));
            self.outstanding.acknowledge_gap(start, end, |tsn, chunk| {
                bytes += chunk.wire_len();
                reported += 1;
                loss.on_acked(now, tsn, chunk, rto, &mut rtt);
            });
        }
        loss.on_gap_reported(reported);
        loss.on_gap_blocks(sack.gap_blocks().len(), highest_reported(cumulative, sack));
        (bytes, rtt)
    }
}

/// The highest TSN that the SACK acknowledges.
fn highest_reported(cumulative: UnwrappedTsn, sack: &Sack<'_>) -> UnwrappedTsn {
    sack.gap_blocks().next_back().map_or(cumulative, |block| cumulative.add(block.end.into()))
}
