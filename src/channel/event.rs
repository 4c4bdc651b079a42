//! Events of a channel.

use crate::error::ChannelError;

/// What happened to a channel, in W3C's words and order: `open`, any number of `bufferedamountlow`, `closing`, `error`,
/// `close`. Messages are not among them: [`recv`](crate::DataChannel::recv) gives those.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// The channel is open.
    Open,
    /// The buffered amount fell to the threshold or below, having been above it.
    BufferedAmountLow,
    /// The peer closes the channel. Does not come after a local close.
    Closing,
    /// The channel failed. [`Close`](Self::Close) follows.
    Error(ChannelError),
    /// The channel is closed. The last event.
    Close,
}
