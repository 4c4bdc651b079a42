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
            stream: StreamId(stream),
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
        let [l0, l1] = u16::try_from(payload.len().saturating_add(Self::HEADER_LEN)).unwrap_or(u16::MAX).to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.0.to_be_bytes();
        let [i0, i1] = self.stream.0.to_be_bytes();
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

    /// Returns the number of bytes of a chunk with a payload of this length, padding included.
    #[must_use]
    #[inline]
    pub const fn encoded_len(payload_len: usize) -> usize {
        padded(Self::HEADER_LEN.saturating_add(payload_len))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    const CHUNK: IDataChunk = IDataChunk {
        tsn: Tsn(0x0102_0304),
        stream: StreamId(0x0506),
        mid: Mid(0x0708_090A),
        ppid: Ppid(0x0B0C_0D0E),
        fsn: Fsn(0),
        unordered: false,
        beginning: true,
        ending: false,
        immediate: false,
    };

    #[test]
    fn every_field_is_where_the_drawing_has_it() {
        let bytes = bytes_of(|out| CHUNK.encode(&[0xFF], out));
        assert_eq!(bytes[..16], [64, 2, 0, 21, 1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10]);
        assert_eq!(bytes[16..], [11, 12, 13, 14, 0xFF, 0, 0, 0]);
        let next = IDataChunk { ppid: Ppid(0), fsn: Fsn(0x0F10_1112), beginning: false, ending: true, ..CHUNK };
        let bytes = bytes_of(|out| next.encode(&[], out));
        assert_eq!(bytes[..4], [64, 1, 0, 20]);
        assert_eq!(bytes[16..], [15, 16, 17, 18]);
    }

    #[test]
    fn fields_of_i_data_read_back_and_reserved_bits_are_ignored() {
        let mut random = Random(2);
        for _ in 0..2000 {
            let beginning = random.bool();
            let chunk = IDataChunk {
                tsn: Tsn(random.u32()),
                stream: StreamId(random.u16()),
                mid: Mid(random.u32()),
                ppid: Ppid(if beginning { random.u32() } else { 0 }),
                fsn: Fsn(if beginning { 0 } else { random.u32() }),
                unordered: random.bool(),
                beginning,
                ending: random.bool(),
                immediate: random.bool(),
            };
            let payload = random.bytes(40);
            let (datagram, raw) = datagram_of(|out| chunk.encode(&payload, out));
            let value = raw.value_in(&datagram);
            assert_eq!(raw.kind, ChunkType::I_DATA);
            assert_eq!((raw.flags & 0xF0, &value[6..8]), (0, &[0; 2][..]), "reserved bits are sent as 0");
            assert_eq!(IDataChunk::decode(raw.flags, value), Ok(chunk));
            let mut reserved = value.to_vec();
            reserved[6..8].fill(0xFF);
            assert_eq!(IDataChunk::decode(raw.flags | 0xF0, &reserved), Ok(chunk), "reserved bits are ignored");
            assert_eq!(value[16..], payload);
            assert_eq!(datagram.len() - raw.start, IDataChunk::encoded_len(payload.len()));
        }
    }

    #[test]
    fn only_the_payload_may_be_missing() {
        for len in 0..16 {
            assert_eq!(IDataChunk::decode(3, &vec![1; len]), Err(DecodeError::TooShort));
        }
        assert!(IDataChunk::decode(3, &[1; 16]).is_ok());
    }
}
