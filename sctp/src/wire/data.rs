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
            stream: StreamId(reader.u16()?),
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
        let [l0, l1] = u16::try_from(payload.len().saturating_add(Self::HEADER_LEN)).unwrap_or(u16::MAX).to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.0.to_be_bytes();
        let [i0, i1] = self.stream.0.to_be_bytes();
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

    /// Returns the number of bytes of a chunk with a payload of this length, padding included.
    #[must_use]
    #[inline]
    pub const fn encoded_len(payload_len: usize) -> usize {
        padded(Self::HEADER_LEN.saturating_add(payload_len))
    }
}

#[inline]
pub(super) fn flags(unordered: bool, beginning: bool, ending: bool, immediate: bool) -> u8 {
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    flag(immediate, IMMEDIATE) | flag(unordered, UNORDERED) | flag(beginning, BEGINNING) | flag(ending, ENDING)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn every_field_is_where_the_drawing_has_it() {
        let mut chunk = DataChunk {
            tsn: Tsn(0x0102_0304),
            stream: StreamId(0x0506),
            ssn: Ssn(0x0708),
            ppid: Ppid(0x090A_0B0C),
            unordered: false,
            beginning: true,
            ending: true,
            immediate: false,
        };
        let bytes = bytes_of(|out| chunk.encode(b"hello", out));
        assert_eq!(bytes[..20], [0, 3, 0, 21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, b'h', b'e', b'l', b'l']);
        assert_eq!(bytes[20..], [b'o', 0, 0, 0]);
        (chunk.unordered, chunk.beginning, chunk.ending, chunk.immediate) = (true, false, false, true);
        assert_eq!(bytes_of(|out| chunk.encode(b"", out))[1], 0x0C);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(1);
        for _ in 0..2000 {
            let chunk = DataChunk {
                tsn: Tsn(random.u32()),
                stream: StreamId(random.u16()),
                ssn: Ssn(random.u16()),
                ppid: Ppid(random.u32()),
                unordered: random.bool(),
                beginning: random.bool(),
                ending: random.bool(),
                immediate: random.bool(),
            };
            let payload = random.bytes(40);
            let (datagram, raw) = datagram_of(|out| chunk.encode(&payload, out));
            let value = raw.value_in(&datagram);
            assert_eq!(raw.kind, ChunkType::DATA);
            assert_eq!(DataChunk::decode(raw.flags, value), Ok(chunk));
            assert_eq!(DataChunk::decode(raw.flags | 0xF0, value), Ok(chunk), "reserved flags are ignored");
            assert_eq!(value[12..], payload);
            assert_eq!(datagram.len() - raw.start, DataChunk::encoded_len(payload.len()));
        }
    }

    #[test]
    fn only_the_payload_may_be_missing() {
        for len in 0..12 {
            assert_eq!(DataChunk::decode(3, &vec![1; len]), Err(DecodeError::TooShort));
        }
        assert!(DataChunk::decode(3, &[1; 12]).is_ok());
    }

    #[test]
    fn a_payload_beyond_the_length_field_is_cut() {
        let chunk = DataChunk::decode(3, &[1; 12]).unwrap();
        let (datagram, raw) = datagram_of(|out| chunk.encode(&[7; 70_000], out));
        assert_eq!(raw.value_in(&datagram).len(), 12 + DataChunk::PAYLOAD_MAX);
    }
}
