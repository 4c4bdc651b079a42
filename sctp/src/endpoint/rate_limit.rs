//! How many packets of strangers are answered in a second, shared out by source.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources are hashed to so many buckets, at most: 8 KiB.
const BUCKETS_MAX: u32 = 1024;

/// Answers that a bucket may save up.
const BUCKET_BURST: u64 = 4;

/// How long sources that share a bucket by accident do so. Shorter than the pause before a peer repeats its INIT.
const REHASH_INTERVAL: Duration = Duration::from_millis(700);

/// A limit of answers in a second. One half of them is shared out equally to buckets of sources, the other half goes to
/// whoever comes first. So a host that sends as fast as it can takes no more than its bucket's share and the common half,
/// and the share of every other source is left.
///
/// Sources are hashed with a secret, so nobody can aim at another's bucket. The table has a fixed size.
#[derive(Debug)]
pub(super) struct RateLimit {
    start: Instant,
    common: Rate,
    share: Rate,
    common_bucket: Bucket,
    buckets: Box<[Bucket]>,
    secret: u64,
}

/// A rate as the generic cell rate algorithm has it: the time between two answers, and how far ahead of it a burst may be.
#[derive(Clone, Copy, Debug)]
struct Rate {
    interval: u64,
    tolerance: u64,
}

impl Rate {
    fn new(interval: u64, burst: u64) -> Self {
        Self { interval, tolerance: interval.saturating_mul(burst.saturating_sub(1)) }
    }
}

/// When the next answer is due at the given rate, in nanoseconds since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(u64);

impl Bucket {
    fn take(&mut self, now: u64, rate: Rate) -> bool {
        let has_one = self.0 <= now.saturating_add(rate.tolerance);
        if has_one {
            self.0 = self.0.max(now).saturating_add(rate.interval);
        }
        has_one
    }
}

impl RateLimit {
    /// At most `max` answers in a second, and after a pause up to as many again at once. `secret` is random.
    pub(super) fn new(now: Instant, max: u32, secret: u64) -> Self {
        let count = (max / 8).clamp(1, BUCKETS_MAX);
        // Of half the rate.
        let interval = 2_000_000_000 / u64::from(max.max(1));
        Self {
            start: now,
            common: Rate::new(interval, u64::from(max / 4).max(1)),
            share: Rate::new(interval.saturating_mul(u64::from(count)), BUCKET_BURST),
            common_bucket: Bucket::default(),
            buckets: vec![Bucket::default(); count as usize].into_boxed_slice(),
            secret,
        }
    }

    /// Takes an answer for a source, if there is one left for it.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let elapsed = now.saturating_duration_since(self.start);
        let at = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let index = self.index(elapsed, source);
        let own = self.buckets.get_mut(index).is_some_and(|bucket| bucket.take(at, self.share));
        own || self.common_bucket.take(at, self.common)
    }

    fn index(&self, elapsed: Duration, source: IpAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.secret);
        hasher.write_u128(elapsed.as_nanos() / REHASH_INTERVAL.as_nanos());
        hasher.write_u64(prefix(source));
        let count = self.buckets.len().max(1) as u64;
        usize::try_from(hasher.finish() % count).unwrap_or_default()
    }
}

/// The part of an address that one host has for itself: all of IPv4, 64 bits of IPv6.
fn prefix(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 64).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    /// How many of `tries` in a second are answered; `from` names the source of each.
    fn answered(limit: &mut RateLimit, start: Instant, tries: u32, from: impl Fn(u32) -> IpAddr) -> u32 {
        let taken = (0..tries).filter(|&n| limit.take(start + SECOND * n / tries, from(n)));
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
                    assert!(count >= max / 2, "{count} of {max} in a second");
                }
            }
        }
        let mut limit = RateLimit::new(start, u32::MAX, 7);
        assert!((0..100_000).all(|_| limit.take(start, source(1))), "no limit at all");
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
                limit.take(now, source(n % flooders));
                if n % 200 == 0 {
                    tries += 1;
                    refused += u32::from(!limit.take(now, source(0x0a00_0000 + n)));
                }
            }
            // Only who shares a bucket by accident, until the next hash.
            assert!(refused <= tries * (flooders + 10) / 1024, "{refused} of {tries} beside {flooders}");
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
    fn a_clock_that_steps_back_opens_nothing_and_a_host_has_one_share() {
        let start = crate::testing::some_time();
        let mut limit = RateLimit::new(start + SECOND, 8, 7);
        let taken = (0..100).filter(|_| limit.take(start + SECOND, source(1))).count();
        assert!(taken <= 8);
        assert!(!limit.take(start, source(1)));
        let of_one_host = [1u128, 2].map(|n| IpAddr::from(Ipv6Addr::from((0x2001_0db8 << 96) + n)));
        assert_eq!(prefix(of_one_host[0]), prefix(of_one_host[1]));
        assert_eq!(prefix("::ffff:10.0.0.1".parse().unwrap()), prefix("10.0.0.1".parse().unwrap()));
    }
}
