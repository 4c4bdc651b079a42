//! Failure of an association: after a panic its SCTP association is not called any more, because each call could panic
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::{DataChannels, Role};
use narrowboat_sctp::{Transmit, TransportFailure};

use super::channel_entry::EventKind;
use super::inner::Inner;
use super::shared::now;
use crate::error::{ChannelError, CloseReason};

impl Inner {
    /// Ends the association because its transport has failed.
    pub(crate) fn on_transport_failed(&mut self, failure: TransportFailure) {
        if !self.is_failed {
            self.sctp.transport_failed(failure);
            self.has_work = true;
        }
    }

    /// Ends the association after a panic that has left it in an unknown state.
    pub(super) fn fail(&mut self) {
        if self.is_failed {
            return;
        }
        (self.is_failed, self.is_ending, self.has_work) = (true, true, true);
        // An ABORT tells the peer, if it can still be written.
        let sctp = &mut self.sctp;
        let written = catch_unwind(AssertUnwindSafe(|| {
            let (now, mut packet) = (now(), Vec::new());
            sctp.abort("a fault in the program has ended the association");
            sctp.poll_transmit(now, 1, &mut packet);
            packet
        }));
        self.last_packet = written.unwrap_or_default();
        // An empty set of channels: calls for the previous ones do nothing.
        self.channels = DataChannels::new(self.channels.config().clone(), self.channels.role());
        let text = "a fault in this program has ended the association: please report it, with what its log says";
        let reason = CloseReason::Transport(TransportFailure::Broken(text.to_owned()));
        let reason = self.closed.get_or_insert(reason).clone();
        for (id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.end.is_none()) {
            entry.end = Some(Err(ChannelError::Association(reason.clone())));
            entry.events.push(EventKind::Error);
            self.ended.push(*id);
        }
        self.channels_alive = 0;
        for id in std::mem::take(&mut self.incoming) {
            self.release_reference(id);
        }
        self.wake_everybody();
    }

    /// Handles a packet of the peer.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        if self.is_failed {
            return;
        }
        self.sctp.handle_datagram(now, packet);
        if self.has_open_role && self.sctp.state().is_up() {
            self.has_open_role = false;
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
        if !self.is_failed {
            return self.sctp.poll_transmit(now, max_datagrams, buffer);
        }
        buffer.append(&mut self.last_packet);
        (!buffer.is_empty()).then_some(Transmit::single(buffer.len()))
    }

    /// Returns the state of the association as a word.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.closed, self.is_ending, self.is_connected) {
            (Some(_), _, _) => "closed",
            (None, true, _) => "closing",
            (None, false, true) => "connected",
            (None, false, false) => "connecting",
        }
    }

    pub(crate) fn channels_alive(&self) -> usize {
        self.channels_alive
    }

    pub(super) fn is_failed(&self) -> bool {
        self.is_failed
    }
}
