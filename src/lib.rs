//! WebRTC data channels for Rust services: messages, ordered or not, reliable or not, on as many channels as you like,
//! over one UDP port.
//!
//! An [`Endpoint`] is one UDP socket. On it are [`Association`]s, each with one peer: those that this end has
//! [dialled](Endpoint::connect), and those that it has [accepted](Endpoint::accept). On an association are
//! [`DataChannel`]s, opened by [either](Association::open_channel) [end](Association::accept_channel), and on a
//! channel are [`Message`]s, each of which arrives whole.
//!
//! ```
//! use narrowboat::{ChannelOptions, Endpoint, Message};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), narrowboat::Error> {
//! // A service sends back what comes, until the peer closes the channel.
//! let service = Endpoint::bind("127.0.0.1:0")?;
//! let address = service.local_address();
//! tokio::spawn(async move {
//!     while let Some(incoming) = service.accept().await {
//!         tokio::spawn(async move {
//!             let association = incoming.await?;
//!             while let Some(channel) = association.accept_channel().await {
//!                 while let Some(message) = channel.recv().await {
//!                     channel.send(message?).await?; // waits while the peer is slow
//!                 }
//!             }
//!             Ok::<_, narrowboat::Error>(())
//!         });
//!     }
//! });
//!
//! // A client: messages that are out of date are not worth sending again.
//! let client = Endpoint::bind("127.0.0.1:0")?;
//! let association = client.connect(address).await?;
//! let options = ChannelOptions::new("positions").unordered().max_retransmits(0);
//! let channel = association.open_channel(options).await?;
//! channel.send("x=3 y=4").await?;
//! assert_eq!(channel.recv().await.transpose()?, Some(Message::from("x=3 y=4")));
//! channel.close().await?; // both directions are reset, and the id is free again
//! association.shutdown().await?; // the peer has been told
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | options of a channel: order, retransmissions, lifetime, priority | [`ChannelOptions`] |
//! | messages that are fresh or not sent: a latency budget, the oldest dropped | [`SendPolicy`] |
//! | shares of the channels in the link | [`ChannelOptions::priority`], [`DataChannel::set_priority`] |
//! | sending, receiving, and the end of a channel | [`DataChannel`] |
//! | progress of a message: sent, acknowledged, or abandoned, with the reason | [`DataChannel::send_with_receipt`] |
//! | events of a channel: `open`, `bufferedamountlow`, `closing`, `error`, `close` | [`DataChannel::next_event`] |
//! | a half for each of two tasks | [`DataChannel::split`] |
//! | streams and sinks of messages | [`DataChannel`] is both |
//! | `AsyncRead` and `AsyncWrite`; tunnels, which need half close | [`Association::open_byte_stream`], [`ByteStream`] |
//! | browsers; identities and certificates | [`Identity`], [`EndpointBuilder::identity`] |
//! | connecting without signalling, for pages and programs | [`Endpoint::ticket`], [`Endpoint::connect`] |
//! | offers and answers, over a channel of your own or by `axum` | [`Endpoint::answer`], [`Endpoint::offer`], [`signalling`] |
//! | the peer's certificate, and the DTLS version | [`Association::security`] |
//! | access: which peers are accepted, and how a peer has connected | [`EndpointBuilder::accept_plain`], [`Incoming::way`] |
//! | configuration and limits | [`Config`] |
//! | sizes of packets, which follow the path (RFC 8899) | [`AssociationStats::mtu`], [`Config::dtls_mtu_max`] |
//! | errors, one type for each kind of call | [`error`] |
//! | counters and round-trip times | [`Association::stats`], [`DataChannel::stats`], [`Endpoint::stats`] |
//! | what was abandoned, by reason | [`ChannelStats::abandoned`], [`ChannelEvent::Abandoned`] |
//! | extensions of SCTP that are in use with a peer: interleaving, partial reliability, … | [`AssociationStats::extensions`] |
//! | what was dropped, by reason | [`AssociationStats::drops`], [`ChannelsStats::drops`], [`EndpointStats::drops`] |
//!
//! # Guarantees
//!
//! - **Closing.** [`close`](DataChannel::close) ends when both directions of the channel are reset (RFC 8831 §6.7).
//!   What was accepted before is delivered first, the id is used again only then, and every channel ends exactly once,
//!   with an error if the network has failed.
//! - **Backpressure.** [`send`](DataChannel::send) waits while the buffer is full, and
//!   [`try_send`](DataChannel::try_send) gives the message back. A reader that stops closes the receive window, which
//!   serves all channels of the association: a channel that is never read can hold up the others once it has that much
//!   unread.
//! - **Cancellation.** Every async method says what happens if its future is dropped: a message is queued whole or not
//!   at all, and none is lost by a `recv` that loses a `select!`.
//! - **Handles.** They are cheap to clone. Dropping the last one of a channel closes it, dropping the last one of an
//!   association and its channels shuts that down, both in the background.
//!
//! # Plain UDP is not secure
//!
//! An endpoint with an [`Identity`] speaks DTLS, with browsers as with Rust; see [`EndpointBuilder::identity`]. The
//! traffic of an endpoint without one, as above, goes over plain UDP (RFC 6951) and is **neither encrypted nor
//! authenticated**: anyone who sees the packets can read and change them, and anyone who can reach the port can open an
//! association. Use it on a network that you trust, or in a tunnel. An endpoint is one or the other, never both at a
//! port.
//!
//! # Logging
//!
//! Events and spans are those of the crate `tracing`. Without a subscriber each costs one comparison. With
//! `tracing-subscriber` and its `EnvFilter`, `RUST_LOG=narrowboat=debug` switches them on, those of
//! `narrowboat_sctp` and `narrowboat_dcep` included; `RUST_LOG=narrowboat=info` suits a service. There is nothing for a
//! packet or a message above TRACE, unless it is dropped or lost.
//!
//! | span, all at DEBUG | fields | around |
//! | --- | --- | --- |
//! | `endpoint` | `local_address` | the receive loop, and all that follows |
//! | `association` | `association`, a number; `remote_address`, `role` | the driver, batches of packets, calls |
//! | `channel` | `id`, `label` | calls on a channel |
//! | `stranger` | `remote_address` | datagrams of a peer that has not finished its DTLS handshake |
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | a fault of this program | ERROR | `association`, `remote_address`, `error`, where known |
//! | `association ended` | WARN (failure), INFO | `association`, `remote_address`, `was_established`, `reason` |
//! | the system grants smaller socket buffers | WARN | `local_address`, sizes asked for and granted, `suppressed` |
//! | the accept queue is full | WARN | `local_address`, `suppressed` |
//! | the system refuses datagrams | WARN | `association`, `error`, `suppressed` |
//! | the runtime ends before an association | WARN | `association`, `remote_address`, `suppressed` |
//! | overload by new peers begins, and ends | WARN | |
//! | `endpoint bound`, `endpoint closed` | INFO | `local_address`; `is_secure` |
//! | `association established` | INFO | `association`, `remote_address`, `role` |
//! | `association refused` | DEBUG | `reason` |
//! | `channel opened`, `channel closed` | DEBUG | `stream_id`, `label`; `error` |
//! | `ICE check` of a new or nominated address; others | DEBUG; TRACE | `remote_address`, `is_new`, `is_nominated` |
//! | `ICE address selected`, `address claimed` | DEBUG | `remote_address`; `association`, `previous` |
//! | `ICE failed`: no answer, consent expired or revoked | DEBUG | `reason` |
//! | `DTLS handshake attempt`, and its failure | DEBUG | `role`, `attempt`, `asks_for_cookie`; `failure` |
//! | `ClientHello`, `DTLS flight` | DEBUG | `message_seq`, `len` |
//! | `DTLS certificate` | DEBUG | `fingerprint`, `is_expected` |
//! | `DTLS connected`, `DTLS alert`, `DTLS failed` | DEBUG | `version`; `alert`; `failure` |
//! | `dropped` | DEBUG | `reason`: the name of the counter in the statistics; `remote_address`, `refusal` |
//!
//! `ARCHITECTURE.md` lists the events of the lower crates. Warnings about sockets, the accept queue and the runtime
//! come once per second at most; `suppressed` counts those that were left out. Labels are cut to 64 bytes. Passwords,
//! private keys, user names of checks and contents of messages are in no event.
//!
//! A subscriber runs while the association is locked, so it must not call this crate.
//!
//! # Features
//!
//! - `webrtc` (default): browsers, tickets and DTLS. Without it there is plain UDP, and about a third of the
//!   dependencies.
//! - `axum`: routes that answer the offers of pages.
//! - `cli`: the command `narrowboat`, which sends files.
//!
//! # Layers
//!
//! The protocols are written without I/O in crates of their own, which know neither tokio nor sockets nor the clock:
//! [`narrowboat_sctp`] is one association (RFC 9260, 6525, 3758, 7496, 8260, 8899, 8985, 9653),
//! [`narrowboat_dcep`] the data channels on it (RFC 8831, 8832). This crate gives them a socket, tasks and wakers.

