//! Datagrams of peers that are not known: the direct listener, and the associations of those that it lets in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use narrowboat_dcep::Role;
use narrowboat_sctp::AssociationHandle;
use rand::Rng;

use crate::association::{Shared, now};
use crate::endpoint::WayIn;
use crate::endpoint::batch::RoutedBatch;
use crate::endpoint::contained::sort;
#[cfg(test)]
use crate::endpoint::fault::EndpointFault;
use crate::endpoint::shared::EndpointShared;
use crate::net::{Answers, BatchEffects, Datagram, Input, Stranger};
use crate::webrtc::demux::Protocol;
use crate::webrtc::{Admitted, DirectListener, NewPeer, SecureSession};

/// Largest message for a peer without a description, whose limit is therefore unknown: the limit of Chromium.
const UNKNOWN_PEER_MESSAGE_SIZE_MAX: usize = 256 << 10;

/// Listener for peers without signalling. Only the receive loop uses it, so it needs no lock.
pub(in crate::endpoint) struct Strangers {
    /// `None` over plain UDP.
    listener: Option<DirectListener>,
}

impl Strangers {
    pub(in crate::endpoint) fn new(core: &EndpointShared) -> Self {
        Self { listener: core.new_listener() }
    }

    /// True if a datagram may be for somebody here: over DTLS its first byte says so, over plain UDP only all of it
    /// does.
    pub(in crate::endpoint) fn is_wanted(&self, datagram: &[u8]) -> bool {
        self.listener.is_none() || Protocol::of(datagram).is_some()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(in crate::endpoint) fn poll_timeout(&self) -> Option<Instant> {
        self.listener.as_ref().and_then(DirectListener::poll_timeout)
    }

    /// Handles the part of a batch that belongs to no known peer, and applies the effects of the batch.
    pub(in crate::endpoint) fn handle_batch(
        &mut self,
        core: &Arc<EndpointShared>,
        routed: &mut RoutedBatch,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some(listener) = &mut self.listener {
            sort_strangers(core, listener, routed);
            receive_strangers(core, listener, routed, wakers);
        }
        note(core, &mut routed.effects);
    }

    /// Fires what is due. A panic ends the handshakes that have begun: the peers begin again.
    pub(in crate::endpoint) fn handle_timeout(&mut self, core: &EndpointShared, answers: &mut Answers) {
        let Some(listener) = &mut self.listener else { return };
        let handle_timeout = || {
            #[cfg(test)]
            core.inject(EndpointFault::DirectListenerTimeout);
            listener.handle_timeout(now(), answers);
        };
        if catch_unwind(AssertUnwindSafe(handle_timeout)).is_err() {
            tracing::error!("a fault has ended the handshakes of new peers: please report it");
            answers.discard_unfinished();
            self.listener = core.new_listener();
        }
    }
}

/// Moves datagrams from the addresses of known peers to the strangers' datagrams: those of peers that have dialled this
/// end while it dials them, and those of newcomers that have begun a handshake.
fn sort_strangers(core: &EndpointShared, listener: &mut DirectListener, routed: &mut RoutedBatch) {
    let RoutedBatch { strangers, newcomers, effects, .. } = routed;
    sort(effects.crossed.drain(..), |batch| core.sort_crossed(batch, strangers));
    sort(newcomers.drain(..), |batch| {
        for datagram in batch {
            #[cfg(test)]
            core.inject(EndpointFault::Newcomer);
            strangers.extend(listener.newcomer(datagram));
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
    listener: &mut DirectListener,
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
        let peer = receive_stranger(core, listener, &stranger, effects);
        let shared = peer.and_then(|peer| core.admit_contained(peer, wakers, effects));
        admitted.extend(shared.map(|shared| (remote, shared)));
    }
}

/// Hands over one datagram of an unknown peer. A panic ends the handshake of that peer, and nothing else.
fn receive_stranger(
    core: &EndpointShared,
    listener: &mut DirectListener,
    stranger: &Stranger,
    effects: &mut BatchEffects,
) -> Option<NewPeer> {
    let answers = &mut effects.answers;
    let handle = || {
        #[cfg(test)]
        core.inject(EndpointFault::DirectListener);
        let now = now();
        // The handshake is computed before the routes are locked.
        let admitted = listener.handle(now, stranger, answers)?;
        core.routes().server().map(|server| server.on_admitted(now, admitted))
    };
    catch_unwind(AssertUnwindSafe(handle)).unwrap_or_else(|_| {
        let remote = stranger.datagram.route.remote;
        tracing::error!(remote_address = %remote, "a fault has ended the handshake of a new peer: please report it");
        listener.forget(remote);
        effects.answers.discard_unfinished();
        None
    })
}

impl EndpointShared {
    /// Creates the listener for peers without signalling; `None` over plain UDP.
    fn new_listener(&self) -> Option<DirectListener> {
        let part = self.secure.as_ref()?;
        let salt = self.routes().server()?.rng().next_u64();
        Some(DirectListener::new(now(), Arc::clone(&part.context), salt))
    }

    /// Ends an association after a panic, because no task is left that would handle it.
    fn fail(&self, handle: AssociationHandle) {
        let shared = self.routes().get(handle).cloned();
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
        let mut accepted = Vec::new();
        {
            let mut routes = self.routes();
            let Some(server) = routes.server() else { return };
            server.apply(now(), effects, |handle| accepted.push(handle));
        }
        for handle in accepted {
            let shared = self.routes().get(handle).cloned();
            if let Some(shared) = shared {
                self.enqueue(shared, WayIn::AnsweredOffer);
            }
        }
    }

    /// Adds to the strangers the peers that this end dials and that have dialled this end at the same time.
    fn sort_crossed(&self, batch: &mut impl ExactSizeIterator<Item = Datagram>, strangers: &mut Vec<Stranger>) {
        if batch.len() == 0 {
            return;
        }
        let mut routes = self.routes();
        let Some(server) = routes.server() else { return };
        for datagram in batch {
            #[cfg(test)]
            self.inject(EndpointFault::Crossed);
            strangers.push(server.crossed(datagram));
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
        let shared = self.routes().get(handle).cloned()?;
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
        if let Some(server) = self.routes().server() {
            server.on_adopted(now, handle, route.remote);
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
        peer: NewPeer,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) -> Option<Arc<Shared>> {
        // A new peer has a place in the router, and no driver yet.
        let mut entered = match &peer {
            NewPeer::Session(session) => Some(session.handle),
            NewPeer::Dialled(..) => None,
        };
        let admit = || match peer {
            NewPeer::Session(session) => self.admit(*session, wakers, effects, &mut entered),
            NewPeer::Dialled(handle, admitted) => self.admit_dialled(handle, admitted, wakers, effects),
        };
        catch_unwind(AssertUnwindSafe(admit)).unwrap_or_else(|_| {
            tracing::error!("a fault has ended the association of a new peer: please report it");
            if let Some(handle) = entered {
                let shared = self.routes().get(handle).cloned();
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
        let limits = self.channel_limits.for_peer(UNKNOWN_PEER_MESSAGE_SIZE_MAX);
        let shared = {
            let mut routes = self.routes();
            let sctp = part.association(handle, routes.server()?.draw());
            let shared = self.enter(&mut routes, sctp, Role::Server, session, &limits);
            #[cfg(test)]
            self.inject(EndpointFault::Admit);
            shared
        };
        // Handles the rest of the handshake's last datagram, and first of all the event that the handshake is done.
        shared.receive(std::iter::empty(), wakers, effects);
        tracing::debug!(remote_address = %shared.remote_address(), "association made by the peer");
        self.spawn_driver(handle, Arc::clone(&shared));
        *entered = None;
        self.enqueue(Arc::clone(&shared), WayIn::Direct);
        Some(shared)
    }
}
