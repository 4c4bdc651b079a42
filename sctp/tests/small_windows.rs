//! Messages of all sizes into receive windows of all sizes. Senders count payload only against the window (RFC 9260
//! §6.2.1), so many small messages cost the receiver far more than they cost the sender.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;
mod victim;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType as C, Sack};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, PacketDropReason, Ppid, SendOptions, Ssn, State, StreamId, Tsn,
};
use pair::{MS, Pair};
use victim::{DataChunk, PEER_TSN, Victim, chunk, packet};

const WINDOWS: [u32; 4] = [4 << 10, 8 << 10, 64 << 10, 1 << 20];
const SIZES: [usize; 4] = [1, 100, 1200, 16 << 10];
const TIME: Duration = Duration::from_millis(400);
const ONE_WAY: Duration = Duration::from_millis(10);

fn receiving(window: u32) -> AssociationConfig {
    AssociationConfig { receive_window: window, ..AssociationConfig::default() }
}

/// Results of one run.
#[derive(Debug)]
struct Outcome {
    /// DATA chunks that the receiver has taken.
    taken: u64,
    /// DATA chunks that it has dropped for lack of room.
    refused: u64,
    /// Longest time without a message for the application, which reads each at once.
    longest_pause: Duration,
}

impl Outcome {
    fn assert_good(&self, what: &str) {
        assert!(self.taken > 30, "{what}: {self:?}");
        assert!(self.refused * 50 <= self.taken, "{what}: {self:?}");
        // Less than a time-out of T3.
        assert!(self.longest_pause < 300 * MS, "{what}: {self:?}");
    }
}

/// Sends as fast as it can, with this implementation at both ends.
fn own_sender(window: u32, size: usize) -> Outcome {
    let mut pair = Pair::with_configs([AssociationConfig::default(), receiving(window)], 1);
    pair.connect();
    pair.keeps_trace = false;
    pair.bottleneck = Some((4_000_000, 8_000_000));
    let (mut last, end) = (pair.now, pair.now + TIME);
    let mut longest_pause = Duration::ZERO;
    while pair.now < end {
        while pair.ends[0].stats().buffered_amount < (2000 * size).min(60_000) {
            let message = Bytes::from(vec![7; size]);
            pair.ends[0].send(pair.now, StreamId(1), Ppid(53), message, SendOptions::default()).unwrap();
        }
        pair.step(end);
        if pair.received[1].drain(..).next().is_some() {
            longest_pause = longest_pause.max(pair.now - last);
            last = pair.now;
        }
    }
    let stats = pair.ends[1].stats();
    let refused = stats.drops.count(PacketDropReason::WindowOverrun);
    Outcome { taken: stats.data_chunks_received, refused, longest_pause }
}

/// Habits of another implementation's sender.
#[derive(Clone, Copy, Debug)]
struct Habits {
    name: &'static str,
    /// Bytes that each chunk counts against the window beside its payload.
    overhead: usize,
    /// Smaller windows count as closed.
    window_min: usize,
    /// With nothing in flight, a whole packet leaves whatever the window.
    fills_first_packet: bool,
}

const HABITS: [Habits; 3] = [
    Habits { name: "payload only", overhead: 0, window_min: 0, fills_first_packet: false },
    Habits { name: "like dcSCTP", overhead: 16, window_min: 0, fills_first_packet: true },
    Habits { name: "like usrsctp", overhead: 256, window_min: 1420, fills_first_packet: false },
];

/// A chunk that was sent and is not acknowledged.
#[derive(Clone, Copy)]
struct Outstanding {
    size: usize,
    is_first: bool,
    is_last: bool,
    is_lost: bool,
}

/// A sender that repairs losses by T3 only (RFC 9260 §6.3.3), from the lowest TSN up.
struct ForeignSender {
    habits: Habits,
    message_size: usize,
    next_tsn: u32,
    /// Bytes of the current message that were not sent yet.
    left: usize,
    outstanding: BTreeMap<u32, Outstanding>,
    cwnd: usize,
    a_rwnd: usize,
    t3: Option<Instant>,
}

