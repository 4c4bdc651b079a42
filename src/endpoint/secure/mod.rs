//! Associations over DTLS: the parts that an endpoint with an identity has beyond one for plain UDP.

mod candidates;
mod description;
mod options;
mod sessions;
mod strangers;
mod ticket;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_dcep::Role;
use narrowboat_sctp::{AssociationConfig, AssociationHandle, CookieKeys, MemoryBudget, SignalledInit, Valid};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::sessions::{Said, SessionKey, Sessions, TransportKey};
use crate::association::secure_transport::SecureTransport;
use crate::association::{Shared, Transport, now};
use crate::config::{ChannelLimits, Config};
use crate::endpoint::builder::draw_seed;
use crate::endpoint::router::{DatagramRouter, RouteResult};
use crate::endpoint::table::{EndpointShared, EndpointTable};
use crate::error::{BindError, ConnectError, SignalError};
use crate::net::Datagram;
use crate::webrtc::admission::Source;
use crate::webrtc::direct::Prefixes;
use crate::webrtc::dtls::{self, DtlsParameters, ExpectedPeer, Version, Versions};
use crate::webrtc::ice::{CONSENT_TIMEOUT, ControllingAgent, Credentials};
use crate::webrtc::{Context, Identity, Reachability, RouteTarget, SecureCounters, SecureSession};

/// Peers that are expected by signalling and not connected yet, at most. The limit bounds the memory that clients of
/// the signalling can make this end hold.
const PENDING_MAX: usize = 1024;

/// Largest message for a peer without a description, whose limit is therefore unknown: the limit of Chromium.
const UNKNOWN_PEER_MESSAGE_SIZE_MAX: usize = 256 << 10;

pub(super) use crate::webrtc::SecureRouter;
#[cfg(feature = "axum")]
pub(crate) use description::AnsweredOffer;
pub use description::{Answer, DtlsRole, Offer};
pub(super) use options::SecureOptions;
pub(super) use strangers::Strangers;
pub(super) use ticket::SecureTarget;

/// Parts of an endpoint with an identity.
#[derive(Debug)]
pub(crate) struct SecurePart {
    pub(crate) identity: Identity,
    pub(crate) context: Arc<Context>,
    /// Addresses that peers are told for this endpoint, if not those of its interfaces.
    pub(crate) advertised: Vec<SocketAddr>,
    keys: CookieKeys,
    association: Valid<AssociationConfig>,
    /// Memory budget that all associations share.
    pub(super) memory: MemoryBudget,
}

/// Part of the endpoint's table that only associations over DTLS need.
#[derive(Debug)]
pub(super) struct SecureTable {
    /// Source of all that must not be guessed.
    pub(super) rng: StdRng,
    /// Associations that wait to be accepted as soon as they are connected.
    accepted_when_connected: HashSet<AssociationHandle>,
    /// Descriptions that peers have sent before.
    sessions: Sessions,
}

impl SecureTable {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let rng = StdRng::from_seed(seed);
        Self { rng, accepted_when_connected: HashSet::new(), sessions: Sessions::default() }
    }
}

impl SecurePart {
    pub(crate) fn new(
        identity: Identity,
        advertised: Vec<SocketAddr>,
        prefixes: Prefixes,
        versions: Versions,
        config: &Config,
    ) -> Result<Self, BindError> {
        let parameters =
            DtlsParameters::new(identity.certificate_der(), identity.key_der(), versions, config.association.mtu)
                .map_err(|error| BindError::Identity(error.to_string()))?;
        let context = Context {
            parameters: Arc::new(parameters),
            prefixes,
            counters: Arc::new(SecureCounters::default()),
            consent_timeout: config.consent_timeout.unwrap_or(CONSENT_TIMEOUT),
            reachability: Reachability::new(now(), &draw_seed()?),
        };
        let keys = CookieKeys::new(now(), draw_seed()?);
        let association = Valid::new(below_dtls(config.association()))?;
        let memory = MemoryBudget::new(config.memory_max);
        Ok(Self { identity, context: Arc::new(context), advertised, keys, association, memory })
    }

