//! Associations over DTLS: those that this end dials, and those that descriptions begin.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_dcep::Role;
use narrowboat_sctp::SignalledInit;

use super::part::SecurePart;
use crate::association::secure_transport::SecureTransport;
use crate::association::{Shared, Transport, now};
use crate::config::ChannelLimits;
use crate::endpoint::routes::RouteTable;
use crate::endpoint::shared::EndpointShared;
use crate::error::{ConnectError, SignalError};
use crate::webrtc::direct::ClientCredentials;
use crate::webrtc::dtls::{ExpectedPeer, SetupRole};
use crate::webrtc::ice::Credentials;
use crate::webrtc::{
    DialRefusal, ExpectRefusal, ExpectedFor, ExpectedSession, LocalParameters, RoomRefusal, SecureSession,
    SessionConflict, SessionKey, TransportKey,
};

/// Parameters that the description of a peer has settled.
#[derive(Debug)]
pub(super) struct PeerSide {
    /// This end's part in the handshake.
    pub(super) role: SetupRole,
    pub(super) expected: ExpectedPeer,
    /// The peer's own ICE credentials.
    pub(super) credentials: Credentials,
    pub(super) sctp_port: u16,
    /// Largest message that the peer takes; 0 is no limit.
    pub(super) message_size_max: usize,
    /// Its INIT, if it would rather not send one.
    pub(super) signalled_init: Option<SignalledInit>,
}

/// Returns the role of this end in DCEP: the DTLS client opens channels on even streams (RFC 8832 §6).
fn sctp_role(role: SetupRole) -> Role {
    match role {
        SetupRole::Active => Role::Client,
        SetupRole::Passive => Role::Server,
    }
}

impl From<DialRefusal> for ConnectError {
    fn from(refusal: DialRefusal) -> Self {
        match refusal {
            DialRefusal::NoRoom(RoomRefusal::Closed) => Self::EndpointClosed,
            DialRefusal::NoRoom(RoomRefusal::TooManyPeers) => Self::TooManyAssociations,
            DialRefusal::NoRoom(RoomRefusal::OutOfMemory) => Self::OutOfMemory,
            DialRefusal::AddressTaken(address) => Self::AlreadyConnected(address),
        }
    }
}

impl From<ExpectRefusal> for SignalError {
    fn from(refusal: ExpectRefusal) -> Self {
        match refusal {
            ExpectRefusal::NoRoom(RoomRefusal::Closed) => Self::EndpointClosed,
            ExpectRefusal::NoRoom(RoomRefusal::TooManyPeers) => Self::TooManyAssociations,
            ExpectRefusal::NoRoom(RoomRefusal::OutOfMemory) => Self::OutOfMemory,
            ExpectRefusal::TooManyPending => Self::TooManyPending,
        }
    }
}

impl From<SessionConflict> for SignalError {
    fn from(conflict: SessionConflict) -> Self {
        match conflict {
            SessionConflict::Restart => Self::Restart,
            SessionConflict::Ended => Self::SessionEnded,
        }
    }
}

impl EndpointShared {
    /// Starts an association with the peer that has this certificate, at one of these addresses.
    pub(in crate::endpoint) fn connect_secure(
        self: &Arc<Self>,
        addresses: &[SocketAddr],
        credentials: ClientCredentials,
        expected: ExpectedPeer,
    ) -> Result<Arc<Shared>, ConnectError> {
        let part = self.secure.as_ref().ok_or(ConnectError::IdentityNeeded)?;
        let mut routes = self.routes();
        let server = routes.server().ok_or(ConnectError::IdentityNeeded)?;
        let session = server.dial(now(), addresses, credentials, expected)?;
        let (handle, sctp) = (session.handle, part.association(session.handle, server.draw()));
        let shared = self.enter(&mut routes, sctp, Role::Client, session, &self.channel_limits);
        drop(routes);
        self.spawn_driver(handle, Arc::clone(&shared));
        self.check_ports(&shared, addresses);
        Ok(shared)
    }

