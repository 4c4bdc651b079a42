//! Datagrams of peers that are not known: the direct listener, and the associations of those that it lets in.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use narrowboat_dcep::Role;
use narrowboat_sctp::AssociationHandle;
use rand::Rng;

use super::UNKNOWN_PEER_MESSAGE_SIZE_MAX;
use crate::association::{Shared, now, wake};
use crate::config::Config;
use crate::endpoint::WayIn;
use crate::endpoint::builder::Ways;
use crate::endpoint::contained::sort;
#[cfg(test)]
use crate::endpoint::fault::EndpointFault;
use crate::endpoint::router::DatagramRouter;
use crate::endpoint::table::{EndpointShared, EndpointTable, RoutedBatch};
use crate::net::{Answers, BatchEffects, Datagram, Input, Stranger};
use crate::waiters::Interest;
use crate::webrtc::demux::Protocol;
use crate::webrtc::{Admitted, RouterAccess, SecureRouter, SecureSession, Server, ServerEvent};

/// Server for peers without signalling. Only the receiver uses it, so it needs no lock.
pub(in crate::endpoint) struct Strangers {
    /// `None` over plain UDP.
    server: Option<Server>,
}

/// The router in the endpoint's table, which is locked for each use.
struct TableRouter<'a>(&'a EndpointShared);

impl RouterAccess for TableRouter<'_> {
    fn with_router<R>(&mut self, act: impl FnOnce(&mut SecureRouter) -> R) -> Option<R> {
        self.0.lock().secure_router().map(act)
    }
}

impl Strangers {
    pub(in crate::endpoint) fn new(core: &EndpointShared) -> Self {
        Self { server: core.new_server() }
    }

    /// True if a datagram may be for somebody here: over DTLS its first byte says so, over plain UDP only all of it
    /// does.
    pub(in crate::endpoint) fn is_wanted(&self, datagram: &[u8]) -> bool {
        self.server.is_none() || Protocol::of(datagram).is_some()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(in crate::endpoint) fn poll_timeout(&self) -> Option<Instant> {
        self.server.as_ref().and_then(Server::poll_timeout)
    }

    /// Handles the part of a batch that belongs to no known peer, and applies the effects of the batch.
    pub(in crate::endpoint) fn handle_batch(
        &mut self,
        core: &Arc<EndpointShared>,
        routed: &mut RoutedBatch,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some(server) = &mut self.server {
            sort_strangers(core, server, routed);
            receive_strangers(core, server, routed, wakers);
        }
        note(core, &mut routed.effects);
    }

    /// Fires what is due. A panic ends the handshakes that have begun: the peers begin again.
    pub(in crate::endpoint) fn handle_timeout(&mut self, core: &EndpointShared, answers: &mut Answers) {
        let Some(server) = &mut self.server else { return };
        let handle_timeout = || {
            #[cfg(test)]
            core.inject(EndpointFault::LobbyTimeout);
            server.handle_timeout(now(), answers);
        };
        if catch_unwind(AssertUnwindSafe(handle_timeout)).is_err() {
            tracing::error!("a fault has ended the handshakes of new peers: please report it");
            answers.discard_unfinished();
            self.server = core.new_server();
        }
    }
}

/// Moves datagrams from the addresses of known peers to the strangers' datagrams: those of peers that have dialled this
/// end while it dials them, and those of newcomers that have begun a handshake.
fn sort_strangers(core: &EndpointShared, server: &mut Server, routed: &mut RoutedBatch) {
    let RoutedBatch { strangers, newcomers, effects, .. } = routed;
    sort(effects.crossed.drain(..), |batch| core.sort_crossed(batch, strangers));
    sort(newcomers.drain(..), |batch| {
        for datagram in batch {
            #[cfg(test)]
            core.inject(EndpointFault::Newcomer);
            strangers.extend(server.newcomer(datagram));
        }
    });
}

/// Applies the effects of a batch. A panic loses the effects, and ends the associations that were about to be accepted:
/// nobody would hear of them otherwise.
fn note(core: &EndpointShared, effects: &mut BatchEffects) {
    let connected = effects.connected.clone();
    if catch_unwind(AssertUnwindSafe(|| core.note(effects))).is_err() {
        tracing::error!("a fault has lost what a batch of datagrams has brought: please report it");
        effects.forget();
        connected.into_iter().for_each(|handle| core.fail(handle));
    }
}

/// Hands over the datagrams of unknown peers. A peer that is admitted is known for the rest of the batch, too.
fn receive_strangers(
    core: &Arc<EndpointShared>,
    server: &mut Server,
    routed: &mut RoutedBatch,
    wakers: &mut Vec<Waker>,
) {
    let mut admitted = Vec::new();
    for stranger in routed.strangers.drain(..) {
        let effects = &mut routed.effects;
        let remote = stranger.datagram.route.remote;
        if let Some((_, shared)) = admitted.iter().find(|(address, _)| *address == remote) {
            let shared: &Arc<Shared> = shared;
            let input = Input::new(stranger.datagram);
            shared.contain(|| shared.receive(std::iter::once(input), wakers, effects));
            continue;
        }
        receive_stranger(core, server, &stranger, effects);
        while let Some(event) = server.poll_event() {
            admitted.extend(core.admit_contained(event, wakers, effects).map(|shared| (remote, shared)));
        }
    }
}

/// Hands over one datagram of an unknown peer. A panic ends the handshake of that peer, and nothing else.
fn receive_stranger(core: &EndpointShared, server: &mut Server, stranger: &Stranger, effects: &mut BatchEffects) {
    let answers = &mut effects.answers;
    let handle = || {
        #[cfg(test)]
        core.inject(EndpointFault::DirectListener);
        server.handle_stranger(now(), &mut TableRouter(core), stranger, answers);
    };
    if catch_unwind(AssertUnwindSafe(handle)).is_err() {
        let remote = stranger.datagram.route.remote;
        tracing::error!(remote_address = %remote, "a fault has ended the handshake of a new peer: please report it");
        server.forget(remote);
        effects.answers.discard_unfinished();
    }
}

impl EndpointTable {
    /// True if one more peer without signalling may come from this address.
    fn has_room_for(&self, ip: IpAddr, ways: Ways, config: &Config) -> bool {
        let DatagramRouter::Secure(router) = &self.router else { return false };
        ways.direct
            && !self.is_closed
            && router.len() < config.associations_max
            && router.count_at(ip) < config.associations_per_address_max
    }
}

impl EndpointShared {
    /// True if one more peer without signalling may come from this address.
    pub(in crate::endpoint) fn has_room(&self, table: &EndpointTable, ip: IpAddr) -> bool {
        let has_memory = self.secure.as_ref().is_some_and(|part| part.memory.has_room());
        has_memory && table.has_room_for(ip, self.ways, &self.config)
    }

