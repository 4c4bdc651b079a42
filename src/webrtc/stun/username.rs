//! What the USERNAME of a connectivity check consists of (RFC 8445 §7.2.2).

use std::ops::RangeInclusive;

/// How long a username fragment may be (RFC 8839 §5.4).
const UFRAG_LEN: RangeInclusive<usize> = 4..=256;

/// The two fragments of a check's user name: whom it is for, and who sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Username<'a> {
    /// The fragment of who receives the check; a server finds the association by it.
    pub(crate) to: &'a str,
    /// The fragment of who sends it.
    pub(crate) from: &'a str,
}

impl<'a> Username<'a> {
    /// Reads `to:from`, both of 4 to 256 ice-chars; a colon is none, so there is exactly one. `None` if it is anything
    /// else.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (to, from) = std::str::from_utf8(value).ok()?.split_once(':')?;
        [to, from].into_iter().all(is_ufrag).then_some(Self { to, from })
    }
}

/// Whether the text may be a username fragment.
pub(crate) fn is_ufrag(text: &str) -> bool {
    UFRAG_LEN.contains(&text.len()) && is_ice_chars(text)
}

/// Whether the text is made of ice-chars alone: letters, digits, `+` and `/` (RFC 8839 §5.1).
pub(crate) fn is_ice_chars(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_two_fragments_of_ice_chars() {
        let longest = "x".repeat(256);
        for (to, from) in [("abcd", "efgh"), ("a+/9", "ZZZZ"), (longest.as_str(), longest.as_str())] {
            assert_eq!(Username::parse(format!("{to}:{from}").as_bytes()), Some(Username { to, from }));
        }
    }

    #[test]
    fn a_user_name_of_any_other_shape_is_none() {
        let long = "x".repeat(257);
        let bad =
            ["", ":", "abcd", "abcd:", ":abcd", "abc:efgh", "abcd:efg", "abcd:efgh:ijkl", "ab-d:efgh", "abcd:ef h"];
        for text in bad.into_iter().map(str::to_owned).chain([format!("{long}:abcd"), format!("abcd:{long}")]) {
            assert_eq!(Username::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Username::parse(b"abcd:\xFFfgh"), None);
        assert_eq!(Username::parse("abcd:éfgh".as_bytes()), None);
    }
}