    /// Creates the association of a peer that will connect with new credentials of this end, and whose description is
    /// still to come. `first_check_timeout` bounds the wait for its first check.
    pub(super) fn expect_peer(
        self: &Arc<Self>,
        first_check_timeout: Duration,
        cause: ExpectedFor,
    ) -> Result<(Arc<Shared>, LocalParameters), SignalError> {
        let part = self.secure.as_ref().ok_or(SignalError::IdentityNeeded)?;
        let mut routes = self.routes();
        let server = routes.server().ok_or(SignalError::IdentityNeeded)?;
        let ExpectedSession { session, local, displaced } = server.expect(now(), first_check_timeout, cause)?;
        let (handle, sctp) = (session.handle, part.association(session.handle, server.draw()));
        let displaced = displaced.and_then(|displaced| routes.get(displaced).cloned());
        let shared = self.enter(&mut routes, sctp, Role::Server, session, &self.channel_limits);
        drop(routes);
        if let Some(displaced) = displaced {
            displaced.command(|inner, _| inner.abort("other peers came first"));
        }
        self.spawn_driver(handle, Arc::clone(&shared));
        Ok((shared, local))
    }

    /// Finds the association that an offer belongs to, if the peer has offered before.
    pub(super) fn find_session(
        &self,
        key: SessionKey,
        transport: TransportKey,
    ) -> Result<Option<(Arc<Shared>, LocalParameters)>, SignalError> {
        let mut routes = self.routes();
        if routes.is_closed() {
            return Err(SignalError::EndpointClosed);
        }
        let Some(server) = routes.server() else { return Ok(None) };
        let found = server.find_session(key, transport)?;
        Ok(found.and_then(|(handle, local)| Some((Arc::clone(routes.get(handle)?), local))))
    }

    /// Remembers the descriptions of a peer for its next offer.
    pub(super) fn remember_session(
        &self,
        shared: &Shared,
        key: SessionKey,
        transport: TransportKey,
        local: LocalParameters,
    ) {
        let Some(secure) = shared.secure() else { return };
        if let Some(server) = self.routes().server() {
            server.remember_session(secure.handle(), key, transport, local);
        }
    }

    /// Draws the seed of an association that a description begins.
    pub(super) fn draw_seed(&self) -> Result<[u8; 32], SignalError> {
        Ok(self.routes().server().ok_or(SignalError::IdentityNeeded)?.draw())
    }

    /// Returns the INIT of the association that [`describe_peer`](Self::describe_peer) creates with this seed.
    pub(super) fn signalled_init(&self, part: &SecurePart, shared: &Shared, seed: [u8; 32]) -> Option<Bytes> {
        part.association(shared.secure()?.handle(), seed).signalled_init()
    }

    /// Applies the peer's description. Returns this end's INIT, if the peer's INIT has come with the description.
    pub(super) fn describe_peer(&self, shared: &Shared, peer: PeerSide, seed: [u8; 32]) -> Option<Bytes> {
        let (part, secure) = (self.secure.as_ref()?, shared.secure()?);
        let PeerSide { role, expected, credentials, sctp_port, message_size_max, signalled_init } = peer;
        let limits = self.channel_limits.for_peer(message_size_max);
        let config = NonZeroU16::new(sctp_port)
            .map_or_else(|| part.association.clone(), |port| part.association.with_remote_port(port));
        let sctp = part.association_with(config, secure.handle(), seed);
        let own_init = signalled_init.as_ref().and_then(|_| sctp.signalled_init());
        shared.set_description(sctp, sctp_role(role), &limits, signalled_init);
        secure.lock().describe(now(), role, expected, credentials);
        shared.work.notify_one();
        own_init
    }

    /// Marks the association, so that `accept` returns it when it is connected.
    pub(super) fn accept_when_connected(&self, shared: &Shared) {
        if let Some(secure) = shared.secure()
            && let Some(server) = self.routes().server()
        {
            server.accept_when_connected(secure.handle());
        }
    }

    /// Enters an association over DTLS into the table.
    pub(super) fn enter(
        &self,
        routes: &mut RouteTable,
        sctp: narrowboat_sctp::Association,
        role: Role,
        session: SecureSession,
        limits: &ChannelLimits,
    ) -> Arc<Shared> {
        let handle = session.handle;
        let transport = Transport::Secure(Box::new(SecureTransport::new(session)));
        let shared = Shared::new(handle, &self.span, sctp, role, transport, limits);
        routes.insert(handle, Arc::clone(&shared));
        shared
    }
}
