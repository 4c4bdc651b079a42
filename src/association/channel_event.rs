//! Events of a channel.

use crate::error::ChannelError;

/// An event of a channel, with W3C's names and in its order: `open`, any number of `bufferedamountlow`, `closing`,
/// `error`, `close`. [`recv`](crate::DataChannel::recv) returns the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// The channel is open.
    Open,
    /// The buffered amount fell to the threshold or below, having been above it.
    BufferedAmountLow,
    /// The peer closes the channel. Not reported after a local close.
    Closing,
    /// The channel failed. [`Close`](Self::Close) follows.
    Error(ChannelError),
    /// The channel is closed. The last event.
    Close,
}
