//! The handle of a channel.

mod byte_stream;
mod close_future;
mod receipt;
mod sink;
mod split;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use narrowboat_dcep::{ChannelId, ChannelOptions, ChannelStats, Message};
use narrowboat_sctp::{Reliability, SendPolicy, StreamId};

pub use byte_stream::{ByteReadHalf, ByteStream, ByteWriteHalf};
pub use close_future::Closing;
pub use receipt::Receipt;
pub use split::{RecvHalf, SendHalf};

use crate::ReadyState;
use crate::association::{ChannelEvent, Inner, OpenedChannel, Shared, WaitFuture};
use crate::error::{ChannelError, Error, SendError, TryRecvError, TrySendError};
use crate::waiters::{Interest, WaitKey, WaiterKey};

/// Handle of a data channel: messages in both directions, as W3C's `RTCDataChannel`.
///
/// A clone is another handle of the same channel; several tasks may send and receive on it at the same time, and each
/// message goes to one of them. Dropping the last handle [closes](Self::close) the channel; accepted messages are
/// still sent.
///
/// It is a [`Stream`](futures_core::Stream) and a [`Sink`](futures_sink::Sink) of messages,
/// [splits](Self::split) into a half for each, and [becomes](Self::into_byte_stream) a stream of bytes.
pub struct DataChannel {
    handle: Handle,
    stream: StreamId,
    options: Arc<ChannelOptions>,
    /// Keys with which the `Stream` and the `Sink` wait, and a message that the sink has accepted and the channel had
    /// no room for.
    stream_key: WaiterKey,
    sink_key: WaiterKey,
    sink_message: Option<Message>,
}

impl DataChannel {
    /// Creates the handle of a channel that has counted it already.
    pub(crate) fn held(shared: Arc<Shared>, opened: OpenedChannel) -> Self {
        let OpenedChannel { id, stream, options } = opened;
        Self::from_handle(Handle { shared, id }, stream, Arc::new(options))
    }

    fn from_handle(handle: Handle, stream: StreamId, options: Arc<ChannelOptions>) -> Self {
        Self {
            handle,
            stream,
            options,
            stream_key: WaiterKey::default(),
            sink_key: WaiterKey::default(),
            sink_message: None,
        }
    }

