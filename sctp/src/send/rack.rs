//! Loss detection by the order of transmissions: RACK (RFC 8985 §6).
//!
//! RFC 9260 §7.2.4 counts three miss indications per TSN and lets a chunk be fast-retransmitted once only; a lost
//! retransmission then waits for T3. RACK looks at the order and time of *transmissions* instead, so a retransmission
//! is as good as any other. The logs below have one entry per transmission, in order of sending; each is looked at a
//! constant number of times, so a SACK costs what it newly says, whatever the window.

use std::collections::VecDeque;

use super::charge::{push_back, shrink};
use super::outstanding::{Chunk, ChunkState, Outstanding};
use super::rtt_sample::RttSample;
use crate::cost_counter;
use crate::path::{Path, Rto};
use crate::serial::{TransmissionNumber, UnwrappedTsn};
use crate::time::{Duration, Instant};

/// Packets in gap reports that count as loss if no reordering has been seen (RFC 8985 §6.2 step 4, `DupThresh`).
const DUPLICATE_THRESHOLD: u64 = 3;

/// Recoveries for which a widened reordering window is kept (RFC 8985 §6.2 step 4).
const REO_WND_PERSIST: u32 = 16;

/// The window's multiple grows up to here; beyond it the smoothed RTT bounds it anyway.
const REO_WND_MULT_MAX: u32 = 64;

/// Gap blocks from which on a SACK may not tell all: dcSCTP reports 20 at most, others what fits a packet. What lies
/// above the last block is then not known to be missing.
const COMPLETE_BLOCKS_MAX: usize = 16;

/// One transmission of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transmission {
    number: TransmissionNumber,
    tsn: UnwrappedTsn,
}

/// Transmissions that may still be found lost.
#[derive(Debug, Default)]
struct TransmissionLog {
    /// First transmissions, in order; also in order of TSN.
    first_transmissions: VecDeque<Transmission>,
    /// Retransmissions, in order. Apart from the others, so that what a truncated SACK leaves open about the former
    /// does not hide the loss of the latter.
    retransmissions: VecDeque<Transmission>,
    next: TransmissionNumber,
}

/// The reordering window's parameters (RFC 8985 §6.2 step 4).
#[derive(Debug)]
struct Reordering {
    is_seen: bool,
    reo_wnd_mult: u32,
    /// Recoveries until the multiple falls back to 1.
    reo_wnd_persist: u32,
    /// Number that the next transmission had when the multiple last grew: once per round trip is enough.
    round_end: TransmissionNumber,
    /// The last TSN that was outstanding when a time-out turned out needless. Until it is acknowledged the window is as
    /// wide as it may be: the path has held these chunks back, and may hand them over in any order.
    held_back_to: Option<UnwrappedTsn>,
}

/// RACK's state.
#[derive(Debug)]
pub(super) struct Rack {
    log: TransmissionLog,
    reordering: Reordering,
    /// Number and round-trip time of the latest transmission that is known to have arrived (RFC 8985's `RACK.xmit_ts`
    /// and `RACK.rtt`).
    rack_xmit: Option<(TransmissionNumber, Duration)>,
    highest_acked: UnwrappedTsn,
    /// The highest TSN that a truncated SACK reports: those above are not known to be missing. `None` if it reports
    /// all.
    highest_reported: Option<UnwrappedTsn>,
    /// Packets gap-reported since the Cumulative TSN Ack Point last moved.
    newly_reported: u64,
}

impl Rack {
    pub(super) fn new() -> Self {
        let round_end = TransmissionNumber::default();
        Self {
            log: TransmissionLog::default(),
            reordering: Reordering {
                is_seen: false,
                reo_wnd_mult: 1,
                reo_wnd_persist: 0,
                round_end,
                held_back_to: None,
            },
            rack_xmit: None,
            highest_acked: UnwrappedTsn::BEFORE_ALL,
            highest_reported: None,
            newly_reported: 0,
        }
    }

