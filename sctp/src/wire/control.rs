//! Control chunks of a few bytes: HEARTBEAT and HEARTBEAT ACK (RFC 9260 §3.3.5, §3.3.6), SHUTDOWN, SHUTDOWN ACK and
//! SHUTDOWN COMPLETE (§3.3.8, §3.3.9, §3.3.13), COOKIE ECHO and COOKIE ACK (§3.3.11, §3.3.12), PAD (RFC 4820 §3).

use super::cause::T_BIT;
use super::chunk::{CHUNK_HEADER_LEN, ChunkType, begin_chunk, end_chunk};
use super::param::{ParameterType, Parameters, push_parameter};
use super::{DecodeError, Reader};
use crate::serial::Tsn;

/// Reads the Heartbeat Info, which only its sender can make sense of and which the peer sends back as it is.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+
///       | 4, 5 |      | length      |
///       +------+------+-------------+
///     4 | 1           | length      |
///       +-------------+-------------+
///     8 | info ...                  |
/// ```
///
/// # Errors
///
/// [`DecodeError::BadLength`] if a parameter does not fit, [`DecodeError::MissingParameter`] if there is no info.
pub fn decode_heartbeat(value: &[u8]) -> Result<&[u8], DecodeError> {
    let mut info = None;
    for parameter in Parameters::new(value) {
        let parameter = parameter?;
        if parameter.kind == ParameterType::HEARTBEAT_INFO {
            info = info.or(Some(parameter.value));
        }
    }
    info.ok_or(DecodeError::MissingParameter)
}

/// Appends a HEARTBEAT or HEARTBEAT ACK with this info.
pub fn encode_heartbeat(kind: ChunkType, info: &[u8], out: &mut Vec<u8>) {
    let at = begin_chunk(out, kind, 0);
    push_parameter(out, at, ParameterType::HEARTBEAT_INFO, |out| out.extend_from_slice(info));
    end_chunk(out, at);
}

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

/// Appends a SHUTDOWN COMPLETE, which is a header alone. `reflected`: the Verification Tag of the packet is the one
/// that was received, because the sender knows no other (RFC 9260 §8.4).
pub fn encode_shutdown_complete(reflected: bool, out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::SHUTDOWN_COMPLETE, if reflected { T_BIT } else { 0 });
    end_chunk(out, at);
}

/// Appends a COOKIE ECHO. Its value is the cookie, as it came in the INIT ACK.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+----------- - - - -
///       |  10  |      | length      | cookie ...
///       +------+------+-------------+----------- - - - -
/// ```
pub fn encode_cookie_echo(cookie: &[u8], out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::COOKIE_ECHO, 0);
    out.extend_from_slice(cookie);
    end_chunk(out, at);
}

/// Appends a COOKIE ACK, which is a header alone.
pub fn encode_cookie_ack(out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::COOKIE_ACK, 0);
    end_chunk(out, at);
}

/// Appends a PAD chunk of `len` bytes in all, header included, rounded up to a multiple of four; at least four. It
/// makes a packet as long as a probe of the path wants it.
pub fn encode_pad(len: usize, out: &mut Vec<u8>) {
    let at = begin_chunk(out, ChunkType::PAD, 0);
    out.resize(out.len().saturating_add(len.saturating_sub(CHUNK_HEADER_LEN)), 0);
    end_chunk(out, at);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn a_heartbeat_reads_back_as_written() {
        let mut random = Random(5);
        for kind in [ChunkType::HEARTBEAT, ChunkType::HEARTBEAT_ACK] {
            for _ in 0..200 {
                let info = random.bytes(60);
                let (datagram, raw) = datagram_of(|out| encode_heartbeat(kind, &info, out));
                assert_eq!((raw.kind, raw.flags), (kind, 0));
                assert_eq!(decode_heartbeat(raw.value_in(&datagram)), Ok(&info[..]));
            }
        }
        assert_eq!(
            bytes_of(|out| encode_heartbeat(ChunkType::HEARTBEAT, &[9], out)),
            [4, 0, 0, 9, 0, 1, 0, 5, 9, 0, 0, 0]
        );
    }

    #[test]
    fn the_info_must_be_there_and_fit() {
        assert_eq!(decode_heartbeat(&[]), Err(DecodeError::MissingParameter));
        assert_eq!(decode_heartbeat(&[0, 2, 0, 4]), Err(DecodeError::MissingParameter));
        for bad in [&[0, 1, 0][..], &[0, 1, 0, 3], &[0, 1, 0, 9, 1, 2, 3, 4], &[0, 1, 255, 255]] {
            assert_eq!(decode_heartbeat(bad), Err(DecodeError::BadLength), "{bad:?}");
        }
    }

    #[test]
    fn a_shutdown_reads_back_as_written() {
        let mut random = Random(6);
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

    #[test]
    fn a_cookie_comes_back_as_it_was() {
        let mut random = Random(7);
        for _ in 0..200 {
            let cookie = random.bytes(100);
            let (datagram, raw) = datagram_of(|out| encode_cookie_echo(&cookie, out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::COOKIE_ECHO, 0));
            assert_eq!(raw.value_in(&datagram), cookie);
        }
    }

    #[test]
    fn the_answer_is_a_header_alone() {
        assert_eq!(bytes_of(encode_cookie_ack), [11, 0, 0, 4]);
    }

    #[test]
    fn a_pad_is_as_long_as_it_was_asked_to_be() {
        for len in 0..50 {
            let (datagram, raw) = datagram_of(|out| encode_pad(len, out));
            assert_eq!(raw.kind, ChunkType::PAD);
            assert_eq!(datagram.len() - raw.start, len.div_ceil(4).max(1) * 4);
            assert!(raw.value_in(&datagram).iter().all(|&byte| byte == 0));
        }
    }
}
