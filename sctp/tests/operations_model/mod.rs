//! Two associations, a network and a naive model of what they promise, driven by any bytes. Shared by a test that draws
//! the bytes and by the fuzz target `operations`.
#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CloseReason, CookieKeys, Ppid, Reliability, SendMessageError,
    SendOptions, State, StreamId, Streams, Valid,
};

const MS: Duration = Duration::from_millis(1);
const STREAMS: u16 = 4;

/// Messages that one direction of a stream has to deliver, since its last reset.
#[derive(Default)]
struct Expected {
    /// Messages in the order of sending: a number, whether it is ordered, and whether it may be abandoned.
    messages: VecDeque<(u32, bool, bool)>,
    /// Messages sent after a reset was asked for and performed.
    resets: usize,
}

/// One end, and the model of the messages that it sends.
struct End {
    association: Association,
    /// By stream. A reset puts a new use behind the old one, whose messages come first.
    uses: BTreeMap<StreamId, VecDeque<Expected>>,
    /// Resets of ours under way.
    resetting: Vec<StreamId>,
    reads: bool,
    unread: Vec<AssociationEvent>,
    closed: Option<CloseReason>,
}

/// The whole of it.
pub(crate) struct World {
    now: Instant,
    ends: [End; 2],
    /// Packets under way, by sender.
    wire: [VecDeque<Bytes>; 2],
    next_message: u32,
}

/// Does what the bytes say, two for each operation, then heals the network and demands everything that was promised.
pub(crate) fn run(script: &[u8]) {
    let mut world = World::new();
    for operation in script.chunks_exact(2) {
        world.operate(operation[0], operation[1]);
    }
    world.heal();
}

