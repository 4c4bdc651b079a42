//! Properties of a secure transport that an application may read.

use super::Fingerprint;
use super::dtls::{DtlsDrops, Version};

/// A version of DTLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DtlsVersion {
    /// RFC 6347.
    Dtls12,
    /// RFC 9147.
    Dtls13,
}

impl From<Version> for DtlsVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::Dtls12 => Self::Dtls12,
            Version::Dtls13 => Self::Dtls13,
        }
    }
}

/// Security of an association, once its handshake is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Security {
    /// The version that both ends agreed on.
    pub version: DtlsVersion,
    /// The peer's certificate. One that came with a ticket's or a description's promise was checked against it. A browser
    /// that comes without signalling has a new certificate for each connection, and this says who it is to nobody.
    pub peer_fingerprint: Fingerprint,
}

/// DTLS datagrams of an association that came and brought nothing. Anyone who can forge the peer's address makes these numbers
/// grow, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecordDrops {
    /// Headers that do not add up, or a datagram that is too long.
    pub malformed: u64,
    /// In the clear where it would have to be authenticated.
    pub unauthenticated: u64,
    /// Nothing that was waited for.
    pub unexpected: u64,
    /// Replayed, of an old epoch, not the peer's, or empty.
    pub ineffective: u64,
}

impl From<DtlsDrops> for RecordDrops {
    fn from(drops: DtlsDrops) -> Self {
        let DtlsDrops { malformed, unauthenticated, unexpected, ineffective } = drops;
        Self { malformed, unauthenticated, unexpected, ineffective }
    }
}
