//! Stream scheduling (RFC 8260 §3): the stream that sends next.

mod turn_heap;
mod virtual_clock;

#[cfg(test)]
mod tests;

use self::turn_heap::{ScheduledTurn, TurnHeap};
use self::virtual_clock::VirtualClock;
use crate::config::StreamScheduler;
use crate::message::StreamId;
use crate::serial::MessageKey;

/// Priority of a stream on which none was set: W3C's and RFC 8831's "normal".
pub(super) const DEFAULT_PRIORITY: u16 = 256;

/// Age in turns and chunks beyond which it makes no difference when a stream was served.
const SERVED_AGE_MAX: u32 = 1 << 30;

/// The part of the scheduler that each stream keeps in its own entry, so that a chunk needs no second look-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamTurn {
    priority: u16,
    /// Number of the last chunk that was cut from the stream: of equal tags the oldest comes first. 0 before the first
    /// chunk. It wraps.
    served: u32,
    /// With a fair scheduler: the virtual time at which its next turn starts, or the one before has finished.
    ready_at: u64,
    /// Number of the stream's turn, while it has one.
    number: u64,
}

impl Default for StreamTurn {
    fn default() -> Self {
        Self { priority: DEFAULT_PRIORITY, ready_at: 0, number: 0, served: 0 }
    }
}

impl StreamTurn {
    pub(super) fn priority(&self) -> u16 {
        self.priority
    }
}

/// The chunks that a stream sends next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upcoming {
    pub(super) message: MessageKey,
    /// Bytes that the stream sends before another may have its turn, with the header of a chunk: what is left of the
    /// message, or a full chunk of it if messages interleave.
    pub(super) wire_len: usize,
    /// True if the message goes ahead of those of other streams, as far as the scheduler counts bytes: a new channel is
    /// announced in the order of opening, and does not wait for the data of others.
    pub(super) goes_first: bool,
}

/// The reason for which the current stream keeps its turn, whatever the tags of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Hold {
    #[default]
    None,
    /// It is in the middle of a message, and messages do not interleave.
    Message,
    /// The packet under way carries a chunk of this stream, and takes no other's. True if the stream may change after
    /// the packet.
    Packet(bool),
    /// The stream of the packet under way has nothing left to send, so the packet takes nothing more.
    PacketDone,
}

/// Picks the stream that the next chunk is cut from. Without interleaving a message, once begun, is finished before
/// another stream has its turn, because the fragments of a message have consecutive TSNs (RFC 9260 §6.9).
///
/// All six schedulers are one queue of turns, and differ in the tag by which it is sorted.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    kind: StreamScheduler,
    /// The stream to cut from. The others that have something to send are in `waiting`.
    current: Option<ScheduledTurn>,
    hold: Hold,
    waiting: TurnHeap,
    /// Streams whose next message may not be begun yet.
    aside: Vec<StreamId>,
    clock: VirtualClock,
    /// The stream whose last message was dropped just now, and the start of its turn: a message that takes the place of
    /// that one has its turn.
    vacated: Option<(StreamId, u64)>,
    /// Number of the last turn or chunk.
    last_number: u64,
}

impl Scheduler {
    pub(super) fn new(kind: StreamScheduler) -> Self {
        Self { kind, ..Self::default() }
    }

    pub(super) fn kind(&self) -> StreamScheduler {
        self.kind
    }

    /// Returns the stream to cut from.
    pub(super) fn current(&self) -> Option<StreamId> {
        self.current.map(|turn| turn.stream)
    }

    /// Returns the number of streams that have something to send.
    pub(super) fn len(&self) -> usize {
        usize::from(self.current.is_some()) + self.waiting.len() + self.aside.len()
    }

