//! COOKIE ECHO and COOKIE ACK (RFC 9260 §3.3.11, §3.3.12).

use super::chunk::{ChunkType, begin_chunk, end_chunk};

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
