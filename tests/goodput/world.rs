//! Associations whose packets share one bottleneck, on a virtual clock.

use std::collections::VecDeque;

use bytes::Bytes;
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CongestionControl, CookieKeys, Ppid, SendMessageError,
    SendOptions, StreamId, Valid,
};

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND, START};
use crate::pipe::{Pipe, PipeOptions};

const BULK: StreamId = StreamId(0);
const PINGS: StreamId = StreamId(1);
const PPID: Ppid = Ppid(53);

/// Largest SCTP packet that Ethernet carries in UDP and IPv4.
const ETHERNET: usize = 1472;

/// A path, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) megabits: u64,
    /// Milliseconds.
    pub(crate) round_trip: u64,
    /// Queue in front of the bottleneck, in percent of the bandwidth-delay product.
    pub(crate) queue: u64,
    /// Packets that are lost at random on their way, of a million.
    pub(crate) loss: u64,
}

impl Path {
    /// A queue of one bandwidth-delay product, and no loss except by overflow of the queue.
    pub(crate) const fn clean(megabits: u64, round_trip: u64) -> Self {
        Self { megabits, round_trip, queue: 100, loss: 0 }
    }

    pub(crate) const fn rate(self) -> u64 {
        self.megabits * 1_000_000
    }

    /// The bandwidth-delay product, in bytes.
    pub(crate) const fn product(self) -> u64 {
        self.rate() / 8 * self.round_trip / 1000
    }
}

/// Small messages at an interval, on a stream of their own, and bulk messages whenever there is room for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) bulk_len: usize,
    pub(crate) ping_every: Option<Nanos>,
    pub(crate) ping_len: usize,
}

impl Load {
    pub(crate) const BULK: Self = Self { bulk_len: 64 << 10, ping_every: None, ping_len: 8 };

    pub(crate) const fn with_pings(ping_every: Nanos) -> Self {
        Self { ping_every: Some(ping_every), ..Self::BULK }
    }
}

/// One association from a sender that always has more to a receiver that reads at once.
pub(crate) struct Flow {
    ends: [Association; 2],
    load: Load,
    message: Bytes,
    starts_at: Nanos,
    /// Bytes of bulk delivered in each second.
    pub(crate) delivered: Vec<u64>,
    next_ping: Nanos,
    /// Time that each small message took to arrive.
    pub(crate) pings: Vec<Nanos>,
    /// Time that each small message took to arrive and come back.
    pub(crate) echoes: Vec<Nanos>,
    /// Time from the start of the flow to the arrival of each bulk message.
    pub(crate) arrivals: Vec<Nanos>,
}

/// One direction's packets: in order, so a queue is enough.
struct Line {
    pipe: Pipe,
    loss: u64,
    random: u64,
    /// Time that each packet with data waited in the queue.
    waits: Vec<Nanos>,
    under_way: VecDeque<(Nanos, usize, Bytes)>,
}

pub(crate) struct World {
    path: Path,
    clock: Clock,
    now: Nanos,
    pub(crate) flows: Vec<Flow>,
    started: usize,
    lines: [Line; 2],
    buf: Vec<u8>,
}

/// Index of the sending end of a flow.
const SENDER: usize = 0;

impl World {
    pub(crate) fn new(path: Path, seed: u64) -> Self {
        let delay = path.round_trip * MILLISECOND / 2;
        let queue = path.product() * path.queue / 100;
        let lines = [1, 2].map(|direction| Line {
            pipe: Pipe::new(PipeOptions { rate: path.rate(), queue, delay, overhead: 28, mtu: ETHERNET }),
            loss: path.loss,
            random: seed * 2 + direction,
            waits: Vec::new(),
            under_way: VecDeque::new(),
        });
        Self { path, clock: Clock::new(), now: START, flows: Vec::new(), started: 0, lines, buf: Vec::new() }
    }

    /// Adds a flow with windows of two and a half bandwidth-delay products, queue included if that is longer.
    pub(crate) fn add(&mut self, starts_at: Nanos, load: Load) {
        let window = (self.path.product() * 5 / 2).max(self.path.product() * (100 + self.path.queue) / 80);
        self.add_flow(window_config(window, CongestionControl::default()), starts_at, load);
    }

    /// Adds a flow with this congestion control, and with windows of three times what the path holds, queue included:
    /// while a loss is repaired, all that arrives behind it waits in the window.
    pub(crate) fn add_with(&mut self, congestion_control: CongestionControl, starts_at: Nanos, load: Load) {
        let window = 3 * self.path.product() * (100 + self.path.queue) / 100;
        self.add_flow(window_config(window, congestion_control), starts_at, load);
    }

    /// Adds a flow whose ends have this configuration.
    pub(crate) fn add_flow(&mut self, config: AssociationConfig, starts_at: Nanos, load: Load) {
        let (now, config) = (self.clock.instant(START + starts_at), Valid::new(config).unwrap());
        let number = u8::try_from(self.flows.len()).unwrap();
        let ends = [1, 2].map(|end| {
            let keys = CookieKeys::new(now, [end; 32]);
            Association::new(config.clone(), keys, &[], [100 + 2 * number + end; 32])
        });
        let starts_at = START + starts_at;
        self.flows.push(Flow {
            ends,
            load,
            message: Bytes::from(vec![7; load.bulk_len]),
            starts_at,
            delivered: Vec::new(),
            next_ping: starts_at + SECOND,
            pings: Vec::new(),
            echoes: Vec::new(),
            arrivals: Vec::new(),
        });
    }

