//! Which chunks may leave now, and writing them into a packet (RFC 9260 §6.1, §7.2; RFC 3758 §3.5).

use super::Sender;
use super::congestion::Departure;
use super::outstanding::Chunk;
use super::packet_place::PlaceInPacket;
use super::queued::{Limit, NextMessage};
use super::rate::CwndExemption;
use crate::message::AbandonReason;
use crate::path::Path;
use crate::time::{Duration, Instant};

/// Longest time for which a FORWARD-TSN waits for user data to go with: this part of the round-trip time, but no longer
/// than RFC 3758 §3.5 F3 allows.
const JOIN_WAIT_SHARE: u32 = 4;
const JOIN_WAIT_MAX: Duration = Duration::from_millis(200);

/// The room that a packet has for DATA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketRoom {
    /// Length of the buffer when the packet is full.
    pub(crate) end: usize,
    /// Length of the buffer when the packet has a size that needs no proof that the path carries it.
    pub(crate) floor_end: usize,
    /// True if nothing is in the packet yet, and no packet before it bounds its length: a chunk that was cut for larger
    /// packets than the path takes now may leave in it, alone. A fragment cannot be cut again, so the packet is
    /// fragmented by IP (RFC 9260 §6.9).
    pub(crate) may_exceed_mtu: bool,
}

impl PacketRoom {
    /// Returns the room that is left behind the written chunks. In a packet that is not empty an oversized chunk is not
    /// alone.
    fn after(self, wrote: bool) -> Self {
        Self { may_exceed_mtu: self.may_exceed_mtu && !wrote, ..self }
    }

    /// Returns the room of a packet that has to get through.
    fn within_floor(self) -> Self {
        Self { end: self.end.min(self.floor_end), ..self }
    }

    /// Returns the place of a chunk between these lengths of the buffer. `is_first`: no other is in front of it.
    fn place_of(self, start: usize, end: usize, is_first: bool) -> PlaceInPacket {
        PlaceInPacket { crosses_floor: start <= self.floor_end && end > self.floor_end, begins_packet: is_first }
    }
}

/// Data that may leave now, or the chunk that skips it.
#[derive(Clone, Copy, Debug)]
enum Sendable {
    /// A FORWARD-TSN.
    Skip,
    /// A chunk that was lost.
    Lost,
    /// A message that waits.
    New(NextMessage),
}

/// Chunks of user data that were put into a packet.
#[derive(Clone, Copy, Debug, Default)]
struct WrittenChunks {
    /// True if there are any.
    has_data: bool,
    /// True if one asks for a SACK at once (RFC 7053).
    asks_for_sack: bool,
}

impl WrittenChunks {
    fn add(&mut self, more: Self) {
        self.has_data |= more.has_data;
        self.asks_for_sack |= more.asks_for_sack;
    }
}

impl Sender {
    /// Returns the time at which a packet that only pacing or Fast Recovery delays may leave.
    pub(crate) fn paced_until(&self) -> Option<Instant> {
        self.rate.paced_until().or_else(|| self.loss.stalled_until())
    }

    /// Returns `true` if the next packet may leave although cwnd is full.
    fn has_cwnd_exemption(&self) -> bool {
        match self.rate.cwnd_exemption() {
            CwndExemption::None => false,
            CwndExemption::Retransmission => self.outstanding.has_lost(),
            CwndExemption::Any => true,
        }
    }

    fn has_cwnd(&self) -> bool {
        self.rate.has_room(self.outstanding.flight_size())
    }

    /// Returns `true` if congestion control lets a lost chunk out. While a loss is repaired cwnd may be approached from
    /// above, at the pace of proportional rate reduction.
    fn may_retransmit(&self) -> bool {
        self.has_cwnd_exemption() || self.loss.may_send(self.has_cwnd())
    }

    /// Returns `true` if congestion control lets a new chunk out (RFC 9260 §6.1 B).
    fn may_send_new(&self) -> bool {
        self.rate.cwnd_exemption() == CwndExemption::Any || self.has_cwnd() && self.loss.may_send(true)
    }

