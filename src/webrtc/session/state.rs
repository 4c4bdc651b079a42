//! State of a session, and its steps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::AssociationHandle;

use super::Context;
use super::crossing::{Crossing, Recipient};
use crate::counters::count_drop;
use crate::net::effects::UfragClaim;
use crate::net::{BatchEffects, Datagram, Route, SessionProgress, TransportFailure};
use crate::webrtc::admission::Budget;
use crate::webrtc::direct::DirectName;
use crate::webrtc::dtls::{Dtls, DtlsEvent, DtlsFailure, ExpectedPeer, SetupRole};
use crate::webrtc::ice::{self, CheckRefusal, Checked, ConsentError, ControllingAgent, Credentials, LiteAgent};
use crate::webrtc::reachability::ProofSubject;
use crate::webrtc::stun::{Class, Key, StunMessage, Username};

/// DTLS datagrams of a peer that are kept until its description is there: a ClientHello in two halves, once repeated.
const EARLY_DATAGRAMS_MAX: usize = 4;

/// Time that checks and DTLS handshake may take together. Browsers give up ICE after some 30 seconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) agent: Agent,
    pub(super) session: DtlsSession,
    /// Destination of datagrams: at first the address that was checked first or nominated; once connected, one from
    /// which the peer has shown that it receives there.
    pub(super) route: Option<Route>,
    /// Destination that the peer wants next, until the peer has shown that it receives there.
    pub(super) nominated: Option<Route>,
    /// Datagrams to send: handshakes, checks, probes.
    pub(super) outgoing: Vec<(Route, Vec<u8>)>,
    /// Addresses that this end asks, and that the system has not said to be unreachable.
    pub(super) asked: Vec<SocketAddr>,
    /// The peer's own attempt to connect, while this end dials it.
    pub(super) crossing: Option<Crossing>,
    /// Time by which checks and DTLS handshake must be done.
    pub(super) connect_by: Option<Instant>,
    /// True if the peer has ever sent a packet.
    pub(super) has_received: bool,
    /// Bytes that may be sent to the route of a peer that checks us, until its handshake is done: anyone who knows the
    /// credentials can check from an address that is somebody else's.
    pub(super) budget: Budget,
    /// Without consent not even an end may be sent (RFC 7675 §5.1).
    pub(super) consent_lost: bool,
    /// The peer's own credentials, of a peer with signalling whose description is here.
    pub(super) peer: Option<Credentials>,
}

/// ICE agent, which finds out where the peer is, and whether the peer still consents.
#[derive(Debug)]
pub(super) enum Agent {
    Lite(Box<LiteAgent>),
    /// Of a peer without signalling that has not confirmed what its checks name. Whatever a check from its address
    /// names is answered and asked about: anybody can forge such a check, and only the peer receives the question.
    Unnamed(Box<LiteAgent>),
    Controlling(Box<ControllingAgent>),
}

pub(super) enum DtlsSession {
    /// The peer's description is not there yet; what came early.
    Undescribed(Vec<Datagram>),
    /// This end is to begin the handshake as soon as it knows where the peer is.
    Waiting(ExpectedPeer),
    Running(Box<Dtls>),
}

impl SessionState {
    /// Returns the recipient of a datagram that has come from the peer's address.
    pub(super) fn recipient(&mut self, datagram: &Datagram) -> Recipient {
        match &mut self.crossing {
            Some(crossing) => crossing.recipient(&datagram.bytes),
            None => Recipient::DtlsSession,
        }
    }

    pub(super) fn on_datagram(
        &mut self,
        now: Instant,
        datagram: Datagram,
        context: &Context,
        packets: &mut Vec<Bytes>,
        progress: &mut SessionProgress,
    ) {
        // RFC 8445 §12.2: what comes from where no check has come from is not the peer's.
        let remote = datagram.route.remote;
        let is_from_peer = match &self.agent {
            Agent::Lite(agent) => agent.is_valid(now, remote) || self.route.is_some_and(|route| route.remote == remote),
            Agent::Unnamed(_) | Agent::Controlling(_) => true,
        };
        if !is_from_peer {
            count_drop!(context.counters, stray_dtls, remote_address = %remote);
            return;
        }
        self.on_received(remote, datagram.bytes.len());
        match &mut self.session {
            DtlsSession::Running(dtls) => {
                dtls.handle_datagram(now, &datagram.bytes);
                self.poll_session(packets, progress);
            }
            DtlsSession::Undescribed(early) if early.len() < EARLY_DATAGRAMS_MAX => early.push(datagram),
            DtlsSession::Undescribed(_) | DtlsSession::Waiting(_) => {
                count_drop!(context.counters, early_overflow, remote_address = %remote);
            }
        }
    }

