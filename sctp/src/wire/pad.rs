//! PAD: bytes without meaning, which make a packet as long as a probe of the path wants it (RFC 4820 §3).

use super::chunk::{CHUNK_HEADER_LEN, ChunkType, begin_chunk, end_chunk};

/// Appends a PAD chunk of `len` bytes in all, header included, rounded up to a multiple of four; at least four.
pub fn encode_pad(len: usize, out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::PAD, 0);
    out.resize(out.len() + len.saturating_sub(CHUNK_HEADER_LEN), 0);
    end_chunk(out, at);
}

#[cfg(test)]
mod tests {
    use super::super::testing::datagram_of;
    use super::*;

    #[test]
    fn a_pad_is_as_long_as_it_was_asked_to_be() {
        for len in 0..50 {
            let (datagram, raw) = datagram_of(|out| encode_pad(len, out));
            assert_eq!(raw.kind, ChunkType::PAD);
            assert_eq!(datagram.len() - raw.start, len.div_ceil(4).max(1) * 4);
            assert!(raw.value_in(&datagram).iter().all(|&byte| byte == 0));
        }
    }
}
