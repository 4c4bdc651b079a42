//! Peers without signalling, from their first datagram to a session: the direct listener, and the sessions of those
//! that it lets in. It has no socket, no clock and no lock.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use narrowboat_sctp::AssociationHandle;

use super::direct_listener::{Admitted, DirectListener};
use super::router::SecureRouter;
use super::session::{Context, SecureSession};
use crate::net::{Answers, Datagram, Stranger};

/// Access to the router. Others use the router, too, so it may be locked: it is requested only when it is needed, and
/// never while a handshake is computed.
pub(crate) trait RouterAccess {
    /// Uses the router; `None` if there is none any more.
    fn with_router<R>(&mut self, act: impl FnOnce(&mut SecureRouter) -> R) -> Option<R>;
}

impl RouterAccess for SecureRouter {
    fn with_router<R>(&mut self, act: impl FnOnce(&mut SecureRouter) -> R) -> Option<R> {
        Some(act(self))
    }
}

/// Handshakes of peers that the router does not know. Only the receiver uses it.
pub(crate) struct Server {
    context: Arc<Context>,
    listener: DirectListener,
    events: VecDeque<ServerEvent>,
}

/// A peer has finished its handshake.
#[derive(Debug)]
pub(crate) enum ServerEvent {
    /// It has come without signalling. The router knows it.
    NewPeer(Box<SecureSession>),
    /// It is the one that this peer of the router dials: see [`SecureSession::adopt`].
    Dialled(AssociationHandle, Admitted),
}

impl Server {
    /// Creates a server. `salt` must come from a secure source of randomness.
    pub(crate) fn new(now: Instant, context: Arc<Context>, salt: u64) -> Self {
        let listener = DirectListener::new(now, Arc::clone(&context), salt);
        Self { context, listener, events: VecDeque::new() }
    }

    /// Handles a datagram of an unknown peer. Appends the datagrams to send to `answers`.
    pub(crate) fn handle_stranger(
        &mut self,
        now: Instant,
        router: &mut impl RouterAccess,
        stranger: &Stranger,
        answers: &mut Answers,
    ) {
        let Some(admitted) = self.listener.handle(now, stranger, answers) else { return };
        let remote = admitted.route.remote;
        let dialled = router.with_router(|router| router.asked_at(&remote)).flatten();
        let event = match dialled {
            Some(handle) => Some(ServerEvent::Dialled(handle, admitted)),
            None => router.with_router(|router| router.insert_direct(now, remote)).map(|handle| {
                let Admitted { route, dtls } = admitted;
                let session = SecureSession::direct(now, handle, Arc::clone(&self.context), route, dtls);
                ServerEvent::NewPeer(Box::new(session))
            }),
        };
        self.events.extend(event);
    }

    /// Handles the timers that are due. Appends the datagrams to send to `answers`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, answers: &mut Answers) {
        self.listener.handle_timeout(now, answers);
    }

    /// Returns what has happened since the last call, one event after another.
    pub(crate) fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.listener.poll_timeout()
    }

    /// Returns the datagram as one of a stranger if a handshake with its sender has begun. It comes from the address of
    /// a known peer, which gets it, too.
    pub(crate) fn newcomer(&mut self, datagram: Datagram) -> Option<Stranger> {
        let has_begun = self.listener.has_begun(datagram.route.remote);
        has_begun.then_some(Stranger { datagram, is_contested: false, has_room: true })
    }

    /// Forgets the handshake with a peer, if there is one.
    pub(crate) fn forget(&mut self, remote: SocketAddr) {
        self.listener.forget(remote);
    }
}
