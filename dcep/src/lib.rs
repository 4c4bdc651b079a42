//! WebRTC data channels over an SCTP association, without I/O.
use bytes::Bytes;
pub use narrowboat_sctp::Reliability;
use narrowboat_sctp::{Association, CloseReason, ResetFailure, StreamId};
use std::time::Instant;

/// Which stream ids this end opens channels on (RFC 8832 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Even ids: the DTLS client, or the end that dialled.
    Client,
    /// Odd ids.
    Server,
}

/// Names a channel within its association; never used again, whatever happens to its stream id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// W3C RTCDataChannelState.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadyState {
    Connecting,
    Open,
    Closing,
    Closed,
}

/// How a channel is to be opened (W3C RTCDataChannelInit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    pub label: String,
    pub protocol: String,
    pub ordered: bool,
    pub reliability: Reliability,
    /// RFC 8831 §6.4; 256 is normal
    pub priority: u16,
    /// `Some(id)`: both ends make the channel with this id, and no DCEP message is exchanged.
    pub negotiated: Option<StreamId>,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(/* valid UTF-8 */ Bytes),
    Binary(Bytes),
}

/// Limits of the channels of one association.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub channels_max: usize,
    /// Largest message that the peer takes (a=max-message-size); 0 is no limit.
    pub peer_message_size_max: usize,
    /// Largest message that this end takes
    pub message_size_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {/* LabelTooLong, ProtocolTooLong, IdInUse, InvalidId (65535 or >= streams), NoFreeId, TooManyChannels, Closed */}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {/* Full, TooLarge{len,max}, NotOpen(ReadyState) , NoSuchChannel */}
/// Why a channel ended other than by close() of either end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("the association ended: {0}")]
    Association(CloseReason),
    #[error("{0}")]
    Reset(ResetFailure),
    /* ResetNotSupported, PeerRestarted, protocol errors: BadOpen.., WrongParity, IdInUse, NoSuchStream.. */
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The association is up.
    Connected,
    /// The peer opened a channel; it is open. Comes before its first message.
    Incoming(ChannelId),
    /// A channel made here is open (W3C "open").
    Open(ChannelId),
    /// recv() has something
    Readable(ChannelId),
    /// send() said Full, and may now go through
    Writable(ChannelId),
    BufferedAmountLow(ChannelId),
    /// The peer closed: state is `closing` now (W3C "closing" event). Not sent for a local close().
    Closing(ChannelId),
    /// The last event of a channel, exactly once. Messages that came before are still there to recv().
    Closed(ChannelId, Option<ChannelError>),
    /// The association restarted / ended. Last event of all, exactly once.
    AssociationClosed(CloseReason),
}

/// The data channels of one association. Borrows the association in each call and owns no part of it.
#[derive(Debug)]
pub struct DataChannels {
    _private: (),
}

impl DataChannels {
    pub fn new(_config: Config, _role: Role) -> Self {
        todo!()
    }
    // getters
    pub fn ready_state(&self, _id: ChannelId) -> Option<ReadyState> {
        todo!()
    }
    pub fn options(&self, _id: ChannelId) -> Option<&ChannelOptions> {
        todo!()
    }
    pub fn stream(&self, _id: ChannelId) -> Option<StreamId> {
        todo!()
    }
    /// Application bytes accepted and not yet sent; DCEP not counted (W3C bufferedAmount).
    pub fn buffered_amount(&self, _association: &Association, _id: ChannelId) -> usize {
        todo!()
    }
    pub fn is_readable(&self, _id: ChannelId) -> bool {
        todo!()
    }
    // commands
    pub fn open(
        &mut self,
        _now: Instant,
        _association: &mut Association,
        _options: ChannelOptions,
    ) -> Result<ChannelId, OpenError> {
        todo!()
    }
    pub fn send(
        &mut self,
        _now: Instant,
        _association: &mut Association,
        _id: ChannelId,
        _message: Message,
    ) -> Result<(), SendError> {
        todo!()
    }
    pub fn recv(&mut self, _now: Instant, _association: &mut Association, _id: ChannelId) -> Option<Message> {
        todo!()
    }
    pub fn close(&mut self, _now: Instant, _association: &mut Association, _id: ChannelId) {
        todo!()
    }
    /// The application has let go of its last handle: closes the channel if need be, and forgets it once it is closed; unread messages are thrown away.
    pub fn forget(&mut self, _now: Instant, _association: &mut Association, _id: ChannelId) {
        todo!()
    }
    pub fn set_buffered_amount_low_threshold(
        &mut self,
        _association: &mut Association,
        _id: ChannelId,
        _threshold: usize,
    ) {
        todo!()
    }
    // output: takes the association's events in, answers them, and says what the application should know.
    pub fn poll_event(&mut self, _now: Instant, _association: &mut Association) -> Option<Event> {
        todo!()
    }
}