    /// Logs a transmission. Returns its number.
    pub(super) fn on_sent(&mut self, tsn: UnwrappedTsn, is_retransmission: bool) -> TransmissionNumber {
        let number = self.log.next.take();
        let log = if is_retransmission { &mut self.log.retransmissions } else { &mut self.log.first_transmissions };
        push_back(log, Transmission { number, tsn });
        number
    }

    /// Returns the number that the next transmission gets.
    pub(super) fn next_transmission(&self) -> TransmissionNumber {
        self.log.next
    }

    /// Returns the first transmission whose fate is not known; `None` if all are.
    pub(super) fn oldest_transmission(&self) -> Option<TransmissionNumber> {
        let logs = [&self.log.first_transmissions, &self.log.retransmissions];
        logs.into_iter().filter_map(|log| Some(log.front()?.number)).min()
    }

    /// Handles a SACK with `blocks` gap blocks, the highest of which ends at `highest`.
    pub(super) fn on_gap_blocks(&mut self, blocks: usize, highest: UnwrappedTsn) {
        self.highest_reported = (blocks >= COMPLETE_BLOCKS_MAX).then_some(highest);
    }

    /// Handles the first acknowledgement of a chunk, cumulatively or in a gap block. `is_probe_answer`: it answers a
    /// probe that followed two round trips of silence.
    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        tsn: UnwrappedTsn,
        chunk: &Chunk,
        rtt_min: Option<Duration>,
        is_probe_answer: bool,
        rtt_sample: &mut RttSample,
    ) {
        let rtt = now.saturating_duration_since(chunk.sent_at);
        let was_retransmitted = chunk.transmissions > 1;
        // Step 2: an acknowledgement that comes sooner than any round trip belongs to an earlier transmission. Not so
        // behind a probe: nothing was heard for two round trips before it, so the path has become faster.
        if was_retransmitted && !is_probe_answer && rtt_min.is_some_and(|min| rtt < min) {
            return rtt_sample.on_acked(chunk, rtt, false);
        }
        let is_latest = self.rack_xmit.is_none_or(|(number, _)| chunk.transmission > number);
        if is_latest {
            self.rack_xmit = Some((chunk.transmission, rtt));
        }
        rtt_sample.on_acked(chunk, rtt, is_latest);
        // Step 3: something sent earlier arrives later, and was not retransmitted.
        if tsn < self.highest_acked && !was_retransmitted {
            self.reordering.is_seen = true;
        }
        self.highest_acked = self.highest_acked.max(tsn);
    }

    pub(super) fn on_gap_reported(&mut self, packets: u64) {
        self.newly_reported += packets;
    }

    pub(super) fn on_cumulative_advanced(&mut self, cumulative: UnwrappedTsn) {
        self.newly_reported = 0;
        self.reordering.held_back_to.take_if(|end| cumulative >= *end);
    }

    /// Returns `true` if the last SACK may not have told all.
    pub(super) fn is_report_truncated(&self) -> bool {
        self.highest_reported.is_some()
    }

    /// Handles evidence that a chunk which counted as lost had only been overtaken: RACK waits longer from now on.
    pub(super) fn on_needless_loss(&mut self) {
        let reordering = &mut self.reordering;
        if self.rack_xmit.is_some_and(|(number, _)| number >= reordering.round_end) {
            reordering.is_seen = true;
            reordering.round_end = self.log.next;
            reordering.reo_wnd_mult = (reordering.reo_wnd_mult + 1).min(REO_WND_MULT_MAX);
            reordering.reo_wnd_persist = REO_WND_PERSIST;
        }
    }

    pub(super) fn on_recovery_ended(&mut self) {
        let reordering = &mut self.reordering;
        reordering.reo_wnd_persist = reordering.reo_wnd_persist.saturating_sub(1);
        if reordering.reo_wnd_persist == 0 {
            reordering.reo_wnd_mult = 1;
        }
    }

    /// Returns `reo_wnd` (step 4): the time by which a transmission may arrive later than its successors.
    fn reo_wnd(&self, in_recovery: bool, rtt: Duration, rto: &Rto) -> Duration {
        if self.reordering.held_back_to.is_some() {
            // The smoothed round-trip time will grow by an eighth of the latest one.
            return rto.srtt().unwrap_or_default().max(rtt / 8);
        }
        if !self.reordering.is_seen && (in_recovery || self.newly_reported >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        let reo_wnd = rto.rtt_min().unwrap_or_default() / 4 * self.reordering.reo_wnd_mult;
        reo_wnd.min(rto.srtt().unwrap_or_default())
    }

    /// Detects losses (step 5): adds to `lost` the chunk of each transmission that was overtaken for too long, and
    /// forgets the transmission. Returns when the next one will have been (`reo_deadline`).
    pub(super) fn detect(
        &mut self,
        now: Instant,
        in_recovery: bool,
        path: &Path,
        outstanding: &Outstanding,
        lost: &mut Vec<UnwrappedTsn>,
    ) -> Option<Instant> {
        let (newest, rtt) = self.rack_xmit?;
        let lost_after = rtt + self.reo_wnd(in_recovery, rtt, &path.rto);
        let highest_reported = self.highest_reported;
        let mut reo_deadline = None;
        for log in [&mut self.log.first_transmissions, &mut self.log.retransmissions] {
            while let Some(transmission) = log.front().copied() {
                cost_counter::step();
                let chunk = outstanding
                    .chunk(transmission.tsn)
                    .filter(|chunk| chunk.state == ChunkState::InFlight && chunk.transmission == transmission.number);
                if let Some(chunk) = chunk {
                    if transmission.number >= newest {
                        break;
                    }
                    // A TSN that a truncated SACK does not report has a round trip more.
                    let is_unreported = highest_reported.is_some_and(|highest| transmission.tsn > highest);
                    let extra = if is_unreported { path.rto.srtt() } else { None };
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

    /// Handles the expiry of T3-rtx: all that was in flight counts as lost, and the log starts over.
    pub(super) fn on_t3_timeout(&mut self) {
        for log in [&mut self.log.first_transmissions, &mut self.log.retransmissions] {
            log.clear();
            log.shrink_to(8);
        }
        self.newly_reported = 0;
    }

    /// Starts over after chunks that T3-rtx took for lost have come back. The acknowledgement of a retransmission was
    /// that of the original, so which transmission arrived last is not known.
    pub(super) fn rebuild(&mut self, outstanding: &Outstanding) {
        self.rack_xmit = None;
        self.reordering.held_back_to = Some(outstanding.last_assigned_tsn());
        let log = &mut self.log;
        log.first_transmissions.clear();
        log.retransmissions.clear();
        for tsn in outstanding.in_flight() {
            cost_counter::step();
            let Some(chunk) = outstanding.chunk(tsn) else { continue };
            let log = if chunk.transmissions > 1 { &mut log.retransmissions } else { &mut log.first_transmissions };
            push_back(log, Transmission { number: chunk.transmission, tsn });
        }
        // First transmissions are in the order of their TSNs.
        log.retransmissions.make_contiguous().sort_unstable_by_key(|entry| entry.number);
    }

    pub(super) fn check_consistency(&self, outstanding: &Outstanding) {
        for tsn in outstanding.in_flight() {
            let Some(chunk) = outstanding.chunk(tsn) else { continue };
            let is_retransmission = chunk.transmissions > 1;
            let log = if is_retransmission { &self.log.retransmissions } else { &self.log.first_transmissions };
            let at = log.binary_search_by_key(&chunk.transmission, |entry| entry.number).ok();
            let entry = at.and_then(|index| log.get(index));
            assert_eq!(entry.map(|entry| entry.tsn), Some(tsn), "the log lost sight of {tsn:?}");
        }
    }
}
