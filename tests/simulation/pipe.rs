//! A one-way link: serialisation at a rate behind a drop-tail queue, then propagation.

use crate::clock::{Nanos, SECOND};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PipeOptions {
    /// Bits per second; 0 is without limit.
    pub(crate) rate: u64,
    /// Bytes that may wait for the wire.
    pub(crate) queue: u64,
    /// Propagation, one way.
    pub(crate) delay: Nanos,
    /// Bytes on the wire around each packet: IPv4 and UDP headers.
    pub(crate) overhead: u64,
    /// Bytes of a packet at most; larger ones vanish.
    pub(crate) mtu: usize,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) options: PipeOptions,
    /// Time at which the wire has sent all that is queued.
    idle_at: Nanos,
    last_arrival: Nanos,
}

impl Pipe {
    pub(crate) fn new(options: PipeOptions) -> Self {
        Self { options, idle_at: 0, last_arrival: 0 }
    }

    /// Returns the arrival time of a packet of `len` bytes that enters now, or `None` if the queue is full or the
    /// packet too large. Packets stay in order, except for those that `extra` delays without `in_order`.
    pub(crate) fn enter(&mut self, now: Nanos, len: usize, extra: Nanos, in_order: bool) -> Option<Nanos> {
        if len > self.options.mtu {
            return None;
        }
        let bytes = len as u64 + self.options.overhead;
        let start = self.idle_at.max(now);
        if self.options.rate != 0 {
            let queued = u128::from(start - now) * u128::from(self.options.rate) / u128::from(8 * SECOND);
            // A packet that finds the queue empty always passes, however small the queue.
            if queued != 0 && queued + u128::from(bytes) > u128::from(self.options.queue) {
                return None;
            }
            self.idle_at = start + bytes * 8 * SECOND / self.options.rate;
        } else {
            self.idle_at = start;
        }
        let mut arrival = self.idle_at + self.options.delay + extra;
        if in_order {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        Some(arrival)
    }
}
