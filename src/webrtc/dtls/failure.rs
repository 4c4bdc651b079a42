//! Reasons why a DTLS association could not be established, or could not go on.

use std::fmt;

/// Reason why a DTLS association failed. The association is over then, and has nothing more to report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum DtlsFailure {
    /// The peer's certificate is not one of those that were announced (RFC 8122 §5, RFC 8842 §5.1).
    #[error("the peer's certificate has another fingerprint than it announced ({})", Hex(presented))]
    WrongCertificate {
        /// SHA-256 of the certificate that it showed.
        presented: [u8; 32],
    },
    /// The peer has shown no certificate, or nothing that is one. A peer whose only certificate is RSA shows none,
    /// because this end asks for ECDSA.
    #[error("the peer has shown no ECDSA certificate")]
    NoCertificate,
    /// The peer does not answer. It may have said why in the clear, where nobody proves who speaks.
    #[error("the DTLS handshake was not finished in time{}", hint(*alert))]
    TimedOut {
        /// The alert that was received in the clear.
        alert: Option<Alert>,
    },
    /// The peer has ended the association with an alert (RFC 8446 §6.2). A browser that does not find the certificate
    /// that it was told to expect does so.
    #[error("the peer ended the DTLS association: {0}")]
    PeerAlert(Alert),
    /// The peer has changed its keys more often than any peer needs to.
    #[error("the peer has changed the keys of the DTLS association too often")]
    KeyChanges,
    /// More records under one key would weaken the cipher, and DTLS 1.2 cannot change it.
    #[error("as many records were sent as DTLS 1.2 can protect with one key: connect again")]
    RecordsExhausted,
    /// The peer broke a rule of DTLS, or offers nothing that is known here.
    #[error("the DTLS handshake failed: {0}")]
    Protocol(dimpl::Error),
}

impl DtlsFailure {
    pub(super) fn timed_out(plaintext_alert: Option<u8>) -> Self {
        Self::TimedOut { alert: plaintext_alert.map(Alert) }
    }

    pub(super) fn from_error(error: dimpl::Error, plaintext_alert: Option<u8>) -> Self {
        match error {
            dimpl::Error::Timeout(_) => Self::timed_out(plaintext_alert),
            dimpl::Error::SecurityError(dimpl::SecurityError::FatalAlert { description }) => {
                Self::PeerAlert(Alert(description))
            }
            dimpl::Error::CertificateError(_) => Self::NoCertificate,
            error => Self::Protocol(error),
        }
    }
}

/// The description in an alert (RFC 8446 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Alert(pub(crate) u8);

impl Alert {
    /// Returns the name of the alert, and the remedy where one is known.
    pub(crate) fn explained(self) -> String {
        if !self.is_about_algorithms() {
            return self.to_string();
        }
        format!(
            "{self}. A peer with an RSA certificate says so: RSA is not supported, so make the certificate one of ECDSA \
             with P-256, as browsers do by default"
        )
    }

    /// True if the sender found no algorithms in common: `handshake_failure`, `unsupported_certificate`,
    /// `insufficient_security`, `missing_extension`.
    fn is_about_algorithms(self) -> bool {
        matches!(self.0, 40 | 43 | 71 | 109)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            116 => "certificate_required",
            120 => "no_application_protocol",
            number => return write!(f, "alert {number}"),
        };
        f.write_str(name)
    }
}

/// Returns the explanation that an alert in the clear gives for a handshake that was not finished. The sender of the
/// alert is not authenticated, but most alerts come from the peer.
fn hint(alert: Option<Alert>) -> String {
    alert.map(|alert| format!("; an alert came in the clear: {}", alert.explained())).unwrap_or_default()
}

/// Upper-case hexadecimal with colons, as in SDP (RFC 8122 §5).
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
