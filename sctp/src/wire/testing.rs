//! Datagrams for the tests of the chunks.

pub(super) use crate::testing::Random;

use super::{Chunks, PACKET_HEADER_LEN, RawChunk};

/// Returns a datagram whose only chunk is that which `encode` writes, and that chunk. Checks that the chunk fills the
/// datagram, that its padding is zero, and that its length is exact.
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

/// Returns the bytes that `encode` writes after the common header.
pub(super) fn bytes_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    datagram_of(encode).0.split_off(PACKET_HEADER_LEN)
}
