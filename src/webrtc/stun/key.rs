//! MESSAGE-INTEGRITY (RFC 8489 §14.5).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::MAC_LEN;
use super::message::StunMessage;

/// The key that a password makes (RFC 8489 §9.1.1), ready for use: the two blocks of HMAC that depend on nothing else
/// are computed once.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha1>);

impl Key {
    /// Creates a key. A password of ICE needs no preparation: it is ASCII (RFC 8839 §5.4).
    pub(crate) fn new(password: &str) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self(Hmac::new_from_slice(password.as_bytes()).expect("a key of any length"))
    }

    /// Returns `true` if the message carries a MESSAGE-INTEGRITY that was made with this key. Takes the same time
    /// wherever the two differ.
    pub(crate) fn has_signed(&self, message: &StunMessage<'_>) -> bool {
        let Some((signed, mac)) = message.integrity() else { return false };
        self.over(signed).is_some_and(|computed| computed.verify_slice(mac).is_ok())
    }

    /// Computes the MAC over a message that ends where MESSAGE-INTEGRITY begins.
    pub(super) fn sign(&self, message: &[u8]) -> Option<[u8; MAC_LEN]> {
        Some(self.over(message)?.finalize().into_bytes().into())
    }

    /// Starts the MAC over a message. The length in the header counts as if MESSAGE-INTEGRITY were the last attribute,
    /// even if others follow it.
    fn over(&self, message: &[u8]) -> Option<Hmac<Sha1>> {
        let (kind, rest) = message.split_first_chunk::<2>()?;
        let (_, after_length) = rest.split_first_chunk::<2>()?;
        let length = message.len() + super::ATTRIBUTE_HEADER_LEN + MAC_LEN - super::HEADER_LEN;
        let mut mac = self.0.clone();
        mac.update(kind);
        mac.update(&u16::try_from(length).ok()?.to_be_bytes());
        mac.update(after_length);
        Some(mac)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
