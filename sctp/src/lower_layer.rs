//! Errors of the layer below an association, which may end by itself (RFC 8261 calls DTLS and ICE the lower layer).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// End of a layer below an association.
pub trait LowerLayerEnd {
    /// Returns `true` if the peer closed the layer on purpose.
    fn is_orderly(&self) -> bool;
}

/// Blame for the end of the layer below an association. It decides what the association still does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LowerLayerErrorKind {
    /// The peer closed the layer in due form. The association is shut down if only SHUTDOWN COMPLETE is missing
    /// (RFC 9260 §9.2).
    ClosedByPeer,
    /// The peer or the network ended the layer: nothing can be sent any more.
    Lost,
    /// This end has failed. An ABORT may still get through, and spares the peer its time-outs.
    Failed,
}

/// Sizes of packets that the layer below an association can carry: UDP, DTLS, or a stream that frames packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowerLayerLimits {
    /// Size to start with instead of [`AssociationConfig::mtu`](crate::AssociationConfig::mtu), in bytes; `None` leaves
    /// that.
    pub mtu: Option<usize>,
    /// Largest SCTP packet that the layer takes, in bytes. Packets are never larger, whatever is configured. A layer
    /// that takes 1,200 bytes and hides the path below, such as a relay over TCP, sets it to that.
    pub packet_max: usize,
    /// Bytes around each SCTP packet from the IP header on, its own included: 28 for UDP over IPv4, 48 over IPv6. Only
    /// the sizes that the search tries depend on it, so that they fit those of usual links.
    pub overhead: usize,
}

/// Error of the layer below an association. Its cause is opaque to the association, which passes it on in
/// [`CloseReason::Transport`](crate::CloseReason::Transport).
#[derive(Clone, Debug)]
pub struct LowerLayerError {
    kind: LowerLayerErrorKind,
    cause: Arc<dyn Error + Send + Sync>,
}

impl LowerLayerError {
    /// Returns an error with the text and the sources of `cause`.
    pub fn new(kind: LowerLayerErrorKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Arc::new(cause) }
    }

    /// Returns the blame for the end.
    #[must_use]
    pub const fn kind(&self) -> LowerLayerErrorKind {
        self.kind
    }

    /// Returns the error that [`new`](Self::new) was given, to be downcast.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl LowerLayerEnd for LowerLayerError {
    fn is_orderly(&self) -> bool {
        self.kind == LowerLayerErrorKind::ClosedByPeer
    }
}

/// Two errors are equal if one is a clone of the other.
impl PartialEq for LowerLayerError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.cause, &other.cause)
    }
}

impl Eq for LowerLayerError {}

impl fmt::Display for LowerLayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for LowerLayerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
