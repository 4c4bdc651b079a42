//! Messages that wait, and the pieces that they are cut into.

use bytes::Bytes;

use super::charge::{CHUNK_OVERHEAD, chunks};
use super::priorities::PrioritizedMessage;
use crate::message::{Ppid, StreamId};
use crate::serial::{Fsn, MessageKey, Mid, UnwrappedTsn};
use crate::time::Instant;

/// Limit after which a message is abandoned (RFC 3758 §4.1, RFC 7496 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    Retransmits(u32),
    Until(Instant),
    /// The same as [`Retransmits`](Self::Retransmits), after the application has discarded the message.
    Discarded(u32),
    /// Priority of a message as long as it waits; larger numbers are lower.
    Priority(u32),
}

impl Limit {
    /// Returns true after the end of the message's lifetime. A message with a lifetime of zero leaves at once or never.
    pub(crate) fn is_expired(self, now: Instant) -> bool {
        matches!(self, Self::Until(deadline) if deadline < now)
    }
}

/// Properties that all fragments of a message share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader {
    pub(crate) key: MessageKey,
    pub(crate) stream: StreamId,
    /// Place among the messages of the stream, of which ordered and unordered ones are counted apart (RFC 8260 §2.1).
    /// DATA carries the low 16 bits of an ordered message's number as SSN. Counts from the first fragment on.
    pub(crate) mid: Mid,
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    /// True if the message asks for a SACK at once (RFC 7053). Of its fragments only the last one does.
    pub(crate) immediate: bool,
    pub(crate) limit: Limit,
    /// Bytes in the whole message.
    pub(crate) len: usize,
}

/// A message that waits: the one whose turn it is, or one that was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextMessage {
    pub(crate) stream: StreamId,
    pub(crate) key: MessageKey,
    pub(crate) limit: Limit,
    /// Bytes that have not been cut.
    pub(crate) left: usize,
    /// True if some fragments have been sent.
    pub(crate) is_begun: bool,
    /// TSN of the last fragment that was sent; [`UnwrappedTsn::BEFORE_ALL`] if none was.
    pub(crate) last_tsn: UnwrappedTsn,
}

/// Place of a piece in its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FragmentPlace {
    /// Number of the pieces before it, which I-DATA carries.
    pub(crate) fsn: Fsn,
    pub(crate) beginning: bool,
    pub(crate) ending: bool,
}

/// A piece of a message, about to get a TSN.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) message: MessageHeader,
    pub(crate) payload: Bytes,
    pub(crate) place: FragmentPlace,
    /// TSN of the fragment before it; [`UnwrappedTsn::BEFORE_ALL`] if it is the first.
    pub(crate) previous_tsn: UnwrappedTsn,
}

#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) header: MessageHeader,
    /// The bytes that have not been cut yet.
    pub(super) rest: Bytes,
    pub(super) next_fsn: Fsn,
    /// Time of its acceptance.
    pub(super) queued_at: Instant,
    /// True if the policy of its stream does not apply.
    pub(super) is_exempt: bool,
}

impl QueuedMessage {
    /// Describes a message of the Priority Policy that was not begun.
    pub(super) fn prioritized(&self) -> Option<PrioritizedMessage> {
        match self.header {
            MessageHeader { limit: Limit::Priority(priority), stream, key, len, .. } if !self.is_begun() => {
                Some(PrioritizedMessage { stream, priority, key, len })
            }
            _ => None,
        }
    }

    pub(super) fn is_begun(&self) -> bool {
        self.rest.len() < self.header.len
    }

    /// Describes the message, which is the first of its stream. `stream_last_tsn` is the TSN that was sent last on the
    /// stream.
    pub(super) fn as_next(&self, stream_last_tsn: UnwrappedTsn) -> NextMessage {
        let MessageHeader { stream, key, limit, .. } = self.header;
        let (left, is_begun) = (self.rest.len(), self.is_begun());
        // A stream has one message at most that was begun, so the last TSN is that of its last fragment.
        let last_tsn = if is_begun { stream_last_tsn } else { UnwrappedTsn::BEFORE_ALL };
        NextMessage { stream, key, limit, left, is_begun, last_tsn }
    }

    /// Returns the bytes that the send buffer counts for the message.
    pub(super) fn charge(&self, chunk_max: usize) -> usize {
        charge(self.rest.len(), chunk_max)
    }
}

/// Returns the number of bytes that the send buffer counts for that many bytes of a message in a queue.
pub(super) fn charge(bytes: usize, chunk_max: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + chunks(bytes, chunk_max) * CHUNK_OVERHEAD }
}

/// Returns the part of that charge that a piece of `len` bytes takes along, which is cut off the rest.
pub(super) fn charge_of_piece(rest: usize, len: usize, chunk_max: usize) -> usize {
    if len == chunk_max && rest - len > chunk_max {
        // Most pieces; a division is saved for each.
        return len + CHUNK_OVERHEAD;
    }
    charge(rest, chunk_max) - charge(rest - len, chunk_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_the_whole_charge_of_a_message_along() {
        for len in 1..4_100 {
            for piece in [1_000, 999, 200, 1_400] {
                let (mut rest, mut charged) = (len, charge(len, 1_000));
                while rest > 0 {
                    let cut = piece.min(rest);
                    charged -= charge_of_piece(rest, cut, 1_000);
                    rest -= cut;
                    assert_eq!(charged, charge(rest, 1_000), "{rest} of {len} bytes are left");
                }
            }
        }
    }
}
