//! Receiving user data: from DATA or I-DATA chunks to messages in order, and the SACKs that answer them.
//!
//! A chunk passes one way, in [`Receiver::on_data`]: the tracker says if its TSN is new, the window if there is room,
//! and the assembler joins fragments to messages and passes those to the inbox when their turn has come. What the
//! assembler and the inbox hold counts against the window.

mod assembler;
mod cost;
mod demand;
mod inbox;
mod sack_policy;
mod tracker;
mod window;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use self::assembler::FragmentHeader;
pub(crate) use self::sack_policy::SackDue;
pub(crate) use self::window::INITIAL_WINDOW;
use crate::config::AssociationConfig;
use crate::cost_counter;
use crate::error::Violation;
use crate::event::Streams;
use crate::message::{Credit, ReceivedMessage, StreamId};
use crate::serial::{Ssn, Tsn, UnwrappedTsn};
use crate::time::{Duration, Instant};
use crate::wire::{GapBlock, Sack, SkippedMessage};

use self::assembler::{Assembler, FragmentClass, SkippedTsns};
use self::cost::{Cost, FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use self::inbox::Inbox;
use self::sack_policy::SackPolicy;
use self::tracker::{Tracker, TsnClass};
use self::window::{HeldBytes, ReceiveWindow};

/// Bytes of a Gap Ack Block, and of a duplicate TSN (RFC 9260 §3.3.4).
const SACK_ENTRY_LEN: usize = 4;

/// Outcome of a DATA or I-DATA chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum ArrivedChunk {
    /// It arrived for the first time.
    New,
    /// Its TSN had arrived before, or was skipped.
    Duplicate,
    /// It was not accepted and will not be acknowledged: the window is full, or its TSN is out of reach.
    Dropped,
    /// Its stream does not exist: acknowledged and discarded; an ERROR "Invalid Stream Identifier" is due (RFC 9260
    /// §6.5).
    BadStream,
}

/// Outcome of a FORWARD-TSN or I-FORWARD-TSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Forwarded {
    /// The Cumulative TSN Ack Point has moved.
    Advanced,
    /// It skips nothing new: a SACK is sent, since the last one may have been lost (RFC 3758 §3.6).
    Old,
    /// It skips more than any sender could have sent, and was dropped.
    TooFar,
}

/// Outcome of the peer's request to reset its outgoing streams (RFC 6525 §5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum ResetProgress {
    /// It was performed; a [`ReceiverEvent::Reset`] is queued.
    Performed,
    /// It waits for the sender's last assigned TSN: "in progress".
    Deferred,
    /// The sender's last assigned TSN is one that no sender can have reached: to be denied.
    Impossible,
    /// Another reset is deferred: "request already in progress" (RFC 6525 §5.2.1).
    Busy,
}

/// Event for the application, in order.
#[derive(Debug)]
#[must_use]
pub(crate) enum ReceiverEvent {
    /// A whole message.
    Message(ReceivedMessage),
    /// The peer's outgoing side of these streams started again.
    Reset(Streams),
}

/// The receiving half of an association.
#[derive(Debug)]
pub(crate) struct Receiver {
    tracker: Tracker,
    assembler: Assembler,
    window: ReceiveWindow,
    inbox: Inbox,
    sacks: SackPolicy,
    inbound_streams: u16,
    /// Chunks evicted since that was last asked.
    reneged: u64,
    /// Mutations since the last recount, in debug builds.
    unchecked: usize,
}

impl Receiver {
    /// Creates the receiver of an association. Messages arrive in I-DATA chunks if `interleaving` was negotiated, and
    /// in DATA chunks otherwise.
    pub(crate) fn new(
        peer_initial_tsn: Tsn,
        config: &AssociationConfig,
        inbound_streams: u16,
        interleaving: bool,
    ) -> Self {
        let mut window = ReceiveWindow::new(config);
        if interleaving {
            window.allow_interleaving(config.receive_message_size_max);
        }
        Self {
            tracker: Tracker::new(peer_initial_tsn, config.receive_window),
            assembler: Assembler::new(interleaving, config.receive_message_size_max),
            window,
            inbox: Inbox::default(),
            sacks: SackPolicy::new(config.sack_delay_max),
            inbound_streams,
            reneged: 0,
            unchecked: 0,
        }
    }

    /// Starts again after a restart of the peer (RFC 9260 §5.2.4 A). Nothing stays but whole messages that are already
    /// in the inbox and those whose credits are still to come back.
    pub(crate) fn restart(
        &mut self,
        peer_initial_tsn: Tsn,
        config: &AssociationConfig,
        inbound_streams: u16,
        interleaving: bool,
    ) {
        let inbox = std::mem::take(&mut self.inbox);
        *self = Self { inbox, ..Self::new(peer_initial_tsn, config, inbound_streams, interleaving) };
    }

