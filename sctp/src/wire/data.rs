//! DATA (RFC 9260 §3.3.1).

use super::chunk::{CHUNK_LEN_MAX, ChunkType, pad, padded};
use super::{DecodeError, Reader};
use crate::message::{Ppid, StreamId};
use crate::serial::{Ssn, Tsn};

pub(super) const IMMEDIATE: u8 = 0x08;
pub(super) const UNORDERED: u8 = 0x04;
pub(super) const BEGINNING: u8 = 0x02;
pub(super) const ENDING: u8 = 0x01;

/// The fields of a DATA chunk. Its payload is kept apart: it lies behind the first 12 bytes of the chunk's value.
///
/// ```text
///  byte 0      1      2             4      +-- flags: . . . . I U B E
///       +------+------+-------------+      |   immediately, unordered, beginning, ending
///       |  0   |      | 16 + payload|  <---+
///       +------+------+-------------+
///     4 | TSN                       |
///       +-------------+-------------+
///     8 | stream      | SSN         |
///       +-------------+-------------+
///    12 | PPID                      |
///       +---------------------------+
///    16 | payload, padding          |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataChunk {
    /// Its place in the sequence of all DATA chunks.
    pub tsn: Tsn,
    /// The stream that its message belongs to.
    pub stream: StreamId,
    /// The place of its message in the stream; without meaning if `unordered`.
    pub ssn: Ssn,
    /// The label of its message.
    pub ppid: Ppid,
    /// U: its message may be delivered before those in front of it.
    pub unordered: bool,
    /// B: it is the first fragment of its message.
    pub beginning: bool,
    /// E: it is the last fragment of its message.
    pub ending: bool,
    /// I: the sender wants a SACK at once (RFC 7053).
    pub immediate: bool,
}

impl DataChunk {
    /// Bytes before the payload, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 16;
    /// Bytes of the longest payload that fits a chunk.
    pub const PAYLOAD_MAX: usize = CHUNK_LEN_MAX - Self::HEADER_LEN;

    /// Reads the fields in front of the payload. A chunk without payload decodes; what it leads to is for the
    /// association to say (RFC 9260 §6.2).
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn decode(flags: u8, value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        Ok(Self {
            tsn: Tsn(reader.u32()?),
            stream: reader.u16()?,
            ssn: Ssn(reader.u16()?),
            ppid: Ppid(reader.u32()?),
            unordered: flags & UNORDERED != 0,
            beginning: flags & BEGINNING != 0,
            ending: flags & ENDING != 0,
            immediate: flags & IMMEDIATE != 0,
        })
    }

    /// Appends the chunk with this payload, which is cut at [`PAYLOAD_MAX`](Self::PAYLOAD_MAX).
    #[inline]
    pub fn encode(&self, payload: &[u8], out: &mut Vec<u8>) {
        let payload = payload.get(..Self::PAYLOAD_MAX).unwrap_or(payload);
        let at = out.len();
        out.reserve(Self::encoded_len(payload.len()));
        let [l0, l1] = u16::try_from(Self::HEADER_LEN + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.0.to_be_bytes();
        let [i0, i1] = self.stream.to_be_bytes();
        let [n0, n1] = self.ssn.0.to_be_bytes();
        let [p0, p1, p2, p3] = self.ppid.0.to_be_bytes();
        let flags = flags(self.unordered, self.beginning, self.ending, self.immediate);
        #[rustfmt::skip]
        out.extend_from_slice(&[
            ChunkType::DATA.0, flags, l0, l1,
            t0, t1, t2, t3,
            i0, i1, n0, n1,
            p0, p1, p2, p3,
        ]);
        out.extend_from_slice(payload);
        pad(out, at);
    }

    /// Bytes of a chunk with a payload of this length, padding included.
    #[must_use]
    #[inline]
    pub const fn encoded_len(payload_len: usize) -> usize {
        padded(Self::HEADER_LEN.saturating_add(payload_len))
    }
}

#[inline]
pub(super) fn flags(unordered: bool, beginning: bool, ending: bool, immediate: bool) -> u8 {
    (u8::from(immediate) * IMMEDIATE)
        | (u8::from(unordered) * UNORDERED)
        | (u8::from(beginning) * BEGINNING)
        | (u8::from(ending) * ENDING)
}
