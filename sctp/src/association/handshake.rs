//! The four-way handshake (RFC 9260 §5.1).

use std::ops::ControlFlow;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;

use super::negotiate::{self, InitRefusal, LocalInit};
use super::tcb::PeerInit;
use super::timer::Timer;
use super::{Association, State};
use crate::cookie::Cookie;
use crate::error::{CloseReason, Violation};
use crate::event::AssociationEvent;
use crate::serial::{Tsn, VerificationTag};
use crate::stats::PacketDropReason;
use crate::time::{Duration, Instant};
use crate::wire::{Cause, Init};

/// Tags, initial TSNs and cookies of the handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) local_tag: u32,
    pub(crate) local_initial_tsn: Tsn,
    /// The peer's INIT ACK, in COOKIE-ECHOED.
    pub(crate) peer: Option<PeerInit>,
    /// Tie-Tags of the cookies that are created during this association. They distinguish a restart of the peer from a
    /// stranger (§5.2.2). They are random and not the tags themselves, because any sender of an INIT gets a cookie.
    pub(crate) tie_tags: (u32, u32),
    /// The peer's cookie, while it is being echoed.
    pub(crate) cookie: Bytes,
    /// INITs or COOKIE ECHOs sent in vain.
    pub(crate) attempts: u32,
    /// Time at which the first INIT or COOKIE ECHO of this state was due.
    began_at: Option<Instant>,
    stale_cookies: u32,
    /// True if this end has begun the association.
    has_begun: bool,
    /// True if the peer has begun it, too, before it was established.
    peer_has_begun: bool,
}

impl Handshake {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self {
            local_tag: rng.next_u32().max(1),
            local_initial_tsn: Tsn(rng.next_u32()),
            peer: None,
            tie_tags: draw_tie_tags(rng),
            cookie: Bytes::new(),
            attempts: 0,
            began_at: None,
            stale_cookies: 0,
            has_begun: false,
            peer_has_begun: false,
        }
    }

    /// Returns true if the INIT is our own, which an echo service or a loop in the network has sent back.
    fn is_own(&self, init: &Init<'_>) -> bool {
        self.has_begun && (init.initiate_tag, init.initial_tsn) == (self.local_tag, self.local_initial_tsn)
    }

    /// Records that an INIT or a COOKIE ECHO of the peer arrived before the association was established.
    pub(super) fn on_peer_begins(&mut self) {
        self.peer_has_begun = true;
    }

    /// Returns true if both ends have begun, and this end has the smaller tag. Exactly one of the two does.
    pub(super) fn has_lost_collision(&self, peer_tag: VerificationTag) -> bool {
        self.has_begun && self.peer_has_begun && self.local_tag < peer_tag.get()
    }
}

fn draw_tie_tags(rng: &mut StdRng) -> (u32, u32) {
    (rng.next_u32().max(1), rng.next_u32().max(1))
}

impl Association {
    pub(super) fn begin_handshake(&mut self, now: Instant) {
        if self.state != State::Closed || self.is_over {
            return;
        }
        self.set_state(State::CookieWait);
        self.handshake.has_begun = true;
        self.control_queue.init = true;
        self.start_t1(now, Timer::T1Init);
    }

