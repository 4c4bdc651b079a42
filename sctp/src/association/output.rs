//! Bundling (RFC 9260 §6.10): control chunks first, then DATA.

use super::control_queue::ReconfigResponse;
use super::negotiate;
use super::tcb::Tcb;
use super::timer::Timer;
use super::{Association, State, Transmit};
use crate::recv::SackDue;
use crate::reset::{DueRequest, OtherRequest};
use crate::send::PacketRoom;
use crate::serial::{RequestSn, VerificationTag};
use crate::time::Instant;
use crate::wire::{
    CHUNK_HEADER_LEN, ChunkType, PacketHeader, PacketWriter, ReconfigWriter, Sack, Shutdown, begin_chunk,
    encode_cookie_ack, encode_cookie_echo, encode_heartbeat, encode_shutdown_ack, end_chunk, padded,
};

/// Bytes of a HEARTBEAT of this end.
pub(super) const HEARTBEAT_LEN: usize = 16;

/// Bytes of a RE-CONFIG with two responses, at most (RFC 6525 §4.4).
const RESPONSES_LEN: usize = 44;

impl Association {
    /// Appends the datagrams that are due. They are equal in length, but for the last one, so that one system call can
    /// send them.
    pub(super) fn write_datagrams(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let start = buf.len();
        if !self.control_queue.packets.is_empty() {
            if !self.can_write_data(now) {
                // Nothing that the last answer could travel with: it leaves with the others.
                self.queue_answers(now);
            }
            let segment_size = self.control_queue.packets.pop_equal(max_datagrams, buf);
            let len = buf.len() - start;
            return (len > 0).then_some(Transmit { len, segment_size });
        }
        if let Some(probe) = self.write_mtu_probe(now, buf) {
            return Some(probe);
        }
        let (mut segment_size, mut len_max, flight_before) = (0, None, self.sender.flight_size());
        for _ in 0..max_datagrams {
            if segment_size > 0 && (self.control_queue.init || self.control_queue.cookie_echo) {
                // These have a length of their own: the peer's cookie may be longer than a packet should be.
                break;
            }
            let len = self.write_packet(now, len_max, buf);
            if len == 0 {
                break;
            }
            if segment_size == 0 {
                segment_size = len;
                // Small messages rarely fill a packet to the last byte. The others are kept to the length of the first:
                // what does not fit them is first in the next batch. One that is far from full is the last.
                let mtu = self.path.mtu();
                let is_nearly_full = len > mtu / 4 * 3 && len <= mtu;
                len_max = if is_nearly_full { Some(len) } else { break };
            } else if len != segment_size {
                break;
            }
        }
        let len = buf.len() - start;
        // Control chunks keep to packets of the least size, so they are no demand for larger ones.
        if len_max.is_some() && self.sender.flight_size() > flight_before {
            self.path.discovery().on_full_packets(len);
        }
        (len > 0).then_some(Transmit { len, segment_size })
    }

    /// Writes the answers that are due into packets of their own, which wait for the next poll. Called before another
    /// datagram is taken in: its answers then displace none of these (RFC 9260 §6.2 and §6.7 want a SACK for every
    /// second packet, and for each packet while there is a gap). If too many packets wait already, the answers stay
    /// where they are and are joined by the next ones.
    pub(super) fn queue_answers(&mut self, now: Instant) {
        while self.has_answers() && self.control_queue.packets.has_room() {
            let mut packets = std::mem::take(&mut self.control_queue.packets);
            let len = packets.push_with(|buf| {
                let mut packet = PacketWriter::begin(&self.peer_header(), self.path.mtu_floor(), buf);
                self.write_control(now, false, &mut packet);
                Self::finish_packet(self.omits_checksum(), packet);
            });
            self.control_queue.packets = packets;
            if len == 0 {
                break;
            }
            self.count_sent(len);
        }
    }

    /// True if a chunk is due that waits for no other.
    fn has_answers(&self) -> bool {
        if self.is_over || self.peer_tag().is_none() {
            return false;
        }
        let is_due = |tcb: &Tcb| tcb.receiver.sack_due() == SackDue::Now || tcb.own_requests.is_due();
        self.control_queue.has_chunks() || self.tcb.as_deref().is_some_and(is_due)
    }

    pub(super) fn count_sent(&mut self, len: usize) {
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += len as u64;
    }

