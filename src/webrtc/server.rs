//! The peers of a secure endpoint: the association of each datagram, and the sessions of new peers, which come without
//! signalling, by descriptions, or because this end dials them. It has no socket, no clock and no lock.
//!
//! The server computes nothing that takes long, so that commands of the application and batches of datagrams may take
//! turns with it. A stranger's handshake takes long; it belongs to the [`DirectListener`](super::DirectListener), which
//! only the receive loop uses. Datagrams of strangers go from the server to the listener, and a peer whose handshake is
//! done comes back to the server.

pub(crate) mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use narrowboat_sctp::{AssociationHandle, MemoryBudget, Source};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::sessions::{LocalParameters, SessionConflict, SessionKey, SignalledSessions, TransportKey};
use super::direct::ClientCredentials;
use super::direct_listener::Admitted;
use super::dtls::{ExpectedPeer, SetupRole};
use super::ice::{ControllingAgent, Credentials};
use super::router::SecureRouter;
use super::session::{Context, SecureSession};
use crate::net::{BatchEffects, Datagram, RouteTarget, Stranger};

/// Peers that are expected by signalling and not connected yet, at most. The limit bounds the memory that clients of
/// the signalling can make this end hold.
const PENDING_MAX: usize = 1024;

/// The peers of a secure endpoint.
#[derive(Debug)]
pub(crate) struct Server {
    context: Arc<Context>,
    limits: PeerLimits,
    router: SecureRouter,
    sessions: SignalledSessions,
    /// Peers that the application accepts as soon as they are connected.
    accepted_when_connected: HashSet<AssociationHandle>,
    /// Source of all that must not be guessed.
    rng: StdRng,
    /// True if no association begins any more.
    is_closed: bool,
}

/// Limits of the peers.
#[derive(Debug)]
pub(crate) struct PeerLimits {
    pub(crate) peers_max: usize,
    /// Limit of the peers without signalling at one IP address.
    pub(crate) direct_per_address_max: usize,
    /// Memory that all associations share.
    pub(crate) memory: MemoryBudget,
}

/// Reason for which a peer is expected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExpectedFor {
    /// This end has made an offer.
    Offer,
    /// This end answers an offer, which this client has sent if that is known.
    Answer(Option<Source>),
}

/// Session of a peer that is expected to check this end.
#[derive(Debug)]
pub(crate) struct ExpectedSession {
    pub(crate) session: SecureSession,
    /// Parameters of this end for the descriptions. The DTLS role is the passive one until it is negotiated.
    pub(crate) local: LocalParameters,
    /// Peer that had to make room. The server has forgotten it; its association is to be ended.
    pub(crate) displaced: Option<AssociationHandle>,
}

/// A peer that has come without signalling and finished its handshake.
#[derive(Debug)]
pub(crate) enum NewPeer {
    /// It was unknown, and has a session from now on.
    Session(Box<SecureSession>),
    /// It is the one that this association dials: see [`SecureSession::adopt`].
    Dialled(AssociationHandle, Admitted),
}

/// Reason for which there is no room for another peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RoomRefusal {
    /// The server begins no associations any more.
    Closed,
    TooManyPeers,
    OutOfMemory,
}

/// Reason for which a peer cannot be dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DialRefusal {
    NoRoom(RoomRefusal),
    /// The address belongs to another association.
    AddressTaken(SocketAddr),
}

/// Reason for which a peer cannot be expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpectRefusal {
    NoRoom(RoomRefusal),
    /// Too many peers with offers of this end have not connected.
    TooManyPending,
}

impl Server {
    /// Creates a server without peers. `seed` must come from a secure source of randomness.
    pub(crate) fn new(context: Arc<Context>, limits: PeerLimits, seed: [u8; 32]) -> Self {
        let router = SecureRouter::new(Arc::clone(&context.counters), context.reachability.clone());
        Self {
            context,
            limits,
            router,
            sessions: SignalledSessions::default(),
            accepted_when_connected: HashSet::new(),
            rng: StdRng::from_seed(seed),
            is_closed: false,
        }
    }

