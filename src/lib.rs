//! narrowboat

mod association;
mod channel;
mod config;
mod counters;
mod endpoint;
pub mod error;
mod message;
mod options;
#[cfg(feature = "axum")]
mod signalling;
mod socket;
mod waiters;
#[cfg(feature = "webrtc")]
mod webrtc;

pub use association::{Association, ShuttingDown};
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use channel::{ByteStream, ChannelEvent, Closing, DataChannel, RecvHalf, SendHalf};
pub use config::Config;
pub use endpoint::{Accepting, Endpoint, EndpointBuilder, EndpointStats, Incoming, SocketStats, Target};
#[cfg(feature = "webrtc")]
pub use endpoint::{Answer, DtlsRole, Offer};
pub use error::Error;
pub use message::Message;
pub use narrowboat_dcep::ReadyState;
pub use narrowboat_sctp::{Reliability, Stats};
pub use options::ChannelOptions;
#[cfg(feature = "axum")]
pub use signalling::signalling;
#[cfg(feature = "webrtc")]
pub use webrtc::{DtlsVersion, Fingerprint, Identity, RecordDrops, SecureStats, Security, Ticket};
