//! The transport of one association: DTLS (RFC 8261) to the address that ICE has chosen (RFC 8445).

mod crossing;
mod sizes;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::{AssociationHandle, LowerLayerLimits};

use super::Fingerprint;
use super::Reachability;
use super::admission::{Budget, HELLO_WORTH_A_FLIGHT};
use super::demux::Protocol;
use super::direct::Prefixes;
use super::dtls::{Dtls, DtlsParameters, ExpectedPeer, SetupRole};
use super::ice::{Checked, ControllingAgent, Credentials, LiteAgent};
use super::security::{RecordDrops, Security};
use super::stats::SecureCounters;
use super::stun::{Class, StunMessage};
use crate::counters::count_drop;
use crate::net::effects::{UfragClaim, ValidatedAddress};
use crate::net::{BatchEffects, Datagram, Input, Route, SealedBatch, SessionProgress};

use self::crossing::{Crossing, Recipient};
pub(crate) use self::sizes::DatagramSizes;
use self::state::{Agent, CONNECT_TIMEOUT, DtlsSession, SessionState};

/// Parameters that all sessions of an endpoint share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) parameters: Arc<DtlsParameters>,
    pub(crate) prefixes: Prefixes,
    pub(crate) counters: Arc<SecureCounters>,
    /// Time that a check, or the answer to one, counts.
    pub(crate) consent_timeout: Duration,
    /// Sizes of datagrams with records.
    pub(crate) sizes: DatagramSizes,
    /// Secret that proofs of an address come from.
    pub(crate) reachability: Reachability,
}

impl Context {
    fn count_unsent(&self, packets: &[u8], segment_size: usize) {
        let count = packets.len().div_ceil(segment_size.max(1)) as u64;
        self.counters.unsent_packets.fetch_add(count, Ordering::Relaxed);
    }
}

/// The secure transport of one association: its ICE agent and its DTLS association.
#[derive(Debug)]
pub(crate) struct SecureSession {
    pub(crate) handle: AssociationHandle,
    context: Arc<Context>,
    /// Sizes of packets that the association was told last. They follow from what records and headers add.
    limits: Option<LowerLayerLimits>,
    state: SessionState,
}

impl SecureSession {
    /// Creates a session for a peer that will check this end, which has these credentials. `first_check_timeout` bounds
    /// the wait for its first check. [`describe`](Self::describe) must follow.
    pub(crate) fn lite(
        now: Instant,
        handle: AssociationHandle,
        context: Arc<Context>,
        local: Credentials,
        first_check_timeout: Duration,
    ) -> Self {
        let agent = Agent::Lite(Box::new(LiteAgent::new(now, local, first_check_timeout, context.consent_timeout)));
        Self::new(handle, context, agent, DtlsSession::Undescribed(Vec::new()))
    }

    /// Creates a session for a peer that this end checks.
    pub(crate) fn controlling(
        handle: AssociationHandle,
        context: Arc<Context>,
        agent: ControllingAgent,
        asked: &[SocketAddr],
        expected: ExpectedPeer,
    ) -> Self {
        let crossing = Crossing::new(expected.clone());
        let agent = Agent::Controlling(Box::new(agent));
        let mut session = Self::new(handle, context, agent, DtlsSession::Waiting(expected));
        session.state.asked = asked.to_vec();
        session.state.crossing = Some(crossing);
        session
    }

    /// Creates a session for a peer that has come without signalling, and has finished its handshake.
    pub(crate) fn direct(
        now: Instant,
        handle: AssociationHandle,
        context: Arc<Context>,
        route: Route,
        dtls: Box<Dtls>,
    ) -> Self {
        let agent = Agent::Unnamed(Box::new(LiteAgent::unnamed(now, context.consent_timeout)));
        let mut session = Self::new(handle, context, agent, DtlsSession::Running(dtls));
        session.state.route = Some(route);
        session
    }

    fn new(handle: AssociationHandle, context: Arc<Context>, agent: Agent, session: DtlsSession) -> Self {
        let state = SessionState {
            agent,
            session,
            route: None,
            nominated: None,
            outgoing: Vec::new(),
            asked: Vec::new(),
            crossing: None,
            connect_by: None,
            has_received: false,
            budget: Budget::default(),
            consent_lost: false,
            peer: None,
        };
        Self { handle, context, limits: None, state }
    }

    /// Adopts the connection of a peer that this end dials, and that has dialled this end and finished its handshake.
    /// The session goes on as one of a peer without signalling. Returns the connection if it is not with the dialled
    /// peer, or if this end has another connection.
    pub(crate) fn adopt(&mut self, now: Instant, route: Route, dtls: Box<Dtls>) -> Result<(), Box<Dtls>> {
        let state = &mut self.state;
        let is_expected = |crossing: &Crossing| dtls.peer_fingerprint().is_some_and(|peer| crossing.expects(peer));
        if !state.crossing.as_ref().is_some_and(is_expected) {
            return Err(dtls);
        }
        state.agent = Agent::Unnamed(Box::new(LiteAgent::unnamed(now, self.context.consent_timeout)));
        state.session = DtlsSession::Running(dtls);
        (state.route, state.crossing, state.connect_by) = (Some(route), None, None);
        Ok(())
    }

