//! A channel as a stream of bytes.

mod halves;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use narrowboat_sctp::Reliability;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

pub use halves::{ByteReadHalf, ByteWriteHalf};

use super::DataChannel;

/// A channel that reads and writes as a stream of bytes; created by
/// [`Association::open_byte_stream`](crate::Association::open_byte_stream) and by [`DataChannel::into_byte_stream`].
///
/// - A write becomes one binary message of at most 64 KiB (or the peer's limit, if that is smaller). It waits while the
///   channel is full. Flushing does nothing: what was written is on its way.
/// - Reading gives the bytes of the messages, one after another. It ends with `Ok(0)` only if the peer has ended its
///   direction in good order and every byte of it was read. In any other case it ends with an error, and repeats that.
///
/// # Half close
///
/// A data channel closes both directions at once (RFC 8831 §6.7). A byte stream ends each direction separately, as TCP
/// does and as [`tokio::io::copy_bidirectional`](https://docs.rs/tokio/latest/tokio/io/fn.copy_bidirectional.html) and
/// protocols with a request and an answer need it, if the channel was opened for it: reliable and ordered, with the
/// protocol name [`PROTOCOL`](Self::PROTOCOL), which
/// [`ChannelOptions::byte_stream`](crate::ChannelOptions::byte_stream) sets. The other end sees the name, and
/// [`into_byte_stream`](DataChannel::into_byte_stream) speaks the protocol there.
/// [`has_half_close`](Self::has_half_close) tells. Then:
///
/// - [`shutdown`](tokio::io::AsyncWrite::poll_shutdown) ends the direction in which this end writes, behind all that
///   was written. This end goes on reading until the peer has shut down too. `shutdown` returns when the end is queued;
///   if the peer's end has been read already, it closes the channel and waits for that, so the peer has everything when
///   it returns.
/// - The channel is closed when both directions have ended, by either end.
/// - Dropping the writing half shuts down. Dropping the reading half before the peer's end makes the peer's writes fail
///   with [`BrokenPipe`](io::ErrorKind::BrokenPipe). Dropping both, without a shutdown and with something unread, makes
///   the peer's reads fail with [`ConnectionReset`](io::ErrorKind::ConnectionReset), as does a peer that closes the
///   channel in the middle of the stream or aborts.
///
/// The end of a direction is an empty binary message. A page takes part without a library:
///
/// ```js
/// const channel = connection.createDataChannel("log", { protocol: "narrowboat.stream.v1" });
/// channel.binaryType = "arraybuffer"; // an empty message ends the service's direction; text: it reads no more
/// channel.onmessage = ({ data }) => data.byteLength ? take(data) : typeof data === "string" ? stopped() : ended();
/// channel.send(new ArrayBuffer(0)); // ends the page's direction, once; the service closes the channel after both ends
/// ```
///
/// # Without half close
///
/// On any other channel `shutdown` closes **both directions**. What was written before is delivered first. It waits
/// until both directions are reset, so the peer has everything when it returns. What the peer sent until it heard of
/// the close can still be read; then reading gives
/// [`ByteStreamError::ClosedHere`](crate::error::ByteStreamError::ClosedHere), because the peer may have had more to
/// send. If the peer closes first, reading ends with `Ok(0)` once the peer has received all that was written here, or
/// with an error if some of it was discarded unsent: [`PeerClosed`](crate::error::ChannelError::PeerClosed), or
/// [`Undelivered`](crate::error::ByteStreamError::Undelivered) on a channel that is not reliable. The number of bytes
/// that the peer's application has read is not known. Such a channel should be reliable and ordered, or bytes are
/// missing or change places.
///
/// Dropping the stream closes the channel in either case, without waiting.
///
/// # Cancel safety
///
/// As tokio asks of `AsyncRead` and `AsyncWrite`: a poll that is pending has read or written nothing.
pub struct ByteStream {
    read: ByteReadHalf,
    write: ByteWriteHalf,
}

impl ByteStream {
    /// Protocol name of a channel whose byte stream can be half closed.
    pub const PROTOCOL: &str = narrowboat_dcep::BYTE_STREAM_PROTOCOL;

    pub(super) fn new(channel: DataChannel) -> Self {
        let is_reliable = channel.reliability() == Reliability::Reliable;
        let has_half_close = channel.protocol() == Self::PROTOCOL && channel.ordered() && is_reliable;
        if has_half_close {
            channel.handle.shared.read(|inner| inner.hold_byte_stream(channel.handle.id));
        }
        Self {
            read: ByteReadHalf::new(channel.clone(), has_half_close),
            write: ByteWriteHalf::new(channel, has_half_close),
        }
    }

    /// Returns the channel itself.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        self.read.channel()
    }

    /// Returns true if each direction ends separately: see [Half close](#half-close).
    #[must_use]
    pub fn has_half_close(&self) -> bool {
        self.read.has_half_close
    }

    /// Splits the stream into a half that reads and a half that writes, for two tasks.
    #[must_use]
    pub fn into_split(self) -> (ByteReadHalf, ByteWriteHalf) {
        (self.read, self.write)
    }

    /// Returns the channel, and the bytes that were received but not read. Nothing is shut down. On a channel with half
    /// close the messages that end a direction are then messages as any other.
    #[must_use]
    pub fn into_channel(self) -> (DataChannel, Bytes) {
        self.write.detach();
        self.read.detach()
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").field("channel", self.channel()).finish_non_exhaustive()
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().read).poll_read(cx, buf)
    }
}

impl AsyncBufRead for ByteStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().read).poll_fill_buf(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        Pin::new(&mut self.get_mut().read).consume(count);
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(cx)
    }
}