    /// Returns the time that all but 5 % of the packets with data took to pass the bottleneck, without propagation.
    pub(crate) fn late_wait(&mut self) -> Nanos {
        let waits = &mut self.lines[SENDER].waits;
        waits.sort_unstable();
        waits[waits.len() * 95 / 100]
    }

    pub(crate) fn run(&mut self, time: Nanos) {
        let end = START + time;
        let mut started = self.started;
        while let Some((at, what)) = self.next(started).filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let now = self.clock.instant(self.now);
            match what {
                Next::Start(flow) => {
                    started = flow + 1;
                    self.started = started;
                    self.flows[flow].ends[SENDER].connect(now);
                    self.turn(flow, SENDER);
                }
                Next::Arrival(end) => {
                    let (_, flow, packet) = self.lines[1 - end].under_way.pop_front().unwrap();
                    self.flows[flow].ends[end].handle_datagram(now, packet);
                    self.turn(flow, end);
                }
                Next::Timeout(flow, end) => {
                    self.flows[flow].ends[end].handle_timeout(now);
                    self.turn(flow, end);
                }
                Next::Ping(flow) => self.ping(flow),
            }
        }
    }

    /// Returns the next event and its time; flows start in order.
    fn next(&self, started: usize) -> Option<(Nanos, Next)> {
        let arrivals =
            [0, 1].into_iter().filter_map(|end| Some((self.lines[1 - end].under_way.front()?.0, Next::Arrival(end))));
        let start = self.flows.get(started).map(|flow| (flow.starts_at, Next::Start(started)));
        let flows = self.flows.iter().take(started).enumerate().flat_map(|(index, flow)| {
            let timeout =
                |end: usize| Some((self.clock.nanos(flow.ends[end].poll_timeout()?), Next::Timeout(index, end)));
            let ping = flow.load.ping_every.map(|_| (flow.next_ping, Next::Ping(index)));
            [timeout(0), timeout(1), ping].into_iter().flatten()
        });
        arrivals.chain(start).chain(flows).min_by_key(|(at, _)| *at)
    }

    /// A small message that says when it was sent.
    fn ping(&mut self, index: usize) {
        let (now, flow) = (self.clock.instant(self.now), &mut self.flows[index]);
        let mut message = self.now.to_be_bytes().to_vec();
        message.resize(flow.load.ping_len, 7);
        flow.ends[SENDER].send(now, PINGS, PPID, message.into(), SendOptions::default()).unwrap();
        flow.next_ping = self.now + flow.load.ping_every.unwrap_or(SECOND);
        self.turn(index, SENDER);
    }

    /// Polls one end until it has nothing more to say; the sender is kept full.
    fn turn(&mut self, index: usize, end: usize) {
        let now = self.clock.instant(self.now);
        let flow = &mut self.flows[index];
        while let Some(event) = flow.ends[end].poll_event() {
            match event {
                AssociationEvent::Message(message) => {
                    if message.stream == BULK {
                        let second = usize::try_from((self.now - START) / SECOND).unwrap();
                        if flow.delivered.len() <= second {
                            flow.delivered.resize(second + 1, 0);
                        }
                        flow.delivered[second] += message.payload.len() as u64;
                        flow.arrivals.push(self.now - flow.starts_at);
                    } else {
                        let ping = message.payload.into_bytes();
                        let age = self.now - u64::from_be_bytes(*ping.first_chunk().unwrap());
                        if end == SENDER {
                            flow.echoes.push(age);
                        } else {
                            flow.pings.push(age);
                            flow.ends[end].send(now, PINGS, PPID, ping, SendOptions::default()).unwrap();
                        }
                    }
                    flow.ends[end].release(message.credit);
                }
                AssociationEvent::Closed(reason) => panic!("the association ended: {reason}"),
                _ => {}
            }
        }
        if end == SENDER {
            loop {
                match flow.ends[SENDER].send(now, BULK, PPID, flow.message.clone(), SendOptions::default()) {
                    Ok(()) => {}
                    Err(SendMessageError::Full) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let line = &mut self.lines[end];
        self.buf.clear();
        while let Some(transmit) = flow.ends[end].poll_transmit(now, 64, &mut self.buf) {
            for packet in self.buf.chunks(transmit.segment_size) {
                line.send(self.now, index, packet);
            }
            self.buf.clear();
        }
    }
}

fn window_config(window: u64, congestion_control: CongestionControl) -> AssociationConfig {
    let window = window.max(16 << 10);
    AssociationConfig {
        receive_window: u32::try_from(window).unwrap(),
        // The window in flight and as much in the queue, each with the overhead of its chunks.
        send_buffer: 3 * usize::try_from(window).unwrap(),
        stream_send_buffer: usize::try_from(window).unwrap(),
        congestion_control,
        ..AssociationConfig::default()
    }
}

enum Next {
    Start(usize),
    Arrival(usize),
    Timeout(usize, usize),
    Ping(usize),
}

impl Line {
    fn send(&mut self, now: Nanos, flow: usize, packet: &[u8]) {
        let Some(at) = self.pipe.enter(now, packet.len(), 0, true) else { return };
        if packet.len() > 1000 {
            self.waits.push(at - now - self.pipe.options.delay);
        }
        // Lost behind the bottleneck, so that it has taken its time there.
        // The floors of `goodput` were measured with these draws.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (self.random >> 33) % 1_000_000 >= self.loss {
            self.under_way.push_back((at, flow, Bytes::copy_from_slice(packet)));
        }
    }
}
