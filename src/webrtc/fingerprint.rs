//! Fingerprints of certificates, and their three spellings.

use std::fmt::{self, Write};
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

/// A multihash begins with the function, SHA-256, and the length of what follows.
const MULTIHASH_SHA256: [u8; 2] = [0x12, 32];

/// Multibase: what follows is base64url without padding.
const MULTIBASE_BASE64URL: char = 'u';

/// SHA-256 hash of a certificate in DER, which a peer pins instead of trusting an authority.
///
/// It has three usual spellings, all of which [`FromStr`] reads:
///
/// | where | looks like | written by |
/// | --- | --- | --- |
/// | SDP (RFC 8122 §5) | `sha-256 02:C7:55:…` | [`Display`](fmt::Display) |
/// | command lines | `02c755…`, 64 digits | [`to_hex`](Self::to_hex) |
/// | libp2p's `/certhash/` | `uEiAC…`, multibase of a multihash | [`to_certhash`](Self::to_certhash) |
///
/// ```
/// use narrowboat::Fingerprint;
///
/// let text = "02c755e075351765a7a4cd59738d135f0c9167d06fc17ac7417ef55a392f8913";
/// let fingerprint: Fingerprint = text.parse()?;
/// assert_eq!(fingerprint.to_certhash(), "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw");
/// assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
/// # Ok::<_, narrowboat::error::FingerprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Reason why a text is not a [`Fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// None of the three spellings.
    #[error(
        "not a certificate hash: write 64 hexadecimal digits, \"sha-256 AA:BB:…\" with 32 bytes, or a certhash that \
         begins with \"uEi\""
    )]
    Spelling,
    /// SDP's spelling, but of another hash function.
    #[error("the hash function {0:?} is not supported: use the certificate's sha-256 fingerprint")]
    Function(String),
    /// A certhash in another multibase, or of another hash function.
    #[error("the certhash is not SHA-256 in base64url: one that is begins with \"uEi\" and has 47 characters")]
    Certhash,
}

impl Fingerprint {
    /// Computes the fingerprint of a certificate, given in DER.
    #[must_use]
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(Sha256::digest(certificate_der).into())
    }

    /// Creates the fingerprint with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Returns 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn to_hex(self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            write!(text, "{byte:02x}").ok(); // Writing to a String does not fail.
        }
        text
    }

    /// Returns the text that libp2p's multiaddresses carry after `/certhash/`.
    #[must_use]
    pub fn to_certhash(self) -> String {
        let multihash: Vec<u8> = MULTIHASH_SHA256.into_iter().chain(self.0).collect();
        format!("{MULTIBASE_BASE64URL}{}", Base64UrlUnpadded::encode_string(&multihash))
    }

    fn from_sdp(function: &str, bytes: &str) -> Result<Self, FingerprintError> {
        if !function.eq_ignore_ascii_case("sha-256") {
            return Err(FingerprintError::Function(function.to_owned()));
        }
        Self::from_parts(bytes.split(':'))
    }

    fn from_certhash(text: &str) -> Result<Self, FingerprintError> {
        let encoded = text.strip_prefix(MULTIBASE_BASE64URL).ok_or(FingerprintError::Certhash)?;
        let multihash = Base64UrlUnpadded::decode_vec(encoded).map_err(|_| FingerprintError::Certhash)?;
        let hash = multihash.strip_prefix(&MULTIHASH_SHA256).ok_or(FingerprintError::Certhash)?;
        hash.try_into().map(Self).map_err(|_| FingerprintError::Certhash)
    }

    fn from_hex(text: &str) -> Result<Self, FingerprintError> {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        Self::from_parts(pairs)
    }

    /// Parses parts that are one byte each, in exactly two hexadecimal digits.
    fn from_parts<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Self, FingerprintError> {
        let byte = |part: &str| {
            let is_byte = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_byte.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        };
        let bytes: Option<Vec<u8>> = parts.map(byte).take(33).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(FingerprintError::Spelling)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((function, bytes)) = text.split_once(' ') {
            Self::from_sdp(function, bytes)
        } else if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Self::from_hex(text)
        } else if text.starts_with(MULTIBASE_BASE64URL) {
            Self::from_certhash(text)
        } else {
            Err(FingerprintError::Spelling)
        }
    }
}

/// The spelling of SDP: `sha-256 AA:BB:…` (RFC 8122 §5).
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256")?;
        for (byte, before) in self.0.iter().zip(std::iter::once(' ').chain(std::iter::repeat(':'))) {
            write!(f, "{before}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "sha-256 \
        CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72";
    const HEX: &str = "cfd4375d701436995c805b75c4cb6add0c482c6defeae15863e8e16d3d788372";

    #[test]
    fn the_three_spellings_are_read_and_written() {
        let fingerprint: Fingerprint = SDP.parse().expect("SDP");
        assert_eq!(fingerprint.to_string(), SDP);
        assert_eq!(fingerprint.to_hex(), HEX);
        let certhash = fingerprint.to_certhash();
        assert!(certhash.starts_with("uEi") && certhash.len() == 47, "{certhash}");
        for text in [HEX, &HEX.to_uppercase(), &certhash, &SDP.to_lowercase(), &SDP.replace("sha", "SHA")] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        assert_eq!(Fingerprint::from_bytes(fingerprint.to_bytes()), fingerprint);
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_the_certificate() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Fingerprint::of(&[]).to_hex(), empty);
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let fingerprint: Fingerprint = HEX.parse().expect("hexadecimal");
        let certhash = fingerprint.to_certhash();
        let sha_1 = FingerprintError::Function("sha-1".to_owned());
        for (text, error) in [
            (String::new(), FingerprintError::Spelling),
            (HEX[1..].to_owned(), FingerprintError::Spelling),
            (format!("{HEX}00"), FingerprintError::Spelling),
            (HEX.replace('c', "g"), FingerprintError::Spelling),
            (HEX.replacen("cf", "+f", 1), FingerprintError::Spelling),
            (format!("é{}", &HEX[2..]), FingerprintError::Spelling),
            (SDP.replace("sha-256 ", "sha-256  "), FingerprintError::Spelling),
            (format!("{SDP}:00"), FingerprintError::Spelling),
            (SDP[..SDP.len() - 3].to_owned(), FingerprintError::Spelling),
            (SDP.replace(":D4", ":4"), FingerprintError::Spelling),
            (SDP.replace("sha-256", "sha-1"), sha_1),
            (certhash.replacen('u', "z", 1), FingerprintError::Spelling),
            (certhash[..46].to_owned(), FingerprintError::Certhash),
            (format!("{certhash}A"), FingerprintError::Certhash),
            (certhash.replacen("uEi", "uEj", 1), FingerprintError::Certhash),
            (certhash.replacen("uEi", "uFi", 1), FingerprintError::Certhash),
            (format!("{certhash}="), FingerprintError::Certhash),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text}");
        }
    }
}