    /// Sets the number of streams that the peer may send on.
    pub(crate) fn take_streams(&mut self, inbound_streams: u16) {
        self.inbound_streams = inbound_streams;
    }

    /// Discards everything but the inbox, because the association is over.
    pub(crate) fn clear(&mut self) {
        self.tracker = Tracker::new(self.tracker.cumulative_tsn().next(), 0);
        self.sacks = SackPolicy::new(Duration::ZERO);
        self.assembler.clear();
    }

    pub(crate) fn cumulative_tsn(&self) -> Tsn {
        self.tracker.cumulative_tsn()
    }

    /// Returns the Advertised Receiver Window Credit.
    pub(crate) fn a_rwnd(&self) -> u32 {
        self.window.a_rwnd(self.held())
    }

    /// Returns true if there is something to [`poll`](Self::poll).
    #[cfg(test)]
    pub(crate) fn has_unread(&self) -> bool {
        self.inbox.unread().total() > 0
    }

    /// Returns the streams of the reset that waits for data sent before it.
    #[cfg(test)]
    pub(crate) fn deferred(&self) -> Option<&Streams> {
        self.assembler.deferred().map(assembler::DeferredReset::streams)
    }

    pub(crate) fn sack_due(&self) -> SackDue {
        self.sacks.due()
    }

    /// Returns the parts of a SACK: Cumulative TSN Ack, `a_rwnd`, as many Gap Ack Blocks as fit, and duplicates where
    /// there is room left. `room` is for the whole chunk.
    pub(crate) fn sack_parts(
        &self,
        room: usize,
    ) -> (Tsn, u32, impl Iterator<Item = GapBlock>, impl Iterator<Item = Tsn>) {
        let entries = room.saturating_sub(Sack::HEADER_LEN) / SACK_ENTRY_LEN;
        let blocks = self.tracker.gap_blocks().take(entries).count();
        let duplicates = self.tracker.duplicates().iter().copied().take(entries - blocks);
        (self.cumulative_tsn(), self.a_rwnd(), self.tracker.gap_blocks().take(blocks), duplicates)
    }

    /// Notes that a SACK with these parts was written.
    pub(crate) fn on_sack_sent(&mut self) {
        self.tracker.clear_duplicates();
        let held = self.held();
        self.window.on_advertised(self.window.a_rwnd(held), held);
        self.sacks.on_sent();
    }

    /// Returns the next event.
    pub(crate) fn poll(&mut self) -> Option<ReceiverEvent> {
        self.inbox.pop()
    }

    /// Releases the window of a message that the application has read. Returns `true` if the window opened enough for a
    /// SACK, which is then due.
    pub(crate) fn release(&mut self, credit: Credit) -> bool {
        self.window.on_read(Cost::of(&credit).total());
        self.inbox.on_released(credit);
        let is_due = self.window.is_update_due(self.held());
        if is_due {
            self.sacks.sack_now();
        }
        is_due
    }

    /// Sends a SACK with the next packet.
    pub(crate) fn sack_now(&mut self) {
        self.sacks.sack_now();
    }

    /// Returns true if a deferred reset was performed since the last call, so that the peer gets its answer at once.
    pub(crate) fn take_performed_reset(&mut self) -> bool {
        self.assembler.take_performed_reset()
    }

    /// Returns the number of chunks that were reported as received and then evicted (RFC 9260 §6.2), since the last
    /// call.
    pub(crate) fn take_reneged(&mut self) -> u64 {
        std::mem::take(&mut self.reneged)
    }

    /// Processes a DATA or I-DATA chunk with its payload, which is not empty. `datagram_len` is the length of what the
    /// payload is a slice of.
    pub(crate) fn on_data(
        &mut self,
        chunk: impl Into<FragmentHeader>,
        payload: Bytes,
        datagram_len: usize,
    ) -> Result<ArrivedChunk, Violation> {
        let chunk = chunk.into();
        if !self.assembler.is_of_kind(&chunk) {
            return Err(Violation::NotNegotiated);
        }
        self.sacks.on_chunk();
        let arrived = match self.tracker.place(chunk.tsn()) {
            TsnClass::New(position) => self.on_new_data(position, &chunk, payload, datagram_len)?,
            TsnClass::Duplicate => {
                self.tracker.note_duplicate(chunk.tsn());
                self.sacks.make_urgent();
                return Ok(ArrivedChunk::Duplicate);
            }
            TsnClass::TooFar => return Ok(ArrivedChunk::Dropped),
        };
        // RFC 7053 §5.2: the I bit. RFC 9260 §6.2: a chunk that was dropped is answered at once with what has arrived.
        if chunk.is_immediate() || arrived == ArrivedChunk::Dropped {
            self.sacks.make_urgent();
        }
        self.check_in_debug();
        self.assembler.violation().map_or(Ok(arrived), Err)
    }

