//! Which chunks are lost: RACK (RFC 8985 §6) over transmissions, and the tail loss probe (§7).
//!
//! RFC 9260 §7.2.4 counts three miss indications per TSN and lets a chunk be fast-retransmitted once only; a lost
//! retransmission then waits for T3. RACK looks at the order and time of *transmissions* instead, so a retransmission
//! is as good as any other. The logs below have one entry per transmission, in order of sending; each is looked at a
//! constant number of times, so a SACK costs what it newly says, whatever the window.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::charge::{push_back, shrink};
use super::outstanding::{Chunk, ChunkState, Outstanding};
use crate::cost_counter;
use crate::path::Rto;
use crate::serial::{TransmissionNumber, UnwrappedTsn};

/// Gap reports that count as loss if no reordering has been seen (RFC 8985 §6.2 step 4, DupThresh).
const DUPLICATE_THRESHOLD: u64 = 3;

/// Recoveries for which a widened reordering window is kept (RFC 8985 §6.2 step 4).
const REORDERING_PERSIST: u32 = 16;

/// The window's multiple grows up to here; beyond it the smoothed RTT bounds it anyway.
const REORDERING_MULTIPLE_MAX: u32 = 64;

/// Least time before a tail loss probe: below this a timer is mostly noise.
const PROBE_DELAY_MIN: Duration = Duration::from_millis(10);

/// What is added if a single packet is in flight, since its acknowledgement may be delayed (RFC 9260 §6.2: up to
/// 200 ms in general).
const PEER_SACK_DELAY: Duration = Duration::from_millis(200);

/// Gap blocks from which on a SACK may not tell all: dcSCTP reports 20 at most, others what fits a packet. What lies above
/// the last block is then not known to be missing.
const COMPLETE_BLOCKS_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Transmission {
    number: TransmissionNumber,
    tsn: UnwrappedTsn,
}

/// A tail loss probe on its way (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Acknowledging this TSN ends the episode (RFC 8985's TLP.end_seq).
    end: UnwrappedTsn,
    is_retransmission: bool,
}

#[derive(Debug)]
pub(crate) struct LossDetection {
    /// First transmissions, in order; also in order of TSN.
    first_transmissions: VecDeque<Transmission>,
    /// Retransmissions, in order. Apart from the others, so that what a truncated SACK leaves open about the former does not
    /// hide the loss of the latter.
    retransmissions: VecDeque<Transmission>,
    next: TransmissionNumber,
    /// The highest TSN that a truncated SACK reports: those above are not known to be missing. `None` if it reports all.
    highest_reported: Option<UnwrappedTsn>,
    /// Number and round-trip time of the latest transmission that is known to have arrived.
    rack_xmit: Option<(TransmissionNumber, Duration)>,
    highest_acked: UnwrappedTsn,
    is_reordering_seen: bool,
    reordering_multiple: u32,
    reordering_persist: u32,
    /// Number that the next transmission had when the multiple last grew: once per round trip is enough.
    reordering_round: TransmissionNumber,
    /// Chunks gap-reported since the cumulative point last moved.
    newly_reported: u64,
    probe: Option<Probe>,
    /// Probes of a repair that has stalled, since something was acknowledged.
    repair_probes: u32,
}

impl LossDetection {
    pub(crate) fn new() -> Self {
        Self {
            first_transmissions: VecDeque::new(),
            retransmissions: VecDeque::new(),
            next: TransmissionNumber::default(),
            highest_reported: None,
            rack_xmit: None,
            highest_acked: UnwrappedTsn::BEFORE_ALL,
            is_reordering_seen: false,
            reordering_multiple: 1,
            reordering_persist: 0,
            reordering_round: TransmissionNumber::default(),
            newly_reported: 0,
            probe: None,
            repair_probes: 0,
        }
    }

