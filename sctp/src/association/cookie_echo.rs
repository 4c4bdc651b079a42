//! A COOKIE ECHO when there is an association already (RFC 9260 §5.2.4).

use std::ops::ControlFlow;

use super::negotiate;
use super::tcb::PeerInit;
use super::{Association, State};
use crate::cookie::{Cookie, VerifiedCookie};
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, PacketHeader};

/// The rows of RFC 9260's Table 12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CookieEchoAction {
    /// A: the peer has restarted.
    Restart,
    /// B: both ends began at the same time.
    Collision,
    /// C: our own cookie, late.
    Late,
    /// D: the peer has not heard our COOKIE ACK.
    Duplicate,
    /// No row.
    Discard,
}

impl Association {
    /// Acts on a COOKIE ECHO. Breaks if the rest of the packet is ignored.
    pub(super) fn on_cookie_echo(&mut self, now: Instant, header: &PacketHeader, value: &[u8]) -> ControlFlow<()> {
        let binding = negotiate::binding(&self.config, &self.cookies.address);
        let Some(opened) = self.cookies.keys.open(now, self.config.cookie_lifetime, value, binding) else {
            self.drop_chunk(PacketDropReason::BadCookie);
            return ControlFlow::Break(());
        };
        let VerifiedCookie { cookie, age, staleness } = opened;
        let Some(peer) = PeerInit::from_cookie(&cookie) else {
            self.drop_chunk(PacketDropReason::BadCookie);
            return ControlFlow::Break(());
        };
        // §8.5.1 D: the tag is the one that our INIT ACK named.
        if header.verification_tag != cookie.local_tag {
            self.drop_chunk(PacketDropReason::WrongTag);
            return ControlFlow::Break(());
        }
        if self.state == State::Closed {
            let flow = self.accept_cookie(now, &cookie, &peer, staleness);
            // An end that sends no data learns the round-trip time from a HEARTBEAT only, half a minute later. For RTO
            // the age is no sample, because the chunk may have been retransmitted.
            if let Some(tcb) = &mut self.tcb {
                tcb.receiver.set_round_trip(age);
            }
            return flow;
        }
        if matches!(self.state, State::CookieWait | State::CookieEchoed) {
            self.handshake.on_peer_begins();
        }
        let action = self.action_for(&cookie);
        // Step 3: a cookie of this very association is good however old.
        if let Some(staleness) = staleness.filter(|_| action != CookieEchoAction::Duplicate) {
            self.report_stale_cookie(cookie.peer_tag, staleness);
            return ControlFlow::Break(());
        }
        match action {
            CookieEchoAction::Restart => self.on_restart(now, &cookie, &peer),
            CookieEchoAction::Collision => self.on_collision(now, &peer),
            CookieEchoAction::Duplicate => {
                if let Some(peer) = self.handshake.peer {
                    self.establish(now, &peer);
                }
                self.control_queue.cookie_ack = true;
                ControlFlow::Continue(())
            }
            CookieEchoAction::Late | CookieEchoAction::Discard => {
                self.drop_chunk(PacketDropReason::BadCookie);
                ControlFlow::Break(())
            }
        }
    }

    fn action_for(&self, cookie: &Cookie) -> CookieEchoAction {
        let handshake = &self.handshake;
        let is_local = cookie.local_tag == handshake.local_tag;
        let is_peer = self.peer_tag().is_some_and(|tag| cookie.peer_tag == tag.get());
        let tie_tags = cookie.tie_tags;
        match (is_local, is_peer) {
            (true, true) => CookieEchoAction::Duplicate,
            (true, false) => CookieEchoAction::Collision,
            (false, true) if tie_tags == (0, 0) => CookieEchoAction::Late,
            (false, false) if tie_tags == handshake.tie_tags => CookieEchoAction::Restart,
            _ => CookieEchoAction::Discard,
        }
    }

    fn on_restart(&mut self, now: Instant, cookie: &Cookie, peer: &PeerInit) -> ControlFlow<()> {
        if self.state == State::ShutdownAckSent {
            // §5.2.4 A, last paragraph: finish what was begun.
            self.control_queue.shutdown_ack = true;
            self.control_queue.push_error(Cause::CookieWhileShuttingDown);
            return ControlFlow::Break(());
        }
        self.restart(now, cookie.local_tag, cookie.local_initial_tsn, peer);
        self.control_queue.cookie_ack = true;
        ControlFlow::Continue(())
    }

    fn on_collision(&mut self, now: Instant, peer: &PeerInit) -> ControlFlow<()> {
        match &mut self.tcb {
            None => self.establish(now, peer),
            // Once data flows, the TSNs are settled: another handshake cannot change them any more.
            Some(tcb) if peer.initial_tsn == tcb.peer_initial_tsn && self.state.can_send_data() => {
                tcb.peer_tag = peer.tag;
            }
            Some(_) => {
                self.drop_chunk(PacketDropReason::BadCookie);
                return ControlFlow::Break(());
            }
        }
        self.control_queue.cookie_ack = true;
        ControlFlow::Continue(())
    }
}
