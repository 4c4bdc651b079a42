//! Events that the data channels report to the application.

use narrowboat_sctp::{AbandonReason, CloseReason, ReceiptId, ReceiptStatus};

use crate::error::ChannelError;

/// Identifies a channel within its association. It is never used again, even if the stream id is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// An event of the association or of a channel, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum ChannelsEvent {
    /// The association is established.
    Connected,
    /// The peer opened a channel; it is open. Precedes its first message.
    Incoming(ChannelId),
    /// A channel that was opened here is open (W3C "open"). Reported at most once, and not for a channel that was
    /// closed before.
    Open(ChannelId),
    /// A message has arrived where none was unread. Reported again only after `recv` has returned the last message or
    /// `None`. Reported also when the peer closes a channel that is closing here and has no unread message: a reader
    /// that waits for a message then learns from [`receive_end`](crate::DataChannels::receive_end) that none follows.
    Readable(ChannelId),
    /// A channel on which `send` returned `Full` can send again. Reported once for each such channel.
    Writable(ChannelId),
    /// The buffered amount fell to the threshold or below, having been above it.
    BufferedAmountLow(ChannelId),
    /// The channel is closing, and not because of `close`: the peer closed it or violated the protocol (W3C "closing").
    Closing(ChannelId),
    /// The last event of a channel, exactly once; with an error if the channel did not end by the closing procedure, or
    /// if not everything that was accepted was sent. `recv` still returns the messages that arrived before.
    Closed(ChannelId, Option<ChannelError>),
    /// Messages of a channel were abandoned: one, or several of the same kind if many events wait.
    Abandoned {
        /// The channel.
        channel: ChannelId,
        /// Number of messages.
        messages: u64,
        /// Bytes in these messages. An empty message counts as one byte.
        bytes: usize,
        /// Rule that they fell under.
        reason: AbandonReason,
        /// True if no byte of them was sent.
        unsent: bool,
    },
    /// Progress of a message that was sent with
    /// [`send_with_receipt`](crate::DataChannels::send_with_receipt): `Sent` unless it is abandoned before, then
    /// exactly one final status. May come after [`Closed`](Self::Closed), never after
    /// [`AssociationClosed`](Self::AssociationClosed).
    Receipt(ReceiptId, ReceiptStatus),
    /// The peer lost its state and restarted the association. Every channel has just been closed with
    /// [`ChannelError::PeerRestarted`]; new ones can be opened.
    Restarted,
    /// The association ended. Last event of all, exactly once.
    AssociationClosed(CloseReason),
}
