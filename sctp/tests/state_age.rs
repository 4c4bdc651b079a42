//! Age of state on a channel without retransmissions, offered at five times the rate of the link: every controller,
//! DATA and I-DATA, ordered and unordered, messages that fill a packet or not.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]
#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]
#![expect(clippy::print_stdout, reason = "the table is what a reader of the test wants")]

mod pair;

use std::time::Duration;

use narrowboat_sctp::{
    AssociationConfig, CongestionControl, Ppid, Reliability, SendMessageError, SendOptions, SendPolicy, StreamId,
};
use pair::{MS, Pair, Verdict};

const STREAM: StreamId = StreamId(1);

/// A link, and messages on it.
#[derive(Clone, Copy, Debug)]
struct Row {
    control: CongestionControl,
    message_interleaving: bool,
    unordered: bool,
    megabits: u64,
    round_trip: u32,
    /// Bytes of a message, and of a packet.
    sizes: (usize, usize),
    /// Packets that the link loses, in percent.
    loss: u64,
    /// Latency budget in milliseconds; the default policy if there is none.
    budget: Option<u32>,
}

struct Outcome {
    /// Age on arrival.
    p99: Duration,
    /// Bytes of packets that arrived, in percent of the link.
    used: u64,
    /// Round trip with a full queue.
    round_trip: Duration,
}

impl Row {
    fn pair(&self) -> Pair {
        let mut pair = Pair::connected(AssociationConfig {
            congestion_control: self.control,
            message_interleaving: self.message_interleaving,
            mtu: self.sizes.1,
            path_mtu_discovery: false,
            ..AssociationConfig::default()
        });
        pair.keeps_trace = false;
        pair.one_way = self.round_trip * MS / 2;
        pair.bottleneck = Some((self.bytes_per_second(), self.queue() as usize));
        let (mut random, loss) = (7_u64, self.loss);
        pair.rule = Box::new(move |packet| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if packet.from == 0 && (random >> 33) % 100 < loss { Verdict::Drop } else { Verdict::Pass }
        });
        if let Some(budget) = self.budget {
            pair.ends[0].set_send_policy(STREAM, SendPolicy::new().latency_budget(budget * MS));
        }
        pair
    }

    fn bytes_per_second(&self) -> u64 {
        self.megabits * 125_000
    }

    /// Returns the time for which messages are sent: long enough for some hundreds to arrive.
    fn time(&self) -> Duration {
        if self.megabits == 1 { 4_000 * MS } else { 1_500 * MS }
    }

    /// Returns the bytes that wait in front of the link at most: what it takes in a round trip, three packets at least.
    fn queue(&self) -> u64 {
        (self.bytes_per_second() * u64::from(self.round_trip) / 1_000).max(3 * self.sizes.1 as u64)
    }

    fn measure(&self) -> Outcome {
        let (mut pair, (len, mtu), rate) = (self.pair(), self.sizes, self.bytes_per_second());
        let options = SendOptions {
            unordered: self.unordered,
            reliability: Reliability::MaxRetransmits(0),
            ..SendOptions::default()
        };
        let interval = Duration::from_secs_f64(len as f64 / (rate as f64 * 5.0));
        let (begun, mut next) = (pair.now, pair.now);
        let (mut ages, before) = (Vec::new(), pair.ends[1].stats().bytes_received);
        while pair.now < begun + self.time() {
            while next <= pair.now {
                let mut message = vec![7; len];
                message[..8].copy_from_slice(&(pair.elapsed().as_nanos() as u64).to_be_bytes());
                let sent = pair.ends[0].send(pair.now, STREAM, Ppid(53), message.into(), options);
                assert!(matches!(sent, Ok(()) | Err(SendMessageError::Full)));
                next += interval;
            }
            pair.run_for(next.saturating_duration_since(pair.now).max(MS));
            let now = pair.elapsed();
            let sent_at = |payload: &[u8]| Duration::from_nanos(u64::from_be_bytes(payload[..8].try_into().unwrap()));
            ages.extend(pair.received[1].drain(..).map(|(_, _, payload)| now - sent_at(&payload)));
        }
        ages.sort_unstable();
        let queueing = Duration::from_secs_f64((self.queue() + mtu as u64) as f64 / rate as f64);
        Outcome {
            p99: ages[ages.len() * 99 / 100],
            used: (pair.ends[1].stats().bytes_received - before) * 100_000 / (rate * self.time().as_millis() as u64),
            round_trip: self.round_trip * MS + queueing,
        }
    }

    /// Returns the least use of the link. A controller that answers each loss has 1.22 packets in flight, over the
    /// root of the loss rate: 2.1 Mbit/s with a round trip of 55 ms, though none of the losses is due to congestion.
    fn used_min(&self) -> u64 {
        let is_loss_based = self.control != CongestionControl::Bbr;
        if is_loss_based && self.loss > 0 && self.megabits > 1 { 20 } else { 90 }
    }
}

/// Measures every combination with this controller, and prints a table.
fn check(control: CongestionControl) {
    let mut rows = vec![];
    for megabits in [1, 10] {
        for round_trip in [20, 50] {
            for sizes in [(1_200, 1_200), (1_160, 1_200), (1_200, 1_472)] {
                for loss in [0, 1] {
                    for (message_interleaving, unordered) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        // The policies take turns.
                        let budget = (rows.len() % 3 == 1).then_some(200);
                        let row =
                            Row { control, message_interleaving, unordered, megabits, round_trip, sizes, loss, budget };
                        rows.push(row);
                    }
                }
            }
        }
    }
    let mut misses = Vec::new();
    for row in rows {
        let Outcome { p99, used, round_trip } = row.measure();
        let max = row.budget.map_or(SendPolicy::BACKLOG_TIME, |budget| budget * MS) + round_trip;
        println!("{row:?}: p99 {p99:?} of {max:?}, {used} % of the link");
        if p99 > max || used < row.used_min() {
            misses.push((row, p99, max, used));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[test]
fn state_at_five_times_the_link_is_no_older_than_its_budget_with_cubic() {
    check(CongestionControl::Cubic);
}

#[test]
fn state_at_five_times_the_link_is_no_older_than_its_budget_with_new_reno() {
    check(CongestionControl::NewReno);
}

#[test]
fn state_at_five_times_the_link_is_no_older_than_its_budget_with_bbr() {
    check(CongestionControl::Bbr);
}
