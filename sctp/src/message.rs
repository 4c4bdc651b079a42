//! User messages, sent and received.

use crate::time::Duration;
use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Stream Identifier: the number of a stream within an association (RFC 9260 §3.3.1). Each direction has streams of its
/// own; a data channel uses the same number in both (RFC 8831 §6.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The greatest Stream Identifier. No association has this stream, because it has 65,535 at most.
    pub const MAX: Self = Self(u16::MAX);

    /// Returns `true` if this is one of the first `streams` streams: their ids begin at 0.
    #[must_use]
    pub const fn is_below(self, streams: u16) -> bool {
        self.0 < streams
    }
}

impl From<u16> for StreamId {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Payload Protocol Identifier: an opaque label that travels with each message (RFC 9260 §3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ppid(pub u32);

/// Reliability of a message (RFC 3758, RFC 7496).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reliability {
    /// Retransmitted until it is acknowledged or the association ends.
    #[default]
    Reliable,
    /// Retransmitted at most this often; 0 sends each fragment once. The last chunk of a stream may go once more if the
    /// stream is reset before it is acknowledged: it then asks for its acknowledgement, which the peer may delay (RFC
    /// 7053).
    MaxRetransmits(u32),
    /// Abandoned once this long has passed since `send`, the time in the queue included.
    MaxLifetime(Duration),
    /// Retransmitted like a reliable message once it is begun; but as long as it waits, it is abandoned if the send
    /// buffer or the stream's part of it is full and a message with a higher priority, or of another reliability, is
    /// sent (RFC 7496 §3.2). If the memory that associations share is used up, it is not. 0 is
    /// the highest priority, larger numbers are lower ones. Of the messages with the lowest priority the oldest goes
    /// first; one that was begun stays, because what was sent of it would be wasted. Needs nothing of the peer.
    Priority(u32),
}

/// Rule under which a message was abandoned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AbandonReason {
    /// Its lifetime is over, or its end cannot leave within it
    /// ([`Reliability::MaxLifetime`](crate::Reliability::MaxLifetime)).
    Lifetime,
    /// It was lost, and retransmitted as often as it may be
    /// ([`Reliability::MaxRetransmits`](crate::Reliability::MaxRetransmits)).
    Retransmits,
    /// A message with a higher priority, or of another reliability, took its place in the full send buffer
    /// ([`Reliability::Priority`](crate::Reliability::Priority)).
    Priority,
    /// It could not leave within the [`latency_budget`](crate::SendPolicy::latency_budget) of its stream.
    LatencyBudget,
    /// A newer message took its place ([`drop_oldest`](crate::SendPolicy::drop_oldest)).
    Displaced,
    /// It waited behind a backlog that the path does not take ([`SendPolicy::default`](crate::SendPolicy::default)).
    Backlog,
    /// The application discarded what its stream had not sent.
    Discarded,
    /// The association ended, or the peer restarted it. Only receipts have this reason: the end of the association is
    /// an event of its own.
    AssociationEnded,
}

impl AbandonReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::Lifetime,
        Self::Retransmits,
        Self::Priority,
        Self::LatencyBudget,
        Self::Displaced,
        Self::Backlog,
        Self::Discarded,
        Self::AssociationEnded,
    ];
}

impl fmt::Display for AbandonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lifetime => "the message was not delivered within its lifetime",
            Self::Retransmits => "the message was lost, and may not be retransmitted again",
            Self::Priority => "a message with a higher priority took the place of the message in the send buffer",
            Self::LatencyBudget => "the message could not leave within the latency budget",
            Self::Displaced => "newer messages took the place of the message in the send queue",
            Self::Backlog => "the message waited behind a backlog that the path does not take",
            Self::Discarded => "the message was discarded unsent, or its channel was closed",
            Self::AssociationEnded => "the association ended before the message was acknowledged",
        })
    }
}

impl std::error::Error for AbandonReason {}

/// Options of a message that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendOptions {
    /// Deliver on arrival, whatever the stream's order (RFC 9260 §6.6).
    pub unordered: bool,
    /// Reliability of the message. Limits of retransmissions and of time need a peer with FORWARD-TSN. With another
    /// peer the message is sent reliably; an application can detect that (RFC 8831 §6.1) by
    /// [`Association::peer_supports_partial_reliability`](crate::Association::peer_supports_partial_reliability).
    pub reliability: Reliability,
    /// Ask the peer to acknowledge at once (the I bit, RFC 7053).
    pub acknowledge_immediately: bool,
    /// Accept the message even if the send buffer or the shared memory is used up. It is charged as any other. Meant
    /// for one or two short messages of a stream that end it, so that the end need not wait for room: the caller bounds
    /// their number.
    pub exceeds_limits: bool,
    /// Keep the message whatever the [`SendPolicy`](crate::SendPolicy) of its stream says: for messages of a protocol
    /// above, without which those of the application mean nothing.
    pub ignores_policy: bool,
}

