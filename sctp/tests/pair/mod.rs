//! Two associations on a virtual clock, joined by a link whose packets a test may look at, drop, delay or repeat.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType, Chunks, DataChunk, IDataChunk};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CookieKeys, Ppid, ReceivedMessage, SendOptions, State, StreamId,
    Valid,
};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Largest SCTP packet that Ethernet carries in UDP and IPv4.
const ETHERNET: usize = 1472;

/// Decision of the link about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    /// Delivers the packet this much later.
    Delay(Duration),
    /// Delivers the packet twice, the second time this much later.
    Repeat(Duration),
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Which end sent it.
    pub(crate) from: usize,
    pub(crate) at: Duration,
    pub(crate) bytes: Bytes,
}

impl Packet {
    pub(crate) fn kinds(&self) -> Vec<ChunkType> {
        Chunks::new(&self.bytes).map_while(Result::ok).map(|chunk| chunk.kind).collect()
    }

    pub(crate) fn has(&self, kind: ChunkType) -> bool {
        self.kinds().contains(&kind)
    }

    /// Returns true if user data is in the packet, in chunks of either type.
    pub(crate) fn has_user_data(&self) -> bool {
        self.has(ChunkType::DATA) || self.has(ChunkType::I_DATA)
    }

    /// Returns true if a chunk that skips messages is in the packet, of either type.
    pub(crate) fn has_skip(&self) -> bool {
        self.has(ChunkType::FORWARD_TSN) || self.has(ChunkType::I_FORWARD_TSN)
    }
}

type Rule = Box<dyn FnMut(&Packet) -> Verdict>;