    /// Collects the events and the datagrams of the DTLS session.
    pub(super) fn poll_session(&mut self, packets: &mut Vec<Bytes>, progress: &mut SessionProgress) {
        let DtlsSession::Running(dtls) = &mut self.session else { return };
        while let Some(event) = dtls.poll_event() {
            match event {
                DtlsEvent::Connected(_) => {
                    progress.is_connected = true;
                    (self.connect_by, self.crossing) = (None, None);
                }
                DtlsEvent::Packet(packet) => {
                    self.has_received = true;
                    packets.push(packet);
                }
                DtlsEvent::PeerClosed if self.has_received => progress.fail(TransportFailure::ClosedByPeer),
                DtlsEvent::PeerClosed => progress.fail(TransportFailure::RefusedByPeer),
                DtlsEvent::Failed(failure) => progress.fail(failed(failure)),
            }
        }
        self.flush_flights();
    }

    pub(super) fn flush_flights(&mut self) {
        let is_asked = matches!(self.agent, Agent::Controlling(_));
        let DtlsSession::Running(dtls) = &mut self.session else { return };
        while let Some(len) = dtls.next_transmit_len() {
            // The rest waits for the peer's next datagram.
            if !is_asked && !dtls.is_address_proved() && !self.budget.allows(len) {
                return;
            }
            self.budget.on_sent(len);
            if let (Some(flight), Some(route)) = (dtls.poll_transmit(), self.route.filter(|_| !self.consent_lost)) {
                if let Some(crossing) = &mut self.crossing {
                    crossing.on_sent(&flight);
                }
                self.outgoing.push((route, flight));
            }
        }
    }

    /// Handles the arrival of a datagram from this address. Datagrams from other addresses than the route's do not
    /// count for the bytes that may be sent to the route.
    pub(super) fn on_received(&mut self, remote: SocketAddr, len: usize) {
        if self.route.is_some_and(|route| route.remote == remote) {
            self.budget.on_received(len);
        }
    }