    /// Returns `true` if the peer's window lets a chunk out for a message.
    pub(super) fn has_peer_window(&self, next: &NextMessage, path: &Path) -> bool {
        self.has_peer_window_for(next.left, self.fragment_max(next.limit, path))
    }

    /// Returns `true` if the peer's window lets a chunk out for a message with `left` bytes left.
    fn has_peer_window_for(&self, left: usize, fragment_max: usize) -> bool {
        let len = self.peer_window.payload_len(left, fragment_max);
        self.peer_window.has_room(len, !self.outstanding.is_empty())
    }

    /// Returns the most bytes of a message in one chunk. What is never retransmitted is cut to the packets of now: it
    /// need not fit those of later. Not so in a packet that has to get through.
    fn fragment_max(&self, limit: Limit, path: &Path) -> usize {
        let leaves_once = matches!(limit, Limit::Retransmits(0)) && self.forward_point.can_abandon();
        if leaves_once && !self.has_cwnd_exemption() {
            self.queue.streams.format().payload_max_now(path)
        } else {
            self.payload_max(path)
        }
    }

    /// Writes what may be sent into a packet: a FORWARD-TSN, then retransmissions, then new data. Returns `true` if
    /// anything was written.
    pub(crate) fn write(&mut self, now: Instant, room: PacketRoom, path: &Path, out: &mut Vec<u8>) -> bool {
        let mut wrote = self.write_due(now, room, path, out);
        self.on_attempted(path);
        if self.loss.stalled_until().is_some_and(|at| at <= now) {
            // Writing may have abandoned messages and so made room in cwnd: no timer is to be waited for.
            wrote |= self.has_sendable(now, path) && self.write_due(now, room.after(wrote), path, out);
            self.on_attempted(path);
        }
        wrote
    }

    /// Notes what bounded the sender in an attempt to send.
    fn on_attempted(&mut self, path: &Path) {
        if self.rate.paced_until().is_none() {
            self.peer_window.on_attempted();
        }
        let has_more = self.outstanding.has_lost() || !self.queue.streams.is_empty();
        self.rate.on_attempted(self.outstanding.flight_size(), has_more, path);
        self.loss.on_attempted(self.rate.is_app_limited(), self.has_cwnd());
    }

    fn write_due(&mut self, now: Instant, room: PacketRoom, path: &Path, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if self.forward_point.is_due() && !self.is_soon_joined(now, path) {
            // Nothing would notice that it gets lost by the size of its packet.
            let room = room.within_floor().end.saturating_sub(start);
            let format = self.queue.streams.format();
            self.forward_point.write(now, room, format, &mut self.outstanding, out);
        }
        if self.outstanding.is_empty() {
            self.rate.on_nothing_outstanding(now, path);
        }
        self.rate.on_attempt();
        let Some(sendable) = self.sendable(now, path) else {
            // The chunk of the exemption has been abandoned.
            self.rate.set_cwnd_exemption(CwndExemption::None);
            return out.len() > start;
        };
        let is_exempt = self.has_cwnd_exemption();
        if self.rate.is_paced(now, is_exempt, path) {
            return out.len() > start;
        }
        // A probe, or the first retransmission, is not to get lost by its size.
        let room = if is_exempt { room.within_floor() } else { room };
        let (first, flight_before) = (self.loss.rack.next_transmission(), self.outstanding.flight_size());
        let mut written = self.write_lost(now, room.after(out.len() > start), path, out);
        // A packet with a retransmission takes no chunk of another stream, if the scheduler keeps streams apart.
        if !(written.has_data && self.queue.streams.is_per_packet()) {
            written.add(self.write_new(now, (room, !written.has_data), path, sendable, out));
            self.queue.streams.on_packet_end();
        }
        if written.has_data {
            let departure = Departure { first, flight_before, flight_size: self.outstanding.flight_size() };
            self.rate.on_packet_sent(now, out.len() - start, departure);
            self.loss.on_packet_sent(first, written.asks_for_sack);
            self.check_refused();
        }
        out.len() > start
    }

