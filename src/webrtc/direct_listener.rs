//! Listener for peers without signalling, until they have proved themselves. Their checks are answered and forgotten;
//! their handshakes wait in a table of fixed size.
//!
//! Only the receiver uses the listener, so it needs no lock. The arithmetic of a stranger's handshake delays other
//! datagrams, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use narrowboat_sctp::{SaltedHasher, Source};

use super::admission::{AdmissionConfig, AdmissionStats, PendingHandshakes, SourceQuota};
use super::demux::Protocol;
use super::direct::{self, DirectName};
use super::dtls::{Dtls, DtlsEvent, DtlsFailure, ExpectedPeer, SetupRole, is_plausible_client_hello};
use super::ice::{self, CheckRefusal};
use super::reachability::ProofSubject;
use super::revocation::Revocations;
use super::session::Context;
use super::stun::{Class, Key, StunMessage};
use crate::counters::count_drop;
use crate::log::OverloadReport;
use crate::net::{Answers, Datagram, Route, Stranger};

/// Checks of strangers that are answered in a second, of one source. A browser makes twenty in its first second.
const CHECKS_PER_SOURCE_AND_SECOND_MAX: u16 = 1000;

/// The same limit while more than [`CHECKS_PER_SECOND_BUSY`] checks come from all sources. Then only few signatures of
/// a flood are verified, and one browser of each source still gets its answers.
const CHECKS_PER_SOURCE_AND_SECOND_BUSY: u16 = 20;

/// Checks of strangers in a second above which they count as a flood: those of 250 browsers that connect at once.
const CHECKS_PER_SECOND_BUSY: u32 = 5000;

/// Those who have begun to come in.
pub(crate) struct DirectListener {
    context: Arc<Context>,
    handshakes: PendingHandshakes<Dtls>,
    revocations: Revocations,
    /// Checks of strangers.
    checks: SourceQuota,
    overload: OverloadReport,
}

/// A peer that has finished its handshake, and so has proved to be at this address.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) route: Route,
    pub(crate) dtls: Box<Dtls>,
}

impl DirectListener {
    /// Creates a listener. `salt` must come from a secure source of randomness.
    pub(crate) fn new(now: Instant, context: Arc<Context>, salt: u64) -> Self {
        Self::with(now, context, AdmissionConfig::default(), salt)
    }

    fn with(now: Instant, context: Arc<Context>, config: AdmissionConfig, salt: u64) -> Self {
        let handshakes = PendingHandshakes::new(now, config, salt);
        let salted = SaltedHasher::new(salt);
        let checks = SourceQuota::new(now, salted);
        Self { context, handshakes, revocations: Revocations::new(salted), checks, overload: OverloadReport::default() }
    }

    /// Handles a datagram of an unknown peer.
    pub(crate) fn handle(&mut self, now: Instant, stranger: &Stranger, answers: &mut Answers) -> Option<Admitted> {
        let _entered = stranger_span(stranger.datagram.route.remote).entered();
        self.report_load(now);
        match Protocol::of(&stranger.datagram.bytes) {
            Some(Protocol::Stun) => {
                self.answer_check(now, stranger, answers);
                None
            }
            Some(Protocol::Dtls) => self.handle_dtls(now, &stranger.datagram, stranger.has_room, answers),
            None => None,
        }
    }

    /// Handles the timers that are due: retransmits flights that were not answered, and forgets peers that take too
    /// long.
    pub(crate) fn handle_timeout(&mut self, now: Instant, answers: &mut Answers) {
        self.report_load(now);
        while let Some((remote, _)) = self.handshakes.expire(now) {
            tracing::debug!(remote_address = %remote, "a handshake has taken too long");
        }
        self.handshakes.sweep(now, |remote, peer| {
            let _entered = stranger_span(remote).entered();
            peer.handle_timeout(now);
            while let Some(flight) = peer.poll_transmit() {
                answers.buffer().extend_from_slice(&flight);
                answers.push(Route { remote, local: peer.local });
            }
        });
    }

    /// Returns the datagram as one of a stranger if a handshake with its sender has begun. It comes from the address of
    /// a known peer, which gets it, too.
    pub(crate) fn newcomer(&mut self, datagram: Datagram) -> Option<Stranger> {
        let has_begun = self.handshakes.peer(datagram.route.remote).is_some();
        has_begun.then_some(Stranger { datagram, is_contested: false, has_room: true })
    }