    /// Checks that exactly the streams that have something to send have turns.
    pub(super) fn check_consistency<'a>(&self, active: impl Iterator<Item = (StreamId, &'a StreamTurn)>) {
        let (mut count, mut weights) = (0, 0);
        for (stream, turn) in active {
            count += 1;
            let takes_part = !self.aside.contains(&stream);
            weights += self.weight(turn).filter(|_| takes_part).map_or(0, i64::from);
        }
        assert_eq!((self.len(), self.clock.weights()), (count, weights), "turns and weights of the streams");
    }

    /// Returns true if a packet takes the chunks of one stream only.
    pub(super) fn is_per_packet(&self) -> bool {
        self.kind == StreamScheduler::RoundRobinPerPacket
    }

    /// Gives a turn to a stream that has data to send now, and had none before.
    pub(super) fn activate(&mut self, stream: StreamId, turn: &mut StreamTurn, upcoming: Upcoming) {
        let vacated = self.vacated.take().filter(|(vacated, _)| *vacated == stream);
        if let Some(weight) = self.weight(turn) {
            turn.ready_at = match vacated {
                Some((_, start)) => self.clock.join_at(start, weight),
                // The debt of the stream counts on, but its idle time gives no credit.
                None => self.clock.join(turn.ready_at, weight),
            };
        }
        if turn.served == 0 {
            // A new stream comes behind those that have waited.
            turn.served = self.stamp().wrapping_add(1);
        } else if self.stamp().wrapping_sub(turn.served) > SERVED_AGE_MAX {
            turn.served = self.stamp().wrapping_sub(SERVED_AGE_MAX);
        }
        let turn = self.take_turn(stream, turn, upcoming);
        self.insert(turn);
    }

    /// Handles a chunk of `wire_len` bytes that was cut from the current stream. `upcoming` is the rest of its message,
    /// or the next message; `None` if nothing is left. `may_switch` is true if another stream may send the next chunk:
    /// at the end of a message, and anywhere in it if messages interleave.
    #[inline]
    pub(super) fn on_cut(
        &mut self,
        turn: &mut StreamTurn,
        wire_len: usize,
        upcoming: Option<Upcoming>,
        may_switch: bool,
    ) {
        let Some(current) = self.current else { return };
        self.vacated = None;
        if let Some(weight) = self.weight(turn) {
            turn.ready_at = self.clock.serve(turn.ready_at, wire_len, weight);
        }
        self.last_number += 1;
        turn.served = self.stamp();
        let Some(upcoming) = upcoming else {
            if self.is_per_packet() {
                self.hold = Hold::PacketDone;
            }
            return self.remove(current.stream, turn);
        };
        if may_switch || self.is_per_packet() {
            self.current = Some(self.take_turn(current.stream, turn, upcoming));
        }
        self.hold = match may_switch {
            _ if self.is_per_packet() => Hold::Packet(may_switch),
            true => Hold::None,
            false => Hold::Message,
        };
        self.yield_turn();
    }

    /// Handles the drop of the first message of a stream, which need not be the current one. `upcoming` is the message
    /// behind it. The stream has not been served, so it keeps its place: one that drops its own messages for newer ones
    /// would never send otherwise.
    pub(super) fn on_message_dropped(&mut self, stream: StreamId, turn: &mut StreamTurn, upcoming: Option<Upcoming>) {
        let is_current = self.current() == Some(stream);
        match upcoming {
            None => {
                let takes_part = !self.aside.contains(&stream);
                self.remove(stream, turn);
                self.vacated = Some((stream, turn.ready_at)).filter(|_| takes_part);
            }
            // It may begin the message behind.
            Some(upcoming) if self.aside.contains(&stream) => {
                self.remove(stream, turn);
                self.activate(stream, turn, upcoming);
            }
            Some(_) if is_current && matches!(self.hold, Hold::Packet(_)) => self.hold = Hold::Packet(true),
            Some(upcoming) if is_current => {
                self.hold = Hold::None;
                self.current = Some(self.take_turn(stream, turn, upcoming));
                self.yield_turn();
            }
            // Its place does not depend on the message.
            Some(_) if self.weight(turn).is_none() && !self.is_in_order() => {}
            Some(upcoming) => {
                self.waiting.remove(turn.number);
                let turn = self.take_turn(stream, turn, upcoming);
                self.insert(turn);
            }
        }
    }

    /// Takes the turn from a stream that has nothing left to send.
    pub(super) fn remove(&mut self, stream: StreamId, turn: &StreamTurn) {
        if let Some(at) = self.aside.iter().position(|other| *other == stream) {
            self.aside.swap_remove(at);
            return;
        }
        if let Some(weight) = self.weight(turn) {
            self.clock.leave(turn.ready_at, weight);
        }
        if self.current() == Some(stream) {
            self.current = None;
            self.on_current_left();
        } else {
            self.waiting.remove(turn.number);
        }
    }

    /// Puts the current stream aside, because it may not begin its next message yet.
    pub(super) fn put_aside(&mut self, turn: &StreamTurn) {
        if let Some(stream) = self.current() {
            self.remove(stream, turn);
            self.aside.push(stream);
        }
    }

    /// Takes a stream that was put aside, for [`activate`](Self::activate).
    pub(super) fn pop_aside(&mut self) -> Option<StreamId> {
        self.aside.pop()
    }

    /// Sets the priority of a stream. A fair scheduler counts it from the next chunk on: what the stream owes for
    /// earlier ones is converted to the new weight. `upcoming` is what the stream has to send, if anything.
    pub(super) fn set_priority(
        &mut self,
        stream: StreamId,
        turn: &mut StreamTurn,
        priority: u16,
        upcoming: Option<Upcoming>,
    ) {
        if turn.priority == priority {
            return;
        }
        // In the middle of a message or a packet the stream keeps its turn.
        let keeps_turn = self.current() == Some(stream) && self.hold != Hold::None;
        let upcoming = upcoming.filter(|_| !keeps_turn && !self.aside.contains(&stream));
        let old = self.weight(turn);
        if upcoming.is_some() {
            self.remove(stream, turn);
        } else if let Some(old) = old.filter(|_| keeps_turn) {
            self.clock.leave(turn.ready_at, old);
        }
        turn.priority = priority;
        if let (Some(old), Some(new)) = (old, self.weight(turn)) {
            turn.ready_at = self.clock.rescale(turn.ready_at, old, new);
            if keeps_turn {
                turn.ready_at = self.clock.join(turn.ready_at, new);
            }
        }
        if let Some(upcoming) = upcoming {
            self.activate(stream, turn, upcoming);
        }
    }

    /// Handles the end of a packet.
    #[inline]
    pub(super) fn on_packet_end(&mut self) {
        match self.hold {
            Hold::Packet(true) => {
                self.hold = Hold::None;
                self.yield_turn();
            }
            Hold::PacketDone => {
                self.hold = Hold::None;
                self.take_next();
            }
            // The message goes on in the next packet.
            Hold::Packet(false) => self.hold = Hold::Message,
            Hold::None | Hold::Message => {}
        }
    }

    fn is_in_order(&self) -> bool {
        self.kind == StreamScheduler::FirstComeFirstServed
    }

    /// Returns the weight of a stream, if the scheduler counts bytes.
    fn weight(&self, turn: &StreamTurn) -> Option<u16> {
        match self.kind {
            // A peer may choose 0, which must not mean never.
            StreamScheduler::WeightedFairQueueing => Some(turn.priority.max(1)),
            StreamScheduler::FairCapacity => Some(DEFAULT_PRIORITY),
            _ => None,
        }
    }

    /// Returns the tag of a stream's turn: the least comes first.
    fn tag(&self, turn: &StreamTurn, upcoming: Upcoming) -> u64 {
        match self.kind {
            StreamScheduler::FirstComeFirstServed => upcoming.message.to_u64(),
            StreamScheduler::RoundRobin | StreamScheduler::RoundRobinPerPacket => 0,
            StreamScheduler::Priority => u64::from(u16::MAX - turn.priority),
            StreamScheduler::FairCapacity | StreamScheduler::WeightedFairQueueing => {
                let duration = self.weight(turn).map(|weight| VirtualClock::duration(upcoming.wire_len, weight));
                if upcoming.goes_first {
                    return self.clock.before_all();
                }
                turn.ready_at.wrapping_add(duration.unwrap_or_default())
            }
        }
    }

    /// Returns the low half of the last number.
    fn stamp(&self) -> u32 {
        u32::try_from(self.last_number & u64::from(u32::MAX)).unwrap_or_default()
    }

    fn take_turn(&mut self, stream: StreamId, turn: &mut StreamTurn, upcoming: Upcoming) -> ScheduledTurn {
        self.last_number += 1;
        turn.number = self.last_number;
        ScheduledTurn { tag: self.tag(turn, upcoming), served: turn.served, number: turn.number, stream }
    }

    fn insert(&mut self, turn: ScheduledTurn) {
        match self.current {
            None if self.hold == Hold::None => self.current = Some(turn),
            Some(current) if self.hold == Hold::None && turn < current => {
                self.waiting.push(current);
                self.current = Some(turn);
            }
            _ => self.waiting.push(turn),
        }
    }

    /// Lets the stream that is first of all become the current one, unless the current one keeps its turn.
    #[inline]
    fn yield_turn(&mut self) {
        if self.hold == Hold::None
            && let Some(current) = self.current
            && let Some(earlier) = self.waiting.swap_if_earlier(current)
        {
            self.current = Some(earlier);
        }
    }

    /// Handles that there is no current stream any more.
    fn on_current_left(&mut self) {
        match self.hold {
            Hold::Packet(_) | Hold::PacketDone => self.hold = Hold::PacketDone,
            Hold::None | Hold::Message => {
                self.hold = Hold::None;
                self.take_next();
            }
        }
    }

    fn take_next(&mut self) {
        self.current = self.waiting.pop();
    }
}
