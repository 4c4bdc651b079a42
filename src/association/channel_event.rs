//! Events of a channel.

use crate::error::ChannelError;

/// An event of a channel, with W3C's names and in its order: `open`, any number of `bufferedamountlow`, `closing`,
/// `error`, `close`. [`Abandoned`](Self::Abandoned), which is ours, comes at any time before `error` and `close`, also
/// before `open` if a lifetime is shorter than the handshake. [`recv`](crate::DataChannel::recv) returns the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// The channel is open.
    Open,
    /// The buffered amount fell to the threshold or below, having been above it.
    BufferedAmountLow,
    /// Messages were abandoned since the last such event, because they waited too long or were lost and may not be
    /// retransmitted. [`stats`](crate::DataChannel::stats) tells for which reasons.
    Abandoned {
        /// Number of messages.
        messages: u64,
        /// Bytes in these messages. An empty message counts as one byte.
        bytes: u64,
    },
    /// The peer closes the channel. Not reported after a local close.
    Closing,
    /// The channel failed. [`Close`](Self::Close) follows.
    Error(ChannelError),
    /// The channel is closed. The last event.
    Close,
}
