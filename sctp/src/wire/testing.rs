//! What the tests of the chunks share.

use super::{Chunks, PACKET_HEADER_LEN, RawChunk};

/// A sequence of numbers that looks random and is always the same (Marsaglia's xorshift).
pub(super) struct Xorshift(pub(super) u64);

impl Xorshift {
    pub(super) fn u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.u64().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    pub(super) fn u16(&mut self) -> u16 {
        let [a, b, ..] = self.u64().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    pub(super) fn u8(&mut self) -> u8 {
        let [a, ..] = self.u64().to_be_bytes();
        a
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u16() & 1 == 1
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()) % bound
    }

    /// Up to `max` bytes.
    pub(super) fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.u8()).collect()
    }
}

/// A datagram whose only chunk is what `encode` writes, and that chunk. Checks that the chunk fills the datagram, that
/// its padding is zero, and that its length is exact.
pub(super) fn datagram_of(encode: impl FnOnce(&mut Vec<u8>)) -> (Vec<u8>, RawChunk) {
    let mut datagram = vec![0xEE; PACKET_HEADER_LEN];
    encode(&mut datagram);
    let chunks: Result<Vec<_>, _> = Chunks::new(&datagram).collect();
    let [chunk] = <[RawChunk; 1]>::try_from(chunks.unwrap()).unwrap();
    assert_eq!((chunk.start, chunk.value.start), (PACKET_HEADER_LEN, PACKET_HEADER_LEN + 4));
    assert_eq!(datagram.len() % 4, 0);
    let padding = &datagram[chunk.value.end..];
    assert!(padding.len() < 4 && padding.iter().all(|&byte| byte == 0), "padding is {padding:?}");
    (datagram, chunk)
}

/// Bytes that `encode` writes after the common header.
pub(super) fn bytes_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    datagram_of(encode).0.split_off(PACKET_HEADER_LEN)
}