//!
#![cfg_attr(
    not(feature = "webrtc"),
    expect(dead_code, reason = "what serves peers over DTLS is compiled, and nobody can be one")
)]
#![cfg_attr(
    not(feature = "webrtc"),
    doc = " [`Identity`]: #features\n [`EndpointBuilder::identity`]: #features\n [`Endpoint::ticket`]: #features\n \
[`Endpoint::answer`]: #features\n [`Endpoint::offer`]: #features\n [`Association::security`]: #features"
)]
#![cfg_attr(not(feature = "axum"), doc = " [`signalling`]: #features")]

mod association;
mod channel;
mod config;
mod counters;
mod endpoint;
pub mod error;
#[cfg(test)]
#[path = "../fuzz/replay.rs"]
mod fuzz_replay;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing {
    //! Entry functions of fuzz targets for what is private.
    pub use crate::association::fuzzing::byte_streams;
    #[cfg(feature = "webrtc")]
    pub use crate::webrtc::fuzzing::{admission, sdp, stun, ticket};
}
mod handle;
#[cfg(feature = "webrtc")]
mod identity_store;
mod log;
mod memory;
mod net;
#[cfg(feature = "axum")]
mod signalling;
mod socket;
mod waiters;
#[cfg(feature = "webrtc")]
mod webrtc;