    /// Processes a chunk with a TSN that is new and within reach.
    fn on_new_data(
        &mut self,
        position: UnwrappedTsn,
        chunk: &FragmentHeader,
        payload: Bytes,
        datagram_len: usize,
    ) -> Result<ArrivedChunk, Violation> {
        if !self.tracker.can_record(position) {
            return Ok(ArrivedChunk::Dropped);
        }
        if !chunk.stream().is_below(self.inbound_streams) {
            self.assembler.check_outside(self.tracker.neighbours(position), chunk)?;
            self.tracker.record(position);
            self.on_cumulative_advanced();
            return Ok(ArrivedChunk::BadStream);
        }
        let in_sequence = self.tracker.is_next(position);
        match self.assembler.classify(position, in_sequence, chunk)? {
            FragmentClass::Wanted => {}
            FragmentClass::Ambiguous => return Ok(ArrivedChunk::Dropped),
            FragmentClass::Skipped => {
                self.tracker.record(position);
                self.assembler.discard(position, chunk)?;
                self.on_cumulative_advanced();
                return Ok(ArrivedChunk::New);
            }
        }
        let mut held = self.held();
        // RFC 9260 §6.2: a probe of a closed window is not taken, but a chunk that others wait for is.
        if self.window.is_probe(held, payload.len()) && position > self.tracker.highest() {
            return Ok(ArrivedChunk::Dropped);
        }
        let extra = self.assembler.extra_overhead(chunk, in_sequence);
        let cost = Cost { payload: payload.len(), overhead: FRAGMENT_OVERHEAD + MESSAGE_OVERHEAD + extra };
        if !self.make_room(position, cost, &mut held) {
            return Ok(ArrivedChunk::Dropped);
        }
        self.window.on_arrival(chunk.cost_when_unread(payload.len()));
        let should_copy = self.window.should_copy(held, payload.len(), datagram_len);
        let payload = if should_copy { Bytes::copy_from_slice(&payload) } else { payload };
        let neighbours = self.tracker.neighbours(position);
        self.tracker.record(position);
        self.assembler.insert(neighbours, chunk, payload, &mut self.inbox)?;
        if in_sequence {
            self.on_cumulative_advanced();
            if self.window.is_above_message_max(self.assembler.cost().in_order_partial) {
                return Err(self.assembler.violation_of_limit());
            }
        }
        Ok(ArrivedChunk::New)
    }

    /// Makes sure that something can be held, and evicts what has higher TSNs if necessary (RFC 9260 §6.2): that waits
    /// for what comes before it. `held` is kept up to date.
    fn make_room(&mut self, position: UnwrappedTsn, cost: Cost, held: &mut HeldBytes) -> bool {
        if self.window.fits(*held, cost) {
            return true;
        }
        // Messages that the application has not read stay, so nothing is evicted in vain.
        if !self.window.could_fit(*held, cost) {
            return false;
        }
        while !self.window.fits(*held, cost) {
            cost_counter::step();
            let highest = self.assembler.highest();
            if highest.is_none_or(|highest| highest <= position || !self.tracker.can_forget(highest)) {
                return false;
            }
            let Some(evicted) = self.assembler.evict_highest() else { return false };
            self.tracker.forget(evicted);
            self.reneged += 1;
            self.sacks.make_urgent();
            *held = self.held();
        }
        true
    }

    fn on_cumulative_advanced(&mut self) {
        self.assembler.on_cumulative_advanced(self.tracker.cumulative(), &mut self.inbox);
    }