/// The bytes of a received message: the fragments as they came, not copied together.
///
/// Reads as a [`Buf`]; [`into_bytes`](Self::into_bytes) makes it contiguous, which copies only if there is more than
/// one fragment.
#[derive(Clone, Debug)]
pub struct Payload(Pieces);

/// One piece or many. Most messages that wait in great numbers are of one, and need no list.
#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Many(Box<PieceList>),
}

/// Pieces that follow each other, and the number of their bytes.
#[derive(Clone, Debug)]
struct PieceList {
    list: VecDeque<Bytes>,
    len: usize,
}

impl Payload {
    /// Creates a payload of these fragments, in this order.
    #[must_use]
    pub fn from_fragments(mut fragments: VecDeque<Bytes>) -> Self {
        if fragments.len() <= 1 {
            return Self::from(fragments.pop_front().unwrap_or_default());
        }
        let len = fragments.iter().map(Bytes::len).sum();
        Self(Pieces::Many(Box::new(PieceList { list: fragments, len })))
    }

    /// Returns the number of bytes left to read.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Pieces::One(bytes) => bytes.len(),
            Pieces::Many(pieces) => pieces.len,
        }
    }

    /// Returns `true` if no byte is left to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes in one piece.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let PieceList { mut list, len } = match self.0 {
            Pieces::One(bytes) => return bytes,
            Pieces::Many(pieces) => *pieces,
        };
        if list.len() == 1 {
            return list.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(len);
        for fragment in list {
            whole.extend_from_slice(&fragment);
        }
        whole.freeze()
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(Pieces::One(bytes))
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        match &self.0 {
            Pieces::One(bytes) => bytes,
            Pieces::Many(pieces) => pieces.list.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece),
        }
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "cannot advance past the end of the payload");
        let pieces = match &mut self.0 {
            Pieces::One(bytes) => return bytes.advance(count),
            Pieces::Many(pieces) => pieces,
        };
        pieces.len -= count;
        while let Some(first) = pieces.list.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            pieces.list.pop_front();
        }
    }
}

/// Room in the receive window that an unread message occupies.
///
/// The owner of an association hands the credit of each message back with
/// [`Association::release`](crate::Association::release) once the application has read it. Until then the window is
/// that much smaller, so a reader that stops closes the window instead of growing memory. A credit that is dropped
/// shrinks the window for the rest of the association's life.
#[must_use = "hand the credit back with `Association::release`, or the receive window stays smaller for good"]
#[derive(Debug, PartialEq, Eq)]
pub struct Credit {
    pub(crate) payload: u32,
    pub(crate) overhead: u32,
}

impl Credit {
    /// Returns the number of bytes of the window that this credit stands for: the payload, and the memory that it takes
    /// to keep it.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.payload.saturating_add(self.overhead)
    }

    /// Joins another credit of the same association to this one.
    #[expect(clippy::needless_pass_by_value, reason = "the other credit is used up")]
    pub fn merge(&mut self, other: Self) {
        self.payload = self.payload.saturating_add(other.payload);
        self.overhead = self.overhead.saturating_add(other.overhead);
    }
}

/// A whole message from the peer.
#[derive(Debug)]
pub struct ReceivedMessage {
    /// Stream of the message.
    pub stream: StreamId,
    /// Payload Protocol Identifier that the peer gave the message.
    pub ppid: Ppid,
    /// True if the message was sent unordered.
    pub unordered: bool,
    /// Bytes of the message.
    pub payload: Payload,
    /// Room that the message occupies in the receive window.
    pub credit: Credit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_the_same_in_pieces_and_whole() {
        let pieces = [&b"ab"[..], b"", b"cde", b"f"].map(Bytes::from_static);
        let payload = Payload::from_fragments(pieces.into_iter().collect());
        assert_eq!(payload.len(), 6);
        assert_eq!(payload.clone().into_bytes(), Bytes::from_static(b"abcdef"));
        for step in 1..=6 {
            let (mut rest, mut read) = (payload.clone(), Vec::new());
            while rest.has_remaining() {
                let n = step.min(rest.remaining());
                let mut out = vec![0; n];
                rest.copy_to_slice(&mut out);
                read.extend(out);
            }
            assert_eq!(read, b"abcdef", "in steps of {step}");
        }
    }
}