#[cfg(feature = "webrtc")]
pub use crate::{
    endpoint::{Answer, DtlsRole, Offer},
    webrtc::{DtlsVersion, Fingerprint, Identity, RecordDrops, SecureStats, Security, Ticket},
};
pub use association::ChannelEvent;
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use channel::{ByteReadHalf, ByteStream, ByteWriteHalf, Closing, DataChannel, Receipt, RecvHalf, SendHalf};
pub use config::Config;
pub use endpoint::{Accepting, Endpoint, EndpointBuilder, EndpointStats, Incoming, SocketStats, Target, WayIn};
pub use error::Error;
pub use handle::{Association, ShuttingDown};
pub use narrowboat_dcep::{
    ChannelDropReason, ChannelDrops, ChannelOptions, ChannelStats, ChannelsConfig, ChannelsStats, Message, ReadyState,
};
pub use narrowboat_sctp::{
    AbandonCount, AbandonReason, AbandonStats, AssociationConfig, AssociationStats, CongestionControl, CongestionState,
    CongestionStats, ExtensionsInUse, PacketDropReason, PacketDrops, ReceiptStatus, Reliability, SendPolicy,
    StreamScheduler, WaitingMax,
};
#[cfg(feature = "axum")]
pub use signalling::signalling;

/// The examples of the front page compile.
#[cfg(all(doctest, feature = "webrtc"))]
#[doc = include_str!("../README.md")]
struct Readme;
