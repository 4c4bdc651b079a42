//! Path MTU discovery (RFC 8899): probes, answers, and changes of the packet size.

use rand::Rng;

use super::{Association, State, Transmit};
use crate::lower_layer::LowerLayerLimits;
use crate::time::Instant;
use crate::wire::{ChunkType, PACKET_HEADER_LEN, PacketWriter, encode_heartbeat, encode_pad};

/// Bytes of a packet with a HEARTBEAT of this end.
const HEARTBEAT_PACKET_LEN: usize = PACKET_HEADER_LEN + super::output::HEARTBEAT_LEN;

impl Association {
    /// Tells the association the limits of the layer below it, when that is up or has changed. The search for the size
    /// of packets begins anew.
    pub fn set_lower_layer_limits(&mut self, limits: LowerLayerLimits) {
        self.path.set_limits(&self.config, limits);
        self.on_path_mtu_changed("lower layer");
        self.conclude();
    }

    /// Tells the association that the system below refused a packet of `len` bytes as too large (EMSGSIZE). It is a
    /// hint about the first hop: a probe of this size counts as lost, and larger packets than those to start with
    /// become smaller. Returns `false` if the packet was not larger than those to start with: it cannot be sent at all.
    pub fn on_packet_too_large(&mut self, now: Instant, len: usize) -> bool {
        let mtu_floor = self.path.mtu_floor();
        if self.path.discovery().on_too_large(now, len) {
            self.on_path_mtu_changed("refused by the system");
        }
        self.conclude();
        len > mtu_floor
    }

    /// Sets the largest packet that the path takes to `mtu` bytes, at least 512 and at most 65,487, and ends the search
    /// for larger ones. Messages are cut for that size. Round-trip time and congestion window stay. A chunk that was
    /// cut for larger packets cannot be cut again (RFC 9260 §6.9); if it is retransmitted, it leaves alone, in a packet
    /// above `mtu`.
    pub fn set_path_mtu(&mut self, mtu: usize) {
        self.path.set_mtu(mtu);
        self.on_path_mtu_changed("set");
        self.conclude();
    }

    /// Returns the largest packet that [`poll_transmit`](Self::poll_transmit) writes next, in bytes, but for a probe of
    /// a larger size, which is written alone.
    #[must_use]
    pub fn path_mtu(&self) -> usize {
        self.path.mtu()
    }

    /// Writes the probe that is due: a HEARTBEAT, so that it is answered, in front of a PAD chunk that fills the
    /// packet. It leaves beside data only, not when a transfer is over. Congestion control does not count it (RFC 8899
    /// §3, item 7), nor does the error counter.
    pub(super) fn write_mtu_probe(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        let has_data = self.sender.flight_size() > 0;
        if !has_data || !matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            return None;
        }
        let size = self.path.poll_mtu_probe(now)?;
        let (omits_checksum, rng) = (self.omits_checksum(), &mut self.rng);
        let nonce = self.path.on_mtu_probe_sent(now, size, || rng.next_u64());
        let mut packet = PacketWriter::begin(&self.peer_header(), size, buf);
        encode_heartbeat(ChunkType::HEARTBEAT, &nonce.to_be_bytes(), packet.chunks());
        encode_pad(size.saturating_sub(HEARTBEAT_PACKET_LEN), packet.chunks());
        let len = Self::finish_packet(omits_checksum, packet);
        self.count_sent(len);
        self.stats.mtu_probes_sent += 1;
        tracing::debug!(size, mtu = self.path.mtu(), "MTU probe sent");
        Some(Transmit::single(len))
    }

    /// Handles the answer to a probe. Returns `false` if the nonce is not that of one.
    pub(super) fn on_mtu_probe_ack(&mut self, now: Instant, nonce: u64) -> bool {
        let is_answer = self.path.discovery().on_probe_ack(now, nonce);
        if is_answer {
            self.path.on_sign_of_life(now);
            self.on_path_mtu_changed("confirmed by a probe");
        }
        is_answer
    }

    /// Lets packets fall to the base size if larger ones do not arrive any more.
    pub(super) fn check_black_hole(&mut self) {
        if self.sender.take_black_hole() && self.path.discovery().on_black_hole() {
            self.on_path_mtu_changed("black hole");
        }
    }

    /// Lets packets fall to a smaller size, as nothing arrives: the size is the reason that smaller packets can mend.
    pub(super) fn shrink_packets_on_timeout(&mut self) {
        if self.path.discovery().on_timeout() {
            self.on_path_mtu_changed("time-out");
        }
    }

    fn on_path_mtu_changed(&mut self, reason: &'static str) {
        tracing::debug!(mtu = self.path.mtu(), reason, "MTU changed");
        self.sender.on_mtu_changed(&self.path);
    }
}
