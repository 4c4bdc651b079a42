//! User name fragment and password of an agent (RFC 8445 §5.3, RFC 8839 §5.4).

use std::fmt;
use std::ops::RangeInclusive;

use rand::Rng;

use crate::webrtc::stun::{is_ice_chars, is_peer_ufrag, is_ufrag, is_visible};

/// The ice-chars, 64 of them: six bits each (RFC 8839 §5.1).
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of a fragment of ours. 24 bits of randomness are demanded (RFC 8445 §5.3); 48 keep 10,000 associations of
/// one endpoint apart, because datagrams are routed by it.
const UFRAG_CHARS: usize = 8;

/// Characters of a password of ours: 144 bits, where 128 are demanded.
const PWD_CHARS: usize = 24;

/// Allowed lengths of a password (RFC 8839 §5.4).
pub(crate) const PWD_LEN: RangeInclusive<usize> = 22..=256;

/// Username fragment and password of an agent. Checks towards the agent are addressed to the fragment, and signed with
/// the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    ufrag: Box<str>,
    pwd: Box<str>,
}

/// Reason why two texts are not credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("an ICE user name fragment has 4 to 256 characters, none of them a space")]
    Ufrag,
    #[error("an ICE password has 22 to 256 characters, none of them a space")]
    Pwd,
}

impl Credentials {
    /// Takes what a peer chose. RFC 8839 §5.4 allows letters, digits, `+` and `/`; other characters are accepted too,
    /// because a fragment and a password are compared and hashed as they are.
    pub(crate) fn new(ufrag: &str, pwd: &str) -> Result<Self, CredentialsError> {
        if !is_peer_ufrag(ufrag) {
            return Err(CredentialsError::Ufrag);
        }
        if !PWD_LEN.contains(&pwd.len()) || !is_visible(pwd) {
            return Err(CredentialsError::Pwd);
        }
        Ok(Self { ufrag: ufrag.into(), pwd: pwd.into() })
    }

    /// Takes what has been found valid before.
    pub(crate) fn from_valid(ufrag: &str, pwd: &str) -> Self {
        debug_assert!(is_ufrag(ufrag) && is_pwd(pwd), "{ufrag:?} or its password is not valid");
        Self { ufrag: ufrag.into(), pwd: pwd.into() }
    }

    /// Chooses new ones. The source must be unpredictable: the password keeps strangers' checks out.
    pub(crate) fn generate(rng: &mut impl Rng) -> Self {
        Self { ufrag: ice_chars(rng, UFRAG_CHARS), pwd: ice_chars(rng, PWD_CHARS) }
    }

    pub(crate) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    pub(crate) fn pwd(&self) -> &str {
        &self.pwd
    }
}

/// Without the password: it would end up in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// True if the text may be a password.
pub(crate) fn is_pwd(text: &str) -> bool {
    PWD_LEN.contains(&text.len()) && is_ice_chars(text)
}

fn ice_chars(rng: &mut impl Rng, len: usize) -> Box<str> {
    let one = |_| {
        let [byte, ..] = rng.next_u32().to_le_bytes();
        ICE_CHARS.get(usize::from(byte % 64)).map_or('A', |byte| char::from(*byte))
    };
    (0..len).map(one).collect::<String>().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn generated_credentials_are_valid_different_and_use_every_character() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut seen = BTreeSet::new();
        let mut characters = BTreeSet::new();
        for _ in 0..1_000 {
            let credentials = Credentials::generate(&mut rng);
            assert_eq!(Credentials::new(credentials.ufrag(), credentials.pwd()).as_ref(), Ok(&credentials));
            characters.extend(credentials.pwd().chars());
            assert!(seen.insert(credentials.ufrag().to_owned()), "a fragment came twice");
        }
        assert_eq!(characters.len(), 64);
    }

    #[test]
    fn credentials_of_wrong_length_or_with_spaces_are_refused() {
        let pwd = "x".repeat(22);
        for ufrag in ["", "abc", "ab d", "ab\u{7f}d", "ab\u{a0}cd", &"x".repeat(257)] {
            assert_eq!(Credentials::new(ufrag, &pwd), Err(CredentialsError::Ufrag), "{ufrag}");
        }
        for pwd in ["", &"x".repeat(21), &"x".repeat(257), "xxxxxxxxxxxxx\u{0}xxxxxxxxxxxxx"] {
            assert_eq!(Credentials::new("abcd", pwd), Err(CredentialsError::Pwd), "{pwd}");
        }
        assert!(Credentials::new(&"x".repeat(256), &"x".repeat(256)).is_ok());
        assert!(Credentials::new("a:_-é", &"!\"~=-_.:{}".repeat(3)).is_ok(), "characters that RFC 8839 does not allow");
    }

    #[test]
    fn the_password_is_not_printed() {
        let credentials = Credentials::new("abcd", "secretsecretsecretsecret").expect("valid");
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
