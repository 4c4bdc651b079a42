//! Spreading what the congestion window lets out over the round trip (RFC 9002 §7.7).
//!
//! A window that opens at once, after a loss was repaired or an application was idle, would otherwise leave as one
//! burst and overflow the next queue.

use crate::time::{Duration, Instant};

/// Below this round-trip time nothing is spread: timers are coarser than the gaps would be.
const RTT_MIN: Duration = Duration::from_millis(1);

/// Packets of a window that may always leave at once, like an initial window.
const BURST_PACKETS_MIN: usize = 10;

/// The bucket holds what leaves in this time, so that a timer of a millisecond can keep up.
pub(super) const BURST_TIME: Duration = Duration::from_millis(2);

/// Longest wait for more than one packet. At a rate at which one takes longer, packets leave singly.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// A token bucket that fills at the pacing rate.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// Bytes that may leave now.
    tokens: usize,
    /// Part of a byte that has come in beside them, in bytes times nanoseconds: less than the interval of the rate.
    fraction: u128,
    /// Time at which the bucket was last filled. `None` at first: the bucket then counts as full.
    filled_at: Option<Instant>,
}

/// Rate at which packets leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacingRate {
    /// Bytes that leave in each `interval`.
    pub(crate) bytes: usize,
    pub(crate) interval: Duration,
    /// Packets that may always leave at once.
    pub(crate) burst_packets: usize,
}

impl PacingRate {
    /// Returns the rate that spreads a congestion window over a round trip: a bit above the window per round trip, so
    /// that pacing alone leaves none of it unused. A window that doubles in a round trip needs twice the rate. `None`
    /// if the round trip is too short to spread anything.
    pub(crate) fn of_window(cwnd: usize, srtt: Duration, is_doubling: bool) -> Option<Self> {
        if !Pacer::is_used(srtt) {
            return None;
        }
        let (windows, round_trips) = if is_doubling { (2, 1) } else { (5, 4) };
        Some(Self {
            bytes: cwnd.saturating_mul(windows),
            interval: srtt.saturating_mul(round_trips),
            burst_packets: BURST_PACKETS_MIN,
        })
    }

