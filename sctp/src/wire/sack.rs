//! SACK (RFC 9260 §3.3.4).

use super::chunk::{CHUNK_HEADER_LEN, CHUNK_LEN_MAX, ChunkType, begin_chunk, end_chunk};
use super::{DecodeError, Reader};
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

    /// The Gap Ack Blocks, as they came: see [`has_valid_gap_blocks`](Self::has_valid_gap_blocks).
    #[inline]
    pub fn gap_blocks(&self) -> impl DoubleEndedIterator<Item = GapBlock> + ExactSizeIterator + Clone + use<'a> {
        self.blocks.iter().map(|&[s0, s1, e0, e1]| GapBlock {
            start: u16::from_be_bytes([s0, s1]),
            end: u16::from_be_bytes([e0, e1]),
        })
    }

    /// Whether each block is above the cumulative TSN and above the block before it, and ends where it starts or later.
    /// Blocks may touch. Whether the TSNs were ever sent is not known here.
    #[must_use]
    #[inline]
    pub fn has_valid_gap_blocks(&self) -> bool {
        let mut last = 0;
        self.gap_blocks().all(|block| {
            let is_in_order = last < block.start && block.start <= block.end;
            last = block.end;
            is_in_order
        })
    }

    /// TSNs that came more than once since the last SACK.
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
            block_count += 1;
        }
        let mut duplicate_count = 0u16;
        for tsn in duplicates.take(Self::ENTRIES_MAX - usize::from(block_count)) {
            out.extend_from_slice(&tsn.0.to_be_bytes());
            duplicate_count += 1;
        }
        let ([b0, b1], [d0, d1]) = (block_count.to_be_bytes(), duplicate_count.to_be_bytes());
        if let Some(counts) = out.get_mut(counts_at..counts_at + 4) {
            counts.copy_from_slice(&[b0, b1, d0, d1]);
        }
        end_chunk(out, at);
    }

    /// Bytes of a SACK with that many blocks and duplicates.
    #[must_use]
    #[inline]
    pub const fn encoded_len(blocks: usize, duplicates: usize) -> usize {
        Self::HEADER_LEN + 4 * (blocks + duplicates)
    }
}

const _: () = assert!(Sack::HEADER_LEN == CHUNK_HEADER_LEN + 12 && Sack::ENTRIES_MAX <= u16::MAX as usize);
