//! Processor time, allocations, and summaries of many measurements.

use std::ops::AddAssign;
use std::time::Duration;

use cpu_time::ThreadTime;

/// Cost of a piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    /// Processor time of this thread.
    pub(crate) cpu: Duration,
    /// Calls of the allocator.
    pub(crate) allocations: u64,
    /// Bytes that are held now and were not before.
    pub(crate) bytes_held: i64,
}

impl Gauge {
    /// Does the work and gauges it.
    pub(crate) fn run(work: impl FnOnce()) -> Self {
        let mut cpu = Duration::ZERO;
        let memory = allocation_counter::measure(|| {
            let started = ThreadTime::now();
            work();
            cpu = started.elapsed();
        });
        Self { cpu, allocations: memory.count_total, bytes_held: memory.bytes_current }
    }
}

/// Cost of a part of a transfer, both ends together.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Payload bytes received.
    pub(crate) bytes: u64,
    /// Messages received.
    pub(crate) messages: u64,
    /// Datagrams from the sender.
    pub(crate) packets: u64,
    /// Calls of the allocator by the stacks.
    pub(crate) allocations: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.packets += other.packets;
        self.allocations += other.allocations;
    }
}

impl Cost {
    /// Nanoseconds for each datagram from the sender, all that answers it included.
    pub(crate) fn nanoseconds_a_packet(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// Nanoseconds for each message.
    pub(crate) fn nanoseconds_a_message(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.messages.max(1) as f64
    }

    /// Gbit of payload that one core moves in a second when it does the work of both ends.
    pub(crate) fn gigabits_a_core(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.cpu.as_nanos().max(1) as f64
    }

    /// Allocations for each message.
    pub(crate) fn allocations_a_message(&self) -> f64 {
        self.allocations as f64 / self.messages.max(1) as f64
    }

    /// Allocations for each datagram from the sender.
    pub(crate) fn allocations_a_packet(&self) -> f64 {
        self.allocations as f64 / self.packets.max(1) as f64
    }
}

/// The median of many measurements, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// Half the distance from the least to the greatest, as a share of the median.
    pub(crate) spread: f64,
}

impl Summary {
    /// Sums up; `None` if there is nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match middle.checked_sub(1).and_then(|below| values.get(below)) {
            Some(lower) if values.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
            _ => upper,
        };
        let (least, greatest) = (*values.first()?, *values.last()?);
        let spread = if median == 0.0 { 0.0 } else { (greatest - least) / 2.0 / median };
        Some(Self { median, spread })
    }
}
