//! The values of the attributes that count.

use base64ct::{Base64, Base64Unpadded, Encoding};

use super::error::SdpProblem;
use super::{MAX_MESSAGE_SIZE_ANY, MAX_MESSAGE_SIZE_DEFAULT};

/// Parses `a=sctp-port` (RFC 8841 §5.1). Port 0 would close the association (§5.2), which has not begun.
pub(super) fn sctp_port(value: &str) -> Result<u16, SdpProblem> {
    let port = number(value).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(SdpProblem::SctpPort)
}

/// Parses `a=max-message-size` (RFC 8841 §6.1). Without the attribute the limit is 64 KiB; zero means no limit.
pub(super) fn max_message_size(value: Option<&str>) -> Result<u64, SdpProblem> {
    match value.map(number) {
        None => Ok(MAX_MESSAGE_SIZE_DEFAULT),
        Some(Some(0)) => Ok(MAX_MESSAGE_SIZE_ANY),
        Some(Some(size)) => Ok(size),
        Some(None) => Err(SdpProblem::MaxMessageSize),
    }
}

/// Parses `a=sctp-init` (draft-hancke-tsvwg-snap §4.2): base64, which RFC 8866 §9 pads and some do not. `None` for
/// anything else.
pub(super) fn sctp_init(value: &str) -> Option<Vec<u8>> {
    let decoded = if value.ends_with('=') { Base64::decode_vec(value) } else { Base64Unpadded::decode_vec(value) };
    decoded.ok().filter(|chunk| !chunk.is_empty())
}

pub(super) fn write_sctp_init(chunk: &[u8]) -> String {
    Base64::encode_string(chunk)
}

/// Parses `a=mid` (RFC 5888 §4): one word, of whatever characters, because it is only repeated.
pub(super) fn mid(value: &str) -> Result<&str, SdpProblem> {
    let is_word = !value.is_empty() && !value.contains(|character: char| character.is_whitespace());
    if is_word { Ok(value) } else { Err(SdpProblem::Mid) }
}

/// Parses decimal digits. Leading zeros do not change the number.
fn number(value: &str) -> Option<u64> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().ok()).flatten()
}