    /// Returns true if a FORWARD-TSN that is due leaves with the next paced packet of user data (RFC 3758 §3.5 F2):
    /// beside the pace it would meet a queue that the user data keeps full, and be lost.
    fn is_soon_joined(&mut self, now: Instant, path: &Path) -> bool {
        let is_paced = self.sendable_data(now, path).is_some() && {
            let is_exempt = self.has_cwnd_exemption();
            self.rate.is_paced(now, is_exempt, path)
        };
        let wait = (path.rto.srtt().unwrap_or_default() / JOIN_WAIT_SHARE).min(JOIN_WAIT_MAX);
        is_paced && self.rate.paced_until().is_some_and(|at| at <= now + wait)
    }

    /// Writes retransmissions in TSN order, within the congestion window but for one packet when a loss is found (RFC
    /// 9260 §7.2.4 step 3).
    fn write_lost(&mut self, now: Instant, room: PacketRoom, path: &Path, out: &mut Vec<u8>) -> WrittenChunks {
        let mut written = WrittenChunks::default();
        let mut only = None;
        while let Some(tsn) = self.outstanding.first_lost() {
            if !self.may_retransmit() {
                break;
            }
            let Some(chunk) = self.outstanding.chunk(tsn) else { break };
            let message = chunk.message;
            if only.is_some_and(|stream| stream != message.stream) {
                break;
            }
            // Its time may have run out since it was lost; or it was reported as received, for which its last
            // retransmission was enough, and is not any more.
            // Or the path has shrunk since it was cut, and its stream is reset: it was to go once more, and cannot.
            let is_too_large = chunk.wire_len() > path.pmdcs()
                && matches!(message.limit, Limit::Retransmits(_))
                && self.forward_point.can_abandon();
            if is_too_large || self.must_abandon(now, chunk) {
                self.abandon(now, tsn, message.into(), message.limit.into());
                continue;
            }
            let (len, wire_len) = (chunk.payload.len(), chunk.wire_len());
            let is_alone = wire_len > path.pmdcs() && room.after(written.has_data).may_exceed_mtu;
            if out.len() + wire_len > room.end && !is_alone {
                break;
            }
            let start = out.len();
            chunk.encode(tsn, out);
            written.asks_for_sack |= message.immediate;
            let transmission = self.loss.on_sent(now, tsn, wire_len, true);
            let place = room.place_of(start, out.len(), !written.has_data);
            self.outstanding.on_retransmitted(now, tsn, transmission, place);
            self.peer_window.on_retransmitted(tsn, len);
            self.counters.retransmitted += 1;
            only = self.queue.streams.is_per_packet().then_some(message.stream);
            if tsn == self.outstanding.cumulative_tsn_ack_point().next() {
                self.loss.restart_t3();
            }
            written.has_data = true;
        }
        written
    }

    /// Writes new data. `sendable` is what was found before: the first message need not be looked for again. The packet
    /// comes with `true` if no data is in it yet.
    fn write_new(
        &mut self,
        now: Instant,
        (packet, is_first): (PacketRoom, bool),
        path: &Path,
        sendable: Sendable,
        out: &mut Vec<u8>,
    ) -> WrittenChunks {
        let (mut written, format) = (WrittenChunks::default(), self.queue.streams.format());
        let mut first = if let Sendable::New(next) = sendable { Some(next) } else { None };
        // Lost chunks go first: new data would only lengthen the recovery.
        while !self.outstanding.has_lost() {
            // A packet without room for a byte more needs no look at the queues.
            let room = packet.end.saturating_sub(out.len() + format.header_len()) & !3;
            if room == 0 || !self.may_send_new() {
                break;
            }
            let Some(next) = first.take().or_else(|| self.peek(now, path)) else { break };
            let fragment_max = self.fragment_max(next.limit, path);
            let has_window = self.has_peer_window_for(next.left, fragment_max);
            // A message that was begun in time is finished (RFC 9260 §11.1.5): on a slow link each would otherwise be
            // begun at the end of its lifetime, and none would arrive whole. It waits for no more than a round trip,
            // though.
            let is_over = next.is_begun && next.limit.is_expired(now);
            if is_over && !self.is_soon_sent(next, path) && self.forward_point.can_abandon() {
                self.abandon(now, next.last_tsn, next.into(), AbandonReason::Lifetime);
                continue;
            }
            if !has_window {
                break;
            }
            let payload_max = self.peer_window.payload_len(usize::MAX, fragment_max);
            let tsn = self.outstanding.next_tsn();
            let Some(fragment) = self.queue.cut(tsn, room.min(payload_max), payload_max) else { break };
            if fragment.place.ending {
                self.queue.notices.on_sent(fragment.message.key, tsn);
            }
            let payload = fragment.payload.len();
            self.peer_window.on_new_sent(tsn, payload);
            let transmission = self.loss.on_sent(now, tsn, format.encoded_len(payload), false);
            let asks_for_sack = self.is_probe_or_end_of_burst();
            // The chunk is built in its place: a reference to it before would have it copied.
            let chunk = Chunk::new(now, tsn, fragment, format, transmission);
            let Some(chunk) = self.outstanding.push(chunk) else { break };
            let start = out.len();
            chunk.message.immediate |= asks_for_sack;
            written.asks_for_sack |= chunk.message.immediate;
            chunk.encode(tsn, out);
            chunk.packet_place = packet.place_of(start, out.len(), is_first && !written.has_data);
            self.counters.chunks += 1;
            written.has_data = true;
        }
        written
    }

