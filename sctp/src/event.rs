//! Events that an association reports to its owner.

use crate::error::CloseReason;
use crate::message::{AbandonReason, ReceivedMessage, StreamId};
use crate::serial::MessageKey;
use crate::wire::ResetResult;

/// Streams that a reset names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Every stream: an empty list on the wire (RFC 6525 §4.1).
    All,
    /// These.
    List(Vec<StreamId>),
}

impl Streams {
    /// Returns `true` if the stream is one of these.
    #[must_use]
    pub fn contains(&self, stream: StreamId) -> bool {
        match self {
            Self::All => true,
            Self::List(list) => list.contains(&stream),
        }
    }
}

/// Names a message that was sent with a receipt. No other message of its association ever has the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReceiptId(pub(crate) MessageKey);

/// Progress of a message that was sent with a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiptStatus {
    /// It waits: some of it was not sent.
    Queued,
    /// All of it was sent at least once.
    Sent,
    /// The peer has acknowledged all of it, and everything that was sent before it and was not abandoned: the
    /// Cumulative TSN Ack has passed it (RFC 9260 §6.2.1). It is in the peer's memory; its application may not have
    /// read it. Final.
    Acknowledged,
    /// It was abandoned. If all of it was [`Sent`](Self::Sent), the peer may have received it all the same. Final.
    Abandoned(AbandonReason),
}

impl ReceiptStatus {
    /// Returns `true` if the status does not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Abandoned(_))
    }
}

/// A request that a peer may refuse (RFC 6525 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamRequest {
    /// The peer was asked to reset its outgoing streams.
    IncomingReset,
    /// This end wanted to send on more streams.
    AddOutgoing,
    /// The peer was asked to send on more streams.
    AddIncoming,
}

/// Events of an association, in order. [`Closed`](Self::Closed) is the last event, and comes exactly once.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum AssociationEvent {
    /// The handshake is done; comes once. Messages may have been sent and queued before.
    Connected,
    /// The peer lost its state and made a new handshake (RFC 9260 §5.2.4 A). Everything that belonged to the old
    /// association is gone: unsent and unacknowledged messages, partly received ones, stream numbering, resets under
    /// way.
    Restarted,
    /// A whole message. Unpolled messages keep the receive window smaller; so do unreleased credits.
    Message(ReceivedMessage),
    /// The peer has reset its outgoing side of these streams: all that it sent on them before came in earlier events,
    /// and the next message on them belongs to a new use of the id (RFC 6525 §5.2.2).
    IncomingStreamsReset(Streams),
    /// The peer has performed a reset of this stream that was asked for with `reset_streams`: the id starts again at
    /// SSN 0. A reset ends in this event or with the association.
    OutgoingStreamReset(StreamId),
    /// The peer has granted that many more streams to send on, which `add_streams` or the peer itself had asked for.
    OutgoingStreamsAdded(u16),
    /// The peer sends on that many more streams from now on (RFC 6525 §5.2.5).
    IncomingStreamsAdded(u16),
    /// The peer has refused a request of `add_streams` or `request_incoming_reset`. Nothing has changed.
    RequestRefused {
        /// The request.
        request: StreamRequest,
        /// The peer's answer.
        result: ResetResult,
    },
    /// The peer says that it has no use for what was sent on this stream: an ERROR with the cause Invalid Stream
    /// Identifier (RFC 9260 §3.3.10.1). It is sent once, so it may be lost.
    InvalidStream(StreamId),
    /// The buffered amount of the stream fell to its threshold or below, having been above it.
    BufferedAmountLow(StreamId),
    /// `send` said that the buffer was full, and has room again.
    Writable,
    /// Messages were abandoned (RFC 3758 §3.5): one, or several of the same kind if many events wait.
    Abandoned {
        /// Their stream.
        stream: StreamId,
        /// Number of messages.
        messages: u64,
        /// Bytes in these messages, whatever was sent of them.
        bytes: usize,
        /// Rule that they fell under.
        reason: AbandonReason,
        /// True if no byte of them was sent.
        unsent: bool,
    },
    /// Progress of a message that was sent with
    /// [`send_with_receipt`](crate::Association::send_with_receipt): [`ReceiptStatus::Sent`] unless it is abandoned
    /// before, then exactly one final status.
    Receipt {
        /// The name that `send_with_receipt` returned.
        id: ReceiptId,
        /// The new status.
        status: ReceiptStatus,
    },
    /// The end, and why.
    Closed(CloseReason),
}
