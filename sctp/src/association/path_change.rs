//! Changes of the path and the end of the transport, as the layer below reports them (RFC 8261).

use rand::Rng;

use super::timer::Timer;
use super::{Association, State};
use crate::error::CloseReason;
use crate::lower_layer::{LowerLayerError, LowerLayerErrorKind};
use crate::time::Instant;
use crate::wire::{Cause, ChunkType, PacketWriter, encode_heartbeat};

impl Association {
    /// Closes the association, because nothing can be sent any more. It is a graceful shutdown if the peer closes its
    /// transport while only SHUTDOWN COMPLETE is missing (RFC 9260 §9.2). After a failure of this end an ABORT may
    /// still get through, and spares the peer its time-outs.
    pub(super) fn end_with_transport(&mut self, error: LowerLayerError) {
        if error.kind() == LowerLayerErrorKind::Failed && !self.is_over {
            self.push_abort(Cause::UserInitiatedAbort(b"the transport failed"));
        }
        self.close(match error.kind() {
            LowerLayerErrorKind::ClosedByPeer if self.state == State::ShutdownAckSent => CloseReason::Shutdown,
            _ => CloseReason::Transport(error),
        });
    }

    /// Returns `true` once after two time-outs in a row: the path to the peer may be dead, or another one (RFC 7829 §3
    /// calls it potentially failed). For a layer below that can find out.
    pub fn take_path_suspicion(&mut self) -> bool {
        self.path.take_suspicion()
    }

    /// Writes a HEARTBEAT with a random nonce. A HEARTBEAT ACK with the nonce proves that the peer receives packets
    /// where this one was sent, because nobody else can read the nonce. Like QUIC's `PATH_CHALLENGE` (RFC 9000 §8.2),
    /// with the means of RFC 9260 §5.4.
    pub(super) fn write_path_challenge(&mut self, buf: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            return false;
        }
        let nonce = self.rng.next_u64();
        self.path.on_challenge_sent(nonce);
        let mut packet = PacketWriter::begin(&self.peer_header(), self.path.mtu(), buf);
        encode_heartbeat(ChunkType::HEARTBEAT, &nonce.to_be_bytes(), packet.chunks());
        let len = Self::finish_packet(self.omits_checksum(), packet);
        self.count_sent(len);
        tracing::debug!("path challenge sent");
        true
    }

    /// Discards what was measured on the old path. A HEARTBEAT measures the new path, unless data does.
    pub(super) fn begin_anew_on_path(&mut self, now: Instant) {
        self.path = self.path.renewed(now, &self.config);
        self.sender.on_path_changed(&self.path);
        tracing::debug!(mtu = self.path.mtu(), cwnd = self.sender.cwnd(), rto = ?self.path.rto.current(), "path changed");
        if self.timers.is_armed(Timer::Heartbeat) {
            self.timers.set(Timer::Heartbeat, now);
        }
    }
}