    /// Appends the answer to a check. Returns what a valid check changed, if this end has the part that is changed.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        route: Route,
        request: &StunMessage<'_>,
        context: &Context,
        handle: AssociationHandle,
        effects: &mut BatchEffects,
    ) -> Result<Option<Checked>, CheckRefusal> {
        let source = route.remote;
        match &mut self.agent {
            Agent::Lite(agent) => agent.handle_request(now, source, request, effects.answers.buffer()).map(Some),
            Agent::Unnamed(agent) => {
                let name = request.ice_username().and_then(|name| DirectName::parse(name, context.prefixes));
                if self.route.is_some_and(|current| current.remote == source)
                    && let Some(name) = name
                    && ice::check(request, &Key::new(name.server)).is_ok()
                {
                    if !agent.has_ufrag(name.server) {
                        let dropped = agent.add_name(name.server_credentials());
                        let ufrag = name.server.to_owned();
                        effects.named.push((handle, UfragClaim::Claimed { ufrag, dropped }));
                    }
                    let question = effects.answers.buffer();
                    context.reachability.ask(now, source, &name, ProofSubject::Ufrag(name.server), question);
                    effects.answers.push(route);
                }
                agent.handle_request(now, source, request, effects.answers.buffer()).map(Some)
            }
            Agent::Controlling(agent) => agent.handle_request(source, request, effects.answers.buffer()).map(|()| None),
        }
    }

    /// Handles a check like [`on_request`](Self::on_request), for a check from an address that another peer checks
    /// from, too. If the check is valid, the peer is asked whether it receives there: a sender with a forged source
    /// does not. The question is sent before the answer, so that the proof arrives before a ClientHello.
    pub(super) fn on_contested(
        &mut self,
        now: Instant,
        route: Route,
        request: &StunMessage<'_>,
        context: &Context,
        handle: AssociationHandle,
        effects: &mut BatchEffects,
    ) -> Result<Option<Checked>, CheckRefusal> {
        let Agent::Lite(agent) = &mut self.agent else {
            return self.on_request(now, route, request, context, handle, effects);
        };
        let mut answer = Vec::new();
        let checked = agent.handle_request(now, route.remote, request, &mut answer).map(Some);
        // The fragments are those of the check, so that the question is not longer than the check.
        let name = request.ice_username().and_then(|Username { to, from }| match &self.peer {
            Some(peer) => Some(DirectName { server: to, client_ufrag: from, client_pwd: peer.pwd() }),
            None => DirectName::parse(Username { to, from }, context.prefixes),
        });
        if let (Ok(_), Some(name)) = (&checked, name) {
            let question = effects.answers.buffer();
            context.reachability.ask(now, route.remote, &name, ProofSubject::Peer(handle), question);
            effects.answers.push(route);
        }
        effects.answers.buffer().append(&mut answer);
        checked
    }

    /// Confirms the fragment that the peer's checks name, if the response shows that the peer has received our question
    /// about it. Returns the fragment.
    pub(super) fn on_named(
        &mut self,
        now: Instant,
        route: Route,
        response: &StunMessage<'_>,
        context: &Context,
    ) -> Option<String> {
        let Agent::Unnamed(agent) = &mut self.agent else { return None };
        if response.class != Class::Success || self.route.is_none_or(|current| current.remote != route.remote) {
            return None;
        }
        let is_confirmed = |ufrag: &&str| {
            context.reachability.is_proof(now, route.remote, ProofSubject::Ufrag(ufrag), response.transaction_id)
                && DirectName::of_server(ufrag, context.prefixes)
                    .is_some_and(|name| Key::new(name.client_pwd).has_signed(response))
        };
        let ufrag = agent.ufrags().rev().find(is_confirmed)?.to_owned();
        // The fragment itself has a password in it.
        tracing::debug!(remote_address = %route.remote, "ICE user fragment confirmed");
        agent.keep_name(&ufrag);
        let unnamed = LiteAgent::unnamed(now, context.consent_timeout);
        let agent = std::mem::replace(agent.as_mut(), unnamed);
        self.agent = Agent::Lite(Box::new(agent));
        Some(ufrag)
    }

    /// Handles a valid check from this address.
    pub(super) fn on_checked(
        &mut self,
        now: Instant,
        route: Route,
        checked: Checked,
        context: &Context,
        progress: &mut SessionProgress,
    ) {
        let (remote_address, is_nominated) = (route.remote, checked.is_switch);
        if checked.is_new || is_nominated {
            tracing::debug!(%remote_address, is_new = checked.is_new, is_nominated, "ICE check");
        } else {
            tracing::trace!(%remote_address, "ICE check");
        }
        if checked.is_switch {
            if self.is_connected() && self.route.is_some_and(|current| current.remote != route.remote) {
                self.nominated = Some(route);
            } else {
                if self.route.is_none_or(|current| current.remote != route.remote) {
                    self.budget = Budget::default();
                }
                self.route = Some(route);
                self.nominated = None;
            }
        }
        self.begin_if_possible(now, context);
        progress.wants_probe |= self.nominated.is_some_and(|nominated| nominated.remote == route.remote);
    }

    /// Handles a response. Returns `true` if it answers a check of ours.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        route: Route,
        response: &StunMessage<'_>,
        context: &Context,
    ) -> bool {
        let Agent::Controlling(agent) = &mut self.agent else { return false };
        if agent.handle_response(now, route.remote, response).is_err() {
            return false;
        }
        if let Some(selected) = agent.selected()
            && self.route.is_none_or(|current| current.remote != selected || current.local != route.local)
        {
            tracing::debug!(remote_address = %route.remote, "ICE address selected");
            self.route = Some(route);
            self.begin_if_possible(now, context);
        }
        true
    }

    /// Handles the loss of the address that datagrams have left from. The system chooses another one, and a check
    /// leaves at once to tell the peer where this end is. The answer fixes the new address.
    pub(super) fn on_source_lost(&mut self, now: Instant, refused: Route) {
        let Agent::Controlling(agent) = &mut self.agent else { return };
        if let Some(route) = &mut self.route
            && (route.remote, route.local) == (refused.remote, refused.local)
        {
            route.local = None;
            agent.check_at_once(now);
        }
    }

    pub(super) fn begin_if_possible(&mut self, now: Instant, context: &Context) {
        if self.route.is_some()
            && let DtlsSession::Waiting(expected) = &self.session
        {
            let dtls = Dtls::new(now, Arc::clone(&context.parameters), SetupRole::Active, expected.clone(), false);
            self.session = DtlsSession::Running(Box::new(dtls));
            self.connect_by = Some(now + CONNECT_TIMEOUT);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, progress: &mut SessionProgress) {
        let loss = match &mut self.agent {
            Agent::Lite(agent) => agent.handle_timeout(now).err().map(|loss| match loss {
                ConsentError::NeverChecked => TransportFailure::NoAnswer,
                ConsentError::ConsentExpired => TransportFailure::ConsentExpired,
            }),
            // The peer has finished its handshake, so that a check has come before.
            Agent::Unnamed(agent) => agent.handle_timeout(now).err().map(|_| TransportFailure::ConsentExpired),
            Agent::Controlling(agent) => {
                let failure = agent.handle_timeout(now).err();
                let mut check = Vec::new();
                while let Some(remote) = agent.poll_transmit(now, &mut check) {
                    self.outgoing.push((Route { remote, local: None }, std::mem::take(&mut check)));
                }
                failure.map(refused)
            }
        };
        if let Some(loss) = loss {
            tracing::debug!(reason = %loss, "ICE failed");
            self.consent_lost = true;
            progress.fail(loss);
        }
        if self.connect_by.is_some_and(|by| by <= now) {
            self.connect_by = None;
            progress.fail(TransportFailure::HandshakeTimedOut);
        }
        if let DtlsSession::Running(dtls) = &mut self.session
            && dtls.poll_timeout().is_some_and(|deadline| deadline <= now)
        {
            dtls.handle_timeout(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let agent = match &self.agent {
            Agent::Lite(agent) | Agent::Unnamed(agent) => Some(agent.poll_timeout()),
            Agent::Controlling(agent) => agent.poll_timeout(),
        };
        let session = match &self.session {
            DtlsSession::Running(dtls) => dtls.poll_timeout(),
            DtlsSession::Undescribed(_) | DtlsSession::Waiting(_) => None,
        };
        [agent, session, self.connect_by].into_iter().flatten().min()
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(&self.session, DtlsSession::Running(dtls) if dtls.version().is_some())
    }
}

impl std::fmt::Debug for DtlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Undescribed(_) => "Undescribed",
            Self::Waiting(_) => "Waiting",
            Self::Running(_) => "Running",
        })
    }
}

