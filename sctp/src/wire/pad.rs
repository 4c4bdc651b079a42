//! PAD: bytes without meaning, which make a packet as long as a probe of the path wants it (RFC 4820 §3).

use super::chunk::{CHUNK_HEADER_LEN, ChunkType, begin_chunk, end_chunk};

/// Appends a PAD chunk of `len` bytes in all, header included, rounded up to a multiple of four; at least four.
pub fn encode_pad(len: usize, out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::PAD, 0);
    out.resize(out.len() + len.saturating_sub(CHUNK_HEADER_LEN), 0);
    end_chunk(out, at);
}
