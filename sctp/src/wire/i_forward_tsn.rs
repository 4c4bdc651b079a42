//! I-FORWARD-TSN (RFC 8260 §2.3.1).

use super::DecodeError;
use super::chunk::{CHUNK_LEN_MAX, ChunkType, begin_chunk, end_chunk};
use super::forward_tsn::split_entries;
use crate::message::StreamId;
use crate::serial::{Mid, Tsn};

/// Last message of a stream that is skipped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SkippedMessage {
    /// The stream.
    pub stream: StreamId,
    /// True if `mid` counts unordered messages, false if it counts ordered ones.
    pub unordered: bool,
    /// The last message that is skipped.
    pub mid: Mid,
}

/// The contents of an I-FORWARD-TSN: the sender has abandoned the chunks that the receiver still misses up to a TSN.
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
        let (new_cumulative_tsn, entries) = split_entries(value)?;
        Ok(Self { new_cumulative_tsn, entries })
    }

    /// Returns the last skipped message of each stream.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = SkippedMessage> + Clone + use<'a> {
        self.entries.iter().map(|&[i0, i1, _, flags, m0, m1, m2, m3]| SkippedMessage {
            stream: StreamId(u16::from_be_bytes([i0, i1])),
            unordered: flags & 1 != 0,
            mid: Mid(u32::from_be_bytes([m0, m1, m2, m3])),
        })
    }

    /// Appends the chunk. Entries beyond [`STREAMS_MAX`](Self::STREAMS_MAX) are left out.
    pub fn encode(new_cumulative_tsn: Tsn, streams: impl Iterator<Item = SkippedMessage>, out: &mut Vec<u8>) {
        let at = begin_chunk(out, ChunkType::I_FORWARD_TSN, 0);
        out.extend_from_slice(&new_cumulative_tsn.0.to_be_bytes());
        for SkippedMessage { stream, unordered, mid } in streams.take(Self::STREAMS_MAX) {
            let ([i0, i1], [m0, m1, m2, m3]) = (stream.0.to_be_bytes(), mid.0.to_be_bytes());
            out.extend_from_slice(&[i0, i1, 0, u8::from(unordered), m0, m1, m2, m3]);
        }
        end_chunk(out, at);
    }

    /// Returns the number of bytes of a chunk with that many entries.
    #[must_use]
    #[inline]
    pub const fn encoded_len(streams: usize) -> usize {
        streams.saturating_mul(8).saturating_add(Self::HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(9);
        for _ in 0..1000 {
            let tsn = Tsn(random.u32());
            let mut entry =
                || SkippedMessage { stream: StreamId(random.u16()), unordered: random.bool(), mid: Mid(random.u32()) };
            let streams = [entry(), entry(), entry()];
            let streams = &streams[..(tsn.0 % 4) as usize];
            let (datagram, raw) = datagram_of(|out| IForwardTsn::encode(tsn, streams.iter().copied(), out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::I_FORWARD_TSN, 0));
            assert_eq!(datagram.len() - raw.start, IForwardTsn::encoded_len(streams.len()));
            let read = IForwardTsn::decode(raw.value_in(&datagram)).unwrap();
            assert_eq!(read.new_cumulative_tsn, tsn);
            assert_eq!(read.streams().len(), streams.len());
            assert!(read.streams().eq(streams.iter().copied()));
        }
        let skipped = SkippedMessage { stream: StreamId(2), unordered: true, mid: Mid(3) };
        let bytes = bytes_of(|out| IForwardTsn::encode(Tsn(1), [skipped].into_iter(), out));
        assert_eq!(bytes, [194, 0, 0, 16, 0, 0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 3]);
    }

    #[test]
    fn part_of_an_entry_is_refused() {
        for len in 0..24 {
            let whole = IForwardTsn::decode(&[1; 24][..len]).map(|read| read.streams().len());
            assert_eq!(
                whole,
                match len {
                    0..4 => Err(DecodeError::TooShort),
                    _ if len % 8 != 4 => Err(DecodeError::BadLength),
                    _ => Ok(len / 8),
                }
            );
        }
    }

    #[test]
    fn reserved_bits_mean_nothing() {
        let read = IForwardTsn::decode(&[0, 0, 0, 1, 0, 2, 0xFF, 0xFE, 0, 0, 0, 3]).unwrap();
        assert_eq!(read.streams().next(), Some(SkippedMessage { stream: StreamId(2), unordered: false, mid: Mid(3) }));
    }
}