    /// Returns a violation found in a message that had to wait, for a reset or for data that FORWARD-TSN skips. The
    /// violation ends the association.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.assembler.violation()
    }

    /// Processes a FORWARD-TSN (RFC 3758 §3.6): the sender has abandoned what it sent up to `new_cumulative`, and on
    /// these streams ordered messages up to the SSN given with each.
    pub(crate) fn on_forward_tsn(
        &mut self,
        new_cumulative: Tsn,
        streams: impl Iterator<Item = (StreamId, Ssn)>,
    ) -> Forwarded {
        let tsns = match self.advance(new_cumulative) {
            Ok(tsns) => tsns,
            Err(refused) => return refused,
        };
        let inbound_streams = self.inbound_streams;
        let streams = streams.filter(|(stream, _)| {
            cost_counter::step();
            stream.is_below(inbound_streams)
        });
        self.assembler.skip(tsns, streams, &mut self.inbox);
        self.check_in_debug();
        Forwarded::Advanced
    }

    /// Processes an I-FORWARD-TSN (RFC 8260 §2.3.1): the sender has abandoned what it sent up to `new_cumulative`, and
    /// messages up to these.
    pub(crate) fn on_i_forward_tsn(
        &mut self,
        new_cumulative: Tsn,
        messages: impl Iterator<Item = SkippedMessage>,
    ) -> Forwarded {
        let tsns = match self.advance(new_cumulative) {
            Ok(tsns) => tsns,
            Err(refused) => return refused,
        };
        let inbound_streams = self.inbound_streams;
        let messages = messages.filter(|message| {
            cost_counter::step();
            message.stream.is_below(inbound_streams)
        });
        self.assembler.skip_messages(tsns, messages, &mut self.inbox);
        self.check_in_debug();
        Forwarded::Advanced
    }

    /// Moves the Cumulative TSN Ack Point to where the sender has abandoned everything.
    fn advance(&mut self, new_cumulative: Tsn) -> Result<SkippedTsns, Forwarded> {
        let new = match self.tracker.ahead(new_cumulative) {
            TsnClass::New(tsn) => tsn,
            TsnClass::Duplicate => {
                self.sacks.on_chunk();
                self.sacks.make_urgent();
                return Err(Forwarded::Old);
            }
            TsnClass::TooFar => return Err(Forwarded::TooFar),
        };
        self.sacks.on_chunk();
        let old = self.tracker.cumulative();
        self.tracker.advance_to(new);
        Ok(SkippedTsns { old, new, cumulative: self.tracker.cumulative() })
    }

    /// Sets the round-trip time of the path, by which the receive window is sized.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) {
        self.window.set_round_trip(round_trip);
    }

    /// Decides about a SACK at the end of the packet whose chunks were passed in.
    pub(crate) fn on_packet_end(&mut self, now: Instant) {
        let held = self.held();
        self.window.on_packet_end(now, held);
        if self.window.has_closed(held) {
            self.sacks.make_urgent();
        }
        self.sacks.on_packet_end(now, self.tracker.has_gaps());
    }

    pub(crate) fn on_sack_timeout(&mut self, now: Instant) {
        self.sacks.on_timeout(now);
    }

    /// Handles a reset of the peer's outgoing side of these streams, on which it has sent up to `last_tsn` on them (RFC
    /// 6525 §5.2.2).
    pub(crate) fn reset_streams(&mut self, streams: Streams, last_tsn: Tsn) -> ResetProgress {
        if let Some(progress) = self.assembler.reset_progress(&streams, last_tsn) {
            return progress;
        }
        let last = match self.tracker.ahead(last_tsn) {
            TsnClass::New(last) => last,
            TsnClass::Duplicate => self.tracker.behind(last_tsn),
            TsnClass::TooFar => return ResetProgress::Impossible,
        };
        let progress = self.assembler.reset(streams, last, self.tracker.cumulative(), &mut self.inbox);
        self.check_in_debug();
        progress
    }

    /// Recounts everything.
    pub(crate) fn check_consistency(&self) {
        self.tracker.check_consistency();
        self.assembler.check_consistency(self.tracker.cumulative(), |position| self.tracker.contains(position));
        self.inbox.check_consistency();
    }

    /// Returns the number of bytes of memory that are held for the peer, and for an application that has not read.
    pub(crate) fn memory_charged(&self) -> usize {
        self.held().total() + self.tables()
    }

    /// Gives back memory that an idle association does not use.
    pub(crate) fn trim_memory(&mut self) {
        self.inbox.trim();
        self.assembler.trim();
    }

    /// Sets how many bytes may be held, and whether the peer may be offered a larger window.
    pub(crate) fn set_memory(&mut self, bytes: usize, may_grow: bool) {
        self.window.set_memory(bytes.saturating_sub(self.tables()), may_grow);
    }

    /// Returns the bytes of the per-stream tables. They are not counted against the window, because they could close it
    /// for good.
    fn tables(&self) -> usize {
        self.assembler.tables()
    }

    fn held(&self) -> HeldBytes {
        let assembler = self.assembler.cost();
        HeldBytes { in_order_partial: assembler.in_order_partial, waiting: assembler.all, unread: self.inbox.unread() }
    }

    /// Changes after which a recount is due: in proportion to its cost.
    pub(crate) fn recount_interval(&self) -> usize {
        cost_counter::recount_interval(self.assembler.recount_cost() + self.inbox.recount_cost())
    }

    /// Recounts in debug builds. A recount after each chunk would make tests with many stored chunks quadratic, so
    /// there only some chunks are followed by one.
    fn check_in_debug(&mut self) {
        if cfg!(debug_assertions) {
            self.unchecked += 1;
            if self.unchecked > self.recount_interval() {
                self.unchecked = 0;
                self.check_consistency();
            }
        }
    }
}
