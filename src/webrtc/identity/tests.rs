//! Identities from seeds and texts, and texts that are refused.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{DerSignature, VerifyingKey};

use super::*;

/// Certificate hashes that every version must derive from these seeds: pages and tickets in the field carry the hash.
const SEEDED: [(u8, &str); 3] = [
    (0, "5641484c2d366ca2d84fb02d40330350187263140efd8537a299f4769e81a440"),
    (1, "35f534a060998d15024d12d297005f65e0ad318dc69906adaf6aa4149abfca64"),
    (255, "793fe7c054387033ab2b7edd3f650280147cd7491bd1ae0cad574e91b4193272"),
];

#[test]
fn a_seed_gives_the_same_certificate_hash_everywhere_and_for_ever() {
    for (byte, hash) in SEEDED {
        let identity = Identity::from_seed(&[byte; 32]).expect("an identity");
        assert_eq!(identity.fingerprint().to_hex(), hash, "seed of bytes {byte}");
        assert_eq!(Fingerprint::of(identity.certificate_der()), identity.fingerprint());
    }
}

#[test]
fn generated_identities_differ_and_their_certificates_are_signed_by_their_keys() {
    let (one, other) = (Identity::generate().expect("one"), Identity::generate().expect("another"));
    assert_ne!(one.fingerprint(), other.fingerprint());
    for identity in [one, other, Identity::from_seed(&[7; 32]).expect("one")] {
        let certificate = Certificate::from_der(identity.certificate_der()).expect("a certificate");
        let key = SecretKey::from_pkcs8_der(identity.key_der()).expect("a key");
        let public = VerifyingKey::from(key.public_key());
        let signed = certificate.tbs_certificate().to_der().expect("DER");
        let signature = DerSignature::try_from(certificate.signature().raw_bytes()).expect("a signature");
        public.verify(&signed, &signature).expect("the key's own signature");
        assert_eq!(certificate.tbs_certificate().version(), x509_cert::certificate::Version::V3);
        let serial = certificate.tbs_certificate().serial_number().as_bytes();
        assert!(serial.len() == 16 && serial[0] < 0x80, "positive, 16 bytes: {serial:?}");
        assert!(identity.certificate_der().len() < 350, "small: it travels in each handshake");
        assert!(!format!("{identity:?}").contains("key"), "the key is not printed");
    }
}

#[test]
fn a_pem_text_reads_back_in_any_order_and_with_text_around() {
    let identity = Identity::from_seed(&[3; 32]).expect("an identity");
    let pem = identity.to_pem().expect("PEM");
    let (key, certificate) = sections(&pem).expect("two sections");
    for text in [
        pem.clone(),
        format!("{certificate}\n{key}\n"),
        format!("# mine\n{key}\n\n{certificate}"),
        pem.replace('\n', "\r\n"),
    ] {
        let read = Identity::from_pem(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.fingerprint(), identity.fingerprint());
    }
}

#[test]
fn what_is_not_one_key_and_its_certificate_is_refused_with_the_reason() {
    let pem = |seed: u8| Identity::from_seed(&[seed; 32]).and_then(|identity| identity.to_pem()).expect("PEM");
    let (mine, theirs) = (pem(1), pem(2));
    let (key, certificate) = sections(&mine).expect("two sections");
    let (_, other_certificate) = sections(&theirs).expect("two sections");
    let damaged_key = key.replacen("MIG", "MIH", 1);
    assert_ne!(damaged_key, key);
    for (text, error) in [
        (String::new(), PemError::NoKey),
        ("no identity".to_owned(), PemError::NoKey),
        (certificate.to_owned(), PemError::NoKey),
        (key.to_owned(), PemError::NoCertificate),
        (format!("{mine}{certificate}"), PemError::Sections),
        (format!("{key}\n{other_certificate}\n"), PemError::Mismatch),
        (format!("{damaged_key}\n{certificate}\n"), PemError::Key),
        (format!("{key}\n{}\n", &certificate[..certificate.len() - 1]), PemError::Certificate),
        (format!("{key}\n{}\n", certificate.replacen("MII", "MIJ", 1)), PemError::Certificate),
        (mine.replace("PRIVATE KEY", "EC PRIVATE KEY"), PemError::NoKey),
        (mine.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), PemError::NoKey),
    ] {
        match Identity::from_pem(&text) {
            Err(IdentityError::Pem(refused)) => assert_eq!(refused, error, "{text}"),
            other => panic!("{other:?} for\n{text}"),
        }
    }
}
