//! One run: the traffic of the applications of a [`Net`], and the figures that are measured.

use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{LinkConfig, SendOptions};

use crate::contender::{Choices, Contender};
use crate::net::{Net, RECEIVER, SENDER};

/// Interval between samples.
pub(crate) const SAMPLE: Duration = Duration::from_millis(100);

const BULK: u16 = 0;
const TICKS: u16 = 1;

/// Messages of one size at a fixed interval, each of which says when it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) every: Duration,
    pub(crate) size: usize,
    pub(crate) options: SendOptions,
    /// True if the receiver sends each message back.
    pub(crate) is_echoed: bool,
}

/// The traffic of an application.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Size of bulk messages, if there are any.
    pub(crate) bulk: Option<usize>,
    /// Bytes of bulk in all; without a limit if `None`.
    pub(crate) total: Option<u64>,
    pub(crate) ticks: Option<Ticks>,
}

/// A link, and what others than ours need to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) megabits: f64,
    pub(crate) round_trip: Duration,
    /// Queue in front of the bottleneck, in bandwidth-delay products.
    pub(crate) queue: f64,
    pub(crate) loss: f64,
}

impl Path {
    pub(crate) fn new(megabits: f64, milliseconds: u64) -> Self {
        Self { megabits, round_trip: Duration::from_millis(milliseconds), queue: 1.0, loss: 0.0 }
    }

    /// The bandwidth-delay product, in bytes.
    pub(crate) fn product(self) -> u64 {
        (self.megabits * 125_000.0 * self.round_trip.as_secs_f64()) as u64
    }

    fn config(self) -> LinkConfig {
        LinkConfig {
            rate: Some((self.megabits * 1e6) as u64),
            queue: ((self.product() as f64 * self.queue) as usize).max(6_000),
            loss: self.loss,
            ..LinkConfig::clean(self.round_trip / 2)
        }
    }
}

/// State of the application of one association.
#[derive(Debug)]
pub(crate) struct Flow {
    load: Load,
    /// Time at which the association was established.
    starts_at: Instant,
    is_connected: bool,
    sent: u64,
    pub(crate) received: u64,
    next_tick: Instant,
    pub(crate) ticks_sent: u64,
    pub(crate) tick_bytes: u64,
    /// Time from the send of each tick to its arrival, or to that of its echo, in the order of arrival.
    pub(crate) ages: Vec<(Instant, Duration)>,
    /// Time at which the last byte of a limited bulk arrived.
    pub(crate) done_at: Option<Instant>,
    /// False while the receiving application pauses.
    pub(crate) is_reading: bool,
}

/// Figures at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// Bits a second of the first flow since the last sample.
    pub(crate) goodput: f64,
    pub(crate) cwnd: Option<usize>,
    pub(crate) queue: Duration,
    /// Age of the last tick that arrived.
    pub(crate) age: Option<Duration>,
}

/// A network and its applications.
pub(crate) struct Run {
    pub(crate) net: Net,
    pub(crate) started: Instant,
    pub(crate) flows: Vec<Flow>,
    pub(crate) samples: Vec<Sample>,
    sampled_bytes: u64,
    backlog: u64,
    wall_end: Option<Instant>,
}