    /// Counts datagrams that belong to no protocol.
    pub(super) fn count_unknown(&self, count: usize) {
        self.context.counters.unknown_protocol.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn router(&self) -> DatagramRouter {
        let Context { counters, reachability, .. } = &*self.context;
        DatagramRouter::Secure(Box::new(SecureRouter::new(Arc::clone(counters), reachability.clone())))
    }

    fn association(&self, handle: AssociationHandle, seed: [u8; 32]) -> narrowboat_sctp::Association {
        self.association_with(self.association.clone(), handle, seed)
    }

    /// Creates an association that knows no address, and does nothing before it has a transport.
    fn association_with(
        &self,
        config: Valid<AssociationConfig>,
        handle: AssociationHandle,
        seed: [u8; 32],
    ) -> narrowboat_sctp::Association {
        // A cookie of one association is worth nothing in another.
        let binding = handle.0.to_be_bytes();
        let mut association = narrowboat_sctp::Association::new(config, self.keys.clone(), &binding, seed);
        association.set_memory_budget(&self.memory);
        association
    }
}

/// Reason for which a peer is expected.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExpectedFor {
    /// This end has made an offer.
    Offer,
    /// This end answers an offer, which this client has sent if that is known.
    Answer(Option<Source>),
}

impl ExpectedFor {
    fn source(self) -> Option<Source> {
        match self {
            Self::Offer => None,
            Self::Answer(source) => source,
        }
    }
}

/// Parameters that the description of a peer has settled.
#[derive(Debug)]
pub(super) struct PeerSide {
    /// This end's part in the handshake.
    pub(super) role: dtls::SetupRole,
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
fn sctp_role(role: dtls::SetupRole) -> Role {
    match role {
        dtls::SetupRole::Active => Role::Client,
        dtls::SetupRole::Passive => Role::Server,
    }
}

/// Returns the configuration with the MTU less the overhead of a DTLS record, because the configured size is that of a
/// datagram. The DTLS version is not known yet, so the larger overhead is assumed.
fn below_dtls(mut config: AssociationConfig) -> AssociationConfig {
    config.mtu = Version::Dtls12.packet_len_max(config.mtu).max(576);
    config
}

/// Routes a datagram on an endpoint that speaks DTLS.
pub(super) fn route(router: &mut SecureRouter, now: Instant, datagram: Datagram) -> RouteResult {
    match router.route(now, datagram) {
        RouteTarget::Peer(handle, input) => RouteResult::Existing(handle, input),
        RouteTarget::PeerOrNewcomer(handle, datagram) => RouteResult::ExistingOrNewcomer(handle, datagram),
        RouteTarget::Stranger(stranger) => RouteResult::Stranger(stranger),
        RouteTarget::Nobody => RouteResult::Done,
    }
}

impl EndpointTable {
    fn secure_router(&mut self) -> Option<&mut SecureRouter> {
        match &mut self.router {
            DatagramRouter::Plain(_) => None,
            DatagramRouter::Secure(router) => Some(router),
        }
    }

    /// Forgets what signalling has left of an association that ends. Its place in the router is still there.
    pub(super) fn forget_signalled(&mut self, handle: AssociationHandle) {
        self.secure.accepted_when_connected.remove(&handle);
        let was_connected = self.secure_router().is_some_and(|router| !router.is_pending(handle));
        self.secure.sessions.remove(handle, was_connected);
    }

    fn draw(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.secure.rng.fill_bytes(&mut seed);
        seed
    }
}

impl EndpointShared {
    /// Starts an association with the peer that has this certificate, at one of these addresses.
    pub(crate) fn connect_secure(
        self: &Arc<Self>,
        addresses: &[SocketAddr],
        local: Credentials,
        remote: Credentials,
        expected: ExpectedPeer,
    ) -> Result<Arc<Shared>, ConnectError> {
        let part = self.secure.as_ref().ok_or(ConnectError::IdentityNeeded)?;
        let now = now();
        let mut table = self.lock();
        if table.is_closed {
            return Err(ConnectError::EndpointClosed);
        }
        let seed = table.draw();
        let router = table.secure_router().ok_or(ConnectError::IdentityNeeded)?;
        if router.len() >= self.config.associations_max {
            return Err(ConnectError::TooManyAssociations);
        }
        if !part.memory.has_room() {
            return Err(ConnectError::OutOfMemory);
        }
        let handle = router.insert_asked(now, addresses, local.ufrag()).map_err(ConnectError::AlreadyConnected)?;
        let agent = ControllingAgent::new(now, local, remote, addresses, part.context.consent_timeout, seed);
        let secure = SecureSession::controlling(handle, Arc::clone(&part.context), agent, addresses, expected);
        let shared = self.enter(&mut table, part, handle, Role::Client, secure, &self.channel_limits);
        drop(table);
        self.spawn_driver(handle, Arc::clone(&shared));
        self.check_ports(&shared, addresses);
        Ok(shared)
    }

