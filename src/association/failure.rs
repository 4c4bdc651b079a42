//! Failure of an association: after a panic its SCTP association is not called any more, because each call could panic
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::{DataChannels, Role};
use narrowboat_sctp::{Transmit, TransportFailure};

use super::inner::Inner;
use super::shared::now;
use crate::error::{ChannelError, CloseReason};

impl Inner {
    /// Ends the association because its transport has failed.
    pub(crate) fn on_transport_failed(&mut self, failure: TransportFailure) {
        if !self.life.is_failed() {
            self.sctp.transport_failed(failure);
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
        self.has_work = true;
        self.wake_everybody();
    }

    /// Handles a packet of the peer.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        if self.life.is_failed() {
            return;
        }
        self.sctp.handle_datagram(now, packet);
        if self.setup.has_open_role && self.sctp.state().is_up() {
            self.setup.has_open_role = false;
            if self.sctp.has_lost_collision() {
                self.channels.set_role(&mut self.sctp, Role::Server);
            }
        }
    }

    /// Writes packets to be sent.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let Some(mut last_packet) = self.life.take_last_packet() else {
            return self.sctp.poll_transmit(now, max_datagrams, buffer);
        };
        buffer.append(&mut last_packet);
        (!buffer.is_empty()).then_some(Transmit::single(buffer.len()))
    }
}
