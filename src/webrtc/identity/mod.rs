//! Identity of an endpoint: a key, and the certificate by which its peers know the endpoint.

mod certificate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding, SecretDocument};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode, EncodePem};

use super::Fingerprint;

const KEY_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// A private key (ECDSA on P-256, which every browser accepts) and its self-signed certificate.
///
/// Peers know an endpoint by the [fingerprint](Self::fingerprint) of its certificate, so an identity should live as
/// long as the tickets and pages that name it. Keep the identity in a file with
/// [`load_or_create`](Self::load_or_create), or let every node of a service create the same one [from a
/// seed](Self::from_seed). [`generate`](Self::generate) creates a new one each time.
///
/// Clones share one key.
#[derive(Clone)]
pub struct Identity {
    /// PKCS #8, DER.
    key: Arc<SecretDocument>,
    /// X.509, DER.
    certificate: Arc<[u8]>,
    fingerprint: Fingerprint,
}

/// Reason why an [`Identity`] could not be loaded or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is there, but cannot be read.
    #[error("cannot read the identity {path} ({source}): it must be a file of text that this user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not there, and cannot be written.
    #[error(
        "cannot create the identity {path} ({source}): its folder must exist, and this user must be able to write there"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not an identity.
    #[error("{path} is not an identity: {error}; correct it, or move it away to have a new one made")]
    File {
        /// The file.
        path: PathBuf,
        /// The error in the PEM text.
        #[source]
        error: PemError,
    },
    /// The text is not an identity.
    #[error("not an identity: {0}")]
    Pem(#[from] PemError),
    /// The system provides no random numbers.
    #[error("the system has no randomness to make a key of: let this process call getrandom")]
    Randomness,
    /// The certificate could not be created.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

/// Error in a PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is no private key.
    #[error("there is no \"BEGIN PRIVATE KEY\" section (PKCS #8, without a passphrase)")]
    NoKey,
    /// There is no certificate.
    #[error("there is no \"BEGIN CERTIFICATE\" section")]
    NoCertificate,
    /// There is more than one key or certificate, or anything else.
    #[error("there must be one private key and one certificate, and no other section")]
    Sections,
    /// The key cannot be read, or is of another kind.
    #[error("the private key is damaged, or not an ECDSA key on the curve P-256")]
    Key,
    /// The certificate cannot be read.
    #[error("the certificate is damaged")]
    Certificate,
    /// Key and certificate do not belong together.
    #[error("the certificate is not that of the private key")]
    Mismatch,
}

impl Identity {
    /// Creates the identity that belongs to a seed: the same key and the same certificate hash on every node, after
    /// every restart and in every version of this crate.
    ///
    /// The seed *is* the private key. It must be 32 bytes that nobody can guess, from a secret store for example, and
    /// never a password or a name.
    ///
    /// # Errors
    ///
    /// The certificate cannot be created, which does not depend on the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        Self::from_key(&certificate::key_from_seed(seed))
    }

    /// Reads a private key (PKCS #8, ECDSA on P-256) and its certificate from PEM, in any order. The certificate may be
    /// any that has this key; only its hash counts.
    ///
    /// # Errors
    ///
    /// The text is anything but one key and its certificate.
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        Ok(Self::parse(text)?)
    }

    /// Returns the private key and the certificate in PEM. Anyone who has this text can pose as this endpoint.
    ///
    /// # Errors
    ///
    /// Only if this identity was damaged in memory.
    pub fn to_pem(&self) -> Result<String, IdentityError> {
        let key = self.key.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| PemError::Key)?;
        let certificate = Certificate::from_der(&self.certificate).map_err(|_| PemError::Certificate)?;
        let certificate = certificate.to_pem(LineEnding::LF).map_err(|_| PemError::Certificate)?;
        Ok(format!("{}{certificate}", key.as_str()))
    }

    /// Returns the fingerprint by which peers know this endpoint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the certificate in DER (X.509).
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// Returns the private key in DER (PKCS #8), for the DTLS handshake.
    pub(crate) fn key_der(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// Creates the identity with this key. Returns `None` if the bytes are not a key, which is the case for one value
    /// in four thousand million.
    pub(crate) fn from_secret(bytes: &[u8; 32]) -> Option<Result<Self, IdentityError>> {
        Some(Self::from_key(&SecretKey::from_slice(bytes).ok()?))
    }

    fn from_key(key: &SecretKey) -> Result<Self, IdentityError> {
        let failed = |error: &dyn fmt::Display| IdentityError::Certificate(error.to_string());
        let certificate = certificate::self_signed(key).map_err(|error| failed(&error))?;
        let certificate = certificate.to_der().map_err(|error| failed(&error))?;
        let key = key.to_pkcs8_der().map_err(|error| failed(&error))?;
        Ok(Self::new(key, certificate))
    }

    fn new(key: SecretDocument, certificate: Vec<u8>) -> Self {
        let fingerprint = Fingerprint::of(&certificate);
        Self { key: Arc::new(key), certificate: certificate.into(), fingerprint }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, PemError> {
        let (key, certificate) = sections(text)?;
        let secret = SecretKey::from_pkcs8_pem(key).map_err(|_| PemError::Key)?;
        let (label, certificate) =
            x509_cert::der::Document::from_pem(certificate).map_err(|_| PemError::Certificate)?;
        let parsed = Certificate::from_der(certificate.as_bytes()).map_err(|_| PemError::Certificate)?;
        if label != "CERTIFICATE" {
            return Err(PemError::Certificate);
        }
        let public = secret.public_key().to_public_key_der().map_err(|_| PemError::Key)?;
        let certified =
            parsed.tbs_certificate().subject_public_key_info().to_der().map_err(|_| PemError::Certificate)?;
        if certified != public.as_bytes() {
            return Err(PemError::Mismatch);
        }
        let key = secret.to_pkcs8_der().map_err(|_| PemError::Key)?;
        // As it is in the file, not as it would be written: the hash must stay.
        Ok(Self::new(key, certificate.as_bytes().to_vec()))
    }
}

/// Returns the sections with the key and with the certificate.
fn sections(text: &str) -> Result<(&str, &str), PemError> {
    if text.matches("-----BEGIN ").count() > 2 {
        return Err(PemError::Sections);
    }
    let section = |begin| {
        let start = text.find(begin)?;
        let section = text.get(start..)?;
        let end = section.get(1..)?.find("-----BEGIN ").map_or(section.len(), |next| next + 1);
        section.get(..end).map(str::trim_end)
    };
    Ok((section(KEY_BEGIN).ok_or(PemError::NoKey)?, section(CERTIFICATE_BEGIN).ok_or(PemError::NoCertificate)?))
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