    /// Returns the label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.options.label
    }

    /// Returns the name of the subprotocol.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.options.protocol
    }

    /// Returns the stream id. Once the channel is closed, another channel may use it. If both ends connect to each
    /// other at the same time, it may change when the association is established.
    #[must_use]
    pub fn id(&self) -> u16 {
        let id = self.handle.id;
        self.handle.shared.read(|inner| inner.channels.stream(id)).unwrap_or(self.stream).0
    }

    /// Returns `true` if messages are delivered in the order in which they were sent.
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.options.ordered
    }

    /// Returns the reliability: how often, or for how long, a lost message is retransmitted.
    #[must_use]
    pub fn reliability(&self) -> Reliability {
        self.options.reliability
    }

    /// Returns `true` if the applications of both ends created the channel, without DATA_CHANNEL_OPEN.
    #[must_use]
    pub fn negotiated(&self) -> bool {
        self.options.negotiated.is_some()
    }

    /// Returns the [priority](ChannelOptions::priority) with which this end sends: that of the options with which
    /// either end opened the channel, or the one that was set last.
    #[must_use]
    pub fn priority(&self) -> u16 {
        let id = self.handle.id;
        let set = self.handle.shared.read(|inner| inner.channels.options(id).map(|options| options.priority));
        set.unwrap_or(self.options.priority)
    }

    /// Changes the [priority](ChannelOptions::priority) with which this end sends on the channel, from the next message
    /// on, or from the next packet if messages interleave. The peer is not told: it sends with the priority that
    /// DATA_CHANNEL_OPEN has carried, or that it has set itself. Does nothing on a closed channel.
    ///
    /// ```
    /// # use narrowboat::DataChannel;
    /// # fn example(channel: &DataChannel) {
    /// channel.set_priority(1024); // sends four times as many bytes as a channel of normal priority
    /// # }
    /// ```
    pub fn set_priority(&self, priority: u16) {
        self.handle.shared.command_channel(self.handle.id, |inner, _| inner.set_priority(self.handle.id, priority));
    }

    /// Returns the state.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.handle.shared.read(|inner| inner.ready_state(self.handle.id))
    }

    /// Returns the bytes that `send` has accepted and that were not sent yet.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.handle.shared.read(|inner| inner.channels.buffered_amount(&inner.sctp, self.handle.id))
    }

    /// Returns the buffered amount that counts as low. Default 0.
    #[must_use]
    pub fn buffered_amount_low_threshold(&self) -> usize {
        self.handle.shared.read(|inner| inner.entry(self.handle.id).map_or(0, |entry| entry.send_buffer.low_threshold))
    }

    /// Sets the buffered amount that counts as low, in bytes.
    pub fn set_buffered_amount_low_threshold(&self, threshold: usize) {
        let id = self.handle.id;
        self.handle.shared.command_channel(id, |inner, _| inner.set_buffered_amount_low_threshold(id, threshold));
    }

    /// Sets the policy for messages that wait to be sent, in place of that in
    /// [`ChannelOptions::send_policy`](crate::ChannelOptions#structfield.send_policy). It holds at once, also for those
    /// that wait already.
    pub fn set_send_policy(&self, policy: SendPolicy) {
        let id = self.handle.id;
        self.handle.shared.command_channel(id, |inner, _| inner.set_send_policy(id, policy));
    }

    /// Waits until the buffered amount is at its threshold or below, or the channel is closing or closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn buffered_amount_low(&self) {
        let id = self.handle.id;
        self.wait(Interest::Low, |inner, _| {
            let amount = inner.channels.buffered_amount(&inner.sctp, id);
            let is_low = inner.entry(id).is_none_or(|entry| amount <= entry.send_buffer.low_threshold);
            if is_low || matches!(inner.ready_state(id), ReadyState::Closing | ReadyState::Closed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Sends a message; waits while the send buffer is full. When this returns, the message is queued, not delivered.
    /// Before a program ends it awaits [`close`](Self::close), the association's
    /// [`shutdown`](crate::Association::shutdown) or the endpoint's [`wait_idle`](crate::Endpoint::wait_idle): what is
    /// still queued when the runtime ends is lost, and the peer gets an ABORT.
    ///
    /// # Errors
    ///
    /// The message is above [`max_message_size`](crate::Association::max_message_size), or the channel is closing or
    /// closed. Nothing was queued.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing was queued.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let id = self.handle.id;
        self.wait(Interest::Send, |inner, now| inner.poll_send(now, id, || message.clone())).await
    }

    /// Sends a message as [`send`](Self::send) does, and returns a receipt, which tells when the message was sent and
    /// acknowledged, or why it was abandoned. A receipt counts against the send buffer like a short message until it
    /// has ended or is dropped; messages without one pay nothing for it.
    ///
    /// ```
    /// # use narrowboat::{AbandonReason, ChannelOptions, Endpoint, WaitingMax};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), narrowboat::Error> {
    /// # let (service, client) = (Endpoint::bind("127.0.0.1:0")?, Endpoint::bind("127.0.0.1:0")?);
    /// # let association = client.connect(service.local_address()).await?;
    /// let latest = ChannelOptions::new("state").drop_oldest(WaitingMax::Messages(1));
    /// let state = association.open_channel(latest).await?;
    /// match state.send_with_receipt("x=3 y=4").await?.await {
    ///     Ok(()) => println!("the peer has it"),
    ///     Err(AbandonReason::Displaced) => println!("newer state went instead"),
    ///     Err(reason) => println!("{reason}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing was queued.
    pub async fn send_with_receipt(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let message = message.into();
        let id = self.handle.id;
        let receipt =
            self.wait(Interest::Send, |inner, now| inner.poll_send_with_receipt(now, id, || message.clone())).await?;
        Ok(Receipt::new(Arc::clone(&self.handle.shared), receipt))
    }

    /// Returns the counters of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.handle.shared.read(|inner| inner.channels.channel_stats(self.handle.id)).unwrap_or_default()
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] returns the message; the others are as for [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        let message = message.into();
        let id = self.handle.id;
        match self.handle.shared.command_channel(id, |inner, now| inner.poll_send(now, id, || message.clone())) {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Pending => Err(TrySendError::Full(message)),
        }
    }

    /// Sends a message if there is room for it now, and returns a [receipt](Self::send_with_receipt).
    ///
    /// # Errors
    ///
    /// As for [`try_send`](Self::try_send).
    pub fn try_send_with_receipt(&self, message: impl Into<Message>) -> Result<Receipt, TrySendError> {
        let message = message.into();
        let id = self.handle.id;
        let send = |inner: &mut Inner, now| inner.poll_send_with_receipt(now, id, || message.clone());
        match self.handle.shared.command_channel(id, send) {
            Poll::Ready(Ok(receipt)) => Ok(Receipt::new(Arc::clone(&self.handle.shared), receipt)),
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Pending => Err(TrySendError::Full(message)),
        }
    }

    /// Waits for the next message. Returns every message that arrived before the channel ended, then the error once if
    /// the channel failed, then `None`. `None` is returned as soon as the peer has closed its direction, though this
    /// end may still be sending.
    ///
    /// A page that calls `RTCPeerConnection.close()` aborts the association, so that `recv` returns an error for a page
    /// that is left in good order; [`ChannelError::is_orderly`] tells it from a failure.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no message was received.
    pub async fn recv(&self) -> Option<Result<Message, ChannelError>> {
        let id = self.handle.id;
        self.wait(Interest::Receive, |inner, now| inner.poll_recv(now, id)).await
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none has arrived; otherwise the end of the channel.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        match self.handle.shared.command_channel(self.handle.id, |inner, now| inner.poll_recv(now, self.handle.id)) {
            Poll::Ready(Some(Ok(message))) => Ok(message),
            Poll::Ready(Some(Err(error))) => Err(error.into()),
            Poll::Ready(None) => Err(TryRecvError::Closed),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    /// Waits until the channel is open. Returns at once if it has ever been.
    ///
    /// # Errors
    ///
    /// The channel was closed before it was open; [`SendError::Failed`] has the reason if it failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn opened(&self) -> Result<(), SendError> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| {
            let state = inner.ready_state(id);
            match inner.entry(id) {
                Some(entry) if entry.was_open || state == ReadyState::Open => Poll::Ready(Ok(())),
                Some(entry) if matches!(state, ReadyState::Closing | ReadyState::Closed) => {
                    Poll::Ready(Err(entry.send_error(state)))
                }
                Some(_) => Poll::Pending,
                None => Poll::Ready(Err(SendError::NotOpen(ReadyState::Closed))),
            }
        })
        .await
    }

    /// Closes the channel, from now on: its state is [`Closing`](ReadyState::Closing), and `send` fails. Messages that
    /// were accepted before are still sent, then this direction is reset, and the peer resets the other (RFC 8831
    /// §6.7). The future resolves when both are reset and the answer to the peer was passed to the socket: the program
    /// may end then. The future need not be kept. Messages that the peer sent before its reset can still be received.
    ///
    /// Messages that the *peer* has accepted and not sent when the close arrives are discarded there, as Chromium does
    /// and Firefox does not: its channel ends with an error that says how much. Agree on a last message first if both
    /// ends send.
    ///
    /// The future has no time-out of its own. A reset that is not answered is repeated for as long as the association
    /// lasts, so that an outage never leaves the channel open at one end alone; a peer that is silent ends the
    /// association after some 70 seconds. The future waits for a peer that neither reads nor closes:
    /// [`discard_unsent`](Self::discard_unsent) ends the first wait, `tokio::time::timeout` both.
    ///
    /// Closing twice does nothing more.
    ///
    /// # Errors
    ///
    /// Of the future: the reason for which the channel ended without both resets, mostly the end of the association.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the close.
    pub fn close(&self) -> Closing {
        self.handle.shared.command_channel(self.handle.id, |inner, now| inner.close_channel(now, self.handle.id));
        Closing::new(Arc::clone(&self.handle.shared), self.handle.id)
    }

    /// Discards the messages that a [closing](Self::close) channel has accepted and not sent, and abandons those that
    /// are not acknowledged, so that it closes soon even if the peer does not read. Returns the bytes discarded;
    /// messages in flight may arrive or not. Does nothing in any other state.
    pub fn discard_unsent(&self) -> usize {
        self.handle.shared.command_channel(self.handle.id, |inner, now| inner.discard_unsent(now, self.handle.id))
    }

    /// Waits until the channel is closed, by either end.
    ///
    /// # Errors
    ///
    /// The reason, if the channel did not end by a close of either end.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn closed(&self) -> Result<(), ChannelError> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| inner.poll_end(id)).await
    }

    /// Waits for the next event; `None` after [`ChannelEvent::Close`]. Events are queued from the beginning; repeated
    /// [`BufferedAmountLow`](ChannelEvent::BufferedAmountLow) count as one. Each event goes to one of several tasks.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no event was returned.
    pub async fn next_event(&self) -> Option<ChannelEvent> {
        let id = self.handle.id;
        self.wait(Interest::Life, |inner, _| match inner.entry(id) {
            None => Poll::Ready(None),
            Some(entry) => match entry.next_event() {
                None if !entry.end.is_sent => Poll::Pending,
                event => Poll::Ready(event),
            },
        })
        .await
    }

    /// Splits the handle into a half that sends and a half that receives, for two tasks. The channel is closed when
    /// both are dropped.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        (SendHalf::new(self.clone()), RecvHalf::new(self))
    }

    /// Reads and writes as a stream of bytes. If the channel was opened with
    /// [`ChannelOptions::byte_stream`], each direction ends separately; if not, a shutdown closes both, which loses
    /// what the peer still has to send: `tokio::io::copy_bidirectional` ends with an error then. The channel gets the
    /// default [send policy](Self::set_send_policy), because no other would deliver every byte. See [`ByteStream`].
    #[must_use]
    pub fn into_byte_stream(self) -> ByteStream {
        self.set_send_policy(SendPolicy::default());
        ByteStream::new(self)
    }

    async fn wait<R>(&self, interest: Interest, attempt: impl FnMut(&mut Inner, std::time::Instant) -> Poll<R>) -> R {
        WaitFuture::new(&self.handle.shared, self.wait_key(interest)).wait(attempt).await
    }

    fn wait_key(&self, interest: Interest) -> WaitKey {
        WaitKey { channel: Some(self.handle.id), interest }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, ChannelError>>> {
        let (wait_key, id) = (self.wait_key(Interest::Receive), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.stream_key, |inner, now| inner.poll_recv(now, id))
    }

    /// Sends what `message` makes, which is only asked if there may be room.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: impl FnOnce() -> narrowboat_dcep::Message,
    ) -> Poll<Result<(), SendError>> {
        let (wait_key, id) = (self.wait_key(Interest::Send), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.sink_key, |inner, now| inner.poll_send(now, id, message))
    }

    fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let (wait_key, id) = (self.wait_key(Interest::Receive), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.stream_key, |inner, now| inner.poll_read_bytes(now, id))
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Error>> {
        let (wait_key, id) = (self.wait_key(Interest::Send), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.sink_key, |inner, now| inner.poll_write_bytes(now, id, bytes))
    }

    fn poll_shutdown_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (wait_key, id) = (self.wait_key(Interest::Life), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.sink_key, |inner, now| inner.poll_shutdown_bytes(now, id))
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        let (wait_key, id) = (self.wait_key(Interest::Life), self.handle.id);
        self.handle.shared.poll(cx, wait_key, &mut self.sink_key, |inner, _| inner.poll_end(id))
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
