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
    number: u64,
    position: u64,
    sent_at: Instant,
}

/// A tail loss probe on its way (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Acknowledging this position ends the episode.
    end: u64,
    is_retransmission: bool,
}

#[derive(Debug)]
pub(crate) struct LossDetection {
    /// First transmissions, in order; also in order of TSN.
    first_transmissions: VecDeque<Transmission>,
    /// Retransmissions, in order. Apart from the others, so that what a truncated SACK leaves open about the former does not
    /// hide the loss of the latter.
    retransmissions: VecDeque<Transmission>,
    next: u64,
    /// Positions above this are not known to be missing.
    highest_reported: u64,
    /// Number and round-trip time of the latest transmission that is known to have arrived.
    rack_xmit: Option<(u64, Duration)>,
    highest_acked: u64,
    is_reordering_seen: bool,
    reordering_multiple: u32,
    reordering_persist: u32,
    /// Number that the next transmission had when the multiple last grew: once per round trip is enough.
    reordering_round: u64,
    /// Chunks gap-reported since the cumulative point last moved.
    newly_reported: u64,
    probe: Option<Probe>,
    /// Probes of a repair that has stalled, since something was acknowledged.
    repair_probes: u32,
}

/// What a SACK taught about the path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learned {
    /// Round-trip time of the latest transmission that it acknowledged, if it was sent once only (Karn).
    pub(crate) rtt: Option<Duration>,
}

impl LossDetection {
    pub(crate) fn new() -> Self {
        Self {
            first_transmissions: VecDeque::new(),
            retransmissions: VecDeque::new(),
            next: 0,
            highest_reported: u64::MAX,
            rack_xmit: None,
            highest_acked: 0,
            is_reordering_seen: false,
            reordering_multiple: 1,
            reordering_persist: 0,
            reordering_round: 0,
            newly_reported: 0,
            probe: None,
            repair_probes: 0,
        }
    }

    /// Number that the next transmission gets.
    pub(crate) fn next_transmission(&self) -> u64 {
        self.next
    }

    pub(crate) fn on_sent(&mut self, now: Instant, position: u64, is_repeat: bool) {
        let log = if is_repeat { &mut self.retransmissions } else { &mut self.first_transmissions };
        push_back(log, Transmission { number: self.next, position, sent_at: now });
        self.next += 1;
    }

    /// How far a SACK with that many gap blocks, the highest of which ends at `highest`, tells what is missing.
    pub(crate) fn on_report(&mut self, blocks: usize, highest: u64) {
        self.highest_reported = if blocks >= COMPLETE_BLOCKS_MAX { highest } else { u64::MAX };
    }

    /// A chunk was acknowledged for the first time, cumulatively or in a gap block.
    pub(crate) fn on_acked(&mut self, now: Instant, position: u64, chunk: &Chunk, rto: &Rto, learned: &mut Learned) {
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
            learned.rtt = (!was_retransmitted).then_some(rtt);
        }
        // Step 3: something sent earlier arrives later, and was not sent again.
        if position < self.highest_acked && !was_retransmitted {
            self.is_reordering_seen = true;
        }
        self.highest_acked = self.highest_acked.max(position);
    }

    pub(crate) fn on_gap_reported(&mut self, chunks: u64) {
        self.newly_reported += chunks;
    }

    pub(crate) fn on_cumulative_advanced(&mut self) {
        self.newly_reported = 0;
    }

    /// Whether the last SACK may not have told all.
    pub(crate) fn is_report_truncated(&self) -> bool {
        self.highest_reported != u64::MAX
    }

    /// The peer has received something twice (RFC 2883): a retransmission was not needed, so wait longer from now on.
    pub(crate) fn on_duplicates_reported(&mut self) {
        if self.rack_xmit.is_some_and(|(newest, _)| newest >= self.reordering_round) {
            self.is_reordering_seen = true;
            self.reordering_round = self.next_transmission();
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
    fn reordering_window(&self, in_recovery: bool, rto: &Rto) -> Duration {
        if !self.is_reordering_seen && (in_recovery || self.newly_reported >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        let window = rto.rtt_min().unwrap_or_default() / 4 * self.reordering_multiple;
        window.min(rto.srtt().unwrap_or_default())
    }

    /// Step 5: hands `on_lost` each transmission that was overtaken for too long. Returns when to look again.
    pub(crate) fn detect(
        &mut self,
        now: Instant,
        in_recovery: bool,
        rto: &Rto,
        outstanding: &mut Outstanding,
        mut on_lost: impl FnMut(&mut Outstanding, u64),
    ) -> Option<Instant> {
        let (newest, rtt) = self.rack_xmit?;
        let patience = rtt + self.reordering_window(in_recovery, rto);
        let highest_reported = self.highest_reported;
        let mut reo_deadline = None;
        for log in [&mut self.first_transmissions, &mut self.retransmissions] {
            while let Some(transmission) = log.front().copied() {
                cost_counter::step();
                let is_current = outstanding.chunk(transmission.position).is_some_and(|chunk| {
                    chunk.fate == ChunkState::InFlight && chunk.transmission == transmission.number
                });
                if is_current {
                    if transmission.number >= newest {
                        break;
                    }
                    // What a truncated SACK leaves open has a round trip more to be reported.
                    let extra = if transmission.position > highest_reported { rto.srtt() } else { None };
                    let deadline = transmission.sent_at + patience + extra.unwrap_or_default();
                    if deadline > now {
                        reo_deadline = Some(reo_deadline.map_or(deadline, |earlier: Instant| earlier.min(deadline)));
                        break;
                    }
                    on_lost(outstanding, transmission.position);
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

    pub(crate) fn on_probe_sent(&mut self, end: u64, is_retransmission: bool) {
        self.probe = Some(Probe { end, is_retransmission });
    }

    /// Whether the acknowledgement up to `cumulative` shows that a probe repaired a loss, for which congestion control
    /// must be told (RFC 8985 §7.4.2).
    pub(crate) fn on_probe_answered(&mut self, cumulative: u64, has_duplicates: bool) -> bool {
        let Some(probe) = self.probe.filter(|probe| cumulative >= probe.end) else { return false };
        self.probe = None;
        probe.is_retransmission && !has_duplicates
    }

    pub(crate) fn check_consistency(&self, outstanding: &Outstanding) {
        for position in outstanding.in_flight() {
            let Some(chunk) = outstanding.chunk(position) else { continue };
            let log = if chunk.transmissions > 1 { &self.retransmissions } else { &self.first_transmissions };
            let at = log.binary_search_by_key(&chunk.transmission, |entry| entry.number).ok();
            let entry = at.and_then(|index| log.get(index));
            assert_eq!(entry.map(|entry| entry.position), Some(position), "the log lost sight of {position}");
        }
    }
}
