//! Errors by cause: an `Err` of a call is caused by the caller, a [`ChannelError`] by the peer or the network.

use narrowboat_sctp::{CloseReason, LowerLayerEnd, LowerLayerError};

use crate::ready_state::ReadyState;

/// Reason for which a channel was not opened. Nothing was sent, and no stream id is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The label is longer than 65,535 bytes, the limit of DATA_CHANNEL_OPEN (RFC 8832 §5.1).
    #[error("the label has {0} bytes, and 65535 is the limit: shorten it, or send what it says as the first message")]
    LabelTooLong(usize),
    /// The protocol is longer than 65,535 bytes.
    #[error("the protocol has {0} bytes, and 65535 is the limit: shorten it")]
    ProtocolTooLong(usize),
    /// DATA_CHANNEL_OPEN would be above the association's message size limit.
    #[error("label and protocol make a message of {len} bytes, above the limit of {max}: shorten them")]
    TooLarge {
        /// Bytes in DATA_CHANNEL_OPEN.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// A negotiated id that is in use, or whose last channel is not closed in both directions (RFC 8831 §6.5).
    #[error("stream {0} is in use: wait until its channel is closed, or choose another id")]
    IdInUse(u16),
    /// A negotiated id that is not below the number of streams; 65,535 never is.
    #[error("stream {id} does not exist: the association has {streams} streams, so choose an id below that")]
    InvalidId {
        /// Requested stream id.
        id: u16,
        /// Streams that exist in both directions.
        streams: u16,
    },
    /// The peer created its end of this negotiated channel earlier, and has sent more than is held for an expected
    /// channel (`unclaimed_bytes_max`), or has closed it. Its messages were discarded, and its channel is closed.
    /// Returned once: the next call creates a new channel, or reports that the old one is not closed yet.
    #[error(
        "messages for stream {0} were thrown away because this end of the channel was not made in time: make it earlier, or \
         raise unclaimed_bytes_max; the peer's channel is closed, and the next call makes a new one"
    )]
    MessagesLost(u16),
    /// A negotiated id that a channel has used, with a peer that cannot reset streams: the id cannot be used again.
    #[error(
        "stream {0} has served a channel, and the peer cannot reset streams (it did not offer RE-CONFIG): choose another id"
    )]
    IdRetired(u16),
    /// Every id of this end is in use or was used, with a peer that cannot reset streams. Closing a channel frees no id
    /// then.
    #[error(
        "every stream id is in use or has served a channel, and the peer cannot reset streams (it did not offer \
         RE-CONFIG): use another association, or fewer channels"
    )]
    NoIdLeft,
    /// Every id of this end is in use, and the peer cannot be asked for more streams (RFC 6525 §5.1.5): it did not
    /// offer RE-CONFIG, or this end takes no more (`inbound_streams` of the association's configuration).
    #[error("no stream id is free: close a channel first, or use another association")]
    NoFreeId,
    /// The association has `channels_max` channels.
    #[error(
        "the association has {0} channels, as many as its configuration allows: close one first, or raise channels_max"
    )]
    TooManyChannels(usize),
    /// The association is shutting down or closed.
    #[error("the association is shutting down or closed: connect again to open channels")]
    Closed,
}

/// Reason for which a message was not accepted. Nothing of it was queued, and the channel is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelSendError {
    /// The send buffer is full. [`ChannelsEvent::Writable`](crate::ChannelsEvent::Writable) follows, unless the channel
    /// closes.
    #[error("the send buffer is full")]
    Full,
    /// The message is longer than the peer accepts, or than the configuration allows.
    #[error("a message of {len} bytes is above the limit of {max}")]
    TooLarge {
        /// Bytes in the message.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// The channel is closing or closed (W3C `InvalidStateError`).
    #[error("the channel is {0:?}")]
    NotOpen(ReadyState),
    /// The association is shutting down; the channel is about to be closed.
    #[error("the association is shutting down or closed")]
    AssociationClosed,
    /// The channel does not exist, or was closed and released.
    #[error("there is no such channel")]
    NoSuchChannel,
}

