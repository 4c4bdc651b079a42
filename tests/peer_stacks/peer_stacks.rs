//! This project's association against other Rust stacks, each of which has ways of its own: when it acknowledges, how
//! it repairs a loss, how it answers a reset. Each run draws a path, how many datagrams an end reads at once, and what
//! is sent when; then the path heals, and everything that was promised has to come true.
//!
//! `SEEDS=1000` runs more than the few that are run by default, from `FIRST` on; a failure names its seed. The foreign
//! stacks draw numbers of their own, so that a run need not repeat exactly. `rtc-sctp` is left out: on a path with loss
//! some of its handshakes do not end.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{End, Event, LinkConfig, Narrowboat, Pair, Reliability, SendOptions, Settings, Stack, StreamId};

const OURS: End = End::A;
const THEIRS: End = End::B;
const MS: Duration = Duration::from_millis(1);
/// Virtual time in which everything ends on a path without faults.
const PATIENCE: Duration = Duration::from_secs(300);
const STREAMS: u16 = 5;
const BATCHES: [usize; 5] = [1, 2, 7, 32, 128];

/// A stream is used in one way only: even ones are ordered.
fn options(stream: StreamId) -> SendOptions {
    let reliability = if stream == STREAMS - 1 { Reliability::MaxRetransmits(0) } else { Reliability::Reliable };
    SendOptions { unordered: stream % 2 == 1, reliability }
}

struct World {
    name: String,
    pair: Pair,
    rng: fastrand::Rng,
    connected: BTreeSet<bool>,
    /// Sent messages by sender and stream.
    sent: BTreeMap<(bool, StreamId), Vec<Bytes>>,
    received: BTreeMap<(bool, StreamId), Vec<Bytes>>,
    /// Streams that the peer of this end has reset, and that this end has.
    reset_by_peer: BTreeMap<bool, BTreeSet<StreamId>>,
    reset: BTreeMap<bool, BTreeSet<StreamId>>,
    /// True if the association ended gracefully, and the reason for its end.
    closed: BTreeMap<bool, (bool, String)>,
}

fn is_ours(end: End) -> bool {
    end == OURS
}