    /// Makes room for a peer that will connect with these credentials of ours, and whose description is still to come.
    /// `patience` bounds the wait for its first check.
    ///
    /// Peers that were answered and have not come make room for others.
    pub(super) fn expect_peer(
        self: &Arc<Self>,
        patience: Duration,
        cause: ExpectedFor,
    ) -> Result<(Arc<Shared>, Credentials), SignalError> {
        let part = self.secure.as_ref().ok_or(SignalError::IdentityNeeded)?;
        let now = now();
        let mut table = self.lock();
        if table.is_closed {
            return Err(SignalError::EndpointClosed);
        }
        let local = Credentials::generate(&mut table.secure.rng);
        let router = table.secure_router().ok_or(SignalError::IdentityNeeded)?;
        if router.len() >= self.config.associations_max {
            return Err(SignalError::TooManyAssociations);
        }
        if !part.memory.has_room() {
            return Err(SignalError::OutOfMemory);
        }
        let displaced = if router.pending() >= PENDING_MAX {
            Some(router.displaceable(cause.source()).ok_or(SignalError::TooManyPending)?)
        } else {
            None
        };
        let handle = match cause {
            ExpectedFor::Answer(source) => router.insert_answered(local.ufrag(), source),
            ExpectedFor::Offer => router.insert_signalled(local.ufrag()),
        };
        if let Some(displaced) = displaced {
            router.remove(displaced);
        }
        let displaced = displaced.and_then(|displaced| table.associations.get(&displaced).cloned());
        let secure = SecureSession::lite(now, handle, Arc::clone(&part.context), local.clone(), patience);
        let shared = self.enter(&mut table, part, handle, Role::Server, secure, &self.channel_limits);
        drop(table);
        if let Some(displaced) = displaced {
            displaced.command(|inner, _| inner.abort("other peers came first"));
        }
        self.spawn_driver(handle, Arc::clone(&shared));
        Ok((shared, local))
    }

    /// Finds the association that an offer belongs to, if the peer has offered before.
    fn find_session(
        &self,
        key: SessionKey,
        transport: TransportKey,
    ) -> Result<Option<(Arc<Shared>, Said)>, SignalError> {
        let mut table = self.lock();
        let table = &mut *table;
        if table.is_closed {
            return Err(SignalError::EndpointClosed);
        }
        let DatagramRouter::Secure(router) = &table.router else { return Ok(None) };
        let found = table.secure.sessions.find(key, transport, |handle| !router.is_pending(handle))?;
        Ok(found.and_then(|(handle, said)| Some((Arc::clone(table.associations.get(&handle)?), said))))
    }

    /// Remembers what was said to the peer of an association, for its next offer.
    fn remember_session(&self, shared: &Shared, key: SessionKey, transport: TransportKey, said: Said) {
        let Some(secure) = shared.secure() else { return };
        let mut table = self.lock();
        if table.associations.contains_key(&secure.handle()) {
            table.secure.sessions.insert(key, secure.handle(), transport, said);
        }
    }

    /// Applies the peer's description. Returns this end's INIT, if the peer's INIT has come with the description.
    pub(super) fn describe_peer(&self, shared: &Shared, peer: PeerSide) -> Option<Bytes> {
        let (part, secure) = (self.secure.as_ref()?, shared.secure()?);
        let now = now();
        let PeerSide { role, expected, credentials, sctp_port, message_size_max, signalled_init } = peer;
        let limits = self.channel_limits.for_peer(message_size_max);
        let core = {
            let mut table = self.lock();
            let association = NonZeroU16::new(sctp_port)
                .map_or_else(|| part.association.clone(), |port| part.association.with_remote_port(port));
            part.association_with(association, secure.handle(), table.draw())
        };
        let own_init = signalled_init.as_ref().and_then(|_| core.signalled_init());
        shared.set_description(core, sctp_role(role), &limits, signalled_init);
        secure.lock().describe(now, role, expected, credentials);
        shared.work.notify_one();
        own_init
    }

    /// Marks the association, so that `accept` returns it when it is connected.
    pub(super) fn accept_when_connected(&self, shared: &Shared) {
        if let Some(secure) = shared.secure() {
            self.lock().secure.accepted_when_connected.insert(secure.handle());
        }
    }

    /// Puts a new association into the table.
    pub(super) fn enter(
        &self,
        table: &mut EndpointTable,
        part: &SecurePart,
        handle: AssociationHandle,
        role: Role,
        session: SecureSession,
        limits: &ChannelLimits,
    ) -> Arc<Shared> {
        let association = part.association(handle, table.draw());
        let transport = Transport::Secure(Box::new(SecureTransport::new(session)));
        let shared = Shared::new(handle, &self.span, association, role, transport, limits);
        table.associations.insert(handle, Arc::clone(&shared));
        shared
    }
}
