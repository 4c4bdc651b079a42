//! Channels as streams of bytes, under the association's lock: when reading has ended, and in what order.

use std::task::{Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::{ChannelId, Message, ReadyState, UnreadMessage};

use super::channel_entry::{ChannelEntry, ReadEnd};
use super::half_close::Frame;
use super::inner::Inner;
use crate::error::{ByteStreamError, ChannelError, Error, SendError, TransportFailure};
use crate::waiters::Interest;

impl Inner {
    /// Counts one more reading and one more writing half of a byte stream that can be half closed.
    pub(crate) fn hold_byte_stream(&mut self, id: ChannelId) {
        if let Some(half_close) = self.entries.begin_half_close(id) {
            half_close.readers += 1;
            half_close.writers += 1;
        }
    }

    /// Turns a reading half into a channel again: it is not a reader any more, and the peer is told nothing.
    pub(crate) fn detach_reader(&mut self, id: ChannelId) {
        if let Some(half_close) = self.entries.half_close(id) {
            half_close.readers -= 1;
        }
    }

    /// Turns a writing half into a channel again, as [`detach_reader`](Self::detach_reader) does with a reading half.
    pub(crate) fn detach_writer(&mut self, id: ChannelId) {
        if let Some(half_close) = self.entries.half_close(id) {
            half_close.writers -= 1;
        }
    }

    /// Handles the drop of a reading half with `unread` bytes in it. The last one tells the peer to stop.
    pub(crate) fn drop_reader(&mut self, now: Instant, id: ChannelId, unread: usize) {
        let Self { entries, channels, sctp, .. } = self;
        let Some(half_close) = entries.half_close(id) else { return };
        half_close.readers -= 1;
        if half_close.readers > 0 {
            return;
        }
        let frames = std::iter::from_fn(|| channels.recv(now, sctp, id)).map(Frame::decode);
        let frame = half_close.on_reader_dropped(unread, frames);
        self.has_work = true;
        self.tell(now, id, frame);
        self.close_if_over(now, id);
    }

    /// Handles the drop of a writing half. The last one ends its direction.
    pub(crate) fn drop_writer(&mut self, now: Instant, id: ChannelId) {
        self.scan_unread(id);
        let Some(half_close) = self.entries.half_close(id) else { return };
        half_close.writers -= 1;
        if half_close.writers > 0 {
            return;
        }
        let frame = half_close.on_writer_dropped();
        self.tell(now, id, frame);
        self.close_if_over(now, id);
    }

    /// Returns the next bytes; then `None` once the peer has ended its direction in good order and all of it was
    /// returned, or the reason why that cannot be said. Both are returned as often as they are asked for.
    pub(crate) fn poll_read_bytes(&mut self, now: Instant, id: ChannelId) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(end) = self.entries.half_close(id).and_then(|half_close| half_close.read_end()) {
                return Poll::Ready(end.map(|()| None).map_err(Error::from));
            }
            let Some(message) = self.channels.recv(now, &mut self.sctp, id) else { break };
            self.has_work = true;
            let bytes = match self.entries.half_close(id) {
                Some(half_close) => half_close.on_frame(Frame::decode(message)),
                // An empty message has no bytes, and must not look like the end.
                None => Some(message.into_bytes()).filter(|bytes| !bytes.is_empty()),
            };
            self.discard_after_end(now, id);
            self.close_if_over(now, id);
            if bytes.is_some() {
                return Poll::Ready(Ok(bytes));
            }
        }
        self.poll_byte_stream_end(id)
    }

    /// Returns how reading ends with the channel: all that has arrived was read.
    fn poll_byte_stream_end(&mut self, id: ChannelId) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(entry) = self.entries.entry(id) else { return Poll::Ready(Ok(None)) };
        let end = match entry.byte_stream.as_ref().and_then(|stream| stream.read_end.clone()) {
            Some(end) => end,
            None => ready!(self.poll_read_end(id, entry)),
        };
        if let Some(entry) = self.entries.entry_mut(id) {
            entry.byte_stream.get_or_insert_default().read_end.get_or_insert_with(|| end.clone());
        }
        Poll::Ready(end.into_result())
    }

    fn poll_read_end(&self, id: ChannelId, entry: &ChannelEntry) -> Poll<ReadEnd> {
        let end = match &entry.end.result {
            Some(end) => end.clone(),
            None => match self.channels.receive_end(id) {
                Some(end) => end.map_err(|error| error.clone().map_transport(TransportFailure::from)),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(match end {
            Err(error) => ReadEnd::ChannelFailed(error),
            // The peer discards what it has not sent when it learns of the close.
            Ok(()) if entry.end.is_closed_here || self.life.is_ended_here() => {
                ReadEnd::Failed(ByteStreamError::ClosedHere)
            }
            Ok(()) if entry.has_half_close() => ReadEnd::Failed(ByteStreamError::Truncated),
            Ok(()) if ready!(self.poll_is_delivered(id)) => ReadEnd::Finished,
            Ok(()) => ReadEnd::Failed(ByteStreamError::Undelivered),
        })
    }

    /// Returns `true` if the peer has closed the channel and has received all that was sent on it, except for messages
    /// that were abandoned. `Pending` if that is not known yet: the SACK that came with the peer's reset need not cover
    /// what the peer has received, because a loss on another channel holds the Cumulative TSN Ack back. The answer to
    /// our reset tells: the peer performs the reset when everything before it has arrived (RFC 6525 §5.2.2), and then
    /// the channel is closed.
    fn poll_is_delivered(&self, id: ChannelId) -> Poll<bool> {
        let Some(entry) = self.entries.entry(id) else { return Poll::Ready(true) };
        // Discarded messages stay in the buffered amount.
        let is_discarded = self.channels.buffered_amount(&self.sctp, id) > 0;
        match &entry.end.result {
            _ if is_discarded => Poll::Ready(false),
            _ if !entry.end.has_undelivered => Poll::Ready(true),
            Some(end) => Poll::Ready(end.is_ok()),
            None => Poll::Pending,
        }
    }

    /// Hands bytes to the core as one message; `Pending` when it is full.
    pub(crate) fn poll_write_bytes(&mut self, now: Instant, id: ChannelId, bytes: &[u8]) -> Poll<Result<(), Error>> {
        self.scan_unread(id);
        if let Some(error) = self.entries.half_close(id).and_then(|half_close| half_close.write_error()) {
            return Poll::Ready(Err(error.into()));
        }
        ready!(self.poll_send(now, id, || Message::Binary(Bytes::copy_from_slice(bytes))))?;
        if let Some(half_close) = self.entries.half_close(id) {
            half_close.on_written(bytes.len());
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the direction in which this end writes. Without half close that closes the channel, and is done when the
    /// channel is closed. With it, it is done when the FIN is queued; the end that is the last to shut down closes the
    /// channel, and waits for that.
    pub(crate) fn poll_shutdown_bytes(&mut self, now: Instant, id: ChannelId) -> Poll<Result<(), Error>> {
        self.scan_unread(id);
        let Some(half_close) = self.entries.half_close(id) else {
            self.close_channel(now, id);
            return self.poll_end(id).map_err(Error::from);
        };
        if half_close.has_lost_bytes() {
            return Poll::Ready(Err(ByteStreamError::Stopped.into()));
        }
        // Nobody waits for the end of a direction that the peer has stopped reading.
        if !half_close.is_fin_sent() && !half_close.is_stopped() {
            ready!(self.poll_send_fin(now, id))?;
        }
        if !self.entries.half_close(id).is_some_and(|half_close| half_close.is_incoming_over()) {
            return Poll::Ready(Ok(()));
        }
        self.close_if_over(now, id);
        match ready!(self.poll_end(id)) {
            // The peer has reset the channel after all that was written, so it has all of that.
            Err(ChannelError::Association(_)) if self.channels.is_reset_by_peer(id) => Poll::Ready(Ok(())),
            end => Poll::Ready(end.map_err(Error::from)),
        }
    }

    /// Sends the FIN. That is an error if the channel is closed, unless the peer has closed it without waiting for the
    /// FIN, and has all that was written.
    fn poll_send_fin(&mut self, now: Instant, id: ChannelId) -> Poll<Result<(), Error>> {
        if let Err(error) = self.send_frame(now, id, &Frame::Fin) {
            let is_closed_here = self.entries.entry(id).is_none_or(|entry| entry.end.is_closed_here);
            if is_closed_here || !self.channels.is_reset_by_peer(id) || !ready!(self.poll_is_delivered(id)) {
                return Poll::Ready(Err(error.into()));
            }
        }
        if let Some(half_close) = self.entries.half_close(id) {
            half_close.on_fin_sent();
        }
        Poll::Ready(Ok(()))
    }

    fn send_frame(&mut self, now: Instant, id: ChannelId, frame: &Frame) -> Result<(), SendError> {
        self.has_work = true;
        self.channels.send_beyond_limits(now, &mut self.sctp, id, frame.encode()).map_err(|error| match error {
            narrowboat_dcep::ChannelSendError::NotOpen(state) => match self.entries.entry(id) {
                Some(entry) => entry.send_error(state),
                None => SendError::NotOpen(ReadyState::Closed),
            },
            _ => SendError::AssociationClosed,
        })
    }

    /// Tells the peer something if it can still be told: if the channel has ended, the peer knows more than that.
    fn tell(&mut self, now: Instant, id: ChannelId, frame: Option<Frame>) {
        if let Some(frame) = frame
            && let Err(error) = self.send_frame(now, id, &frame)
        {
            tracing::debug!(?frame, %error, "the peer is not told of the end of a byte stream");
        }
    }

    /// Handles the arrival of a message at a channel without unread messages.
    pub(super) fn on_readable(&mut self, now: Instant, id: ChannelId, wakers: &mut Vec<Waker>) {
        self.discard_after_end(now, id);
        self.close_if_over(now, id);
        if let Some(entry) = self.entries.entry_mut(id) {
            entry.waiters.wake(Interest::Receive, wakers);
        }
    }

    /// Takes in what arrives in a direction that is over here: its bytes are of no use, and must not keep the receive
    /// window closed.
    fn discard_after_end(&mut self, now: Instant, id: ChannelId) {
        let Self { entries, channels, sctp, .. } = self;
        let Some(half_close) = entries.half_close(id).filter(|half_close| half_close.discards()) else { return };
        while let Some(message) = channels.recv(now, sctp, id) {
            half_close.on_frame(Frame::decode(message));
            self.has_work = true;
        }
        if half_close.write_error() == Some(ByteStreamError::Stopped) {
            self.wake_channel(id);
        }
    }

    /// Looks through what has arrived and is not read for the peer's word that it reads no more. Each message is looked
    /// at once.
    fn scan_unread(&mut self, id: ChannelId) {
        let Self { entries, channels, .. } = self;
        let Some(half_close) = entries.half_close(id) else { return };
        while let Some(unread) = channels.peek(id, half_close.scanned()) {
            let text = match unread {
                UnreadMessage::Text(text) => Some(text),
                UnreadMessage::Binary(_) => None,
            };
            half_close.on_scanned(text);
        }
    }

    /// Closes the channel if neither direction is of use any more.
    fn close_if_over(&mut self, now: Instant, id: ChannelId) {
        let is_over = self.entries.half_close(id).is_some_and(|half_close| half_close.is_over());
        if is_over && matches!(self.ready_state(id), ReadyState::Connecting | ReadyState::Open) {
            self.close_channel(now, id);
        }
    }

    /// Returns true if something that was sent on a channel was neither acknowledged nor given up, or was discarded.
    pub(super) fn has_undelivered(&self, id: ChannelId) -> bool {
        let is_drained = self.channels.stream(id).is_some_and(|stream| self.sctp.is_drained(stream));
        !is_drained || self.channels.buffered_amount(&self.sctp, id) > 0
    }
}