/// Reason for which a channel ended other than by the closing procedure, or with messages unsent.
///
/// `L` is the error of the layer below the association, as in [`CloseReason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError<L = LowerLayerError> {
    /// The association ended.
    #[error("the association ended: {0}")]
    Association(#[source] CloseReason<L>),
    /// The peer lost its state and restarted the association (RFC 9260 §5.2.4 A).
    #[error("the peer restarted the association: open the channel again")]
    PeerRestarted,
    /// The peer reset the channel without having acknowledged that it was opened (RFC 8832 §6), or reported that it has
    /// no channel there, if streams cannot be reset.
    #[error("the peer refused the channel: it may not want this label or protocol, or has too many channels")]
    Refused,
    /// The peer closed while messages were waiting here. They were discarded, because nobody reads them. Reported for
    /// reliable channels only.
    #[error("the peer closed the channel before {discarded} bytes were sent: they will not arrive")]
    PeerClosed {
        /// Application bytes that were accepted and never sent whole; 0 if only empty messages were.
        discarded: usize,
    },
    /// The peer has not created its end of this negotiated channel, and holds no more messages for it: those that were
    /// sent are lost. A peer with another stack may report this by a reset alone, as [`PeerClosed`](Self::PeerClosed)
    /// or without an error.
    #[error(
        "the peer has not made its end of the negotiated channel, and what was sent is lost: make both ends before sending \
         much"
    )]
    NotMade,
    /// The peer did not offer RE-CONFIG (RFC 6525), so the close cannot be signalled. What was accepted is still sent;
    /// the id is not used again.
    #[error("the peer cannot close channels: it did not offer RE-CONFIG")]
    ResetNotSupported,
    /// The channel's stream does not exist, because the peer accepts fewer streams (RFC 8832 §6), and has not added any
    /// when it was asked (RFC 6525 §5.1.5), or cannot be asked.
    #[error("stream {stream} does not exist: the association has {streams} streams, and the peer has not added any")]
    NoSuchStream {
        /// The channel's stream.
        stream: u16,
        /// Streams that exist in both directions.
        streams: u16,
    },
    /// The peer opened a channel on an id of this end that this end has just used: both ends use the same role, and the
    /// two channels would be one (RFC 8832 §6).
    #[error("both ends use the same role, and so the same stream ids")]
    RoleConflict,
    /// The peer sent DATA_CHANNEL_OPEN for a stream that was in use (RFC 8832 §6).
    #[error("the peer opened a channel on a stream in use")]
    StreamInUse,
    /// The peer sent a DCEP message that cannot be decoded.
    #[error("the peer sent {0}")]
    BadControl(#[from] ControlError),
    /// The peer sent a text that is not UTF-8.
    #[error("the peer sent a text that is not UTF-8")]
    BadText,
    /// The peer sent a message with a PPID that data channels do not have (RFC 8831 §6.6).
    #[error("the peer sent a message with payload protocol {0}")]
    UnsupportedPpid(u32),
    /// The peer sent a message above `message_size_max`.
    #[error(
        "the peer sent a message of {len} bytes, above the limit of {max}: raise message_size_max, or have it send \
         smaller ones"
    )]
    MessageTooLarge {
        /// Bytes in the message.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
}

impl<L> ChannelError<L> {
    /// Replaces the error of the layer below the association; see [`CloseReason::map_transport`].
    #[must_use]
    pub fn map_transport<M>(self, map: impl FnOnce(L) -> M) -> ChannelError<M> {
        match self {
            Self::Association(reason) => ChannelError::Association(reason.map_transport(map)),
            Self::PeerRestarted => ChannelError::PeerRestarted,
            Self::Refused => ChannelError::Refused,
            Self::PeerClosed { discarded } => ChannelError::PeerClosed { discarded },
            Self::NotMade => ChannelError::NotMade,
            Self::ResetNotSupported => ChannelError::ResetNotSupported,
            Self::NoSuchStream { stream, streams } => ChannelError::NoSuchStream { stream, streams },
            Self::RoleConflict => ChannelError::RoleConflict,
            Self::StreamInUse => ChannelError::StreamInUse,
            Self::BadControl(error) => ChannelError::BadControl(error),
            Self::BadText => ChannelError::BadText,
            Self::UnsupportedPpid(ppid) => ChannelError::UnsupportedPpid(ppid),
            Self::MessageTooLarge { len, max } => ChannelError::MessageTooLarge { len, max },
        }
    }
}

impl<L: LowerLayerEnd> ChannelError<L> {
    /// Returns `true` if the channel ended because an end ended the association on purpose, as a page does that is left
    /// or calls `RTCPeerConnection.close()`: see [`CloseReason::is_orderly`].
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Association(reason) if reason.is_orderly())
    }
}

/// Fault of a DCEP message of the peer (RFC 8832 §5, §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The message has no type.
    #[error("an empty DCEP message")]
    Empty,
    /// The message is shorter than the fixed part of a DATA_CHANNEL_OPEN.
    #[error("a DATA_CHANNEL_OPEN cut short")]
    OpenTooShort,
    /// The message ends before its label and protocol do.
    #[error("a DATA_CHANNEL_OPEN whose lengths do not add up")]
    LengthMismatch,
    /// The channel type is not one of the six that RFC 8832 defines.
    #[error("DATA_CHANNEL_OPEN for a channel of unknown type {0:#04x}")]
    UnknownChannelType(u8),
    /// The label is not UTF-8.
    #[error("a label that is not UTF-8")]
    LabelNotUtf8,
    /// The protocol is not UTF-8.
    #[error("a protocol that is not UTF-8")]
    ProtocolNotUtf8,
}
