//! What may leave now, and writing it into a packet (RFC 9260 §6.1, §7.2; RFC 3758 §3.5).

use std::time::Instant;

use super::congestion::CwndUsage;
use super::pacer::PacingRate;
use super::recovery::Recovery;
use super::{CwndExemption, Sender};
use crate::path::Rto;
use crate::wire::{DataChunk, PACKET_HEADER_LEN};

impl Sender {
    /// When there will be something to send that waits for its time only.
    pub(crate) fn paced_until(&self) -> Option<Instant> {
        self.paced_until.or(self.stalled_until)
    }

    /// Whether a packet has to wait for its time.
    fn is_paced(&mut self, now: Instant, rto: &Rto) -> bool {
        let (cwnd, is_slow_start) = (self.congestion.cwnd(), self.congestion.is_in_slow_start());
        let rate = rto.srtt().map(|srtt| PacingRate { cwnd, srtt, is_slow_start });
        self.paced_until = self.pacer.delay_until(now, rate).filter(|_| !self.has_allowance());
        self.paced_until.is_some()
    }

    /// Whether the next packet may leave whatever the congestion window.
    fn has_allowance(&self) -> bool {
        match self.cwnd_exemption {
            CwndExemption::Nothing => false,
            CwndExemption::Repetition => self.outstanding.has_lost(),
            CwndExemption::Anything => true,
        }
    }

    /// Returns true if congestion control lets a lost chunk out. While a loss is repaired the window may be approached from
    /// above, at the pace that [`Recovery`] sets.
    fn may_retransmit(&self) -> bool {
        let has_window = self.has_congestion_window();
        self.has_allowance() || self.recovery.as_ref().map_or(has_window, |recovery| recovery.may_send(has_window))
    }

    fn has_congestion_window(&self) -> bool {
        self.outstanding.flight_size() < self.congestion.cwnd()
    }

    /// Whether congestion control lets a new chunk out (RFC 9260 §6.1 B).
    fn may_send_new(&self) -> bool {
        let may_recovery_send = |recovery: &Recovery| recovery.may_send(true);
        self.cwnd_exemption == CwndExemption::Anything
            || self.has_congestion_window() && self.recovery.as_ref().is_none_or(may_recovery_send)
    }

    /// Writes what may be sent into a packet that has `room` bytes left: a FORWARD-TSN, then retransmissions, then new
    /// data. Returns whether anything was written.
    pub(crate) fn write(&mut self, now: Instant, room: usize, rto: &Rto, out: &mut Vec<u8>) -> bool {
        let end = out.len() + room;
        let mut wrote = self.write_due(now, room, rto, out);
        self.note_what_holds();
        if self.stalled_until.is_some_and(|at| at <= now) {
            // What was written has made room in the congestion window, by abandoning messages: no timer is to be waited for.
            wrote |= self.has_sendable(now) && self.write_due(now, end.saturating_sub(out.len()), rto, out);
            self.note_what_holds();
        }
        wrote
    }

    /// Notes what bounds the sender after an attempt to send.
    fn note_what_holds(&mut self) {
        if self.paced_until.is_none() {
            self.window_probe.on_tried();
        }
        let (flight_size, cwnd) = (self.outstanding.flight_size(), self.congestion.cwnd());
        let mtu = self.mtu - PACKET_HEADER_LEN;
        self.window_usage = CwndUsage::new(flight_size, cwnd, mtu, self.paced_until.is_some());
        self.is_out_of_data = !self.outstanding.has_lost() && self.queues.is_empty() && flight_size < cwnd;
        if let Some(recovery) = self.recovery.as_mut().filter(|_| self.is_out_of_data) {
            recovery.on_out_of_data();
        }
        let held = self.recovery.as_ref().filter(|_| flight_size < cwnd);
        self.stalled_until = held.and_then(Recovery::stalled_until);
    }

    fn write_due(&mut self, now: Instant, room: usize, rto: &Rto, out: &mut Vec<u8>) -> bool {
        let end = out.len() + room;
        let start = out.len();
        if self.is_forward_tsn_due {
            self.write_forward_tsn(now, room, out);
        }
        if let Some(last_sent) = self.last_sent.filter(|_| self.outstanding.is_empty()) {
            self.congestion.on_idle(last_sent, now, rto.current());
        }
        self.paced_until = None;
        if !self.has_sendable(now) {
            // What it was for has been given up.
            self.cwnd_exemption = CwndExemption::Nothing;
            return out.len() > start;
        }
        if self.is_paced(now, rto) {
            return out.len() > start;
        }
        let mut has_data = self.write_lost(now, end, out);
        has_data |= self.write_new(now, end, out);
        if has_data {
            self.pacer.on_sent(out.len() - start);
            self.cwnd_exemption = CwndExemption::Nothing;
            self.last_sent = Some(now);
            self.check_refused();
        }
        out.len() > start
    }

