//! The writer of whole packets.

use super::PACKET_HEADER_LEN;
use super::checksum::seal;
use super::packet::PacketHeader;
use super::trace::trace_chunks;

/// A packet that is being written: the common header, then chunks, and the checksum at the end. Every packet of this
/// end is put together by it.
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

    /// Returns the length of the buffer in front of the packet.
    #[must_use]
    #[inline]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Sets the bytes that the packet may have, those that are written included.
    #[inline]
    pub fn set_budget(&mut self, budget: usize) {
        self.end = self.start.saturating_add(budget);
    }

    /// Returns the number of bytes that are left of the budget.
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

    /// Returns the buffer that chunks are appended to. The caller checks the [`room`](Self::room) first.
    #[inline]
    pub fn chunks(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Removes all chunks.
    pub fn clear(&mut self) {
        self.out.truncate(self.start.saturating_add(PACKET_HEADER_LEN));
    }

    /// Fills in the checksum. Returns the length of the packet; a packet without chunks is removed, and its length is
    /// 0.
    #[inline]
    pub fn finish(self) -> usize {
        self.finish_with(seal)
    }

    /// Completes the packet like [`finish`](Self::finish), but leaves its checksum 0 (RFC 9653 §5.2).
    #[inline]
    pub fn finish_without_checksum(self) -> usize {
        self.finish_with(|_| ())
    }

    #[inline]
    fn finish_with(self, complete: impl FnOnce(&mut [u8])) -> usize {
        let len = self.out.len().saturating_sub(self.start);
        if len <= PACKET_HEADER_LEN {
            self.out.truncate(self.start);
            return 0;
        }
        if let Some(packet) = self.out.get_mut(self.start..) {
            complete(packet);
            trace_chunks("sent", packet);
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::super::{encode_cookie_ack, has_zero_checksum, is_checksum_valid};
    use super::*;

    const HEADER: PacketHeader =
        PacketHeader { source_port: 5000, destination_port: 5001, verification_tag: 0x0102_0304 };

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
    fn a_packet_without_a_checksum_differs_in_those_four_bytes_alone() {
        let write = |is_sealed: bool| {
            let mut out = Vec::new();
            let mut packet = PacketWriter::begin(&HEADER, 24, &mut out);
            encode_cookie_ack(packet.chunks());
            assert_eq!(if is_sealed { packet.finish() } else { packet.finish_without_checksum() }, 16);
            out
        };
        let (mut sealed, unsealed) = (write(true), write(false));
        assert!(has_zero_checksum(&unsealed) && !is_checksum_valid(&unsealed));
        sealed[8..12].fill(0);
        assert_eq!(sealed, unsealed);
        let mut out = vec![7];
        assert_eq!(PacketWriter::begin(&HEADER, 24, &mut out).finish_without_checksum(), 0);
        assert_eq!(out, [7]);
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
}
