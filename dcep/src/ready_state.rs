//! States of a channel.

/// State of a channel: W3C's `RTCDataChannelState`.
///
/// ```text
/// connecting ──▶ open ──close() or the peer's reset──▶ closing ──both directions reset──▶ closed
/// ```
///
/// A channel moves to the right only. It skips a state that has nothing to wait for: a channel that fails before it is
/// open goes from connecting to closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum ReadyState {
    /// The association is not established, or DATA_CHANNEL_OPEN waits for room in the send buffer. `send` queues
    /// messages.
    Connecting,
    /// Messages are sent and received.
    Open,
    /// One end has closed the channel. No message is accepted any more. If this end closed it, accepted messages are
    /// still sent; what the peer sends before its own reset can still be received.
    Closing,
    /// The channel has ended. Messages that have arrived can still be received.
    Closed,
}
