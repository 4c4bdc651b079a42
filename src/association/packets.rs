//! Packets between an SCTP association and its transport. All packets of the association pass here as they are on the
//! wire of SCTP: over plain UDP they are the datagrams, over DTLS they are the contents of records.

use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::Role;
use narrowboat_sctp::Transmit;

use super::inner::Inner;

impl Inner {
    /// Handles a packet of the peer. Every incoming packet passes here.
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

    /// Writes packets to be sent, up to `max_datagrams` of one size. Every outgoing packet passes here, but for those
    /// of [`validate_path`](Self::validate_path).
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

    /// Writes the packet that asks the peer whether it receives at the address that it has nominated. The packet goes
    /// to that address alone.
    pub(super) fn validate_path(&mut self, packet: &mut Vec<u8>) {
        self.sctp.validate_path(packet);
    }
}
