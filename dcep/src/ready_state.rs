//! States of a channel.

/// W3C's RTCDataChannelState.
///
/// ```text
/// connecting ──▶ open ──close() or the peer's reset──▶ closing ──both directions reset──▶ closed
/// ```
///
/// A channel only moves to the right. It skips states where there is nothing to wait for: one that fails before it
/// has opened goes from connecting to closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum ReadyState {
    /// The association is not up, or DATA_CHANNEL_OPEN found no room in its send buffer yet. `send` queues.
    Connecting,
    /// Messages go both ways.
    Open,
    /// One end has closed. Nothing more is accepted for sending; what was accepted by a channel that was closed here
    /// is still sent, and what the peer sends before its own reset can still be read.
    Closing,
    /// The end. What was received and not read can still be read.
    Closed,
}
