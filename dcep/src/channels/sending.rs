//! Sending messages, and the bytes that wait (RFC 8831 §6.6, W3C send).

use bytes::Bytes;
use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{
    AbandonReason, Association, CloseReason, Ppid, Reliability, SendMessageError, SendOptions, StreamId,
};

use super::context::ChannelsContext;
use crate::channel::Channel;
use crate::error::{ChannelError, ChannelSendError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::Message;
use crate::ready_state::ReadyState;

/// Messages of one stream that were abandoned together.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbandonedMessages {
    pub(super) messages: u64,
    pub(super) bytes: usize,
    pub(super) reason: AbandonReason,
    pub(super) unsent: bool,
}

/// A method of the association that accepts a message.
pub(super) trait HandOver<R>:
    FnOnce(&mut Association, Instant, StreamId, Ppid, Bytes, SendOptions) -> Result<R, SendMessageError>
{
}

impl<R, F> HandOver<R> for F where
    F: FnOnce(&mut Association, Instant, StreamId, Ppid, Bytes, SendOptions) -> Result<R, SendMessageError>
{
}

impl ChannelsContext<'_> {
    /// Queues a message by `hand_over`, which is a method of the association.
    pub(super) fn send_message<R>(
        &mut self,
        id: ChannelId,
        message: Message,
        hand_over: impl HandOver<R>,
    ) -> Result<R, ChannelSendError> {
        let result = self.try_send(id, message, hand_over);
        if matches!(result, Err(ChannelSendError::Full)) {
            self.on_full(id);
        }
        result
    }

    fn try_send<R>(
        &mut self,
        id: ChannelId,
        message: Message,
        hand_over: impl HandOver<R>,
    ) -> Result<R, ChannelSendError> {
        let channel = self.state.channels.channel_mut(id).ok_or(ChannelSendError::NoSuchChannel)?;
        let len = message.len();
        check_sendable(channel, len, self.state.config.peer_message_size_max)?;
        if self.state.streams.awaited.contains(channel.stream) {
            return Err(ChannelSendError::Full);
        }
        let accepted = queue(self.now, self.association, channel, message, false, hand_over)?;
        self.count_sent(len);
        Ok(accepted)
    }

    /// Queues a message whatever the limits of the send buffer.
    pub(super) fn send_message_unlimited(&mut self, id: ChannelId, message: Message) -> Result<(), ChannelSendError> {
        self.force_control(id);
        let result = self.try_send_unlimited(id, message);
        if matches!(result, Err(ChannelSendError::Full)) {
            self.on_full(id);
        }
        result
    }

    fn try_send_unlimited(&mut self, id: ChannelId, message: Message) -> Result<(), ChannelSendError> {
        let channel = self.state.channels.channel_mut(id).ok_or(ChannelSendError::NoSuchChannel)?;
        let len = message.len();
        check_sendable(channel, len, self.state.config.peer_message_size_max)?;
        if let Some(awaited) = self.state.streams.awaited.entry_mut(channel.stream) {
            awaited.push(self.now, message);
            return Ok(());
        }
        queue(self.now, self.association, channel, message, true, Association::send)?;
        self.count_sent(len);
        Ok(())
    }

    /// Queues the messages that have waited for the stream of a channel. The wait is a part of their lifetimes.
    pub(super) fn send_awaited(&mut self, id: ChannelId, messages: Vec<(Instant, Message)>) {
        for (sent_at, message) in messages {
            let Some(channel) = self.state.channels.channel_mut(id) else { return };
            let len = message.len();
            let waited = self.now.saturating_duration_since(sent_at);
            if let Reliability::MaxLifetime(lifetime) = channel.options.reliability
                && waited > lifetime
            {
                channel.sending.counters.add(len);
                self.count_sent(len);
                let reason = AbandonReason::Lifetime;
                self.on_abandoned_by(id, AbandonedMessages { messages: 1, bytes: len, reason, unsent: true });
                continue;
            }
            let send = |association: &mut Association, now, stream, ppid, payload, options: SendOptions| {
                let reliability = match options.reliability {
                    Reliability::MaxLifetime(lifetime) => Reliability::MaxLifetime(lifetime.saturating_sub(waited)),
                    other => other,
                };
                association.send(now, stream, ppid, payload, SendOptions { reliability, ..options })
            };
            if queue(self.now, self.association, channel, message.clone(), true, send).is_ok() {
                self.count_sent(len);
            } else {
                // The association is shutting down, and Closed follows.
                self.discard_awaited(id, &[(sent_at, message)], || ChannelError::Association(CloseReason::Shutdown));
            }
        }
    }

    /// Discards messages that have waited for the stream of a channel, because the association ends. The channel ends
    /// with an error, even if that is a graceful shutdown.
    pub(super) fn discard_awaited(
        &mut self,
        id: ChannelId,
        messages: &[(Instant, Message)],
        error: impl FnOnce() -> ChannelError,
    ) {
        if let Some(channel) = self.state.channels.channel_mut(id)
            && !messages.is_empty()
        {
            let bytes = messages.iter().map(|(_, message)| message.len()).sum();
            channel.sending.on_discarded(0, bytes);
            channel.set_error(error());
            self.state.stats.bytes_discarded += bytes as u64;
        }
    }

    #[inline]
    fn count_sent(&mut self, len: usize) {
        self.state.stats.messages_sent += 1;
        self.state.stats.bytes_sent += len as u64;
    }

    /// Counts abandoned messages, and reports them to their channel.
    pub(super) fn on_abandoned(&mut self, stream: StreamId, abandoned: AbandonedMessages) {
        match self.state.streams.owner_of(stream) {
            Some(id) => self.on_abandoned_by(id, abandoned),
            None => self.state.stats.messages_abandoned += abandoned.messages,
        }
    }

    fn on_abandoned_by(&mut self, id: ChannelId, abandoned: AbandonedMessages) {
        let AbandonedMessages { messages, bytes, reason, unsent } = abandoned;
        self.state.stats.messages_abandoned += messages;
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        tracing::debug!(channel = id.0, stream_id = %channel.stream, messages, bytes, ?reason, unsent, "messages abandoned");
        channel.sending.counters.abandoned.add(reason, unsent, messages, bytes);
        self.state.events.push_back(ChannelsEvent::Abandoned { channel: id, messages, bytes, reason, unsent });
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

/// Checks that a channel takes a message of this length. A peer that takes messages of any size says 0 (RFC 8841 §6).
#[inline]
fn check_sendable(channel: &Channel, len: usize, max: usize) -> Result<(), ChannelSendError> {
    if !channel.can_send() {
        return Err(ChannelSendError::NotOpen(channel.state()));
    }
    if max != 0 && len > max {
        return Err(ChannelSendError::TooLarge { len, max });
    }
    // Nothing goes before DATA_CHANNEL_OPEN, which is waiting itself.
    if channel.sending.control.is_some() { Err(ChannelSendError::Full) } else { Ok(()) }
}

/// Queues a message that was checked.
#[inline]
fn queue<R>(
    now: Instant,
    association: &mut Association,
    channel: &mut Channel,
    message: Message,
    exceeds_limits: bool,
    hand_over: impl HandOver<R>,
) -> Result<R, ChannelSendError> {
    let len = message.len();
    let (ppid, payload) = message.into_wire();
    let queued = association.buffered_amount(channel.stream);
    let options = SendOptions { exceeds_limits, ..channel.send_options() };
    let accepted = match hand_over(association, now, channel.stream, ppid, payload, options) {
        Ok(accepted) => accepted,
        Err(SendMessageError::Full) => return Err(ChannelSendError::Full),
        Err(SendMessageError::TooLarge { len, max }) => return Err(ChannelSendError::TooLarge { len, max }),
        Err(SendMessageError::Closed) => return Err(ChannelSendError::AssociationClosed),
        // The handshake has left the peer with fewer streams, or the stream is being reset: the event that closes the
        // channel is waiting to be polled. `Empty` does not happen, for empty messages have a placeholder.
        Err(_) => return Err(ChannelSendError::NotOpen(ReadyState::Closing)),
    };
    match len {
        0 => channel.sending.queue.on_empty_message(queued),
        _ => channel.sending.queue.on_message(len, queued),
    }
    let waiting = channel.sending.queue.application_bytes(association.buffered_amount(channel.stream));
    channel.sending.on_message(waiting);
    channel.sending.counters.add(len);
    Ok(accepted)
}
