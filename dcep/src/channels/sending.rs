//! Sending messages, and the bytes that wait (RFC 8831 §6.6, W3C send).

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{Association, SendMessageError, SendOptions, StreamId};

use super::context::ChannelsContext;
use crate::channel::Channel;
use crate::error::ChannelSendError;
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::Message;
use crate::ready_state::ReadyState;

impl ChannelsContext<'_> {
    pub(super) fn send_message(
        &mut self,
        id: ChannelId,
        message: Message,
        exceeds_limits: bool,
    ) -> Result<(), ChannelSendError> {
        if exceeds_limits {
            self.force_control(id);
        }
        let channel = self.state.channels.channel_mut(id).ok_or(ChannelSendError::NoSuchChannel)?;
        if !channel.can_send() {
            return Err(ChannelSendError::NotOpen(channel.state()));
        }
        let (len, max) = (message.len(), self.state.config.peer_message_size_max);
        // RFC 8841 §6: 0 says that the peer takes messages of any size.
        if max != 0 && len > max {
            return Err(ChannelSendError::TooLarge { len, max });
        }
        if channel.sending.control.is_some() {
            // Nothing goes before DATA_CHANNEL_OPEN, which is waiting itself.
            self.on_full(id);
            return Err(ChannelSendError::Full);
        }
        if let Some(awaited) = self.state.streams.awaited.entry_mut(channel.stream) {
            if exceeds_limits {
                awaited.messages.push(message);
                return Ok(());
            }
            self.on_full(id);
            return Err(ChannelSendError::Full);
        }
        let result = queue(self.now, self.association, channel, message, exceeds_limits);
        match result {
            Ok(()) => self.count_sent(len),
            Err(ChannelSendError::Full) => self.on_full(id),
            Err(_) => {}
        }
        result
    }

    /// Queues the messages that have waited for the stream of a channel.
    pub(super) fn send_awaited(&mut self, id: ChannelId, messages: Vec<Message>) {
        for message in messages {
            let Some(channel) = self.state.channels.channel_mut(id) else { return };
            let len = message.len();
            // If the association is shutting down, Closed follows.
            if queue(self.now, self.association, channel, message, true).is_ok() {
                self.count_sent(len);
            }
        }
    }

    #[inline]
    fn count_sent(&mut self, len: usize) {
        self.state.stats.messages_sent += 1;
        self.state.stats.bytes_sent += len as u64;
    }

    /// Reports `Writable`, once, for each channel on which `send` returned `Full`.
    pub(super) fn on_writable(&mut self) {
        self.flush_controls();
        while let Some(id) = self.state.room.pop_sender() {
            if let Some(channel) = self.state.channels.channel_mut(id) {
                channel.sending.awaits_room = false;
                self.state.events.push_back(ChannelsEvent::Writable(id));
            }
        }
    }

    pub(super) fn on_buffered_amount_low(&mut self, stream: StreamId) {
        let Some(id) = self.state.streams.owner_of(stream) else { return };
        let buffered_amount = self.state.buffered_amount(self.association, id);
        if let Some(channel) = self.state.channels.channel_mut(id)
            && channel.sending.on_decrease(buffered_amount)
        {
            self.state.events.push_back(ChannelsEvent::BufferedAmountLow(id));
        }
    }

    /// Discards the unsent messages of a channel.
    pub(super) fn discard_unsent(&mut self, id: ChannelId) {
        self.take_back(id, Association::discard_unsent);
    }

    /// Discards the unsent messages of a channel, and abandons those that are not acknowledged.
    pub(super) fn abandon_unsent(&mut self, id: ChannelId) {
        self.take_back(id, Association::abandon_stream);
    }

    fn take_back(&mut self, id: ChannelId, drop: impl FnOnce(&mut Association, Instant, StreamId) -> usize) {
        self.drop_control(id);
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let before = self.association.buffered_amount(channel.stream);
        let dropped = drop(self.association, self.now, channel.stream);
        let after = self.association.buffered_amount(channel.stream);
        let queued = channel
            .sending
            .queue
            .application_bytes(before)
            .saturating_sub(channel.sending.queue.application_bytes(after));
        // `dropped` includes messages that had been sent in part, or were not acknowledged.
        let queued = queued + self.state.streams.awaited.discard_messages(channel.stream);
        let discarded = queued + dropped.saturating_sub(before.saturating_sub(after));
        channel.sending.on_discarded(before.saturating_sub(after), discarded);
        self.state.stats.bytes_discarded += discarded as u64;
        if self.state.room.stop_waiting(id) {
            channel.sending.awaits_room = false;
        }
    }

    fn on_full(&mut self, id: ChannelId) {
        self.state.room.await_room(id);
        if let Some(channel) = self.state.channels.channel_mut(id) {
            channel.sending.awaits_room = true;
        }
    }
}

/// Queues a message that was checked.
#[inline]
fn queue(
    now: Instant,
    association: &mut Association,
    channel: &mut Channel,
    message: Message,
    exceeds_limits: bool,
) -> Result<(), ChannelSendError> {
    let len = message.len();
    let (ppid, payload) = message.into_wire();
    let queued = association.buffered_amount(channel.stream);
    let options = SendOptions { exceeds_limits, ..channel.send_options() };
    match association.send(now, channel.stream, ppid, payload, options) {
        Ok(()) => {}
        Err(SendMessageError::Full) => return Err(ChannelSendError::Full),
        Err(SendMessageError::TooLarge { len, max }) => return Err(ChannelSendError::TooLarge { len, max }),
        Err(SendMessageError::Closed) => return Err(ChannelSendError::AssociationClosed),
        // The handshake has left the peer with fewer streams, or the stream is being reset: the event that closes the
        // channel is waiting to be polled. `Empty` does not happen, for empty messages have a placeholder.
        Err(_) => return Err(ChannelSendError::NotOpen(ReadyState::Closing)),
    }
    match len {
        0 => channel.sending.queue.on_empty_message(queued),
        _ => channel.sending.queue.on_message(len, queued),
    }
    let waiting = channel.sending.queue.application_bytes(association.buffered_amount(channel.stream));
    channel.sending.on_message(waiting);
    Ok(())
}
