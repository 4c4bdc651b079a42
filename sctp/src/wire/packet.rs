//! The common header of every packet (RFC 9260 §3.1), and the writer of whole packets.

use super::checksum::seal;
use super::chunk::CHUNK_HEADER_LEN;
use super::{DecodeError, Reader};

/// Bytes of the common header.
pub const PACKET_HEADER_LEN: usize = 12;

/// The common header, but for the checksum, which [`is_checksum_valid`](super::is_checksum_valid) and
/// [`seal`](super::seal) work on in place.
///
/// ```text
///  byte 0         2         4                   8                  12
///       +---------+---------+-------------------+-------------------+
///       | source  | destin- | Verification Tag  | CRC32c, least     |
///       | port    | ation p.|                   | significant first |
///       +---------+---------+-------------------+-------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PacketHeader {
    /// SCTP port of the sender.
    pub source_port: u16,
    /// SCTP port of the receiver.
    pub destination_port: u16,
    /// The tag that the receiver chose for this association; 0 before the sender knows it (RFC 9260 §8.5).
    pub verification_tag: u32,
}

impl PacketHeader {
    /// Reads the header of a datagram.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if there is no room for a chunk header behind it (a packet without a chunk is none,
    /// RFC 9260 §3), [`DecodeError::ZeroPort`] if a port is 0 (§3.1).
    #[inline]
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() < PACKET_HEADER_LEN + CHUNK_HEADER_LEN {
            return Err(DecodeError::TooShort);
        }
        let mut reader = Reader::new(datagram);
        let header =
            Self { source_port: reader.u16()?, destination_port: reader.u16()?, verification_tag: reader.u32()? };
        if header.source_port == 0 || header.destination_port == 0 {
            return Err(DecodeError::ZeroPort);
        }
        Ok(header)
    }

    /// Appends the header, with a checksum of 0 for [`seal`](super::seal) to fill in.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [t0, t1, t2, t3] = self.verification_tag.to_be_bytes();
        out.extend_from_slice(&[s0, s1, d0, d1, t0, t1, t2, t3, 0, 0, 0, 0]);
    }
}

/// A packet that is being written: the common header, then chunks, and the checksum at the end. Every packet of this end is
/// put together by it.
#[derive(Debug)]
pub struct PacketWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Offset of the packet in `out`.
    start: usize,
    /// Offset in `out` that the packet should not exceed.
    end: usize,
}

impl<'o> PacketWriter<'o> {
    /// Begins a packet of `budget` bytes at most at the end of `out`.
    #[inline]
    pub fn begin(header: &PacketHeader, budget: usize, out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        header.encode(out);
        Self { out, start, end: start.saturating_add(budget) }
    }

    /// Bytes that are left of the budget.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    /// Returns `true` if there is no chunk yet.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.len() <= self.start.saturating_add(PACKET_HEADER_LEN)
    }

    /// The buffer that chunks are appended to. Whoever appends asks for the [`room`](Self::room) first.
    #[inline]
    pub fn chunks(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Removes all chunks.
    pub fn clear(&mut self) {
        self.out.truncate(self.start.saturating_add(PACKET_HEADER_LEN));
    }

    /// Fills in the checksum. Returns the length of the packet; a packet without chunks is removed, and its length is 0.
    #[inline]
    pub fn finish(self) -> usize {
        let len = self.out.len().saturating_sub(self.start);
        if len <= PACKET_HEADER_LEN {
            self.out.truncate(self.start);
            return 0;
        }
        if let Some(packet) = self.out.get_mut(self.start..) {
            seal(packet);
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::super::{encode_cookie_ack, is_checksum_valid};
    use super::*;

    #[test]
    fn a_packet_is_written_behind_what_is_there_and_sealed() {
        let mut out = vec![7; 5];
        let mut packet = PacketWriter::begin(&HEADER, 24, &mut out);
        assert!(packet.is_empty());
        assert_eq!(packet.room(), 12);
        encode_cookie_ack(packet.chunks());
        encode_cookie_ack(packet.chunks());
        assert_eq!(packet.room(), 4);
        packet.clear();
        encode_cookie_ack(packet.chunks());
        assert_eq!((packet.room(), packet.finish()), (8, 16));
        assert_eq!(out[..5], [7; 5]);
        assert!(is_checksum_valid(&out[5..]));
        assert_eq!(PacketHeader::decode(&out[5..]), Ok(HEADER));
    }

    #[test]
    fn a_packet_without_chunks_leaves_nothing_behind() {
        let mut out = vec![7; 5];
        assert_eq!(PacketWriter::begin(&HEADER, 1200, &mut out).finish(), 0);
        assert_eq!(out, [7; 5]);
    }

    #[test]
    fn there_is_no_room_beyond_the_budget() {
        let mut out = Vec::new();
        let mut packet = PacketWriter::begin(&HEADER, 14, &mut out);
        encode_cookie_ack(packet.chunks());
        assert_eq!(packet.room(), 0);
    }

    const HEADER: PacketHeader =
        PacketHeader { source_port: 5000, destination_port: 5001, verification_tag: 0x0102_0304 };

    #[test]
    fn a_header_reads_back_as_written() {
        let mut out = Vec::new();
        HEADER.encode(&mut out);
        assert_eq!(out, [0x13, 0x88, 0x13, 0x89, 1, 2, 3, 4, 0, 0, 0, 0]);
        out.extend_from_slice(&[11, 0, 0, 4]);
        assert_eq!(PacketHeader::decode(&out), Ok(HEADER));
    }

    #[test]
    fn a_packet_needs_room_for_one_chunk() {
        for len in 0..16 {
            assert_eq!(PacketHeader::decode(&vec![1; len]), Err(DecodeError::TooShort), "{len} bytes");
        }
        assert!(PacketHeader::decode(&[1; 16]).is_ok());
    }

    #[test]
    fn port_zero_is_refused_on_either_side() {
        for header in [PacketHeader { source_port: 0, ..HEADER }, PacketHeader { destination_port: 0, ..HEADER }] {
            let mut out = Vec::new();
            header.encode(&mut out);
            out.extend_from_slice(&[11, 0, 0, 4]);
            assert_eq!(PacketHeader::decode(&out), Err(DecodeError::ZeroPort));
        }
    }
}
