//! Control chunks that wait for the next packet. One slot for each kind: repeated reasons to send the same thing do not
//! pile up, so what a peer can make an association hold is bounded by construction.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::serial::RequestSn;
use crate::wire::{Cause, ResetResult};

/// Packets that stand alone and wait for the next poll, at most.
const STANDALONE_MAX: usize = 4;

/// Bytes of error causes that wait for the next packet, at most.
const ERRORS_LEN_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Whole packets: INIT ACK, ABORT, SHUTDOWN COMPLETE and answers to packets with other tags.
    standalone: VecDeque<Vec<u8>>,
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
    pub(crate) reconfig_responses: Vec<(RequestSn, ResetResult)>,
    /// Encoded ERROR chunks.
    pub(crate) errors: Vec<u8>,
}

impl Outbox {
    /// Queues a packet that stands alone. Returns whether there was room.
    pub(crate) fn push_standalone(&mut self, packet: Vec<u8>) -> bool {
        let has_room = self.standalone.len() < STANDALONE_MAX;
        if has_room {
            self.standalone.push_back(packet);
        }
        has_room
    }

    /// Queues a last word, which goes out whatever else waits.
    pub(crate) fn push_last(&mut self, packet: Vec<u8>) {
        self.standalone.clear();
        self.standalone.push_back(packet);
    }

    /// Whether a packet waits that stands alone.
    pub(crate) fn has_standalone(&self) -> bool {
        self.init || !self.standalone.is_empty()
    }

    pub(crate) fn pop_standalone(&mut self) -> Option<Vec<u8>> {
        self.standalone.pop_front()
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
        self.reconfig_responses.retain(|response| response.0 != request);
        if self.reconfig_responses.len() == 2 {
            self.reconfig_responses.remove(0);
        }
        self.reconfig_responses.push((request, result));
    }

    /// Forgets everything but the packets that stand alone.
    pub(crate) fn clear_chunks(&mut self) {
        *self = Self { standalone: std::mem::take(&mut self.standalone), ..Self::default() };
    }
}