impl World {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the script moves")]
        let now = Instant::now();
        // Small limits, so that a short script reaches them.
        let config = AssociationConfig {
            inbound_streams: STREAMS,
            outbound_streams: STREAMS,
            receive_window: 8192,
            send_buffer: 32_768,
            stream_send_buffer: 16_384,
            idle_timeout: Duration::from_secs(86_400),
            init_max_retransmits: 100,
            heartbeat_interval: None,
            ..AssociationConfig::default()
        };
        let config = Valid::new(config).unwrap();
        let ends = [1, 2].map(|seed| End {
            association: Association::new(config.clone(), CookieKeys::new(now, [seed; 32]), &[], [seed; 32]),
            uses: BTreeMap::new(),
            resetting: Vec::new(),
            reads: true,
            unread: Vec::new(),
            closed: None,
        });
        let mut world = Self { now, ends, wire: Default::default(), next_message: 0 };
        world.ends[0].association.connect(now);
        world
    }

    fn operate(&mut self, what: u8, how: u8) {
        let end = usize::from(how & 1);
        match what % 16 {
            0..=2 => self.send(end, StreamId(u16::from(how >> 1) % STREAMS), 20, how >> 4),
            3 => self.send(end, StreamId(u16::from(how >> 1) % STREAMS), 3000, how >> 4),
            4 => self.send(end, StreamId(u16::from(how >> 1) % STREAMS), 7000, 0),
            5..=7 => self.deliver(end, usize::from(how >> 1)),
            8 => (0..20).for_each(|_| self.deliver(end, 0)),
            9 => drop(self.wire[end].remove(usize::from(how >> 1) % self.wire[end].len().max(1))),
            10 => {
                let copy = self.wire[end].get(usize::from(how >> 1) % self.wire[end].len().max(1)).cloned();
                self.wire[end].extend(copy);
            }
            11 => self.pass(u32::from(how) * MS / 4),
            12 => self.pass(u32::from(how) * 20 * MS),
            13 => self.reset(end, StreamId(u16::from(how >> 1) % STREAMS)),
            14 => {
                self.ends[end].reads = how & 2 != 0;
                self.read(end);
            }
            _ => self.exchange(10),
        }
        self.poll();
    }

    fn send(&mut self, end: usize, stream: StreamId, len: usize, kind: u8) {
        let reliability = match kind & 6 {
            2 => Reliability::MaxRetransmits(u32::from(kind & 8 == 0)),
            4 => Reliability::MaxLifetime(300 * MS),
            _ => Reliability::Reliable,
        };
        let options = SendOptions { unordered: kind & 1 == 1, reliability, ..SendOptions::default() };
        let number = self.next_message;
        let payload: Bytes = number.to_be_bytes().into_iter().cycle().take(len).collect();
        let at = &mut self.ends[end];
        match at.association.send(self.now, stream, Ppid(53), payload, options) {
            Ok(()) => {
                self.next_message += 1;
                let uses = at.uses.entry(stream).or_default();
                if uses.is_empty() {
                    uses.push_back(Expected::default());
                }
                let may_be_lost = reliability != Reliability::Reliable;
                uses.back_mut().unwrap().messages.push_back((number, !options.unordered, may_be_lost));
            }
            Err(SendMessageError::Resetting(of)) => assert!(of == stream && at.resetting.contains(&stream)),
            Err(SendMessageError::Full | SendMessageError::Closed) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn reset(&mut self, end: usize, stream: StreamId) {
        let at = &mut self.ends[end];
        if at.association.reset_streams(self.now, &[stream]).is_ok() && !at.resetting.contains(&stream) {
            at.resetting.push(stream);
            let uses = at.uses.entry(stream).or_default();
            if uses.is_empty() {
                uses.push_back(Expected::default());
            }
            uses.push_back(Expected { resets: 1, ..Expected::default() });
        }
    }

    fn deliver(&mut self, from: usize, index: usize) {
        let index = index % self.wire[from].len().max(1);
        if let Some(packet) = self.wire[from].remove(index) {
            self.ends[1 - from].association.handle_datagram(self.now, packet);
            self.poll();
        }
    }

    /// Time passes; timers fire when they are due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.poll();
            let due = self.ends.iter().filter_map(|end| end.association.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            for at in &mut self.ends {
                at.association.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// Rounds in which everything that is under way arrives in order.
    fn exchange(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for from in 0..2 {
                for _ in 0..self.wire[from].len() {
                    self.deliver(from, 0);
                }
            }
            self.pass(5 * MS);
            if self.wire.iter().all(VecDeque::is_empty) {
                break;
            }
        }
    }

    fn poll(&mut self) {
        for end in 0..2 {
            while let Some(event) = self.ends[end].association.poll_event() {
                self.on_event(end, event);
            }
            self.read(end);
            let mut buffer = Vec::new();
            while let Some(transmit) = self.ends[end].association.poll_transmit(self.now, 8, &mut buffer) {
                self.wire[end].extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
                buffer.clear();
            }
            // Packets that do not fit a real queue are lost.
            self.wire[end].truncate(500);
        }
    }

    /// Keeps an event until the application reads it, but handles the result of the application's own reset at once.
    fn on_event(&mut self, end: usize, event: AssociationEvent) {
        let AssociationEvent::OutgoingStreamReset(stream) = event else { return self.ends[end].unread.push(event) };
        let at = self.ends[end].resetting.iter().position(|of| *of == stream).expect("it was asked for");
        self.ends[end].resetting.remove(at);
    }

    /// Reads what has come, unless the application has stopped, and asks the model about it.
    fn read(&mut self, end: usize) {
        if !self.ends[end].reads {
            return;
        }
        for event in std::mem::take(&mut self.ends[end].unread) {
            match event {
                AssociationEvent::Message(message) => {
                    let payload = message.payload.into_bytes();
                    self.ends[1 - end].expect(message.stream, &payload);
                    self.ends[end].association.release(message.credit);
                }
                AssociationEvent::IncomingStreamsReset(streams) => {
                    let Streams::List(mut streams) = streams else { panic!("nobody resets all streams") };
                    // Named twice is named once.
                    streams.dedup();
                    streams.into_iter().for_each(|stream| self.ends[1 - end].begin_next_use(stream));
                }
                AssociationEvent::Closed(reason) => {
                    assert!(self.ends[end].closed.replace(reason).is_none(), "closed twice");
                }
                AssociationEvent::Restarted => panic!("nobody was restarted"),
                AssociationEvent::Connected
                | AssociationEvent::InvalidStream(_)
                | AssociationEvent::BufferedAmountLow(_)
                | AssociationEvent::Writable
                | AssociationEvent::Abandoned { .. }
                | AssociationEvent::OutgoingStreamReset(_) => {}
                other => panic!("the model does not know {other:?}"),
            }
        }
    }

    /// The network is well again, everyone reads, and everything that was promised must come true.
    fn heal(&mut self) {
        for at in &mut self.ends {
            at.reads = true;
        }
        for _ in 0..400 {
            self.exchange(20);
            if self.is_settled() {
                break;
            }
            self.pass(200 * MS);
        }
        for at in &self.ends {
            assert_eq!((at.association.state(), &at.closed), (State::Established, &None));
            assert!(at.resetting.is_empty(), "resets that never ended: {:?}", at.resetting);
            assert_eq!(at.association.stats().flight_size, 0, "still on its way");
            assert_eq!(at.association.stats().buffered_amount, 0, "still waiting");
            for (stream, uses) in &at.uses {
                assert!(uses.len() <= 1, "stream {stream}: a reset that was never heard of");
                let lost = uses.iter().flat_map(|of| &of.messages).filter(|(.., may_be_lost)| !may_be_lost);
                assert_eq!(lost.count(), 0, "stream {stream}: reliable messages that never came");
            }
        }
    }

    fn is_settled(&self) -> bool {
        let is_quiet = |at: &End| {
            let stats = at.association.stats();
            at.association.state() == State::Established
                && at.resetting.is_empty()
                && stats.flight_size == 0
                && stats.buffered_amount == 0
                && at.uses.values().all(|uses| uses.len() <= 1 && uses.iter().all(Expected::is_done))
        };
        self.wire.iter().all(VecDeque::is_empty) && self.ends.iter().all(is_quiet)
    }
}

impl Expected {
    fn is_done(&self) -> bool {
        self.messages.iter().all(|(.., may_be_lost)| *may_be_lost)
    }
}

impl End {
    /// The peer has received a message of ours.
    fn expect(&mut self, stream: StreamId, payload: &[u8]) {
        let number = u32::from_be_bytes(*payload.first_chunk().unwrap());
        let is_whole = payload.iter().copied().eq(number.to_be_bytes().into_iter().cycle().take(payload.len()));
        assert!(is_whole && [20, 3000, 7000].contains(&payload.len()), "message {number} is not what was sent");
        let of = self.uses.get_mut(&stream).and_then(VecDeque::front_mut).expect("a stream that was used");
        let at = of.messages.iter().position(|message| message.0 == number);
        let at =
            at.unwrap_or_else(|| panic!("message {number} came twice, late, or to another use of stream {stream}"));
        let (_, is_ordered, _) = of.messages[at];
        if is_ordered {
            // Messages that it overtook were unordered, or never arrive.
            let mut index = 0;
            of.messages.retain(|(before, before_is_ordered, may_be_lost)| {
                let is_passed = index < at && *before_is_ordered;
                assert!(!is_passed || *may_be_lost, "message {number} has overtaken {before} on stream {stream}");
                index += 1;
                !is_passed && *before != number
            });
        } else {
            of.messages.remove(at);
        }
    }

    /// The peer has heard of a reset of ours: what came before has come, or was given up.
    fn begin_next_use(&mut self, stream: StreamId) {
        let uses = self.uses.get_mut(&stream).expect("a stream that was reset");
        let before = uses.pop_front().expect("a use");
        assert!(before.is_done(), "stream {stream} was reset before {:?} had come", before.messages);
        assert_eq!(uses.front().map(|of| of.resets), Some(1), "a reset that nobody asked for");
    }
}
