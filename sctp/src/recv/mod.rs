//! Receiving user data: from DATA chunks to messages in order, and the SACKs that answer them.
//!
//! Values pass one way: the tracker says whether a TSN is new, reassembly joins fragments to messages, the order of
//! each stream and a deferred reset decide when a message goes to the inbox. What these hold is charged to the receive
//! window.

mod cost;
mod data;
mod deferred_reset;
mod forward_tsn;
mod fragments;
mod inbox;
mod ordered;
mod reassembly;
mod sack_policy;
mod tracker;
mod window;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use self::sack_policy::SackDue;
pub(crate) use self::window::INITIAL_WINDOW;
use crate::config::AssociationConfig;
use crate::cost_counter;
use crate::error::Violation;
use crate::event::Streams;
use crate::message::{Credit, ReceivedMessage, StreamId};
use crate::serial::{Ssn, Tsn};
use crate::wire::{DataChunk, GapBlock, Sack};

use self::deferred_reset::Deferred;
use self::fragments::{Run, WaitingFragments};
use self::inbox::Inbox;
use self::ordered::Ordered;
use self::reassembly::Reassembly;
use self::sack_policy::SackPolicy;
use self::tracker::{Position, Tracker, TsnClass};
use self::window::{HeldBytes, ReceiveWindow};

/// Bytes of a Gap Ack Block, and of a duplicate TSN (RFC 9260 §3.3.4).
const SACK_ENTRY_LEN: usize = 4;

/// What became of a DATA chunk.
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

/// What became of a FORWARD-TSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Forwarded {
    /// The Cumulative TSN Ack Point has moved.
    Advanced,
    /// It says nothing new: a SACK is sent, since the last one may have been lost (RFC 3758 §3.6).
    Old,
    /// It skips more than any sender could have sent, and was dropped.
    TooFar,
}

/// What became of an incoming reset (RFC 6525 §5.2.2).
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

/// What the application gets, in order.
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
    policy: SackPolicy,
    window: ReceiveWindow,
    reassembly: Reassembly,
    ordered: Ordered,
    inbox: Inbox,
    deferred: Option<Deferred>,
    /// The deferred reset that was performed last, until the next request has come.
    last_performed_reset: Option<(Streams, Tsn)>,
    reset_just_performed: bool,
    inbound_streams: u16,
    /// A FORWARD-TSN was obeyed: stragglers of skipped messages are no violation.
    has_skipped: bool,
    /// What follows this TSN without beginning a message belongs to one that was skipped.
    skipped_to: Option<Position>,
    /// Found in a message that had come earlier and was put in its place now.
    violation: Option<Violation>,
    /// Chunks given up again since that was last asked.
    reneged: u64,
    /// Mutations since the last recount, in debug builds.
    unchecked: usize,
}

impl Receiver {
    pub(crate) fn new(peer_initial_tsn: Tsn, config: &AssociationConfig, inbound_streams: u16) -> Self {
        Self {
            tracker: Tracker::new(peer_initial_tsn, config.receive_window),
            policy: SackPolicy::new(config.sack_delay_max),
            window: ReceiveWindow::new(config),
            reassembly: Reassembly::new(config.receive_message_size_max),
            ordered: Ordered::default(),
            inbox: Inbox::default(),
            deferred: None,
            last_performed_reset: None,
            reset_just_performed: false,
            inbound_streams,
            has_skipped: false,
            skipped_to: None,
            violation: None,
            reneged: 0,
            unchecked: 0,
        }
    }

    /// The peer restarted (RFC 9260 §5.2.4 A): everything starts again, but for whole messages that are already in the
    /// inbox and those whose credits are still to come back.
    pub(crate) fn restart(&mut self, peer_initial_tsn: Tsn, config: &AssociationConfig, inbound_streams: u16) {
        let inbox = std::mem::take(&mut self.inbox);
        *self = Self { inbox, ..Self::new(peer_initial_tsn, config, inbound_streams) };
    }

    /// The peer may send on so many streams from now on.
    pub(crate) fn take_streams(&mut self, inbound_streams: u16) {
        self.inbound_streams = inbound_streams;
    }

    /// The association is over: only what is in the inbox is still wanted.
    pub(crate) fn clear(&mut self) {
        self.tracker = Tracker::new(self.tracker.cumulative_tsn().next(), 0);
        self.policy = SackPolicy::new(Duration::ZERO);
        self.reassembly = Reassembly::new(0);
        self.ordered = Ordered::default();
        self.deferred = None;
        self.skipped_to = None;
    }

    pub(crate) fn cumulative_tsn(&self) -> Tsn {
        self.tracker.cumulative_tsn()
    }

    /// The Advertised Receiver Window Credit.
    pub(crate) fn a_rwnd(&self) -> u32 {
        self.window.a_rwnd(self.held())
    }

