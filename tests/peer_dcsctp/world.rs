//! The two ends, the events that they have seen, and the runs that every behaviour goes through.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{
    Censor, Dcsctp, End, Event, LinkConfig, Narrowboat, OfferedExtensions, Pair, Refusal, Reliability, SendOptions,
    Settings, StreamId,
};

/// This project's end.
pub(crate) const OURS: End = End::A;
/// The `dcsctp` end.
pub(crate) const THEIRS: End = End::B;

/// One way, on every path.
pub(crate) const DELAY: Duration = Duration::from_millis(20);

/// There and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(40);

/// Virtual time that anything may take on the worst path.
const PATIENCE: Duration = Duration::from_secs(600);

/// The ends that send an INIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialling {
    Ours,
    Theirs,
    Both,
}

/// One run of a behaviour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) dialling: Dialling,
    /// Share of datagrams that are lost; half as many are duplicated, twice as many held back.
    pub(crate) loss: f64,
    pub(crate) seed: u64,
}

impl Run {
    /// A clean path, and this project's end connects.
    pub(crate) fn clean() -> Self {
        Self { dialling: Dialling::Ours, loss: 0.0, seed: 0 }
    }

    /// Every run that there is to be.
    pub(crate) fn all(seeds: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for dialling in [Dialling::Ours, Dialling::Theirs, Dialling::Both] {
            all.push(Self { dialling, loss: 0.0, seed: 0 });
            for loss in [0.02, 0.10] {
                all.extend((1..=seeds).map(|seed| Self { dialling, loss, seed }));
            }
        }
        all
    }

    fn path(&self) -> LinkConfig {
        LinkConfig {
            loss: self.loss,
            duplicate: self.loss / 2.0,
            reorder: self.loss * 2.0,
            reorder_delay: DELAY,
            ..LinkConfig::clean(DELAY)
        }
    }
}

/// Something that an end has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Connected,
    Message { stream: StreamId, payload: Bytes },
    IncomingReset(StreamId),
    OutgoingReset { stream: StreamId, error: Option<String> },
    Closed { graceful: bool, reason: String },
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        match event {
            Event::Connected => Self::Connected,
            Event::Message(message) => Self::Message { stream: message.stream, payload: message.payload.into_bytes() },
            Event::IncomingStreamsReset(stream) => Self::IncomingReset(stream),
            Event::OutgoingReset { stream, error } => Self::OutgoingReset { stream, error },
            Event::Closed { graceful, reason } => Self::Closed { graceful, reason },
        }
    }
}

/// The two ends and the events that they have seen.
pub(crate) struct World {
    run: Run,
    pair: Pair,
    ours: Log,
    theirs: Log,
}

/// Events that an end has seen, in order, and the messages once more by stream.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    messages: HashMap<StreamId, Vec<Bytes>>,
}

impl Log {
    fn push(&mut self, entry: Entry) {
        if let Entry::Message { stream, payload } = &entry {
            self.messages.entry(*stream).or_default().push(payload.clone());
        }
        self.entries.push(entry);
    }
}

impl World {
    /// Two ends that are connected.
    pub(crate) fn connected(run: Run) -> Self {
        let mut world = Self::new(run);
        world.wait("both ends to be connected", |world| {
            End::BOTH.iter().all(|&end| world.seen(end).contains(&Entry::Connected))
        });
        world
    }

    /// Two ends of which one or both have begun to connect.
    pub(crate) fn new(run: Run) -> Self {
        Self::with_ends(run, |now, settings, seed| (Narrowboat::new(now, settings, seed), Dcsctp::new(now, settings)))
    }

    /// Two ends over something that they take for DTLS, which have begun to connect. `zero_checksum`: the ends, this
    /// project's first, that accept packets without a checksum.
    pub(crate) fn over_dtls(run: Run, zero_checksum: [bool; 2]) -> Self {
        let [ours, theirs] = zero_checksum;
        Self::with_ends(run, |now, settings, seed| {
            (Narrowboat::over_dtls(now, settings, ours, seed), Dcsctp::over_dtls(now, settings, theirs))
        })
    }

    /// Ends that offer these extensions, this project's first.
    pub(crate) fn with_extensions(run: Run, offered: [OfferedExtensions; 2]) -> Self {
        let [ours, theirs] = offered;
        Self::with_ends(run, |now, settings, seed| {
            let ours = Narrowboat::with_extensions(now, settings, ours, seed);
            (ours, Dcsctp::with_extensions(now, settings, theirs))
        })
    }

    /// Ends of which this project's searches for packets of up to `mtu_max` bytes (RFC 8899).
    pub(crate) fn searching(run: Run, mtu_max: usize) -> Self {
        Self::with_ends(run, |now, settings, seed| {
            (Narrowboat::searching(now, settings, mtu_max, seed), Dcsctp::new(now, settings))
        })
    }

