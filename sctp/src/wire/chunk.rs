//! Common format of all chunks: a type, flags, a length, and padding to a multiple of four (RFC 9260 §3.2).

use std::fmt;
use std::ops::Range;

use super::{DecodeError, PACKET_HEADER_LEN};
use crate::cost_counter;

/// Bytes before a chunk's value.
pub const CHUNK_HEADER_LEN: usize = 4;

/// Bytes of the longest chunk that is ever written: what a 16-bit length can say, and needs no padding.
pub const CHUNK_LEN_MAX: usize = 65_532;

/// Returns `len` rounded up to a multiple of four.
#[must_use]
#[inline]
pub const fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

macro_rules! chunk_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The type of a chunk.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct ChunkType(pub u8);

        impl ChunkType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }

        impl fmt::Debug for ChunkType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, "ChunkType({other})"),
                }
            }
        }
    };
}

chunk_types! {
    /// Payload data (RFC 9260 §3.3.1).
    DATA = 0,
    /// Initiation (RFC 9260 §3.3.2).
    INIT = 1,
    /// Initiation acknowledgement (RFC 9260 §3.3.3).
    INIT_ACK = 2,
    /// Selective acknowledgement (RFC 9260 §3.3.4).
    SACK = 3,
    /// Heartbeat request (RFC 9260 §3.3.5).
    HEARTBEAT = 4,
    /// Heartbeat acknowledgement (RFC 9260 §3.3.6).
    HEARTBEAT_ACK = 5,
    /// Abort (RFC 9260 §3.3.7).
    ABORT = 6,
    /// Shutdown (RFC 9260 §3.3.8).
    SHUTDOWN = 7,
    /// Shutdown acknowledgement (RFC 9260 §3.3.9).
    SHUTDOWN_ACK = 8,
    /// Operation error (RFC 9260 §3.3.10).
    ERROR = 9,
    /// State Cookie (RFC 9260 §3.3.11).
    COOKIE_ECHO = 10,
    /// Cookie acknowledgement (RFC 9260 §3.3.12).
    COOKIE_ACK = 11,
    /// Explicit congestion notification echo, reserved (RFC 9260 appendix B).
    ECNE = 12,
    /// Congestion window reduced, reserved (RFC 9260 appendix B).
    CWR = 13,
    /// Shutdown complete (RFC 9260 §3.3.13).
    SHUTDOWN_COMPLETE = 14,
    /// Authentication (RFC 4895).
    AUTH = 15,
    /// Payload data that interleaves (RFC 8260 §2.1).
    I_DATA = 64,
    /// Address configuration acknowledgement (RFC 5061).
    ASCONF_ACK = 128,
    /// Re-configuration (RFC 6525 §3.1).
    RE_CONFIG = 130,
    /// Padding (RFC 4820 §3).
    PAD = 132,
    /// Forward cumulative TSN (RFC 3758 §3.2).
    FORWARD_TSN = 192,
    /// Address configuration (RFC 5061).
    ASCONF = 193,
    /// Forward cumulative TSN for interleaved messages (RFC 8260 §2.3.1).
    I_FORWARD_TSN = 194,
}

impl ChunkType {
    /// Returns the action of a receiver that does not know this type.
    #[must_use]
    #[inline]
    pub const fn unrecognized_action(self) -> UnrecognizedAction {
        UnrecognizedAction::from_high_bits(self.0)
    }
}

/// Treatment of a chunk or parameter of unknown type, which its two highest bits select (RFC 9260 §3.2, §3.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnrecognizedAction {
    /// Drop it and all that follows: the rest of the packet for a chunk, the rest of the chunk for a parameter.
    Stop,
    /// The same, and tell the peer.
    StopAndReport,
    /// Drop it and go on.
    Skip,
    /// The same, and tell the peer.
    SkipAndReport,
}

impl UnrecognizedAction {
    pub(super) const fn from_high_bits(byte: u8) -> Self {
        match byte >> 6 {
            0 => Self::Stop,
            1 => Self::StopAndReport,
            2 => Self::Skip,
            _ => Self::SkipAndReport,
        }
    }

    /// Returns `true` if everything after the unknown chunk or parameter is dropped.
    #[must_use]
    pub const fn stops(self) -> bool {
        matches!(self, Self::Stop | Self::StopAndReport)
    }

    /// Returns `true` if the unknown chunk or parameter is to be reported to the peer.
    #[must_use]
    pub const fn reports(self) -> bool {
        matches!(self, Self::StopAndReport | Self::SkipAndReport)
    }
}