    /// Whether there is something to [`poll`](Self::poll).
    #[cfg(test)]
    pub(crate) fn has_unread(&self) -> bool {
        self.inbox.unread().total() > 0
    }

    /// The streams of the reset that waits for data sent before it.
    #[cfg(test)]
    pub(crate) fn deferred(&self) -> Option<&Streams> {
        self.deferred.as_ref().map(Deferred::streams)
    }

    pub(crate) fn sack_due(&self) -> SackDue {
        self.policy.due()
    }

    /// What a SACK has to say: Cumulative TSN Ack, a_rwnd, as many Gap Ack Blocks as fit, and duplicates where there is
    /// room left. `room` is for the whole chunk.
    pub(crate) fn sack_parts(
        &self,
        room: usize,
    ) -> (Tsn, u32, impl Iterator<Item = GapBlock>, impl Iterator<Item = Tsn>) {
        let entries = room.saturating_sub(Sack::HEADER_LEN) / SACK_ENTRY_LEN;
        let blocks = self.tracker.gap_blocks().take(entries).count();
        let duplicates = self.tracker.duplicates().iter().copied().take(entries - blocks);
        (self.cumulative_tsn(), self.a_rwnd(), self.tracker.gap_blocks().take(blocks), duplicates)
    }

    /// A SACK with these parts was written.
    pub(crate) fn on_sack_sent(&mut self) {
        self.tracker.clear_duplicates();
        self.window.on_advertised(self.a_rwnd());
        self.policy.on_sent();
    }

    /// The next thing that happened.
    pub(crate) fn poll(&mut self) -> Option<ReceiverEvent> {
        self.inbox.pop()
    }

    /// The application has read a message. True if the window opened enough that the peer should hear of it now; a SACK
    /// is then due.
    pub(crate) fn release(&mut self, credit: Credit) -> bool {
        self.inbox.on_released(credit);
        let is_due = self.window.is_update_due(self.held());
        if is_due {
            self.policy.sack_now();
        }
        is_due
    }

    /// Sends a SACK with the next packet.
    pub(crate) fn sack_now(&mut self) {
        self.policy.sack_now();
    }