    /// Logs a transmission. Returns its number.
    pub(crate) fn on_sent(&mut self, tsn: UnwrappedTsn, is_retransmission: bool) -> TransmissionNumber {
        let log = if is_retransmission { &mut self.retransmissions } else { &mut self.first_transmissions };
        let number = self.next.take();
        push_back(log, Transmission { number, tsn });
        number
    }

    /// A SACK has `blocks` gap blocks, the highest of which ends at `highest`.
    pub(crate) fn on_gap_blocks(&mut self, blocks: usize, highest: UnwrappedTsn) {
        self.highest_reported = (blocks >= COMPLETE_BLOCKS_MAX).then_some(highest);
    }

    /// A chunk was acknowledged for the first time, cumulatively or in a gap block.
    pub(crate) fn on_acked(
        &mut self,
        now: Instant,
        tsn: UnwrappedTsn,
        chunk: &Chunk,
        rto: &Rto,
        rtt_sample: &mut Option<Duration>,
    ) {
        let answers_repair_probe = std::mem::take(&mut self.repair_probes) > 0;
        let rtt = now.saturating_duration_since(chunk.sent_at);
        let was_retransmitted = chunk.transmissions > 1;
        // Step 2: an acknowledgement that comes sooner than any round trip belongs to an earlier transmission. Not so behind a
        // probe: nothing was heard for two round trips before it, so the path has become faster.
        if was_retransmitted && !answers_repair_probe && rto.rtt_min().is_some_and(|min| rtt < min) {
            return;
        }
        if self.rack_xmit.is_none_or(|(newest, _)| chunk.transmission > newest) {
            self.rack_xmit = Some((chunk.transmission, rtt));
            *rtt_sample = (!was_retransmitted).then_some(rtt);
        }
        // Step 3: something sent earlier arrives later, and was not sent again.
        if tsn < self.highest_acked && !was_retransmitted {
            self.is_reordering_seen = true;
        }
        self.highest_acked = self.highest_acked.max(tsn);
    }

    pub(crate) fn on_gap_reported(&mut self, chunks: u64) {
        self.newly_reported += chunks;
    }

    pub(crate) fn on_cumulative_advanced(&mut self) {
        self.newly_reported = 0;
    }

    /// Whether the last SACK may not have told all.
    pub(crate) fn is_report_truncated(&self) -> bool {
        self.highest_reported.is_some()
    }

    /// The peer has received something twice (RFC 2883): a retransmission was not needed, so wait longer from now on.
    pub(crate) fn on_duplicates_reported(&mut self) {
        if self.rack_xmit.is_some_and(|(newest, _)| newest >= self.reordering_round) {
            self.is_reordering_seen = true;
            self.reordering_round = self.next;
            self.reordering_multiple = (self.reordering_multiple + 1).min(REORDERING_MULTIPLE_MAX);
            self.reordering_persist = REORDERING_PERSIST;
        }
    }

    /// The losses of this window are being repaired. A probe that is still out tells nothing more: its acknowledgement
    /// must not reduce the congestion window again for the same losses (RFC 8985 §7.4.1 ends the probe's episode).
    pub(crate) fn on_recovery_started(&mut self) {
        self.probe = None;
    }

    pub(crate) fn on_recovery_ended(&mut self) {
        self.reordering_persist = self.reordering_persist.saturating_sub(1);
        if self.reordering_persist == 0 {
            self.reordering_multiple = 1;
        }
    }

