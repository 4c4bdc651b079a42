//! The certificate that a key signs for itself (RFC 5280), and the key that a seed makes.

use hmac::{Hmac, KeyInit, Mac};
use p256::SecretKey;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::{DateTime, Decode};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

/// Name of both issuer and subject. Nobody reads it; a certificate is identified by its hash.
const SUBJECT: &str = "CN=narrowboat";

/// Keeps a seed that is used elsewhere too from giving the same bytes there.
const SEED_LABEL: &[u8] = b"narrowboat identity 1: ECDSA P-256 key";

/// Bytes of a serial number; 20 are the most (RFC 5280 §4.1.2.2).
const SERIAL_LEN: usize = 16;

/// Derives the key that belongs to a seed: HMAC-SHA256 of a counter, the first value that is a scalar of the curve. All
/// but one value in four thousand million are.
pub(super) fn key_from_seed(seed: &[u8; 32]) -> SecretKey {
    let candidate = |counter: u32| {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(seed).expect("a key of any length");
        let bytes = mac.chain_update(SEED_LABEL).chain_update(counter.to_be_bytes()).finalize().into_bytes();
        SecretKey::from_slice(&bytes).ok()
    };
    #[expect(clippy::expect_used, reason = "nearly every value is a scalar of the curve")]
    (0..=u32::MAX).find_map(candidate).expect("one value of four thousand million is in range")
}

/// Creates a certificate that depends on the key alone: names and dates are fixed, the serial number is of the public
/// key, and the signature is deterministic (RFC 6979, which is what this signer does).
///
/// The serial number differs from key to key because a client may refuse a second certificate of the same issuer and
/// number. It is valid until 9999-12-31, which is how RFC 5280 §4.1.2.5 writes "for ever": peers pin the hash, and no
/// clock has a say.
pub(super) fn self_signed(key: &SecretKey) -> Result<Certificate, builder::Error> {
    let public = key.public_key().to_public_key_der()?;
    let [first, rest @ ..] = <[u8; 32]>::from(Sha256::digest(public.as_bytes()));
    let serial: Vec<u8> = [first & 0x7F | 0x40].into_iter().chain(rest).take(SERIAL_LEN).collect();
    let validity = Validity::new(Time::from(DateTime::new(2020, 1, 1, 0, 0, 0)?), Time::INFINITY);
    let subject_public_key = SubjectPublicKeyInfo::from_der(public.as_bytes())?;
    let profile = SelfSigned(SUBJECT.parse()?);
    let certificate = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, subject_public_key)?;
    certificate.build::<_, DerSignature>(&SigningKey::from(key))
}

/// Issuer and subject are the same. One extension makes it a certificate of version 3, which some stacks insist on;
/// more would only travel in each handshake.
struct SelfSigned(Name);

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let end_entity = BasicConstraints { ca: false, path_len_constraint: None };
        Ok(vec![end_entity.to_extension(certificate.subject(), &[])?])
    }
}
