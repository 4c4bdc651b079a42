//! SACK (RFC 9260 §3.3.4).

use super::chunk::{CHUNK_HEADER_LEN, CHUNK_LEN_MAX, ChunkType, begin_chunk, end_chunk};
use super::{DecodeError, Reader};
use crate::cost_counter;
use crate::serial::Tsn;

/// A run of TSNs that were received beyond the cumulative one, as offsets from it; both ends belong to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GapBlock {
    /// Of the first TSN.
    pub start: u16,
    /// Of the last TSN.
    pub end: u16,
}

/// The contents of a SACK. Nothing is copied: the blocks and duplicates are read from the datagram as one goes along.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+
///       |  3   |      | length      |
///       +------+------+-------------+
///     4 | cumulative TSN ack        |
///       +---------------------------+
///     8 | a_rwnd                    |
///       +-------------+-------------+
///    12 | n blocks    | m duplicates|
///       +-------------+-------------+
///    16 | start       | end         |  n times, as offsets from the cumulative TSN
///       +-------------+-------------+
///       | duplicate TSN             |  m times
///       +---------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sack<'a> {
    /// The last TSN before the first gap.
    pub cumulative_tsn_ack: Tsn,
    /// The sender's receive window, in bytes, not counting what is on its way.
    pub a_rwnd: u32,
    blocks: &'a [[u8; 4]],
    duplicates: &'a [[u8; 4]],
}

impl<'a> Sack<'a> {
    /// Bytes before the blocks, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 16;
    /// Blocks and duplicates together that fit a chunk.
    pub const ENTRIES_MAX: usize = (CHUNK_LEN_MAX - Self::HEADER_LEN) / 4;

    /// Reads the chunk's value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] without the fixed fields, [`DecodeError::BadLength`] if the counts are not those of
    /// what follows.
    #[inline]
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let cumulative_tsn_ack = Tsn(reader.u32()?);
        let a_rwnd = reader.u32()?;
        let block_count = usize::from(reader.u16()?);
        let duplicate_count = usize::from(reader.u16()?);
        let (entries, odd) = reader.rest().as_chunks();
        let (blocks, duplicates) = entries.split_at_checked(block_count).ok_or(DecodeError::BadLength)?;
        if duplicates.len() != duplicate_count || !odd.is_empty() {
            return Err(DecodeError::BadLength);
        }
        Ok(Self { cumulative_tsn_ack, a_rwnd, blocks, duplicates })
    }

    /// Returns the Gap Ack Blocks, as they came: see [`has_valid_gap_blocks`](Self::has_valid_gap_blocks).
    #[inline]
    pub fn gap_blocks(&self) -> impl DoubleEndedIterator<Item = GapBlock> + ExactSizeIterator + Clone + use<'a> {
        self.blocks.iter().map(|&[s0, s1, e0, e1]| GapBlock {
            start: u16::from_be_bytes([s0, s1]),
            end: u16::from_be_bytes([e0, e1]),
        })
    }

    /// Returns `true` if each block is above the cumulative TSN and above the block before it, and does not end before
    /// its start. Blocks may touch. This function does not know if the TSNs were ever sent.
    #[must_use]
    #[inline]
    pub fn has_valid_gap_blocks(&self) -> bool {
        let mut last = 0;
        self.gap_blocks().all(|block| {
            cost_counter::step();
            let is_in_order = last < block.start && block.start <= block.end;
            last = block.end;
            is_in_order
        })
    }

    /// Returns the TSNs that came more than once since the last SACK.
    #[inline]
    pub fn duplicate_tsns(&self) -> impl ExactSizeIterator<Item = Tsn> + Clone + use<'a> {
        self.duplicates.iter().map(|&tsn| Tsn(u32::from_be_bytes(tsn)))
    }

    /// Appends a SACK. Of blocks and duplicates together, what exceeds [`ENTRIES_MAX`](Self::ENTRIES_MAX) is left out,
    /// duplicates first.
    pub fn encode(
        cumulative_tsn_ack: Tsn,
        a_rwnd: u32,
        blocks: impl Iterator<Item = GapBlock>,
        duplicates: impl Iterator<Item = Tsn>,
        out: &mut Vec<u8>,
    ) {
        let at = begin_chunk(out, ChunkType::SACK, 0);
        out.extend_from_slice(&cumulative_tsn_ack.0.to_be_bytes());
        out.extend_from_slice(&a_rwnd.to_be_bytes());
        let counts_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut block_count = 0u16;
        for block in blocks.take(Self::ENTRIES_MAX) {
            let ([s0, s1], [e0, e1]) = (block.start.to_be_bytes(), block.end.to_be_bytes());
            out.extend_from_slice(&[s0, s1, e0, e1]);
            block_count = block_count.saturating_add(1);
        }
        let mut duplicate_count = 0u16;
        for tsn in duplicates.take(Self::ENTRIES_MAX.saturating_sub(usize::from(block_count))) {
            out.extend_from_slice(&tsn.0.to_be_bytes());
            duplicate_count = duplicate_count.saturating_add(1);
        }
        let ([b0, b1], [d0, d1]) = (block_count.to_be_bytes(), duplicate_count.to_be_bytes());
        if let Some(counts) = out.get_mut(counts_at..counts_at.saturating_add(4)) {
            counts.copy_from_slice(&[b0, b1, d0, d1]);
        }
        end_chunk(out, at);
    }

    /// Returns the number of bytes of a SACK with that many blocks and duplicates.
    #[must_use]
    #[inline]
    pub const fn encoded_len(blocks: usize, duplicates: usize) -> usize {
        blocks.saturating_add(duplicates).saturating_mul(4).saturating_add(Self::HEADER_LEN)
    }
}