    /// Step 4: how much later than its successors a transmission may arrive.
    fn reo_wnd(&self, in_recovery: bool, rto: &Rto) -> Duration {
        if !self.is_reordering_seen && (in_recovery || self.newly_reported >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        let reo_wnd = rto.rtt_min().unwrap_or_default() / 4 * self.reordering_multiple;
        reo_wnd.min(rto.srtt().unwrap_or_default())
    }

    /// Step 5: adds to `lost` each transmission that was overtaken for too long, and forgets it. Returns when to look again.
    pub(crate) fn detect(
        &mut self,
        now: Instant,
        in_recovery: bool,
        rto: &Rto,
        outstanding: &Outstanding,
        lost: &mut Vec<UnwrappedTsn>,
    ) -> Option<Instant> {
        let (newest, rtt) = self.rack_xmit?;
        let lost_after = rtt + self.reo_wnd(in_recovery, rto);
        let highest_reported = self.highest_reported;
        let mut reo_deadline = None;
        for log in [&mut self.first_transmissions, &mut self.retransmissions] {
            while let Some(transmission) = log.front().copied() {
                cost_counter::step();
                let chunk = outstanding
                    .chunk(transmission.tsn)
                    .filter(|chunk| chunk.state == ChunkState::InFlight && chunk.transmission == transmission.number);
                if let Some(chunk) = chunk {
                    if transmission.number >= newest {
                        break;
                    }
                    // What a truncated SACK leaves open has a round trip more to be reported.
                    let is_unreported = highest_reported.is_some_and(|highest| transmission.tsn > highest);
                    let extra = if is_unreported { rto.srtt() } else { None };
                    let deadline = chunk.sent_at + lost_after + extra.unwrap_or_default();
                    if deadline > now {
                        reo_deadline = Some(reo_deadline.map_or(deadline, |earlier: Instant| earlier.min(deadline)));
                        break;
                    }
                    lost.push(transmission.tsn);
                }
                log.pop_front();
            }
            shrink(log);
            if log.is_empty() {
                log.shrink_to(8);
            }
        }
        reo_deadline
    }

    /// T3 expired: all that was in flight counts as lost, and the log starts over.
    pub(crate) fn on_timeout(&mut self) {
        for log in [&mut self.first_transmissions, &mut self.retransmissions] {
            log.clear();
            log.shrink_to(8);
        }
        self.probe = None;
        self.repair_probes = 0;
        self.newly_reported = 0;
    }

    /// When to probe for a lost tail (RFC 8985 §7.2), counted from now. `None` while a probe is out.
    pub(crate) fn probe_delay(&self, rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        if self.probe.is_some() {
            return None;
        }
        Self::delay(rto, is_single_packet)
    }

    fn delay(rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        let delay = (2 * rto.srtt()?).max(PROBE_DELAY_MIN);
        Some(if is_single_packet { delay + PEER_SACK_DELAY } else { delay })
    }

    /// When to probe for a lost repetition, counted from now.
    pub(crate) fn repair_probe_delay(&self, rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        let delay = Self::delay(rto, is_single_packet)?;
        delay.checked_mul(1_u32.checked_shl(self.repair_probes)?)
    }

    pub(crate) fn on_repair_probe_sent(&mut self) {
        self.repair_probes += 1;
    }

    pub(crate) fn on_probe_sent(&mut self, end: UnwrappedTsn, is_retransmission: bool) {
        self.probe = Some(Probe { end, is_retransmission });
    }

    /// Whether the acknowledgement up to `cumulative` shows that a probe repaired a loss, for which congestion control
    /// must be told (RFC 8985 §7.4.2).
    pub(crate) fn on_probe_answered(&mut self, cumulative: UnwrappedTsn, has_duplicates: bool) -> bool {
        let Some(probe) = self.probe.filter(|probe| cumulative >= probe.end) else { return false };
        self.probe = None;
        probe.is_retransmission && !has_duplicates
    }

    pub(crate) fn check_consistency(&self, outstanding: &Outstanding) {
        for tsn in outstanding.in_flight() {
            let Some(chunk) = outstanding.chunk(tsn) else { continue };
            let log = if chunk.transmissions > 1 { &self.retransmissions } else { &self.first_transmissions };
            let at = log.binary_search_by_key(&chunk.transmission, |entry| entry.number).ok();
            let entry = at.and_then(|index| log.get(index));
            assert_eq!(entry.map(|entry| entry.tsn), Some(tsn), "the log lost sight of {tsn:?}");
        }
    }
}
