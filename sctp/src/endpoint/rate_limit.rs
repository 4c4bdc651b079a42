//! Limit of the answers to strangers in a second, shared out by source.

use std::hash::BuildHasher;
use std::net::IpAddr;

use super::source::{SaltedHasher, Source};
use crate::time::{Duration, Instant};

/// Most buckets that sources are hashed to: 64 KiB, allocated with the first answer. 250 flooding sources occupy 1.5 %
/// of the buckets, so two hashes in a row fail for one newcomer in 4,000.
const BUCKETS_MAX: u32 = 16_384;

/// Answers that a bucket may save up: for a packet and its retransmission.
const BUCKET_BURST: u64 = 2;

/// The limit divided by the rate of answers that no bucket's share pays for. One host takes all of that rate when it
/// floods, so it is small.
const COMMON_DIVISOR: u32 = 50;

/// The limit divided by the number of such answers that are saved up: the clients behind a NAT that all come back at
/// once.
const COMMON_BURST_DIVISOR: u32 = 5;

/// Time for which sources that collide share a bucket. Shorter than the time after which a peer retransmits its INIT.
const REHASH_INTERVAL: Duration = Duration::from_millis(700);

/// Time after which the clock of the buckets restarts. Buckets count milliseconds in 32 bits, and this is before an
/// overflow.
const BUCKETS_KEPT_FOR: Duration = Duration::from_secs(1 << 20);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A limit of answers in a second. It is shared out equally to buckets of sources. Sources that need more than their
/// bucket's share get it from a common rate, which is a fiftieth of the limit. So a host that sends as fast as it can
/// is seldom answered, and the share of every other source is left.
///
/// The buckets and the common rate together exceed the limit, so the sum has a rate of its own.
///
/// Sources are hashed with a secret, so nobody can aim at another's bucket. The table has a fixed size.
#[derive(Debug)]
pub(super) struct RateLimit {
    start: Instant,
    all: CellRate,
    common: CellRate,
    share: CellRate,
    all_due: u64,
    common_due: u64,
    buckets: Buckets,
    salted: SaltedHasher,
}

/// Due times of the next answer of each bucket, in milliseconds since `start`.
#[derive(Debug)]
struct Buckets {
    start: Duration,
    count: u32,
    /// Empty until the first answer.
    due: Box<[u32]>,
}

/// A rate as the generic cell rate algorithm has it: the time between two answers, and how far ahead of it a burst may
/// be.
#[derive(Clone, Copy, Debug)]
struct CellRate {
    interval: u64,
    tolerance: u64,
}

impl CellRate {
    fn new(interval: u64, burst: u64) -> Self {
        Self { interval, tolerance: interval.saturating_mul(burst.saturating_sub(1)) }
    }

    fn allows(self, due: u64, now: u64) -> bool {
        due <= now.saturating_add(self.tolerance)
    }

    fn next(self, due: u64, now: u64) -> u64 {
        due.max(now).saturating_add(self.interval)
    }
}

/// Permission to answer one packet. It is not counted until it is used.
#[derive(Debug)]
#[must_use]
pub(super) struct Leave {
    at: u64,
    /// The bucket whose share it is, and when its next answer is due; `None` if it is of the common rate.
    bucket: Option<(usize, u32)>,
}

