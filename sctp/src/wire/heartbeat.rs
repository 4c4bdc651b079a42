//! HEARTBEAT and HEARTBEAT ACK (RFC 9260 §3.3.5, §3.3.6).

use super::DecodeError;
use super::chunk::{ChunkType, begin_chunk, end_chunk};
use super::param::{ParameterType, Parameters, push_parameter};

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

#[cfg(test)]
mod tests {
    use super::super::testing::{Xorshift, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Xorshift(5);
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
}
