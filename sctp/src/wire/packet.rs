//! The common header of every packet (RFC 9260 §3.1).

use super::chunk::CHUNK_HEADER_LEN;
use super::{DecodeError, PACKET_HEADER_LEN, Reader};

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

#[cfg(test)]
mod tests {
    use super::*;

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
