//! More ordered messages of a stream behind a lost chunk than stream sequence numbers can tell apart (RFC 9260 §6.1).
//! The receiver is `dcsctp`, and this project's own: it knows the next message by the numbers alone.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{
    Dcsctp, End, Event, Fate, LinkConfig, Narrowboat, OfferedExtensions, Pair, Peer, Reliability, SendOptions,
    Settings, StreamId,
};

const STREAM: StreamId = 5;

/// Messages before the lost ones, which raise the congestion window and the receiver's window.
const WARM_UP: u32 = 120_000;

/// Messages behind the lost chunk. The link has no limit, so all that the windows allow are under way at once.
const BEHIND: u32 = 100_000;

/// Half of the numbers, which serial arithmetic tells apart.
const OUTSTANDING_MAX: u32 = 32_768;

const DATA: u8 = 0;

#[derive(Clone, Copy, Debug)]
enum Receiver {
    Dcsctp,
    Ours,
}

/// Intervals of the messages that are not reliable and ordered.
#[derive(Clone, Copy, Debug, Default)]
struct Mix {
    unordered_every: Option<u32>,
    /// Interval of messages that are ordered, and not retransmitted.
    unreliable_every: Option<u32>,
}

impl Mix {
    fn options(self, number: u32) -> SendOptions {
        let is = |every: Option<u32>| every.is_some_and(|every| number % every == 1);
        let reliability =
            if is(self.unreliable_every) { Reliability::MaxRetransmits(0) } else { Reliability::Reliable };
        SendOptions { unordered: is(self.unordered_every), reliability }
    }
}

/// Loses one packet of data, and the first packet that retransmits a part of it. If there are messages that are not
/// retransmitted, it loses some packets more.
struct Loss {
    loses_others: bool,
    /// Chunks of this life that are still to pass before the loss.
    before: Cell<u32>,
    /// First and last number of the chunks in the lost packet, and how often they are still to be lost.
    lost: Cell<Option<(u32, u32, u32)>>,
    /// Chunks that have passed while the lost ones were missing.
    behind: Cell<u32>,
    packets: Cell<u32>,
}

impl Loss {
    fn decide(&self, datagram: &[u8]) -> Fate {
        let numbers = numbers(datagram);
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Fate::Pass };
        let count = u32::try_from(numbers.len()).unwrap();
        match (self.before.get(), self.lost.get()) {
            (0, None) => Fate::Pass,
            (0, Some((from, to, times))) if numbers.iter().any(|number| (from..=to).contains(number)) => {
                self.lost.set((times > 0).then(|| (from, to, times - 1)));
                if times > 0 { Fate::Drop } else { Fate::Pass }
            }
            (0, Some(_)) => {
                self.packets.set(self.packets.get() + 1);
                if self.loses_others && self.packets.get().is_multiple_of(100) {
                    return Fate::Drop;
                }
                self.behind.set(self.behind.get() + count);
                Fate::Pass
            }
            (before, _) if before <= count => {
                self.before.set(0);
                self.lost.set(Some((*first, *last, 1)));
                Fate::Drop
            }
            (before, _) => {
                self.before.set(before - count);
                Fate::Pass
            }
        }
    }
}

/// TSNs of the chunks of data in a packet.
fn numbers(datagram: &[u8]) -> Vec<u32> {
    let (mut at, mut numbers) = (12, Vec::new());
    while at + 8 <= datagram.len() {
        if datagram[at] == DATA {
            numbers.push(u32::from_be_bytes(datagram[at + 4..at + 8].try_into().unwrap()));
        }
        at += usize::from(u16::from_be_bytes([datagram[at + 2], datagram[at + 3]])).next_multiple_of(4).max(4);
    }
    numbers
}

struct World {
    pair: Pair,
    loss: Rc<Loss>,
    mix: Mix,
    next: u32,
    /// Numbers of the messages that came, ordered and unordered ones.
    ordered: Vec<u32>,
    unordered: Vec<u32>,
    resets: usize,
}

impl World {
    fn new(receiver: Receiver, mix: Mix) -> Self {
        fastrand::seed(1);
        let now = Instant::now();
        let settings = Settings { receive_window: 64 << 20, send_buffer: 256 << 20, ..Settings::default() };
        let theirs: Box<dyn Peer> = match receiver {
            Receiver::Dcsctp => Box::new(Dcsctp::new(now, &settings)),
            Receiver::Ours => Box::new(Narrowboat::new(now, &settings, [2; 32])),
        };
        let offered = OfferedExtensions {
            // An SSN has 16 bits, and an MID 32.
            message_interleaving: false,
            partial_reliability: true,
            stream_reset: true,
            zero_checksum: false,
        };
        let ours = Box::new(Narrowboat::with_extensions(now, &settings, offered, [1; 32]));
        let mut pair = Pair::new(now, [ours, theirs], LinkConfig::clean(Duration::from_millis(50)), 1);
        pair.establish().unwrap();
        let loss = Rc::new(Loss {
            loses_others: mix.unreliable_every.is_some(),
            before: Cell::new(0),
            lost: Cell::new(None),
            behind: Cell::new(0),
            packets: Cell::new(0),
        });
        let censor = Rc::clone(&loss);
        pair.set_censor(End::A, Some(Box::new(move |datagram| censor.decide(datagram))));
        Self { pair, loss, mix, next: 0, ordered: Vec::new(), unordered: Vec::new(), resets: 0 }
    }

