//! Counters of the channels of an association. They only grow.

use narrowboat_sctp::AbandonStats;

narrowboat_sctp::drop_reasons! {
    /// Reason for which something from the peer was dropped or refused on its channel. Nothing is dropped without being
    /// counted.
    pub enum ChannelDropReason;
    /// Number of drops for each [`ChannelDropReason`].
    pub struct ChannelDrops;

    /// A message for a channel that has ended, that the application has released, or that is being closed because the
    /// peer violated the protocol.
    AfterClose,
    /// A message that the application left unread for `close_timeout` after closing its channel.
    UnreadAfterClose,
    /// A message on a stream that exists in one direction only (RFC 8832 §6).
    NoSuchStream,
    /// A DCEP message that cannot be decoded. Its channel is closed.
    BadControl,
    /// DATA_CHANNEL_ACK for a channel that was not opened here in band, or was acknowledged before. Ignored.
    UnexpectedAck,
    /// A DCEP message of a type that this end does not know. Ignored.
    UnknownControl,
    /// Bytes after the last field of a DCEP message. Only these bytes are ignored.
    TrailingBytes,
    /// DATA_CHANNEL_OPEN on a stream id of this end that this end has opened a channel on: both ends use the same role.
    /// The channel is closed.
    RoleConflict,
    /// DATA_CHANNEL_OPEN on a stream in use. The channel is closed.
    StreamInUse,
    /// DATA_CHANNEL_OPEN above `channels_max` or `peer_label_bytes_max`. The stream is reset.
    LimitReached,
    /// A message on a stream without a channel, which no channel claimed before the limit, before the peer's reset, or
    /// before a DATA_CHANNEL_OPEN that should have come first. The stream is reset.
    Unclaimed,
    /// The peer's reset of a stream that neither end has used since this end answered the last reset of it. It is
    /// performed and not answered, so that two ends do not answer each other for ever.
    RepeatedReset,
    /// A text that is not UTF-8. Its channel is closed.
    BadText,
    /// A message with a PPID that data channels do not have (RFC 8831 §6.6). The channel is closed.
    UnsupportedPpid,
    /// A message above `message_size_max`. Its channel is closed.
    TooLarge,
}

/// Counters of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Messages accepted by `send` (W3C messagesSent, which counts those that were sent).
    pub messages_sent: u64,
    /// Application bytes in these messages.
    pub bytes_sent: u64,
    /// Messages that `recv` has returned or can return (W3C messagesReceived).
    pub messages_received: u64,
    /// Application bytes in these messages.
    pub bytes_received: u64,
    /// Messages that were abandoned instead of being delivered, by reason (RFC 7496 §4.3). An empty message counts as
    /// one byte.
    pub abandoned: AbandonStats,
}

/// Counters of the channels of an association, since it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelsStats {
    /// Channels that this end created, whether they got as far as open or not (W3C dataChannelsOpened counts the open
    /// ones).
    pub channels_opened: u64,
    /// Channels that the peer opened.
    pub channels_accepted: u64,
    /// Accepted channels on a stream id of this end's parity (RFC 8832 §6 gives each end every second id): the peer
    /// uses another role than this end. Such channels work unless both ends choose the same id.
    pub channels_of_wrong_parity: u64,
    /// Channels closed, of both kinds.
    pub channels_closed: u64,
    /// Closed channels that ended with an error.
    pub channels_failed: u64,
    /// Messages accepted by `send`.
    pub messages_sent: u64,
    /// Application bytes in these messages.
    pub bytes_sent: u64,
    /// Messages that `recv` has returned or can return.
    pub messages_received: u64,
    /// Application bytes in these messages.
    pub bytes_received: u64,
    /// Messages that were abandoned, for all reasons together.
    pub messages_abandoned: u64,
    /// Application bytes that `send` accepted and that were discarded unsent: the peer closed or violated the protocol,
    /// or the application called `discard_unsent`.
    pub bytes_discarded: u64,
    /// Drops by reason.
    pub drops: ChannelDrops,
}