    /// True if DATA may leave with the next packet.
    fn can_write_data(&mut self, now: Instant) -> bool {
        self.state.can_send_data() && self.burst_left > 0 && self.sender.has_sendable(now, &self.path)
    }

    /// Returns the length of the packet written, or 0 if there was nothing to write, or nothing that fits `len_max`:
    /// the length of the packets before it, or `None` for the first of a batch.
    fn write_packet(&mut self, now: Instant, len_max: Option<usize>, buf: &mut Vec<u8>) -> usize {
        let budget = len_max.unwrap_or_else(|| self.path.mtu());
        let (mut packet, omits_checksum);
        if std::mem::take(&mut self.control_queue.init) {
            packet = PacketWriter::begin(&negotiate::header(&self.config, 0), budget, buf);
            omits_checksum = false;
            self.local_init().encode(ChunkType::INIT, &[], packet.chunks());
            self.zero_checksum.on_announced();
        } else if self.peer_tag().is_some() && !self.is_over {
            // Nothing would notice that control chunks get lost by the size of their packet.
            packet = PacketWriter::begin(&self.peer_header(), budget.min(self.path.mtu_floor()), buf);
            omits_checksum = self.omits_checksum();
            let takes_sack_along = self.takes_sack_along(now);
            self.write_control(now, takes_sack_along, &mut packet);
            packet.set_budget(budget);
            self.write_data(now, len_max.is_none(), &mut packet);
        } else {
            return 0;
        }
        let len = Self::finish_packet(omits_checksum, packet);
        if len > 0 {
            self.count_sent(len);
        }
        len
    }

    /// True if a SACK is delayed that may leave with this packet.
    fn takes_sack_along(&mut self, now: Instant) -> bool {
        let Some(tcb) = &self.tcb else { return false };
        // A reset request takes it along, too: the peer's own reset of the stream may wait for it.
        let is_request_due = tcb.own_requests.is_due();
        matches!(tcb.receiver.sack_due(), SackDue::At(_)) && (is_request_due || self.can_write_data(now))
    }

    /// Returns the header of packets that carry the peer's tag.
    pub(super) fn peer_header(&self) -> PacketHeader {
        negotiate::header(&self.config, self.peer_tag().map_or(0, VerificationTag::get))
    }

    /// Writes control chunks. Those that do not fit wait for the next packet. A SACK that may wait is written if
    /// `takes_sack_along`, because DATA follows.
    fn write_control(&mut self, now: Instant, takes_sack_along: bool, packet: &mut PacketWriter<'_>) {
        if std::mem::take(&mut self.control_queue.cookie_echo) {
            encode_cookie_echo(&self.handshake.cookie, packet.chunks());
        }
        if std::mem::take(&mut self.control_queue.cookie_ack) {
            encode_cookie_ack(packet.chunks());
        }
        // In front of an ERROR that may go with it: a peer that knows nothing of this association any more looks at the
        // first chunk to see that it has to answer (§5.2.4 A, §8.4).
        if std::mem::take(&mut self.control_queue.shutdown_ack) {
            encode_shutdown_ack(packet.chunks());
        }
        if !self.control_queue.errors.is_empty() && self.control_queue.errors.len() <= packet.room() {
            packet.chunks().append(&mut self.control_queue.errors);
            self.control_queue.errors = Vec::new();
        }
        let room = packet.room();
        if let Some(value) =
            self.control_queue.heartbeat_ack.take_if(|value| CHUNK_HEADER_LEN + padded(value.len()) <= room)
        {
            let at = begin_chunk(packet.chunks(), ChunkType::HEARTBEAT_ACK, 0);
            packet.chunks().extend_from_slice(&value);
            end_chunk(packet.chunks(), at);
        }
        let room = packet.room();
        if let Some(nonce) = self.control_queue.heartbeat.take_if(|_| HEARTBEAT_LEN <= room) {
            encode_heartbeat(ChunkType::HEARTBEAT, &nonce.to_be_bytes(), packet.chunks());
        }
        self.write_sack(takes_sack_along, packet);
        self.write_reconfig(now, packet);
        if std::mem::take(&mut self.control_queue.shutdown)
            && let Some(tcb) = &self.tcb
        {
            Shutdown { cumulative_tsn_ack: tcb.receiver.cumulative_tsn() }.encode(packet.chunks());
        }
    }

