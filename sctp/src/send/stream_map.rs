//! A table keyed by stream id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::message::StreamId;

/// The hasher is the same in every run, so that a simulation replays from its seed, and cheap, for each chunk takes
/// look-ups.
pub(super) type StreamMap<T> = HashMap<StreamId, T, BuildHasherDefault<StreamIdHasher>>;

/// Spreads 16 bits over 64. No two ids have the same hash, so nobody gains by choosing them.
#[derive(Default)]
pub(super) struct StreamIdHasher(u64);

impl Hasher for StreamIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u16(u16::from(*byte));
        }
    }

    fn write_u16(&mut self, id: u16) {
        // An odd number near 2^64 over the golden ratio; the table looks at the lowest bits and the highest seven.
        let spread = (self.0.rotate_left(16) ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }
}
