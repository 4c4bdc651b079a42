//! The handle of a channel.

mod byte_stream;
mod close_future;
mod event;
mod sink;
mod split;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use narrowboat_dcep::{ChannelId, ChannelOptions, Message};
use narrowboat_sctp::Reliability;

pub use byte_stream::{ByteReadHalf, ByteStream, ByteWriteHalf};
pub(crate) use byte_stream::{Frame, HalfClose};
pub use close_future::Closing;
pub use event::ChannelEvent;
pub use split::{RecvHalf, SendHalf};

use crate::ReadyState;
use crate::association::{OpenedChannel, Shared, WaitFuture, WaitKey};
use crate::error::{ChannelError, Error, SendError, TryRecvError, TrySendError};
use crate::waiters::{Interest, WaiterKey};

/// A data channel: messages in both directions, as W3C's `RTCDataChannel`.
///
/// A clone is another handle of the same channel; several tasks may send and receive on it at the same time, and each
/// message goes to one of them. Dropping the last handle [closes](Self::close) the channel; what it had accepted is
/// still sent.
///
/// It is a [`Stream`](futures_core::Stream) and a [`Sink`](futures_sink::Sink) of messages,
/// [splits](Self::split) into a half for each, and [becomes](Self::into_byte_stream) a stream of bytes.
pub struct DataChannel {
    handle: Handle,
    stream: u16,
    options: Arc<ChannelOptions>,
    /// Of the `Stream` and the `Sink`: their places among the waiting, and a message accepted by the sink for which
    /// the channel had no room.
    stream_key: WaiterKey,
    sink_key: WaiterKey,
    sink_message: Option<Message>,
}

impl DataChannel {
    /// A channel whose handle has been counted already.
    pub(crate) fn held(shared: Arc<Shared>, opened: OpenedChannel) -> Self {
        let OpenedChannel { id, stream, options } = opened;
        Self::from_handle(Handle { shared, id }, stream, Arc::new(options))
    }

    fn from_handle(handle: Handle, stream: u16, options: Arc<ChannelOptions>) -> Self {
        Self {
            handle,
            stream,
            options,
            stream_key: WaiterKey::default(),
            sink_key: WaiterKey::default(),
            sink_message: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.options.label
    }

    /// What is spoken on it.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.options.protocol
    }

    /// Its stream id. Once the channel is closed, another may have it. If both ends dial each other at the same time, it may
    /// be another one when the association is established.
    #[must_use]
    pub fn id(&self) -> u16 {
        let id = self.handle.id;
        self.handle.shared.read(|inner| inner.channels.stream(id)).unwrap_or(self.stream)
    }

