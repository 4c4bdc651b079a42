//! USERNAME of a connectivity check (RFC 8445 §7.2.2).

use std::ops::RangeInclusive;

/// Allowed lengths of a username fragment (RFC 8839 §5.4).
const UFRAG_LEN: RangeInclusive<usize> = 4..=256;

/// The two fragments of a check's user name: the one of its recipient, and the one of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Username<'a> {
    /// The fragment of who receives the check; a server finds the association by it.
    pub(crate) to: &'a str,
    /// The fragment of who sends it.
    pub(crate) from: &'a str,
}

impl<'a> Username<'a> {
    /// Reads `to:from`, of 4 to 256 characters each; `None` if it is anything else. The first fragment is one of ours,
    /// so it consists of ice-chars, and the first colon ends it. The second may have any visible characters.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (to, from) = std::str::from_utf8(value).ok()?.split_once(':')?;
        (is_ufrag(to) && is_peer_ufrag(from)).then_some(Self { to, from })
    }
}

/// Returns `true` if the text may be the username fragment of a peer, which may have other characters than RFC 8839
/// §5.4 allows.
pub(crate) fn is_peer_ufrag(text: &str) -> bool {
    UFRAG_LEN.contains(&text.len()) && is_visible(text)
}

/// Returns `true` if the text has no spaces and no control characters.
pub(crate) fn is_visible(text: &str) -> bool {
    // Nearly all are ASCII.
    all_bytes(text, |byte| byte.is_ascii_graphic())
        || text.chars().all(|character| !character.is_whitespace() && !character.is_control())
}

/// True if the text may be a username fragment.
pub(crate) fn is_ufrag(text: &str) -> bool {
    UFRAG_LEN.contains(&text.len()) && is_ice_chars(text)
}

/// True if the text is made of ice-chars alone: letters, digits, `+` and `/` (RFC 8839 §5.1).
pub(crate) fn is_ice_chars(text: &str) -> bool {
    all_bytes(text, |byte| byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/'))
}

/// Returns `true` if all bytes are like this. Looks at all of them: without an early end the compiler takes many at
/// once.
fn all_bytes(text: &str, is_like_this: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is_like_this(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_a_fragment_of_ice_chars_and_one_of_visible_characters() {
        let longest = "x".repeat(256);
        for (to, from) in [("abcd", "efgh"), ("a+/9", "ZZZZ"), (longest.as_str(), longest.as_str())] {
            assert_eq!(Username::parse(format!("{to}:{from}").as_bytes()), Some(Username { to, from }));
        }
        for from in ["a_-=", "efgh:ijkl", "éfgh"] {
            let name = format!("abcd:{from}");
            assert_eq!(Username::parse(name.as_bytes()), Some(Username { to: "abcd", from }), "a peer's fragment");
        }
    }

    #[test]
    fn a_user_name_of_any_other_shape_is_none() {
        let long = "x".repeat(257);
        let bad = ["", ":", "abcd", "abcd:", ":abcd", "abc:efgh", "abcd:efg", "ab-d:efgh", "abcd:ef h"];
        for text in bad.into_iter().map(str::to_owned).chain([format!("{long}:abcd"), format!("abcd:{long}")]) {
            assert_eq!(Username::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Username::parse(b"abcd:\xFFfgh"), None);
        assert_eq!(Username::parse("abcé:efgh".as_bytes()), None);
    }
}
