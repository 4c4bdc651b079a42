//! What carries an association's packets. The association itself knows nothing of it.

use crate::socket::{Datagram, Route};

/// What has arrived for an association.
#[derive(Debug)]
pub(crate) enum Input {
    /// A datagram with an SCTP packet.
    Datagram(Datagram),
}

/// The layer below an association.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Packets in UDP datagrams as they are (RFC 6951). The address is the one that the association was made with, for
    /// as long as it lives.
    Plain(Route),
}

impl Transport {
    /// Where the next datagram goes.
    pub(crate) fn route(&self) -> Route {
        match self {
            Self::Plain(route) => *route,
        }
    }
}
