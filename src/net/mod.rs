//! Values that pass between sockets, associations and the browser side: datagrams and their effects. The module holds
//! no socket and no lock.

mod answers;
pub(crate) mod effects;
mod second_counter;
mod transport_failure;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use narrowboat_sctp::{AssociationHandle, LowerLayerLimits};

pub(crate) use answers::Answers;
pub(crate) use effects::{BatchEffects, SessionProgress};
pub(crate) use second_counter::SecondCounter;
pub use transport_failure::TransportFailure;

/// Destination of datagrams, and the address of this machine that they leave from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) remote: SocketAddr,
    /// The address that the peer uses for this end; `None` leaves the choice to the system.
    pub(crate) local: Option<IpAddr>,
}

impl Route {
    /// Returns the bytes of the IP and UDP headers around a datagram.
    pub(crate) fn headers_len(self) -> usize {
        const UDP: usize = 8;
        if self.remote.ip().to_canonical().is_ipv4() { 20 + UDP } else { 40 + UDP }
    }
}

/// Records in a buffer, ready to be sent.
#[derive(Debug)]
pub(crate) struct SealedBatch {
    pub(crate) route: Route,
    /// Bytes of each record; the last one may be shorter.
    pub(crate) record_size: usize,
    /// Sizes of packets from now on, if records or headers have another size than before.
    pub(crate) new_limits: Option<LowerLayerLimits>,
}

/// A datagram that has arrived. It owns memory of exactly its size, so that a part of it that is kept for long, such as
/// a fragment of an unfinished message, does not keep a whole batch in memory.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) route: Route,
    pub(crate) bytes: Bytes,
}

/// A datagram that has arrived for an association: an SCTP packet, DTLS records, or a STUN message.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) datagram: Datagram,
    /// True for a check from an address that another peer checks from, too: the peer is asked whether it receives
    /// there.
    pub(crate) is_contested: bool,
}

impl Input {
    /// Creates a datagram from an address that nobody else claims.
    pub(crate) fn new(datagram: Datagram) -> Self {
        Self { datagram, is_contested: false }
    }
}

/// A datagram that may be a new peer's.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) datagram: Datagram,
    /// True if a peer that is not connected claims the address: a newcomer has to show that it is there.
    pub(crate) is_contested: bool,
    /// True if one more peer may be admitted.
    pub(crate) has_room: bool,
}

/// Recipient of a datagram.
#[derive(Debug)]
pub(crate) enum RouteTarget {
    /// This association.
    Peer(AssociationHandle, Input),
    /// A handshake, either of this association or of a newcomer that has got its address.
    PeerOrNewcomer(AssociationHandle, Datagram),
    /// A peer that may be new.
    Stranger(Stranger),
    /// Nobody: the datagram was answered, or dropped and counted.
    Nobody,
}
