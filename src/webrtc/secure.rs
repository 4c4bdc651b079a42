//! The transport of one association: DTLS (RFC 8261) to the address that ICE has chosen (RFC 8445).
//!
//! It has a lock of its own, so that nobody who calls the association waits while packets are encrypted or decrypted.
//! Neither lock is taken while the other is held: packets are written under the association's, then sealed under this one.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::{AssociationHandle, Ecn, TransportFailure};

use super::Fingerprint;
use super::direct::{DirectName, Prefixes};
use super::dtls::{Dtls, Event, ExpectedPeer, Failure, Parameters, Role};
use super::ice::{self, Checked, ControllingAgent, Credentials, LiteAgent, Loss};
use super::security::{RecordDrops, Security};
use super::stats::SecureCounters;
use super::stun::{Class, Message};
use crate::association::Input;
use crate::endpoint::{Findings, Learned};
use crate::socket::{Datagram, Route};

/// DTLS datagrams of a peer that are kept until its description is there: a ClientHello in two halves, once repeated.
const EARLY_DATAGRAMS_MAX: usize = 4;

/// How long the whole of checks and DTLS handshake may take. Browsers give up ICE after some 30 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// What all associations of an endpoint have in common.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) prefixes: Prefixes,
    pub(crate) counters: Arc<SecureCounters>,
}

/// The secure transport of one association.
#[derive(Debug)]
pub(crate) struct Secure {
    pub(crate) handle: AssociationHandle,
    context: Arc<Context>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    agent: Agent,
    session: Session,
    /// Where datagrams go: at first to the address that was checked first or nominated; once connected, to one from which
    /// the peer has shown that it receives there.
    route: Option<Route>,
    /// Where the peer wants them to go next, until it has shown that it receives there.
    nominated: Option<Route>,
    /// Datagrams to send: handshakes, checks, probes.
    outgoing: Vec<(Route, Vec<u8>)>,
    /// Addresses that this end asks, and that the system has not said to be unreachable.
    asked: Vec<SocketAddr>,
    /// When all must be connected.
    connect_by: Option<Instant>,
    /// Whether the peer has ever sent a packet.
    has_received: bool,
    /// Without consent not even an end may be sent (RFC 7675 §5.1).
    is_mute: bool,
}

/// Who finds out where the peer is, and whether it still wants to be sent to.
#[derive(Debug)]
enum Agent {
    Lite(Box<LiteAgent>),
    /// A peer without signalling whose first check after its handshake is still to come, until then at the latest.
    Unnamed(Instant),
    Controlling(Box<ControllingAgent>),
}

enum Session {
    /// The peer's description is not there yet; what came early.
    Undescribed(Vec<Datagram>),
    /// This end is to begin the handshake as soon as it knows where the peer is.
    Waiting(ExpectedPeer),
    Running(Box<Dtls>),
}

/// What came of an input or of time.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The handshake is done: packets may be sent.
    pub(crate) is_connected: bool,
    /// The peer is to be asked whether it receives at the address that it has nominated.
    pub(crate) wants_probe: bool,
    /// The end, and why.
    pub(crate) failure: Option<TransportFailure>,
}

impl Secure {
    /// For a peer that will check this end: these are this end's credentials. `patience` bounds the wait for its first
    /// check. [`describe`](Self::describe) must follow.
    pub(crate) fn lite(
        now: Instant,
        handle: AssociationHandle,
        context: Arc<Context>,
        local: Credentials,
        patience: Duration,
    ) -> Self {
        let agent = Agent::Lite(Box::new(LiteAgent::new(now, local, patience)));
        Self::new(handle, context, agent, Session::Undescribed(Vec::new()))
    }

    /// For a peer that this end checks.
    pub(crate) fn controlling(
        handle: AssociationHandle,
        context: Arc<Context>,
        agent: ControllingAgent,
        asked: &[SocketAddr],
        expected: ExpectedPeer,
    ) -> Self {
        let secure = Self::new(handle, context, Agent::Controlling(Box::new(agent)), Session::Waiting(expected));
        secure.lock().asked = asked.to_vec();
        secure
    }

    /// For a peer that has come without signalling, and has finished its handshake.
    pub(crate) fn direct(
        now: Instant,
        handle: AssociationHandle,
        context: Arc<Context>,
        route: Route,
        dtls: Box<Dtls>,
    ) -> Self {
        let agent = Agent::Unnamed(now + ice::CONSENT_LIFETIME);
        let secure = Self::new(handle, context, agent, Session::Running(dtls));
        secure.lock().route = Some(route);
        secure
    }

    fn new(handle: AssociationHandle, context: Arc<Context>, agent: Agent, session: Session) -> Self {
        let state = State {
            agent,
            session,
            route: None,
            nominated: None,
            outgoing: Vec::new(),
            asked: Vec::new(),
            connect_by: None,
            has_received: false,
            is_mute: false,
        };
        Self { handle, context, state: Mutex::new(state) }
    }

