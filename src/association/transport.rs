//! The transport of an association's packets. The SCTP association does not know it.

use std::net::{Ipv4Addr, SocketAddr};

use super::secure_transport::SecureTransport;
use crate::net::Route;

/// The layer below an association.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Packets in UDP datagrams as they are (RFC 6951). The address is the one that the association was made with, for
    /// as long as it lives.
    Plain(Route),
    /// Packets in DTLS records, to wherever ICE finds the peer (RFC 8261).
    Secure(Box<SecureTransport>),
}

impl Transport {
    /// Returns the most bytes by which a datagram is larger than the packet in it.
    pub(super) fn overhead_max(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Secure(secure) => secure.overhead_max(),
        }
    }

    /// Returns the peer's address, as applications write it; 0.0.0.0:0 before it is known.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        let remote = match self {
            Self::Plain(route) => Some(route.remote),
            Self::Secure(secure) => secure.remote(),
        };
        let remote = remote.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        SocketAddr::new(remote.ip().to_canonical(), remote.port())
    }
}
