//! Failure of an association: after a panic its SCTP association is not called any more, because each call could panic
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use narrowboat_dcep::DataChannels;

use super::inner::Inner;
use super::shared::now;
use crate::error::{ChannelError, CloseReason, TransportFailure};

impl Inner {
    /// Ends the association because its transport has failed.
    pub(crate) fn on_transport_failed(&mut self, failure: TransportFailure) {
        if !self.life.is_failed() {
            self.sctp.transport_failed(failure.into());
            self.has_work = true;
        }
    }

    /// Ends the association after a panic that has left it in an unknown state.
    pub(super) fn fail(&mut self) {
        if self.life.is_failed() {
            return;
        }
        // An ABORT tells the peer, if it can still be written.
        let sctp = &mut self.sctp;
        let written = catch_unwind(AssertUnwindSafe(|| {
            let (now, mut packet) = (now(), Vec::new());
            sctp.abort("a fault in the program has ended the association");
            sctp.poll_transmit(now, 1, &mut packet);
            packet
        }));
        // An empty set of channels: calls for the previous ones do nothing.
        self.channels = DataChannels::new(self.channels.config().clone(), self.channels.role());
        let text = "a fault in this program has ended the association: please report it, with what its log says";
        let reason = CloseReason::Transport(TransportFailure::Broken(text.to_owned()));
        let reason = self.life.fail(written.unwrap_or_default(), reason);
        self.entries.fail(&ChannelError::Association(reason));
        self.tasks.fail_receipts();
        self.has_work = true;
        self.wake_everybody();
    }
}