/// A chunk as it lies in a datagram, its value not yet looked at.
///
/// ```text
///  byte 0      1      2             4                      length
///       +------+------+-------------+----------- - - - - - --+- - - -+
///       | type | flags| length      | value                  | 0-3 B |
///       +------+------+-------------+----------- - - - - - --+- - - -+
/// ```
///
/// The length counts the four bytes of the header but no padding.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RawChunk {
    /// Its type.
    pub kind: ChunkType,
    /// Its flags, whose meaning the type defines.
    pub flags: u8,
    /// Position of its header in the datagram.
    pub start: usize,
    /// Range of its value in the datagram, without header and padding.
    pub value: Range<usize>,
}

impl RawChunk {
    /// Returns the chunk's value; `datagram` is the one that the chunk was found in.
    #[must_use]
    #[inline]
    pub fn value_in<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        datagram.get(self.value.clone()).unwrap_or_default()
    }

    /// Returns the chunk with its header and without its padding; `datagram` is the one that the chunk was found in.
    #[must_use]
    #[inline]
    pub fn whole_in<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        datagram.get(self.start..self.value.end).unwrap_or_default()
    }
}

/// The chunks of a datagram, in order.
///
/// A chunk whose length is below four or beyond the datagram yields one error and is the last. The last chunk's padding
/// may be missing, and up to three bytes after it are ignored.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    datagram_len: usize,
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Returns an iterator over the chunks behind the common header of a datagram.
    #[must_use]
    #[inline]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self::resume(datagram, PACKET_HEADER_LEN)
    }

    /// Returns an iterator over the chunks from `position` on, which must be [`position`](Self::position) of an
    /// iterator over the same datagram.
    #[must_use]
    #[inline]
    pub fn resume(datagram: &'a [u8], position: usize) -> Self {
        Self { datagram_len: datagram.len(), rest: datagram.get(position..).unwrap_or_default() }
    }

    /// Returns the position of the next chunk.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.datagram_len.saturating_sub(self.rest.len())
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<RawChunk, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        cost_counter::step();
        let &[kind, flags, high, low] = self.rest.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if !(CHUNK_HEADER_LEN..=self.rest.len()).contains(&len) {
            self.rest = &[];
            return Some(Err(DecodeError::BadLength));
        }
        let start = self.datagram_len.saturating_sub(self.rest.len());
        self.rest = self.rest.get(padded(len)..).unwrap_or_default();
        let value = start.saturating_add(CHUNK_HEADER_LEN)..start.saturating_add(len);
        Some(Ok(RawChunk { kind: ChunkType(kind), flags, start, value }))
    }
}

impl std::iter::FusedIterator for Chunks<'_> {}

/// Appends a chunk header whose length [`end_chunk`] fills in; returns where it is, which `end_chunk` wants to know.
#[inline]
pub fn begin_chunk(out: &mut Vec<u8>, kind: ChunkType, flags: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[kind.0, flags, 0, 0]);
    at
}

/// Ends the chunk that begins at `at`: writes its length, then pads it. A chunk above [`CHUNK_LEN_MAX`] is cut there.
#[inline]
pub fn end_chunk(out: &mut Vec<u8>, at: usize) {
    out.truncate(at.saturating_add(CHUNK_LEN_MAX));
    patch_length(out, at);
    pad(out, at);
}

/// Writes the length of what begins at `at` and ends with `out` where chunks and parameters have it.
#[inline]
pub(super) fn patch_length(out: &mut [u8], at: usize) {
    let len = u16::try_from(out.len().saturating_sub(at)).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at.saturating_add(2)..at.saturating_add(4)) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends zeros until what began at `from` is a multiple of four long.
