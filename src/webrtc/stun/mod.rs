//! STUN messages as ICE uses them: Binding requests and their responses with short-term credentials (RFC 8489, RFC 8445
//! §7).
//!
//! A [`StunMessage`] borrows from its datagram and exists only if length, magic cookie and FINGERPRINT were right, so
//! that whatever else shares the port, and most garbage, never reaches a MAC. Whose message it is, a [`Key`] tells.

mod key;
mod message;
#[cfg(test)]
mod tests;
mod username;
mod writer;

pub(crate) use key::Key;
pub(crate) use message::{Class, StunMessage, TransactionId};
pub(crate) use username::{Username, is_ice_chars, is_peer_ufrag, is_ufrag, is_visible};
pub(crate) use writer::StunWriter;

/// Bytes before the attributes (RFC 8489 §5).
const HEADER_LEN: usize = 20;

/// Tells STUN from everything older (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Mask that the CRC-32 in FINGERPRINT is combined with: "STUN" (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// Bytes of a FINGERPRINT attribute.
const FINGERPRINT_LEN: usize = 8;

/// Bytes of a MESSAGE-INTEGRITY value: those of HMAC-SHA1 (RFC 8489 §14.5).
const MAC_LEN: usize = 20;

/// Bytes of an attribute before its value (RFC 8489 §14).
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1).
mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802A;

    /// Types from here on may be ignored by who does not know them (RFC 8489 §14).
    pub(super) const COMPREHENSION_OPTIONAL: u16 = 0x8000;
}
