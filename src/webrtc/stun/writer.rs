//! Writing a message (RFC 8489 §5, §14).

use std::net::{IpAddr, SocketAddr};

use super::key::Key;
use super::message::{Class, TransactionId, mask_v6, xor};
use super::username::Username;
use super::{FINGERPRINT_XOR, HEADER_LEN, MAGIC_COOKIE, attribute};

/// Appends one Binding message to a buffer: attributes in the order of the calls, then [`finish`](Self::finish).
///
/// SOFTWARE is never written: it would tell an attacker what to try, and answers are to be small.
#[derive(Debug)]
pub(crate) struct StunWriter<'b> {
    buf: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> StunWriter<'b> {
    /// Begins a message behind what the buffer holds.
    pub(crate) fn new(buf: &'b mut Vec<u8>, class: Class, transaction_id: TransactionId) -> Self {
        let start = buf.len();
        buf.extend_from_slice(&class.binding().to_be_bytes());
        buf.extend_from_slice(&[0, 0]);
        buf.extend_from_slice(&MAGIC_COOKIE);
        buf.extend_from_slice(&transaction_id.0);
        Self { buf, start }
    }

    pub(crate) fn username(mut self, username: Username<'_>) -> Self {
        self.attribute(attribute::USERNAME, &[username.to.as_bytes(), b":", username.from.as_bytes()]);
        self
    }

    pub(crate) fn priority(mut self, priority: u32) -> Self {
        self.attribute(attribute::PRIORITY, &[&priority.to_be_bytes()]);
        self
    }

    pub(crate) fn use_candidate(mut self) -> Self {
        self.attribute(attribute::USE_CANDIDATE, &[]);
        self
    }

    pub(crate) fn controlling(mut self, tiebreaker: u64) -> Self {
        self.attribute(attribute::ICE_CONTROLLING, &[&tiebreaker.to_be_bytes()]);
        self
    }

    pub(crate) fn controlled(mut self, tiebreaker: u64) -> Self {
        self.attribute(attribute::ICE_CONTROLLED, &[&tiebreaker.to_be_bytes()]);
        self
    }

    pub(crate) fn xor_mapped_address(mut self, address: SocketAddr) -> Self {
        let [first, second, ..] = MAGIC_COOKIE;
        let port = xor(address.port().to_be_bytes(), [first, second]);
        match address.ip() {
            IpAddr::V4(ip) => {
                let ip = xor(ip.octets(), MAGIC_COOKIE);
                self.attribute(attribute::XOR_MAPPED_ADDRESS, &[&[0, 1], &port, &ip]);
            }
            IpAddr::V6(ip) => {
                let ip = xor(ip.octets(), mask_v6(self.transaction_id()));
                self.attribute(attribute::XOR_MAPPED_ADDRESS, &[&[0, 2], &port, &ip]);
            }
        }
        self
    }

    /// Writes ERROR-CODE without a phrase: the number suffices, and answers are to be small.
    pub(crate) fn error_code(mut self, code: u16) -> Self {
        let [class, number] = [code / 100, code % 100].map(|part| u8::try_from(part).unwrap_or_default());
        self.attribute(attribute::ERROR_CODE, &[&[0, 0, class, number]]);
        self
    }

    pub(crate) fn unknown_attributes(mut self, types: &[u16]) -> Self {
        let bytes: Vec<u8> = types.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &[&bytes]);
        self
    }

    /// Ends the message: MESSAGE-INTEGRITY if there is a key, and FINGERPRINT.
    pub(crate) fn finish(mut self, key: Option<&Key>) {
        if let Some(mac) = key.and_then(|key| key.sign(self.written())) {
            self.attribute(attribute::MESSAGE_INTEGRITY, &[&mac]);
        }
        // The CRC covers a length that counts FINGERPRINT itself, so the attribute is written first.
        let end = self.buf.len();
        self.attribute(attribute::FINGERPRINT, &[&[0; 4]]);
        let crc = crc32fast::hash(self.buf.get(self.start..end).unwrap_or_default()) ^ FINGERPRINT_XOR;
        if let Some(value) = self.buf.last_chunk_mut::<4>() {
            *value = crc.to_be_bytes();
        }
    }

    fn written(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }

    fn transaction_id(&self) -> TransactionId {
        let id = self.written().get(8..HEADER_LEN).and_then(|id| id.try_into().ok());
        TransactionId(id.unwrap_or_default())
    }

    /// Appends an attribute of a few parts, pads it with zeros, and brings the length in the header up to date. What
    /// this module writes stays far below 65,536 bytes; a length that did not fit would make a message that nobody
    /// takes.
    fn attribute(&mut self, kind: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.buf.extend_from_slice(&kind.to_be_bytes());
        self.buf.extend_from_slice(&u16::try_from(len).unwrap_or_default().to_be_bytes());
        parts.iter().for_each(|part| self.buf.extend_from_slice(part));
        self.buf.resize(self.buf.len() + len.next_multiple_of(4) - len, 0);
        let length = u16::try_from(self.written().len().saturating_sub(HEADER_LEN)).unwrap_or_default();
        if let Some(slot) = self.buf.get_mut(self.start + 2..self.start + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }
}