    /// Returns `true` if the new chunk that is written last should ask for a SACK at once (RFC 7053): a probe, whose
    /// answer is waited for, and the end of a burst. The peer would delay the SACK of an odd last packet, and the delay
    /// would be added to the wait for a loss. A packet that leaves alone does not ask, so that its SACK can travel with
    /// an answer of the application.
    fn is_probe_or_end_of_burst(&self) -> bool {
        let is_burst = !self.rate.is_app_limited();
        self.rate.cwnd_exemption() == CwndExemption::Any || is_burst && self.queue.streams.is_empty()
    }

    /// Returns `true` if [`write`](Self::write) would put something into an empty packet.
    pub(crate) fn has_sendable(&mut self, now: Instant, path: &Path) -> bool {
        self.sendable(now, path).is_some()
    }

    /// Returns what [`write`](Self::write) would put into an empty packet.
    fn sendable(&mut self, now: Instant, path: &Path) -> Option<Sendable> {
        if self.forward_point.is_due() {
            return Some(Sendable::Skip);
        }
        self.sendable_data(now, path)
    }

    /// Returns the chunk of user data that [`write`](Self::write) would put into an empty packet.
    fn sendable_data(&mut self, now: Instant, path: &Path) -> Option<Sendable> {
        if self.loss.is_in_recovery() && self.has_cwnd() {
            self.loss.relieve_stall(now);
        }
        if self.outstanding.has_lost() {
            return self.may_retransmit().then_some(Sendable::Lost);
        }
        if !self.may_send_new() {
            return None;
        }
        self.peek(now, path).filter(|next| self.has_peer_window(next, path)).map(Sendable::New)
    }

    /// Returns the time at which the next window probe is due. `None` if no probe is needed, or if one is due or in
    /// flight already.
    #[inline]
    pub(crate) fn window_probe_at(&mut self, now: Instant, path: &Path) -> Option<Instant> {
        if !self.outstanding.is_empty() || self.queue.streams.is_empty() {
            return None;
        }
        self.next_window_probe(now, path)
    }

    fn next_window_probe(&mut self, now: Instant, path: &Path) -> Option<Instant> {
        let at = self.peer_window.probe_at(now, &path.rto)?;
        let next = self.peek(now, path)?;
        (!self.has_peer_window(&next, path)).then_some(at)
    }

    pub(crate) fn on_window_probe_timeout(&mut self, path: &Path) {
        tracing::debug!(peer_rwnd = self.peer_rwnd(), "window probe");
        self.peer_window.on_probe_timeout(&path.rto);
    }

    /// Returns `true` if what is in flight is only a window probe (RFC 9260 §6.1 A).
    pub(crate) fn is_probing_window(&self) -> bool {
        self.peer_window.is_probing(self.outstanding.chunks_in_flight())
    }
}