    fn send(&mut self, count: u32) {
        for _ in 0..count {
            let payload = Bytes::copy_from_slice(&self.next.to_be_bytes());
            let sent = self.pair.send(End::A, STREAM, &payload, self.mix.options(self.next));
            assert_eq!(sent, Ok(()), "message {}", self.next);
            self.next += 1;
        }
    }

    fn run_for(&mut self, time: Duration) {
        let deadline = self.pair.now() + time;
        loop {
            while let Some(event) = self.pair.poll_event(End::B) {
                match event {
                    Event::Message(message) => {
                        let number = u32::from_be_bytes(message.payload.into_bytes()[..].try_into().unwrap());
                        let is_unordered = self.mix.options(number).unordered;
                        if is_unordered { &mut self.unordered } else { &mut self.ordered }.push(number);
                    }
                    Event::IncomingStreamsReset(STREAM) => self.resets += 1,
                    other => panic!("{other:?}"),
                }
            }
            while let Some(event) = self.pair.poll_event(End::A) {
                assert!(matches!(event, Event::OutgoingReset { error: None, .. }), "{event:?}");
            }
            if !self.pair.advance(deadline) {
                return;
            }
        }
    }

    /// All messages from this number on have arrived, except for those that were not retransmitted.
    fn assert_delivered(&mut self, from: u32) {
        let case = format!("{:?}", self.mix);
        let is_reliable = |number: &u32| self.mix.options(*number).reliability == Reliability::Reliable;
        let is_unordered = |number: &u32| self.mix.options(*number).unordered;
        let (ordered, mut unordered) = (std::mem::take(&mut self.ordered), std::mem::take(&mut self.unordered));
        assert!(ordered.is_sorted(), "{case}: out of order");
        let arrived: Vec<u32> = ordered.iter().copied().filter(is_reliable).collect();
        let expected: Vec<u32> = (from..self.next).filter(|n| is_reliable(n) && !is_unordered(n)).collect();
        assert!(arrived == expected, "{case}: {} of {} ordered ones arrived", arrived.len(), expected.len());
        unordered.retain(is_reliable);
        unordered.sort_unstable();
        let expected: Vec<u32> = (from..self.next).filter(|n| is_reliable(n) && is_unordered(n)).collect();
        assert!(unordered == expected, "{case}: {} of {} unordered ones", unordered.len(), expected.len());
        let is_abandoned = ordered.len() < (from..self.next).filter(|n| !is_unordered(n)).count();
        assert_eq!(is_abandoned, self.mix.unreliable_every.is_some(), "{case}: messages were abandoned in between");
    }
}

fn deliver(receiver: Receiver, mix: Mix, lives: usize) {
    let mut world = World::new(receiver, mix);
    for life in 0..lives {
        let first = world.next;
        world.loss.before.set(WARM_UP);
        world.loss.behind.set(0);
        world.send(WARM_UP + BEHIND);
        world.run_for(Duration::from_secs(30));
        // As many were under way as the sender lets be, or the test shows nothing.
        let behind = world.loss.behind.get();
        assert!(behind >= OUTSTANDING_MAX / 2, "{receiver:?}, {mix:?}: only {behind} behind the lost one");
        world.assert_delivered(first);
        world.pair.reset(End::A, STREAM).unwrap();
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.resets, life + 1);
    }
}

#[test]
fn e22_all_messages_behind_a_lost_chunk_are_delivered_in_order() {
    for receiver in [Receiver::Dcsctp, Receiver::Ours] {
        deliver(receiver, Mix::default(), 1);
    }
}

#[test]
fn e22_unordered_messages_among_them_are_delivered_too() {
    for receiver in [Receiver::Dcsctp, Receiver::Ours] {
        deliver(receiver, Mix { unordered_every: Some(3), ..Mix::default() }, 1);
    }
}

#[test]
fn e22_abandoned_messages_among_them_leave_the_others_in_order() {
    for receiver in [Receiver::Dcsctp, Receiver::Ours] {
        deliver(receiver, Mix { unreliable_every: Some(5), ..Mix::default() }, 1);
    }
}

#[test]
fn e22_numbers_start_again_after_a_reset() {
    for receiver in [Receiver::Dcsctp, Receiver::Ours] {
        deliver(receiver, Mix { unordered_every: Some(7), unreliable_every: Some(5) }, 3);
    }
}
