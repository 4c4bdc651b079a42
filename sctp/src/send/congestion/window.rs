//! The congestion window, and its rules that all algorithms share: slow start, reduction, idle time.

use super::hystart::{CONSERVATIVE_DIVISOR, HyStart, HystartPhase};
use super::{Acked, CwndUsage};
use crate::send::pacer::Pacer;
use crate::time::{Duration, Instant};

/// Initial window in packets (RFC 6928). RFC 9260 says 4,404 bytes; ten packets is what TCP, QUIC and the browsers'
/// stacks have used for years, and saves two round trips at the start of every transfer.
pub(super) const INITIAL_PACKETS: usize = 10;

/// RFC 9260 §7.2.1's L: packets by which one SACK may open the window in slow start where nothing is paced. A receiver
/// that reads in batches sends one SACK for many packets, and L = 1 would then double the window once in many round
/// trips. Where packets are paced there is no burst to prevent, and no L (RFC 9406 §4.3). Growth is always bounded by
/// the bytes that were acknowledged, which is what defeats ACK splitting.
const PACKETS_PER_SACK_MAX: usize = 64;

/// Time for which a window is kept of which less than a half is used (RFC 7661 §4.3's non-validated period).
const NON_VALIDATED_PERIOD: Duration = Duration::from_secs(5 * 60);

/// Least slow start threshold in packets (RFC 9260 §7.2.3).
const SSTHRESH_PACKETS_MIN: usize = 4;

/// Congestion window and slow start threshold.
#[derive(Clone, Debug)]
pub(super) struct CongestionWindow {
    pub(super) cwnd: usize,
    pub(super) ssthresh: usize,
    /// For the slow start of the beginning; later ones have a threshold to go by.
    hystart: HyStart,
    /// Time at which a half of the window was last in flight, or the last reduction for want of that.
    validated_at: Option<Instant>,
}

impl CongestionWindow {
    pub(super) fn new(pmdcs: usize) -> Self {
        Self { cwnd: INITIAL_PACKETS * pmdcs, ssthresh: usize::MAX, hystart: HyStart::new(), validated_at: None }
    }

    /// Returns true in slow start (RFC 9260 §7.2.1).
    pub(super) fn is_in_slow_start(&self) -> bool {
        self.cwnd <= self.ssthresh
    }

    /// Returns true if slow start has room to double the window, so that two windows leave in a round trip. Behind a
    /// loss cwnd equals ssthresh: the queue that has just overflowed has no room for twice the rate.
    pub(super) fn is_doubling(&self) -> bool {
        self.cwnd < self.ssthresh / 2
    }

    /// Grows in slow start (RFC 9260 §7.2.1, RFC 9406).
    pub(super) fn slow_start(&mut self, acked: &Acked) {
        let is_first = self.ssthresh == usize::MAX;
        if is_first {
            self.hystart.on_acked(acked.now, acked.rtt, acked.is_new_round);
        }
        let growth = match self.hystart.phase() {
            HystartPhase::Over if is_first => {
                self.ssthresh = self.cwnd.max(SSTHRESH_PACKETS_MIN * acked.pmdcs);
                return;
            }
            HystartPhase::Conservative if is_first => acked.bytes / CONSERVATIVE_DIVISOR,
            HystartPhase::Fast | HystartPhase::Conservative | HystartPhase::Over => acked.bytes,
        };
        if acked.usage != CwndUsage::ApplicationLimited && acked.cumulative {
            let growth_max = if Pacer::is_used(acked.srtt) { usize::MAX } else { PACKETS_PER_SACK_MAX * acked.pmdcs };
            self.cwnd += growth.min(growth_max);
        }
    }

    /// Multiplies window and threshold by `numerator / denominator`, within bounds.
    pub(super) fn shrink(&mut self, numerator: usize, denominator: usize, pmdcs: usize) {
        self.ssthresh = (self.cwnd / denominator * numerator).max(SSTHRESH_PACKETS_MIN * pmdcs);
        self.cwnd = self.ssthresh;
    }