impl ForeignSender {
    fn chunk(tsn: u32, sent: Outstanding) -> Vec<u8> {
        let header = DataChunk {
            tsn: Tsn(tsn),
            stream: StreamId(1),
            ssn: Ssn(0),
            ppid: Ppid(53),
            unordered: true,
            beginning: sent.is_first,
            ending: sent.is_last,
            immediate: false,
        };
        chunk(|out| header.encode(&vec![7; sent.size], out))
    }

    /// One packet, of what is lost first.
    fn packet(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let in_flight = self.outstanding.values().filter(|sent| !sent.is_lost);
        let (mut chunks, mut bytes) = in_flight.fold((0, 0), |(chunks, bytes), sent| (chunks + 1, bytes + sent.size));
        let is_first_packet = chunks == 0;
        let mut lost = self.outstanding.iter_mut().filter(|(_, sent)| sent.is_lost);
        let (mut parts, mut len, mut added) = (Vec::new(), 12, Vec::new());
        while bytes + 16 * chunks < self.cwnd {
            let repair = lost.next();
            let is_first = self.left == 0;
            let left = if is_first { self.message_size } else { self.left };
            let size = repair.as_ref().map_or_else(|| left.min(1172), |(_, sent)| sent.size);
            let rwnd = self.a_rwnd.saturating_sub(bytes + chunks * self.habits.overhead);
            let is_open = rwnd >= size.max(self.habits.window_min);
            let is_probe = chunks == 0 || is_first_packet && self.habits.fills_first_packet;
            len += 16 + size.next_multiple_of(4);
            if len > 1200 || repair.is_none() && !is_open && !is_probe {
                break;
            }
            if let Some((tsn, sent)) = repair {
                sent.is_lost = false;
                parts.push(Self::chunk(*tsn, *sent));
            } else {
                self.left = left - size;
                let sent = Outstanding { size, is_first, is_last: self.left == 0, is_lost: false };
                parts.push(Self::chunk(self.next_tsn, sent));
                added.push((self.next_tsn, sent));
                self.next_tsn += 1;
            }
            (chunks, bytes) = (chunks + 1, bytes + size);
        }
        self.outstanding.extend(added);
        if !parts.is_empty() {
            self.t3.get_or_insert(now + 400 * MS);
        }
        parts
    }

    fn on_sack(&mut self, now: Instant, value: &[u8]) {
        let sack = Sack::decode(value).unwrap();
        let cumulative = sack.cumulative_tsn_ack.0;
        let before = self.outstanding.len();
        self.outstanding.retain(|tsn, _| *tsn > cumulative);
        for block in sack.gap_blocks() {
            let (start, end) = (cumulative + u32::from(block.start), cumulative + u32::from(block.end));
            self.outstanding.retain(|tsn, _| !(start..=end).contains(tsn));
        }
        self.a_rwnd = sack.a_rwnd as usize;
        if self.outstanding.len() < before {
            self.cwnd = (self.cwnd + 1200).min(30_000);
            self.t3 = (!self.outstanding.is_empty()).then_some(now + 400 * MS);
        }
    }

    fn on_t3(&mut self, now: Instant) {
        if self.t3.take_if(|t3| *t3 <= now).is_some() {
            self.cwnd = 1200;
            self.outstanding.values_mut().for_each(|sent| sent.is_lost = true);
        }
    }
}

