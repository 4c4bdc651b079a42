//! The receive window: bytes that may be held for the peer, and the share that it is told (RFC 9260 §6.2).
//!
//! Everything held counts with its payload and the overheads below, so that the bound holds for real memory. A peer
//! counts payload only, and is told what is left in that measure, so there is room for what is in flight when the
//! window closes. A quarter of the window is kept for the overheads, and at least what a packet of one-byte messages
//! needs. Where that is not enough, as with many small messages that are not read, the window closes earlier; data that
//! was in flight then is dropped, and the sender retransmits it.
//!
//! The window is not scaled to the size of recent messages, although a sender of small ones can then overrun it: while
//! the application reads, far more fits than is free at one moment. A window of a few bytes also counts as closed for
//! senders that avoid silly windows (usrsctp), makes others cut messages into fragments of a few bytes (dcSCTP), and
//! leaves a large message that follows waiting for a window probe.

use super::cost::Cost;
use crate::config::AssociationConfig;
use crate::time::{Duration, Instant};

/// Charged for each message, whole or not, beside its payload. Covers the greater of a slot in the inbox, whose
/// capacity may be twice its use and three times while it grows, and of an entry in each of the two trees that hold
/// what came out of order, whose nodes may be half empty.
pub(super) const MESSAGE_OVERHEAD: usize = 288;

/// Charged for each fragment beside its payload: a slot in its message's list, whose capacity may be twice its use.
pub(super) const FRAGMENT_OVERHEAD: usize = 64;

/// Bytes that may be held, overheads included, however small the window is: a packet of 1,472 bytes, which is what
/// Ethernet carries, full of one-byte messages. A
/// sender counts payload only, so to it such a packet is a few bytes. A limit that refuses a part of each packet would
/// have the sender retransmit most of what it sends, although the application reads everything at once.
pub(super) const LIMIT_MIN: usize = 73 * (1 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD);

/// Cost of what the other parts hold at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldBytes {
    /// The partial message that ends at the Cumulative TSN Ack Point, if there is one. While messages interleave, the
    /// parts of all messages up to that point.
    pub(super) in_order_partial: Cost,
    /// All fragments and messages that wait for others, `in_order_partial` included.
    pub(super) waiting: Cost,
    /// Messages that the application has not yet read.
    pub(super) unread: Cost,
}

impl HeldBytes {
    fn all(self) -> Cost {
        self.waiting + self.unread
    }

    pub(super) fn total(self) -> usize {
        self.all().total()
    }

    /// Returns the bytes of partial messages in sequence that do not count against the window, because only later
    /// fragments can complete it. All of it, unless there is something that the application could read to make room.
    fn oversized_head(self) -> usize {
        self.in_order_partial.total().saturating_sub(self.unread.total())
    }
}

/// The window of a new association, unless the configured one is smaller. It doubles as often as a quarter of it has
/// arrived, so a sender in slow start never catches up with it.
pub(crate) const INITIAL_WINDOW: u32 = 256 << 10;

/// After so long without DATA the peer is offered the initial window again.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Messages of the largest size that may be partial at once while messages interleave, up to [`INTERLEAVED_BYTES`].
const INTERLEAVED_MESSAGES: usize = 64;

/// Bytes that partial messages may take together while messages interleave, whatever the largest message and the
/// window.
pub(super) const INTERLEAVED_BYTES: usize = 16 << 20;

/// The receive window.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// Window that the peer is offered. It grows with use and shrinks after a pause.
    offered: usize,
    /// The most that the peer has been offered. It is taken though less is offered now.
    size: usize,
    size_max: usize,
    /// Bytes that have arrived, overheads included, since `offered` grew.
    arrived: usize,
    /// Time of the last DATA.
    active_at: Option<Instant>,
    /// Bytes of memory that may be held in all.
    memory: usize,
    may_grow: bool,
    mtu: usize,
    /// Most that partial messages in sequence may cost together.
    in_order_partial_max: usize,
    /// The `a_rwnd` of the last SACK.
    advertised: usize,
}

