//! The handle of an association.

#[cfg(feature = "webrtc")]
mod security;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use narrowboat_dcep::ChannelOptions;

#[cfg(test)]
use crate::association::AssociationFault;
use crate::association::{PROGRESS, Shared, WaitFuture};
use crate::channel::{ByteStream, DataChannel};
use crate::error::{CloseReason, ConnectError, OpenChannelError, OpenError, SendError};
use crate::waiters::{Interest, WaitKey, WaiterKey};

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
    /// If the future is dropped before it completes, nothing changes.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        let address = self.remote_address();
        WaitFuture::new(&self.shared, PROGRESS)
            .wait(|inner, _| match (inner.poll_closed(), &inner.network.unreachable) {
                (Poll::Ready(_), Some(why)) => Poll::Ready(Err(ConnectError::NoRoute { address, why: why.clone() })),
                (Poll::Ready(reason), None) => Poll::Ready(Err(ConnectError::Closed { address, reason })),
                (Poll::Pending, _) if inner.life.is_connected() => Poll::Ready(Ok(())),
                (Poll::Pending, _) => Poll::Pending,
            })
            .await
    }

    /// True if the association is established, or was before it ended.
    pub(crate) fn was_connected(&self) -> bool {
        self.shared.read(|inner| inner.life.was_connected())
    }

    /// Opens a channel and returns it at once, as W3C's `createDataChannel` does. Messages that are sent before it is
    /// open are queued; [`DataChannel::opened`] waits until it is. As in the W3C specification, a channel is open when
    /// DATA_CHANNEL_OPEN was sent, without waiting for the peer's answer.
    ///
    /// # Errors
    ///
    /// The options are invalid, every stream id is in use, or the association is closed or closing.
    pub fn create_channel(&self, options: impl Into<ChannelOptions>) -> Result<DataChannel, OpenError> {
        let options = options.into();
        let opened = self.shared.command(|inner, now| inner.open(now, options))?;
        Ok(DataChannel::held(Arc::clone(&self.shared), opened))
    }

    /// Opens a channel, and waits until it is open: [`create_channel`](Self::create_channel) and
    /// [`DataChannel::opened`] in one.
    ///
    /// # Errors
    ///
    /// As [`create_channel`](Self::create_channel); or the channel ended before it was open.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the channel is closed again.
    pub async fn open_channel(&self, options: impl Into<ChannelOptions>) -> Result<DataChannel, OpenChannelError> {
        let channel = self.create_channel(options)?;
        match channel.opened().await {
            Ok(()) => Ok(channel),
            Err(SendError::Failed(error)) => Err(OpenChannelError::Failed(error)),
            Err(_) => Err(OpenChannelError::Closed),
        }
    }

    /// Opens a channel with this label as a stream of bytes whose directions end separately, as those of a TCP
    /// connection: [`open_channel`](Self::open_channel) with [`ChannelOptions::byte_stream`], and
    /// [`DataChannel::into_byte_stream`]. The peer accepts the channel, and calls `into_byte_stream` too.
    ///
    /// # Errors
    ///
    /// As [`open_channel`](Self::open_channel).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the channel is closed again.
    pub async fn open_byte_stream(&self, label: impl Into<String>) -> Result<ByteStream, OpenChannelError> {
        let channel = self.open_channel(ChannelOptions::new(label).byte_stream()).await?;
        Ok(channel.into_byte_stream())
    }

    /// Waits for a channel that the peer opens, and accepts it. The channel is open, and holds the messages that the
    /// peer has sent since. Returns `None` if the association is closing or closed; [`closed`](Self::closed) returns
    /// the reason.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no channel was accepted. Several tasks may wait; each channel goes
    /// to one of them.
    pub async fn accept_channel(&self) -> Option<DataChannel> {
        let opened = WaitFuture::new(&self.shared, ACCEPT).wait(|inner, _| inner.poll_incoming()).await?;
        Some(DataChannel::held(Arc::clone(&self.shared), opened))
    }

    /// Shuts the association down, from now on (RFC 9260 §9.2): no message is accepted any more, and every message that
    /// either end has accepted is delivered, for which the applications of both ends have to go on reading. Then every
    /// channel ends without an error. The future resolves then, as [`closed`](Self::closed) does, and need not be kept.
    ///
    /// The shutdown may take as long as this end's queue gets shorter, and after that as long as the peer's does, up to
    /// five minutes ([`shutdown_max`](narrowboat_sctp::AssociationConfig::shutdown_max)). Thirty seconds without
    /// progress ([`shutdown_guard`](narrowboat_sctp::AssociationConfig::shutdown_guard)) end it with an error at both
    /// ends.
    ///
    /// # Errors
    ///
    /// Of the future: the reason of another end of the association.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub fn shutdown(&self) -> ShuttingDown {
        self.shared.command(|inner, now| inner.begin_shutdown(now));
        ShuttingDown { shared: Arc::clone(&self.shared), key: WaiterKey::default() }
    }

    /// Aborts the association at once (RFC 9260 §9.1). The ABORT carries the reason to the peer. Undelivered messages
    /// are lost, and every channel ends with an error at both ends.
    pub fn abort(&self, reason: &str) {
        self.shared.command(|inner, _| inner.abort(reason));
    }

    /// Waits until the association has ended, and returns the reason. Its last datagram has left by then, so that the
    /// process may end, and the endpoint may connect to the same address again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn closed(&self) -> CloseReason {
        WaitFuture::new(&self.shared, PROGRESS).wait(|inner, _| inner.poll_closed()).await
    }

    /// Returns the peer's address and port. Over DTLS the peer may move, and its address is 0.0.0.0:0 until it is
    /// known.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.remote_address()
    }

    /// Returns the largest message that [`DataChannel::send`] accepts, in bytes.
    #[must_use]
    pub fn max_message_size(&self) -> usize {
        self.shared.read(|inner| inner.setup.send_size_max)
    }

    /// Returns the error of the system if it refused the last datagram of this association; `None` if it accepted it.
    /// Refused datagrams count as lost: the association retransmits them, and goes on when there is a route to the peer
    /// again.
    #[must_use]
    pub fn network_error(&self) -> Option<String> {
        self.shared.read(|inner| inner.network.refused.clone())
    }

    /// Returns counters and gauges: packets and bytes sent, received, retransmitted and dropped; windows and round-trip
    /// time; extensions of SCTP in use.
    #[must_use]
    pub fn stats(&self) -> narrowboat_sctp::AssociationStats {
        self.shared.read(|inner| inner.sctp.stats())
    }

    /// Returns the counters of the association's channels: channels opened, accepted, closed and failed; messages and
    /// bytes in both directions; and each message or request of the peer that was dropped or refused, by reason. They
    /// count from the association's creation, closed channels included.
    #[must_use]
    pub fn channel_stats(&self) -> narrowboat_dcep::ChannelsStats {
        self.shared.read(|inner| inner.channels.stats().clone())
    }
}

/// The peer's address, the state and the number of channels, which may all be logged.
impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, channels) = self.shared.read(|inner| (inner.life.word(), inner.entries.alive()));
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