    /// Returns the INIT of this end.
    pub(super) fn local_init(&self) -> Init<'static> {
        let Handshake { local_tag, local_initial_tsn, .. } = self.handshake;
        let mut init = negotiate::local_init(&self.config, local_tag, local_initial_tsn);
        init.zero_checksum = self.zero_checksum.offer();
        init
    }

    /// Starts T1 (§5.1.6). INIT and COOKIE ECHO each have a count of their own (errata 7387 and 8402).
    fn start_t1(&mut self, now: Instant, timer: Timer) {
        self.handshake.attempts = 0;
        self.handshake.began_at = Some(now);
        self.timers.start(timer, now, self.path.rto.current());
    }

    /// Handles the peer's answer to an INIT or a COOKIE ECHO. If the chunk was sent once, the answer measures a round
    /// trip, so data that is lost right after the handshake does not wait for the initial RTO. Otherwise the answer
    /// ends the back-off.
    fn on_handshake_answer(&mut self, now: Instant) {
        match self.handshake.began_at.take() {
            Some(began_at) if self.handshake.attempts == 0 => self.path.rto.on_sample(now.duration_since(began_at)),
            _ => self.path.rto.on_progress(),
        }
    }

    /// Handles an INIT when there is no association, or when both ends begin at the same time (§5.1 B, §5.2.1, §5.2.2).
    pub(super) fn on_init(&mut self, now: Instant, value: &[u8]) {
        let Ok(init) = Init::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        self.stats.drops.add_parameters(&init);
        if self.state == State::ShutdownAckSent {
            // §9.2: the peer has not heard that it is over.
            self.control_queue.shutdown_ack = true;
            return;
        }
        let is_beginning = matches!(self.state, State::CookieWait | State::CookieEchoed);
        if is_beginning && self.handshake.is_own(&init) {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let mut answer = Vec::new();
        match negotiate::check(&init) {
            Err(InitRefusal::Silent) => return self.drop_chunk(PacketDropReason::Malformed),
            Err(InitRefusal::Abort(violation)) => {
                self.stats.drops.add(PacketDropReason::Malformed);
                tracing::debug!(cause = violation.cause().code(), %violation, "INIT refused");
                let cause = Some(violation.cause());
                negotiate::write_abort(&self.config, init.initiate_tag, cause, false, &mut answer);
            }
            Ok(()) => {
                self.handshake.peer_has_begun |= is_beginning;
                tracing::debug!(state = ?self.state, a_rwnd = init.a_rwnd, "INIT answered");
                let local = self.local_side_for_init();
                let (config, cookies) = (&self.config, &self.cookies);
                negotiate::write_init_ack(now, config, &cookies.keys, &cookies.address, &init, local, &mut answer);
                self.zero_checksum.on_announced();
            }
        }
        if !self.control_queue.push_standalone(&answer) {
            self.drop_chunk(PacketDropReason::AnswerLimit);
        }
    }

    /// Returns the tag and TSN for an INIT ACK. They depend on whether this end has sent an INIT of its own.
    fn local_side_for_init(&mut self) -> LocalInit {
        let Handshake { local_tag: tag, local_initial_tsn: initial_tsn, tie_tags, .. } = self.handshake;
        let zero_checksum = self.zero_checksum.offer();
        match self.state {
            State::Closed => LocalInit { tag, initial_tsn, tie_tags: (0, 0), has_begun: false, zero_checksum },
            State::CookieWait => LocalInit { tag, initial_tsn, tie_tags: (0, 0), has_begun: true, zero_checksum },
            State::CookieEchoed => LocalInit { tag, initial_tsn, tie_tags, has_begun: true, zero_checksum },
            _ => {
                let (tag, initial_tsn) = (self.draw_nonzero(), Tsn(self.rng.next_u32()));
                LocalInit { tag, initial_tsn, tie_tags, has_begun: false, zero_checksum }
            }
        }
    }

    /// Handles an INIT ACK (§5.1 C, §5.2.3).
    pub(super) fn on_init_ack(&mut self, now: Instant, value: &[u8]) {
        if self.state != State::CookieWait {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let Ok(init) = Init::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        self.stats.drops.add_parameters(&init);
        let checked = negotiate::check(&init);
        let (peer, cookie) = match (PeerInit::from_init(&self.config, &init), init.cookie) {
            (Some(peer), Some(cookie)) if checked.is_ok() => (peer, cookie),
            _ => return self.refuse_init_ack(&init, checked.err()),
        };
        self.handshake.peer = Some(peer);
        self.handshake.peer_has_begun |= init.is_collision;
        self.handshake.cookie = Bytes::copy_from_slice(cookie);
        self.on_handshake_answer(now);
        // §3.2.2: what the peer must know of and does not is reported with the COOKIE ECHO.
        for parameter in init.unrecognized() {
            if !self.control_queue.push_error(Cause::UnrecognizedParameters(parameter)) {
                break;
            }
        }
        self.timers.stop(Timer::T1Init);
        self.set_state(State::CookieEchoed);
        self.control_queue.init = false;
        self.control_queue.cookie_echo = true;
        self.start_t1(now, Timer::T1Cookie);
    }

    /// Answers an INIT ACK that cannot be accepted with an ABORT (§3.3.3). If the INIT ACK has no Initiate Tag, the
    /// ABORT carries the tag of the peer's packet.
    fn refuse_init_ack(&mut self, init: &Init<'_>, refusal: Option<InitRefusal>) {
        let (violation, tag, reflected) = match refusal {
            Some(InitRefusal::Silent) => (Violation::BadHandshake, self.handshake.local_tag, true),
            Some(InitRefusal::Abort(violation)) => (violation, init.initiate_tag, false),
            None => (Violation::MissingCookie, init.initiate_tag, false),
        };
        let mut packet = Vec::new();
        negotiate::write_abort(&self.config, tag, Some(violation.cause()), reflected, &mut packet);
        self.control_queue.push_last(&packet);
        self.close(CloseReason::PeerViolation(violation));
    }

    /// Handles a COOKIE ACK (§5.1 E).
    pub(super) fn on_cookie_ack(&mut self, now: Instant) {
        let Some(peer) = self.handshake.peer else { return self.drop_chunk(PacketDropReason::UnexpectedChunk) };
        self.on_handshake_answer(now);
        self.establish(now, &peer);
    }

    /// Accepts a COOKIE ECHO when there is no association (§5.1 D, §5.1.5).
    pub(super) fn accept_cookie(
        &mut self,
        now: Instant,
        cookie: &Cookie,
        peer: &PeerInit,
        staleness: Option<Duration>,
    ) -> ControlFlow<()> {
        if let Some(staleness) = staleness {
            self.report_stale_cookie(cookie.peer_tag, staleness);
            return ControlFlow::Break(());
        }
        self.handshake.local_tag = cookie.local_tag;
        self.begin_sending_at(cookie.local_initial_tsn);
        self.control_queue.cookie_ack = true;
        self.establish(now, peer);
        ControlFlow::Continue(())
    }

    /// Reports to the peer that its cookie was stale, and by how much (§5.1.5 step 4).
    pub(super) fn report_stale_cookie(&mut self, peer_tag: u32, staleness: Duration) {
        self.stats.drops.add(PacketDropReason::StaleCookie);
        tracing::debug!(?staleness, "COOKIE ECHO refused");
        let mut packet = Vec::new();
        negotiate::write_stale_cookie(&self.config, peer_tag, staleness, &mut packet);
        if !self.control_queue.push_standalone(&packet) {
            self.drop_chunk(PacketDropReason::AnswerLimit);
        }
    }

    /// Handles a Stale Cookie error (§5.2.6): asks for a new cookie, as often as an INIT is retransmitted. A network
    /// that delivers a minute late brings several errors about one cookie, and an ERROR does not say which cookie it is
    /// about.
    pub(super) fn on_stale_cookie(&mut self, now: Instant) {
        if self.state != State::CookieEchoed {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        self.handshake.stale_cookies += 1;
        if self.handshake.stale_cookies > self.config.init_max_retransmits {
            return self.close(CloseReason::HandshakeTimedOut);
        }
        self.timers.stop(Timer::T1Cookie);
        self.handshake.peer = None;
        self.handshake.cookie = Bytes::new();
        self.set_state(State::CookieWait);
        self.control_queue.clear_chunks();
        self.control_queue.init = true;
        self.start_t1(now, Timer::T1Init);
        // An answer may be to the INIT that was sent before, so it measures nothing.
        self.handshake.began_at = None;
    }

    /// Sets the TSN of the first DATA to the one that the peer knows, instead of the one drawn at the start. Nothing
    /// has been sent yet, so the queued messages are kept.
    fn begin_sending_at(&mut self, initial_tsn: Tsn) {
        if initial_tsn != self.handshake.local_initial_tsn {
            self.handshake.local_initial_tsn = initial_tsn;
            self.sender.begin_at(initial_tsn);
        }
    }

    /// Ends the handshake: both ends have agreed.
    pub(super) fn establish(&mut self, now: Instant, peer: &PeerInit) {
        self.zero_checksum.on_announced();
        self.create_tcb(peer);
        self.timers.stop(Timer::T1Init);
        self.timers.stop(Timer::T1Cookie);
        self.control_queue.init = false;
        self.control_queue.cookie_echo = false;
        self.handshake.cookie = Bytes::new();
        self.handshake.peer = None;
        self.set_state(State::Established);
        self.path.on_sign_of_life(now);
        tracing::debug!(
            a_rwnd = peer.a_rwnd,
            inbound_streams = peer.negotiated.inbound_streams,
            outbound_streams = peer.negotiated.outbound_streams,
            stream_reset = peer.negotiated.has_stream_reset(),
            partial_reliability = peer.negotiated.has_partial_reliability(),
            message_interleaving = peer.negotiated.has_interleaving(),
            zero_checksum = self.omits_checksum(),
            rto = ?self.path.rto.current(),
            "handshake done"
        );
        self.events.push_back(AssociationEvent::Connected);
        self.schedule_heartbeat(now);
        self.discard_beyond_agreed_streams(now);
        if self.is_shutdown_wanted {
            self.begin_shutdown(now);
        }
    }

    /// Discards the old association and begins a new one (§5.2.4 A).
    pub(super) fn restart(&mut self, now: Instant, local_tag: u32, local_initial_tsn: Tsn, peer: &PeerInit) {
        // Messages that had arrived whole still go to the application.
        let mut events = std::collections::VecDeque::new();
        self.sender.end_receipts();
        while let Some(event) = self.poll_event() {
            events.push_back(event);
        }
        self.events = events;
        self.timers.stop_all();
        self.control_queue.clear_chunks();
        self.handshake.local_tag = local_tag;
        self.handshake.peer = None;
        self.handshake.local_initial_tsn = local_initial_tsn;
        // A cookie that was made for the old association must not restart the new one.
        self.handshake.tie_tags = draw_tie_tags(&mut self.rng);
        self.path = self.path.renewed(now, &self.config);
        self.sender = self.sender.restarted(&self.config, &self.path, local_initial_tsn);
        self.create_tcb(peer);
        self.is_shutdown_wanted = false;
        self.set_state(State::Established);
        tracing::debug!(a_rwnd = peer.a_rwnd, "association restarted by the peer");
        self.events.push_back(AssociationEvent::Restarted);
        self.schedule_heartbeat(now);
    }

    /// Follows an edge of the diagram of [`State`]. Another change is a fault of this crate: it is refused.
    pub(super) fn set_state(&mut self, next: State) {
        if !self.state.can_become(next) {
            debug_assert!(false, "{:?} cannot become {next:?}", self.state);
            tracing::error!(from = ?self.state, to = ?next, "state change refused: please report it");
            return;
        }
        tracing::debug!(from = ?self.state, to = ?next, "state changed");
        self.state = next;
    }
}