impl World {
    fn new(stack: Stack, seed: u64) -> Self {
        fastrand::seed(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let window = [128 << 10, 256 << 10, 1 << 20][rng.usize(..3)];
        let mtu = [576, 1200, 1280][rng.usize(..3)];
        let settings = Settings { mtu, receive_window: window, send_buffer: 1 << 20, message_size_max: 64 << 10 };
        let ours = Narrowboat::new(now, &settings, [rng.u8(..); 32]);
        let theirs = stack.peer(now, &settings, seed);
        let loss = [0.0, 0.01, 0.1][rng.usize(..3)];
        let delay = rng.u32(0..60) * MS;
        let path =
            LinkConfig { loss, duplicate: loss / 2.0, reorder: loss, reorder_delay: delay, ..LinkConfig::clean(delay) };
        let mut pair = Pair::new(now, [Box::new(ours), theirs], path, seed);
        let batch = BATCHES[rng.usize(..BATCHES.len())];
        pair.set_batch(batch);
        pair.connect(if rng.bool() { OURS } else { THEIRS });
        let name = format!("{stack}, seed {seed}: loss {loss}, delay {delay:?}, batches of {batch}, {settings:?}");
        let (connected, sent, received, reset_by_peer, reset, closed) = Default::default();
        Self { name, pair, rng, connected, sent, received, reset_by_peer, reset, closed }
    }

    fn collect(&mut self) {
        for end in End::BOTH {
            while let Some(event) = self.pair.poll_event(end) {
                match event {
                    Event::Connected => drop(self.connected.insert(is_ours(end))),
                    Event::Message(message) => {
                        let lane = self.received.entry((!is_ours(end), message.stream)).or_default();
                        lane.push(message.payload.into_bytes());
                    }
                    Event::IncomingStreamsReset(stream) => {
                        self.reset_by_peer.entry(is_ours(end)).or_default().insert(stream);
                        // As data channels do, which close both sides. A stack may have done so by itself.
                        let _ = self.pair.reset(end, stream);
                    }
                    Event::OutgoingReset { stream, error } => {
                        assert_eq!(error, None, "{}: {end:?} resets stream {stream}", self.name);
                        self.reset.entry(is_ours(end)).or_default().insert(stream);
                    }
                    Event::Closed { graceful, reason } => drop(self.closed.insert(is_ours(end), (graceful, reason))),
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let deadline = self.pair.now() + time;
        self.collect();
        while self.pair.advance(deadline) {
            self.collect();
        }
        self.collect();
    }

    fn wait(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let deadline = self.pair.now() + PATIENCE;
        let mut goes_on = true;
        loop {
            self.collect();
            if is_done(self) {
                return;
            }
            assert!(goes_on, "{}: waited in vain for {what}{}", self.name, self.story());
            goes_on = self.pair.advance(deadline);
        }
    }

    fn story(&self) -> String {
        let count = |lanes: &BTreeMap<(bool, StreamId), Vec<Bytes>>| -> Vec<_> {
            lanes.iter().map(|(lane, all)| (*lane, all.len())).collect()
        };
        let (sent, received) = (count(&self.sent), count(&self.received));
        let Self { reset, reset_by_peer, closed, .. } = self;
        format!(
            "\n sent {sent:?}\n received {received:?}\n reset {reset:?} by peer {reset_by_peer:?} closed {closed:?}"
        )
    }

    fn send(&mut self) {
        let end = if self.rng.bool() { OURS } else { THEIRS };
        let stream = self.rng.u16(..STREAMS);
        let len = [1, 30, 1_000, 5_000, 40_000][self.rng.usize(..5)];
        let number = self.sent.values().map(Vec::len).sum::<usize>() as u32;
        let payload: Bytes = number.to_be_bytes().into_iter().cycle().skip(3).take(len + 3).collect();
        if self.pair.send(end, stream, &payload, options(stream)).is_ok() {
            self.sent.entry((is_ours(end), stream)).or_default().push(payload);
        }
    }

    /// Everything that is owed has come, and nothing else.
    fn is_delivered(&self) -> bool {
        self.sent.iter().all(|(lane, sent)| {
            let received = self.received.get(lane).map_or(0, Vec::len);
            options(lane.1).reliability != Reliability::Reliable || received >= sent.len()
        })
    }

    fn check_delivered(&self) {
        for (lane, received) in &self.received {
            let sent = self.sent.get(lane).map_or(&[][..], Vec::as_slice);
            let options = options(lane.1);
            let (mut sent, mut received) = (sent.to_vec(), received.clone());
            if options.unordered {
                sent.sort();
                received.sort();
            }
            if options.reliability == Reliability::Reliable {
                assert!(sent == received, "{}: lane {lane:?} delivers something else", self.name);
            } else {
                // In order, each once, but some may be missing.
                let mut rest = sent.iter();
                let is_part = received.iter().all(|message| rest.any(|other| other == message));
                assert!(is_part, "{}: lane {lane:?} delivers something else", self.name);
            }
        }
    }
}

fn run(stack: Stack, seed: u64) {
    let mut world = World::new(stack, seed);
    world.wait("both ends to be connected", |world| world.connected.len() == 2);
    for _ in 0..world.rng.usize(1..60) {
        for _ in 0..world.rng.usize(1..8) {
            world.send();
        }
        let time = [0, 1, 30, 500, 3_000][world.rng.usize(..5)];
        world.pass(time * MS);
    }
    for end in End::BOTH {
        world.pair.set_link(end, LinkConfig::clean(20 * MS));
    }
    world.wait("all messages", World::is_delivered);
    world.pass(Duration::from_secs(5));
    world.check_delivered();

    let streams: BTreeSet<StreamId> = world.sent.keys().map(|(_, stream)| *stream).collect();
    for stream in &streams {
        assert_eq!(world.pair.reset(OURS, *stream), Ok(()), "{}", world.name);
    }
    world.wait("both sides of all streams to be reset", |world| {
        let all =
            |resets: &BTreeMap<bool, BTreeSet<StreamId>>| resets.get(&true).is_some_and(|r| r.is_superset(&streams));
        all(&world.reset) && all(&world.reset_by_peer)
    });
    world.pair.shutdown(OURS);
    world.wait("the end", |world| world.closed.contains_key(&true));
    let end = world.closed.get(&true);
    assert!(end.is_some_and(|(is_graceful, _)| *is_graceful), "{}: {end:?}", world.name);
}

fn run_all(stack: Stack) {
    let seeds = std::env::var("SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    let first = std::env::var("FIRST").map_or(0, |first| first.parse().unwrap());
    (first..first + seeds).for_each(|seed| run(stack, seed));
}

#[test]
fn dcsctp_and_ours_keep_every_promise() {
    run_all(Stack::Dcsctp);
}

#[test]
fn sctp_proto_and_ours_keep_every_promise() {
    run_all(Stack::SctpProto);
}
