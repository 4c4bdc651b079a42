//! Messages as the application sees them (RFC 8831 §6.6).

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use narrowboat_sctp::{Payload, Ppid};

use crate::ppid;

/// The byte that is sent for an empty message, which SCTP cannot carry.
const PLACEHOLDER: Bytes = Bytes::from_static(&[0]);

/// A message of a channel: text or bytes, told apart on the wire by its PPID (RFC 8831 §6.6). Both may be empty.
///
/// The contents are reference-counted: a clone copies no bytes. Text is checked for UTF-8 once, when it becomes a
/// [`ByteString`]: by the application for what it sends, on arrival for what it receives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// UTF-8 text; a JavaScript `string` at a browser's end.
    Text(ByteString),
    /// Bytes; an `ArrayBuffer` or `Blob` at a browser's end.
    Binary(Bytes),
}

/// Kind and length; the contents belong in no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Text(_)) { "Text" } else { "Binary" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

impl Message {
    /// Returns the length of the message in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns `true` if the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Returns the text, or `None` if the message is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the bytes of a message of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the bytes of a message of either kind, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the PPID and the payload to send. An empty message becomes one zero byte with a PPID of its own (RFC
    /// 8831 §6.6).
    pub(crate) fn into_wire(self) -> (Ppid, Bytes) {
        match self {
            Self::Text(text) if text.is_empty() => (ppid::STRING_EMPTY, PLACEHOLDER),
            Self::Binary(bytes) if bytes.is_empty() => (ppid::BINARY_EMPTY, PLACEHOLDER),
            Self::Text(text) => (ppid::STRING, text.into_bytes()),
            Self::Binary(bytes) => (ppid::BINARY, bytes),
        }
    }
}

/// A message that has arrived and was not read yet.
#[derive(Clone, Copy, Debug)]
pub enum UnreadMessage<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes, in the pieces in which they have arrived.
    Binary(&'a Payload),
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j17_an_empty_message_travels_as_one_zero_byte_with_its_own_label() {
        let zero = Bytes::from_static(&[0]);
        assert_eq!(Message::from("").into_wire(), (Ppid(56), zero.clone()));
        assert_eq!(Message::from(vec![]).into_wire(), (Ppid(57), zero));
        assert_eq!(Message::from("a").into_wire(), (Ppid(51), Bytes::from_static(b"a")));
        assert_eq!(Message::from(vec![0]).into_wire(), (Ppid(53), Bytes::from_static(&[0])));
    }

    #[test]
    fn only_text_reads_as_text_and_both_kinds_have_bytes() {
        let cases: [(Message, Option<&str>, &[u8]); 6] = [
            (Message::from("hé"), Some("hé"), "hé".as_bytes()),
            (String::new().into(), Some(""), b""),
            (ByteString::from_static("a").into(), Some("a"), b"a"),
            (vec![0xff, 0].into(), None, &[0xff, 0]),
            (b"ab"[..].into(), None, b"ab"),
            (Bytes::new().into(), None, b""),
        ];
        for (message, text, bytes) in cases {
            assert_eq!(message.as_text(), text);
            assert_eq!(message.as_bytes(), bytes);
            assert_eq!((message.len(), message.is_empty()), (bytes.len(), bytes.is_empty()));
            assert_eq!(message.into_bytes(), bytes);
        }
    }

    #[test]
    fn the_contents_are_in_no_log() {
        assert_eq!(format!("{:?} {:?}", Message::from("hé"), Message::from(vec![1])), "Text(3 bytes) Binary(1 bytes)");
    }
}