    /// Retransmissions leave in TSN order, within the congestion window but for one packet when a loss is found
    /// (RFC 9260 §7.2.4 step 3).
    fn write_lost(&mut self, now: Instant, end: usize, out: &mut Vec<u8>) -> bool {
        let mut wrote = false;
        while let Some(tsn) = self.outstanding.first_lost() {
            if !self.may_retransmit() {
                break;
            }
            let Some(chunk) = self.outstanding.chunk(tsn) else { break };
            let message = chunk.message;
            // Its time may have run out since it was lost; or it was reported as received, for which its last repetition
            // was enough, and is not any more.
            if self.is_over(now, chunk) {
                self.abandon(now, tsn, message.stream, message.key);
                continue;
            }
            if out.len() + chunk.wire_len() > end {
                break;
            }
            chunk.header(tsn.wrap()).encode(&chunk.payload, out);
            let (len, wire_len) = (chunk.payload.len(), chunk.wire_len());
            let transmission = self.loss.on_sent(tsn, true);
            self.outstanding.on_retransmitted(now, tsn, transmission);
            self.peer_rwnd = self.peer_rwnd.saturating_sub(len);
            if let Some(recovery) = &mut self.recovery {
                recovery.on_sent(now, wire_len);
            }
            self.counters.retransmitted += 1;
            // RFC 9260 §7.2.4 step 4: the first outstanding chunk gets the whole time-out again.
            self.restarts_t3 |= tsn == self.outstanding.cumulative_tsn_ack_point().next();
            wrote = true;
        }
        wrote
    }

    fn write_new(&mut self, now: Instant, end: usize, out: &mut Vec<u8>) -> bool {
        let mut wrote = false;
        // What is lost goes first: new data would only lengthen the repair.
        while !self.outstanding.has_lost() {
            if !self.may_send_new() {
                break;
            }
            let Some(next) = self.queues.peek(now, &mut self.notices) else { break };
            let has_window = self.has_window(self.payload_len(next.left));
            // A message that was begun in time is finished (RFC 9260 §11.1.5): on a slow link each would else be begun at the
            // end of its lifetime, and none would arrive whole. It waits for no more than a round trip, though.
            let is_soon_sent = has_window && next.left <= self.congestion.cwnd();
            if next.is_begun && !is_soon_sent && next.limit.is_expired(now) && self.can_abandon {
                let last = self.outstanding.last_assigned_tsn();
                self.abandon(now, last, next.stream, next.key);
                continue;
            }
            if !has_window {
                break;
            }
            let payload_max = self.payload_len(usize::MAX);
            let Some(room) = end.checked_sub(out.len() + DataChunk::HEADER_LEN) else { break };
            let room = (room & !3).min(payload_max);
            let tsn = self.outstanding.next_tsn();
            let Some(fragment) = self.queues.cut(tsn, room, payload_max, &mut self.notices) else { break };
            self.peer_rwnd = self.peer_rwnd.saturating_sub(fragment.payload.len());
            let transmission = self.loss.on_sent(tsn, false);
            self.outstanding.push(now, fragment, transmission);
            if let Some(chunk) = self.outstanding.chunk(tsn) {
                chunk.header(tsn.wrap()).encode(&chunk.payload, out);
                if let Some(recovery) = &mut self.recovery {
                    recovery.on_sent(now, chunk.wire_len());
                }
            }
            self.counters.chunks += 1;
            wrote = true;
        }
        wrote
    }

    /// Bytes of a message with that many left that go into one chunk: what a packet takes, and what the peer's window can
    /// ever take, which is less if its packets are smaller than ours.
    pub(super) fn payload_len(&self, left: usize) -> usize {
        left.min(self.mtu - PACKET_HEADER_LEN - DataChunk::HEADER_LEN).min(self.peer_window)
    }

    /// Returns true if the peer has room for a chunk, or if the chunk may go as the probe of a closed window. Small openings
    /// are not worth a fragment: a chunk goes whole or waits.
    pub(super) fn has_window(&self, len: usize) -> bool {
        self.peer_rwnd >= len || self.outstanding.is_empty() && self.window_probe.is_due()
    }

    /// Whether `write` would put something into an empty packet.
    pub(crate) fn has_sendable(&mut self, now: Instant) -> bool {
        if self.is_forward_tsn_due {
            return true;
        }
        if self.has_congestion_window()
            && let Some(recovery) = &mut self.recovery
        {
            recovery.relieve_stall(now, self.mtu);
        }
        if self.outstanding.has_lost() {
            return self.may_retransmit();
        }
        self.may_send_new()
            && self.queues.peek(now, &mut self.notices).is_some_and(|next| self.has_window(self.payload_len(next.left)))
    }
}
