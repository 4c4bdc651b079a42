//! Entry function of the fuzz target `channels`: two ends with channels and the network between them, driven by any
//! bytes, two for each operation, against a model of what channels promise. Shared by the target and by the test that
//! replays its corpus.
#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_dcep::{
    ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsConfig, ChannelsEvent, DataChannels, Message,
    OpenError, ReadyState, Reliability, Role,
};
use narrowboat_sctp::{Association, CookieKeys, Ppid, SendOptions, State, StreamId, Valid};

const MS: Duration = Duration::from_millis(1);
const STEPS_MAX: usize = 48;
const CHANNELS_MAX: usize = 4;

/// Messages that one side has sent on a channel, and messages that the other has received.
#[derive(Default)]
struct Lane {
    sent: u32,
    received: Vec<u32>,
}

/// A channel as the model knows it: its ids at both ends, and whether it may lose messages.
#[derive(Default)]
struct Channel {
    ids: [Option<ChannelId>; 2],
    lanes: [Lane; 2],
    is_ordered: bool,
    is_reliable: bool,
    /// Somebody has closed it, so that messages may be lost.
    is_closing: bool,
    closed: [bool; 2],
}

struct End {
    association: Association,
    channels: DataChannels,
}

struct World {
    now: Instant,
    ends: [End; 2],
    wire: [VecDeque<Bytes>; 2],
    channels: Vec<Channel>,
    by_id: [BTreeMap<ChannelId, usize>; 2],
    /// The peer has broken rules: then only what always holds is asked.
    is_hostile: bool,
}

pub(crate) fn run(script: &[u8]) {
    let mut world = World::new();
    for operation in script.chunks_exact(2).take(STEPS_MAX) {
        if let [what, how] = operation {
            world.operate(*what, *how);
        }
    }
    world.heal();
}

