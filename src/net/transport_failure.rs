//! End of the transport below an association, as far as it ends by itself.

use narrowboat_sctp::{LowerLayerEnd, LowerLayerError, LowerLayerErrorKind};

/// Reason why the transport below an association ended, if that transport can end by itself (RFC 8261).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportFailure {
    /// The peer closed the transport in due form (RFC 6347 §4.1.2.7: `close_notify`).
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// The peer closed it before a single packet had come, which is what a peer does that does not accept this end's
    /// certificate.
    #[error(
        "the peer closed the connection before using it: it expects another certificate, so give it this endpoint's \
         current ticket"
    )]
    RefusedByPeer,
    /// The peer ended it with a fatal alert.
    #[error("the peer ended the connection: {0}")]
    Alert(String),
    /// The peer's certificate is not the one that was asked for (RFC 8122 §5). Nothing that it sent was taken.
    #[error(
        "the peer's certificate is not the one that was asked for: get its current ticket or description; \
         if it was current, someone is in between"
    )]
    WrongCertificate,
    /// The peer showed no certificate that this end can check: an RSA one, most likely.
    #[error(
        "the peer has shown no ECDSA certificate: RSA is not supported, so if its certificate is RSA, make it one of ECDSA \
         with P-256, as browsers do by default"
    )]
    NoCertificate,
    /// No answer to the first checks of connectivity (RFC 8445 §7).
    #[error(
        "the peer does not answer: see that it runs, that address and port are right, and that no firewall between drops \
         UDP"
    )]
    NoAnswer,
    /// The peer's host says that nobody listens at the port (RFC 1122 §3.2.2.1), and nobody has answered.
    #[error("nothing listens there: see that the service runs, and that address and port are right")]
    PortClosed,
    /// The peer answered, but the secure handshake did not end in time.
    #[error(
        "the secure handshake did not end in time: see that no firewall between drops UDP datagrams of 1,200 bytes"
    )]
    HandshakeTimedOut,
    /// The secure handshake, or the connection after it, failed for this reason.
    #[error("the secure connection failed: {0}")]
    Broken(String),
    /// The peer has not consented to receive for as long as consent lasts, thirty seconds unless configured otherwise
    /// (RFC 7675 §5.1): it is gone, or its network is.
    #[error(
        "the peer has not been heard of for as long as consent lasts: connect again when it, or its network, is back"
    )]
    ConsentExpired,
    /// The peer is there but wants no more datagrams of this connection (RFC 7675 §5.2), because it does not know it
    /// any more.
    #[error("the peer does not know this connection any more, most likely because it was started again: connect anew")]
    ConsentRevoked,
}

impl LowerLayerEnd for TransportFailure {
    fn is_orderly(&self) -> bool {
        *self == Self::ClosedByPeer
    }
}

impl From<TransportFailure> for LowerLayerError {
    fn from(failure: TransportFailure) -> Self {
        let kind = match failure {
            TransportFailure::ClosedByPeer => LowerLayerErrorKind::ClosedByPeer,
            TransportFailure::Broken(_) => LowerLayerErrorKind::Failed,
            _ => LowerLayerErrorKind::Lost,
        };
        Self::new(kind, failure)
    }
}

impl From<LowerLayerError> for TransportFailure {
    fn from(error: LowerLayerError) -> Self {
        // Every error that this crate reports to an association is one of these.
        error.cause().downcast_ref().cloned().unwrap_or_else(|| Self::Broken(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use narrowboat_sctp::CloseReason;

    use super::*;

    #[test]
    fn a_failure_passes_through_an_association_unchanged() {
        for (failure, kind) in [
            (TransportFailure::ClosedByPeer, LowerLayerErrorKind::ClosedByPeer),
            (TransportFailure::Broken("a test".to_owned()), LowerLayerErrorKind::Failed),
            (TransportFailure::ConsentExpired, LowerLayerErrorKind::Lost),
        ] {
            let error = LowerLayerError::from(failure.clone());
            assert_eq!((error.kind(), error.to_string()), (kind, failure.to_string()));
            let reason = CloseReason::Transport(error);
            assert_eq!(reason.is_orderly(), kind == LowerLayerErrorKind::ClosedByPeer);
            assert_eq!(reason.map_transport(TransportFailure::from), CloseReason::Transport(failure));
        }
    }
}