impl ReceiveWindow {
    pub(super) fn new(config: &AssociationConfig) -> Self {
        let size_max = config.receive_window as usize;
        let size = size_max.min(INITIAL_WINDOW as usize);
        let message = config.receive_message_size_max;
        // Fragments of 128 bytes and more, whatever the window, fit with their overhead.
        let in_order_partial_max = message.saturating_add(message / 2).saturating_add(size_max);
        Self {
            offered: size,
            size,
            size_max,
            arrived: 0,
            active_at: None,
            memory: usize::MAX,
            may_grow: true,
            mtu: config.mtu,
            in_order_partial_max,
            advertised: size,
        }
    }

    /// Makes room for partial messages of several streams at once, if each is small: an end that takes short messages
    /// only takes as many of them as one that takes long ones.
    pub(super) fn allow_interleaving(&mut self, message_size_max: usize) {
        let several = message_size_max.saturating_add(message_size_max / 2).saturating_mul(INTERLEAVED_MESSAGES);
        self.in_order_partial_max = self.in_order_partial_max.max(several.min(INTERLEAVED_BYTES));
    }

    /// Sets the bytes of memory for what is held, and if there is enough to offer the peer a larger window.
    pub(super) fn set_memory(&mut self, bytes: usize, may_grow: bool) {
        (self.memory, self.may_grow) = (bytes, may_grow);
    }

    /// Counts a chunk that costs `cost` bytes. Small messages that wait behind a loss need room for their overhead.
    pub(super) fn on_arrival(&mut self, cost: usize) {
        self.arrived += cost;
        if self.arrived >= self.offered / 4 && self.offered < self.size_max && self.may_grow {
            self.offered = (2 * self.offered).min(self.size_max);
            self.size = self.size.max(self.offered);
            self.arrived = 0;
        }
    }

    /// Notes that a packet with DATA has been processed.
    pub(super) fn on_packet_end(&mut self, now: Instant) {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < IDLE_TIME;
        if self.active_at.is_some_and(|at| !is_fresh(at)) {
            self.offered = self.size_max.min(INITIAL_WINDOW as usize);
            self.arrived = 0;
        }
        self.active_at = Some(now);
    }

    /// Returns the `a_rwnd` for a SACK now. It is 0 for less than a packet, or the sender would fill it with small
    /// fragments (RFC 9260 §6.2, RFC 1122 §4.2.3.3).
    pub(super) fn a_rwnd(&self, held: HeldBytes) -> u32 {
        // The advertised bytes can be accepted, at least as one chunk.
        let room = self.limit(held).saturating_sub(held.total() + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD);
        let free = self.free(held).min(room);
        if free < self.mtu.min(self.offered / 2) { 0 } else { u32::try_from(free).unwrap_or(u32::MAX) }
    }

    /// Returns true if something more can be held. A chunk larger than the whole window is accepted when nothing else
    /// is held; refusing it would stall the sender for ever.
    pub(super) fn fits(&self, held: HeldBytes, cost: usize) -> bool {
        let total = held.total() + cost;
        (held.total() <= held.oversized_head() && total <= self.memory) || total <= self.limit(held)
    }

    /// Returns true if something more could be held after everything that can be evicted was.
    pub(super) fn could_fit(&self, held: HeldBytes, cost: usize) -> bool {
        self.fits(HeldBytes { waiting: held.in_order_partial, ..held }, cost)
    }

    /// Returns true if the peer was told that the window is closed, and this payload is its window probe. A payload
    /// that fits what was left, which was too little to be advertised, may have been in flight and is not a probe.
    pub(super) fn is_probe(&self, held: HeldBytes, payload: usize) -> bool {
        self.advertised == 0 && payload > self.free(held)
    }

