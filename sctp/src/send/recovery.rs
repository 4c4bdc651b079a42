//! Fast Recovery: when it ends (RFC 9260 §7.2.4 step 6), and proportional rate reduction meanwhile (RFC 6937).
//!
//! The flight size falls far below the congestion window if many chunks are found lost at once. A burst that fills the
//! window would go into the queue that has just overflowed. Proportional rate reduction lets out what arrives, so that
//! the window is reached smoothly within a round trip.
//!
//! Its budget grows with SACKs only, so it suits a sender that has enough in flight to bring the next SACK soon. Two
//! others would wait for the peer's delayed SACK, 200 ms, or for T3, with room in the window:
//!
//! - A sender that has run out of data. It cannot send a burst, so the congestion window alone bounds it.
//! - A sender with more data, but with an odd packet or two in flight. After each round trip without a SACK it may send
//!   one packet more, which is no more than the window after a time-out would allow (RFC 9260 §7.2.3).

use crate::serial::UnwrappedTsn;
use crate::time::{Duration, Instant};

/// Least time without a SACK after which one more packet may leave: below this a timer is mostly noise.
const STALL_MIN: Duration = Duration::from_millis(10);

/// One loss under repair.
#[derive(Debug)]
pub(crate) struct FastRecovery {
    /// The last TSN sent when the loss was found; acknowledging it ends the episode.
    end: UnwrappedTsn,
    /// `None` if the sender has run out of data since the loss was found, or had before.
    reduction: Option<RateReduction>,
}

/// Proportional rate reduction (RFC 6937 §3).
#[derive(Debug)]
struct RateReduction {
    /// Bytes in flight when the loss was found.
    flight_at_start: usize,
    /// Bytes acknowledged since.
    delivered: usize,
    /// Bytes sent since.
    sent: usize,
    /// Bytes that may be sent in answer to the last SACK.
    budget: usize,
    /// True if one packet may leave although the budget is used up.
    is_relieved: bool,
    /// Time at which something was last sent or acknowledged.
    active_at: Instant,
    /// The smoothed round-trip time then.
    srtt: Duration,
}

/// Data that a SACK acknowledged, and the flight size after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckProgress {
    /// Bytes acknowledged for the first time.
    pub(crate) bytes: usize,
    pub(crate) flight_size: usize,
    /// Target of the flight size.
    pub(crate) window: usize,
    /// Bytes of chunks that a packet takes.
    pub(crate) pmdcs: usize,
    pub(crate) now: Instant,
    pub(crate) srtt: Duration,
}

impl FastRecovery {
    /// Creates an episode of a sender that has more to send than the congestion window takes.
    pub(crate) fn new(now: Instant, end: UnwrappedTsn, flight_at_start: usize) -> Self {
        let reduction = RateReduction {
            flight_at_start: flight_at_start.max(1),
            delivered: 0,
            sent: 0,
            budget: 0,
            is_relieved: false,
            active_at: now,
            srtt: Duration::ZERO,
        };
        Self { end, reduction: Some(reduction) }
    }

    pub(crate) fn is_over(&self, cumulative: UnwrappedTsn) -> bool {
        cumulative >= self.end
    }

    /// Returns true if a packet may leave now. `has_window` is true if the congestion window has room for it.
    pub(crate) fn may_send(&self, has_window: bool) -> bool {
        self.reduction.as_ref().map_or(has_window, RateReduction::has_room)
    }

    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize) {
        if let Some(reduction) = &mut self.reduction {
            reduction.active_at = now;
            reduction.sent += bytes;
            reduction.budget = reduction.budget.saturating_sub(bytes);
        }
    }

    /// Handles the departure of a packet, of which [`on_sent`](Self::on_sent) has counted the chunks.
    pub(crate) fn on_packet_sent(&mut self) {
        if let Some(reduction) = &mut self.reduction {
            reduction.is_relieved = false;
        }
    }

    /// Ends the reduction when the sender is application-limited: all lost and queued data has been sent, and the
    /// congestion window still has room. What the application sends later is new traffic, which the window and the
    /// pacer bound as they do without a loss.
    pub(crate) fn on_app_limited(&mut self) {
        self.reduction = None;
    }

    pub(crate) fn on_acked(&mut self, progress: AckProgress) {
        if let Some(reduction) = &mut self.reduction {
            reduction.on_acked(progress);
        }
    }

    /// Returns the time at which one more packet may leave if no SACK comes; `None` if one may leave now.
    pub(crate) fn stalled_until(&self) -> Option<Instant> {
        let reduction = self.reduction.as_ref().filter(|reduction| !reduction.has_room())?;
        Some(reduction.active_at + reduction.srtt.max(STALL_MIN))
    }

    /// Makes room for a packet if it is time. The congestion window must have room for it.
    pub(crate) fn relieve_stall(&mut self, now: Instant) {
        if self.stalled_until().is_some_and(|at| at <= now)
            && let Some(reduction) = &mut self.reduction
        {
            reduction.is_relieved = true;
        }
    }
}

