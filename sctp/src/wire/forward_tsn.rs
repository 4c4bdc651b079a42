//! FORWARD-TSN (RFC 3758 §3.2).

use super::chunk::{CHUNK_LEN_MAX, ChunkType, begin_chunk, end_chunk};
use super::{DecodeError, Reader};
use crate::message::StreamId;
use crate::serial::{Ssn, Tsn};

/// The contents of a FORWARD-TSN: the sender has abandoned the chunks that the receiver still misses up to a TSN.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+
///       | 192  |      | length      |
///       +------+------+-------------+
///     4 | new cumulative TSN        |
///       +-------------+-------------+
///     8 | stream      | SSN         |  once for each stream of which ordered messages are skipped
///       +-------------+-------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ForwardTsn<'a> {
    /// The TSN up to which nothing is to be waited for.
    pub new_cumulative_tsn: Tsn,
    entries: &'a [[u8; 4]],
}

impl<'a> ForwardTsn<'a> {
    /// Bytes before the streams, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 8;
    /// Streams that fit a chunk.
    pub const STREAMS_MAX: usize = (CHUNK_LEN_MAX - Self::HEADER_LEN) / 4;

    /// Reads the chunk's value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] without the TSN, [`DecodeError::BadLength`] if half a stream is left over.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let (new_cumulative_tsn, entries) = split_entries(value)?;
        Ok(Self { new_cumulative_tsn, entries })
    }

    /// Returns the streams of which ordered messages are skipped, each with the last SSN that is.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = (StreamId, Ssn)> + Clone + use<'a> {
        self.entries
            .iter()
            .map(|&[i0, i1, n0, n1]| (StreamId(u16::from_be_bytes([i0, i1])), Ssn(u16::from_be_bytes([n0, n1]))))
    }

    /// Appends the chunk. Streams beyond [`STREAMS_MAX`](Self::STREAMS_MAX) are left out.
    pub fn encode(new_cumulative_tsn: Tsn, streams: impl Iterator<Item = (StreamId, Ssn)>, out: &mut Vec<u8>) {
        let at = begin_chunk(out, ChunkType::FORWARD_TSN, 0);
        out.extend_from_slice(&new_cumulative_tsn.0.to_be_bytes());
        for (stream, ssn) in streams.take(Self::STREAMS_MAX) {
            let ([i0, i1], [n0, n1]) = (stream.0.to_be_bytes(), ssn.0.to_be_bytes());
            out.extend_from_slice(&[i0, i1, n0, n1]);
        }
        end_chunk(out, at);
    }

    /// Returns the number of bytes of a chunk with that many streams.
    #[must_use]
    #[inline]
    pub const fn encoded_len(streams: usize) -> usize {
        streams.saturating_mul(4).saturating_add(Self::HEADER_LEN)
    }
}

/// Reads a TSN, and splits what follows it into entries of `N` bytes.
pub(super) fn split_entries<const N: usize>(value: &[u8]) -> Result<(Tsn, &[[u8; N]]), DecodeError> {
    let mut reader = Reader::new(value);
    let tsn = Tsn(reader.u32()?);
    let (entries, odd) = reader.rest().as_chunks();
    if odd.is_empty() { Ok((tsn, entries)) } else { Err(DecodeError::BadLength) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(8);
        for _ in 0..1000 {
            let tsn = Tsn(random.u32());
            let streams: Vec<_> = (0..random.index(9)).map(|_| (StreamId(random.u16()), Ssn(random.u16()))).collect();
            let (datagram, raw) = datagram_of(|out| ForwardTsn::encode(tsn, streams.iter().copied(), out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::FORWARD_TSN, 0));
            assert_eq!(datagram.len() - raw.start, ForwardTsn::encoded_len(streams.len()));
            let read = ForwardTsn::decode(raw.value_in(&datagram)).unwrap();
            assert_eq!(read.new_cumulative_tsn, tsn);
            assert_eq!(read.streams().len(), streams.len());
            assert!(read.streams().eq(streams));
        }
        assert_eq!(
            bytes_of(|out| ForwardTsn::encode(Tsn(1), [(StreamId(2), Ssn(3))].into_iter(), out)),
            [192, 0, 0, 12, 0, 0, 0, 1, 0, 2, 0, 3]
        );
    }

    #[test]
    fn half_a_stream_is_refused() {
        for len in 0..20 {
            let whole = ForwardTsn::decode(&[1; 20][..len]).map(|read| read.streams().len());
            assert_eq!(
                whole,
                match len {
                    0..4 => Err(DecodeError::TooShort),
                    _ if len % 4 != 0 => Err(DecodeError::BadLength),
                    _ => Ok(len / 4 - 1),
                }
            );
        }
    }

    #[test]
    fn streams_that_do_not_fit_are_left_out() {
        let streams = (0..=u16::MAX).map(|stream| (StreamId(stream), Ssn(0)));
        let (datagram, raw) = datagram_of(|out| ForwardTsn::encode(Tsn(1), streams, out));
        let read = ForwardTsn::decode(raw.value_in(&datagram)).unwrap();
        assert_eq!(read.streams().len(), ForwardTsn::STREAMS_MAX);
    }
}