    /// Creates the server for peers without signalling; `None` over plain UDP.
    fn new_server(&self) -> Option<Server> {
        let part = self.secure.as_ref()?;
        Some(Server::new(now(), Arc::clone(&part.context), self.lock().secure.rng.next_u64()))
    }

    /// Ends an association after a panic, because no task is left that would handle it.
    fn fail(&self, handle: AssociationHandle) {
        let shared = self.lock().associations.get(&handle).cloned();
        if let Some(shared) = shared {
            shared.on_panic();
        }
    }

    /// Applies the effects of a batch: addresses that now lead to a peer, associations that are ready to be accepted.
    fn note(&self, effects: &mut BatchEffects) {
        if effects.learned.is_empty() && effects.named.is_empty() && effects.connected.is_empty() {
            return;
        }
        #[cfg(test)]
        self.inject(EndpointFault::Note);
        let now = now();
        let mut refused = Vec::new();
        let mut wakers = Vec::new();
        let mut table = self.lock();
        if let Some(router) = table.secure_router() {
            for learned in effects.learned.drain(..) {
                router.learn(now, learned.handle, learned.address, learned.evicted);
            }
            for (handle, naming) in effects.named.drain(..) {
                router.name(handle, naming);
            }
            for handle in &effects.connected {
                router.on_connected(*handle);
            }
        }
        for handle in effects.connected.drain(..) {
            if table.secure.accepted_when_connected.remove(&handle)
                && let Some(shared) = table.associations.get(&handle).cloned()
            {
                refused.extend(self.queue(&mut table, shared, WayIn::AnsweredOffer));
            }
        }
        table.waiters.wake(Interest::Accept, &mut wakers);
        drop(table);
        wake(&mut wakers);
        for incoming in refused {
            self.count_refused();
            incoming.refuse();
        }
    }

