//! Parameters that all DTLS associations of an endpoint have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::crypto::SignatureVerifier;
use dimpl::{Config, ConfigBuilder, DtlsCertificate};

use super::{SetupRole, record_filter};

/// Bytes of a handshake datagram at most: 1,200 with the headers of UDP and IPv4, which is as much as may be sent
/// before the path is known (RFC 8831 §5).
const HANDSHAKE_DATAGRAM_LEN_MAX: usize = 1172;

/// Smallest datagram size for a handshake: shorter datagrams would cut each message into more pieces than fit the
/// queues.
const HANDSHAKE_DATAGRAM_LEN_MIN: usize = 512;

/// Datagrams of ours that wait to be sent at most; all are taken out after every input.
const TRANSMIT_QUEUE_MAX: usize = 64;

/// First wait for an answer to a flight. RFC 9147 §5.8.2 begins at 1 s, and at less for what is in a hurry: ICE has
/// just shown that the path works, and a browser's user waits.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(250);

/// Retransmissions of a flight, with the wait doubled each time: more than fit into [`HANDSHAKE_TIMEOUT`].
const RETRANSMISSIONS_MAX: usize = 8;

/// A handshake that takes longer has failed. As long as ICE waits for consent (RFC 7675 §5.1).
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The versions of DTLS to offer and accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Versions {
    /// 1.3 with who knows it, else 1.2.
    #[default]
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
}

/// The certificate and the settings of an endpoint's DTLS associations. Made once, lent to each.
#[derive(Clone, Debug)]
pub(crate) struct DtlsParameters {
    certificate: DtlsCertificate,
    versions: Versions,
    plain: Arc<Config>,
    with_cookie: Arc<Config>,
    pub(super) limits: Limits,
}

/// Limits at which an association has to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Records that are encrypted with AES-GCM in DTLS 1.2. `dimpl` draws the 64 bits of each nonce that RFC 5288 §3
    /// leaves open, and two that are equal give away the key that authenticates; after 2^28 records the probability is
    /// 0.2 %. DTLS 1.2 has no way to change keys, and RFC 9325 §7.2 gives no limit for it. ChaCha20-Poly1305 and DTLS
    /// 1.3 count.
    pub(super) random_nonces_max: u64,
    /// Changes of keys that the peer makes, and other messages after the handshake that are answered. `dimpl` numbers
    /// epochs and messages in 16 bits (RFC 9147 §8 ends an association at that too). A peer of ours changes keys after
    /// 2^23 records, so that this is 40 terabytes.
    pub(super) key_changes_max: u32,
}

impl Limits {
    const DEFAULT: Self = Self { random_nonces_max: 1 << 28, key_changes_max: 4096 };
}

impl DtlsParameters {
    /// Creates parameters. `certificate` and `private_key` (PKCS #8) are in DER; the key is one of P-256 or P-384.
    /// `datagram_len_max` is the least that datagrams may have to fall to.
    ///
    /// # Errors
    ///
    /// The key cannot be used.
    pub(crate) fn new(
        certificate: &[u8],
        private_key: &[u8],
        versions: Versions,
        datagram_len_max: usize,
    ) -> Result<Self, dimpl::Error> {
        let len = datagram_len_max.clamp(HANDSHAKE_DATAGRAM_LEN_MIN, HANDSHAKE_DATAGRAM_LEN_MAX);
        Self::adjusted(certificate, private_key, versions, |builder| builder.mtu(len))
    }

    /// Creates parameters likewise, with settings that tests change.
    pub(super) fn adjusted(
        certificate: &[u8],
        private_key: &[u8],
        versions: Versions,
        adjust: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Result<Self, dimpl::Error> {
        let config = |asks_for_cookie| adjust(builder().use_server_cookie(asks_for_cookie)).build();
        let (plain, with_cookie) = (config(false)?, config(true)?);
        // An association would panic over a bad key.
        plain.crypto_provider().key_provider.load_private_key(private_key)?;
        let certificate = DtlsCertificate { certificate: certificate.to_vec(), private_key: private_key.to_vec() };
        Ok(Self {
            certificate,
            versions,
            plain: Arc::new(plain),
            with_cookie: Arc::new(with_cookie),
            limits: Limits::DEFAULT,
        })
    }

    /// Returns the verifier for signatures by a certificate's key.
    pub(super) fn verifier(&self) -> &dyn SignatureVerifier {
        self.plain.crypto_provider().signature_verification
    }

    /// Creates an association of `dimpl`, in its role.
    pub(super) fn association(&self, now: Instant, role: SetupRole, asks_for_cookie: bool) -> dimpl::Dtls {
        let config = if asks_for_cookie { self.with_cookie.clone() } else { self.plain.clone() };
        let certificate = self.certificate.clone();
        let mut association = match self.versions {
            Versions::Both => dimpl::Dtls::new_auto(config, certificate, now),
            Versions::Only12 => dimpl::Dtls::new_12(config, certificate, now),
            Versions::Only13 => dimpl::Dtls::new_13(config, certificate, now),
        };
        association.set_active(role == SetupRole::Active);
        association
    }
}

fn builder() -> ConfigBuilder {
    Config::builder()
        .mtu(HANDSHAKE_DATAGRAM_LEN_MAX)
        .max_queue_rx(record_filter::QUEUE_MAX)
        .max_queue_tx(TRANSMIT_QUEUE_MAX)
        .flight_start_rto(RETRANSMIT_AFTER)
        .flight_retries(RETRANSMISSIONS_MAX)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        // Every WebRTC peer has a certificate; its fingerprint is verified afterwards.
        .require_client_certificate(true)
}
