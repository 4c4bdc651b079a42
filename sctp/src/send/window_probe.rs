//! When to ask a peer that has no room whether that is still so (RFC 9260 §6.1 A).
//!
//! A SACK that opens the window may be lost, and the peer does not repeat it. So a chunk goes into the closed window now and
//! then, as the probe: first one time-out after the peer has said that it has no room, then after twice as long each time
//! until it has some. While a probe is on its way, T3 repeats it and backs off by itself.

use std::time::{Duration, Instant};

use super::Sender;
use crate::path::Rto;

#[derive(Debug, Default)]
pub(super) struct WindowProbe {
    /// When a SACK last told the peer's window.
    told_at: Option<Instant>,
    /// The wait for the next probe, if one was sent since the peer had room.
    interval: Option<Duration>,
    /// True if a chunk may leave now though the peer has no room for it.
    is_due: bool,
}

impl WindowProbe {
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// What was due has left, or there was nothing to send.
    pub(super) fn on_tried(&mut self) {
        self.is_due = false;
    }

    /// A peer with a little room reads, so the wait for the next probe stays short: it is how long a small opening waits
    /// until it is used (RFC 1122 §4.2.3.4).
    pub(super) fn on_window_told(&mut self, now: Instant, a_rwnd: u32) {
        self.told_at = Some(now);
        if a_rwnd > 0 {
            self.interval = None;
        }
    }

    fn wait(&self, rto: &Rto) -> Duration {
        self.interval.unwrap_or(rto.current())
    }
}

impl Sender {
    /// When the next probe is due. `None` if none is needed, or if one is due or on its way already.
    pub(crate) fn window_probe_at(&mut self, now: Instant, rto: &Rto) -> Option<Instant> {
        if !self.outstanding.is_empty() || self.queues.is_empty() || self.window_probe.is_due {
            return None;
        }
        let next = self.queues.peek(now, &mut self.notices)?;
        let told_at = self.window_probe.told_at.unwrap_or(now);
        (!self.has_window(self.payload_len(next.left))).then(|| told_at + self.window_probe.wait(rto))
    }

    pub(crate) fn on_window_probe_timeout(&mut self, rto: &Rto) {
        self.window_probe.is_due = true;
        self.window_probe.interval = Some(rto.next_back_off(self.window_probe.wait(rto)));
    }

    /// The probe on its way was not answered for so long.
    pub(super) fn on_window_probe_unanswered(&mut self, rto: &Rto) {
        let probe = &mut self.window_probe;
        probe.interval = probe.interval.max(Some(rto.current()));
    }
}
