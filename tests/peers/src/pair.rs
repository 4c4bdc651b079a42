//! Two ends, a link each way, and a virtual clock.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::link::{Censor, Link, LinkConfig};
use crate::peer::{Event, Peer, Refusal, SendOptions, StreamId};

/// Datagrams that an end handles before its outputs are polled, like a driver that reads a socket in batches.
const BATCH: usize = 16;

/// Names one of the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The first.
    A,
    /// The second.
    B,
}

impl End {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Packets and bytes that an end has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, without UDP's.
    pub bytes: u64,
}

struct Side {
    peer: Box<dyn Peer>,
    /// Towards the other end.
    link: Link,
    sent: Traffic,
    /// True if there was a command or an input since the outputs were polled.
    is_touched: bool,
    deadline: Option<Instant>,
    events_left: bool,
}

/// Two ends that talk to each other.
///
/// The application's turn is: [`poll_event`](Self::poll_event) until there is none, commands, then
/// [`advance`](Self::advance), which sends what is due and moves the clock to what happens next.
pub struct Pair {
    now: Instant,
    sides: [Side; 2],
    batch: usize,
    /// Lent to an end that has something to send.
    room: Vec<u8>,
}

impl Pair {
    /// Creates two ends that have not sent anything yet, with the same path in both directions.
    #[must_use]
    pub fn new(now: Instant, peers: [Box<dyn Peer>; 2], path: LinkConfig, seed: u64) -> Self {
        let mut seed = seed.wrapping_mul(2);
        let sides = peers.map(|peer| {
            seed = seed.wrapping_add(1);
            let link = Link::new(now, path, seed);
            Side { peer, link, sent: Traffic::default(), is_touched: true, deadline: None, events_left: true }
        });
        Self { now, sides, batch: BATCH, room: Vec::new() }
    }

    /// Sets the number of datagrams that an end handles before its outputs are polled.
    pub fn set_batch(&mut self, batch: usize) {
        self.batch = batch;
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the packets and bytes that an end has sent so far.
    #[must_use]
    pub fn sent(&self, end: End) -> Traffic {
        self.side(end).sent
    }

    /// Bytes from an end that are under way.
    #[must_use]
    pub fn bytes_under_way(&self, end: End) -> usize {
        self.side(end).link.bytes_under_way()
    }

    /// Datagrams that the link from an end has dropped.
    #[must_use]
    pub fn dropped(&self, end: End) -> u64 {
        self.side(end).link.dropped
    }

    /// Changes the path from an end.
    pub fn set_link(&mut self, end: End, config: LinkConfig) {
        self.touch(end).link.set_config(config);
    }

    /// Has someone decide over each datagram from an end.
    pub fn set_censor(&mut self, end: End, censor: Option<Censor>) {
        self.side_mut(end).link.set_censor(censor);
    }

    /// The stack at an end.
    pub fn peer(&mut self, end: End) -> &mut dyn Peer {
        self.touch(end).peer.as_mut()
    }

    /// The stacks, without path and clock.
    #[must_use]
    pub fn into_peers(self) -> [Box<dyn Peer>; 2] {
        self.sides.map(|side| side.peer)
    }

    /// Has an end connect.
    pub fn connect(&mut self, end: End) {
        let now = self.now;
        self.peer(end).connect(now);
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The stack's.
    pub fn send(&mut self, end: End, id: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal> {
        let now = self.now;
        self.peer(end).send(now, id, payload, options)
    }

    /// Resets a stream.
    ///
    /// # Errors
    ///
    /// The stack's.
    pub fn reset(&mut self, end: End, stream: StreamId) -> Result<(), Refusal> {
        let now = self.now;
        self.peer(end).reset(now, stream)
    }

    /// Shuts down from an end.
    pub fn shutdown(&mut self, end: End) {
        let now = self.now;
        self.peer(end).shutdown(now);
    }

    /// Aborts from an end.
    pub fn abort(&mut self, end: End) {
        let now = self.now;
        self.peer(end).abort(now);
    }

    /// The next event of an end.
    pub fn poll_event(&mut self, end: End) -> Option<Event> {
        let now = self.now;
        let side = self.side_mut(end);
        if !side.events_left {
            return None;
        }
        let event = side.peer.poll_event(now);
        side.is_touched |= event.is_some();
        side.events_left = event.is_some();
        event
    }

    /// Sends the packets that are due, then hands over the next datagrams and runs timers, not beyond `until`. False if
    /// nothing at all is to happen by then; the clock then stands at `until`.
    pub fn advance(&mut self, until: Instant) -> bool {
        for end in End::BOTH {
            self.flush(end);
        }
        let next = End::BOTH.iter().filter_map(|&end| self.next_due(end)).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        for end in End::BOTH {
            self.deliver(end);
        }
        true
    }

    /// Sends the packets of an end.
    fn flush(&mut self, end: End) {
        let now = self.now;
        let [a, b] = &mut self.sides;
        let side = if end == End::A { a } else { b };
        if !std::mem::take(&mut side.is_touched) {
            return;
        }
        let Side { peer, link, sent, .. } = &mut *side;
        self.room.clear();
        peer.poll_transmit(now, &mut self.room, &mut |datagram| {
            sent.datagrams += 1;
            sent.bytes += datagram.len() as u64;
            link.send(now, datagram);
        });
        side.deadline = side.peer.poll_timeout();
    }

    /// Returns the time at which an end has something to do: a datagram from the other end, or a timer.
    fn next_due(&self, end: End) -> Option<Instant> {
        let arrival = self.side(end.other()).link.next_arrival();
        arrival.into_iter().chain(self.side(end).deadline).min()
    }

    fn deliver(&mut self, end: End) {
        let now = self.now;
        for _ in 0..self.batch {
            let Some(datagram) = self.side_mut(end.other()).link.receive(now) else { break };
            self.touch(end).peer.handle_datagram(now, datagram);
        }
        if self.side(end).deadline.is_some_and(|deadline| deadline <= now) {
            self.touch(end).peer.handle_timeout(now);
        }
    }

    fn touch(&mut self, end: End) -> &mut Side {
        let side = self.side_mut(end);
        side.is_touched = true;
        side.events_left = true;
        side
    }

    fn side(&self, end: End) -> &Side {
        let [a, b] = &self.sides;
        if end == End::A { a } else { b }
    }

    fn side_mut(&mut self, end: End) -> &mut Side {
        let [a, b] = &mut self.sides;
        if end == End::A { a } else { b }
    }
}

/// Longest time that a handshake may take on a path without faults.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

impl Pair {
    /// Connects from `A` and waits until both ends are up.
    ///
    /// # Errors
    ///
    /// The handshake did not end well.
    pub fn establish(&mut self) -> Result<(), String> {
        self.connect(End::A);
        let deadline = self.now + HANDSHAKE_MAX;
        let mut connected = 0;
        loop {
            for end in End::BOTH {
                while let Some(event) = self.poll_event(end) {
                    match event {
                        Event::Connected => connected += 1,
                        Event::Closed { reason, .. } => return Err(format!("handshake failed: {reason}")),
                        _ => {}
                    }
                }
            }
            if connected == 2 {
                return Ok(());
            }
            if !self.advance(deadline) {
                return Err("the handshake did not end".into());
            }
        }
    }
}
