//! The only source of chance: xoshiro256++, seeded through SplitMix64.

use std::ops::RangeInclusive;

use narrowboat_sctp::testing::Random;

/// Chances are given in parts per million, so that no float enters a run.
pub(crate) type Ppm = u32;

#[derive(Clone, Debug)]
pub(crate) struct Prng([u64; 4]);

impl Prng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut words = Random(seed);
        Self(std::array::from_fn(|_| words.u64()))
    }

    /// An independent generator, so that draws of one part of a run do not shift those of another.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Draws a number that is as likely to be between 1 and 10 as between 10 and 100.
    pub(crate) fn log_range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let doublings = u64::from((high / low.max(1)).max(1).ilog2());
        let low = low.max(1) << self.range(0..=doublings);
        self.range(low..=low.saturating_mul(2).min(high).max(low))
    }

    pub(crate) fn chance(&mut self, chance: Ppm) -> bool {
        chance != 0 && self.below(1_000_000) < u64::from(chance)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for word in seed.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        seed
    }
}
