//! A channel as a stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::DataChannel;
use crate::error::io_error;

/// Longest message that a write becomes: 64 KiB, the limit of a peer that announces none (RFC 8841 §6.1), and long
/// enough that what a message costs is small beside what its bytes cost.
const WRITE_SIZE_MAX: usize = 64 << 10;

/// A channel that reads and writes as a stream of bytes; made by
/// [`DataChannel::into_byte_stream`].
///
/// - A write becomes one binary message of at most 64 KiB (or the peer's limit, if that is smaller). It waits while the
///   channel is full. Flushing does nothing: what was written is on its way.
/// - Reading gives the bytes of the messages, text or binary, one after another. It ends when the channel is closed; if
///   the channel failed, with an error.
/// - [`shutdown`](tokio::io::AsyncWrite::poll_shutdown) closes the channel, **both directions of it**: data channels have
///   no half-close. What was written before is delivered first, and what the peer sent until it heard of the close can
///   still be read. It waits until both directions are reset, so the peer has everything when it returns.
/// - Dropping it closes the channel too, without waiting.
///
/// The channel should be reliable and ordered, or bytes are missing or change places.
///
/// # Cancel safety
///
/// As tokio asks of `AsyncRead` and `AsyncWrite`: a poll that is pending has read or written nothing.
pub struct ByteStream {
    channel: DataChannel,
    unread: Bytes,
    message_size: usize,
}

impl ByteStream {
    pub(super) fn new(channel: DataChannel) -> Self {
        let message_size = WRITE_SIZE_MAX.min(channel.handle.shared.read(|inner| inner.send_size_max)).max(1);
        Self { channel, unread: Bytes::new(), message_size }
    }

    /// The channel itself.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// The channel, and what was received but not read.
    #[must_use]
    pub fn into_channel(self) -> (DataChannel, Bytes) {
        (self.channel, self.unread)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let len = bytes.len().min(buf.remaining());
        buf.put_slice(bytes.get(..len).unwrap_or_default());
        self.consume(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for ByteStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        // An empty message has no bytes, and must not look like the end.
        while this.unread.is_empty() {
            match ready!(this.channel.poll_recv(cx)) {
                Some(Ok(message)) => this.unread = message.into_bytes(),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&this.unread))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let this = self.get_mut();
        this.unread.advance(count.min(this.unread.len()));
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let message = buf.get(..this.message_size).unwrap_or(buf);
        if message.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let sent = this.channel.poll_send(cx, || narrowboat_dcep::Message::Binary(Bytes::copy_from_slice(message)));
        Poll::Ready(ready!(sent).map(|()| message.len()).map_err(io_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        drop(this.channel.close());
        this.channel.poll_closed(cx).map_err(io_error)
    }
}