impl RateReduction {
    fn has_room(&self) -> bool {
        self.budget > 0 || self.is_relieved
    }

    fn on_acked(&mut self, AckProgress { bytes, flight_size, window, pmdcs, now, srtt }: AckProgress) {
        (self.active_at, self.srtt) = (now, srtt);
        self.delivered += bytes;
        self.budget = if flight_size > window {
            // RFC 6937 §3: proportional part.
            let target = (self.delivered as u128 * window as u128).div_ceil(self.flight_at_start as u128);
            usize::try_from(target).unwrap_or(usize::MAX).saturating_sub(self.sent)
        } else {
            // Slow-start part: what has left the network, and one packet more.
            let limit = self.delivered.saturating_sub(self.sent).max(bytes) + pmdcs;
            limit.min(window - flight_size)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1200;
    const RTT: Duration = Duration::from_millis(50);

    fn tsn(number: u64) -> UnwrappedTsn {
        UnwrappedTsn::BEFORE_ALL.add(number)
    }

    fn begin(end: u64, flight_at_start: usize) -> FastRecovery {
        FastRecovery::new(crate::testing::some_time(), tsn(end), flight_at_start)
    }

    fn acked(recovery: &mut FastRecovery, bytes: usize, flight_size: usize, window: usize) {
        let now = crate::testing::some_time();
        recovery.on_acked(AckProgress { bytes, flight_size, window, pmdcs: MTU, now, srtt: RTT });
    }

    fn sent(recovery: &mut FastRecovery, bytes: usize) {
        recovery.on_sent(crate::testing::some_time(), bytes);
    }

    #[test]
    fn a_mild_loss_halves_the_rate_at_once() {
        let mut recovery = begin(200, 100 * MTU);
        let (mut flight, mut packets) = (99 * MTU, 0);
        for _ in 0..98 {
            flight -= MTU;
            acked(&mut recovery, MTU, flight, 50 * MTU);
            while recovery.may_send(true) && flight < 50 * MTU + 49 * MTU {
                sent(&mut recovery, MTU);
                flight += MTU;
                packets += 1;
            }
        }
        assert!((45..=55).contains(&packets), "{packets} packets for 98 that arrived");
    }

    /// RFC 6937 §3: while more is in flight than the window, what leaves is to what arrived as the window is to the
    /// flight before.
    #[test]
    fn above_the_window_the_share_of_what_arrived_leaves_to_the_byte() {
        for (in_flight, budget) in [(90 * MTU, 5 * MTU), (50 * MTU + 1, 5 * MTU), (50 * MTU, 0)] {
            let mut recovery = begin(200, 100 * MTU);
            acked(&mut recovery, 10 * MTU, in_flight, 50 * MTU);
            assert_eq!(recovery.may_send(true), budget > 0, "{in_flight} in flight");
            sent(&mut recovery, budget.saturating_sub(1));
            assert_eq!(recovery.may_send(true), budget > 0);
            sent(&mut recovery, 1);
            assert!(!recovery.may_send(true));
        }
        // Bytes that were sent count when more arrive: 6 of 12 may leave in all.
        let mut recovery = begin(200, 100 * MTU);
        acked(&mut recovery, 10 * MTU, 90 * MTU, 50 * MTU);
        sent(&mut recovery, 2 * MTU);
        acked(&mut recovery, 2 * MTU, 90 * MTU, 50 * MTU);
        sent(&mut recovery, 4 * MTU - 1);
        assert!(recovery.may_send(true));
        sent(&mut recovery, 1);
        assert!(!recovery.may_send(true));
    }

    /// RFC 6937 §3: slow start part, one packet beyond what arrived, up to the window.
    #[test]
    fn below_the_window_a_packet_more_than_arrived_leaves_up_to_the_window() {
        for (bytes, in_flight, budget) in [(3 * MTU, 20 * MTU, 4 * MTU), (3 * MTU, 48 * MTU, 2 * MTU)] {
            let mut recovery = begin(200, 100 * MTU);
            acked(&mut recovery, bytes, in_flight, 50 * MTU);
            sent(&mut recovery, budget - 1);
            assert!(recovery.may_send(true));
            sent(&mut recovery, 1);
            assert!(!recovery.may_send(true));
        }
        // Credit that was not used stays; an overdraft does not.
        for (already_sent, budget) in [(MTU, 5 * MTU), (10 * MTU, 2 * MTU)] {
            let mut recovery = begin(200, 100 * MTU);
            acked(&mut recovery, 4 * MTU, 20 * MTU, 50 * MTU);
            sent(&mut recovery, already_sent);
            acked(&mut recovery, MTU, 20 * MTU, 50 * MTU);
            sent(&mut recovery, budget - 1);
            assert!(recovery.may_send(true));
            sent(&mut recovery, 1);
            assert!(!recovery.may_send(true));
        }
    }

    #[test]
    fn a_heavy_loss_is_no_reason_for_a_burst() {
        let mut recovery = begin(200, 100 * MTU);
        // 80 of 100 were lost: the flight is far below the window.
        let mut flight = 20 * MTU;
        for _ in 0..20 {
            flight -= MTU;
            acked(&mut recovery, MTU, flight, 50 * MTU);
            let mut burst = 0;
            while recovery.may_send(true) {
                sent(&mut recovery, MTU);
                flight += MTU;
                burst += 1;
            }
            assert!(burst <= 2, "a burst of {burst}");
        }
        assert!(flight > 30 * MTU, "the flight grows again, as in slow start");
    }

    #[test]
    fn a_sender_without_more_data_is_bound_by_the_window_alone() {
        let mut recovery = begin(200, 3 * MTU);
        assert!(!recovery.may_send(true), "no SACK has made room yet");
        recovery.on_app_limited();
        assert!(recovery.may_send(true));
        assert!(!recovery.may_send(false));
        acked(&mut recovery, MTU, 2 * MTU, 10 * MTU);
        sent(&mut recovery, 100 * MTU);
        assert!(recovery.may_send(true), "no SACK is needed for more");
        assert!(!recovery.is_over(tsn(199)) && recovery.is_over(tsn(200)), "the episode lasts as long as any");
    }

    #[test]
    fn a_round_trip_without_a_sack_lets_one_packet_out() {
        let now = crate::testing::some_time();
        let mut recovery = FastRecovery::new(now, tsn(200), 3 * MTU);
        recovery.on_acked(AckProgress {
            bytes: MTU,
            flight_size: 2 * MTU,
            window: 10 * MTU,
            pmdcs: MTU,
            now,
            srtt: RTT,
        });
        assert_eq!(recovery.stalled_until(), None);
        recovery.on_sent(now, 2 * MTU);
        assert!(!recovery.may_send(true));
        for round in 1..5 {
            assert_eq!(recovery.stalled_until(), Some(now + round * RTT));
            recovery.relieve_stall(now + round * RTT - Duration::from_nanos(1));
            assert!(!recovery.may_send(true), "too early");
            recovery.relieve_stall(now + round * RTT);
            for _ in 0..3 {
                assert!(recovery.may_send(true), "another chunk of the packet");
                recovery.on_sent(now + round * RTT, MTU / 4);
            }
            recovery.on_packet_sent();
            assert!(!recovery.may_send(true), "one is enough, full or not");
        }
    }

    #[test]
    fn the_episode_ends_with_what_was_outstanding_when_it_began() {
        let recovery = begin(10, 0);
        assert!(!recovery.is_over(tsn(9)));
        assert!(recovery.is_over(tsn(10)));
    }
}
