//! The receive window: bytes that may be held for the peer, and the share that it is told (RFC 9260 §6.2).
//!
//! Everything held counts with its payload and the overheads below, so that the bound holds for real memory. A peer
//! counts payload only, and is told what is left in that measure, so there is room for what is in flight when the
//! window closes. A quarter of the largest window is kept for the overheads: thousands of small messages may wait for
//! an application that reads later, though the window is small, because nobody reads. It is a quarter of the present
//! window once the memory of all associations is half used up, and always what a packet of one-byte messages needs.
//! The window closes earlier if overheads take more; data that was in flight then is dropped, and the sender
//! retransmits it.
//!
//! The peer may send what it was told, though the window has become smaller since, or a message larger than the window
//! is whole and waits for the application.
//!
//! A sender of small messages can overrun a window in payload. So once such messages have taken a quarter of the room,
//! because the application is slower than the path, the peer is told the payload that fits with overheads like those of
//! late. Before that it is not: while the application reads, far more fits than is free at one moment. A window of a
//! few bytes would also count as closed for senders that avoid silly windows (usrsctp), make others cut messages into
//! fragments of a few bytes (dcSCTP), and leave a large message that follows waiting for a window probe; less than a
//! packet is told as nothing here, too.

use super::cost::{Cost, FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use super::demand::{ReaderDemand, WindowDemand};
use crate::config::AssociationConfig;
use crate::time::{Duration, Instant};

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

/// The window of a new association and of an idle one, unless the configured one is smaller. More is offered as the
/// path brings more and the application reads it.
pub(crate) const INITIAL_WINDOW: u32 = 256 << 10;

/// Messages of the largest size that may be partial at once while messages interleave, up to [`INTERLEAVED_BYTES`].
const INTERLEAVED_MESSAGES: usize = 64;

/// Bytes that partial messages may take together while messages interleave, whatever the largest message and the
/// window.
pub(super) const INTERLEAVED_BYTES: usize = 16 << 20;

/// The part of the last `a_rwnd` that the peer has not used yet.
#[derive(Clone, Copy, Debug)]
struct Promise {
    payload: usize,
    /// Bytes that may be held in all for it: a quarter of the payload is for overheads. So a promise of payload is none
    /// of hundreds of times as much overhead.
    limit: usize,
}

/// Cost of recent chunks: a moving average, in sixteenths of a byte.
#[derive(Clone, Copy, Debug, Default)]
struct TypicalCost {
    payload: usize,
    overhead: usize,
}

impl TypicalCost {
    fn add(&mut self, cost: Cost) {
        self.payload += cost.payload;
        self.payload -= self.payload / 16;
        self.overhead += cost.overhead;
        self.overhead -= self.overhead / 16;
    }

    /// Returns the payload of such chunks that fits room for payload and overheads.
    fn payload_within(self, room: usize) -> usize {
        let part = self.payload as u64 * room as u64 / (self.payload + self.overhead).max(1) as u64;
        usize::try_from(part).unwrap_or(room)
    }
}

/// The receive window.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// Window that the peer is offered. It follows the demand.
    offered: usize,
    size_max: usize,
    demand: ReaderDemand,
    typical: TypicalCost,
    promise: Promise,
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
            size_max,
            demand: ReaderDemand::new(),
            typical: TypicalCost::default(),
            promise: Promise { payload: size, limit: limit_of(size) },
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

    /// Sets the round-trip time of the path.
    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.demand.set_round_trip(round_trip);
    }

    /// Counts a chunk that was taken. Small messages that wait behind a loss need room for their overhead, so the
    /// demand has it.
    pub(super) fn on_arrival(&mut self, cost: Cost) {
        self.demand.on_arrival(cost.total());
        self.promise.payload = self.promise.payload.saturating_sub(cost.payload);
        self.typical.add(cost);
    }

    /// Counts what the application has read.
    pub(super) fn on_read(&mut self, cost: usize) {
        self.demand.on_read(cost);
    }

    /// Sizes the window at the end of a packet with DATA.
    pub(super) fn on_packet_end(&mut self, now: Instant, held: HeldBytes) {
        let least = self.size_max.min(INITIAL_WINDOW as usize);
        match self.demand.on_packet_end(now, held.unread.total()) {
            WindowDemand::AtLeast(wanted) if wanted <= self.offered || !self.may_grow => {}
            WindowDemand::AtLeast(wanted) => self.offered = wanted.min(self.size_max),
            WindowDemand::Exactly(wanted) => self.offered = self.offered.min(wanted).max(least),
        }
    }

    /// Returns the `a_rwnd` for a SACK now. It is 0 for less than a packet, or the sender would fill it with small
    /// fragments (RFC 9260 §6.2, RFC 1122 §4.2.3.3).
    pub(super) fn a_rwnd(&self, held: HeldBytes) -> u32 {
        // Everything that is advertised can be taken.
        let room = self.room(held, self.limit(held));
        let mut free = self.free(held).min(payload_within(room));
        if self.is_crowded(held) {
            free = free.min(self.typical.payload_within(room));
        } else {
            free = free.max(self.promised(held));
        }
        if free < self.mtu.min(self.offered / 2) { 0 } else { u32::try_from(free).unwrap_or(u32::MAX) }
    }

    /// Returns true if something more can be held. A chunk larger than the whole window is accepted when nothing else
    /// is held; refusing it would stall the sender for ever.
    pub(super) fn fits(&self, held: HeldBytes, cost: Cost) -> bool {
        let is_within = |limit| cost.total() <= self.room(held, limit);
        let payload = held.all().payload + cost.payload;
        (is_within(self.limit(held)) && payload <= self.payload_limit(held))
            || (cost.payload <= self.promise.payload && is_within(self.promise.limit))
            || (held.total() <= held.oversized_head() && is_within(usize::MAX))
    }

    /// Returns true if something more could be held after everything that can be evicted was.
    pub(super) fn could_fit(&self, held: HeldBytes, cost: Cost) -> bool {
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
        let is_crowded = held.total() > self.offered / 8;
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

    pub(super) fn on_advertised(&mut self, a_rwnd: u32, held: HeldBytes) {
        if (self.advertised == 0) != (a_rwnd == 0) {
            report_change(a_rwnd);
        }
        self.advertised = a_rwnd as usize;
        let limit = held.total() + self.advertised + self.advertised / 4 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD;
        // The limit does not grow with each SACK. A few packets may wait for the next one, each with a message of its
        // own, whose overhead is more than a quarter.
        let usual = self.limit(held) + 8 * (MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD);
        let limit = limit.min(self.promise.limit.max(usual));
        self.promise = Promise { payload: self.advertised, limit };
    }

    /// Returns what is left of the bytes that the peer was told it may send.
    fn promised(&self, held: HeldBytes) -> usize {
        self.promise.payload.min(payload_within(self.room(held, self.promise.limit)))
    }

    /// Returns true if messages of a few bytes have taken a quarter of the room.
    fn is_crowded(&self, held: HeldBytes) -> bool {
        self.typical.overhead > self.typical.payload && held.unread.total() > self.limit(held) / 4
    }

    /// Returns the number of bytes that are left of the window, as the peer counts.
    fn free(&self, held: HeldBytes) -> usize {
        let oversized_head = held.in_order_partial.payload.saturating_sub(held.unread.payload);
        (self.offered + oversized_head).saturating_sub(held.all().payload)
    }

    /// Returns the bytes that may be held, overheads included, by the window that is offered.
    fn limit(&self, held: HeldBytes) -> usize {
        let window = if self.may_grow { self.size_max } else { self.offered };
        (self.offered + window / 4).max(LIMIT_MIN) + held.oversized_head()
    }

    /// Returns the payload that may be held by the window that is offered: a quarter more than the peer is told, since
    /// it may not have heard yet that the window has become smaller.
    fn payload_limit(&self, held: HeldBytes) -> usize {
        limit_of(self.offered) + held.oversized_head()
    }

    /// Returns the bytes that are left of a limit.
    fn room(&self, held: HeldBytes, limit: usize) -> usize {
        limit.min(self.memory).saturating_sub(held.total())
    }
}

/// Returns the bytes that may be held for a window, overheads included.
fn limit_of(window: usize) -> usize {
    (window + window / 4).max(LIMIT_MIN)
}

/// Returns the payload that fits room for payload and overheads: four fifths of it, and at least as one chunk.
fn payload_within(room: usize) -> usize {
    (room - room / 5).min(room.saturating_sub(MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD))
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
mod tests;
