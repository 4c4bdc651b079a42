//! SHUTDOWN, SHUTDOWN ACK and SHUTDOWN COMPLETE (RFC 9260 §3.3.8, §3.3.9, §3.3.13).

use super::cause::T_BIT;
use super::chunk::{ChunkType, begin_chunk, end_chunk};
use super::{DecodeError, Reader};
use crate::serial::Tsn;

/// The contents of a SHUTDOWN.
///
/// ```text
///  byte 0      1      2             4                    8
///       +------+------+-------------+--------------------+
///       |  7   |      | 8           | cumulative TSN ack |
///       +------+------+-------------+--------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shutdown {
    /// The last TSN that the sender received before the first gap.
    pub cumulative_tsn_ack: Tsn,
}

impl Shutdown {
    /// Bytes of the chunk.
    pub const LEN: usize = 8;

    /// Reads the chunk's value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] or [`DecodeError::BadLength`] if it is not four bytes long.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let cumulative_tsn_ack = Tsn(reader.u32()?);
        reader.finish()?;
        Ok(Self { cumulative_tsn_ack })
    }

    /// Appends the chunk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = begin_chunk(out, ChunkType::SHUTDOWN, 0);
        out.extend_from_slice(&self.cumulative_tsn_ack.0.to_be_bytes());
        end_chunk(out, at);
    }
}

/// Appends a SHUTDOWN ACK, which is a header alone.
pub fn encode_shutdown_ack(out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::SHUTDOWN_ACK, 0);
    end_chunk(out, at);
}

/// Appends a SHUTDOWN COMPLETE, which is a header alone. `reflected`: the Verification Tag of the packet is the one that
/// was received, because the sender knows no other (RFC 9260 §8.4).
pub fn encode_shutdown_complete(reflected: bool, out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::SHUTDOWN_COMPLETE, if reflected { T_BIT } else { 0 });
    end_chunk(out, at);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Xorshift, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Xorshift(6);
        for _ in 0..100 {
            let shutdown = Shutdown { cumulative_tsn_ack: Tsn(random.u32()) };
            let (datagram, raw) = datagram_of(|out| shutdown.encode(out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::SHUTDOWN, 0));
            assert_eq!(datagram.len() - raw.start, Shutdown::LEN);
            assert_eq!(Shutdown::decode(raw.value_in(&datagram)), Ok(shutdown));
        }
    }

    #[test]
    fn a_shutdown_has_its_size() {
        assert_eq!(Shutdown::decode(&[1, 2, 3]), Err(DecodeError::TooShort));
        assert_eq!(Shutdown::decode(&[1, 2, 3, 4, 5]), Err(DecodeError::BadLength));
    }

    #[test]
    fn the_answers_are_headers_alone() {
        assert_eq!(bytes_of(encode_shutdown_ack), [8, 0, 0, 4]);
        assert_eq!(bytes_of(|out| encode_shutdown_complete(false, out)), [14, 0, 0, 4]);
        assert_eq!(bytes_of(|out| encode_shutdown_complete(true, out)), [14, 1, 0, 4]);
    }
}
