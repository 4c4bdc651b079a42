//! WebRTC data channels (RFC 8831, RFC 8832, W3C `RTCDataChannel`) over one SCTP association, without I/O.
//!
//! [`DataChannels`] holds the channels of one [`Association`](narrowboat_sctp::Association): it opens them, in band
//! or negotiated, carries their messages, and closes them by resetting the stream in both directions. It is told the
//! time and borrows the association in each call, and reports to the application by [`ChannelsEvent`]s.
//!
//! ```
//! # use std::time::Instant;
//! # use narrowboat_sctp::{Association, AssociationConfig, CookieKeys, Valid};
//! # use narrowboat_dcep::*;
//! let now = Instant::now();
//! let config = Valid::<AssociationConfig>::default();
//! let mut ends = [(1, Role::Client), (2, Role::Server)].map(|(seed, role)| {
//!     let association = Association::new(config.clone(), CookieKeys::new(now, [seed; 32]), &[], [seed; 32]);
//!     (association, DataChannels::new(Valid::default(), role))
//! });
//! let (association, channels) = &mut ends[0];
//! association.connect(now);
//! let id = channels.open(now, association, ChannelOptions::new("chat"))?;
//! channels.send(now, association, id, "hello".into())?;
//! channels.close(now, association, id);
//!
//! // A perfect network, and at the other end an application that prints.
//! let mut printed = Vec::new();
//! for turn in 0..20 {
//!     let mut buffer = Vec::new();
//!     let (association, channels) = &mut ends[turn % 2];
//!     while let Some(event) = channels.poll_event(now, association) {
//!         match event {
//!             ChannelsEvent::Readable(id) => printed.push(channels.recv(now, association, id)),
//!             ChannelsEvent::Closed(_, error) => assert_eq!(error, None),
//!             _ => {}
//!         }
//!     }
//!     while let Some(transmit) = ends[turn % 2].0.poll_transmit(now, 1, &mut buffer) {
//!         let datagram = buffer.split_off(buffer.len() - transmit.len);
//!         ends[(turn + 1) % 2].0.handle_datagram(now, datagram.into());
//!     }
//! }
//! assert_eq!(printed, [Some(Message::from("hello"))]);
//! assert_eq!(ends[0].1.ready_state(id), Some(ReadyState::Closed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Closing
//!
//! A channel that was closed by [`close`](DataChannels::close) sends what it has accepted, then resets its stream. The
//! peer answers with its own reset. The channel is [`Closed`](ChannelsEvent::Closed) when ours is performed *and* the
//! peer's has arrived; then, and not before, its stream id can serve another channel. Everything else has a defined end
//! too:
//!
//! | what happens | what follows |
//! | --- | --- |
//! | the peer resets an open channel | [`Closing`](ChannelsEvent::Closing); unsent messages are discarded, our reset follows by itself; [`Closed`](ChannelsEvent::Closed), with [`PeerClosed`](ChannelError::PeerClosed) if a reliable message was discarded |
//! | both close at once | each sends what it has accepted; one `Closed` at each end |
//! | closed before DATA_CHANNEL_ACK | as any other; if the peer resets a channel that it has not acknowledged: [`Refused`](ChannelError::Refused) |
//! | closed before the association is up | if no message waits: nothing goes out, `Closed` at once. Otherwise the channel is opened, the messages are sent, and it is closed |
//! | the peer does not offer RE-CONFIG | `Closed` at once, with [`ResetNotSupported`](ChannelError::ResetNotSupported); accepted messages are still sent. The peer is not told, and may send on: its messages are discarded and counted. Each id serves one channel: [`NoIdLeft`](OpenError::NoIdLeft) when all have |
//! | a channel is refused towards a peer that does not offer RE-CONFIG | an ERROR with the cause Invalid Stream Identifier (RFC 9260 §3.3.10.1) tells the peer, once for the OPEN and again for each later message, for it may be lost. At a peer of this crate the channel ends with [`Refused`](ChannelError::Refused) |
//! | the peer sends more than is held before the application makes its end of a negotiated channel, or closes its end before | the peer's channel is closed, in the first case with [`NotMade`](ChannelError::NotMade) if the peer is of this crate; the application learns of it by [`MessagesLost`](OpenError::MessagesLost) from its next `open` with that id |
//! | our reset is not answered | it is repeated for as long as the association lasts, so that after an outage both ends close; a peer that answers nothing ends the association |
//! | our reset is refused for the whole of `reset_timeout` | the association is aborted with [`ResetRefused`](narrowboat_sctp::CloseReason::ResetRefused), which ends the channel at both ends |
//! | the peer performs our reset but does not reset its side | the channel stays `Closing` for as long as the association lasts: one end alone cannot know that the other is done |
//! | the peer resets a stream that no channel here uses | our reset answers it, once. If the peer resets the stream again within some 10 s and neither end has used it since, that is performed and not answered ([`RepeatedReset`](ChannelDropReason::RepeatedReset)): two ends that take each other's answer for a beginning would go on for ever |
//! | the peer violates a rule | `Closing`, our reset, `Closed` with the error; messages that arrive meanwhile are discarded and counted |
//! | the peer's next channel on the id arrives before the answer to our reset | it waits, holding its part of the receive window, until the answer is there |
//! | the association ends or restarts | `Closed` for each channel: without error after a graceful shutdown, which delivers everything first; but with [`Association`](ChannelError::Association) if the peer never acknowledged DATA_CHANNEL_OPEN, since it may have refused the channel |
//!
//! Partially reliable messages are sent or abandoned before the reset. A reliable message for a peer that does not
//! read waits for as long as the peer lives: [`discard_unsent`](DataChannels::discard_unsent) is the way out.
//!
//! # Data before its channel
//!
//! Data on a stream without a channel is an error (RFC 8832 §6), unless the application is only late in making a
//! negotiated channel. It is therefore held, up to `unclaimed_bytes_max` bytes and on 8 streams at most, until
//! [`open`](DataChannels::open) with that id claims it. If there is more, if a DATA_CHANNEL_OPEN follows (which should
//! have come first: senders keep order until the peer has answered), or if the peer resets the stream, it is discarded
//! and counted, and the stream is reset.

mod answered;
mod channel;
mod channels;
mod config;
mod control;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod message;
mod open;
mod options;
pub mod ppid;
mod queue;
mod ready_state;
mod stats;
mod stream;

pub use bytestring::ByteString;
pub use channels::DataChannels;
pub use config::{ChannelsConfig, PEER_MESSAGE_SIZE_MAX, Role};
pub use error::{ChannelError, ChannelSendError, ControlError, OpenError};
pub use event::{ChannelId, ChannelsEvent};
pub use message::{Message, UnreadMessage};
pub use narrowboat_sctp::{AbandonReason, AbandonStats, ReceiptId, ReceiptStatus, Reliability, SendPolicy, WaitingMax};
pub use options::{BYTE_STREAM_PROTOCOL, ChannelOptions};
pub use ready_state::ReadyState;
pub use stats::{ChannelDropReason, ChannelDrops, ChannelStats, ChannelsStats};

#[cfg(test)]
mod tests {
    /// An association's task may move between threads.
    #[test]
    fn channels_can_be_sent_to_another_thread() {
        fn assert_send<T: Send>() {}
        assert_send::<super::DataChannels>();
    }
}