impl World {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the script moves")]
        let now = Instant::now();
        let sctp = Valid::new(narrowboat_sctp::AssociationConfig {
            receive_window: 16_384,
            send_buffer: 16_384,
            stream_send_buffer: 8192,
            idle_timeout: Duration::from_secs(86_400),
            init_max_retransmits: 100,
            heartbeat_interval: None,
            reset_timeout: Duration::from_secs(600),
            ..narrowboat_sctp::AssociationConfig::default()
        })
        .unwrap();
        let config = ChannelsConfig { channels_max: CHANNELS_MAX, ..ChannelsConfig::default() };
        let config = Valid::new(ChannelsConfig { close_timeout: Duration::from_secs(600), ..config }).unwrap();
        let ends = [Role::Client, Role::Server].map(|role| {
            let seed = [role as u8 + 1; 32];
            let association = Association::new(sctp.clone(), CookieKeys::new(now, seed), &[], seed);
            End { association, channels: DataChannels::new(config.clone(), role) }
        });
        let (wire, channels, by_id) = Default::default();
        let mut world = Self { now, ends, wire, channels, by_id, is_hostile: false };
        world.ends[0].association.connect(now);
        world.exchange(4);
        world
    }

    fn operate(&mut self, what: u8, how: u8) {
        let end = usize::from(how & 1);
        match what % 16 {
            0 | 1 => self.open(end, how >> 1),
            2..=4 => self.send(end, how),
            5 | 6 => self.close(end, how, false),
            7 => self.close(end, how, true),
            8 | 9 => (0..1 + how / 32).for_each(|_| self.deliver(end, 0)),
            10 => self.deliver(end, usize::from(how >> 1)),
            11 => drop(self.wire[end].pop_front()),
            12 => {
                let copy = self.wire[end].back().cloned();
                self.wire[end].extend(copy);
            }
            13 => self.pass(u32::from(how) * 20 * MS),
            14 => self.exchange(1 + usize::from(how / 64)),
            _ if what & 0x80 != 0 => self.break_rules(end, how),
            _ => self.exchange(10),
        }
        self.poll();
    }

    fn open(&mut self, end: usize, how: u8) {
        let reliability = match how % 4 {
            1 => Reliability::MaxRetransmits(0),
            2 => Reliability::MaxLifetime(100 * MS),
            _ => Reliability::Reliable,
        };
        let number = self.channels.len();
        let mut options = ChannelOptions::new(number.to_string()).reliability(reliability);
        options.ordered = how & 4 == 0;
        let is_ordered = options.ordered;
        let at = &mut self.ends[end];
        match at.channels.open(self.now, &mut at.association, options) {
            Ok(id) => {
                self.by_id[end].insert(id, number);
                let mut channel =
                    Channel { is_ordered, is_reliable: reliability == Reliability::Reliable, ..Channel::default() };
                channel.ids[end] = Some(id);
                self.channels.push(channel);
            }
            Err(OpenError::TooManyChannels(_) | OpenError::NoFreeId) => {}
            Err(OpenError::Closed) => assert!(self.is_hostile, "the association has ended"),
            Err(error) => panic!("{error}"),
        }
    }

    fn pick(&self, end: usize, how: u8) -> Option<(usize, ChannelId)> {
        let known = &self.by_id[end];
        let (id, number) = known.iter().nth(usize::from(how >> 1) % known.len().max(1))?;
        Some((*number, *id))
    }

    fn send(&mut self, end: usize, how: u8) {
        let Some((number, id)) = self.pick(end, how) else { return };
        let index = self.channels[number].lanes[end].sent;
        let len = [4, 40, 1500, 5000][usize::from(how >> 6)];
        let words = [u32::try_from(number).unwrap(), index].map(u32::to_be_bytes).concat();
        let payload: Bytes = words.into_iter().cycle().take(len + 4).collect();
        let at = &mut self.ends[end];
        match at.channels.send(self.now, &mut at.association, id, Message::Binary(payload)) {
            Ok(()) => self.channels[number].lanes[end].sent += 1,
            Err(ChannelSendError::Full | ChannelSendError::NotOpen(_)) => {}
            Err(ChannelSendError::AssociationClosed) => assert!(self.is_hostile, "the association has ended"),
            Err(error) => panic!("{error}"),
        }
    }

    fn close(&mut self, end: usize, how: u8, forget: bool) {
        let Some((number, id)) = self.pick(end, how) else { return };
        self.channels[number].is_closing = true;
        let at = &mut self.ends[end];
        if forget {
            at.channels.forget(self.now, &mut at.association, id);
            self.by_id[end].remove(&id);
            self.channels[number].closed[end] = true;
        } else {
            at.channels.close(self.now, &mut at.association, id);
        }
    }

    /// Messages and resets below the channels, as a peer makes them that has its own ideas.
    fn break_rules(&mut self, end: usize, how: u8) {
        self.is_hostile = true;
        let (stream, at) = (u16::from(how >> 1) % 6, &mut self.ends[end]);
        let (ppid, payload): (u32, &'static [u8]) = match how >> 5 {
            0 => (50, &[2]),
            1 => (50, &[2, 0, 0, 0]),
            2 => (50, &[3, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x']),
            3 => (50, &[3, 0, 1, 0]),
            4 => (51, &[0xFF]),
            5 => (53, b"data without a channel"),
            6 => (99, b"?"),
            _ => {
                let _ = at.association.reset_streams(self.now, &[StreamId(stream)]);
                return;
            }
        };
        let options = SendOptions::default();
        let _ = at.association.send(self.now, StreamId(stream), Ppid(ppid), Bytes::from_static(payload), options);
    }

    fn deliver(&mut self, from: usize, index: usize) {
        let index = index % self.wire[from].len().max(1);
        if let Some(packet) = self.wire[from].remove(index) {
            self.ends[1 - from].association.handle_datagram(self.now, packet);
            self.poll();
        }
    }

    fn exchange(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for from in 0..2 {
                (0..self.wire[from].len()).for_each(|_| self.deliver(from, 0));
            }
            self.pass(5 * MS);
            if self.wire.iter().all(VecDeque::is_empty) {
                break;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let limit = self.now + time;
        loop {
            self.poll();
            let due = |end: &End| [end.association.poll_timeout(), end.channels.poll_timeout()];
            let next = self.ends.iter().flat_map(due).flatten().min().filter(|next| *next <= limit);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            for at in &mut self.ends {
                at.association.handle_timeout(self.now);
                at.channels.handle_timeout(self.now, &mut at.association);
            }
        }
        self.now = limit;
    }

    fn poll(&mut self) {
        for end in 0..2 {
            loop {
                let at = &mut self.ends[end];
                if let Some(event) = at.channels.poll_event(self.now, &mut at.association) {
                    self.on_event(end, &event);
                    continue;
                }
                let mut buffer = Vec::new();
                let at = &mut self.ends[end];
                let Some(transmit) = at.association.poll_transmit(self.now, 8, &mut buffer) else { break };
                self.wire[end].extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
                self.wire[end].truncate(200);
            }
        }
    }

    fn on_event(&mut self, end: usize, event: &ChannelsEvent) {
        match event {
            ChannelsEvent::Incoming(id) => {
                let label = self.ends[end].channels.options(*id).map(|options| options.label.clone());
                let number = label.and_then(|label| label.parse::<usize>().ok());
                let known = number.filter(|number| self.channels.get(*number).is_some_and(|c| c.ids[end].is_none()));
                let Some(number) = known else {
                    assert!(self.is_hostile, "a channel that nobody opened");
                    return;
                };
                self.channels[number].ids[end] = Some(*id);
                self.by_id[end].insert(*id, number);
            }
            ChannelsEvent::Readable(id) => self.read(end, *id),
            ChannelsEvent::Closed(id, error) => {
                let Some(number) = self.by_id[end].remove(id) else { return };
                self.read(end, *id);
                let channel = &mut self.channels[number];
                assert!(!channel.closed[end], "closed twice");
                channel.closed[end] = true;
                channel.is_closing = true;
                let is_allowed = matches!(error, None | Some(ChannelError::Refused | ChannelError::PeerClosed { .. }));
                assert!(is_allowed || self.is_hostile, "{error:?}");
                let at = &mut self.ends[end];
                at.channels.forget(self.now, &mut at.association, *id);
            }
            ChannelsEvent::AssociationClosed(reason) => assert!(self.is_hostile, "{reason:?}"),
            ChannelsEvent::Restarted => panic!("nobody was restarted"),
            _ => {}
        }
    }

    fn read(&mut self, end: usize, id: ChannelId) {
        let number = self.by_id[end].get(&id).copied();
        let at = &mut self.ends[end];
        while let Some(message) = at.channels.recv(self.now, &mut at.association, id) {
            let Some(number) = number else { continue };
            if self.is_hostile {
                continue;
            }
            let Message::Binary(payload) = message else { panic!("nobody sent a text") };
            let word = |at: usize| u32::from_be_bytes(*payload[at..].first_chunk().unwrap());
            assert_eq!(usize::try_from(word(0)).unwrap(), number, "a message of another channel");
            let channel = &mut self.channels[number];
            let lane = &mut channel.lanes[1 - end];
            let index = word(4);
            assert!(index < lane.sent && !lane.received.contains(&index), "message {index} came twice");
            assert!(!channel.is_ordered || lane.received.last().is_none_or(|last| *last < index), "out of order");
            lane.received.push(index);
        }
    }

    /// The network is well again: what was promised comes true.
    fn heal(&mut self) {
        let rounds = if self.is_hostile { 4 } else { 400 };
        for _ in 0..rounds {
            self.exchange(10);
            if self.is_settled() {
                break;
            }
            self.pass(300 * MS);
        }
        for end in &self.ends {
            assert!(end.channels.len() <= CHANNELS_MAX, "more channels than allowed");
        }
        if self.is_hostile {
            return;
        }
        assert!(self.is_settled(), "something has not ended: {}", self.words());
        for (number, channel) in self.channels.iter().enumerate() {
            assert!(
                channel.closed[0] == channel.closed[1] || channel.ids.contains(&None),
                "channel {number} is closed at one end only"
            );
        }
    }

    fn is_settled(&self) -> bool {
        let is_quiet = |end: &End| {
            let stats = end.association.stats();
            end.association.state() == State::Established && stats.flight_size == 0 && stats.buffered_amount == 0
        };
        self.ends.iter().all(is_quiet)
            && self.wire.iter().all(VecDeque::is_empty)
            && self.channels.iter().all(|channel| self.is_channel_settled(channel))
    }

    fn is_channel_settled(&self, channel: &Channel) -> bool {
        if channel.is_closing {
            let known = |end: usize| channel.ids[end].is_some();
            return (0..2).all(|end| channel.closed[end] || !known(end));
        }
        let is_open = |end: usize| {
            let id = channel.ids[end];
            id.is_some_and(|id| self.ends[end].channels.ready_state(id) == Some(ReadyState::Open))
        };
        let is_complete = |lane: &Lane| !channel.is_reliable || lane.received.len() == lane.sent as usize;
        is_open(0) && is_open(1) && channel.lanes.iter().all(is_complete)
    }

    fn words(&self) -> String {
        let mut words = String::new();
        for (number, channel) in self.channels.iter().enumerate() {
            let states = [0, 1].map(|end| channel.ids[end].and_then(|id| self.ends[end].channels.ready_state(id)));
            let lanes = channel.lanes.each_ref().map(|lane| (lane.sent, lane.received.len()));
            words += &format!("\n  channel {number}: {states:?}, closed {:?}, messages {lanes:?}", channel.closed);
        }
        let stats = self.ends.each_ref().map(|end| end.association.stats());
        words + &format!("\n  {stats:?}")
    }
}