    /// Applies the peer's description: the end that begins the handshake, the certificate, and the credentials that
    /// sign the peer's own checks.
    pub(crate) fn describe(&mut self, now: Instant, role: SetupRole, expected: ExpectedPeer, peer: Credentials) {
        let state = &mut self.state;
        state.peer = Some(peer);
        state.connect_by = Some(now + CONNECT_TIMEOUT);
        let session = match role {
            SetupRole::Active => DtlsSession::Waiting(expected),
            SetupRole::Passive => {
                let mut dtls = Dtls::new(now, Arc::clone(&self.context.parameters), role, expected, false);
                // A hello that is not worth a flight is answered with a cookie request, which takes less time than more
                // hellos do.
                dtls.ask_for_cookie_below(HELLO_WORTH_A_FLIGHT);
                DtlsSession::Running(Box::new(dtls))
            }
        };
        let before = std::mem::replace(&mut state.session, session);
        state.begin_if_possible(now, &self.context);
        if let (DtlsSession::Undescribed(early), DtlsSession::Running(dtls)) = (before, &mut state.session) {
            early.iter().for_each(|datagram| dtls.handle_datagram(now, &datagram.bytes));
        }
    }

    /// Checks at once if the peer has not answered for a while and this end is a client. The check asks whether the
    /// peer is still there, and shows the peer this end's address: the path may be dead, or a NAT may have given this
    /// end another port.
    pub(crate) fn check_at_once(&mut self, now: Instant) {
        if let Agent::Controlling(agent) = &mut self.state.agent {
            agent.check_at_once(now);
        }
    }