/// Sends as fast as it can, a packet each 300 µs.
fn foreign_sender(habits: Habits, window: u32, message_size: usize) -> Outcome {
    let mut victim = Victim::with_config(State::Established, receiving(window));
    let mut sender = ForeignSender {
        habits,
        message_size,
        next_tsn: PEER_TSN,
        left: 0,
        outstanding: BTreeMap::new(),
        cwnd: 12_000,
        a_rwnd: window.min(256 << 10) as usize,
        t3: None,
    };
    let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
    let (mut last, end) = (victim.now, victim.now + TIME);
    let mut longest_pause = Duration::ZERO;
    while victim.now < end {
        let parts = sender.packet(victim.now);
        if !parts.is_empty() {
            there.push_back((victim.now + ONE_WAY, parts));
        }
        let mut sent = victim.pass(Duration::from_micros(300));
        while there.front().is_some_and(|(at, _)| *at <= victim.now) {
            let Some((_, parts)) = there.pop_front() else { break };
            sent.extend(victim.deliver(packet(victim.tag, &parts)));
            if !victim.messages().is_empty() {
                longest_pause = longest_pause.max(victim.now - last);
                last = victim.now;
            }
            sent.extend(victim.poll());
        }
        let sacks = sent.into_iter().filter(|sent| sent.kind == C::SACK);
        back.extend(sacks.map(|sack| (victim.now + ONE_WAY, sack.value)));
        while back.front().is_some_and(|(at, _)| *at <= victim.now) {
            let Some((_, value)) = back.pop_front() else { break };
            sender.on_sack(victim.now, &value);
        }
        sender.on_t3(victim.now);
    }
    let stats = victim.association.stats();
    let refused = stats.drops.count(PacketDropReason::WindowOverrun);
    Outcome { taken: stats.data_chunks_received, refused, longest_pause }
}

#[test]
fn messages_of_every_size_are_taken_into_windows_of_every_size() {
    for window in WINDOWS {
        for size in SIZES {
            own_sender(window, size).assert_good(&format!("{size} bytes into {window}, this sender"));
            for habits in HABITS {
                let outcome = foreign_sender(habits, window, size);
                outcome.assert_good(&format!("{size} bytes into {window}, {}", habits.name));
            }
        }
    }
}

/// Sends as fast as it can for two seconds, to a reader that reads so many messages each ten milliseconds.
fn slow_reader(window: u32, size: usize, portion: usize) -> Outcome {
    let mut pair = Pair::with_configs([AssociationConfig::default(), receiving(window)], 1);
    pair.connect();
    pair.keeps_trace = false;
    pair.reads[1] = false;
    pair.bottleneck = Some((4_000_000, 8_000_000));
    for _ in 0..200 {
        while pair.ends[0].stats().buffered_amount < (2000 * size).min(60_000) {
            let message = Bytes::from(vec![7; size]);
            pair.ends[0].send(pair.now, StreamId(1), Ppid(53), message, SendOptions::default()).unwrap();
        }
        pair.run_for(10 * MS);
        let mut left = portion;
        while left > 0
            && let Some(at) = pair.events[1].iter().position(|event| matches!(event, AssociationEvent::Message(_)))
        {
            left -= 1;
            if let AssociationEvent::Message(message) = pair.events[1].remove(at) {
                pair.ends[1].release(message.credit);
            }
        }
    }
    let stats = pair.ends[1].stats();
    let refused = stats.drops.count(PacketDropReason::WindowOverrun);
    Outcome { taken: stats.data_chunks_received, refused, longest_pause: Duration::ZERO }
}

/// The window closes before it is overrun, and opens before the reader has nothing left to read.
#[test]
fn a_reader_slower_than_the_sender_has_few_messages_refused() {
    let cases = [(64 << 10, 10, 50), (64 << 10, 100, 50), (1 << 20, 1, 50), (1 << 20, 1, 500), (1 << 20, 10, 50)];
    for (window, size, portion) in cases {
        let outcome = slow_reader(window, size, portion);
        let what = format!("{size} bytes into {window}, {portion} are read each 10 ms: {outcome:?}");
        assert!(outcome.refused * 50 <= outcome.taken, "{what}");
        assert!(outcome.taken >= 199 * portion as u64, "{what}");
    }
}
