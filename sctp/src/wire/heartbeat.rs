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
/// [`DecodeError::BadLength`] if the parameter does not fit, [`DecodeError::MissingParameter`] if there is none.
pub fn decode_heartbeat(value: &[u8]) -> Result<&[u8], DecodeError> {
    for parameter in Parameters::new(value) {
        let parameter = parameter?;
        if parameter.kind == ParameterType::HEARTBEAT_INFO {
            return Ok(parameter.value);
        }
    }
    Err(DecodeError::MissingParameter)
}

/// Appends a HEARTBEAT or HEARTBEAT ACK with this info.
pub fn encode_heartbeat(kind: ChunkType, info: &[u8], out: &mut Vec<u8>) {
    let at = begin_chunk(out, kind, 0);
    push_parameter(out, at, ParameterType::HEARTBEAT_INFO, |out| out.extend_from_slice(info));
    end_chunk(out, at);
}
