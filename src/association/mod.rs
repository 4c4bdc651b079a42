//! An association under its lock: its state, the driver, and the tasks that wait. The handles are in the rooms above.

mod byte_stream;
mod channel_entry;
mod channel_event;
mod driver;
mod dtls;
mod ending;
mod entries;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod half_close;
mod inner;
mod lifecycle;
mod packet_sender;
mod packets;
mod receipts;
mod report;
#[cfg(feature = "webrtc")]
pub(crate) mod secure_transport;
#[cfg(not(feature = "webrtc"))]
#[path = "no_secure_transport.rs"]
mod secure_transport;
mod shared;
mod transport;
mod wait;

pub use channel_event::ChannelEvent;
pub(crate) use driver::{drive_contained, leave};
pub(crate) use inner::{Inner, OpenedChannel};
#[cfg(test)]
pub(crate) use shared::AssociationFault;
pub(crate) use shared::{Shared, now, wake};
pub(crate) use transport::Transport;
pub(crate) use wait::{PROGRESS, WaitFuture};