    /// The peer's description is here: who begins the handshake, and with which certificate.
    pub(crate) fn describe(&self, now: Instant, role: Role, expected: ExpectedPeer) {
        let mut state = self.lock();
        state.connect_by = Some(now + CONNECT_TIMEOUT);
        let session = match role {
            Role::Active => Session::Waiting(expected),
            Role::Passive => {
                Session::Running(Box::new(Dtls::new(now, Arc::clone(&self.context.parameters), role, expected, false)))
            }
        };
        let before = std::mem::replace(&mut state.session, session);
        state.begin_if_possible(now, &self.context);
        if let (Session::Undescribed(early), Session::Running(dtls)) = (before, &mut state.session) {
            early.iter().for_each(|datagram| dtls.handle_datagram(now, &datagram.bytes));
        }
    }

    /// Where the peer is; before that is known, where it is thought to be.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        let state = self.lock();
        state.route.map(|route| route.remote).or(state.asked.first().copied())
    }

    /// The system knows no way to this address. Returns whether there is none left to try.
    pub(crate) fn on_unreachable(&self, remote: SocketAddr) -> bool {
        let mut state = self.lock();
        if state.route.is_some() {
            return false;
        }
        let is_last = state.asked == [remote];
        if !is_last {
            state.asked.retain(|asked| *asked != remote);
        }
        is_last
    }

    /// The version of DTLS and the peer's certificate, once the handshake is done.
    pub(crate) fn security(&self) -> Option<Security> {
        match &self.lock().session {
            Session::Running(dtls) => Some(Security {
                version: dtls.version()?.into(),
                peer_fingerprint: Fingerprint::from_bytes(*dtls.peer_fingerprint()?),
            }),
            Session::Undescribed(_) | Session::Waiting(_) => None,
        }
    }

    /// DTLS datagrams that came and brought nothing, by reason.
    pub(crate) fn drops(&self) -> Option<RecordDrops> {
        match &self.lock().session {
            Session::Running(dtls) => Some(dtls.drops().into()),
            Session::Undescribed(_) | Session::Waiting(_) => None,
        }
    }

    /// Takes in what arrived, in order; appends the packets that were in it.
    pub(crate) fn receive(
        &self,
        now: Instant,
        inputs: impl Iterator<Item = Input>,
        packets: &mut Vec<(Ecn, Bytes)>,
        findings: &mut Findings,
    ) -> Progress {
        let mut progress = Progress::default();
        let mut state = self.lock();
        for input in inputs {
            match input {
                Input::Datagram(datagram) => state.on_datagram(now, datagram, &self.context, packets, &mut progress),
                Input::Stun(datagram) => self.on_stun(&mut state, now, &datagram, findings, &mut progress),
            }
        }
        // A session that comes from the lobby has brought something along.
        state.poll_session(Ecn::NotCe, packets, &mut progress);
        progress
    }

    /// Fires what is due, and moves the datagrams that are to be sent to `outgoing`. Returns when to come back.
    pub(crate) fn turn(&self, now: Instant, outgoing: &mut Vec<(Route, Vec<u8>)>) -> (Progress, Option<Instant>) {
        let mut progress = Progress::default();
        let mut state = self.lock();
        state.handle_timeout(now, &mut progress);
        // Whatever a timer or a failed send has brought. No packet is among it: those come with datagrams.
        state.poll_session(Ecn::NotCe, &mut Vec::new(), &mut progress);
        outgoing.append(&mut state.outgoing);
        (progress, state.deadline())
    }

    /// Encrypts packets of `segment_size` bytes, the last one perhaps shorter, into records that are equal in size too.
    /// `records` is empty at first. Returns where they go and their size; `None` if there is no connection to carry them.
    pub(crate) fn seal(&self, packets: &[u8], segment_size: usize, records: &mut Vec<u8>) -> Option<(Route, usize)> {
        let mut state = self.lock();
        let route = state.route.filter(|_| !state.is_mute);
        let (Some(route), Session::Running(dtls)) = (route, &mut state.session) else {
            self.count_unsent(packets, segment_size);
            return None;
        };
        let mut record_size = 0;
        for packet in packets.chunks(segment_size.max(1)) {
            if dtls.send(packet, records).is_err() {
                self.count_unsent(packet, segment_size);
            }
            if record_size == 0 {
                record_size = records.len();
            }
        }
        (record_size > 0).then_some((route, record_size))
    }

    /// Sends a packet to the nominated address alone.
    pub(crate) fn send_probe(&self, packet: &[u8]) {
        let mut state = self.lock();
        if let (Some(route), Session::Running(dtls)) = (state.nominated, &mut state.session) {
            let mut record = Vec::new();
            if dtls.send(packet, &mut record).is_ok() {
                state.outgoing.push((route, record));
            }
        }
    }

    /// The peer has shown that it receives at the address that it has nominated: datagrams go there from now on.
    pub(crate) fn confirm_nominated(&self) {
        let mut state = self.lock();
        if let Some(route) = state.nominated.take() {
            tracing::debug!(remote = %route.remote, "the association has moved to another address");
            state.route = Some(route);
        }
    }

    /// Ends the connection: the peer is told, unless it does not want to hear any more.
    pub(crate) fn close(&self, outgoing: &mut Vec<(Route, Vec<u8>)>) {
        let mut state = self.lock();
        if let Session::Running(dtls) = &mut state.session {
            dtls.close();
        }
        state.flush_flights();
        outgoing.append(&mut state.outgoing);
    }

    fn on_stun(
        &self,
        state: &mut State,
        now: Instant,
        datagram: &Datagram,
        findings: &mut Findings,
        progress: &mut Progress,
    ) {
        // The router has read it already, and it was right.
        let Ok(message) = Message::parse(&datagram.bytes) else { return };
        let route = datagram.route;
        match message.class {
            Class::Request => {
                let checked = state.on_request(now, route.remote, &message, &self.context, self.handle, findings);
                findings.answers.push(route);
                match checked {
                    Some(checked) => {
                        self.context.counters.checks_answered.fetch_add(1, Ordering::Relaxed);
                        let Checked { evicted, .. } = checked;
                        findings.learned.push(Learned { handle: self.handle, address: route.remote, evicted });
                        state.on_checked(now, route, checked, &self.context, progress);
                    }
                    None => {
                        self.context.counters.checks_refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            Class::Success | Class::Error => {
                if !state.on_response(now, route, &message, &self.context) {
                    self.context.counters.stray_stun_responses.fetch_add(1, Ordering::Relaxed);
                }
            }
            Class::Indication => {}
        }
    }

    fn count_unsent(&self, packets: &[u8], segment_size: usize) {
        let count = packets.len().div_ceil(segment_size.max(1)) as u64;
        self.context.counters.unsent_packets.fetch_add(count, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn on_datagram(
        &mut self,
        now: Instant,
        datagram: Datagram,
        context: &Context,
        packets: &mut Vec<(Ecn, Bytes)>,
        progress: &mut Progress,
    ) {
        // RFC 8445 §12.2: what comes from where no check has come from is not the peer's.
        let remote = datagram.route.remote;
        let is_from_peer = match &self.agent {
            Agent::Lite(agent) => agent.is_valid(now, remote) || self.route.is_some_and(|route| route.remote == remote),
            Agent::Unnamed(_) | Agent::Controlling(_) => true,
        };
        if !is_from_peer {
            context.counters.stray_dtls.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match &mut self.session {
            Session::Running(dtls) => {
                dtls.handle_datagram(now, &datagram.bytes);
                self.poll_session(datagram.ecn, packets, progress);
            }
            Session::Undescribed(early) if early.len() < EARLY_DATAGRAMS_MAX => early.push(datagram),
            Session::Undescribed(_) | Session::Waiting(_) => {
                context.counters.early_overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes out what the session has to tell and to send.
    fn poll_session(&mut self, ecn: Ecn, packets: &mut Vec<(Ecn, Bytes)>, progress: &mut Progress) {
        let Session::Running(dtls) = &mut self.session else { return };
        while let Some(event) = dtls.poll_event() {
            match event {
                Event::Connected(_) => {
                    progress.is_connected = true;
                    self.connect_by = None;
                }
                Event::Packet(packet) => {
                    self.has_received = true;
                    packets.push((ecn, packet));
                }
                Event::PeerClosed if self.has_received => progress.fail(TransportFailure::ClosedByPeer),
                Event::PeerClosed => progress.fail(TransportFailure::RefusedByPeer),
                Event::Failed(failure) => progress.fail(failed(failure)),
            }
        }
        self.flush_flights();
    }

    fn flush_flights(&mut self) {
        if let Session::Running(dtls) = &mut self.session {
            while let Some(flight) = dtls.poll_transmit() {
                if let Some(route) = self.route.filter(|_| !self.is_mute) {
                    self.outgoing.push((route, flight));
                }
            }
        }
    }

    /// Answers a check; what it changed, if it was valid.
    fn on_request(
        &mut self,
        now: Instant,
        source: SocketAddr,
        request: &Message<'_>,
        context: &Context,
        handle: AssociationHandle,
        findings: &mut Findings,
    ) -> Option<Checked> {
        let out = findings.answers.buffer();
        match &mut self.agent {
            Agent::Lite(agent) => agent.handle_request(now, source, request, out).ok(),
            Agent::Unnamed(_) => {
                let name = request.ice_username().and_then(|name| DirectName::parse(name, context.prefixes));
                let Some(local) = name.map(|name| name.server_credentials()) else {
                    ice::refuse(request, ice::Refusal::Unauthenticated, None, out);
                    return None;
                };
                let ufrag = local.ufrag().to_owned();
                let mut agent = LiteAgent::new(now, local, ice::CONSENT_LIFETIME);
                let checked = agent.handle_request(now, source, request, out).ok()?;
                self.agent = Agent::Lite(Box::new(agent));
                findings.named.push((handle, ufrag));
                Some(checked)
            }
            // This end has the other part, and a peer that has it too is to change (RFC 8445 §7.3.1.1).
            Agent::Controlling(_) => {
                ice::refuse(request, ice::Refusal::Unauthenticated, None, out);
                None
            }
        }
    }

    /// A valid check came from there.
    fn on_checked(&mut self, now: Instant, route: Route, checked: Checked, context: &Context, progress: &mut Progress) {
        if checked.is_switch {
            if self.is_connected() && self.route.is_some_and(|current| current.remote != route.remote) {
                self.nominated = Some(route);
            } else {
                self.route = Some(route);
                self.nominated = None;
            }
        }
        self.begin_if_possible(now, context);
        progress.wants_probe |= self.nominated.is_some_and(|nominated| nominated.remote == route.remote);
    }

    /// Whether the response was to a check of ours.
    fn on_response(&mut self, now: Instant, route: Route, response: &Message<'_>, context: &Context) -> bool {
        let Agent::Controlling(agent) = &mut self.agent else { return false };
        if agent.handle_response(now, route.remote, response).is_err() {
            return false;
        }
        if let Some(selected) = agent.selected()
            && self.route.is_none_or(|current| current.remote != selected)
        {
            self.route = Some(route);
            self.begin_if_possible(now, context);
        }
        true
    }

    fn begin_if_possible(&mut self, now: Instant, context: &Context) {
        if self.route.is_some()
            && let Session::Waiting(expected) = &self.session
        {
            let dtls = Dtls::new(now, Arc::clone(&context.parameters), Role::Active, expected.clone(), false);
            self.session = Session::Running(Box::new(dtls));
            self.connect_by = Some(now + CONNECT_TIMEOUT);
        }
    }

    fn handle_timeout(&mut self, now: Instant, progress: &mut Progress) {
        let loss = match &mut self.agent {
            Agent::Lite(agent) => agent.handle_timeout(now).err().map(|loss| match loss {
                Loss::NeverChecked => TransportFailure::NoAnswer,
                Loss::ConsentExpired => TransportFailure::ConsentExpired,
            }),
            Agent::Unnamed(until) => (*until <= now).then_some(TransportFailure::ConsentExpired),
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
            self.is_mute = true;
            progress.fail(loss);
        }
        if self.connect_by.is_some_and(|by| by <= now) {
            self.connect_by = None;
            progress.fail(TransportFailure::HandshakeTimedOut);
        }
        if let Session::Running(dtls) = &mut self.session
            && dtls.poll_timeout().is_some_and(|deadline| deadline <= now)
        {
            dtls.handle_timeout(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let agent = match &self.agent {
            Agent::Lite(agent) => Some(agent.poll_timeout()),
            Agent::Unnamed(until) => Some(*until),
            Agent::Controlling(agent) => agent.poll_timeout(),
        };
        let session = match &self.session {
            Session::Running(dtls) => dtls.poll_timeout(),
            Session::Undescribed(_) | Session::Waiting(_) => None,
        };
        [agent, session, self.connect_by].into_iter().flatten().min()
    }

    fn is_connected(&self) -> bool {
        matches!(&self.session, Session::Running(dtls) if dtls.version().is_some())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Undescribed(_) => "Undescribed",
            Self::Waiting(_) => "Waiting",
            Self::Running(_) => "Running",
        })
    }
}

impl Progress {
    /// The first reason is the one that counts.
    fn fail(&mut self, failure: TransportFailure) {
        self.failure.get_or_insert(failure);
    }
}

fn failed(failure: Failure) -> TransportFailure {
    match failure {
        Failure::WrongCertificate { .. } | Failure::NoCertificate => TransportFailure::WrongCertificate,
        Failure::TimedOut { .. } => TransportFailure::HandshakeTimedOut,
        Failure::PeerAlert(alert) => TransportFailure::Alert(alert.to_string()),
        Failure::Protocol(error) => TransportFailure::Broken(error.to_string()),
    }
}

fn refused(failure: ice::Failure) -> TransportFailure {
    match failure {
        ice::Failure::NoAnswer => TransportFailure::NoAnswer,
        ice::Failure::ConsentExpired => TransportFailure::ConsentExpired,
        failure @ (ice::Failure::Refused(_) | ice::Failure::Integrity) => TransportFailure::Broken(failure.to_string()),
    }
}
