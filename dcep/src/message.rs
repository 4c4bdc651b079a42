//! Messages as the application sees them (RFC 8831 §6.6).

use bytes::Bytes;
use narrowboat_sctp::{Payload, Ppid};

use crate::ppid;

/// What travels in place of an empty message, which SCTP cannot carry.
const PLACEHOLDER: Bytes = Bytes::from_static(&[0]);

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Text. What was received is valid UTF-8; what is sent must be.
    Text(Bytes),
    /// Binary data.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The bytes, of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Binary(_) => None,
        }
    }

    /// The bytes, of either kind.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// Bytes in the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Its label and what to send. An empty message becomes one zero byte with a label of its own (RFC 8831 §6.6).
    pub(crate) fn into_wire(self) -> (Ppid, Bytes) {
        match self {
            Self::Text(bytes) if bytes.is_empty() => (ppid::STRING_EMPTY, PLACEHOLDER),
            Self::Binary(bytes) if bytes.is_empty() => (ppid::BINARY_EMPTY, PLACEHOLDER),
            Self::Text(bytes) => (ppid::STRING, bytes),
            Self::Binary(bytes) => (ppid::BINARY, bytes),
        }
    }
}

/// A message that has arrived and was not taken yet.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a> {
    /// True if it is text.
    pub is_text: bool,
    /// Its bytes, which are valid UTF-8 if it is text.
    pub payload: &'a Payload,
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j17_an_empty_message_travels_as_one_zero_byte_with_its_own_label() {
        let zero = Bytes::from_static(&[0]);
        assert_eq!(Message::text("").into_wire(), (Ppid(56), zero.clone()));
        assert_eq!(Message::binary(vec![]).into_wire(), (Ppid(57), zero));
        assert_eq!(Message::text("a").into_wire(), (Ppid(51), Bytes::from_static(b"a")));
        assert_eq!(Message::binary(vec![0]).into_wire(), (Ppid(53), Bytes::from_static(&[0])));
    }

    #[test]
    fn only_text_reads_as_text() {
        assert_eq!(Message::from("hé").as_text(), Some("hé"));
        assert_eq!(Message::from(b"h".to_vec()).as_text(), None);
        assert_eq!(Message::from("hé").len(), 3);
    }
}
