//! Channels that are opened, used and closed one after another, on a stream or a few streams that serve again and
//! again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{End, Event, LinkConfig, Pair, Role, SendOptions, Settings, Stack};

use crate::measure::{Gauge, Summary};
use crate::plan::{Plan, guard};
use crate::table::{Cell, MEASURE, Row};
use crate::verdict::Verdict;

/// The stream, as `A` knows it.
const STREAM: u16 = 0;
const DELAY: Duration = Duration::from_millis(5);

/// Virtual time that one channel may take.
const CYCLE_MAX: Duration = Duration::from_secs(60);

/// Heap that may be held in addition after all cycles: noise of maps and queues that have found their size.
const GROWTH_MAX: i64 = 4096;

/// Events that one end has seen of the channel that is being closed.
#[derive(Clone, Copy, Default)]
struct Seen {
    incoming: bool,
    outgoing: bool,
}

/// Two ends, and the messages of a channel's life. Stacks without DCEP send messages of its size in its stead.
struct Channels {
    pair: Pair,
    open: Bytes,
    acknowledgement: Bytes,
    request: Bytes,
    reply: Bytes,
    bare: bool,
}

impl Channels {
    fn new(stack: Stack) -> Result<Self, String> {
        let now = Instant::now();
        let settings = Settings::default();
        let [a, b] = [Role::Client, Role::Server].map(|role| stack.channels(now, &settings, role, role as u64));
        let bare = !a.opens_channels();
        let mut pair = Pair::new(now, [a, b], LinkConfig::clean(DELAY), 1);
        pair.establish()?;
        Ok(Self {
            pair,
            open: Bytes::from_static(&[3; 12]),
            acknowledgement: Bytes::from_static(&[2]),
            request: Bytes::from_static(&[b'?'; 64]),
            reply: Bytes::from_static(&[b'!'; 65]),
            bare,
        })
    }

    /// `A` opens, asks, gets its reply, and closes; over when both ends know that both directions are reset.
    fn cycle(&mut self) -> Result<(), String> {
        let deadline = self.pair.now() + CYCLE_MAX;
        if self.bare {
            self.send(End::A, STREAM, &self.open.clone())?;
        }
        self.send(End::A, STREAM, &self.request.clone())?;
        let mut seen = [Seen::default(); 2];
        let mut replied = false;
        loop {
            for (end, seen) in End::BOTH.into_iter().zip(&mut seen) {
                while let Some(event) = self.pair.poll_event(end) {
                    replied |= self.on_event(end, event, seen)?;
                }
            }
            if seen.iter().all(|seen| seen.incoming && seen.outgoing) {
                return if replied { Ok(()) } else { Err("closed without its reply".into()) };
            }
            if !self.pair.advance(deadline) {
                let waited = CYCLE_MAX.as_secs();
                let [a, b] =
                    seen.map(|Seen { incoming, outgoing }| format!("incoming {incoming}, outgoing {outgoing}"));
                return Err(format!("not closed after {waited} virtual seconds; resets at A: {a}; at B: {b}"));
            }
        }
    }