impl RateLimit {
    /// Creates a limit of `max` answers in a second; after a pause up to as many again may leave at once. `secret` is
    /// random.
    pub(super) fn new(now: Instant, max: u32, secret: u64) -> Self {
        let max = max.max(1);
        let count = max.saturating_mul(2).min(BUCKETS_MAX);
        let interval = 1_000_000_000 / u64::from(max);
        // A bucket that a flood has emptied has an answer again when others are hashed to it.
        let rehash = u64::try_from(REHASH_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        let share = interval.saturating_mul(count.into()).min(rehash);
        let common = interval.saturating_mul(COMMON_DIVISOR.into());
        Self {
            start: now,
            all: CellRate::new(interval, max.into()),
            common: CellRate::new(common, (max / COMMON_BURST_DIVISOR).into()),
            share: CellRate::new(share / NANOS_PER_MILLI, BUCKET_BURST),
            all_due: 0,
            common_due: 0,
            buckets: Buckets { start: Duration::ZERO, count, due: Box::default() },
            salted: SaltedHasher::new(secret),
        }
    }

    /// Says whether a packet of a source may be answered. Costs one hash.
    pub(super) fn look_up(&mut self, now: Instant, source: IpAddr) -> Option<Leave> {
        let elapsed = now.saturating_duration_since(self.start);
        let at = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        if !self.all.allows(self.all_due, at) {
            return None;
        }
        let index = self.index(elapsed, source);
        let (due, now) = self.buckets.get(elapsed, index);
        let next = self.share.allows(due, now).then(|| self.share.next(due, now));
        let bucket = next.map(|next| (index, u32::try_from(next).unwrap_or(u32::MAX)));
        (bucket.is_some() || self.common.allows(self.common_due, at)).then_some(Leave { at, bucket })
    }

    /// Counts an answer.
    pub(super) fn take(&mut self, leave: &Leave) {
        let Leave { at, bucket } = *leave;
        self.all_due = self.all.next(self.all_due, at);
        match bucket {
            Some((index, due)) => self.buckets.set(index, due),
            None => self.common_due = self.common.next(self.common_due, at),
        }
    }

    fn index(&self, elapsed: Duration, source: IpAddr) -> usize {
        let period = elapsed.as_nanos() / REHASH_INTERVAL.as_nanos();
        let hash = self.salted.hash_one((period, Source::of_ip(source)));
        usize::try_from(hash % u64::from(self.buckets.count)).unwrap_or_default()
    }
}

impl Buckets {
    /// Returns the time at which the next answer of a bucket is due, and the current time.
    fn get(&mut self, elapsed: Duration, index: usize) -> (u64, u64) {
        if elapsed.saturating_sub(self.start) > BUCKETS_KEPT_FOR {
            self.due.fill(0);
            self.start = elapsed;
        }
        let now = u64::try_from(elapsed.saturating_sub(self.start).as_millis()).unwrap_or(u64::MAX);
        (self.due.get(index).copied().unwrap_or(0).into(), now)
    }

