//! The peer's receive window (RFC 9260 §6.2.1), and probing it while it is closed (§6.1 A).
//!
//! A SACK that opens the window may be lost, and the peer does not repeat it. So a chunk is sent into the closed window
//! from time to time, as the window probe: first one time-out after the peer has advertised a closed window, then each
//! time after twice as long until the window opens. While a probe is in flight, T3 retransmits the probe and backs off
//! by itself.

use crate::path::Rto;
use crate::serial::UnwrappedTsn;
use crate::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct PeerWindow {
    /// Bytes of user data that the peer can take beyond what is in flight.
    peer_rwnd: usize,
    /// The peer's whole receive window, as its INIT or INIT ACK said.
    whole: usize,
    /// True if the last `a_rwnd` was 0.
    is_closed: bool,
    probe: WindowProbe,
}

#[derive(Debug, Default)]
struct WindowProbe {
    /// Time at which a SACK last brought `a_rwnd`.
    told_at: Option<Instant>,
    /// The wait for the next probe, if one was sent since the peer had room.
    interval: Option<Duration>,
    /// True if a chunk may leave now though the peer has no room for it.
    is_due: bool,
    /// The last chunk that left though the peer had no room for it, unless it was sent again into an open window.
    tsn: Option<UnwrappedTsn>,
}

impl PeerWindow {
    pub(super) fn on_established(&mut self, peer_rwnd: u32) {
        self.peer_rwnd = peer_rwnd as usize;
        self.whole = peer_rwnd as usize;
        self.is_closed = peer_rwnd == 0;
    }

    pub(super) fn peer_rwnd(&self) -> usize {
        self.peer_rwnd
    }

    /// Handles the departure of a new chunk.
    pub(super) fn on_new_sent(&mut self, tsn: UnwrappedTsn, payload: usize) {
        if self.peer_rwnd < payload {
            self.probe.tsn = Some(tsn);
        }
        self.on_sent(payload);
    }

    /// Handles the retransmission of a chunk.
    pub(super) fn on_retransmitted(&mut self, tsn: UnwrappedTsn, payload: usize) {
        if self.peer_rwnd >= payload && self.is_probe(tsn) {
            self.probe.tsn = None;
        }
        self.on_sent(payload);
    }

    /// Returns true if the chunk left though the peer had no room for it. Its loss is no sign of congestion: a closed
    /// window refuses it (RFC 9260 §6.1 A).
    pub(super) fn is_probe(&self, tsn: UnwrappedTsn) -> bool {
        self.probe.tsn == Some(tsn)
    }

    /// Returns the last window probe, if the peer has room by now.
    pub(super) fn probe_before_opening(&self) -> Option<UnwrappedTsn> {
        self.probe.tsn.filter(|_| !self.is_closed)
    }

    /// Subtracts bytes of user data that are sent or retransmitted (RFC 9260 §6.2.1 B).
    fn on_sent(&mut self, payload: usize) {
        self.peer_rwnd = self.peer_rwnd.saturating_sub(payload);
    }

    /// Takes `a_rwnd` from a SACK (RFC 9260 §6.2.1 D ii). A peer with a little room reads, so the wait for the next
    /// probe stays short: it is how long a small opening waits until it is used (RFC 1122 §4.2.3.4).
    pub(super) fn on_sack(&mut self, now: Instant, a_rwnd: u32, payload_in_flight: usize) {
        self.peer_rwnd = (a_rwnd as usize).saturating_sub(payload_in_flight);
        self.probe.told_at = Some(now);
        if a_rwnd > 0 {
            self.probe.interval = None;
        }
        if self.is_closed != (a_rwnd == 0) {
            self.is_closed = a_rwnd == 0;
            report_change(a_rwnd);
        }
    }

    /// Returns the bytes of a message with `left` bytes left that go into one chunk: as many as a packet takes, which
    /// is `payload_max`, and the peer's window can ever take. The latter is less if the peer's packets are smaller than
    /// ours.
    pub(super) fn payload_len(&self, left: usize, payload_max: usize) -> usize {
        left.min(payload_max).min(self.whole)
    }

    /// Returns `true` if the peer has room for a chunk with `payload` bytes, or if the chunk may go as a window probe.
    /// Small openings are not worth a fragment: a chunk goes whole or waits.
    pub(super) fn has_room(&self, payload: usize, is_anything_outstanding: bool) -> bool {
        self.peer_rwnd >= payload || !is_anything_outstanding && self.probe.is_due
    }

    /// Returns `true` if what is in flight is only a window probe.
    pub(super) fn is_probing(&self, chunks_in_flight: usize) -> bool {
        self.peer_rwnd == 0 && chunks_in_flight <= 1
    }

