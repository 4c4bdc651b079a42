//! Messages as an application sees them.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

/// A message of a channel: text or bytes, told apart on the wire by its PPID (RFC 8831 §6.6). Both may be empty.
///
/// The contents are reference-counted: a clone copies no bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text; a JavaScript `string` at a browser's end.
    Text(ByteString),
    /// Bytes; an `ArrayBuffer` or `Blob` at a browser's end.
    Binary(Bytes),
}

/// Its kind and length; its contents belong in no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Text(_)) { "Text" } else { "Binary" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

impl Message {
    /// Bytes in the message.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is not one byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The bytes of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The bytes of either kind, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    pub(crate) fn from_core(message: narrowboat_dcep::Message) -> Self {
        match message {
            // The layer below has checked the encoding; the check that a `ByteString` makes again cannot fail.
            narrowboat_dcep::Message::Text(bytes) => {
                ByteString::try_from(bytes.clone()).map_or(Self::Binary(bytes), Self::Text)
            }
            narrowboat_dcep::Message::Binary(bytes) => Self::Binary(bytes),
        }
    }

    pub(crate) fn to_core(&self) -> narrowboat_dcep::Message {
        match self {
            Self::Text(text) => narrowboat_dcep::Message::Text(text.as_bytes().clone()),
            Self::Binary(bytes) => narrowboat_dcep::Message::Binary(bytes.clone()),
        }
    }
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
    fn text_stays_text_and_bytes_stay_bytes_on_the_way_down_and_up() {
        for message in
            [Message::from("häuser"), String::new().into(), Bytes::new().into(), vec![0xff, 0].into(), b"ab"[..].into()]
        {
            assert_eq!(Message::from_core(message.to_core()), message);
            assert_eq!(message.as_bytes().len(), message.len());
        }
    }
}
