//! The two halves of a byte stream.

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

/// The half of a [`ByteStream`](super::ByteStream) that reads; see [`into_split`](super::ByteStream::into_split).
///
/// With half close, dropping it before it has read the peer's end makes the peer's writes fail with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). Without, dropping it does nothing as long as the writing half is there.
pub struct ByteReadHalf {
    channel: DataChannel,
    unread: Bytes,
    pub(super) has_half_close: bool,
}

impl ByteReadHalf {
    pub(super) fn new(channel: DataChannel, has_half_close: bool) -> Self {
        Self { channel, unread: Bytes::new(), has_half_close }
    }

    /// Returns the channel itself.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// Returns the channel, and the bytes that were received but not read.
    pub(super) fn detach(mut self) -> (DataChannel, Bytes) {
        if std::mem::take(&mut self.has_half_close) {
            let id = self.channel.handle.id;
            self.channel.handle.shared.read(|inner| inner.detach_reader(id));
        }
        (self.channel.clone(), std::mem::take(&mut self.unread))
    }
}

impl AsyncRead for ByteReadHalf {
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

impl AsyncBufRead for ByteReadHalf {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.unread.is_empty()
            && let Some(bytes) = ready!(this.channel.poll_read_bytes(cx)).map_err(io_error)?
        {
            this.unread = bytes;
        }
        Poll::Ready(Ok(&this.unread))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let this = self.get_mut();
        this.unread.advance(count.min(this.unread.len()));
    }
}

impl fmt::Debug for ByteReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteReadHalf").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Drop for ByteReadHalf {
    fn drop(&mut self) {
        if self.has_half_close {
            let (id, unread) = (self.channel.handle.id, self.unread.len());
            self.channel.handle.shared.command(|inner, now| inner.drop_reader(now, id, unread));
        }
    }
}

/// The half of a [`ByteStream`](super::ByteStream) that writes; see [`into_split`](super::ByteStream::into_split).
///
/// With half close, dropping it shuts down. If the reading half was dropped first, before it had read the peer's end,
/// the peer's reads fail with [`ConnectionReset`](io::ErrorKind::ConnectionReset) unless all that the peer wrote was
/// read. Without half close, dropping it does nothing as long as the reading half exists.
pub struct ByteWriteHalf {
    channel: DataChannel,
    message_size: usize,
    has_half_close: bool,
}

impl ByteWriteHalf {
    pub(super) fn new(channel: DataChannel, has_half_close: bool) -> Self {
        let message_size = WRITE_SIZE_MAX.min(channel.handle.shared.read(|inner| inner.setup.send_size_max)).max(1);
        Self { channel, message_size, has_half_close }
    }

    /// Returns the channel itself.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    pub(super) fn detach(mut self) {
        if std::mem::take(&mut self.has_half_close) {
            let id = self.channel.handle.id;
            self.channel.handle.shared.read(|inner| inner.detach_writer(id));
        }
    }
}

impl AsyncWrite for ByteWriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let message = buf.get(..this.message_size).unwrap_or(buf);
        if message.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(ready!(this.channel.poll_write_bytes(cx, message)).map(|()| message.len()).map_err(io_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().channel.poll_shutdown_bytes(cx).map_err(io_error)
    }
}

impl fmt::Debug for ByteWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteWriteHalf").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Drop for ByteWriteHalf {
    fn drop(&mut self) {
        if self.has_half_close {
            let id = self.channel.handle.id;
            self.channel.handle.shared.command(|inner, now| inner.drop_writer(now, id));
        }
    }
}
