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

#[cfg(test)]
mod tests {
    use super::super::testing::{Xorshift, bytes_of, datagram_of};
    use super::*;

    #[test]
    fn a_cookie_comes_back_as_it_was() {
        let mut random = Xorshift(7);
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
}
