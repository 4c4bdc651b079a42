//! Two ends with channels on a virtual clock, and a network between them that a test can bend.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

pub(crate) mod packet;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_dcep::{
    ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsConfig, ChannelsEvent, DataChannels, Message,
    OpenError, ReadyState, Reliability, Role,
};
use narrowboat_sctp::{Association, CookieKeys, Valid};

pub(crate) use self::packet::Packet;

/// One of the two ends. `A` dials, and has the even ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    A,
    B,
}

pub(crate) use Side::{A, B};

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            A => B,
            B => A,
        }
    }
}

/// Fate of a packet in the network.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Deliver,
    Drop,
    /// Twice.
    Duplicate,
    /// That much later than the others.
    Delay(Duration),
    /// Something else in its place.
    Replace(Bytes),
}

/// Largest SCTP packet that Ethernet carries in UDP and IPv4.
const ETHERNET: usize = 1472;

type Network = Box<dyn FnMut(&Packet) -> Fate>;

/// Settings of a pair, all with sensible values.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) sctp: [narrowboat_sctp::AssociationConfig; 2],
    pub(crate) channels: [ChannelsConfig; 2],
    pub(crate) roles: [Role; 2],
    pub(crate) delay: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let sctp = narrowboat_sctp::AssociationConfig::default();
        Self {
            sctp: [sctp.clone(), sctp],
            channels: [ChannelsConfig::default(), ChannelsConfig::default()],
            roles: [Role::Client, Role::Server],
            delay: Duration::from_millis(10),
        }
    }
}

impl Setup {
    /// Changes both ends' association.
    pub(crate) fn sctp(mut self, set: impl Fn(&mut narrowboat_sctp::AssociationConfig)) -> Self {
        self.sctp.iter_mut().for_each(set);
        self
    }

    /// Changes both ends' channels.
    pub(crate) fn channels(mut self, set: impl Fn(&mut ChannelsConfig)) -> Self {
        self.channels.iter_mut().for_each(set);
        self
    }
}

/// An association and its channels.
pub(crate) struct End {
    pub(crate) association: Association,
    pub(crate) channels: DataChannels,
    /// Every event so far, in order.
    pub(crate) events: Vec<ChannelsEvent>,
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    ends: [End; 2],
    delay: Duration,
    on_the_way: BTreeMap<(Instant, u64), (Side, Bytes)>,
    sent: u64,
    /// The time, for those who decide the fate of packets.
    clock: Rc<Cell<Instant>>,
    network: Network,
    /// Everything that was sent, if asked for.
    pub(crate) log: Option<Vec<Packet>>,
}

impl Pair {
    pub(crate) fn new(setup: Setup) -> Self {
        let now = Instant::now();
        let Setup { sctp, channels, roles, delay } = setup;
        let mut index = 0;
        let ends = [0, 1].map(|end: usize| {
            let config = Valid::new(sctp[end].clone()).unwrap();
            index += 1;
            let keys = CookieKeys::new(now, [index; 32]);
            End {
                association: Association::new(config, keys, &[], [index + 10; 32]),
                channels: DataChannels::new(Valid::new(channels[end].clone()).unwrap(), roles[end]),
                events: Vec::new(),
            }
        });
        let network: Network = Box::new(|_| Fate::Deliver);
        Self {
            now,
            ends,
            delay,
            on_the_way: BTreeMap::new(),
            sent: 0,
            clock: Rc::new(Cell::new(now)),
            network,
            log: None,
        }
    }

    /// A pair that is up.
    pub(crate) fn connected() -> Self {
        Self::connected_with(Setup::default())
    }

    pub(crate) fn connected_with(setup: Setup) -> Self {
        let mut pair = Self::new(setup);
        pair.connect();
        pair.run();
        assert_eq!([&pair[A].events, &pair[B].events], [&[ChannelsEvent::Connected], &[ChannelsEvent::Connected]]);
        pair.clear_events();
        pair
    }

    pub(crate) fn connect(&mut self) {
        let now = self.now;
        self[A].association.connect(now);
        self.turn(A);
    }

    /// Sets the function that decides the fate of each packet from now on.
    pub(crate) fn network(&mut self, network: impl FnMut(&Packet) -> Fate + 'static) {
        self.network = Box::new(network);
    }

    pub(crate) fn heal(&mut self) {
        self.network(|_| Fate::Deliver);
    }