    /// Says whether a deferred reset was performed since the last call, so that the peer gets its answer at once.
    pub(crate) fn take_finished_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset_just_performed)
    }

    /// Chunks that were reported as received and then given up (RFC 9260 §6.2), since the last call.
    pub(crate) fn take_reneged(&mut self) -> u64 {
        std::mem::take(&mut self.reneged)
    }

    /// One DATA chunk with its payload, which is not empty. `datagram_len` is the length of what the payload is a slice
    /// of.
    pub(crate) fn on_data(
        &mut self,
        chunk: DataChunk,
        payload: Bytes,
        datagram_len: usize,
    ) -> Result<ArrivedChunk, Violation> {
        self.policy.on_chunk();
        let position = match self.tracker.place(chunk.tsn) {
            TsnClass::New(position) => position,
            TsnClass::Duplicate => {
                self.tracker.note_duplicate(chunk.tsn);
                self.policy.make_urgent();
                return Ok(ArrivedChunk::Duplicate);
            }
            TsnClass::TooFar => return Ok(ArrivedChunk::Dropped),
        };
        let received = self.on_new_data(position, &chunk, payload, datagram_len)?;
        // RFC 7053 §5.2: the I bit. RFC 9260 §6.2: what was dropped is answered at once with what has arrived.
        if chunk.immediate || received == ArrivedChunk::Dropped {
            self.policy.make_urgent();
        }
        self.check_in_debug();
        self.violation.map_or(Ok(received), Err)
    }

    /// A violation in a message that had to wait, for a reset or for what FORWARD-TSN skips. The association ends by it.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// FORWARD-TSN (RFC 3758 §3.6): the sender has given up what it sent up to `new_cumulative`, and on these streams
    /// ordered messages up to the SSN given with each.
    pub(crate) fn on_forward_tsn(
        &mut self,
        new_cumulative: Tsn,
        streams: impl Iterator<Item = (StreamId, Ssn)>,
    ) -> Forwarded {
        let position = match self.tracker.ahead(new_cumulative) {
            TsnClass::New(position) => position,
            TsnClass::Duplicate => {
                self.policy.on_chunk();
                self.policy.make_urgent();
                return Forwarded::Old;
            }
            TsnClass::TooFar => return Forwarded::TooFar,
        };
        self.policy.on_chunk();
        self.skip_to(position, streams);
        self.check_in_debug();
        Forwarded::Advanced
    }

    /// The packet whose chunks were passed in is done: decides about a SACK.
    pub(crate) fn on_packet_end(&mut self, now: Instant) {
        self.window.on_packet_end(now);
        if self.window.has_closed(self.held()) {
            self.policy.make_urgent();
        }
        self.policy.on_packet_end(now, self.tracker.has_gaps());
    }

    pub(crate) fn on_sack_timeout(&mut self, now: Instant) {
        self.policy.on_timeout(now);
    }

    /// The peer resets its outgoing side of these streams, having sent up to `last_tsn` on them (RFC 6525 §5.2.2).
    ///
    /// Some stacks (dcSCTP) repeat a request that was answered "in progress" under a new number. It is then the same
    /// reset if it names the same streams and the same TSN, for nothing was sent in between, and is performed once. Only
    /// the very next request can be such a repetition, since they are made one at a time.
    pub(crate) fn reset_streams(&mut self, streams: Streams, last_tsn: Tsn) -> ResetProgress {
        if let Some(deferred) = &self.deferred {
            let is_same = deferred.is_for(&streams, last_tsn);
            return if is_same { ResetProgress::Deferred } else { ResetProgress::Busy };
        }
        if self.last_performed_reset.take().is_some_and(|performed| performed.1 == last_tsn && performed.0 == streams) {
            return ResetProgress::Performed;
        }
        let (last, is_past) = match self.tracker.ahead(last_tsn) {
            TsnClass::New(last) => (last, false),
            TsnClass::Duplicate => (self.tracker.behind(last_tsn), true),
            TsnClass::TooFar => return ResetProgress::Impossible,
        };
        let deferred = Deferred::new(streams, last);
        if is_past {
            self.perform(deferred);
        } else {
            self.deferred = Some(deferred);
        }
        self.check_in_debug();
        if is_past { ResetProgress::Performed } else { ResetProgress::Deferred }
    }

    /// Recounts everything.
    pub(crate) fn check_consistency(&self) {
        let cumulative = self.tracker.cumulative();
        self.tracker.check_consistency();
        self.reassembly.check_consistency(cumulative);
        self.ordered.check_consistency();
        self.inbox.check_consistency();
        for (first, run) in self.reassembly.held() {
            let last = first + run.len() as Position - 1;
            assert!((first..=last).all(|position| self.tracker.contains(position)), "held but not received");
        }
        let (mut parked, mut held) = (0, 0);
        for (stream, ssn, first) in self.ordered.parked() {
            let is_same = |run: &Run| run.waiting == WaitingFragments::Order && (run.stream, run.ssn) == (stream, ssn);
            assert!(self.reassembly.at(first).is_some_and(is_same), "a parked message is not held");
            parked += 1;
        }
        if let Some(deferred) = &self.deferred {
            assert!(deferred.last() > cumulative, "a reset is overdue");
            for first in deferred.held() {
                let is_held = |run: &Run| run.waiting == WaitingFragments::Reset && deferred.holds(run.stream, first);
                assert!(self.reassembly.at(first).is_some_and(is_held), "a message that waits for a reset is not held");
                held += 1;
            }
        }
        let waiting = |waiting| self.reassembly.held().filter(|(_, run)| run.waiting == waiting).count();
        assert_eq!((waiting(WaitingFragments::Order), waiting(WaitingFragments::Reset)), (parked, held));
    }

    /// Bytes of memory that are held for the peer, and for an application that has not read.
    pub(crate) fn memory_charged(&self) -> usize {
        self.held().total() + self.tables()
    }

    /// Sets how many bytes may be held, and whether the peer may be offered a larger window.
    pub(crate) fn set_memory(&mut self, bytes: usize, may_grow: bool) {
        self.window.set_memory(bytes.saturating_sub(self.tables()), may_grow);
    }

    /// Bytes of what is remembered of streams. They are no part of the window, which they could close for good.
    fn tables(&self) -> usize {
        let list = |streams: &Streams| match streams {
            Streams::All => 0,
            Streams::List(list) => list.capacity() * size_of::<StreamId>(),
        };
        let deferred = self.deferred.as_ref().map_or(0, |deferred| 2 * list(deferred.streams()));
        let last_performed_reset = self.last_performed_reset.as_ref().map_or(0, |(streams, _)| list(streams));
        self.ordered.table_size() + deferred + last_performed_reset
    }

    fn held(&self) -> HeldBytes {
        HeldBytes {
            head: self.reassembly.head_charge(),
            waiting: self.reassembly.charge(),
            unread: self.inbox.unread(),
        }
    }

    /// Changes after which a recount is due: in proportion to its cost.
    pub(crate) fn recount_interval(&self) -> usize {
        cost_counter::recount_interval(self.reassembly.held_len() / 16 + self.ordered.pages_len() * 8)
    }

    /// Recounting all after each chunk would make tests with much in store quadratic, so then only some are followed by
    /// it.
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