    /// Returns true if the partial messages in sequence cost too much. Without interleaving that is one message, and
    /// then it consists of small fragments.
    pub(super) fn is_above_message_max(&self, in_order_partial: Cost) -> bool {
        in_order_partial.total() > self.in_order_partial_max
    }

    /// Returns true if a payload is to be copied, because keeping it would keep a datagram that is much larger. Four
    /// times the payload is fine while little is held; above an eighth of the window a third on top is, so that all
    /// together stays below twice the window.
    pub(super) fn should_copy(&self, held: HeldBytes, payload: usize, datagram: usize) -> bool {
        let is_crowded = held.total() > self.size / 8;
        if is_crowded { payload * 4 < datagram * 3 } else { payload * 4 < datagram }
    }

    /// Returns true if the window has opened enough since the last SACK for one of its own: by a quarter, which
    /// RFC 9260 §6.2 proposes, or from where the sender has to stop to where it can send again.
    pub(super) fn is_update_due(&self, held: HeldBytes) -> bool {
        let now = self.a_rwnd(held) as usize;
        let two_packets = (2 * self.mtu).min(self.offered / 2);
        now >= self.advertised + self.offered / 4 || (self.advertised < two_packets && now >= two_packets)
    }

    /// Returns true if the window has closed since the last SACK. The sender should learn that before it sends more.
    pub(super) fn has_closed(&self, held: HeldBytes) -> bool {
        self.advertised > 0 && self.a_rwnd(held) == 0
    }

    pub(super) fn on_advertised(&mut self, a_rwnd: u32) {
        if (self.advertised == 0) != (a_rwnd == 0) {
            report_change(a_rwnd);
        }
        self.advertised = a_rwnd as usize;
    }

    /// Returns the number of bytes that are left of the window, as the peer counts.
    fn free(&self, held: HeldBytes) -> usize {
        let oversized_head = held.in_order_partial.payload.saturating_sub(held.unread.payload);
        (self.offered + oversized_head).saturating_sub(held.all().payload)
    }

    /// Returns the number of bytes that may be held, overheads included.
    fn limit(&self, held: HeldBytes) -> usize {
        ((self.size + self.size / 4).max(LIMIT_MIN) + held.oversized_head()).min(self.memory)
    }
}

