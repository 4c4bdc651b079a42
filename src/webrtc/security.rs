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
    /// Fingerprint of the peer's certificate. If a ticket or a description announced a certificate, the peer's was
    /// checked against it. A browser that connects without signalling has a new certificate for each connection, which
    /// identifies nobody.
    pub peer_fingerprint: Fingerprint,
}

/// DTLS datagrams of an association that were received but discarded, by reason. Anyone who can forge the peer's
/// address can make these numbers grow, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecordDrops {
    /// Inconsistent headers, or a datagram that is too long.
    pub malformed: u64,
    /// In the clear, although it must be authenticated.
    pub unauthenticated: u64,
    /// Not expected at this point.
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
