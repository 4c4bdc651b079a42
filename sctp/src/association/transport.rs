//! What the layer below reports, if it has a life of its own (RFC 8261).

use std::time::Instant;

use super::timer::Timer;
use super::{Association, State};
use crate::error::{CloseReason, TransportFailure};
use crate::path::Path;

impl Association {
    /// Nothing can be sent any more. A peer that closes its transport while it waits for nothing but SHUTDOWN COMPLETE
    /// has had all that it wanted (RFC 9260 §9.2).
    pub(super) fn end_with_transport(&mut self, failure: TransportFailure) {
        self.close(match failure {
            TransportFailure::ClosedByPeer if self.state == State::ShutdownAckSent => CloseReason::Shutdown,
            failure => CloseReason::Transport(failure),
        });
    }

    /// What was measured is of no use on another path. A HEARTBEAT measures the new one, unless data does.
    pub(super) fn begin_anew_on_path(&mut self, now: Instant) {
        self.path = Path::new(&self.config);
        self.sender.on_path_changed(self.path.mtu);
        if self.timers.is_armed(Timer::Heartbeat) {
            self.timers.set(Timer::Heartbeat, now);
        }
    }
}