    fn set(&mut self, index: usize, due: u32) {
        if self.due.is_empty() {
            self.due = vec![0; self.count as usize].into_boxed_slice();
        }
        if let Some(bucket) = self.due.get_mut(index) {
            *bucket = due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl RateLimit {
        fn answers(&mut self, now: Instant, source: IpAddr) -> bool {
            self.look_up(now, source).map(|leave| self.take(&leave)).is_some()
        }
    }

    fn source(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    /// Returns the number of packets that are answered, of `tries` in a second; `from` names the source of each.
    fn answered(limit: &mut RateLimit, start: Instant, tries: u32, from: impl Fn(u32) -> IpAddr) -> u32 {
        let taken = (0..tries).filter(|&n| limit.answers(start + SECOND * n / tries, from(n)));
        u32::try_from(taken.count()).unwrap()
    }

    #[test]
    fn a_flood_gets_its_limit_whatever_the_limit() {
        let start = crate::testing::some_time();
        for max in [1, 3, 10, 100, 10_000, 50_000] {
            for sources in [1, 1 << 20] {
                let mut limit = RateLimit::new(start, max, 7);
                for second in 0..3 {
                    let from = |n: u32| source(n.wrapping_mul(2_654_435_761) % sources);
                    let count = answered(&mut limit, start + SECOND * second, 200_000, from);
                    assert!(count <= 2 * max + 4, "{count} of {max} in a second");
                    let least = if sources == 1 { max / COMMON_DIVISOR } else { max / 2 };
                    assert!(count >= least.max(1), "{count} of {max} in a second");
                }
            }
        }
        let mut limit = RateLimit::new(start, u32::MAX, 7);
        assert!((0..100_000).all(|_| limit.answers(start, source(1))), "no limit at all");
    }

    #[test]
    fn a_host_that_floods_is_answered_for_a_fiftieth_of_the_limit_after_its_burst() {
        let start = crate::testing::some_time();
        for (max, sources) in [(50_000, 1), (5000, 1), (50_000, 250)] {
            let mut limit = RateLimit::new(start, max, 7);
            let flood = |n: u32| source(n % sources);
            let seconds: Vec<u32> =
                (0..4).map(|second| answered(&mut limit, start + SECOND * second, 20_000, flood)).collect();
            // A source has a new bucket twice in a second, with two answers saved up.
            let shares = sources * (2 * 2 + max / BUCKETS_MAX + 2);
            for count in seconds.get(1..).unwrap() {
                assert!(*count <= max / 50 + shares, "of {max}, {sources} sources: {seconds:?}");
                assert!(*count >= max / 50, "at least of {max}, {sources} sources: {seconds:?}");
            }
        }
    }

    #[test]
    fn a_host_leaves_the_shares_of_all_others() {
        let start = crate::testing::some_time();
        for flooders in [1, 8, 64] {
            let mut limit = RateLimit::new(start, 10_000, 7);
            let (mut tries, mut refused) = (0, 0);
            for n in 0..200_000u32 {
                // 100,000 a second.
                let now = start + SECOND * n / 100_000;
                limit.answers(now, source(n % flooders));
                if n % 200 == 0 {
                    tries += 1;
                    refused += u32::from(!limit.answers(now, source(0x0a00_0000 + n)));
                }
            }
            // Only who shares a bucket by accident, until the next hash.
            assert!(refused <= tries * (flooders + 10) / 1024, "{refused} of {tries} beside {flooders}");
        }
    }

    #[test]
    fn a_flood_from_250_hosts_leaves_nearly_all_newcomers_an_answer_within_two_seconds() {
        let start = crate::testing::some_time();
        let mut limit = RateLimit::new(start, 5000, 7);
        let (mut tries, mut refused) = (Vec::<(u32, bool)>::new(), 0);
        for n in 0..200_000u32 {
            // 20,000 a second; a newcomer each 5 ms tries again after a second.
            let now = start + SECOND * n / 20_000;
            limit.answers(now, source(n % 250));
            if n % 100 == 0 {
                let mut is_inside = |newcomer: u32| limit.answers(now, source(0x0a00_0000 + newcomer));
                let before = tries.len().checked_sub(200).and_then(|before| tries.get(before)).copied();
                refused += u32::from(before.is_some_and(|(other, is_in)| !is_in && !is_inside(other)));
                tries.push((n, is_inside(n)));
            }
        }
        assert!(refused <= 1800 / 100, "{refused} of 1,800");
    }

    #[test]
    fn nothing_is_allocated_before_the_first_answer_and_no_more_than_64_kib_then() {
        let start = crate::testing::some_time();
        let new = allocation_counter::measure(|| drop(RateLimit::new(start, u32::MAX, 7)));
        assert_eq!(new.count_total, 0);
        let mut limit = RateLimit::new(start, u32::MAX, 7);
        let used = allocation_counter::measure(|| assert!((0..1000).all(|n| limit.answers(start, source(n)))));
        assert_eq!((used.count_total, used.bytes_current), (1, 64 << 10));
    }

    #[test]
    fn buckets_outlive_what_their_entries_can_count() {
        let start = crate::testing::some_time();
        let mut limit = RateLimit::new(start, 100, 7);
        // Ninety days, of which 32 bits of milliseconds count 49.
        for day in 0..90 {
            let now = start + 24 * 3600 * SECOND * day;
            let taken = (0..200).filter(|_| limit.answers(now, source(1))).count();
            assert_eq!(taken, 100 / 5 + 2, "on day {day}");
            assert!(limit.answers(now + SECOND, source(2)), "on day {day}");
        }
    }

    #[test]
    fn sources_that_share_a_bucket_soon_do_not() {
        let start = crate::testing::some_time();
        let limit = RateLimit::new(start, 50_000, 7);
        let shares = |at: Duration, other| limit.index(at, source(1)) == limit.index(at, source(other));
        let unlucky = (2..).find(|other| shares(Duration::ZERO, *other)).unwrap();
        assert!((1..3).any(|n| !shares(REHASH_INTERVAL * n, unlucky)));
    }

    #[test]
    fn a_clock_that_steps_back_opens_nothing() {
        let start = crate::testing::some_time();
        let mut limit = RateLimit::new(start + SECOND, 8, 7);
        let taken = (0..100).filter(|_| limit.answers(start + SECOND, source(1))).count();
        assert!(taken <= 8);
        assert!(!limit.answers(start, source(1)));
    }
}
