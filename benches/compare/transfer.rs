//! A transfer from one end to the other, and its cost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{End, Event, LinkConfig, Pair, Refusal, Role, SendOptions, Settings, Stack};

use crate::measure::{Cost, Gauge};

/// The stream that is sent on.
const STREAM: u16 = 0;

/// Virtual time without a message after which a stack counts as stuck: more than the longest back-off that any of them
/// has by default.
const STUCK_AFTER: Duration = Duration::from_secs(130);

/// Messages to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes in each message.
    pub(crate) message: usize,
    /// Bytes handed to the sender that the receiver has not read, at most. Above the window, so that the sender is
    /// never out of data.
    pub(crate) backlog: usize,
}

/// An endless transfer from `A` to `B`.
pub(crate) struct Transfer {
    pair: Pair,
    load: Load,
    payload: Bytes,
    sent: u64,
    received: u64,
    messages: u64,
    last_message_at: Instant,
    flight_max: usize,
}

/// The run stopped before its goal, at the limit on wall time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut;

impl Transfer {
    /// Two ends of a stack, connected.
    pub(crate) fn new(
        stack: Stack,
        settings: &Settings,
        path: LinkConfig,
        load: Load,
        seed: u64,
    ) -> Result<Self, String> {
        let now = Instant::now();
        let peers = [Role::Client, Role::Server].map(|role| stack.peer(now, settings, seed ^ (role as u64) << 32));
        let mut pair = Pair::new(now, peers, path, seed);
        pair.establish()?;
        let payload = Bytes::from(vec![0x5a; load.message]);
        let last_message_at = pair.now();
        Ok(Self { pair, load, payload, sent: 0, received: 0, messages: 0, last_message_at, flight_max: 0 })
    }

    /// Bytes that have been received in whole messages.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Datagrams that the sender has sent.
    pub(crate) fn packets(&self) -> u64 {
        self.pair.sent(End::A).datagrams
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.pair.now()
    }

    /// The most bytes that were ever under way.
    pub(crate) fn flight_max(&self) -> usize {
        self.flight_max
    }

    /// Goes on until `is_done`, or until the limit on wall time.
    pub(crate) fn run(&mut self, wall_max: Duration, is_done: impl Fn(&Self) -> bool) -> Result<Option<Cut>, String> {
        /// Turns between two looks at the wall clock.
        const LOOK_EVERY: u32 = 64;
        let started = Instant::now();
        let mut turns = 0_u32;
        while !is_done(self) {
            self.turn()?;
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(LOOK_EVERY) && started.elapsed() >= wall_max {
                return Ok(Some(Cut));
            }
        }
        Ok(None)
    }

    /// Goes on until `is_done`, and returns the cost.
    pub(crate) fn measure(
        &mut self,
        wall_max: Duration,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(Cost, Option<Cut>), String> {
        let (bytes, messages) = (self.received, self.messages);
        let [data, answers] = End::BOTH.map(|end| self.pair.sent(end).datagrams);
        let mut result = Ok(None);
        let gauge = Gauge::run(|| result = self.run(wall_max, is_done));
        let cut = result?;
        let packets = self.pair.sent(End::A).datagrams - data;
        let datagrams = packets + self.pair.sent(End::B).datagrams - answers;
        let cost = Cost {
            cpu: gauge.cpu,
            bytes: self.received - bytes,
            messages: self.messages - messages,
            packets,
            // The link copies each datagram once, as a socket does; the stacks have no part in that.
            allocations: gauge.allocations.saturating_sub(datagrams),
        };
        Ok((cost, cut))
    }

    /// One turn of the application and the driver.
    fn turn(&mut self) -> Result<(), String> {
        while self.sent - self.received + self.load.message as u64 <= self.load.backlog as u64 {
            match self.pair.send(End::A, STREAM, &self.payload, SendOptions::default()) {
                Ok(()) => self.sent += self.load.message as u64,
                Err(Refusal::Full) => break,
                Err(Refusal::Failed(error)) => return Err(format!("send failed: {error}")),
            }
        }
        for end in End::BOTH {
            while let Some(event) = self.pair.poll_event(end) {
                self.on_event(event)?;
            }
        }
        let deadline = self.last_message_at + STUCK_AFTER;
        if !self.pair.advance(deadline) {
            let waited = STUCK_AFTER.as_secs();
            return Err(format!("stuck: no message for {waited} virtual seconds, {} bytes in", self.received));
        }
        self.flight_max = self.flight_max.max(self.pair.bytes_under_way(End::A));
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Message(message) if message.payload.size() == self.load.message => {
                self.received += self.load.message as u64;
                self.messages += 1;
                self.last_message_at = self.pair.now();
                Ok(())
            }
            Event::Message(message) => Err(format!("a message arrived with {} bytes", message.payload.size())),
            Event::Closed { reason, .. } => Err(format!("the association ended: {reason}")),
            _ => Ok(()),
        }
    }
}