    /// Returns the time at which the next window probe is due, if a chunk waits for room and nothing is outstanding.
    /// `None` if a probe is due already.
    pub(super) fn probe_at(&self, now: Instant, rto: &Rto) -> Option<Instant> {
        (!self.probe.is_due).then(|| self.probe.told_at.unwrap_or(now) + self.probe_wait(rto))
    }

    fn probe_wait(&self, rto: &Rto) -> Duration {
        self.probe.interval.unwrap_or_else(|| rto.current())
    }

    pub(super) fn on_probe_timeout(&mut self, rto: &Rto) {
        self.probe.is_due = true;
        self.probe.interval = Some(rto.next_back_off(self.probe_wait(rto)));
    }

    /// Handles the expiry of T3-rtx for the probe in flight.
    pub(super) fn on_probe_unanswered(&mut self, rto: &Rto) {
        self.probe.interval = self.probe.interval.max(Some(rto.current()));
    }

    /// Ends the wait for a probe that was due: it has left, or there was nothing to send.
    pub(super) fn on_attempted(&mut self) {
        self.probe.is_due = false;
    }
}

#[cold]
fn report_change(a_rwnd: u32) {
    if a_rwnd == 0 {
        tracing::debug!(a_rwnd, "window of the peer closed");
    } else {
        tracing::debug!(a_rwnd, "window of the peer opened");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AssociationConfig;
    use crate::path::Path;
    use crate::serial::Tsn;
    use crate::testing::some_time;

    fn tsn(number: u32) -> UnwrappedTsn {
        UnwrappedTsn::first(Tsn(number))
    }

    fn window(peer_rwnd: u32) -> (PeerWindow, Path, Instant) {
        let mut window = PeerWindow::default();
        window.on_established(peer_rwnd);
        (window, Path::new(&AssociationConfig::default()), some_time())
    }

    #[test]
    fn peer_rwnd_is_what_was_told_less_what_is_in_flight() {
        let (mut window, _, now) = window(10_000);
        window.on_new_sent(tsn(1), 4_000);
        assert_eq!(window.peer_rwnd(), 6_000);
        window.on_sack(now, 8_000, 3_000);
        assert_eq!(window.peer_rwnd(), 5_000);
        window.on_sack(now, 2_000, 3_000);
        assert_eq!(window.peer_rwnd(), 0, "the peer has made its window smaller");
    }

    #[test]
    fn a_window_probe_is_one_until_it_is_sent_again_into_an_open_window() {
        let (mut window, _, now) = window(1_000);
        window.on_new_sent(tsn(1), 1_000);
        assert!(!window.is_probe(tsn(1)), "there was room");
        window.on_new_sent(tsn(2), 1_000);
        assert!(window.is_probe(tsn(2)) && !window.is_probe(tsn(1)));
        window.on_sack(now, 0, 1_000);
        assert_eq!(window.probe_before_opening(), None);
        window.on_retransmitted(tsn(2), 1_000);
        assert!(window.is_probe(tsn(2)), "the window is closed still");
        window.on_sack(now, 5_000, 1_000);
        assert_eq!(window.probe_before_opening(), Some(tsn(2)));
        window.on_retransmitted(tsn(2), 1_000);
        assert!(!window.is_probe(tsn(2)));
    }

    #[test]
    fn a_chunk_is_no_larger_than_a_packet_or_the_whole_window() {
        let (small, _, _) = window(600);
        assert_eq!(small.payload_len(10_000, 1_172), 600);
        let (large, _, _) = window(100_000);
        assert_eq!(large.payload_len(10_000, 1_172), 1_172);
        assert_eq!(large.payload_len(10_000, 800 - 28), 800 - 28);
        assert_eq!(large.payload_len(5, 1_172), 5);
    }

    #[test]
    fn probes_of_a_closed_window_back_off_until_there_is_room() {
        let (mut window, path, now) = window(0);
        let rto = path.rto.current();
        window.on_sack(now, 0, 0);
        assert!(!window.has_room(1, false));
        for doublings in 0..3 {
            assert_eq!(window.probe_at(now, &path.rto), Some(now + rto * (1 << doublings)));
            window.on_probe_timeout(&path.rto);
            assert!(window.has_room(1, false));
            assert!(!window.has_room(1, true), "one chunk only");
            assert_eq!(window.probe_at(now, &path.rto), None, "one is due");
            window.on_attempted();
        }
        window.on_sack(now, 1, 0);
        assert_eq!(window.probe_at(now, &path.rto), Some(now + rto), "a little room ends the back-off");
    }
}
