//! One SCTP association (RFC 9260), without I/O: with stream reset (RFC 6525), partial reliability (RFC 3758, 7496),
//! message interleaving (RFC 8260), path MTU discovery (RFC 8899), loss detection by time (RFC 8985), zero checksum
//! (RFC 9653), and the parameters of SNAP.
//!
//! Bytes in, bytes out: the crate has no socket, no task, no clock and no randomness of its own. An [`Association`] is
//! told the time and the datagrams, and asked for datagrams, one deadline, and events; an [`Endpoint`] keeps the table
//! of associations on one UDP socket (RFC 6951). An hour of network then runs in a second and replays from a seed.
//!
//! Data channels over it are the crate `narrowboat-dcep`, sockets and tasks the crate `narrowboat`.

mod association;
mod config;
mod cookie;
mod cost_counter;
mod drops;
mod endpoint;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod interval_set;
mod lower_layer;
mod memory;
mod message;
mod out_of_the_blue;
mod path;
mod recv;
mod reset;
mod send;
mod send_policy;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod serial;
mod stats;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;
pub mod time;
mod unread_queue;
mod valid;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#[cfg_attr(
    not(feature = "testing"),
    expect(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "a codec is whole: what it reads it also writes, which only tests and fuzzers do, by way of `testing`"
    )
)]
mod wire;

pub use association::{Association, SignalledInit, State, Transmit};
pub use config::{AssociationConfig, CongestionControl, StreamScheduler};
pub use cookie::CookieKeys;
#[doc(hidden)]
pub use cost_counter::{step, steps};
#[doc(hidden)]
pub use endpoint::{AddressCounts, SaltedHasher, Source, give_back_memory};
pub use endpoint::{AssociateError, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig};
pub use error::{CloseReason, ResetError, SendMessageError, SignalledInitError, Violation};
pub use event::{AssociationEvent, ReceiptId, ReceiptStatus, StreamRequest, Streams};
#[doc(hidden)]
pub use interval_set::{Discrete, Interval, IntervalSet};
pub use lower_layer::{LowerLayerEnd, LowerLayerError, LowerLayerErrorKind, LowerLayerLimits};
pub use memory::MemoryBudget;
pub use message::{AbandonReason, Credit, Payload, Ppid, ReceivedMessage, Reliability, SendOptions, StreamId};
pub use send_policy::{SendPolicy, WaitingMax};
pub use serial::{Fsn, Mid, RequestSn, Ssn, Tsn};
pub use stats::{
    AbandonCount, AbandonStats, AssociationStats, CongestionState, CongestionStats, ExtensionsInUse, PacketDropReason,
    PacketDrops,
};
#[doc(hidden)]
pub use unread_queue::UnreadQueue;
pub use valid::{ConfigError, Valid, Validate};
pub use wire::ResetResult;
