//! The associations of an endpoint, and the routing of datagrams to them.
//!
//! The receive loop locks this table once for a batch. Dialling, descriptions and the end of an association lock it for
//! some look-ups. Nothing is computed and nobody waits under this lock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use narrowboat_sctp::{AssociateError, AssociationHandle, DatagramEvent, Endpoint, PacketDrops};

use super::secure::Server;
use crate::association::{Shared, Transport};
use crate::error::ConnectError;
use crate::net::{Answers, Datagram, Input, Route, RouteTarget};

/// Associations by handle, and the router that finds the handle.
#[derive(Debug)]
pub(super) struct RouteTable {
    router: DatagramRouter,
    associations: HashMap<AssociationHandle, Arc<Shared>>,
    /// Number of associations, readable without the lock.
    count: Arc<AtomicUsize>,
    /// True if no association begins any more.
    is_closed: bool,
}

/// Router of an endpoint of either kind. Finds the association of a datagram, at a cost that does not depend on how
/// many there are.
#[derive(Debug)]
pub(super) enum DatagramRouter {
    /// SCTP packets in UDP datagrams as they are (RFC 6951).
    Plain(Box<Endpoint>),
    /// STUN and DTLS (RFC 8261); nothing that is in the clear.
    Secure(Box<Server>),
}

/// Result of routing a datagram.
#[derive(Debug)]
pub(super) enum RouteResult {
    /// It has made a new association over plain UDP, which has taken it in.
    New(AssociationHandle, Box<narrowboat_sctp::Association>, Route),
    /// It is for one of those that are known, or for a stranger, or for nobody.
    Target(RouteTarget),
}

impl RouteTable {
    pub(super) fn new(router: DatagramRouter, count: Arc<AtomicUsize>) -> Self {
        Self { router, associations: HashMap::new(), count, is_closed: false }
    }

    /// Returns the association with this handle.
    pub(super) fn get(&self, handle: AssociationHandle) -> Option<&Arc<Shared>> {
        self.associations.get(&handle)
    }

    /// Returns all associations, in any order.
    pub(super) fn associations(&self) -> Vec<Arc<Shared>> {
        self.associations.values().cloned().collect()
    }

    /// True if no association begins any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Enters an association under the handle that the router has given it.
    pub(super) fn insert(&mut self, handle: AssociationHandle, shared: Arc<Shared>) {
        self.associations.insert(handle, shared);
        self.count.store(self.associations.len(), Ordering::Release);
    }

    /// Removes an association. The router still has its handle: see [`forget`](Self::forget).
    pub(super) fn remove(&mut self, handle: AssociationHandle) -> Option<Arc<Shared>> {
        let removed = self.associations.remove(&handle);
        self.count.store(self.associations.len(), Ordering::Release);
        removed
    }

    /// Forgets the handle of an association that is over.
    pub(super) fn forget(&mut self, handle: AssociationHandle) {
        self.router.remove(handle);
    }

