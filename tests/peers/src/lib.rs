//! SCTP stacks behind one trait, [`Peer`]: this project's association, the same with data channels on top, and the
//! other Rust stacks. A [`Pair`] joins two of them with a simulated link and a virtual clock. `benches/compare`
//! measures them side by side, `tests/peer_dcsctp` lets them talk to each other.
//!
//! Everything is behind the feature `stacks`, which this package's tests and benches turn on.
#![cfg(feature = "stacks")]

mod channels;
mod dcsctp;
mod link;
mod narrowboat;
mod pair;
mod peer;
mod rtc_sctp;
mod sctp_proto;
mod stack;

pub use crate::channels::NarrowboatChannels;
pub use crate::dcsctp::Dcsctp;
pub use crate::link::{Censor, Fate, Link, LinkConfig, UDP_OVERHEAD};
pub use crate::narrowboat::Narrowboat;
pub use crate::pair::{End, Pair, Traffic};
pub use crate::peer::{
    Event, Message, OfferedExtensions, Payload, Peer, Refusal, Reliability, SendOptions, Settings, StreamId,
};
pub use crate::rtc_sctp::RtcSctp;
pub use crate::sctp_proto::SctpProto;
pub use crate::stack::{Role, Stack};