    /// Returns the bytes that leave in a second.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        u64::try_from(self.bytes_in(Duration::from_secs(1))).ok()
    }

    /// Returns the number of bytes that leave in this time, in nanoseconds of 128 bits so that nothing overflows.
    fn bytes_in(&self, time: Duration) -> usize {
        let bytes = self.bytes as u128 * time.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Returns the time in which this number of bytes leaves, rounded up.
    fn time_for(&self, bytes: usize) -> Duration {
        let nanoseconds = (bytes as u128 * self.interval.as_nanos()).div_ceil(self.bytes.max(1) as u128);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Pacer {
    /// Returns `true` if packets are spread over a round trip of this length.
    pub(crate) fn is_used(srtt: Duration) -> bool {
        srtt >= RTT_MIN
    }

    /// Fills the bucket. Returns when the next packet, of up to `mtu` bytes, may leave, if not now.
    pub(crate) fn delay_until(&mut self, now: Instant, rate: Option<PacingRate>, mtu: usize) -> Option<Instant> {
        // The next packet of the same moment: nothing has come in since.
        if self.filled_at == Some(now) && self.tokens >= mtu {
            return None;
        }
        let Some(rate) = rate else {
            self.tokens = BURST_PACKETS_MIN * mtu;
            self.filled_at = Some(now);
            return None;
        };
        let capacity = rate.bytes_in(BURST_TIME).max(rate.burst_packets * mtu);
        let since = self.filled_at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let fresh = self.take_fresh(since, rate);
        self.tokens = self.tokens.saturating_add(fresh);
        if self.tokens >= capacity {
            (self.tokens, self.fraction) = (capacity, 0);
        }
        self.filled_at = Some(self.filled_at.map_or(now, |at| at.max(now)));
        if self.tokens >= mtu {
            return None;
        }
        // Several packets at a time, so that they can leave in one system call.
        let batch = rate.time_for((capacity / 2).saturating_sub(self.tokens)).min(BATCH_TIME);
        Some(now + rate.time_for(mtu - self.tokens).max(batch).max(Duration::from_micros(10)))
    }

    /// Returns the whole bytes that come in during this time. Keeps the fraction of a byte beside them: without it a
    /// pacer that is asked often would lose half a byte each time.
    fn take_fresh(&mut self, time: Duration, rate: PacingRate) -> usize {
        let interval = rate.interval.as_nanos().max(1);
        // The fraction was kept at the rate before, which may have had another interval.
        let sum = (rate.bytes as u128).saturating_mul(time.as_nanos()).saturating_add(self.fraction.min(interval - 1));
        let bytes = sum / interval;
        self.fraction = sum - bytes * interval;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1200;
    const WINDOW: usize = 100 * MTU;
    const RTT: Duration = Duration::from_millis(100);
    const RATE: PacingRate =
        PacingRate { bytes: 5 * WINDOW, interval: Duration::from_millis(400), burst_packets: BURST_PACKETS_MIN };

    /// Returns the rate of a window that doubles.
    fn slow_start() -> PacingRate {
        PacingRate::of_window(WINDOW, RTT, true).unwrap()
    }

    /// Returns the number of packets that leave within `time` if there is always more to send.
    fn sent_within(time: Duration, rate: PacingRate) -> (usize, usize) {
        let (mut pacer, start) = (Pacer::default(), crate::testing::some_time());
        let (mut now, mut sent, mut burst_max) = (start, 0, 0);
        while now < start + time {
            let mut burst = 0;
            let next = loop {
                match pacer.delay_until(now, Some(rate), MTU) {
                    Some(next) => break next,
                    None => {
                        pacer.on_sent(MTU);
                        burst += 1;
                    }
                }
            };
            assert!(next > now);
            sent += burst;
            burst_max = burst_max.max(burst);
            now = next;
        }
        (sent, burst_max)
    }

    #[test]
    fn a_window_and_a_quarter_leaves_in_a_round_trip_and_never_in_one_burst() {
        let (sent, burst) = sent_within(Duration::from_secs(1), RATE);
        assert!((1230..=1275).contains(&sent), "{sent} packets where 1,250 are due");
        assert!(burst <= 11, "{burst}");
        let (sent, _) = sent_within(Duration::from_secs(1), slow_start());
        assert!((1980..=2025).contains(&sent), "{sent} packets where 2,000 are due");
    }

    #[test]
    fn a_fast_path_has_bursts_that_a_coarse_timer_can_keep_up_with() {
        let rate = PacingRate { bytes: 5 * 20_000 * MTU, ..RATE };
        let (_, burst) = sent_within(Duration::from_millis(200), rate);
        assert!((200..=600).contains(&burst), "{burst}");
    }

    #[test]
    fn a_short_path_and_an_unknown_one_are_not_paced() {
        let (mut pacer, now) = (Pacer::default(), crate::testing::some_time());
        for rate in [None, PacingRate::of_window(WINDOW, Duration::from_micros(300), false)] {
            for _ in 0..1000 {
                assert_eq!(pacer.delay_until(now, rate, MTU), None);
                pacer.on_sent(MTU);
            }
        }
    }

    /// Returns the number of packets that leave at this moment.
    fn burst(pacer: &mut Pacer, now: Instant, rate: Option<PacingRate>) -> usize {
        let mut count = 0;
        while count < 1000 && pacer.delay_until(now, rate, MTU).is_none() {
            pacer.on_sent(MTU);
            count += 1;
        }
        count
    }

    #[test]
    fn an_initial_window_may_leave_at_once_when_the_round_trip_becomes_known() {
        let (mut pacer, now) = (Pacer::default(), crate::testing::some_time());
        assert_eq!(pacer.delay_until(now, None, MTU), None);
        assert_eq!(burst(&mut pacer, now, Some(RATE)), BURST_PACKETS_MIN);
    }

    #[test]
    fn a_packet_waits_until_half_of_the_bucket_is_full() {
        let now = crate::testing::some_time();
        // The bucket takes ten packets. 1.25 or 2 windows of 120,000 bytes leave in 100 ms.
        for (is_slow_start, microseconds) in [(false, 4000), (true, 2500)] {
            let (mut pacer, rate) = (Pacer::default(), PacingRate::of_window(WINDOW, RTT, is_slow_start));
            assert_eq!(burst(&mut pacer, now, rate), 10);
            let next = now + Duration::from_micros(microseconds);
            assert_eq!(pacer.delay_until(now, rate, MTU), Some(next));
            assert_eq!(burst(&mut pacer, next, rate), 5);
        }
        // A packet leaves as soon as the bucket has its bytes.
        let mut pacer = Pacer::default();
        assert_eq!(burst(&mut pacer, now, Some(RATE)), 10);
        assert_eq!(burst(&mut pacer, now + Duration::from_micros(800), Some(RATE)), 1);
        // 300 bytes are left, so 5,700 are to come at 1,500 bytes a millisecond.
        let mut pacer = Pacer::default();
        assert_eq!(burst(&mut pacer, now, Some(RATE)), 10);
        pacer.tokens = 300;
        assert_eq!(pacer.delay_until(now, Some(RATE), MTU), Some(now + Duration::from_micros(3800)));
    }

    #[test]
    fn a_bucket_takes_no_more_than_a_burst_however_long_nothing_leaves() {
        let (mut pacer, now) = (Pacer::default(), crate::testing::some_time());
        for pause in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(3600)] {
            assert_eq!(burst(&mut pacer, now + pause, Some(RATE)), 10, "after {pause:?}");
        }
        // The bytes that were left count, too.
        let mut pacer = Pacer::default();
        assert_eq!(pacer.delay_until(now, Some(RATE), MTU), None);
        pacer.on_sent(5 * MTU);
        assert_eq!(burst(&mut pacer, now + Duration::from_secs(1), Some(RATE)), 10);
    }

    /// 1.5 bytes come in a microsecond.
    #[test]
    fn a_pacer_that_is_asked_often_loses_no_part_of_a_byte() {
        for nanoseconds in [100, 700, 1_000, 1_300] {
            let (mut pacer, start) = (Pacer::default(), crate::testing::some_time());
            assert_eq!(burst(&mut pacer, start, Some(RATE)), 10);
            let step = Duration::from_nanos(nanoseconds);
            let mut asked = (0..10_000).map(|count| step * count);
            let waited = asked.find(|waited| pacer.delay_until(start + *waited, Some(RATE), MTU).is_none());
            let exact = Duration::from_micros(800);
            assert!(
                waited.is_some_and(|waited| waited >= exact && waited < exact + step),
                "{waited:?} for 1,200 bytes if asked each {nanoseconds} ns"
            );
        }
    }

    /// A rate of 1.9 bytes a millisecond is not one byte a millisecond.
    #[test]
    fn the_wait_for_a_slow_rate_is_exact() {
        let (mut pacer, now) = (Pacer::default(), crate::testing::some_time());
        let rate = PacingRate { bytes: 1_900, interval: Duration::from_secs(1), burst_packets: BURST_PACKETS_MIN };
        assert_eq!(burst(&mut pacer, now, Some(rate)), 10);
        let next = pacer.delay_until(now, Some(rate), MTU).unwrap();
        assert_eq!(next.saturating_duration_since(now).as_millis(), MTU as u128 * 1_000 / 1_900, "one packet");
        assert_eq!(burst(&mut pacer, next, Some(rate)), 1);
    }

    #[test]
    fn a_round_trip_of_a_millisecond_is_paced_and_none_below() {
        assert!(Pacer::is_used(RTT_MIN) && !Pacer::is_used(RTT_MIN.saturating_sub(Duration::from_nanos(1))));
        assert!(PacingRate::of_window(WINDOW, RTT_MIN, false).is_some());
        let no_time = PacingRate { interval: Duration::ZERO, ..RATE };
        assert_eq!(no_time.bytes_in(Duration::from_nanos(1)), RATE.bytes, "no division by zero");
    }

    #[test]
    fn a_smaller_packet_may_leave_where_a_larger_one_has_to_wait() {
        let (mut pacer, now) = (Pacer::default(), crate::testing::some_time());
        while pacer.delay_until(now, Some(RATE), MTU).is_none() {
            pacer.on_sent(MTU - 60);
        }
        assert_eq!(pacer.delay_until(now, Some(RATE), 400), None, "a quarter of a packet is left");
    }
}