    /// Begins no more associations.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.router.stop_accepting();
    }

    /// Finds the recipient of a datagram. An association over plain UDP that has ended makes way for the next one with
    /// its peer, though its driver may not be done; its own last packet is the answer to anything else.
    pub(super) fn route(&mut self, now: Instant, datagram: Datagram, answers: &mut Answers) -> RouteResult {
        let endpoint = match &mut self.router {
            DatagramRouter::Plain(endpoint) => endpoint,
            DatagramRouter::Secure(server) => return RouteResult::Target(server.handle_datagram(now, datagram)),
        };
        match route_plain(endpoint, now, datagram, answers) {
            RouteResult::Target(RouteTarget::Peer(handle, input))
                if begins_association(&input.datagram)
                    && self.associations.get(&handle).is_some_and(|shared| shared.has_ended()) =>
            {
                endpoint.remove(handle);
                route_plain(endpoint, now, input.datagram, answers)
            }
            result => result,
        }
    }

    /// Returns the server of peers over DTLS; `None` over plain UDP.
    #[cfg(feature = "webrtc")]
    pub(super) fn server(&mut self) -> Option<&mut Server> {
        match &mut self.router {
            DatagramRouter::Plain(_) => None,
            DatagramRouter::Secure(server) => Some(server),
        }
    }

    /// Returns the counters of datagrams that were dropped before they reached an association over plain UDP.
    pub(super) fn drops(&self) -> PacketDrops {
        match &self.router {
            DatagramRouter::Plain(endpoint) => endpoint.drops().clone(),
            DatagramRouter::Secure(_) => PacketDrops::default(),
        }
    }

    /// Starts an association over plain UDP. It is not in the table yet.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        remote: SocketAddr,
    ) -> Result<(AssociationHandle, narrowboat_sctp::Association), ConnectError> {
        let dialled = self.try_dial(now, remote);
        if matches!(dialled, Err(ConnectError::AlreadyConnected(_))) && self.make_way(remote) {
            return self.try_dial(now, remote);
        }
        dialled
    }

    fn try_dial(
        &mut self,
        now: Instant,
        remote: SocketAddr,
    ) -> Result<(AssociationHandle, narrowboat_sctp::Association), ConnectError> {
        let DatagramRouter::Plain(endpoint) = &mut self.router else { return Err(ConnectError::TicketNeeded(remote)) };
        endpoint.connect(now, remote).map_err(|error| match error {
            AssociateError::TooManyAssociations => ConnectError::TooManyAssociations,
            AssociateError::OutOfMemory => ConnectError::OutOfMemory,
            AssociateError::AlreadyConnected(_) => ConnectError::AlreadyConnected(remote),
        })
    }

    /// Lets go of associations over plain UDP with this peer that have ended. Returns true if there is one. There may
    /// be several: one that has made way before is in the table until its driver is done.
    fn make_way(&mut self, remote: SocketAddr) -> bool {
        let has_ended = |shared: &Shared| {
            matches!(shared.transport, Transport::Plain(route) if route.remote == remote) && shared.has_ended()
        };
        let (associations, router) = (&self.associations, &mut self.router);
        let ended = associations.iter().filter(|(_, shared)| has_ended(shared));
        ended.map(|(handle, _)| router.remove(*handle)).count() > 0
    }
}

impl DatagramRouter {
    /// Begins no more associations of peers.
    fn stop_accepting(&mut self) {
        match self {
            Self::Plain(endpoint) => endpoint.stop_accepting(),
            Self::Secure(server) => server.stop_accepting(),
        }
    }

    /// Forgets an association that is over.
    fn remove(&mut self, handle: AssociationHandle) {
        match self {
            Self::Plain(endpoint) => endpoint.remove(handle),
            Self::Secure(server) => server.remove(handle),
        }
    }
}

fn route_plain(endpoint: &mut Endpoint, now: Instant, datagram: Datagram, answers: &mut Answers) -> RouteResult {
    let Datagram { route, bytes } = datagram;
    match endpoint.handle_datagram(now, route.remote, bytes, answers.buffer()) {
        DatagramEvent::Existing(handle, bytes) => {
            RouteResult::Target(RouteTarget::Peer(handle, Input::new(Datagram { route, bytes })))
        }
        DatagramEvent::New(handle, association) => RouteResult::New(handle, association, route),
        DatagramEvent::Answer => {
            answers.push(route);
            RouteResult::Target(RouteTarget::Nobody)
        }
        DatagramEvent::Dropped => RouteResult::Target(RouteTarget::Nobody),
    }
}

/// True if the first chunk of a packet is INIT without a tag, or COOKIE ECHO (RFC 9260 §5.1).
pub(super) fn begins_association(datagram: &Datagram) -> bool {
    matches!(datagram.bytes.get(4..13), Some([0, 0, 0, 0, _, _, _, _, 1] | [_, _, _, _, _, _, _, _, 10]))
}
