//! Quota of each source per second, in a fixed amount of memory.

use std::hash::BuildHasher;
use std::time::Instant;

use narrowboat_sctp::{SaltedHasher, Source};

use crate::net::SecondCounter;

/// Counters. Sources share one by the hash of their address, which only this end can compute. 64 KiB, of which a flood
/// from 250 sources uses up 1.5 %.
const BUCKETS: usize = 16_384;

/// Counts by source, and in all.
#[derive(Debug)]
pub(crate) struct SourceQuota {
    salted: SaltedHasher,
    start: Instant,
    buckets: Box<[QuotaBucket]>,
    load: SecondCounter,
}

/// The second that is counted, modulo 2¹⁶, and the count.
#[derive(Clone, Copy, Debug, Default)]
struct QuotaBucket {
    second: u16,
    count: u16,
}

impl SourceQuota {
    /// Creates a quota that nobody has used. Allocates all of its memory.
    pub(crate) fn new(now: Instant, salted: SaltedHasher) -> Self {
        Self {
            salted,
            start: now,
            buckets: vec![QuotaBucket::default(); BUCKETS].into(),
            load: SecondCounter::default(),
        }
    }

    /// Counts one more of `source`. Returns `false` if there were `max` in this second.
    pub(crate) fn take(&mut self, now: Instant, source: Source, max: u16) -> bool {
        self.load.add(now);
        let second = now.saturating_duration_since(self.start).as_secs() % (1 << 16);
        let second = u16::try_from(second).unwrap_or_default();
        let index = usize::try_from(self.salted.hash_one(source) % BUCKETS as u64).unwrap_or_default();
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        if bucket.second != second {
            *bucket = QuotaBucket { second, count: 0 };
        }
        bucket.count = bucket.count.saturating_add(1);
        bucket.count <= max
    }

    /// Returns the count of all sources in this second or in the one before, whichever is greater.
    pub(crate) fn rate(&mut self, now: Instant) -> u32 {
        self.load.rate(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_source_has_its_own_count_and_a_new_one_each_second() {
        let start = Instant::now();
        let mut quota = SourceQuota::new(start, SaltedHasher::new(7));
        let source = |host: u8| Source::of(SocketAddr::from(([10, 0, 0, host], 1)));
        let taken = (0..100).filter(|_| quota.take(start, source(1), 30)).count();
        assert_eq!(taken, 30);
        assert!(quota.take(start, source(2), 30), "another source");
        assert!(!quota.take(start + Duration::from_millis(999), source(1), 30));
        assert!(quota.take(start + Duration::from_secs(1), source(1), 30));
    }
}
