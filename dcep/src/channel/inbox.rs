//! Messages of a channel that the application has not read.

use bytestring::ByteString;
use narrowboat_sctp::{Credit, Payload, UnreadQueue};

use crate::message::{Message, UnreadMessage};

/// Contents of a message to be read.
#[derive(Debug)]
pub(crate) enum Content {
    Text(ByteString),
    /// In the pieces in which it has arrived, which are joined when it is read.
    Binary(Payload),
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(payload) => payload.len(),
        }
    }
}

/// A message to be read.
#[derive(Debug)]
pub(crate) struct InboundMessage {
    pub(crate) content: Content,
    pub(crate) credit: Credit,
}

impl InboundMessage {
    pub(crate) fn into_message(self) -> (Message, Credit) {
        let message = match self.content {
            Content::Text(text) => Message::Text(text),
            Content::Binary(payload) => Message::Binary(payload.into_bytes()),
        };
        (message, self.credit)
    }
}

/// The messages that wait to be read, in order.
#[derive(Debug, Default)]
pub(crate) struct ChannelInbox {
    messages: UnreadQueue<InboundMessage>,
    /// True if arriving messages are discarded instead of kept for reading.
    is_closed: bool,
    pub(crate) counters: ReceivedCounters,
}

/// Messages that have arrived for the application.
#[derive(Debug, Default)]
pub(crate) struct ReceivedCounters {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl ReceivedCounters {
    /// Counts a message that has arrived.
    pub(crate) fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }
}

impl ChannelInbox {
    /// Returns `true` if arriving messages are discarded.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Discards arriving messages from now on. Those that have arrived can still be read.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Discards arriving messages from now on. Returns those that are unread.
    pub(crate) fn close_and_take(&mut self) -> impl Iterator<Item = InboundMessage> + use<> {
        self.close();
        self.messages.drain()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Adds a message. Returns `true` if the inbox was empty.
    pub(crate) fn push(&mut self, message: InboundMessage) -> bool {
        self.messages.push_back(message);
        self.messages.len() == 1
    }

    pub(crate) fn pop(&mut self) -> Option<InboundMessage> {
        self.messages.pop_front()
    }

    pub(crate) fn peek(&self, skipped: usize) -> Option<UnreadMessage<'_>> {
        self.messages.get(skipped).map(|received| match &received.content {
            Content::Text(text) => UnreadMessage::Text(text),
            Content::Binary(payload) => UnreadMessage::Binary(payload),
        })
    }
}
