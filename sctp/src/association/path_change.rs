//! What the layer below reports, if it has a life of its own (RFC 8261).

use rand::Rng;

use super::timer::Timer;
use super::{Association, State};
use crate::error::{CloseReason, TransportFailure};
use crate::path::Path;
use crate::time::Instant;
use crate::wire::{Cause, ChunkType, PacketWriter, encode_heartbeat};

impl Association {
    /// Nothing can be sent any more. A peer that closes its transport while it waits for nothing but SHUTDOWN COMPLETE
    /// has had all that it wanted (RFC 9260 §9.2).
    /// After a failure of this end an ABORT may still get through, and spares the peer its time-outs.
    pub(super) fn end_with_transport(&mut self, failure: TransportFailure) {
        if matches!(failure, TransportFailure::Broken(_)) && !self.is_over {
            self.push_abort(Cause::UserInitiatedAbort(b"the transport failed"));
        }
        self.close(match failure {
            TransportFailure::ClosedByPeer if self.state == State::ShutdownAckSent => CloseReason::Shutdown,
            failure => CloseReason::Transport(failure),
        });
    }

    /// Returns `true` once after two time-outs in a row: the path to the peer may be dead, or another one (RFC 7829 §3 calls
    /// it potentially failed). For a layer below that can find out.
    pub fn take_path_suspicion(&mut self) -> bool {
        self.path.take_suspicion()
    }

    /// Whoever answers with the nonce receives where this packet was sent, and is the peer: nobody else can read it. As
    /// QUIC's PATH_CHALLENGE (RFC 9000 §8.2), with the means of RFC 9260 §5.4.
    pub(super) fn write_probe(&mut self, buf: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            return false;
        }
        let nonce = self.rng.next_u64();
        self.path.on_challenge_sent(nonce);
        let mut packet = PacketWriter::begin(&self.peer_header(), self.path.mtu(), buf);
        encode_heartbeat(ChunkType::HEARTBEAT, &nonce.to_be_bytes(), packet.chunks());
        let len = packet.finish();
        self.count_sent(len);
        true
    }

    /// What was measured is of no use on another path. A HEARTBEAT measures the new one, unless data does.
    pub(super) fn begin_anew_on_path(&mut self, now: Instant) {
        self.path = Path::new(&self.config);
        self.sender.on_path_changed(&self.path);
        if self.timers.is_armed(Timer::Heartbeat) {
            self.timers.set(Timer::Heartbeat, now);
        }
    }

    /// The path takes packets of up to `mtu` bytes from now on, at least 576 and at most 65,487: messages are cut for that size.
    /// Round-trip time and congestion window stay. A chunk that was cut for larger packets cannot be cut again (RFC 9260 §6.9);
    /// if it is retransmitted, it leaves alone, in a packet above `mtu`.
    pub fn set_path_mtu(&mut self, mtu: usize) {
        self.path.set_mtu(mtu);
        self.sender.on_mtu_changed(&self.path);
        self.conclude();
    }
}
