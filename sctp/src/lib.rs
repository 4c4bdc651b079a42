//! One SCTP association (RFC 9260) with stream reset (RFC 6525) and partial reliability (RFC 3758), without I/O.
pub mod wire;
mod association;
mod config;
mod cookie;
mod endpoint;
mod error;
mod event;
mod message;
mod out_of_the_blue;
mod path;
mod recv;
mod reset;
mod send;
mod serial;
mod stats;

pub use association::{Association, Ecn, State, Transmit};
pub use config::{Config, ConfigError};
pub use cookie::CookieKeys;
pub use endpoint::{AssociationHandle, ConnectError, DatagramEvent, Endpoint, EndpointConfig};
pub use error::{CloseReason, ResetError, ResetFailure, SendError, Violation};
pub use event::{Event, Streams};
pub use message::{Credit, Message, Payload, Ppid, Reliability, SendOptions, StreamId};
pub use serial::{Fsn, Mid, RequestSn, Ssn, Tsn};
pub use stats::{DropReason, Drops, Stats};