pub(crate) struct Pair {
    pub(crate) ends: [Association; 2],
    pub(crate) events: [Vec<AssociationEvent>; 2],
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) one_way: Duration,
    /// Bytes a second, and bytes that wait at most in front of the link.
    pub(crate) bottleneck: Option<(u64, usize)>,
    /// Largest packet that the link carries: Ethernet's, unless one may be configured to be larger.
    pub(crate) link_mtu: usize,
    /// Until then each end's packets wait at the end of the link, and leave it in their order.
    pub(crate) held_until: [Instant; 2],
    pub(crate) rule: Rule,
    pub(crate) trace: Vec<Packet>,
    pub(crate) keeps_trace: bool,
    /// True if messages are released as soon as they are polled.
    pub(crate) reads: [bool; 2],
    pub(crate) received: [Vec<(StreamId, Ppid, Bytes)>; 2],
    mtu_max: usize,
    wire: BinaryHeap<Reverse<(Instant, u64, usize, Bytes)>>,
    free_at: [Instant; 2],
    sequence: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with_config(AssociationConfig::default())
    }

    pub(crate) fn with_config(config: AssociationConfig) -> Self {
        Self::with_configs([config.clone(), config], 1)
    }

    pub(crate) fn with_configs(configs: [AssociationConfig; 2], seed: u8) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]
        let start = Instant::now();
        let largest = |config: &AssociationConfig| {
            if config.path_mtu_discovery { config.mtu_max.max(config.mtu) } else { config.mtu }
        };
        let mtu_max = largest(&configs[0]).max(largest(&configs[1]));
        let link_mtu = configs.iter().map(|config| config.mtu).fold(ETHERNET, usize::max);
        let mut index = 0;
        let ends = configs.map(|config| {
            index += 1;
            let keys = CookieKeys::new(start, [index; 32]);
            Association::new(Valid::new(config).unwrap(), keys, &[], [seed.wrapping_mul(2).wrapping_add(index); 32])
        });
        Self {
            ends,
            events: Default::default(),
            start,
            now: start,
            one_way: 10 * MS,
            bottleneck: None,
            link_mtu,
            held_until: [start; 2],
            rule: Box::new(|_| Verdict::Pass),
            trace: Vec::new(),
            keeps_trace: true,
            reads: [true; 2],
            received: Default::default(),
            mtu_max,
            wire: BinaryHeap::new(),
            free_at: [start; 2],
            sequence: 0,
        }
    }

    /// A pair that is established, with its trace cleared.
    pub(crate) fn connected(config: AssociationConfig) -> Self {
        let mut pair = Self::with_config(config);
        pair.connect();
        pair
    }

    pub(crate) fn connect(&mut self) {
        self.ends[0].connect(self.now);
        self.run_for(100 * MS);
        assert_eq!([self.ends[0].state(), self.ends[1].state()], [State::Established; 2]);
        self.events = Default::default();
        self.trace.clear();
    }

    pub(crate) fn send(&mut self, end: usize, stream: StreamId, payload: impl Into<Bytes>) {
        self.send_with(end, stream, payload, SendOptions::default());
    }

    pub(crate) fn send_with(&mut self, end: usize, stream: StreamId, payload: impl Into<Bytes>, options: SendOptions) {
        let payload = payload.into();
        self.ends[end].send(self.now, stream, Ppid(53), payload, options).unwrap();
        self.flush();
    }

    /// Everything that the ends want to send or say now.
    pub(crate) fn flush(&mut self) {
        for end in 0..2 {
            self.take_events(end);
            let mut buffer = Vec::new();
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, 16, &mut buffer) {
                for datagram in buffer.chunks(transmit.segment_size) {
                    assert!(datagram.len() <= self.mtu_max);
                    self.put_on_wire(end, Bytes::copy_from_slice(datagram));
                }
                buffer.clear();
            }
        }
    }

    pub(crate) fn take_events(&mut self, end: usize) {
        while let Some(event) = self.ends[end].poll_event() {
            match event {
                AssociationEvent::Message(ReceivedMessage { stream, ppid, payload, credit, .. }) if self.reads[end] => {
                    self.received[end].push((stream, ppid, payload.into_bytes()));
                    self.ends[end].release(credit);
                }
                event => self.events[end].push(event),
            }
        }
    }

    /// Returns the number of messages that an end has reported as abandoned.
    pub(crate) fn abandoned(&self, end: usize) -> usize {
        let messages = self.events[end].iter().filter_map(|event| match event {
            AssociationEvent::Abandoned { messages, .. } => usize::try_from(*messages).ok(),
            _ => None,
        });
        messages.sum()
    }

    /// Puts a packet on the wire that `from` is taken to have sent.
    pub(crate) fn put_on_wire(&mut self, from: usize, bytes: Bytes) {
        let packet = Packet { from, at: self.now - self.start, bytes };
        let is_too_large = packet.bytes.len() > self.link_mtu;
        let verdict = if is_too_large { Verdict::Drop } else { (self.rule)(&packet) };
        let Packet { bytes, .. } = packet.clone();
        if self.keeps_trace {
            self.trace.push(packet);
        }
        let mut arrival = self.now + self.one_way;
        if let Some((rate, queue)) = self.bottleneck {
            let waiting = self.free_at[from].saturating_duration_since(self.now);
            if waiting.as_secs_f64() * rate as f64 > queue as f64 {
                return;
            }
            let sent = self.free_at[from].max(self.now) + Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
            self.free_at[from] = sent;
            arrival = sent + self.one_way;
        }
        arrival = arrival.max(self.held_until[from]);
        match verdict {
            Verdict::Drop => return,
            Verdict::Pass => {}
            Verdict::Delay(delay) => arrival += delay,
            Verdict::Repeat(delay) => self.enqueue(arrival + delay, 1 - from, bytes.clone()),
        }
        self.enqueue(arrival, 1 - from, bytes);
    }

    fn enqueue(&mut self, arrival: Instant, to: usize, bytes: Bytes) {
        self.sequence += 1;
        self.wire.push(Reverse((arrival, self.sequence, to, bytes)));
    }

    /// One step: the next arrival or deadline, if it comes before `until`.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.flush();
        let arrival = self.wire.peek().map(|Reverse(packet)| packet.0);
        let deadlines = [0, 1].map(|end| self.ends[end].poll_timeout());
        let Some(next) =
            [arrival, deadlines[0], deadlines[1]].into_iter().flatten().min().filter(|next| *next <= until)
        else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for (end, deadline) in self.ends.iter_mut().zip(deadlines) {
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                end.handle_timeout(self.now);
                assert!(end.poll_timeout().is_none_or(|again| again > self.now), "a timer does not move on");
            }
        }
        while self.wire.peek().is_some_and(|Reverse(packet)| packet.0 <= self.now) {
            let Some(Reverse((_, _, to, bytes))) = self.wire.pop() else { break };
            self.ends[to].handle_datagram(self.now, bytes);
        }
        self.flush();
        true
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
    }

    /// Runs until `done`, or panics after `limit` of virtual time.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let until = self.now + limit;
        self.flush();
        while !done(self) {
            let step = self.step(until);
            let ends = self.ends.each_ref().map(|end| (end.state(), end.stats()));
            assert!(step, "not done after {limit:?}: {ends:#?} {:?}", self.events);
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Returns the chunk type of user data that the ends have agreed upon.
    pub(crate) fn data_kind(&self) -> ChunkType {
        if self.ends[0].peer_supports_message_interleaving() { ChunkType::I_DATA } else { ChunkType::DATA }
    }

    /// Returns the number of bytes before the payload of a chunk with user data.
    pub(crate) fn data_header_len(&self) -> usize {
        if self.data_kind() == ChunkType::I_DATA { IDataChunk::HEADER_LEN } else { DataChunk::HEADER_LEN }
    }

    /// Returns the type of the chunk that skips messages.
    pub(crate) fn skip_kind(&self) -> ChunkType {
        if self.data_kind() == ChunkType::I_DATA { ChunkType::I_FORWARD_TSN } else { ChunkType::FORWARD_TSN }
    }

    /// Packets with this chunk that an end has sent, in order.
    pub(crate) fn sent(&self, from: usize, kind: ChunkType) -> Vec<&Packet> {
        self.trace.iter().filter(|packet| packet.from == from && packet.has(kind)).collect()
    }
}
