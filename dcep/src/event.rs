//! What the data channels tell the application.

use narrowboat_sctp::CloseReason;

use crate::error::ChannelError;

/// Names a channel within its association; never used again, whatever happens to its stream id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// What happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ChannelsEvent {
    /// The association is up.
    Connected,
    /// The peer opened a channel; it is open. Comes before its first message.
    Incoming(ChannelId),
    /// A channel made here is open (W3C "open"). Comes at most once, and not for a channel that was closed before.
    Open(ChannelId),
    /// `recv` has something, after having had nothing. Comes again only after `recv` has returned `None` or the last
    /// message. Comes also when the peer closes a channel that is closing here and has nothing: a reader that waits for a message then
    /// learns from [`receive_end`](crate::DataChannels::receive_end) that none comes.
    Readable(ChannelId),
    /// `send` said that the buffer was full, and may now go through. Comes once for each channel that was refused.
    Writable(ChannelId),
    /// The buffered amount fell to the threshold or below, having been above it.
    BufferedAmountLow(ChannelId),
    /// The channel is closing, and not because of `close`: the peer closed it, or broke a rule (W3C "closing").
    Closing(ChannelId),
    /// The last event of a channel, exactly once; with an error if it did not end by the closing procedure, or not all
    /// that was accepted was sent. Messages that came before are still there to `recv`.
    Closed(ChannelId, Option<ChannelError>),
    /// The peer lost its state and made a new handshake. Every channel has just been closed with
    /// [`ChannelError::PeerRestarted`]; new ones can be opened.
    Restarted,
    /// The association ended. Last event of all, exactly once.
    AssociationClosed(CloseReason),
}
