//! Security of an association over DTLS, for its user.

use super::Association;
use crate::webrtc::{Fingerprint, RecordDrops, Security};

impl Association {
    /// Returns the security of the association; `None` before its secure handshake is done, and over plain UDP.
    #[must_use]
    pub fn security(&self) -> Option<Security> {
        self.shared.secure()?.lock().security()
    }

    /// Returns the hash of the peer's certificate, once its secure handshake is done: [`security`](Self::security) says
    /// more.
    #[must_use]
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        self.security().map(|security| security.peer_fingerprint)
    }

    /// Returns counts of DTLS datagrams that were received for the association but discarded, by reason; `None` before
    /// its secure handshake begins, and over plain UDP.
    #[must_use]
    pub fn record_drops(&self) -> Option<RecordDrops> {
        self.shared.secure()?.lock().drops()
    }
}
