//! Many associations on one UDP socket (RFC 6951), without I/O.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::association::Association;
use crate::config::Config;
use crate::stats::Drops;

/// Names an association within its endpoint; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AssociationHandle(pub u64);

/// Limits of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointConfig {
    /// Of each association.
    pub association: Arc<Config>,
    /// Whether peers may open associations to this endpoint.
    pub accept: bool,
    /// Associations at most.
    pub associations_max: usize,
    /// Of those, from one IP address.
    pub associations_per_address_max: usize,
    /// INITs and out-of-the-blue packets answered each second at most.
    pub answers_per_second_max: u32,
}

/// What became of a datagram.
#[derive(Debug)]
#[must_use]
pub enum DatagramEvent {
    /// Hand it to this association.
    Existing(AssociationHandle, Bytes),
    /// A peer has completed a handshake: a new association. It has taken the datagram in already.
    New(AssociationHandle, Box<Association>),
    /// An answer was appended to `answer`; send it to where the datagram came from.
    Answer,
    /// Dropped, and counted.
    Dropped,
}

/// Why no association could be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// `associations_max` is reached.
    #[error("the endpoint has as many associations as its configuration allows")]
    TooManyAssociations,
    /// There is one to this address and port already.
    #[error("there is an association with that peer already")]
    AlreadyConnected,
}

/// The table of a UDP socket's associations.
#[derive(Debug)]
pub struct Endpoint {
    _private: (),
}

impl Endpoint {
    #[must_use]
    pub fn new(_now: Instant, _config: EndpointConfig, _seed: [u8; 32]) -> Self { todo!() }
    /// Starts an association with the peer at `remote`; it has an INIT to transmit.
    pub fn connect(&mut self, _now: Instant, _remote: SocketAddr) -> Result<(AssociationHandle, Association), ConnectError> { todo!() }
    pub fn handle_datagram(&mut self, _now: Instant, _remote: SocketAddr, _datagram: Bytes, _answer: &mut Vec<u8>) -> DatagramEvent { todo!() }
    /// Forgets a closed association.
    pub fn remove(&mut self, _handle: AssociationHandle) { todo!() }
    pub fn remote_address(&self, _handle: AssociationHandle) -> Option<SocketAddr> { todo!() }
    pub fn len(&self) -> usize { todo!() }
    pub fn is_empty(&self) -> bool { todo!() }
    pub fn drops(&self) -> &Drops { todo!() }
}