    /// Returns the address of the peer; before that is known, the first address that this end asks.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        let state = &self.state;
        state.route.map(|route| route.remote).or_else(|| state.asked.first().copied())
    }

    /// Handles the loss of the source address of a datagram. The system chooses another one from now on, and a check
    /// tells the peer at once where this end is.
    pub(crate) fn on_source_lost(&mut self, now: Instant, refused: Route) {
        self.state.on_source_lost(now, refused);
    }

    /// Handles an address that the system knows no route to. Returns `true` if no address is left to try.
    pub(crate) fn on_unreachable(&mut self, remote: SocketAddr) -> bool {
        let state = &mut self.state;
        if state.route.is_some() {
            return false;
        }
        let is_last = state.asked == [remote];
        if !is_last {
            state.asked.retain(|asked| *asked != remote);
        }
        is_last
    }

    /// Returns the version of DTLS and the peer's certificate, once the handshake is done.
    pub(crate) fn security(&self) -> Option<Security> {
        match &self.state.session {
            DtlsSession::Running(dtls) => Some(Security {
                version: dtls.version()?.into(),
                peer_fingerprint: Fingerprint::from_bytes(*dtls.peer_fingerprint()?),
            }),
            DtlsSession::Undescribed(_) | DtlsSession::Waiting(_) => None,
        }
    }

    /// Returns counts of the DTLS datagrams that were received but discarded, by reason.
    pub(crate) fn drops(&self) -> Option<RecordDrops> {
        match &self.state.session {
            DtlsSession::Running(dtls) => Some(dtls.drops().into()),
            DtlsSession::Undescribed(_) | DtlsSession::Waiting(_) => None,
        }
    }

    /// Handles datagrams in the order of their arrival; appends the packets in them.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        inputs: impl Iterator<Item = Input>,
        packets: &mut Vec<Bytes>,
        effects: &mut BatchEffects,
    ) -> SessionProgress {
        let mut progress = SessionProgress::default();
        let had_received = self.state.has_received;
        for Input { datagram, is_contested } in inputs {
            if Protocol::of(&datagram.bytes) == Some(Protocol::Stun) {
                self.on_stun(now, &datagram, is_contested, effects, &mut progress);
                continue;
            }
            let state = &mut self.state;
            match state.recipient(&datagram) {
                Recipient::DtlsSession => state.on_datagram(now, datagram, &self.context, packets, &mut progress),
                Recipient::DirectListener => effects.crossed.push(datagram),
                Recipient::Nobody => {
                    count_drop!(self.context.counters, stray_dtls);
                }
            }
        }
        let state = &mut self.state;
        // A session that comes from the direct listener has brought something along.
        state.poll_session(packets, &mut progress);
        let is_first_packet = state.has_received && !had_received;
        if let Agent::Controlling(agent) = &mut state.agent {
            if progress.is_connected {
                agent.on_connected(now);
            }
            if is_first_packet {
                agent.on_first_packet(now);
            }
        }
        progress
    }

    /// Handles the timers that are due, and moves the datagrams to be sent to `outgoing`. Returns the time of the next
    /// call.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        outgoing: &mut Vec<(Route, Vec<u8>)>,
    ) -> (SessionProgress, Option<Instant>) {
        let mut progress = SessionProgress::default();
        let state = &mut self.state;
        state.handle_timeout(now, &mut progress);
        // Collects the results of timers and failed sends. No packet is among them: packets come with datagrams.
        state.poll_session(&mut Vec::new(), &mut progress);
        outgoing.append(&mut state.outgoing);
        (progress, state.deadline())
    }

    /// Encrypts packets of `segment_size` bytes, the last one perhaps shorter, into records that are equal in size too.
    /// `records` is empty at first. Returns `None` if there is no connection to carry them.
    pub(crate) fn seal(&mut self, packets: &[u8], segment_size: usize, records: &mut Vec<u8>) -> Option<SealedBatch> {
        let state = &mut self.state;
        let route = state.route.filter(|_| !state.consent_lost);
        let (Some(route), DtlsSession::Running(dtls)) = (route, &mut state.session) else {
            self.context.count_unsent(packets, segment_size);
            return None;
        };
        let (mut record_size, mut record_overhead) = (0, 0);
        for packet in packets.chunks(segment_size.max(1)) {
            if dtls.send(packet, records).is_err() {
                self.context.count_unsent(packet, segment_size);
            }
            if record_size == 0 {
                record_size = records.len();
                record_overhead = record_size.saturating_sub(packet.len());
            }
        }
        if record_size == 0 {
            return None;
        }
        let limits = self.context.sizes.limits(route, record_overhead);
        let new_limits = (self.limits.replace(limits) != Some(limits)).then_some(limits);
        Some(SealedBatch { route, record_size, new_limits })
    }

    /// Sends a packet to the nominated address alone.
    pub(crate) fn send_probe(&mut self, packet: &[u8]) {
        let state = &mut self.state;
        if let (Some(route), DtlsSession::Running(dtls)) = (state.nominated, &mut state.session) {
            let mut record = Vec::new();
            if dtls.send(packet, &mut record).is_ok() {
                state.outgoing.push((route, record));
            }
        }
    }

    /// Confirms the nominated address, at which the peer has shown to receive: datagrams go there from now on.
    pub(crate) fn confirm_nominated(&mut self) {
        let state = &mut self.state;
        if let Some(route) = state.nominated.take() {
            tracing::debug!(remote_address = %route.remote, "path validated: the association has moved to it");
            state.route = Some(route);
        }
    }

    /// Ends the connection, and tells the peer unless its consent is lost.
    pub(crate) fn close(&mut self, outgoing: &mut Vec<(Route, Vec<u8>)>) {
        let state = &mut self.state;
        if let DtlsSession::Running(dtls) = &mut state.session {
            dtls.close();
        }
        state.flush_flights();
        outgoing.append(&mut state.outgoing);
    }

    fn on_stun(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        is_contested: bool,
        effects: &mut BatchEffects,
        progress: &mut SessionProgress,
    ) {
        // The router has read it already, and it was right.
        let Ok(message) = StunMessage::parse(&datagram.bytes) else { return };
        let state = &mut self.state;
        let route = datagram.route;
        match message.class {
            Class::Request => {
                let before = effects.answers.buffer().len();
                let checked = match is_contested {
                    true => state.on_contested(now, route, &message, &self.context, self.handle, effects),
                    false => state.on_request(now, route, &message, &self.context, self.handle, effects),
                };
                let checked = match checked {
                    Ok(checked) => checked,
                    Err(refusal) => {
                        effects.answers.push_refusal(now, route);
                        let remote_address = route.remote;
                        count_drop!(self.context.counters, checks_refused, %remote_address, %refusal);
                        return;
                    }
                };
                effects.answers.push(route);
                self.context.counters.checks_answered.fetch_add(1, Ordering::Relaxed);
                if let Some(checked) = checked {
                    let Checked { evicted, .. } = checked;
                    effects.learned.push(ValidatedAddress { handle: self.handle, address: route.remote, evicted });
                    state.on_checked(now, route, checked, &self.context, progress);
                }
                state.on_received(route.remote, datagram.bytes.len());
                state.budget.on_sent(effects.answers.buffer().len().saturating_sub(before));
            }
            Class::Success | Class::Error => {
                if let Some(ufrag) = state.on_named(now, route, &message, &self.context) {
                    effects.named.push((self.handle, UfragClaim::Confirmed { ufrag }));
                } else if !state.on_response(now, route, &message, &self.context) {
                    count_drop!(self.context.counters, stray_stun_responses, remote_address = %route.remote);
                }
            }
            Class::Indication => {}
        }
    }
}
