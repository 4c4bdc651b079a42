//! The values of the attributes that count.

use base64ct::{Base64, Base64Unpadded, Encoding};

use super::error::SdpProblem;
use super::{MAX_MESSAGE_SIZE_ANY, MAX_MESSAGE_SIZE_DEFAULT};
use crate::webrtc::{Fingerprint, FingerprintError};

/// `a=sctp-port` (RFC 8841 §5.1). Port 0 would close the association (§5.2), which has not begun.
pub(super) fn sctp_port(value: &str) -> Result<u16, SdpProblem> {
    let port = number(value).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(SdpProblem::SctpPort)
}

/// `a=max-message-size` (RFC 8841 §6.1); nothing is 64 KiB, and zero is no limit.
pub(super) fn max_message_size(value: Option<&str>) -> Result<u64, SdpProblem> {
    match value.map(number) {
        None => Ok(MAX_MESSAGE_SIZE_DEFAULT),
        Some(Some(0)) => Ok(MAX_MESSAGE_SIZE_ANY),
        Some(Some(size)) => Ok(size),
        Some(None) => Err(SdpProblem::MaxMessageSize),
    }
}

/// `a=fingerprint` (RFC 8122 §5): a hash of SHA-256, or `None` for another function's, which nobody need know.
pub(super) fn fingerprint(value: &str) -> Result<Option<Fingerprint>, SdpProblem> {
    // The other spellings of a fingerprint are not SDP's.
    if !value.contains(' ') {
        return Err(FingerprintError::Spelling.into());
    }
    match value.parse() {
        Ok(fingerprint) => Ok(Some(fingerprint)),
        Err(FingerprintError::Function(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `a=sctp-init` (draft-hancke-tsvwg-snap §4.2): base64, which RFC 8866 §9 pads and some do not.
pub(super) fn sctp_init(value: &str) -> Result<Vec<u8>, SdpProblem> {
    let decoded = if value.ends_with('=') { Base64::decode_vec(value) } else { Base64Unpadded::decode_vec(value) };
    decoded.ok().filter(|chunk| !chunk.is_empty()).ok_or(SdpProblem::SctpInit)
}

pub(super) fn write_sctp_init(chunk: &[u8]) -> String {
    Base64::encode_string(chunk)
}

/// `a=mid` (RFC 5888 §4): a token (RFC 8866 §9).
pub(super) fn mid(value: &str) -> Result<&str, SdpProblem> {
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_token) { Ok(value) } else { Err(SdpProblem::Mid) }
}

/// Decimal digits without leading zeros.
fn number(value: &str) -> Option<u64> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    is_number.then(|| value.parse().ok()).flatten()
}