    /// Adds to the strangers the peers that this end dials and that have dialled this end at the same time.
    fn sort_crossed(&self, batch: &mut impl ExactSizeIterator<Item = Datagram>, strangers: &mut Vec<Stranger>) {
        if batch.len() == 0 {
            return;
        }
        let table = self.lock();
        for datagram in batch {
            #[cfg(test)]
            self.inject(EndpointFault::Crossed);
            let has_room = self.has_room(&table, datagram.route.remote.ip());
            strangers.push(Stranger { datagram, is_contested: false, has_room });
        }
    }

    /// Adopts the connection of a peer that this end dials, and that has dialled this end and finished its handshake:
    /// the association goes on with that connection, with this end as the DTLS server.
    fn admit_dialled(
        &self,
        handle: AssociationHandle,
        admitted: Admitted,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) -> Option<Arc<Shared>> {
        let Admitted { route, dtls } = admitted;
        let now = now();
        let shared = self.lock().associations.get(&handle).cloned()?;
        let adopted = shared.secure()?.lock().adopt(now, route, dtls);
        if let Err(mut stranger) = adopted {
            // Somebody with another certificate is where this end dials: that attempt says so.
            stranger.close();
            while let Some(flight) = stranger.poll_transmit() {
                effects.answers.buffer().extend_from_slice(&flight);
                effects.answers.push(route);
            }
            return None;
        }
        if let Some(router) = self.lock().secure_router() {
            router.on_adopted(now, handle, route.remote);
        }
        tracing::debug!(remote_address = %route.remote, "both ends have dialled: the peer's attempt goes on");
        shared.command(|inner, _| inner.channels.set_role(&mut inner.sctp, Role::Server));
        shared.receive(std::iter::empty(), wakers, effects);
        Some(shared)
    }

    /// Creates the association of a peer that has connected without signalling, and puts it into the accept queue. A
    /// panic ends the association, and nothing else.
    fn admit_contained(
        self: &Arc<Self>,
        event: ServerEvent,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) -> Option<Arc<Shared>> {
        // A new peer has a place in the router, and no driver yet.
        let mut entered = match &event {
            ServerEvent::NewPeer(session) => Some(session.handle),
            ServerEvent::Dialled(..) => None,
        };
        let admit = || match event {
            ServerEvent::NewPeer(session) => self.admit(*session, wakers, effects, &mut entered),
            ServerEvent::Dialled(handle, admitted) => self.admit_dialled(handle, admitted, wakers, effects),
        };
        catch_unwind(AssertUnwindSafe(admit)).unwrap_or_else(|_| {
            tracing::error!("a fault has ended the association of a new peer: please report it");
            if let Some(handle) = entered {
                let shared = self.lock().associations.get(&handle).cloned();
                match shared {
                    // Its driver tells the peer.
                    Some(shared) => {
                        shared.on_panic();
                        self.spawn_driver(handle, shared);
                    }
                    None => self.remove(handle),
                }
            }
            None
        })
    }

    /// Takes the handle out of `entered` when the association has a driver.
    fn admit(
        self: &Arc<Self>,
        session: SecureSession,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
        entered: &mut Option<AssociationHandle>,
    ) -> Option<Arc<Shared>> {
        let part = self.secure.as_ref()?;
        let handle = session.handle;
        let mut table = self.lock();
        let limits = self.channel_limits.for_peer(UNKNOWN_PEER_MESSAGE_SIZE_MAX);
        let shared = self.enter(&mut table, part, handle, Role::Server, session, &limits);
        #[cfg(test)]
        self.inject(EndpointFault::Admit);
        let refused = self.queue(&mut table, Arc::clone(&shared), WayIn::Direct);
        table.waiters.wake(Interest::Accept, wakers);
        drop(table);
        // Handles the rest of the handshake's last datagram, and first of all the event that the handshake is done.
        shared.receive(std::iter::empty(), wakers, effects);
        tracing::debug!(remote_address = %shared.remote_address(), "association made by the peer");
        self.spawn_driver(handle, Arc::clone(&shared));
        *entered = None;
        if let Some(incoming) = refused {
            self.count_refused();
            incoming.refuse();
        }
        Some(shared)
    }
}