    fn with_ends(run: Run, create: impl Fn(Instant, &Settings, [u8; 32]) -> (Narrowboat, Dcsctp)) -> Self {
        // The other stack draws from this thread's generator.
        fastrand::seed(run.seed);
        let now = Instant::now();
        let settings = Settings { receive_window: 2 << 20, send_buffer: 8 << 20, ..Settings::default() };
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&run.seed.to_le_bytes());
        let (ours, theirs) = create(now, &settings, seed);
        let mut pair = Pair::new(now, [Box::new(ours), Box::new(theirs)], run.path(), run.seed);
        if run.dialling != Dialling::Theirs {
            pair.connect(OURS);
        }
        if run.dialling != Dialling::Ours {
            pair.connect(THEIRS);
        }
        Self { run, pair, ours: Log::default(), theirs: Log::default() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.pair.now()
    }

    /// Returns all events that an end has seen.
    pub(crate) fn seen(&self, end: End) -> &[Entry] {
        &self.log(end).entries
    }

    /// The messages that an end has seen on a stream.
    pub(crate) fn messages(&self, end: End, on: StreamId) -> &[Bytes] {
        self.log(end).messages.get(&on).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of times that an end has seen this entry.
    pub(crate) fn count(&self, end: End, entry: &Entry) -> usize {
        self.seen(end).iter().filter(|other| *other == entry).count()
    }

    /// Returns how an association ended at an end.
    pub(crate) fn closed(&self, end: End) -> Option<bool> {
        self.seen(end).iter().find_map(|entry| match entry {
            Entry::Closed { graceful, .. } => Some(*graceful),
            _ => None,
        })
    }

    /// Sends a message that must be accepted.
    pub(crate) fn send(&mut self, end: End, stream: StreamId, payload: &Bytes, options: SendOptions) {
        let sent = self.pair.send(end, stream, payload, options);
        assert_eq!(sent, Ok(()), "{end:?} could not send on stream {stream}; {}", self.story());
    }

    /// Sends a reliable, ordered message that must be accepted.
    pub(crate) fn send_plainly(&mut self, end: End, stream: StreamId, payload: &Bytes) {
        self.send(end, stream, payload, SendOptions { unordered: false, reliability: Reliability::Reliable });
    }

    /// Tries to send.
    pub(crate) fn try_send(&mut self, end: End, stream: StreamId, payload: &Bytes) -> Result<(), Refusal> {
        self.pair.send(end, stream, payload, SendOptions::default())
    }

    /// Asks for a reset that must be accepted.
    pub(crate) fn reset(&mut self, end: End, stream: StreamId) {
        let reset = self.pair.reset(end, stream);
        assert_eq!(reset, Ok(()), "{end:?} could not reset stream {stream}; {}", self.story());
    }

    pub(crate) fn shutdown(&mut self, end: End) {
        self.pair.shutdown(end);
    }

    pub(crate) fn abort(&mut self, end: End) {
        self.pair.abort(end);
    }

    /// Has someone decide over each datagram from an end.
    pub(crate) fn set_censor(&mut self, end: End, censor: Option<Censor>) {
        self.pair.set_censor(end, censor);
    }

    /// Lets time pass until something holds.
    pub(crate) fn wait(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let deadline = self.now() + PATIENCE;
        let mut alive = true;
        loop {
            self.collect();
            if is_done(self) {
                return;
            }
            assert!(alive, "waited in vain for {what}; {}", self.story());
            alive = self.pair.advance(deadline);
        }
    }

    /// Lets an amount of time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let deadline = self.now() + time;
        self.collect();
        while self.pair.advance(deadline) {
            self.collect();
        }
        self.collect();
    }

    /// Everything that one needs to see when something went wrong.
    pub(crate) fn story(&self) -> String {
        let tell = |end| {
            let brief = |entry: &Entry| match entry {
                Entry::Message { stream, payload } => format!("{} B on {stream}", payload.len()),
                other => format!("{other:?}"),
            };
            let all: Vec<String> = self.seen(end).iter().map(brief).collect();
            let left_out = all.len().saturating_sub(30);
            format!("({left_out} before) {}", all[left_out..].join(", "))
        };
        format!("{:?}\n  ours saw {}\n  theirs saw {}", self.run, tell(OURS), tell(THEIRS))
    }

    fn log(&self, end: End) -> &Log {
        if end == OURS { &self.ours } else { &self.theirs }
    }

    fn collect(&mut self) {
        while let Some(event) = self.pair.poll_event(OURS) {
            self.ours.push(event.into());
        }
        while let Some(event) = self.pair.poll_event(THEIRS) {
            self.theirs.push(event.into());
        }
    }
}

/// A payload that no other has: of this size, and known by its number.
pub(crate) fn payload(number: u64, size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(number);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}
