//! I-DATA: DATA whose messages may interleave (RFC 8260 §2.1).

use super::chunk::{CHUNK_LEN_MAX, ChunkType, pad, padded};
use super::data::{BEGINNING, ENDING, IMMEDIATE, UNORDERED, flags};
use super::{DecodeError, Reader};
use crate::message::{Ppid, StreamId};
use crate::serial::{Fsn, Mid, Tsn};

/// The fields of an I-DATA chunk. Its payload is kept apart: it lies behind the first 16 bytes of the chunk's value.
///
/// ```text
///  byte 0      1      2             4      +-- flags: . . . . I U B E, as in DATA
///       +------+------+-------------+      |
///       |  64  |      | 20 + payload|  <---+
///       +------+------+-------------+
///     4 | TSN                       |
///       +-------------+-------------+
///     8 | stream      | reserved    |
///       +-------------+-------------+
///    12 | MID                       |
///       +---------------------------+
///    16 | PPID if B is set, else FSN|
///       +---------------------------+
///    20 | payload, padding          |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IDataChunk {
    /// Its place in the sequence of all I-DATA chunks.
    pub tsn: Tsn,
    /// The stream that its message belongs to.
    pub stream: StreamId,
    /// Its message among those of the stream; ordered and unordered ones are counted apart.
    pub mid: Mid,
    /// The label of its message. Only the first fragment carries it: 0 in the others.
    pub ppid: Ppid,
    /// Its place in the message. The first fragment does not carry it: it is number 0.
    pub fsn: Fsn,
    /// U: its message may be delivered before those in front of it.
    pub unordered: bool,
    /// B: it is the first fragment of its message.
    pub beginning: bool,
    /// E: it is the last fragment of its message.
    pub ending: bool,
    /// I: the sender wants a SACK at once (RFC 7053).
    pub immediate: bool,
}

impl IDataChunk {
    /// Bytes before the payload, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 20;
    /// Bytes of the longest payload that fits a chunk.
    pub const PAYLOAD_MAX: usize = CHUNK_LEN_MAX - Self::HEADER_LEN;

    /// Reads the fields in front of the payload. A chunk without payload decodes, as with DATA.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn decode(flags: u8, value: &[u8]) -> Result<Self, DecodeError> {
        let beginning = flags & BEGINNING != 0;
        let mut reader = Reader::new(value);
        let tsn = Tsn(reader.u32()?);
        let stream = reader.u16()?;
        let _reserved = reader.u16()?;
        let mid = Mid(reader.u32()?);
        let ppid_or_fsn = reader.u32()?;
        let (ppid, fsn) = if beginning { (ppid_or_fsn, 0) } else { (0, ppid_or_fsn) };
        Ok(Self {
            tsn,
            stream,
            mid,
            ppid: Ppid(ppid),
            fsn: Fsn(fsn),
            unordered: flags & UNORDERED != 0,
            beginning,
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
        let [m0, m1, m2, m3] = self.mid.0.to_be_bytes();
        let [p0, p1, p2, p3] = if self.beginning { self.ppid.0 } else { self.fsn.0 }.to_be_bytes();
        let flags = flags(self.unordered, self.beginning, self.ending, self.immediate);
        #[rustfmt::skip]
        out.extend_from_slice(&[
            ChunkType::I_DATA.0, flags, l0, l1,
            t0, t1, t2, t3,
            i0, i1, 0, 0,
            m0, m1, m2, m3,
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