    /// Finds the recipient of a datagram. Costs the same however many peers there are.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        match self.router.route(now, datagram) {
            RouteTarget::Stranger(stranger) => {
                let has_room = self.has_room_at(stranger.datagram.route.remote);
                RouteTarget::Stranger(Stranger { has_room, ..stranger })
            }
            target => target,
        }
    }

    /// Returns a datagram of a peer that this end dials as one of a stranger, because the peer has dialled this end at
    /// the same time and its handshake goes on.
    pub(crate) fn crossed(&self, datagram: Datagram) -> Stranger {
        let has_room = self.has_room_at(datagram.route.remote);
        Stranger { datagram, is_contested: false, has_room }
    }

    /// Handles a peer that has come without signalling and finished its handshake.
    pub(crate) fn on_admitted(&mut self, now: Instant, admitted: Admitted) -> NewPeer {
        let remote = admitted.route.remote;
        if let Some(handle) = self.router.asked_at(&remote) {
            return NewPeer::Dialled(handle, admitted);
        }
        let handle = self.router.insert_direct(now, remote);
        let Admitted { route, dtls } = admitted;
        NewPeer::Session(Box::new(SecureSession::direct(now, handle, Arc::clone(&self.context), route, dtls)))
    }

    /// Handles the success of [`SecureSession::adopt`] with a connection of this address.
    pub(crate) fn on_adopted(&mut self, now: Instant, handle: AssociationHandle, remote: SocketAddr) {
        self.router.on_adopted(now, handle, remote);
    }

    /// Applies the effects of a batch: addresses and fragments of peers, and peers that are connected. Calls `accept`
    /// with each of the latter that the application accepts.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        effects: &mut BatchEffects,
        mut accept: impl FnMut(AssociationHandle),
    ) {
        for learned in effects.learned.drain(..) {
            self.router.learn(now, learned.handle, learned.address, learned.evicted);
        }
        for (handle, claim) in effects.named.drain(..) {
            self.router.name(handle, claim);
        }
        for handle in effects.connected.drain(..) {
            self.router.on_connected(handle);
            if self.accepted_when_connected.remove(&handle) {
                accept(handle);
            }
        }
    }

    /// Dials a peer with this certificate at these addresses.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
        credentials: ClientCredentials,
        expected: ExpectedPeer,
    ) -> Result<SecureSession, DialRefusal> {
        self.check_room().map_err(DialRefusal::NoRoom)?;
        let ClientCredentials { local, remote } = credentials;
        let handle = self.router.insert_asked(now, addresses, local.ufrag()).map_err(DialRefusal::AddressTaken)?;
        let context = Arc::clone(&self.context);
        let agent = ControllingAgent::new(now, local, remote, addresses, context.consent_timeout, self.draw());
        Ok(SecureSession::controlling(handle, context, agent, addresses, expected))
    }

    /// Makes room for a peer that will connect with new credentials of this end, and whose description is still to
    /// come. `first_check_timeout` bounds the wait for its first check.
    ///
    /// Peers that were answered and have not come make room for others.
    pub(crate) fn expect(
        &mut self,
        now: Instant,
        first_check_timeout: Duration,
        cause: ExpectedFor,
    ) -> Result<ExpectedSession, ExpectRefusal> {
        self.check_room().map_err(ExpectRefusal::NoRoom)?;
        let source = match cause {
            ExpectedFor::Offer => None,
            ExpectedFor::Answer(source) => source,
        };
        let displaced = if self.router.pending() >= PENDING_MAX {
            Some(self.router.displaceable(source).ok_or(ExpectRefusal::TooManyPending)?)
        } else {
            None
        };
        let credentials = Credentials::generate(&mut self.rng);
        let handle = match cause {
            ExpectedFor::Answer(source) => self.router.insert_answered(credentials.ufrag(), source),
            ExpectedFor::Offer => self.router.insert_signalled(credentials.ufrag()),
        };
        if let Some(displaced) = displaced {
            self.remove(displaced);
        }
        let session =
            SecureSession::lite(now, handle, Arc::clone(&self.context), credentials.clone(), first_check_timeout);
        let nonce = self.draw();
        let local = LocalParameters { credentials, nonce, version: 1, role: SetupRole::Passive, sctp_init: None };
        Ok(ExpectedSession { session, local, displaced })
    }

    /// Marks a peer that is expected: [`apply`](Self::apply) reports its connection to the accept queue.
    pub(crate) fn accept_when_connected(&mut self, handle: AssociationHandle) {
        self.accepted_when_connected.insert(handle);
    }

    /// Finds the association that an offer belongs to, and the parameters of the next answer. `None` if the offer
    /// begins an association.
    ///
    /// # Errors
    ///
    /// The offer restarts a connection that exists, or belongs to one that has ended.
    pub(crate) fn find_session(
        &mut self,
        key: SessionKey,
        transport: TransportKey,
    ) -> Result<Option<(AssociationHandle, LocalParameters)>, SessionConflict> {
        let router = &self.router;
        self.sessions.find(key, transport, |handle| !router.is_pending(handle))
    }

    /// Remembers the descriptions of a peer for its next offer, if the peer is still there.
    pub(crate) fn remember_session(
        &mut self,
        handle: AssociationHandle,
        key: SessionKey,
        transport: TransportKey,
        local: LocalParameters,
    ) {
        if self.router.has(handle) {
            self.sessions.insert(key, handle, transport, local);
        }
    }

    /// Forgets a peer whose association is over.
    pub(crate) fn remove(&mut self, handle: AssociationHandle) {
        self.accepted_when_connected.remove(&handle);
        self.sessions.remove(handle, !self.router.is_pending(handle));
        self.router.remove(handle);
    }

    /// Begins no more associations.
    pub(crate) fn stop_accepting(&mut self) {
        self.is_closed = true;
    }

    /// Returns the source of all that must not be guessed.
    pub(crate) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Draws random bytes, such as the seed of an association.
    pub(crate) fn draw<const LEN: usize>(&mut self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns the number of expected peers that are not connected.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.router.pending()
    }

    fn check_room(&self) -> Result<(), RoomRefusal> {
        if self.is_closed {
            return Err(RoomRefusal::Closed);
        }
        if self.router.len() >= self.limits.peers_max {
            return Err(RoomRefusal::TooManyPeers);
        }
        if !self.limits.memory.has_room() {
            return Err(RoomRefusal::OutOfMemory);
        }
        Ok(())
    }

    /// Returns true if one more peer without signalling may come from this address.
    fn has_room_at(&self, remote: SocketAddr) -> bool {
        !self.context.prefixes.is_closed
            && self.check_room().is_ok()
            && self.router.count_at(remote.ip()) < self.limits.direct_per_address_max
    }
}