    fn on_event(&mut self, end: End, event: Event, seen: &mut Seen) -> Result<bool, String> {
        match (end, event) {
            (_, Event::Closed { reason, .. }) => return Err(format!("the association ended: {reason}")),
            (_, Event::OutgoingReset { error: Some(error), .. }) => return Err(format!("reset failed: {error}")),
            (_, Event::OutgoingReset { error: None, .. }) => seen.outgoing = true,
            (End::A, Event::IncomingStreamsReset(_)) => seen.incoming = true,
            (End::B, Event::IncomingStreamsReset(_)) if seen.incoming => {}
            (End::B, Event::IncomingStreamsReset(stream)) => {
                seen.incoming = true;
                self.reset(End::B, stream)?;
            }
            (End::A, Event::Message(message)) if message.payload.size() == self.reply.len() => {
                self.reset(End::A, STREAM)?;
                return Ok(true);
            }
            (End::B, Event::Message(message)) => {
                let size = message.payload.size();
                if size == self.request.len() {
                    self.send(End::B, message.stream, &self.reply.clone())?;
                } else if size == self.open.len() {
                    self.send(End::B, message.stream, &self.acknowledgement.clone())?;
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn send(&mut self, end: End, stream: u16, payload: &Bytes) -> Result<(), String> {
        let sent = self.pair.send(end, stream, payload, SendOptions::default());
        sent.map_err(|refusal| format!("send: {refusal:?}"))
    }

    fn reset(&mut self, end: End, stream: u16) -> Result<(), String> {
        self.pair.reset(end, stream).map_err(|refusal| format!("reset: {refusal:?}"))
    }
}

/// Cost of the open and close cycles of one stack.
struct Series {
    channels: Option<Channels>,
    done: usize,
    microseconds: Vec<f64>,
    round_trips: Vec<f64>,
    held: i64,
    failure: Option<String>,
}

impl Series {
    fn new(stack: Stack) -> Self {
        let started = guard(|| Channels::new(stack));
        let failure = started.as_ref().err().cloned();
        let channels = started.ok();
        Self { channels, done: 0, microseconds: Vec::new(), round_trips: Vec::new(), held: 0, failure }
    }

    fn slice(&mut self, cycles: usize, wall_max: Duration, counts: bool) {
        let Some(channels) = self.channels.as_mut().filter(|_| self.failure.is_none()) else { return };
        let from = channels.pair.now();
        let started = Instant::now();
        let mut result = Ok(());
        let done = &mut self.done;
        let gauge = Gauge::run(|| {
            for _ in 0..cycles {
                result = guard(|| channels.cycle()).map_err(|reason| format!("channel {}: {reason}", *done + 1));
                if result.is_err() {
                    return;
                }
                *done += 1;
                if started.elapsed() > wall_max {
                    result = Err(format!("stopped at channel {done}: it took too long"));
                    return;
                }
            }
        });
        self.failure = result.err();
        let cycles = cycles as f64;
        self.microseconds.push(gauge.cpu.as_secs_f64() * 1e6 / cycles);
        self.round_trips.push((channels.pair.now() - from).as_secs_f64() / (2.0 * DELAY.as_secs_f64()) / cycles);
        if counts {
            self.held += gauge.bytes_held;
        }
    }

    fn cell(&self, cell: impl Fn(&Self) -> Cell) -> Cell {
        match &self.failure {
            Some(reason) => Cell::Failed(reason.clone()),
            None => cell(self),
        }
    }
}

/// Of the stacks whose channels are streams.
const WITHOUT_DCEP: &str = "has no channels: streams, with messages of DCEP's size, and id reuse without its rules";

/// Slices that the cycles are cut into, so that the stacks take turns.
const SLICES: usize = 10;

/// Channels one after another.
pub(crate) fn channels(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let mut all: Vec<Series> = plan.stacks.iter().map(|&stack| Series::new(stack)).collect();
    for slice in 0..SLICES {
        for series in &mut all {
            // The first slice is where maps and queues find their size.
            series.slice(plan.cycles / SLICES, plan.wall_max, slice > 0);
        }
    }
    let row = |title: String, unit: &'static str, cell: &dyn Fn(&Series) -> Cell| Row {
        title,
        unit,
        cells: all.iter().map(|series| series.cell(cell)).collect(),
        ratio: None,
    };
    let cycles = plan.cycles;
    let [ours, theirs] =
        [Stack::Narrowboat, MEASURE].map(|stack| plan.column(stack).and_then(|column| all.get(column)));
    let ratio = ours.zip(theirs).and_then(|(ours, theirs)| {
        Summary::of(ours.microseconds.iter().zip(&theirs.microseconds).map(|(ours, theirs)| ours / theirs))
    });
    let measured = |values: &[f64], series: &Series| {
        let is_bare = series.channels.as_ref().is_some_and(|channels| channels.bare);
        Cell::measured(values.iter().copied(), 1, is_bare.then(|| WITHOUT_DCEP.to_owned()))
    };
    let rows = vec![
        Row {
            ratio,
            ..row(format!("{cycles} channels opened, used and closed"), "µs each", &|series| {
                measured(&series.microseconds, series)
            })
        },
        row("channels".into(), "round trips each", &|series| measured(&series.round_trips, series)),
        row("channels: heap more at the end".into(), "bytes", &|series| Cell::plain(series.held.to_string())),
    ];
    let verdicts = plan
        .column(Stack::Narrowboat)
        .and_then(|column| all.get(column))
        .map(|ours| {
            let is_flat = ours.failure.is_none() && ours.held <= GROWTH_MAX;
            let text = format!("channels: {} of {cycles} cycles, {} bytes more heap", ours.done, ours.held);
            Verdict::new(text, is_flat, format!("all, and at most {GROWTH_MAX}"))
        })
        .into_iter()
        .collect();
    (rows, verdicts)
}
