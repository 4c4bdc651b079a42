//! Events of a DTLS association for its user.

use bytes::Bytes;

use super::DtlsFailure;

/// The negotiated version of DTLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    /// RFC 6347.
    Dtls12,
    /// RFC 9147.
    Dtls13,
}

impl Version {
    /// Returns the number of bytes by which a datagram is longer than the packet in it.
    ///
    /// 1.3: unified header 5, content type 1, tag 16. 1.2: header 13, explicit nonce 8, tag 16; ChaCha20-Poly1305 has
    /// no explicit nonce, and its datagrams are 8 bytes shorter than said here.
    pub(crate) const fn overhead(self) -> usize {
        match self {
            Self::Dtls12 => 37,
            Self::Dtls13 => 22,
        }
    }

    /// Returns the longest packet whose record fits a datagram of `datagram_len` bytes.
    pub(crate) const fn packet_len_max(self, datagram_len: usize) -> usize {
        datagram_len.saturating_sub(self.overhead())
    }
}

/// Event of a DTLS association. Events are reported in the order in which they happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DtlsEvent {
    /// The handshake is finished, and the peer has the certificate that was expected.
    Connected(Version),
    /// An SCTP packet, decrypted. Only after [`DtlsEvent::Connected`].
    Packet(Bytes),
    /// The peer has sent `close_notify`. The last event.
    PeerClosed,
    /// The association could not be, or could not go on. The last event.
    Failed(DtlsFailure),
}

/// Reason why a packet was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The handshake is not finished.
    #[error("the DTLS handshake is not finished")]
    NotConnected,
    /// The association is over.
    #[error("the DTLS association is over")]
    Closed,
    /// More than a record holds.
    #[error("a packet of {0} bytes does not fit a DTLS record")]
    TooLong(usize),
}

/// Datagrams that came and brought nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DtlsDrops {
    /// Headers that do not add up, or a datagram that is too long.
    pub(crate) malformed: u64,
    /// In the clear where it would have to be authenticated.
    pub(crate) unauthenticated: u64,
    /// Nothing that was waited for: not a hello at the beginning, or anything after the end.
    pub(crate) unexpected: u64,
    /// Taken in after the handshake without effect: replayed, of an old epoch, not the peer's, or empty.
    pub(crate) ineffective: u64,
}