impl Run {
    pub(crate) fn new(path: Path, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            net: Net::new(now, path.config(), seed),
            started: now,
            flows: Vec::new(),
            samples: Vec::new(),
            sampled_bytes: 0,
            backlog: (5 * path.product()).max(8 << 20),
            wall_end: None,
        }
    }

    /// Ends the run with an error after this time of the machine.
    pub(crate) fn limit(&mut self, wall: Duration) {
        self.wall_end = Some(Instant::now() + wall);
    }

    /// Adds an association that starts at the present time of the network.
    pub(crate) fn add(
        &mut self,
        contender: Contender,
        choices: Choices,
        path: Path,
        load: Load,
        seed: u64,
    ) -> Result<(), String> {
        let now = self.net.now();
        self.net.add(contender.peers(now, choices, path.product(), seed)?);
        self.flows.push(Flow {
            load,
            starts_at: now,
            is_connected: false,
            sent: 0,
            received: 0,
            next_tick: now,
            ticks_sent: 0,
            tick_bytes: 0,
            ages: Vec::new(),
            done_at: None,
            is_reading: true,
        });
        Ok(())
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.net.now() - self.started
    }

    /// Goes on until this time since the start, or until `is_done`.
    pub(crate) fn run(&mut self, until: Duration, is_done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let end = self.started + until;
        let mut turns = 0_u32;
        while self.net.now() < end && !is_done(self) {
            for flow in 0..self.flows.len() {
                self.receive(flow)?;
                self.send(flow)?;
            }
            self.sample();
            let ticks = self.flows.iter().filter(|flow| flow.load.ticks.is_some() && flow.is_connected);
            let next = ticks.map(|flow| flow.next_tick).min().map_or(end, |tick| tick.min(end));
            let next_sample = self.started + SAMPLE * u32::try_from(self.samples.len() + 1).unwrap_or(u32::MAX);
            self.net.advance(next.min(next_sample));
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(256) && self.wall_end.is_some_and(|end| Instant::now() > end) {
                return Err("took more processor time than there is for a line".into());
            }
        }
        Ok(())
    }

    fn receive(&mut self, flow: usize) -> Result<(), String> {
        loop {
            let (message, is_connected) = self.net.poll(flow, SENDER)?;
            if is_connected {
                let now = self.net.now();
                let state = &mut self.flows[flow];
                (state.is_connected, state.starts_at, state.next_tick) = (true, now, now);
            }
            let Some(message) = message else { break };
            self.note_age(flow, &message.payload.into_bytes());
        }
        while self.flows[flow].is_reading {
            let (Some(message), _) = self.net.poll(flow, RECEIVER)? else { break };
            let now = self.net.now();
            let state = &mut self.flows[flow];
            if message.stream == BULK {
                state.received += message.payload.size() as u64;
                if state.load.total.is_some_and(|total| state.received >= total) {
                    state.done_at.get_or_insert(now);
                }
                continue;
            }
            let bytes = message.payload.into_bytes();
            state.tick_bytes += bytes.len() as u64;
            match state.load.ticks.filter(|ticks| ticks.is_echoed) {
                Some(ticks) => {
                    // An echo that finds no room is lost, like a tick.
                    let _is_accepted = self.net.send(flow, RECEIVER, TICKS, &bytes, ticks.options)?;
                }
                None => self.note_age(flow, &bytes),
            }
        }
        Ok(())
    }

    fn note_age(&mut self, flow: usize, tick: &[u8]) {
        let (now, sent_at) = (self.net.now(), tick.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)));
        self.flows[flow].ages.push((now, now - self.started - Duration::from_nanos(sent_at)));
    }

    fn send(&mut self, flow: usize) -> Result<(), String> {
        let now = self.net.now();
        if !self.flows[flow].is_connected {
            return Ok(());
        }
        if let Some(ticks) = self.flows[flow].load.ticks
            && self.flows[flow].next_tick <= now
        {
            let mut message = vec![7; ticks.size.max(8)];
            let nanos = u64::try_from((now - self.started).as_nanos()).unwrap_or(u64::MAX);
            message[..8].copy_from_slice(&nanos.to_be_bytes());
            self.flows[flow].next_tick += ticks.every;
            self.flows[flow].ticks_sent += 1;
            // A tick that finds no room is lost to the application, as it would be in a game.
            let _is_accepted = self.net.send(flow, SENDER, TICKS, &message.into(), ticks.options)?;
        }
        let Some(size) = self.flows[flow].load.bulk else { return Ok(()) };
        let message = Bytes::from(vec![0x5a; size]);
        loop {
            let state = &self.flows[flow];
            let is_over = state.load.total.is_some_and(|total| state.sent >= total);
            if is_over || state.sent - state.received >= self.backlog {
                return Ok(());
            }
            if !self.net.send(flow, SENDER, BULK, &message, SendOptions::default())? {
                return Ok(());
            }
            self.flows[flow].sent += size as u64;
        }
    }

    fn sample(&mut self) {
        let due = SAMPLE * u32::try_from(self.samples.len() + 1).unwrap_or(u32::MAX);
        if self.elapsed() < due {
            return;
        }
        let Some(flow) = self.flows.first() else { return };
        let bytes = flow.received + flow.tick_bytes;
        let sample = Sample {
            at: due,
            goodput: (bytes - self.sampled_bytes) as f64 * 8.0 / SAMPLE.as_secs_f64(),
            cwnd: self.net.congestion_window(0),
            queue: self.net.queueing_delay(),
            age: flow.ages.last().map(|(_, age)| *age),
        };
        self.sampled_bytes = bytes;
        self.samples.push(sample);
    }
}

impl Flow {
    /// Time from the first byte of a limited bulk to the last, without the handshake.
    pub(crate) fn time(&self) -> Option<Duration> {
        Some(self.done_at? - self.starts_at)
    }
}

/// The value below which this share of the values lies.
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> Option<Duration> {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().checked_sub(1)?)).copied()
}
