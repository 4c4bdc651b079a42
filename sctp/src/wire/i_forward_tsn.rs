//! I-FORWARD-TSN (RFC 8260 §2.3.1).

use super::chunk::{CHUNK_LEN_MAX, ChunkType, begin_chunk, end_chunk};
use super::{DecodeError, Reader};
use crate::message::StreamId;
use crate::serial::{Mid, Tsn};

/// Up to where a stream's messages are skipped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SkippedMessage {
    /// The stream.
    pub stream: StreamId,
    /// Whether `mid` counts unordered messages, or ordered ones.
    pub unordered: bool,
    /// The last message that is skipped.
    pub mid: Mid,
}

/// The contents of an I-FORWARD-TSN: the sender has given up on what the receiver still misses up to a TSN.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+
///       | 194  |      | length      |
///       +------+------+-------------+
///     4 | new cumulative TSN        |
///       +-------------+-------------+
///     8 | stream      | reserved  |U|  \ once for each stream, and once more if both its
///       +-------------+-------------+   } ordered and its unordered messages are skipped
///       | MID                       |  /
///       +---------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IForwardTsn<'a> {
    /// The TSN up to which nothing is to be waited for.
    pub new_cumulative_tsn: Tsn,
    entries: &'a [[u8; 8]],
}

impl<'a> IForwardTsn<'a> {
    /// Bytes before the streams, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 8;
    /// Entries that fit a chunk.
    pub const STREAMS_MAX: usize = (CHUNK_LEN_MAX - Self::HEADER_LEN) / 8;

    /// Reads the chunk's value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] without the TSN, [`DecodeError::BadLength`] if part of an entry is left over.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let new_cumulative_tsn = Tsn(reader.u32()?);
        let (entries, odd) = reader.rest().as_chunks();
        if !odd.is_empty() {
            return Err(DecodeError::BadLength);
        }
        Ok(Self { new_cumulative_tsn, entries })
    }

    /// The last skipped message of each stream.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = SkippedMessage> + Clone + use<'a> {
        self.entries.iter().map(|&[i0, i1, _, flags, m0, m1, m2, m3]| SkippedMessage {
            stream: u16::from_be_bytes([i0, i1]),
            unordered: flags & 1 != 0,
            mid: Mid(u32::from_be_bytes([m0, m1, m2, m3])),
        })
    }

    /// Appends the chunk. Entries beyond [`STREAMS_MAX`](Self::STREAMS_MAX) are left out.
    pub fn encode(new_cumulative_tsn: Tsn, streams: impl Iterator<Item = SkippedMessage>, out: &mut Vec<u8>) {
        let at = begin_chunk(out, ChunkType::I_FORWARD_TSN, 0);
        out.extend_from_slice(&new_cumulative_tsn.0.to_be_bytes());
        for SkippedMessage { stream, unordered, mid } in streams.take(Self::STREAMS_MAX) {
            let ([i0, i1], [m0, m1, m2, m3]) = (stream.to_be_bytes(), mid.0.to_be_bytes());
            out.extend_from_slice(&[i0, i1, 0, u8::from(unordered), m0, m1, m2, m3]);
        }
        end_chunk(out, at);
    }

    /// Bytes of a chunk with that many entries.
    #[must_use]
    #[inline]
    pub const fn encoded_len(streams: usize) -> usize {
        Self::HEADER_LEN + 8 * streams
    }
}