#[cold]
fn report_change(a_rwnd: u32) {
    if a_rwnd == 0 {
        tracing::debug!(a_rwnd, "own window closed");
    } else {
        tracing::debug!(a_rwnd, "own window opened");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 100_000;

    fn window() -> ReceiveWindow {
        ReceiveWindow::new(&AssociationConfig { receive_window: 100_000, mtu: 1200, ..AssociationConfig::default() })
    }

    fn payload(payload: usize) -> Cost {
        Cost { payload, overhead: 0 }
    }

    fn unread(bytes: usize) -> HeldBytes {
        HeldBytes { unread: payload(bytes), ..HeldBytes::default() }
    }

    /// Returns a partial message in sequence, and `others` bytes that wait for others.
    fn partial(bytes: usize, others: usize) -> HeldBytes {
        HeldBytes { in_order_partial: payload(bytes), waiting: payload(bytes + others), ..HeldBytes::default() }
    }

    #[test]
    fn a_window_and_a_quarter_fits_to_the_byte() {
        let (window, limit) = (window(), WINDOW + WINDOW / 4);
        assert!(window.fits(unread(limit - 100), 100));
        assert!(!window.fits(unread(limit - 100), 101));
        // Bytes that wait count like unread ones.
        assert!(window.fits(partial(0, limit - 100), 100));
        assert!(!window.fits(partial(0, limit - 100), 101));
    }

    #[test]
    fn memory_bounds_the_window_and_a_chunk_that_is_larger_than_the_window() {
        let mut window = window();
        window.set_memory(WINDOW, true);
        assert!(window.fits(unread(WINDOW - 100), 100));
        assert!(!window.fits(unread(WINDOW - 100), 101));
        window.set_memory(2 * WINDOW, true);
        assert!(window.fits(HeldBytes::default(), 2 * WINDOW), "nothing else is held");
        assert!(!window.fits(HeldBytes::default(), 2 * WINDOW + 1));
        assert!(!window.fits(unread(1), 2 * WINDOW - 1), "something is held that can be read");
    }

    /// Only its later fragments can complete it.
    #[test]
    fn the_partial_message_in_sequence_does_not_count_unless_something_can_be_read() {
        let (mut window, limit) = (window(), WINDOW + WINDOW / 4);
        window.set_memory(4 * WINDOW, true);
        assert!(window.fits(partial(3 * WINDOW, 0), WINDOW));
        assert!(!window.fits(partial(3 * WINDOW, 0), WINDOW + 1), "memory is the limit");
        let mut held = partial(2 * WINDOW, limit - 1000);
        assert!(window.fits(held, 1000));
        assert!(!window.fits(held, 1001), "what waits beside it counts");
        held.unread = payload(400);
        assert!(window.fits(held, 200));
        assert!(!window.fits(held, 201), "what is unread counts, and as much of the partial message");
    }

    /// RFC 9260 §6.2: a window of less than a packet, or of less than half of a small window, is closed.
    #[test]
    fn the_advertised_window_is_what_is_left_by_payload_and_by_memory() {
        for (receive_window, closed_below) in [(100_000, 1200), (2000, 1000)] {
            let config = AssociationConfig { receive_window, mtu: 1200, ..AssociationConfig::default() };
            let (window, size) = (ReceiveWindow::new(&config), receive_window as usize);
            assert_eq!(window.a_rwnd(unread(0)), receive_window);
            assert_eq!(window.a_rwnd(unread(size - closed_below)) as usize, closed_below);
            assert_eq!(window.a_rwnd(unread(size - closed_below + 1)), 0);
        }
        // Overheads take the room that the payload leaves: a chunk with its own must still fit.
        let limit = WINDOW + WINDOW / 4 - MESSAGE_OVERHEAD - FRAGMENT_OVERHEAD;
        let overhead = limit - 1000 - 5000;
        let held = HeldBytes { unread: Cost { payload: 1000, overhead }, ..HeldBytes::default() };
        assert_eq!(window().a_rwnd(held), 5000);
    }

    #[test]
    fn the_window_doubles_with_each_quarter_that_arrives() {
        let mut window = ReceiveWindow::new(&AssociationConfig { receive_window: 1 << 20, ..Default::default() });
        let quarter = INITIAL_WINDOW as usize / 4;
        let offered = |window: &ReceiveWindow| window.a_rwnd(unread(0)) / INITIAL_WINDOW;
        window.on_arrival(quarter - 1);
        assert_eq!(offered(&window), 1);
        window.on_arrival(1);
        assert_eq!(offered(&window), 2);
        window.on_arrival(2 * quarter - 1);
        assert_eq!(offered(&window), 2, "each window has its own quarter");
        window.set_memory(usize::MAX, false);
        window.on_arrival(1);
        assert_eq!(offered(&window), 2, "there is no memory for more");
        window.set_memory(usize::MAX, true);
        for expected in [4, 4, 4] {
            window.on_arrival(8 * quarter);
            assert_eq!(offered(&window), expected, "the configured window is the most");
        }
        // A window that is no multiple of the initial one is reached, and not exceeded.
        let mut window = ReceiveWindow::new(&AssociationConfig { receive_window: 300_000, ..Default::default() });
        window.on_arrival(quarter);
        assert_eq!(window.a_rwnd(unread(0)), 300_000);
    }

    #[test]
    fn after_ten_seconds_without_data_the_initial_window_is_offered_and_the_larger_one_accepted() {
        let (start, almost) = (crate::testing::some_time(), Duration::from_nanos(1));
        for (pause, offered) in [(IDLE_TIME.saturating_sub(almost), 1 << 20), (IDLE_TIME, INITIAL_WINDOW)] {
            let mut window = ReceiveWindow::new(&AssociationConfig { receive_window: 1 << 20, ..Default::default() });
            (0..2).for_each(|_| window.on_arrival(1 << 20));
            window.on_packet_end(start);
            window.on_arrival(10_000);
            window.on_packet_end(start + pause);
            assert_eq!(window.a_rwnd(unread(0)), offered, "after {pause:?}");
            assert!(window.fits(unread(1 << 20), (1 << 18) - 1));
            // Bytes from before the pause do not open the window again.
            window.on_arrival(INITIAL_WINDOW as usize / 4 - 1);
            assert_eq!(window.a_rwnd(unread(0)), offered);
        }
    }

    #[test]
    fn only_a_chunk_that_a_closed_window_has_no_room_for_is_a_probe() {
        let mut window = window();
        let held = unread(WINDOW - 1000);
        assert!(!window.is_probe(held, 1001), "the window was not closed");
        window.on_advertised(0);
        assert!(!window.is_probe(held, 1000));
        assert!(window.is_probe(held, 1001));
    }

    /// A quarter of a datagram while little is held, three quarters while an eighth of the window is.
    #[test]
    fn payloads_are_copied_out_of_datagrams_that_are_much_larger() {
        let window = window();
        for (held, enough) in [(0, 300), (WINDOW / 8, 300), (WINDOW / 8 + 1, 900)] {
            assert!(!window.should_copy(unread(held), enough, 1200), "{held} bytes are held");
            assert!(window.should_copy(unread(held), enough - 1, 1200), "{held} bytes are held");
        }
    }

    /// RFC 9260 §6.2.
    #[test]
    fn an_update_is_due_when_the_window_opens_by_a_quarter_or_by_two_packets_from_closed() {
        let mut window = window();
        for (advertised, opened) in [(50_000, 75_000), (0, 2400), (2399, 2400), (2400, 27_400)] {
            window.on_advertised(advertised);
            assert!(!window.is_update_due(unread(WINDOW - opened + 1)), "{advertised} to {opened}");
            assert!(window.is_update_due(unread(WINDOW - opened)), "{advertised} to {opened}");
        }
        // Two packets are half of a small window at most.
        let mut small = ReceiveWindow::new(&AssociationConfig { receive_window: 4000, ..Default::default() });
        small.on_advertised(1500);
        assert!(!small.is_update_due(unread(2001)));
        assert!(small.is_update_due(unread(2000)));
    }

    #[test]
    fn a_window_closes_once() {
        let mut window = window();
        assert!(!window.has_closed(unread(WINDOW - 1200)));
        assert!(window.has_closed(unread(WINDOW - 1199)));
        window.on_advertised(0);
        assert!(!window.has_closed(unread(WINDOW)));
    }

    /// Fragments of 128 bytes with their overhead, whatever the window.
    #[test]
    fn a_partial_message_may_cost_one_and_a_half_messages_and_a_window() {
        let config =
            AssociationConfig { receive_window: 100_000, receive_message_size_max: 10_000, ..Default::default() };
        let window = ReceiveWindow::new(&config);
        assert!(!window.is_above_message_max(payload(115_000)));
        assert!(window.is_above_message_max(payload(115_001)));
    }

    #[test]
    fn what_can_be_evicted_makes_room_and_the_partial_message_in_sequence_does_not() {
        let (mut window, limit) = (window(), WINDOW + WINDOW / 4);
        assert!(window.could_fit(partial(0, limit), limit));
        assert!(window.could_fit(partial(0, limit), limit + 1), "nothing is held then");
        window.set_memory(2 * WINDOW, true);
        assert!(window.could_fit(partial(WINDOW, limit), WINDOW));
        assert!(!window.could_fit(partial(WINDOW, limit), WINDOW + 1));
        assert!(!window.could_fit(unread(limit), 1));
    }
}
