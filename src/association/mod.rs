//! The handle of an association.

mod byte_stream;
mod channel_entry;
mod driver;
mod dtls;
mod ending;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inner;
mod packet_sender;
#[cfg(feature = "webrtc")]
pub(crate) mod secure_transport;
#[cfg(not(feature = "webrtc"))]
#[path = "no_secure_transport.rs"]
mod secure_transport;
#[cfg(feature = "webrtc")]
mod security;
mod shared;
mod transport;

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use narrowboat_dcep::ChannelOptions;

pub(crate) use driver::{drive_contained, leave};
pub(crate) use inner::{Inner, OpenedChannel};
#[cfg(test)]
pub(crate) use shared::AssociationFault;
pub(crate) use shared::{Shared, WaitKey, now, wake};
pub(crate) use transport::Transport;

use crate::channel::{ByteStream, DataChannel};
use crate::error::{CloseReason, ConnectError, OpenChannelError, OpenError, SendError};
use crate::waiters::{Interest, WaiterKey};

pub(crate) const PROGRESS: WaitKey = WaitKey { channel: None, interest: Interest::Progress };
const ACCEPT: WaitKey = WaitKey { channel: None, interest: Interest::Accept };

/// An association with one peer: channels are opened on it from both ends.
///
/// A clone is another handle of the same association. When the last handle of the association and of all its channels
/// is dropped, the association ends gracefully in the background, as by [`shutdown`](Self::shutdown).
pub struct Association {
    shared: Arc<Shared>,
}

impl Association {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.read(|inner| inner.hold_association());
        Self { shared }
    }

    #[cfg(test)]
    pub(crate) fn inject(&self, fault: AssociationFault) {
        *self.shared.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fault);
    }

    /// Waits until the association is established; at once, if it has ever been.
    ///
    /// # Errors
    ///
    /// There is no way to the peer, it does not answer or refuses, or the association has ended since.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        let address = self.remote_address();
        WaitFuture::new(&self.shared, PROGRESS)
            .wait(|inner, _| match (inner.poll_closed(), &inner.unreachable) {
                (Poll::Ready(_), Some(why)) => Poll::Ready(Err(ConnectError::NoRoute { address, why: why.clone() })),
                (Poll::Ready(reason), None) => Poll::Ready(Err(ConnectError::Closed { address, reason })),
                (Poll::Pending, _) if inner.is_connected && inner.closed.is_none() => Poll::Ready(Ok(())),
                (Poll::Pending, _) => Poll::Pending,
            })
            .await
    }

    /// True if the association is established, or was before it ended.
    pub(crate) fn was_connected(&self) -> bool {
        self.shared.read(|inner| inner.is_connected)
    }

    /// Makes a channel and returns it at once, as W3C's `createDataChannel` does. What is sent before it is open is
    /// queued; [`DataChannel::opened`] waits for that. As in W3C's text, a channel is open when the peer has been told of
    /// it, whether it has answered or not.
    ///
    /// # Errors
    ///
    /// What is wrong with the options; that every stream id is in use; or that the association is closed or closing.
    pub fn create_channel(&self, options: impl Into<ChannelOptions>) -> Result<DataChannel, OpenError> {
        let options = options.into();
        let opened = self.shared.command(|inner, now| inner.open(now, options))?;
        Ok(DataChannel::held(Arc::clone(&self.shared), opened))
    }

    /// Makes a channel, and waits until it is open: [`create_channel`](Self::create_channel) and
    /// [`DataChannel::opened`] in one.
    ///
    /// # Errors
    ///
    /// As [`create_channel`](Self::create_channel); and that the channel ended before it was open.
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes the channel again.
    pub async fn open_channel(&self, options: impl Into<ChannelOptions>) -> Result<DataChannel, OpenChannelError> {
        let channel = self.create_channel(options)?;
        match channel.opened().await {
            Ok(()) => Ok(channel),
            Err(SendError::Failed(error)) => Err(OpenChannelError::Failed(error)),
            Err(_) => Err(OpenChannelError::Closed),
        }
    }

    /// Opens a channel with this label as a stream of bytes whose directions end separately, as those of a TCP connection:
    /// [`open_channel`](Self::open_channel) with [`ChannelOptions::byte_stream`], and [`DataChannel::into_byte_stream`]. The
    /// peer accepts the channel, and calls `into_byte_stream` too.
    ///
    /// # Errors
    ///
    /// As [`open_channel`](Self::open_channel).
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes the channel again.
    pub async fn open_byte_stream(&self, label: impl Into<String>) -> Result<ByteStream, OpenChannelError> {
        let channel = self.open_channel(ChannelOptions::new(label).byte_stream()).await?;
        Ok(channel.into_byte_stream())
    }

    /// Waits for a channel that the peer opens. It is open, and what the peer sent on it since waits in it. `None` when
    /// the association is closing or closed; [`closed`](Self::closed) says why.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no channel. Several tasks may wait; each channel goes to one of them.
    pub async fn accept_channel(&self) -> Option<DataChannel> {
        let opened = WaitFuture::new(&self.shared, ACCEPT).wait(|inner, _| inner.poll_incoming()).await?;
        Some(DataChannel::held(Arc::clone(&self.shared), opened))
    }

    /// Ends the association gracefully, from now on (RFC 9260 §9.2): nothing more can be sent, and all that either end
    /// had accepted for sending is delivered, for which the applications of both ends have to go on reading. Then every
    /// channel ends without an error. The future resolves then, as [`closed`](Self::closed) does, and need not be kept.
    ///
    /// The shutdown may take as long as this end's queue gets shorter, and after that as long as the peer's does, up to
    /// five minutes ([`shutdown_max`](narrowboat_sctp::AssociationConfig::shutdown_max)). Thirty seconds without progress
    /// ([`shutdown_guard`](narrowboat_sctp::AssociationConfig::shutdown_guard)) end it with an error at both ends.
    ///
    /// # Errors
    ///
    /// Of the future: why the association ended otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub fn shutdown(&self) -> ShuttingDown {
        self.shared.command(|inner, now| inner.begin_shutdown(now));
        ShuttingDown { shared: Arc::clone(&self.shared), key: WaiterKey::default() }
    }

    /// Ends the association at once. The peer is told the reason; what is not delivered yet is lost, and every channel
    /// ends with an error, here and there (RFC 9260 §9.1).
    pub fn abort(&self, reason: &str) {
        self.shared.command(|inner, _| inner.abort(reason));
    }

    /// Waits until the association has ended, and says why. Its last datagram has left by then, so that the process may
    /// end; and the endpoint may dial the same address again.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn closed(&self) -> CloseReason {
        WaitFuture::new(&self.shared, PROGRESS).wait(|inner, _| inner.poll_closed()).await
    }

    /// The peer's address and port. Over DTLS the peer may move, and has none (0.0.0.0:0) before it has been heard of.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.remote_address()
    }

    /// Largest message that [`DataChannel::send`] accepts, in bytes.
    #[must_use]
    pub fn max_message_size(&self) -> usize {
        self.shared.read(|inner| inner.send_size_max)
    }

    /// Returns what the system said when it refused the last datagram of this association; `None` if it took the last one.
    /// While it refuses them the association waits, as if they were lost on their way, and goes on when there is a way to
    /// the peer again.
    #[must_use]
    pub fn network_error(&self) -> Option<String> {
        self.shared.read(|inner| inner.network_error.clone())
    }

    /// Counters and gauges: what was sent, received, retransmitted, dropped; windows and round-trip time.
    #[must_use]
    pub fn stats(&self) -> narrowboat_sctp::AssociationStats {
        self.shared.read(|inner| inner.core.stats())
    }

    /// Counters of the association's channels: channels opened, accepted, closed and failed; messages and bytes in both
    /// directions; and each message or request of the peer that was dropped or refused, by reason. They count from the
    /// association's creation, closed channels included.
    #[must_use]
    pub fn channel_stats(&self) -> narrowboat_dcep::ChannelsStats {
        self.shared.read(|inner| inner.channels.stats().clone())
    }
}