#[inline]
pub(super) fn pad(out: &mut Vec<u8>, from: usize) {
    let len = out.len().saturating_sub(from);
    out.resize(out.len().saturating_add(padded(len).saturating_sub(len)), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, flags and value of a chunk.
    type Found = (u8, u8, Vec<u8>);

    fn chunks(bytes: &[u8]) -> Vec<Result<Found, DecodeError>> {
        let mut datagram = vec![0; PACKET_HEADER_LEN];
        datagram.extend_from_slice(bytes);
        let chunks = Chunks::new(&datagram).take(1000);
        chunks.map(|c| c.map(|c| (c.kind.0, c.flags, c.value_in(&datagram).to_vec()))).collect()
    }

    #[test]
    fn chunks_follow_one_another_at_multiples_of_four() {
        let found = chunks(&[0, 3, 0, 5, 9, 7, 7, 7, 11, 0, 0, 4, 10, 1, 0, 6, 1, 2, 0, 0]);
        assert_eq!(found, [Ok((0, 3, vec![9])), Ok((11, 0, vec![])), Ok((10, 1, vec![1, 2]))]);
    }

    #[test]
    fn a_bad_length_is_one_error_and_the_end() {
        for len in [0, 1, 2, 3, 5, 0xFFFF_u16] {
            let [high, low] = len.to_be_bytes();
            let found = chunks(&[11, 0, 0, 4, 4, 0, high, low]);
            assert_eq!(found, [Ok((11, 0, vec![])), Err(DecodeError::BadLength)], "length {len}");
        }
    }

    #[test]
    fn missing_padding_and_up_to_three_bytes_more_are_nothing() {
        for more in 0..4 {
            let mut bytes = vec![10, 0, 0, 8, 1, 2, 3, 4];
            bytes.extend(vec![0xFF; more]);
            assert_eq!(chunks(&bytes), [Ok((10, 0, vec![1, 2, 3, 4]))]);
        }
        for padding in 0..4 {
            let mut bytes = vec![10, 0, 0, 5, 1];
            bytes.extend(vec![0xFF; padding]);
            assert_eq!(chunks(&bytes), [Ok((10, 0, vec![1]))]);
        }
    }

    #[test]
    fn a_datagram_shorter_than_a_header_has_no_chunks() {
        for len in 0..PACKET_HEADER_LEN + CHUNK_HEADER_LEN {
            assert_eq!(Chunks::new(&vec![0xFF; len]).count(), 0);
        }
    }

    #[test]
    fn a_chunk_knows_its_header() {
        let mut datagram = vec![0; PACKET_HEADER_LEN];
        datagram.extend_from_slice(&[9, 8, 0, 5, 7, 0, 0, 0]);
        let chunk = Chunks::new(&datagram).next().unwrap().unwrap();
        assert_eq!(chunk.whole_in(&datagram), [9, 8, 0, 5, 7]);
        assert_eq!(chunk.value_in(&datagram), [7]);
        // Another datagram than its own is a mistake, and no panic.
        assert_eq!(chunk.value_in(&[]), [0; 0]);
        assert_eq!(chunk.whole_in(&[]), [0; 0]);
    }

    #[test]
    fn writing_pads_and_counts() {
        for value in 0..9u8 {
            let mut out = vec![0xEE; 3];
            let at = begin_chunk(&mut out, ChunkType::COOKIE_ECHO, 5);
            assert_eq!(at, 3);
            out.extend(vec![0xAB; value.into()]);
            end_chunk(&mut out, at);
            assert_eq!(out[3..7], [10, 5, 0, 4 + value]);
            assert_eq!(out.len() - 3, padded(4 + usize::from(value)));
            assert!(out[7 + usize::from(value)..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_chunk_too_long_for_its_length_is_cut() {
        let mut out = vec![1, 2];
        let at = begin_chunk(&mut out, ChunkType::PAD, 0);
        out.resize(70_000, 0);
        end_chunk(&mut out, at);
        assert_eq!(out.len(), 2 + CHUNK_LEN_MAX);
        assert_eq!(out[4..6], [0xFF, 0xFC]);
        // Ending a chunk that was never begun is a mistake, but does not panic.
        end_chunk(&mut out, usize::MAX);
    }

    #[test]
    fn the_high_bits_say_what_to_do_with_an_unknown_type() {
        use UnrecognizedAction::*;
        for low in 0..64 {
            let actions = [0, 64, 128, 192].map(|class| ChunkType(class | low).unrecognized_action());
            assert_eq!(actions, [Stop, StopAndReport, Skip, SkipAndReport]);
        }
        assert_eq!(
            [Stop, StopAndReport, Skip, SkipAndReport].map(UnrecognizedAction::stops),
            [true, true, false, false]
        );
        assert_eq!(
            [Stop, StopAndReport, Skip, SkipAndReport].map(UnrecognizedAction::reports),
            [false, true, false, true]
        );
    }

    #[test]
    fn types_have_names() {
        assert_eq!(format!("{:?} {:?}", ChunkType::I_FORWARD_TSN, ChunkType(77)), "I_FORWARD_TSN ChunkType(77)");
    }
}
