//! Checks as anyone can send them.

use hmac::{Hmac, KeyInit, Mac};

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802A;

/// A Binding request for `username`, with a MESSAGE-INTEGRITY of zeros and a right FINGERPRINT (RFC 8489).
pub(crate) fn forged_check(username: &str) -> Vec<u8> {
    let mut message = request();
    add(&mut message, USERNAME, username.as_bytes());
    add(&mut message, MESSAGE_INTEGRITY, &[0; 20]);
    with_fingerprint(message)
}

/// A check as the peer sends it that knows the password of this end (RFC 8445 §7.1, §7.2.2).
pub(crate) fn signed_check(username: &str, password: &str) -> Vec<u8> {
    let mut message = request();
    add(&mut message, USERNAME, username.as_bytes());
    add(&mut message, PRIORITY, &[110, 0, 1, 255]);
    add(&mut message, ICE_CONTROLLING, &[7; 8]);
    // The MAC covers the message before its attribute, with a length that counts the attribute.
    add(&mut message, MESSAGE_INTEGRITY, &[0; 20]);
    let end = message.len() - 24;
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(password.as_bytes()).expect("any length");
    mac.update(message.get(..end).unwrap_or_default());
    message.truncate(end + 4);
    message.extend(mac.finalize().into_bytes());
    with_fingerprint(message)
}

fn request() -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend([7; 12]);
    message
}

fn add(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u16::try_from(message.len() - 20).expect("short");
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    // The CRC covers a length that counts FINGERPRINT.
    add(&mut message, FINGERPRINT, &[0; 4]);
    let end = message.len() - 8;
    let crc = crc32(message.get(..end).unwrap_or_default()) ^ 0x5354_554E;
    message.truncate(end + 4);
    message.extend(crc.to_be_bytes());
    message
}

/// The CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
