//! A hash of a certificate as a description announces it (RFC 8122 §5).

use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a peer's certificate, of one of the functions that are known here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CertificateHash {
    /// SHA-256, which all implementations of WebRTC write (RFC 8829 §5.2.1).
    Sha256([u8; 32]),
    Sha384([u8; 48]),
    Sha512([u8; 64]),
}

/// Reason why the value of `a=fingerprint` is not a [`CertificateHash`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CertificateHashError {
    /// A hash function that is not known here.
    Function,
    /// Not a function and as many bytes as it has, in hexadecimal with colons.
    Spelling,
}

impl CertificateHash {
    /// Reads the value of `a=fingerprint`: `sha-256 AA:BB:…`. Neither the function nor the digits have a case.
    pub(crate) fn parse(value: &str) -> Result<Self, CertificateHashError> {
        let (function, digits) = value.trim().split_once(' ').ok_or(CertificateHashError::Spelling)?;
        let digits = digits.trim_start();
        let is = |name: &str| function.eq_ignore_ascii_case(name);
        let hash = if is("sha-256") {
            bytes(digits).map(Self::Sha256)
        } else if is("sha-384") {
            bytes(digits).map(Self::Sha384)
        } else if is("sha-512") {
            bytes(digits).map(Self::Sha512)
        } else {
            return Err(CertificateHashError::Function);
        };
        hash.ok_or(CertificateHashError::Spelling)
    }

    /// Returns `true` if it is the hash of this certificate, which is in DER.
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        match self {
            Self::Sha256(hash) => hash[..] == Sha256::digest(certificate)[..],
            Self::Sha384(hash) => hash[..] == Sha384::digest(certificate)[..],
            Self::Sha512(hash) => hash[..] == Sha512::digest(certificate)[..],
        }
    }

    /// Returns the place of the function in the order of preference, the lowest first. RFC 8122 §5 leaves the order
    /// open; SHA-256 comes first because every implementation of WebRTC makes and checks it.
    pub(crate) fn preference(&self) -> u8 {
        match self {
            Self::Sha256(_) => 0,
            Self::Sha384(_) => 1,
            Self::Sha512(_) => 2,
        }
    }
}

/// Parses `N` bytes of two hexadecimal digits each, with colons between them.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let byte = |part: &str| {
        let is_byte = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_byte.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    let bytes: Option<Vec<u8>> = digits.split(':').take(N + 1).map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes of no bytes at all.
    const EMPTY: [&str; 3] = [
        "SHA-256 E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55",
        "sha-384 38:b0:60:a7:51:ac:96:38:4c:d9:32:7e:b1:b1:e3:6a:21:fd:b7:11:14:be:07:43:4c:0c:c7:bf:63:f6:e1:da:27:4e:\
         de:bf:e7:6f:65:fb:d5:1a:d2:f1:48:98:b9:5b",
        "sha-512 cf:83:e1:35:7e:ef:b8:bd:f1:54:28:50:d6:6d:80:07:d6:20:e4:05:0b:57:15:dc:83:f4:a9:21:d3:6c:e9:ce:47:d0:\
         d1:3c:5d:85:f2:b0:ff:83:18:d2:87:7e:ec:2f:63:b9:31:bd:47:41:7a:81:a5:38:32:7a:f9:27:da:3e",
    ];

    #[test]
    fn the_hash_of_each_function_matches_its_certificate_and_no_other() {
        for (preference, text) in (0..).zip(EMPTY) {
            let hash = CertificateHash::parse(text).expect(text);
            assert!(hash.matches(&[]) && !hash.matches(&[0]), "{text}");
            assert_eq!(hash.preference(), preference);
            assert_eq!(CertificateHash::parse(&text.to_uppercase()), Ok(hash), "digits have no case");
        }
    }

    #[test]
    fn a_hash_of_another_function_length_or_spelling_is_refused() {
        use CertificateHashError::{Function, Spelling};
        let [sha_256, sha_384, sha_512] = EMPTY;
        for (text, error) in [
            (sha_256.replace("SHA-256", "sha-1"), Function),
            (sha_256.replace("SHA-256", "sha-512"), Spelling),
            (sha_384.replace("sha-384", "sha-256"), Spelling),
            (format!("{sha_512}:00"), Spelling),
            (sha_512.replace(":3e", ""), Spelling),
            (sha_512.replace(":3e", ":3"), Spelling),
            (sha_512.replace(":3e", ":+3"), Spelling),
            (sha_256.replace(':', ""), Spelling),
            ("sha-256".to_owned(), Spelling),
            ("sha-256 ".to_owned(), Spelling),
            (String::new(), Spelling),
        ] {
            assert_eq!(CertificateHash::parse(&text), Err(error), "{text}");
        }
    }
}