const _: () = assert!(Sack::HEADER_LEN == CHUNK_HEADER_LEN + 12 && Sack::ENTRIES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    const fn block(start: u16, end: u16) -> GapBlock {
        GapBlock { start, end }
    }

    fn encoded(blocks: &[GapBlock], duplicates: &[Tsn]) -> Vec<u8> {
        bytes_of(|out| {
            Sack::encode(Tsn(0x0102_0304), 0x0506_0708, blocks.iter().copied(), duplicates.iter().copied(), out);
        })
    }

    #[test]
    fn every_field_is_where_the_drawing_has_it() {
        let bytes = encoded(&[block(2, 0x0103)], &[Tsn(9), Tsn(0x0A0B_0C0D)]);
        assert_eq!(bytes[..16], [3, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2]);
        assert_eq!(bytes[16..], [0, 2, 1, 3, 0, 0, 0, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(4);
        for _ in 0..1000 {
            let blocks: Vec<_> = (0..random.index(9)).map(|_| block(random.u16(), random.u16())).collect();
            let duplicates: Vec<_> = (0..random.index(9)).map(|_| Tsn(random.u32())).collect();
            let (tsn, a_rwnd) = (Tsn(random.u32()), random.u32());
            let (datagram, raw) = datagram_of(|out| {
                Sack::encode(tsn, a_rwnd, blocks.iter().copied(), duplicates.iter().copied(), out);
            });
            assert_eq!((raw.kind, raw.flags), (ChunkType::SACK, 0));
            assert_eq!(datagram.len() - raw.start, Sack::encoded_len(blocks.len(), duplicates.len()));
            let sack = Sack::decode(raw.value_in(&datagram)).unwrap();
            assert_eq!((sack.cumulative_tsn_ack, sack.a_rwnd), (tsn, a_rwnd));
            assert_eq!(sack.gap_blocks().len(), blocks.len());
            assert!(sack.gap_blocks().eq(blocks));
            assert_eq!(sack.duplicate_tsns().len(), duplicates.len());
            assert!(sack.duplicate_tsns().eq(duplicates));
        }
    }

    #[test]
    fn counts_are_exactly_those_of_what_follows() {
        let good = encoded(&[block(2, 3), block(5, 5)], &[Tsn(1)]).split_off(4);
        assert!(Sack::decode(&good).is_ok());
        for (blocks, duplicates) in [(2, 0), (2, 2), (3, 1), (1, 1), (0, 0), (65535, 65535), (4, 0)] {
            let mut bad = good.clone();
            bad[8..10].copy_from_slice(&u16::to_be_bytes(blocks));
            bad[10..12].copy_from_slice(&u16::to_be_bytes(duplicates));
            assert_eq!(Sack::decode(&bad), Err(DecodeError::BadLength), "{blocks} blocks, {duplicates} duplicates");
        }
        for len in 0..good.len() {
            assert!(Sack::decode(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn gap_blocks_are_valid_if_they_ascend_and_are_apart() {
        let is_valid = |blocks: &[GapBlock]| {
            let bytes = encoded(blocks, &[]);
            Sack::decode(&bytes[4..]).unwrap().has_valid_gap_blocks()
        };
        for valid in [
            &[][..],
            &[block(1, 1)],
            &[block(2, 2), block(4, 9)],
            &[block(2, 3), block(4, 4)],
            &[block(1, 65535)],
            &[block(65535, 65535)],
        ] {
            assert!(is_valid(valid), "{valid:?}");
        }
        for invalid in [
            &[block(0, 0)][..],
            &[block(0, 5)],
            &[block(5, 4)],
            &[block(4, 9), block(2, 2)],
            &[block(2, 4), block(4, 5)],
            &[block(2, 4), block(2, 4)],
            &[block(2, 9), block(3, 4)],
            &[block(65535, 65535), block(65535, 65535)],
            &[block(3, 65535), block(1, 2)],
        ] {
            assert!(!is_valid(invalid), "{invalid:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_duplicates_first() {
        let blocks = std::iter::repeat_n(block(1, 1), 16_000);
        let (datagram, raw) =
            datagram_of(|out| Sack::encode(Tsn(0), 0, blocks, std::iter::repeat_n(Tsn(1), 16_000), out));
        assert_eq!(datagram.len() - raw.start, CHUNK_LEN_MAX);
        let sack = Sack::decode(raw.value_in(&datagram)).unwrap();
        assert_eq!(sack.gap_blocks().len(), 16_000);
        assert_eq!(sack.duplicate_tsns().len(), Sack::ENTRIES_MAX - 16_000);
    }
}