    /// Whether messages arrive in the order in which they were sent.
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.options.ordered
    }

    /// How hard each message is tried.
    #[must_use]
    pub fn reliability(&self) -> Reliability {
        self.options.reliability
    }

    /// Whether both ends made the channel, instead of one telling the other.
    #[must_use]
    pub fn negotiated(&self) -> bool {
        self.options.negotiated.is_some()
    }

    /// Where it is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.handle.shared.read(|inner| inner.ready_state(self.handle.id))
    }

    /// Bytes accepted by `send` and not yet sent for the first time.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.handle.shared.read(|inner| inner.channels.buffered_amount(&inner.core, self.handle.id))
    }

    /// The buffered amount at which it counts as low. 0 at first.
    #[must_use]
    pub fn buffered_amount_low_threshold(&self) -> usize {
        self.handle.shared.read(|inner| inner.slot(self.handle.id).map_or(0, |slot| slot.buffered_amount_low_threshold))
    }

    /// Sets the buffered amount at which it counts as low.
    pub fn set_buffered_amount_low_threshold(&self, threshold: usize) {
        let id = self.handle.id;
        self.handle.shared.command(|inner, _| inner.set_buffered_amount_low_threshold(id, threshold));
    }

    /// Waits until the buffered amount is at its threshold or below, or nothing more can be sent anyway.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn buffered_amount_low(&self) {
        let id = self.handle.id;
        self.wait(Interest::Low, |inner, _| {
            let amount = inner.channels.buffered_amount(&inner.core, id);
            let is_low = inner.slot(id).is_none_or(|slot| amount <= slot.buffered_amount_low_threshold);
            if is_low || matches!(inner.ready_state(id), ReadyState::Closing | ReadyState::Closed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Sends a message; waits while as much is waiting already as the configuration allows. The message is queued
    /// when this returns, not at the peer. Before a program ends it awaits [`close`](Self::close), the association's
    /// [`shutdown`](crate::Association::shutdown) or the endpoint's [`wait_idle`](crate::Endpoint::wait_idle): what is
    /// still queued when the runtime ends is lost, and the peer gets an ABORT.
    ///
    /// # Errors
    ///
    /// The message is above [`max_message_size`](crate::Association::max_message_size), or the channel is no longer
    /// open. Nothing was queued.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has queued the whole message or nothing: it has, if and only if it had returned.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let id = self.handle.id;
        self.wait(Interest::Send, |inner, now| inner.poll_send(now, id, || message.clone())).await
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] gives the message back; the rest as [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        let message = message.into();
        let id = self.handle.id;
        match self.handle.shared.command(|inner, now| inner.poll_send(now, id, || message.clone())) {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Pending => Err(TrySendError::Full(message)),
        }
    }

    /// Waits for the next message. All that came before the end are given; then, once, the error, if it did not end
    /// by a close of either end; then `None`, for ever. `None` comes as soon as the peer has closed its direction, though
    /// this end may still be sending.
    ///
    /// A page that calls `RTCPeerConnection.close()` aborts the association, so that `recv` returns an error for a page that
    /// is left in good order; [`ChannelError::is_orderly`] tells it from a failure.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no message.
    pub async fn recv(&self) -> Option<Result<Message, ChannelError>> {
        let id = self.handle.id;
        self.wait(Interest::Receive, |inner, now| inner.poll_recv(now, id)).await
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none has arrived yet; else how the channel ended.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        match self.handle.shared.command(|inner, now| inner.poll_recv(now, self.handle.id)) {
            Poll::Ready(Some(Ok(message))) => Ok(message),
            Poll::Ready(Some(Err(error))) => Err(error.into()),
            Poll::Ready(None) => Err(TryRecvError::Closed),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    /// Waits until the channel is open. At once, if it has ever been.
    ///
    /// # Errors
    ///
    /// The channel was closed before it was open; [`SendError::Failed`] says why, if it failed.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn opened(&self) -> Result<(), SendError> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| {
            let state = inner.ready_state(id);
            match inner.slot(id) {
                Some(slot) if slot.was_open || state == ReadyState::Open => Poll::Ready(Ok(())),
                Some(slot) if matches!(state, ReadyState::Closing | ReadyState::Closed) => {
                    Poll::Ready(Err(slot.send_error(state)))
                }
                Some(_) => Poll::Pending,
                None => Poll::Ready(Err(SendError::NotOpen(ReadyState::Closed))),
            }
        })
        .await
    }

    /// Closes the channel, from now on: its state is [`Closing`](ReadyState::Closing), and `send` is refused. What was
    /// accepted before is still sent, then this direction is reset, and the peer resets the other (RFC 8831 §6.7). The
    /// future resolves when both are done and the peer has been told so, as far as the socket takes it: the program may end
    /// then. It need not be kept. What the peer sent before that can still be received.
    ///
    /// What the *peer* has accepted and not sent when it hears of the close is discarded there, as Chromium does and other
    /// than Firefox: its channel ends with an error that says how much. Agree on a last message first if both ends send.
    ///
    /// The future has no time-out of its own. A reset that is not answered is repeated for as long as the association
    /// lasts, so that an outage never leaves the channel open at one end alone; a peer that is silent ends the association
    /// after some 70 seconds. A peer that neither reads nor closes is waited for:
    /// [`discard_unsent`](Self::discard_unsent) is the way out of the first, `tokio::time::timeout` out of both.
    ///
    /// Closing twice does nothing more.
    ///
    /// # Errors
    ///
    /// Of the future: why the channel ended without both resets, mostly the end of the association.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the close.
    pub fn close(&self) -> Closing {
        self.handle.shared.command(|inner, now| inner.close_channel(now, self.handle.id));
        Closing::new(Arc::clone(&self.handle.shared), self.handle.id)
    }

    /// Throws away what a channel that is [closing](Self::close) has accepted and not sent, and sends nothing again of
    /// what it has, so that it closes soon even if the peer does not read. Returns the bytes thrown away; what is on its
    /// way may arrive or not. Does nothing in any other state.
    pub fn discard_unsent(&self) -> usize {
        self.handle.shared.command(|inner, now| inner.discard_unsent(now, self.handle.id))
    }

    /// Waits until the channel is closed, whoever closes it.
    ///
    /// # Errors
    ///
    /// Why it ended otherwise than by a close of either end.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn closed(&self) -> Result<(), ChannelError> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| inner.poll_end(id)).await
    }

    /// Waits for the next event; `None` after [`ChannelEvent::Close`]. Events wait here from the beginning; repeated
    /// [`BufferedAmountLow`](ChannelEvent::BufferedAmountLow) are one. Several tasks share them.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no event.
    pub async fn next_event(&self) -> Option<ChannelEvent> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| match inner.slot(id) {
            None => Poll::Ready(None),
            Some(slot) => match slot.next_event() {
                None if !slot.is_end_sent => Poll::Pending,
                event => Poll::Ready(event),
            },
        })
        .await
    }

    /// A half that sends and a half that receives, for two tasks. The channel is closed when both are dropped.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        (SendHalf::new(self.clone()), RecvHalf::new(self))
    }

    /// Reads and writes as a stream of bytes. If the channel was opened with
    /// [`ChannelOptions::byte_stream`], each direction ends separately; if not, a shutdown closes both, which loses what the
    /// peer still has to send: `tokio::io::copy_bidirectional` ends with an error then. See [`ByteStream`].
    #[must_use]
    pub fn into_byte_stream(self) -> ByteStream {
        ByteStream::new(self)
    }

    async fn wait<R>(
        &self,
        interest: Interest,
        attempt: impl FnMut(&mut crate::association::Inner, std::time::Instant) -> Poll<R>,
    ) -> R {
        WaitFuture::new(&self.handle.shared, self.place(interest)).wait(attempt).await
    }

    fn place(&self, interest: Interest) -> WaitKey {
        WaitKey { channel: Some(self.handle.id), interest }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, ChannelError>>> {
        let (place, id) = (self.place(Interest::Receive), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.stream_key, |inner, now| inner.poll_recv(now, id))
    }

    /// Sends what `message` makes, which is only asked if there may be room.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: impl FnOnce() -> narrowboat_dcep::Message,
    ) -> Poll<Result<(), SendError>> {
        let (place, id) = (self.place(Interest::Send), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.sink_key, |inner, now| inner.poll_send(now, id, message))
    }

    fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let (place, id) = (self.place(Interest::Receive), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.stream_key, |inner, now| inner.poll_read_bytes(now, id))
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Error>> {
        let (place, id) = (self.place(Interest::Send), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.sink_key, |inner, now| inner.poll_write_bytes(now, id, bytes))
    }

    fn poll_shutdown_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (place, id) = (self.place(Interest::Life), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.sink_key, |inner, now| inner.poll_shutdown_bytes(now, id))
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        let (place, id) = (self.place(Interest::Life), self.handle.id);
        self.handle.shared.poll(cx, place, &mut self.sink_key, |inner, _| inner.poll_end(id))
    }
}

/// Its name, id and state; nothing that is sent on it.
impl fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataChannel")
            .field("label", &self.label())
            .field("id", &self.id())
            .field("state", &self.ready_state())
            .finish_non_exhaustive()
    }
}

impl Clone for DataChannel {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone(), self.stream, Arc::clone(&self.options))
    }
}

impl Drop for DataChannel {
    fn drop(&mut self) {
        for key in [&self.stream_key, &self.sink_key] {
            self.handle.shared.unregister(Some(self.handle.id), key);
        }
    }
}

/// One counted reference to a channel.
struct Handle {
    shared: Arc<Shared>,
    id: ChannelId,
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.shared.read(|inner| inner.hold_channel(self.id));
        Self { shared: Arc::clone(&self.shared), id: self.id }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.command(|inner, now| inner.release_channel(now, self.id));
    }
}
