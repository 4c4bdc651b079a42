//! Queue of output for the next poll: packets that are written already, and control chunks for the next packet. There
//! is one slot for each kind of chunk. Repeated reasons to send the same chunk do not pile up, so the memory that a
//! peer can make an association hold is bounded by construction. Before the next datagram is processed, the slots are
//! emptied into a packet, so no answer displaces the answer to an earlier datagram.

use bytes::Bytes;

use super::packet_queue::PacketQueue;
use crate::serial::{RequestSn, Tsn};
use crate::wire::{Cause, ResetResult};

/// Bytes of error causes that wait for the next packet, at most.
const ERRORS_LEN_MAX: usize = 256;

/// Answer to a re-configuration request of the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReconfigResponse {
    pub(crate) request: RequestSn,
    pub(crate) result: ResetResult,
    /// The next TSN of this end and that of the peer, if the request was an SSN/TSN reset (RFC 6525 §5.1.7 D3, D4).
    pub(crate) tsns: Option<(Tsn, Tsn)>,
}

#[derive(Debug, Default)]
pub(crate) struct ControlQueue {
    /// Whole packets: SACKs and other answers to earlier datagrams, and what stands alone (INIT ACK, ABORT, SHUTDOWN
    /// COMPLETE, answers to packets with other tags).
    pub(super) packets: PacketQueue,
    pub(crate) init: bool,
    pub(crate) cookie_echo: bool,
    pub(crate) cookie_ack: bool,
    pub(crate) shutdown: bool,
    pub(crate) shutdown_ack: bool,
    /// Nonce of the HEARTBEAT to send.
    pub(crate) heartbeat: Option<u64>,
    /// The value of the peer's last HEARTBEAT.
    pub(crate) heartbeat_ack: Option<Bytes>,
    /// Answers to the peer's re-configuration requests; a chunk holds at most two (RFC 6525 §3.1).
    pub(crate) reconfig_responses: Vec<ReconfigResponse>,
    /// Encoded ERROR chunks.
    pub(crate) errors: Vec<u8>,
}

impl ControlQueue {
    /// True if a chunk waits that answers the peer or must be retransmitted.
    pub(crate) fn has_chunks(&self) -> bool {
        self.cookie_echo
            || self.cookie_ack
            || self.shutdown
            || self.shutdown_ack
            || self.heartbeat.is_some()
            || self.heartbeat_ack.is_some()
            || !self.reconfig_responses.is_empty()
            || !self.errors.is_empty()
    }

    /// Queues a packet that stands alone. Returns true if there was room.
    pub(crate) fn push_standalone(&mut self, packet: &[u8]) -> bool {
        let has_room = self.packets.has_room();
        if has_room {
            self.push_last(packet);
        }
        has_room
    }

    /// Queues the last packet of the association, whatever else waits.
    pub(crate) fn push_last(&mut self, packet: &[u8]) {
        self.packets.push_with(|bytes| bytes.extend_from_slice(packet));
    }

    /// Queues an ERROR. Returns whether there was room (RFC 9260 §12.4: no more than one packet).
    pub(crate) fn push_error(&mut self, cause: Cause<'_>) -> bool {
        let before = self.errors.len();
        crate::wire::encode_error(&[cause.clip(ERRORS_LEN_MAX)], &mut self.errors);
        let fits = before == 0 || self.errors.len() <= ERRORS_LEN_MAX;
        if !fits {
            self.errors.truncate(before);
        }
        fits
    }

    /// Queues an answer; an answer to the same request replaces the older one.
    pub(crate) fn push_reconfig_response(&mut self, request: RequestSn, result: ResetResult) {
        self.reconfig_responses.retain(|response| response.request != request);
        if self.reconfig_responses.len() == 2 {
            self.reconfig_responses.remove(0);
        }
        self.reconfig_responses.push(ReconfigResponse { request, result, tsns: None });
    }

    /// Adds the next TSNs of both ends to the answer that was queued last.
    pub(crate) fn add_next_tsns(&mut self, own: Tsn, other: Tsn) {
        if let Some(response) = self.reconfig_responses.last_mut() {
            response.tsns = Some((own, other));
        }
    }

    /// Forgets everything but the packets that are written.
    pub(crate) fn clear_chunks(&mut self) {
        *self = Self { packets: std::mem::take(&mut self.packets), ..Self::default() };
    }
}
