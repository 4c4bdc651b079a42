//! The parts of this crate that tests and fuzzers of the workspace need. No part of the public interface; the feature
//! `testing` switches them on.

#[cfg(test)]
use crate::time::Instant;

/// Returns some time. Tests only ever compare times with each other.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any time will do")]
pub(crate) fn some_time() -> Instant {
    Instant::now()
}

/// The wire format.
#[cfg(feature = "testing")]
pub mod wire {
    pub use crate::wire::*;
}

/// Numbers that look random and are the same in every run: SplitMix64, whose first draws from small seeds are as good
/// as the later ones.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.u64().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    pub fn u16(&mut self) -> u16 {
        let [a, b, ..] = self.u64().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    pub fn u8(&mut self) -> u8 {
        let [a, ..] = self.u64().to_be_bytes();
        a
    }

    pub fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Returns a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound
    }

    /// Returns an index of something with `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        usize::from(self.u16()) % len
    }

    /// Returns true with that chance in percent.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Returns up to `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.index(max + 1)).map(|_| self.u8()).collect()
    }
}