    /// Writes a SACK that is due, or one that may wait if DATA leaves anyway (RFC 9260 §6.2).
    fn write_sack(&mut self, takes_sack_along: bool, packet: &mut PacketWriter<'_>) {
        let Some(Tcb { receiver, .. }) = self.tcb.as_deref_mut() else { return };
        let is_due = match receiver.sack_due() {
            SackDue::Not => false,
            SackDue::Now => true,
            SackDue::At(_) => takes_sack_along,
        };
        let room = packet.room();
        if is_due && room >= Sack::HEADER_LEN {
            let (cumulative, a_rwnd, blocks, duplicates) = receiver.sack_parts(room);
            Sack::encode(cumulative, a_rwnd, blocks, duplicates, packet.chunks());
            receiver.on_sack_sent();
        }
    }

    fn write_reconfig(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if !self.control_queue.reconfig_responses.is_empty() && RESPONSES_LEN <= packet.room() {
            let mut writer = ReconfigWriter::begin(packet.chunks());
            for ReconfigResponse { request, result, tsns } in self.control_queue.reconfig_responses.drain(..) {
                writer.push_response(request, result, tsns);
            }
            writer.finish();
        }
        let Some(tcb) = self.tcb.as_deref_mut().filter(|tcb| tcb.own_requests.is_due()) else { return };
        let room = packet.room().saturating_sub(ReconfigWriter::outgoing_reset_len(0));
        let last_request = tcb.peer_requests.last_request();
        let last_assigned = self.sender.last_assigned_tsn();
        let due = tcb.own_requests.take_due(now, room / 2, last_assigned);
        if let Some(DueRequest::Other { number, request }) = due {
            if !write_other_request(number, request, packet) {
                return tcb.own_requests.defer();
            }
        } else if let Some(DueRequest::ResetOutgoing { number, last_tsn, streams }) = due {
            if streams.len() * 2 > room {
                // A retransmitted request that does not fit this packet is sent alone in the next one.
                tcb.own_requests.defer();
                return;
            }
            tracing::debug!(request_sn = number.0, last_tsn = last_tsn.0, ?streams, "stream reset requested");
            let mut writer = ReconfigWriter::begin(packet.chunks());
            writer.push_outgoing_reset(number, last_request, last_tsn, streams.iter().copied());
            writer.finish();
        } else {
            return;
        }
        // A retransmission before the time-out does not restart the timer.
        if !self.timers.is_armed(Timer::Reconfig) {
            self.timers.start(Timer::Reconfig, now, self.path.answer_time(now));
        }
    }

    /// Writes DATA as far as there is room. `is_first`: no packet of a batch is in front.
    fn write_data(&mut self, now: Instant, is_first: bool, packet: &mut PacketWriter<'_>) {
        if !self.state.can_send_data() || self.burst_left == 0 {
            return;
        }
        let may_exceed_mtu = is_first && packet.is_empty();
        let end = packet.room() + packet.chunks().len();
        let room = PacketRoom { end, floor_end: packet.start() + self.path.mtu_floor(), may_exceed_mtu };
        let before = self.sender.counters().chunks + self.sender.counters().retransmitted;
        let wrote = self.sender.write(now, room, &self.path, packet.chunks());
        if wrote {
            let counters = self.sender.counters();
            if counters.chunks + counters.retransmitted > before {
                self.burst_left -= 1;
                self.timers.outdate_probe();
            }
        }
        self.timers.put(Timer::Pacing, self.sender.paced_until());
        // Writing may also have given messages up, which moves resets and a shutdown on.
        self.on_send_progress(now);
        debug_assert!(self.state != State::Closed);
    }
}

/// Writes a request that resets no outgoing streams, if there is room.
fn write_other_request(number: RequestSn, request: &OtherRequest, packet: &mut PacketWriter<'_>) -> bool {
    let streams = if let OtherRequest::ResetIncoming(streams) = request { streams.len() } else { 0 };
    if ReconfigWriter::outgoing_reset_len(streams) > packet.room() {
        return false;
    }
    tracing::debug!(request_sn = number.0, ?request, "re-configuration requested");
    let mut writer = ReconfigWriter::begin(packet.chunks());
    match request {
        OtherRequest::ResetIncoming(streams) => writer.push_incoming_reset(number, streams.iter().copied()),
        OtherRequest::AddOutgoing(count) => writer.push_add_outgoing(number, *count),
        OtherRequest::AddIncoming(count) => writer.push_add_incoming(number, *count),
    }
    writer.finish();
    true
}
