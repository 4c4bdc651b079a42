//! What is left of an association when a panic has gone through it. Its core is not called any more, for whatever it is
//! asked could panic again.

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
    /// The layer below has ended, for good.
    pub(crate) fn on_transport_failed(&mut self, failure: TransportFailure) {
        if !self.is_failed {
            self.core.transport_failed(failure);
            self.has_work = true;
        }
    }

    /// A panic has left the association in an unknown state: it ends without the help of its core, whose calls could
    /// panic again.
    pub(super) fn fail(&mut self) {
        if self.is_failed {
            return;
        }
        (self.is_failed, self.is_ending, self.has_work) = (true, true, true);
        // The peer is told, if the core can still do that.
        let core = &mut self.core;
        let written = catch_unwind(AssertUnwindSafe(|| {
            let (now, mut packet) = (now(), Vec::new());
            core.abort("a fault in the program has ended the association");
            core.poll_transmit(now, 1, &mut packet);
            packet
        }));
        self.last_packet = written.unwrap_or_default();
        // An empty set of channels: calls for those that there were do nothing.
        self.channels = DataChannels::new(self.channels.config().clone(), self.channels.role());
        let text = "a fault in this program has ended the association: please report it, with what its log says";
        let reason = CloseReason::Transport(TransportFailure::Broken(text.to_owned()));
        let reason = self.closed.get_or_insert(reason).clone();
        for (id, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.end.is_none()) {
            slot.end = Some(Err(ChannelError::Association(reason.clone())));
            slot.events.push(EventKind::Error);
            self.ended.push(*id);
        }
        self.channels_alive = 0;
        for id in std::mem::take(&mut self.incoming) {
            self.release_reference(id);
        }
        self.wake_everybody();
    }

    /// Takes in a packet of the peer.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        if self.is_failed {
            return;
        }
        self.core.handle_datagram(now, packet);
        if self.has_open_role && self.core.state().is_up() {
            self.has_open_role = false;
            if self.core.has_lost_collision() {
                self.channels.set_role(&mut self.core, Role::Server);
            }
        }
    }

    /// Writes what is to be sent.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if !self.is_failed {
            return self.core.poll_transmit(now, max_datagrams, buffer);
        }
        buffer.append(&mut self.last_packet);
        (!buffer.is_empty()).then_some(Transmit::single(buffer.len()))
    }

    /// Where the association is in its life, in a word.
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
