//! State of a channel at the tokio layer: its handles, the tasks that wait on it, and its events.

use bytes::Bytes;
use narrowboat_dcep::ReadyState;
use tracing::Span;

use super::channel_event::ChannelEvent;
use super::half_close::HalfClose;
use crate::error::{ByteStreamError, ChannelError, Error, SendError};
use crate::waiters::Waiters;

/// One channel. Removed when the channel is closed and no handle or future refers to it.
#[derive(Debug, Default)]
pub(crate) struct ChannelEntry {
    pub(crate) holders: Holders,
    pub(crate) waiters: Waiters,
    pub(crate) events: EventQueue,
    pub(crate) send_buffer: SendBuffer,
    pub(crate) was_open: bool,
    pub(crate) end: ChannelEnd,
    /// State of the channel as a byte stream, if it has any.
    pub(crate) byte_stream: Option<Box<ByteStreamState>>,
    /// Span of the calls of the application on the channel; `None` below the level of debugging.
    pub(super) span: Option<Span>,
}

/// State of the channel's send buffer at this layer.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    /// True if the buffer was full at the last `send`, and no `Writable` has followed.
    pub(crate) is_full: bool,
    /// The buffered amount that counts as low, in bytes.
    pub(crate) low_threshold: usize,
}

/// Counts of those that refer to a channel.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Handles of the application. The channel is closed and released when the last one is dropped.
    pub(crate) handles: usize,
    /// Handles, and futures that outlive them.
    pub(crate) references: usize,
}

/// The end of a channel: the end of the association that began it, its result, and who has learnt of it.
#[derive(Debug, Default)]
pub(crate) struct ChannelEnd {
    /// True if this end closed the channel before the peer's close arrived.
    pub(crate) is_closed_here: bool,
    /// True if something that was sent here was neither acknowledged nor abandoned when the peer closed the channel.
    pub(crate) has_undelivered: bool,
    /// Result with which the channel has ended.
    pub(crate) result: Option<Result<(), ChannelError>>,
    /// True if the last packet of the channel was passed to the socket, so that the peer learns of the end.
    pub(crate) is_sent: bool,
    /// True if `recv` has returned the end.
    pub(crate) is_returned: bool,
}

/// A channel as a byte stream.
#[derive(Debug, Default)]
pub(crate) struct ByteStreamState {
    /// The end of reading, once reading has ended with the channel.
    pub(crate) read_end: Option<ReadEnd>,
    /// State of the two directions, if each of them ends separately.
    pub(crate) half_close: Option<HalfClose>,
}

/// Result with which reading a byte stream has ended. The result is kept, because a later failure of the association
/// must not change it.
#[derive(Clone, Debug)]
pub(crate) enum ReadEnd {
    Finished,
    Failed(ByteStreamError),
    ChannelFailed(ChannelError),
}

impl ReadEnd {
    pub(super) fn into_result(self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Finished => Ok(None),
            Self::Failed(error) => Err(error.into()),
            Self::ChannelFailed(error) => Err(error.into()),
        }
    }
}

impl ChannelEntry {
    /// Creates the entry of a channel of the peer, which is open.
    pub(crate) fn open() -> Self {
        Self { was_open: true, ..Self::default() }
    }

    /// Handles the end of the channel.
    pub(super) fn on_closed(&mut self, result: Result<(), ChannelError>) {
        if result.is_err() {
            self.events.push(EventKind::Error);
        }
        self.end.result = Some(result);
    }

    /// Handles the abandonment of messages.
    pub(super) fn on_abandoned(&mut self, messages: u64, bytes: usize) {
        self.events.abandoned.messages += messages;
        self.events.abandoned.bytes += bytes as u64;
        self.events.push(EventKind::Abandoned);
    }

    /// Returns `true` if the channel is a byte stream whose directions end separately.
    pub(super) fn has_half_close(&self) -> bool {
        self.byte_stream.as_ref().is_some_and(|stream| stream.half_close.is_some())
    }

    /// Returns the error of a send in `state`.
    pub(crate) fn send_error(&self, state: ReadyState) -> SendError {
        match &self.end.result {
            Some(Err(error)) => SendError::Failed(error.clone()),
            Some(Ok(())) => SendError::NotOpen(ReadyState::Closed),
            None => SendError::NotOpen(state),
        }
    }

    /// Returns the next event.
    pub(crate) fn next_event(&mut self) -> Option<ChannelEvent> {
        Some(match self.events.pop()? {
            EventKind::Open => ChannelEvent::Open,
            EventKind::BufferedAmountLow => ChannelEvent::BufferedAmountLow,
            EventKind::Abandoned => {
                let AbandonedTotal { messages, bytes } = std::mem::take(&mut self.events.abandoned);
                ChannelEvent::Abandoned { messages, bytes }
            }
            EventKind::Closing => ChannelEvent::Closing,
            EventKind::Close => ChannelEvent::Close,
            EventKind::Error => match &self.end.result {
                Some(Err(error)) => ChannelEvent::Error(error.clone()),
                // Not reached: an error is only queued with the end that it describes.
                _ => return self.next_event(),
            },
        })
    }
}

/// The kinds of [`ChannelEvent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum EventKind {
    #[default]
    Open,
    BufferedAmountLow,
    Abandoned,
    Closing,
    Error,
    Close,
}

/// Number of messages, and their bytes.
#[derive(Debug, Default)]
struct AbandonedTotal {
    messages: u64,
    bytes: u64,
}

/// Events that were not returned yet, in order. Each kind is queued at most once: all but two happen once in a
/// channel's life, several `BufferedAmountLow` tell no more than one, and several `Abandoned` are added up. So the
/// queue has a fixed size.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    kinds: [EventKind; 6],
    len: u8,
    /// Messages that were abandoned since the last event about them.
    abandoned: AbandonedTotal,
}

impl EventQueue {
    pub(crate) fn push(&mut self, kind: EventKind) {
        let len = usize::from(self.len);
        if self.kinds.iter().take(len).all(|queued| *queued != kind)
            && let Some(wait_key) = self.kinds.get_mut(len)
        {
            *wait_key = kind;
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<EventKind> {
        self.len = self.len.checked_sub(1)?;
        let [first, ..] = self.kinds;
        self.kinds.rotate_left(1);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_repeated_ones_once() {
        use EventKind::{BufferedAmountLow, Close, Closing, Error, Open};
        let mut queue = EventQueue::default();
        for kind in [Open, BufferedAmountLow, BufferedAmountLow, Closing, BufferedAmountLow, Error, Close] {
            queue.push(kind);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(taken, [Open, BufferedAmountLow, Closing, Error, Close]);
        queue.push(BufferedAmountLow);
        assert_eq!(queue.pop(), Some(BufferedAmountLow));
        assert_eq!(queue.pop(), None);
    }
}
