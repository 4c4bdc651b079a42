//! Goodput on clean links behind a drop-tail queue of one bandwidth-delay product: where stacks that do not recover well
//! from the loss that they cause themselves collapse. In virtual time, so nothing here depends on the machine.
//!
//! The whole table takes some fifteen million packets, so that a build with debug assertions runs the slow links only,
//! for a shorter time.

#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test harness: it panics when something is wrong"
)]

#[expect(dead_code, reason = "shared with the simulation, which uses more of it")]
#[path = "simulation/clock.rs"]
mod clock;
#[path = "simulation/pipe.rs"]
mod pipe;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use narrowboat_sctp::{Association, Config, CookieKeys, Ecn, Event, Ppid, SendError, SendOptions};

use clock::{Clock, MILLISECOND, Nanos, SECOND};
use pipe::{Pipe, PipeOptions};

const MESSAGE: usize = 64 << 10;
const MEGABIT: u64 = 1_000_000;

#[test]
fn clean_links_are_filled() {
    let (rates, round_trips, seconds): (&[u64], &[u64], u64) =
        if cfg!(debug_assertions) { (&[20], &[10, 50], 12) } else { (&[20, 100, 1000], &[10, 50, 100, 200], 30) };
    let cells: Vec<_> = rates.iter().flat_map(|rate| round_trips.iter().map(move |rtt| (*rate, *rtt))).collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let odd_even: Vec<_> = (0..2)
            .map(|offset| {
                let cells: Vec<_> = cells.iter().copied().enumerate().filter(|(i, _)| i % 2 == offset).collect();
                scope.spawn(move || cells.into_iter().map(|(i, (rate, rtt))| (i, run(rate, rtt, seconds))).collect())
            })
            .collect();
        let mut results: Vec<(usize, Goodput)> = odd_even
            .into_iter()
            .flat_map(|thread: std::thread::ScopedJoinHandle<'_, Vec<_>>| thread.join().unwrap())
            .collect();
        results.sort_by_key(|(index, _)| *index);
        results
    });
    eprintln!("{:>12} {:>7} {:>9} {:>15}", "link", "RTT", "goodput", "worst 5 s later");
    let mut bad = Vec::new();
    for (&(rate, rtt), (_, goodput)) in cells.iter().zip(&results) {
        let line = format!("{rate:>5} Mbit/s {rtt:>4} ms {:>7} % {:>13} %", goodput.share, goodput.worst);
        eprintln!("{line}");
        if (rtt <= 100 && goodput.share < 85) || goodput.worst < 50 {
            bad.push(line);
        }
    }
    assert!(bad.is_empty(), "below 85 % over all (for an RTT up to 100 ms), or below 50 % in 5 s:\n{}", bad.join("\n"));
}

/// In percent of the link.
#[derive(Clone, Copy, Debug)]
struct Goodput {
    share: u64,
    worst: u64,
}

/// One direction's packets: in order, so a queue is enough.
struct Line {
    pipe: Pipe,
    under_way: VecDeque<(Nanos, Bytes)>,
}

struct Transfer {
    clock: Clock,
    now: Nanos,
    /// The sender, and the receiver.
    ends: [Association; 2],
    lines: [Line; 2],
    message: Bytes,
    /// Bytes delivered in each second.
    delivered: Vec<u64>,
    buf: Vec<u8>,
}

fn run(megabits: u64, round_trip: u64, seconds: u64) -> Goodput {
    let rate = megabits * MEGABIT;
    let product = rate / 8 * round_trip / 1000;
    let window = (product * 5 / 2).max(16 << 10);
    let config = Config {
        receive_window: window as u32,
        send_buffer: window as usize,
        stream_send_buffer: window as usize,
        ..Config::default()
    };
    let mut transfer = Transfer::new(config, rate, product, round_trip * MILLISECOND / 2, seconds);
    transfer.run(SECOND + seconds * SECOND);
    let percent = |bytes: u64, seconds: u64| bytes * 8 * 100 / (rate * seconds);
    let windows = transfer.delivered.windows(5).skip(5).map(|window| percent(window.iter().sum(), 5));
    Goodput { share: percent(transfer.delivered.iter().sum(), seconds), worst: windows.min().unwrap() }
}

impl Transfer {
    fn new(config: Config, rate: u64, queue: u64, delay: Nanos, seconds: u64) -> Self {
        config.validate().unwrap();
        let clock = Clock::new();
        let now = SECOND;
        let config = Arc::new(config);
        let mut ends = [1, 2].map(|seed| {
            let keys = CookieKeys::new(clock.instant(now), [seed; 32]);
            Association::new(clock.instant(now), config.clone(), keys, &[], [seed + 100; 32])
        });
        ends[0].connect(clock.instant(now));
        let lines = [0, 1].map(|_| Line {
            pipe: Pipe::new(PipeOptions { rate, queue, delay, overhead: 28 }),
            under_way: VecDeque::new(),
        });
        let delivered = vec![0; seconds as usize];
        let message = Bytes::from(vec![7; MESSAGE]);
        Self { clock, now, ends, lines, message, delivered, buf: Vec::new() }
    }

    fn run(&mut self, until: Nanos) {
        self.turn(0);
        loop {
            let arrivals = [0, 1].map(|end: usize| self.lines[1 - end].under_way.front().map(|(at, _)| *at));
            let timeouts = [0, 1].map(|end: usize| self.ends[end].poll_timeout().map(|at| self.clock.nanos(at)));
            let soonest = arrivals.into_iter().chain(timeouts).flatten().min().unwrap();
            if soonest > until {
                return;
            }
            self.now = soonest.max(self.now);
            let now = self.clock.instant(self.now);
            let end = usize::from(arrivals[0] != Some(soonest) && timeouts[0] != Some(soonest));
            if arrivals[end] == Some(soonest) {
                let (_, packet) = self.lines[1 - end].under_way.pop_front().unwrap();
                self.ends[end].handle_datagram(now, Ecn::default(), packet);
            } else {
                self.ends[end].handle_timeout(now);
            }
            self.turn(end);
        }
    }

    /// Polls one end until it has nothing more to say; the sender is kept full.
    fn turn(&mut self, end: usize) {
        let now = self.clock.instant(self.now);
        while let Some(event) = self.ends[end].poll_event() {
            match event {
                Event::Message(message) => {
                    let second = (self.now - SECOND) / SECOND;
                    if let Some(bytes) = self.delivered.get_mut(second as usize) {
                        *bytes += message.payload.len() as u64;
                    }
                    self.ends[end].release(now, message.credit);
                }
                Event::Closed(reason) => panic!("the association ended: {reason}"),
                _ => {}
            }
        }
        if end == 0 {
            loop {
                match self.ends[0].send(now, 0, Ppid(53), self.message.clone(), SendOptions::default()) {
                    Ok(()) => {}
                    Err(SendError::Full) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        self.buf.clear();
        while let Some(transmit) = self.ends[end].poll_transmit(now, 64, &mut self.buf) {
            for packet in self.buf.chunks(transmit.segment_size) {
                let line = &mut self.lines[end];
                if let Some(at) = line.pipe.enter(self.now, packet.len(), 0, true) {
                    line.under_way.push_back((at, Bytes::copy_from_slice(packet)));
                }
            }
            self.buf.clear();
        }
    }
}