impl SessionProgress {
    /// Records a failure. The first one counts.
    fn fail(&mut self, failure: TransportFailure) {
        self.failure.get_or_insert(failure);
    }
}

fn failed(failure: DtlsFailure) -> TransportFailure {
    match failure {
        DtlsFailure::WrongCertificate { .. } => TransportFailure::WrongCertificate,
        DtlsFailure::NoCertificate => TransportFailure::NoCertificate,
        DtlsFailure::TimedOut { alert: None } => TransportFailure::HandshakeTimedOut,
        DtlsFailure::TimedOut { alert: Some(_) } => TransportFailure::Broken(failure.to_string()),
        DtlsFailure::PeerAlert(alert) => TransportFailure::Alert(alert.explained()),
        DtlsFailure::Protocol(error) => TransportFailure::Broken(error.to_string()),
        failure @ (DtlsFailure::KeyChanges | DtlsFailure::RecordsExhausted) => {
            TransportFailure::Broken(failure.to_string())
        }
    }
}

fn refused(failure: ice::IceFailure) -> TransportFailure {
    match failure {
        ice::IceFailure::NoAnswer => TransportFailure::NoAnswer,
        ice::IceFailure::ConsentRevoked => TransportFailure::ConsentRevoked,
        ice::IceFailure::ConsentExpired => TransportFailure::ConsentExpired,
        failure @ (ice::IceFailure::Refused(_) | ice::IceFailure::NoRoom | ice::IceFailure::Integrity) => {
            TransportFailure::Broken(failure.to_string())
        }
    }
}