    /// Shrinks the window to one packet (RFC 9260 §7.2.3).
    pub(super) fn collapse(&mut self, pmdcs: usize) {
        self.cwnd = pmdcs;
    }

    /// Halves the window for each time-out that passed without anything sent (RFC 9260 §7.2.1, last rule). Returns
    /// `true` if there was one.
    pub(super) fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration, pmdcs: usize) -> bool {
        let floor = INITIAL_PACKETS * pmdcs;
        let mut idle = now.saturating_duration_since(last_sent);
        if idle < rto || self.cwnd <= floor {
            return false;
        }
        self.ssthresh = self.ssthresh.max(self.cwnd);
        while idle >= rto && self.cwnd > floor {
            self.cwnd = (self.cwnd / 2).max(floor);
            idle -= rto;
        }
        true
    }

    /// Notes how much of the window is used. Halves a window of which less than a half was in flight for five minutes:
    /// the path may have changed meanwhile (RFC 7661 §4.4.3). Returns `true` if it did.
    pub(super) fn validate(&mut self, now: Instant, flight_size: usize, pmdcs: usize) -> bool {
        let floor = INITIAL_PACKETS * pmdcs;
        if flight_size >= self.cwnd / 2 || self.cwnd <= floor {
            self.validated_at = Some(now);
            return false;
        }
        let validated_at = *self.validated_at.get_or_insert(now);
        if now.saturating_duration_since(validated_at) < NON_VALIDATED_PERIOD {
            return false;
        }
        self.validated_at = Some(now);
        self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        self.cwnd = (self.cwnd / 2).max(floor);
        true
    }

    /// Handles a change of the packet size. Window and threshold are in bytes and stay, but a larger packet has to fit.
    pub(super) fn on_mtu_changed(&mut self, pmdcs: usize) {
        self.cwnd = self.cwnd.max(pmdcs);
        self.ssthresh = self.ssthresh.max(SSTHRESH_PACKETS_MIN * pmdcs);
    }

    pub(super) fn check_consistency(&self, pmdcs: usize) {
        assert!(self.cwnd >= pmdcs, "a window below one packet");
        assert!(self.ssthresh >= SSTHRESH_PACKETS_MIN * pmdcs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTU, acked};
    use super::*;
    use crate::testing::some_time;

    #[test]
    fn slow_start_grows_by_what_was_acked_if_the_window_was_full() {
        let mut window = CongestionWindow::new(MTU);
        let start = window.cwnd;
        assert!(window.is_in_slow_start());
        window.slow_start(&Acked { usage: CwndUsage::ApplicationLimited, ..acked(2 * MTU) });
        assert_eq!(window.cwnd, start, "half of the window was idle");
        for usage in [CwndUsage::PacingLimited, CwndUsage::CwndLimited] {
            window.cwnd = start;
            window.slow_start(&Acked { usage, ..acked(2 * MTU) });
            assert_eq!(window.cwnd, start + 2 * MTU);
        }
        window.slow_start(&Acked { cumulative: false, ..acked(MTU) });
        assert_eq!(window.cwnd, start + 2 * MTU, "gap reports alone do not open the window");
    }

    #[test]
    fn e13_ack_splitting_and_empty_sacks_earn_no_more_than_the_bytes_acked() {
        let mut window = CongestionWindow::new(MTU);
        let start = window.cwnd;
        for _ in 0..1000 {
            window.slow_start(&acked(0));
        }
        assert_eq!(window.cwnd, start);
        for _ in 0..12 {
            window.slow_start(&acked(100));
        }
        assert_eq!(window.cwnd, start + MTU);
    }

    /// Packets have grown in slow start, so that the window is one of them.
    #[test]
    fn a_slow_start_that_a_queue_ends_leaves_a_threshold_of_four_packets_at_least() {
        let (mut window, start, pmdcs) = (CongestionWindow::new(MTU), some_time(), 50 * MTU);
        window.on_mtu_changed(pmdcs);
        for round in 0..20 {
            let rtt = Some(Duration::from_millis(if round < 5 { 50 } else { 150 }));
            for sample in 0..10 {
                let now = start + Duration::from_millis(150 * round + sample);
                let usage = CwndUsage::ApplicationLimited;
                window.slow_start(&Acked { now, rtt, pmdcs, usage, is_new_round: sample == 0, ..acked(0) });
            }
        }
        assert_eq!((window.cwnd, window.ssthresh), (pmdcs, SSTHRESH_PACKETS_MIN * pmdcs));
        window.check_consistency(pmdcs);
    }

    #[test]
    fn an_idle_window_shrinks_once_per_rto_to_the_initial_one() {
        let (mut window, start, rto) = (CongestionWindow::new(MTU), some_time(), Duration::from_secs(1));
        window.cwnd = 160 * MTU;
        assert!(!window.on_idle(start, start + rto / 2, rto, MTU));
        assert_eq!(window.cwnd, 160 * MTU);
        assert!(window.on_idle(start, start + 2 * rto, rto, MTU));
        assert_eq!(window.cwnd, 40 * MTU);
        assert!(window.on_idle(start, start + 60 * rto, rto, MTU));
        assert_eq!(window.cwnd, INITIAL_PACKETS * MTU);
    }

    #[test]
    fn an_idle_time_counts_in_whole_time_outs_and_leaves_a_threshold_to_come_back_to() {
        let (start, rto, almost) = (some_time(), Duration::from_secs(1), Duration::from_nanos(1));
        for (idle, packets) in [(rto - almost, 160), (rto, 80), (2 * rto - almost, 80), (2 * rto, 40)] {
            let mut window = CongestionWindow { cwnd: 160 * MTU, ssthresh: 70 * MTU, ..CongestionWindow::new(MTU) };
            assert_eq!(window.on_idle(start, start + idle, rto, MTU), packets < 160);
            assert_eq!(window.cwnd, packets * MTU, "{idle:?}");
            assert_eq!(window.ssthresh, if packets < 160 { 160 * MTU } else { 70 * MTU });
        }
        let mut window = CongestionWindow { cwnd: 20 * MTU, ssthresh: 70 * MTU, ..CongestionWindow::new(MTU) };
        assert!(window.on_idle(start, start + rto, rto, MTU));
        assert_eq!((window.cwnd, window.ssthresh), (10 * MTU, 70 * MTU));
        assert!(!window.on_idle(start, start + rto, rto, MTU), "the window is an initial one already");
    }

    /// RFC 7661 §4.3, §4.4.3.
    #[test]
    fn a_window_that_is_not_half_used_for_five_minutes_is_halved_and_can_come_back_fast() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let (mut window, start) = (CongestionWindow::new(MTU), some_time());
        window.cwnd = 160 * MTU;
        window.ssthresh = 100 * MTU;
        assert!(!window.validate(start, 80 * MTU, MTU));
        assert!(!window.validate(start + minutes(4), 79 * MTU, MTU));
        assert!(!window.validate(start + minutes(4), 80 * MTU, MTU), "a half is enough");
        assert!(!window.validate(start + minutes(8), 79 * MTU, MTU));
        assert!(window.validate(start + minutes(9), 79 * MTU, MTU));
        assert_eq!((window.cwnd, window.ssthresh), (80 * MTU, 120 * MTU));
        assert!(!window.validate(start + minutes(13), MTU, MTU), "five minutes for each half");
        for minute in 14..60 {
            window.validate(start + minutes(minute), MTU, MTU);
        }
        assert_eq!(window.cwnd, INITIAL_PACKETS * MTU, "an initial window needs no proof");
    }

    #[test]
    fn a_reduction_keeps_four_packets_and_another_packet_size_as_many() {
        let mut window = CongestionWindow::new(MTU);
        window.shrink(7, 10, MTU);
        assert_eq!((window.cwnd, window.ssthresh), (7 * MTU, 7 * MTU));
        window.shrink(1, 2, MTU);
        assert_eq!((window.cwnd, window.ssthresh), (4 * MTU, 4 * MTU), "not three and a half");
        window.on_mtu_changed(2 * MTU);
        assert_eq!((window.cwnd, window.ssthresh), (4 * MTU, 8 * MTU));
        window.on_mtu_changed(MTU);
        assert_eq!((window.cwnd, window.ssthresh), (4 * MTU, 8 * MTU));
    }

    /// Passes through a round of slow start with this delay.
    fn round(window: &mut CongestionWindow, milliseconds: u64) {
        for sample in 0..8 {
            let rtt = Some(Duration::from_millis(milliseconds));
            window.slow_start(&Acked { rtt, is_new_round: sample == 0, ..acked(0) });
        }
    }

    /// RFC 9406 §4.2: growth by a quarter, and congestion avoidance after five rounds.
    #[test]
    fn conservative_slow_start_grows_by_a_quarter_and_ends_in_congestion_avoidance() {
        let mut window = CongestionWindow::new(MTU);
        round(&mut window, 50);
        round(&mut window, 100);
        let start = window.cwnd;
        window.slow_start(&acked(4000));
        assert_eq!(window.cwnd, start + 1000);
        (0..5).for_each(|_| round(&mut window, 100));
        assert_eq!((window.cwnd, window.ssthresh), (start + 1000, start + 1000));
    }

    #[test]
    fn a_slow_start_with_a_threshold_has_no_use_for_the_delay() {
        let mut window = CongestionWindow { ssthresh: 100 * MTU, ..CongestionWindow::new(MTU) };
        round(&mut window, 50);
        (0..20).for_each(|_| round(&mut window, 100));
        let start = window.cwnd;
        window.slow_start(&acked(4000));
        assert_eq!((window.cwnd, window.ssthresh), (start + 4000, 100 * MTU));
    }

    #[test]
    fn a_window_doubles_below_half_of_the_threshold() {
        let mut window = CongestionWindow::new(MTU);
        assert!(window.is_doubling(), "no threshold is known");
        window.cwnd = 100 * MTU;
        window.shrink(7, 10, MTU);
        assert!(window.is_in_slow_start() && !window.is_doubling(), "right behind a loss");
        window.cwnd = 35 * MTU;
        assert!(window.is_in_slow_start() && !window.is_doubling(), "half of the threshold");
        window.cwnd -= 1;
        assert!(window.is_doubling());
    }

    /// RFC 9406 §4.3: a later slow start is the usual one, however the first one ended.
    #[test]
    fn a_loss_in_conservative_slow_start_leaves_later_slow_starts_their_growth() {
        let mut window = CongestionWindow::new(MTU);
        round(&mut window, 50);
        round(&mut window, 100);
        window.cwnd = 100 * MTU;
        window.shrink(7, 10, MTU);
        window.collapse(MTU);
        window.slow_start(&acked(MTU));
        assert_eq!(window.cwnd, 2 * MTU);
    }

    #[test]
    fn one_sack_for_many_packets_doubles_a_window_that_is_paced_and_opens_another_by_a_burst_at_most() {
        for (srtt, growth) in [(Duration::from_millis(10), 500), (Duration::from_micros(100), PACKETS_PER_SACK_MAX)] {
            let mut window = CongestionWindow::new(MTU);
            window.cwnd = 500 * MTU;
            window.slow_start(&Acked { srtt, ..acked(500 * MTU) });
            assert_eq!(window.cwnd, (500 + growth) * MTU, "{srtt:?}");
        }
    }
}