    /// Forgets the handshake with a peer, if there is one.
    pub(crate) fn forget(&mut self, remote: SocketAddr) {
        drop(self.handshakes.remove(remote));
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.handshakes.poll_timeout().into_iter().chain(self.overload.poll_timeout()).min()
    }

    fn report_load(&mut self, now: Instant) {
        let is_busy = self.handshakes.asks_for_proof(now) || self.checks.rate(now) > CHECKS_PER_SECOND_BUSY;
        self.overload.on_load(now, is_busy);
    }

    /// Handles a STUN message. No state is kept: the answer follows from the request alone, except for peers that are
    /// watched for other reasons.
    fn answer_check(&mut self, now: Instant, stranger: &Stranger, answers: &mut Answers) {
        let Stranger { datagram, is_contested, has_room } = stranger;
        let (is_contested, has_room) = (*is_contested, *has_room);
        let Route { remote, .. } = datagram.route;
        // First, so that a check without an answer costs no more than that.
        if Class::of(&datagram.bytes) == Some(Class::Request) && !self.answers_check_of(now, Source::of(remote)) {
            return count_drop!(self.context.counters, checks_refused, refusal = "too many checks");
        }
        let counters = &self.context.counters;
        let Ok(message) = StunMessage::parse(&datagram.bytes) else { return count_drop!(counters, bad_stun) };
        if message.class != Class::Request {
            return self.handle_response(now, remote, &message, has_room, is_contested);
        }
        // Before the answer, so that the proof is here when the answer has made the peer send its hello.
        let needs_proof = (is_contested && has_room) || self.handshakes.asks_for_proof(now);
        let is_newcomer = needs_proof && !self.handshakes.is_proved(remote);
        if is_newcomer || self.revocations.asks_for_proof(now, remote) {
            self.ask_for_proof(now, datagram.route, &message, answers);
        }
        // A peer whose handshake has begun has its place already.
        let has_place = has_room || self.handshakes.peer(remote).is_some();
        let refuses = |name: &DirectName<'_>| match self.revocations.revokes(now, remote, name.server) {
            true => Some(CheckRefusal::Forbidden),
            false => (!has_place).then_some(CheckRefusal::NoRoom),
        };
        let outcome = direct::answer(&message, remote, self.context.prefixes, refuses, answers.buffer());
        match outcome {
            Ok(_) => {
                counters.checks_answered.fetch_add(1, Ordering::Relaxed);
                tracing::trace!("ICE check");
                return answers.push(datagram.route);
            }
            Err(CheckRefusal::Forbidden) => count_drop!(counters, consents_revoked),
            Err(refusal) => count_drop!(counters, checks_refused, %refusal),
        }
        answers.push_refusal(now, datagram.route);
    }

    /// Counts a check. Returns true if it may be answered.
    fn answers_check_of(&mut self, now: Instant, source: Source) -> bool {
        let is_busy = self.checks.rate(now) > CHECKS_PER_SECOND_BUSY;
        let max = if is_busy { CHECKS_PER_SOURCE_AND_SECOND_BUSY } else { CHECKS_PER_SOURCE_AND_SECOND_MAX };
        self.checks.take(now, source, max)
    }

    /// Asks the sender of a check whether it receives at its address. The question and the answer together have less
    /// than twice the bytes of the check.
    fn ask_for_proof(&self, now: Instant, route: Route, check: &StunMessage<'_>, answers: &mut Answers) {
        let name = check.ice_username().and_then(|name| DirectName::parse(name, self.context.prefixes));
        if let Some(name) = name
            && ice::check(check, &Key::new(name.server)).is_ok()
        {
            self.context.reachability.ask(now, route.remote, &name, ProofSubject::Address, answers.buffer());
            answers.push(route);
        }
    }

    /// Handles a response. A peer that answers such a question gets a place in the table, in which its ClientHello
    /// finds it.
    fn handle_response(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        response: &StunMessage<'_>,
        has_room: bool,
        is_contested: bool,
    ) {
        let is_proof = response.class == Class::Success
            && self.context.reachability.is_proof(now, remote, ProofSubject::Address, response.transaction_id);
        if !is_proof {
            return count_drop!(self.context.counters, stray_stun_responses);
        }
        self.revocations.on_proof(remote);
        if !has_room || !(is_contested || self.handshakes.asks_for_proof(now)) {
            return;
        }
        let before = self.handshakes.stats();
        let parameters = Arc::clone(&self.context.parameters);
        let make = || Dtls::new(now, parameters, SetupRole::Passive, ExpectedPeer::Anyone, false);
        let _ = self.handshakes.insert_proved(now, remote, make);
        self.count_displaced(before);
    }

    fn count_displaced(&self, before: AdmissionStats) {
        if self.handshakes.stats().displaced > before.displaced {
            count_drop!(self.context.counters, unproved_evicted);
        }
    }

    fn handle_dtls(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        has_room: bool,
        answers: &mut Answers,
    ) -> Option<Admitted> {
        let Route { remote, .. } = datagram.route;
        let place = match self.handshakes.find(remote) {
            Some(place) => place,
            None => self.begin(now, remote, datagram, has_room).then(|| self.handshakes.find(remote))??,
        };
        let peer = self.handshakes.peer_in(place)?;
        peer.local = datagram.route.local;
        peer.handle_datagram(now, &datagram.bytes);
        while let Some(flight) = peer.poll_transmit() {
            answers.buffer().extend_from_slice(&flight);
            answers.push(datagram.route);
        }
        let (is_over, is_connected) = (peer.value.is_over(), peer.value.version().is_some());
        if !is_over && !is_connected {
            return None;
        }
        let mut dtls = Box::new(self.handshakes.remove(remote)?);
        if !is_connected {
            self.report_failure(&mut dtls);
            return None;
        }
        Some(Admitted { route: datagram.route, dtls })
    }

    /// Reports the failure of a handshake to the counters and the log, because no task waits for a peer that has not
    /// been admitted. The log has it at the level of debugging: strangers must not be able to fill it otherwise.
    fn report_failure(&self, dtls: &mut Dtls) {
        let counters = &self.context.counters;
        while let Some(event) = dtls.poll_event() {
            match event {
                DtlsEvent::PeerClosed | DtlsEvent::Failed(DtlsFailure::PeerAlert(_)) => {
                    counters.refused_by_peers.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(?event, "a peer has refused this endpoint: it may have an old ticket");
                }
                DtlsEvent::Failed(failure) => {
                    counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%failure, "a handshake has failed");
                }
                DtlsEvent::Connected(_) | DtlsEvent::Packet(_) => {}
            }
        }
    }

    /// Begins a handshake, if the datagram is a ClientHello and there is room. Returns `true` if a handshake was begun.
    fn begin(&mut self, now: Instant, remote: SocketAddr, datagram: &Datagram, has_room: bool) -> bool {
        let counters = &self.context.counters;
        if !is_plausible_client_hello(&datagram.bytes) {
            count_drop!(counters, stray_dtls);
            if !is_handshake(&datagram.bytes) {
                self.revocations.on_stray_record(now, remote);
            }
            return false;
        }
        self.revocations.on_hello(remote);
        if !has_room {
            count_drop!(counters, unwanted_hellos, refusal = "no room");
            return false;
        }
        let asks_for_cookie = self.handshakes.asks_for_proof(now);
        let parameters = Arc::clone(&self.context.parameters);
        let before = self.handshakes.stats();
        let begun = self
            .handshakes
            .insert(now, remote, || {
                Dtls::new(now, parameters, SetupRole::Passive, ExpectedPeer::Anyone, asks_for_cookie)
            })
            .is_some();
        if !begun {
            count_drop!(counters, unwanted_hellos, refusal = "too many new peers");
        }
        self.count_displaced(before);
        begun
    }
}

/// Creates the span of a datagram or a timer of a peer that has not been admitted.
fn stranger_span(remote: SocketAddr) -> tracing::Span {
    tracing::debug_span!("stranger", remote_address = %remote)
}

/// True if the first record is one of those that establish a connection (RFC 9147 §4.1): `change_cipher_spec` or
/// handshake.
fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [20 | 22, ..])
}

#[cfg(test)]
mod tests;