/// The peer's address, the state and the number of channels; nothing that must not be in a log.
impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, channels) = self.shared.read(|inner| (inner.state(), inner.channels_alive()));
        let remote = self.remote_address();
        f.debug_struct("Association")
            .field("remote_address", &remote)
            .field("state", &format_args!("{state}"))
            .field("channels", &channels)
            .finish_non_exhaustive()
    }
}

impl Clone for Association {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        self.shared.command(|inner, now| inner.release_association(now));
    }
}

/// The end of an association that is shutting down; see [`Association::shutdown`]. It may be dropped.
pub struct ShuttingDown {
    shared: Arc<Shared>,
    key: WaiterKey,
}

impl Future for ShuttingDown {
    type Output = Result<(), CloseReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, key } = self.get_mut();
        shared.poll(cx, PROGRESS, key, |inner, _| inner.poll_closed()).map(|reason| match reason {
            CloseReason::Shutdown => Ok(()),
            reason => Err(reason),
        })
    }
}

impl fmt::Debug for ShuttingDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShuttingDown").field("remote_address", &self.shared.remote_address()).finish_non_exhaustive()
    }
}

impl Drop for ShuttingDown {
    fn drop(&mut self) {
        self.shared.unregister(None, &self.key);
    }
}

/// Waits in one place, for as long as it lives.
#[derive(Debug)]
pub(crate) struct WaitFuture<'a> {
    shared: &'a Shared,
    place: WaitKey,
    key: WaiterKey,
}

impl<'a> WaitFuture<'a> {
    pub(crate) fn new(shared: &'a Shared, place: WaitKey) -> Self {
        Self { shared, place, key: WaiterKey::default() }
    }

    /// Tries something now, and again each time that what it waits for happens, until it can be done.
    pub(crate) async fn wait<R>(&mut self, mut attempt: impl FnMut(&mut Inner, std::time::Instant) -> Poll<R>) -> R {
        poll_fn(|cx| self.shared.poll(cx, self.place, &mut self.key, &mut attempt)).await
    }
}

impl Drop for WaitFuture<'_> {
    fn drop(&mut self) {
        self.shared.unregister(self.place.channel, &self.key);
    }
}
