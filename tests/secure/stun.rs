//! Checks as anyone can send them.

/// A Binding request for `username`, with a MESSAGE-INTEGRITY of zeros and a right FINGERPRINT (RFC 8489).
pub(crate) fn forged_check(username: &str) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend([7; 12]);
    let mut attribute = |kind: u16, value: &[u8]| {
        message.extend(kind.to_be_bytes());
        message.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        message.extend(value);
        message.resize(message.len().next_multiple_of(4), 0);
        let length = u16::try_from(message.len() - 20).expect("short");
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0008, &[0; 20]);
    // The CRC covers a length that counts FINGERPRINT.
    attribute(0x8028, &[0; 4]);
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
