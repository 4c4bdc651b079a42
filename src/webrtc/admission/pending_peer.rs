//! A peer that has not yet proved that it is where its datagrams say.

use std::net::IpAddr;
use std::time::Instant;

use crate::webrtc::dtls::Dtls;

/// Bytes that may be sent for each byte received, until the peer has proved its address (RFC 9147 §5.1 asks for a
/// cookie or a limit; the factor is RFC 9000's, §8.1).
const AMPLIFICATION_MAX: usize = 3;

/// Bytes of a server's first flight: a datagram.
const FLIGHT_LEN: usize = 1200;

/// Bytes of a hello for which the first flight may be sent.
pub(crate) const HELLO_WORTH_A_FLIGHT: usize = FLIGHT_LEN / AMPLIFICATION_MAX;

/// Bytes that may be sent to an address that might be somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) fn on_received(&mut self, len: usize) {
        self.left = self.left.saturating_add(len.saturating_mul(AMPLIFICATION_MAX));
    }

    pub(crate) fn allows(&self, len: usize) -> bool {
        len <= self.left
    }

    pub(crate) fn on_sent(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len);
    }
}

/// Entry of the table for a peer.
#[derive(Debug)]
pub(crate) struct PendingPeer<T> {
    pub(crate) value: T,
    pub(crate) budget: Budget,
    /// The address of this machine that the peer uses, which repeated flights leave from too.
    pub(crate) local: Option<IpAddr>,
    /// True if the peer has shown that it receives at its address, before its handshake.
    pub(crate) is_proved: bool,
}

impl PendingPeer<Dtls> {
    /// Takes in a datagram and what it is worth. A hello that is not worth a flight is asked for a cookie, which costs
    /// less time than waiting until the peer has repeated it often enough.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.budget.on_received(datagram.len());
        if !self.is_proved {
            self.value.ask_for_cookie_below(HELLO_WORTH_A_FLIGHT);
            self.value.answer_few_hellos();
        }
        self.value.handle_datagram(now, datagram);
    }

    /// Repeats a flight that was not answered in time. Harmless at any other time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.value.poll_timeout().is_some_and(|at| at <= now) {
            self.value.handle_timeout(now);
        }
    }

    /// Returns the next datagram that may be sent now. The rest waits for the peer's next datagram.
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let len = self.value.next_transmit_len()?;
        if !self.is_proved && !self.value.is_address_proved() && !self.budget.allows(len) {
            return None;
        }
        self.budget.on_sent(len);
        self.value.poll_transmit()
    }
}
