//! Counters of the channels of an association. Plain numbers that only grow.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Why something from the peer was dropped or refused. Nothing is dropped without being counted.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ChannelDropReason { $($(#[$doc])* $name),* }

        impl ChannelDropReason {
            /// Every reason.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

drop_reasons! {
    /// A message for a channel that has ended, that the application has let go of, or that is being closed for the
    /// peer's breaking a rule.
    AfterClose,
    /// A message that the application left unread for `close_timeout` after closing its channel.
    UnreadAfterClose,
    /// A message on a stream that one direction lacks (RFC 8832 §6).
    NoSuchStream,
    /// A DCEP message that does not parse. Its channel is closed.
    BadControl,
    /// DATA_CHANNEL_ACK for a channel that was not opened here in band, or was acknowledged before. Ignored.
    UnexpectedAck,
    /// A DCEP message of a type that this end does not know. Ignored.
    UnknownControl,
    /// Bytes behind the last field of a DCEP message. Only they are ignored.
    TrailingBytes,
    /// DATA_CHANNEL_OPEN on a stream id of this end that this end has opened a channel on: both believe to have the
    /// same role. The channel is closed.
    RoleConflict,
    /// DATA_CHANNEL_OPEN on a stream in use. The channel is closed.
    StreamInUse,
    /// DATA_CHANNEL_OPEN above `channels_max` or `peer_label_bytes_max`. The stream is reset.
    LimitReached,
    /// A message on a stream without a channel, which nobody claimed before the limit, the peer's reset, or
    /// a DATA_CHANNEL_OPEN that should have come first. The stream is reset.
    Unclaimed,
    /// The peer's reset of a stream that neither end has used since this end answered the last reset of it. It is
    /// performed and not answered, so that two ends do not answer each other for ever.
    RepeatedReset,
    /// A text that is not UTF-8. Its channel is closed.
    BadText,
    /// A label that data channels do not have (RFC 8831 §6.6). The channel is closed.
    UnsupportedPpid,
    /// A message above `message_size_max`. Its channel is closed.
    TooLarge,
}

/// Number of drops for each [`ChannelDropReason`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelDrops([u64; ChannelDropReason::ALL.len()]);

impl ChannelDrops {
    /// How often this happened.
    #[must_use]
    pub fn count(&self, reason: ChannelDropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: ChannelDropReason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// What the channels of an association have done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelsStats {
    /// Channels made here (W3C dataChannelsOpened counts those that got as far as open).
    pub channels_opened: u64,
    /// Channels that the peer opened.
    pub channels_accepted: u64,
    /// Of those, the ones on a stream id of this end (RFC 8832 §6 gives each end every second id). The peer goes by
    /// another role than this end; its channels work unless both ends choose the same id.
    pub channels_of_wrong_parity: u64,
    /// Channels closed, of both kinds.
    pub channels_closed: u64,
    /// Of those, the ones that ended with an error.
    pub channels_failed: u64,
    /// Messages accepted by `send`.
    pub messages_sent: u64,
    /// Application bytes in them.
    pub bytes_sent: u64,
    /// Messages that `recv` returned or may return.
    pub messages_received: u64,
    /// Application bytes in them.
    pub bytes_received: u64,
    /// Partially reliable messages that were given up.
    pub messages_abandoned: u64,
    /// Application bytes that were accepted by `send` and thrown away unsent, because the peer closed or broke a rule.
    pub bytes_discarded: u64,
    /// What was dropped, by reason.
    pub drops: ChannelDrops,
}
