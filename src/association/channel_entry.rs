//! What the tokio layer keeps for a channel: who holds it, who waits for it, what happened to it.

use bytes::Bytes;
use narrowboat_dcep::ReadyState;

use crate::channel::{ChannelEvent, HalfClose};
use crate::error::{ByteStreamError, ChannelError, Error, SendError};
use crate::waiters::Waiters;

/// One channel. It stays until the channel is closed and nothing refers to it any more.
#[derive(Debug, Default)]
pub(crate) struct ChannelEntry {
    /// Handles of the application; the channel is closed and forgotten when the last one goes.
    pub(crate) handles: usize,
    /// Handles, and futures that outlive them.
    pub(crate) references: usize,
    pub(crate) waiters: Waiters,
    pub(crate) events: EventQueue,
    /// `send` said that the buffer is full, and nothing has said otherwise since: who wants to send need not try.
    pub(crate) is_full: bool,
    pub(crate) was_open: bool,
    pub(crate) buffered_amount_low_threshold: usize,
    /// How it ended, once it has.
    pub(crate) end: Option<Result<(), ChannelError>>,
    /// True if the peer has been told of the end, as far as the socket takes it: the last packet has left.
    pub(crate) is_end_sent: bool,
    /// True if `recv` has returned the end.
    pub(crate) is_end_given: bool,
    /// True if this end closed the channel, before it had heard that the peer did.
    pub(crate) is_closed_here: bool,
    /// True if something that was sent here was neither acknowledged nor given up when the peer closed the channel.
    pub(crate) has_undelivered: bool,
    /// How reading the channel as a byte stream has ended.
    pub(crate) read_end: Option<Box<ReadEnd>>,
    /// What is known of a byte stream that can be half closed, if the application has made one of the channel.
    pub(crate) half_close: Option<Box<HalfClose>>,
}

/// How reading a byte stream has ended. It is kept, because an association that fails later must not change it.
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
    /// A channel that was open when it got here, as those of the peer are.
    pub(crate) fn open() -> Self {
        Self { was_open: true, ..Self::default() }
    }

    /// Why nothing can be sent in `state`.
    pub(crate) fn send_error(&self, state: ReadyState) -> SendError {
        match &self.end {
            Some(Err(error)) => SendError::Failed(error.clone()),
            Some(Ok(())) => SendError::NotOpen(ReadyState::Closed),
            None => SendError::NotOpen(state),
        }
    }

    /// The next event, with the error in full.
    pub(crate) fn next_event(&mut self) -> Option<ChannelEvent> {
        Some(match self.events.pop()? {
            EventKind::Open => ChannelEvent::Open,
            EventKind::BufferedAmountLow => ChannelEvent::BufferedAmountLow,
            EventKind::Closing => ChannelEvent::Closing,
            EventKind::Close => ChannelEvent::Close,
            EventKind::Error => match &self.end {
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
    Closing,
    Error,
    Close,
}

/// Events nobody has taken yet, in order. Each kind is in here at most once: all but one happen once in a channel's
/// life, and several `BufferedAmountLow` say no more than one. So the queue needs no memory of its own and no limit.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    kinds: [EventKind; 5],
    len: u8,
}

impl EventQueue {
    pub(crate) fn push(&mut self, kind: EventKind) {
        let len = usize::from(self.len);
        if self.kinds.iter().take(len).all(|queued| *queued != kind)
            && let Some(place) = self.kinds.get_mut(len)
        {
            *place = kind;
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