    pub(crate) fn clock(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.clock)
    }

    /// Forgets what is on its way.
    pub(crate) fn lose_what_is_on_the_way(&mut self) {
        self.on_the_way.clear();
    }

    // The application's calls

    pub(crate) fn open(&mut self, side: Side, options: ChannelOptions) -> ChannelId {
        self.try_open(side, options).unwrap()
    }

    pub(crate) fn try_open(&mut self, side: Side, options: ChannelOptions) -> Result<ChannelId, OpenError> {
        let now = self.now;
        let end = &mut self[side];
        let id = end.channels.open(now, &mut end.association, options);
        self.turn(side);
        id
    }

    /// A reliable, ordered channel that both ends know of: its ids at A and at B.
    pub(crate) fn channel(&mut self) -> (ChannelId, ChannelId) {
        self.channel_with(ChannelOptions::new("test"))
    }

    pub(crate) fn channel_with(&mut self, options: ChannelOptions) -> (ChannelId, ChannelId) {
        self.clear_events();
        let a = self.open(A, options);
        self.run();
        let b = self.incoming(B);
        assert_eq!(self.take_events(A), [ChannelsEvent::Open(a)]);
        assert_eq!(self.take_events(B), [ChannelsEvent::Incoming(b)]);
        (a, b)
    }

    pub(crate) fn try_send(
        &mut self,
        side: Side,
        id: ChannelId,
        message: impl Into<Message>,
    ) -> Result<(), ChannelSendError> {
        let now = self.now;
        let end = &mut self[side];
        let result = end.channels.send(now, &mut end.association, id, message.into());
        self.turn(side);
        result
    }

    pub(crate) fn send(&mut self, side: Side, id: ChannelId, message: impl Into<Message>) {
        self.try_send(side, id, message).unwrap();
    }

    pub(crate) fn recv(&mut self, side: Side, id: ChannelId) -> Option<Message> {
        let now = self.now;
        let end = &mut self[side];
        let message = end.channels.recv(now, &mut end.association, id);
        self.turn(side);
        message
    }

    /// All that can be read.
    pub(crate) fn recv_all(&mut self, side: Side, id: ChannelId) -> Vec<Message> {
        std::iter::from_fn(|| self.recv(side, id)).collect()
    }

    pub(crate) fn close(&mut self, side: Side, id: ChannelId) {
        let now = self.now;
        let end = &mut self[side];
        end.channels.close(now, &mut end.association, id);
        self.turn(side);
    }

    pub(crate) fn forget(&mut self, side: Side, id: ChannelId) {
        let now = self.now;
        let end = &mut self[side];
        end.channels.forget(now, &mut end.association, id);
        self.turn(side);
    }

    pub(crate) fn state(&self, side: Side, id: ChannelId) -> Option<ReadyState> {
        self[side].channels.ready_state(id)
    }

    pub(crate) fn stream(&self, side: Side, id: ChannelId) -> u16 {
        self[side].channels.stream(id).unwrap().0
    }

    pub(crate) fn buffered_amount(&self, side: Side, id: ChannelId) -> usize {
        self[side].channels.buffered_amount(&self[side].association, id)
    }

    // Events

    pub(crate) fn clear_events(&mut self) {
        self.ends.iter_mut().for_each(|end| end.events.clear());
    }

    /// The events since the last time, but for those that the buffered amount is low, which come with every message.
    pub(crate) fn take_events(&mut self, side: Side) -> Vec<ChannelsEvent> {
        let mut events = std::mem::take(&mut self[side].events);
        events.retain(|event| !matches!(event, ChannelsEvent::BufferedAmountLow(_)));
        events
    }

    /// The last channel that the peer opened.
    pub(crate) fn incoming(&self, side: Side) -> ChannelId {
        let mut events = self[side].events.iter().rev();
        events
            .find_map(|event| match event {
                ChannelsEvent::Incoming(id) => Some(*id),
                _ => None,
            })
            .expect("a channel came in")
    }

    /// Returns the end of the channel, if it has ended.
    pub(crate) fn closed(&self, side: Side, id: ChannelId) -> Option<Option<ChannelError>> {
        self[side].events.iter().find_map(|event| match event {
            ChannelsEvent::Closed(closed, error) if *closed == id => Some(error.clone()),
            _ => None,
        })
    }

    // Time

    /// Polls what an end has to say and to send.
    pub(crate) fn turn(&mut self, side: Side) {
        let now = self.now;
        self.clock.set(now);
        let end = &mut self.ends[side as usize];
        loop {
            while let Some(event) = end.channels.poll_event(now, &mut end.association) {
                end.events.push(event);
            }
            let mut buffer = Vec::new();
            let Some(transmit) = end.association.poll_transmit(now, 10, &mut buffer) else { break };
            for datagram in buffer.chunks(transmit.segment_size) {
                let packet = Packet { from: side, bytes: Bytes::copy_from_slice(datagram) };
                let is_too_large = packet.bytes.len() > ETHERNET;
                let fate = if is_too_large { Fate::Drop } else { (self.network)(&packet) };
                let arrival = now + self.delay;
                let deliveries = match fate {
                    Fate::Deliver => vec![(arrival, packet.bytes.clone())],
                    Fate::Drop => vec![],
                    Fate::Duplicate => vec![(arrival, packet.bytes.clone()), (arrival, packet.bytes.clone())],
                    Fate::Delay(more) => vec![(arrival + more, packet.bytes.clone())],
                    Fate::Replace(other) => vec![(arrival, other)],
                };
                for (arrival, bytes) in deliveries {
                    self.sent += 1;
                    self.on_the_way.insert((arrival, self.sent), (side.other(), bytes));
                }
                if let Some(log) = &mut self.log {
                    log.push(packet);
                }
            }
        }
    }

    /// An end gets a packet that nobody sent.
    pub(crate) fn inject(&mut self, to: Side, bytes: Bytes) {
        self.sent += 1;
        self.on_the_way.insert((self.now, self.sent), (to, bytes));
    }

    /// The next thing to happen, at or before `limit`. False if there is none.
    pub(crate) fn step(&mut self, limit: Instant) -> bool {
        let packet = self.on_the_way.keys().next().map(|key| key.0);
        let timers = self.ends.iter().flat_map(|end| [end.association.poll_timeout(), end.channels.poll_timeout()]);
        let Some(next) = timers.flatten().chain(packet).min().filter(|next| *next <= limit) else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        while let Some(first) = self.on_the_way.first_entry()
            && first.key().0 <= now
        {
            let (side, bytes) = first.remove();
            self.ends[side as usize].association.handle_datagram(now, bytes);
            self.turn(side);
        }
        for side in [A, B] {
            let end = &mut self.ends[side as usize];
            if end.association.poll_timeout().is_some_and(|deadline| deadline <= now) {
                end.association.handle_timeout(now);
            }
            if end.channels.poll_timeout().is_some_and(|deadline| deadline <= now) {
                end.channels.handle_timeout(now, &mut end.association);
                assert!(end.channels.poll_timeout().is_none_or(|next| next > now), "a timer must move on");
            }
            self.turn(side);
        }
        true
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        let mut steps = VecDeque::new();
        while self.step(limit) {
            steps.push_back(self.now);
            if steps.len() > 10_000 {
                assert!(steps.pop_front().unwrap() < self.now, "time stands still");
            }
        }
        self.now = limit;
        self.turn(A);
        self.turn(B);
    }

    /// Long enough for anything that nothing holds up, short of heartbeats.
    pub(crate) fn run(&mut self) {
        self.run_for(Duration::from_secs(5));
    }

    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let limit = self.now + limit;
        while !done(self) {
            assert!(self.step(limit), "it did not happen in time");
        }
    }

    /// Nothing is left of any channel: no table holds anything, and every credit was handed back.
    pub(crate) fn assert_nothing_left(&mut self) {
        for side in [A, B] {
            let end = &self[side];
            assert_eq!(end.channels.len(), 0, "channels at {side:?}");
            assert_eq!(end.channels.streams_in_use(), 0, "streams at {side:?}");
            assert_eq!(end.channels.poll_timeout(), None, "a timer at {side:?}");
            assert_eq!(end.association.stats().buffered_amount, 0, "unsent at {side:?}");
        }
    }

    /// Every credit was handed back: what the ends advertise is the whole window, but for a message or two. The window
    /// begins with 256 KiB and doubles with use up to `window`.
    pub(crate) fn assert_windows_are_whole(&mut self, window: usize) {
        self.heal();
        self.run();
        let log = self.log.replace(Vec::new());
        let (a, b) = self.channel();
        self.send(A, a, "x");
        self.send(B, b, "x");
        self.run();
        let mut packets = std::mem::replace(&mut self.log, log).unwrap();
        packets.reverse();
        for side in [A, B] {
            let advertised = packets.iter().filter(|packet| packet.from == side).find_map(Packet::a_rwnd).unwrap();
            let offered = (18..24).map(|bits| 1 << bits).filter(|size| *size < window).chain([window]);
            let offered = offered.into_iter().find(|size| advertised <= *size).unwrap();
            assert!(advertised >= offered - 2_000, "{side:?} advertises {advertised} of {offered}");
        }
        self.forget_all(&[(A, a), (B, b)]);
        self.run();
    }

    /// Makes a channel of this id at both ends, and checks that it carries messages. Returns its names at both ends.
    pub(crate) fn assert_negotiated_works(&mut self, id: u16) -> [ChannelId; 2] {
        let [a, b] = [A, B].map(|side| self.open(side, negotiated(id)));
        self.send(A, a, "again");
        self.send(B, b, "and back");
        self.run();
        assert_eq!(texts(&self.recv_all(B, b)), ["again"]);
        assert_eq!(texts(&self.recv_all(A, a)), ["and back"]);
        [a, b]
    }

    /// Each end lets go of its channels.
    pub(crate) fn forget_all(&mut self, channels: &[(Side, ChannelId)]) {
        for (side, id) in channels {
            self.forget(*side, *id);
        }
    }
}

impl std::ops::Index<Side> for Pair {
    type Output = End;

    fn index(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }
}

impl std::ops::IndexMut<Side> for Pair {
    fn index_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }
}

pub(crate) fn negotiated(id: u16) -> ChannelOptions {
    ChannelOptions::new("negotiated").negotiated(id)
}

pub(crate) fn unordered() -> ChannelOptions {
    ChannelOptions::new("unordered").unordered()
}

pub(crate) fn partially_reliable(reliability: Reliability) -> ChannelOptions {
    ChannelOptions::new("partial").reliability(reliability)
}

/// Text messages, for comparing.
pub(crate) fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.as_text().unwrap()).collect()
}
