//! Sending messages, and the bytes that wait (RFC 8831 §6.6, W3C send).

use std::time::Instant;

use narrowboat_sctp::{Association, SendMessageError, SendOptions, StreamId};

use super::DataChannels;
use crate::error::ChannelSendError;
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::Message;
use crate::ready_state::ReadyState;

impl DataChannels {
    pub(super) fn send_message(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: Message,
        exceeds_limits: bool,
    ) -> Result<(), ChannelSendError> {
        if exceeds_limits {
            self.force_control(now, association, id);
        }
        let channel = self.channels.get_mut(&id).ok_or(ChannelSendError::NoSuchChannel)?;
        if !channel.can_send() {
            return Err(ChannelSendError::NotOpen(channel.state()));
        }
        let (len, max) = (message.len(), self.config.peer_message_size_max);
        // RFC 8841 §6: 0 says that the peer takes messages of any size.
        if max != 0 && len > max {
            return Err(ChannelSendError::TooLarge { len, max });
        }
        if channel.control.is_some() {
            // Nothing goes before DATA_CHANNEL_OPEN, which is waiting itself.
            self.note_refusal(id);
            return Err(ChannelSendError::Full);
        }
        let (ppid, payload) = message.into_wire();
        let queued = association.buffered_amount(channel.stream);
        let options = SendOptions { exceeds_limits, ..channel.send_options() };
        match association.send(now, channel.stream, ppid, payload, options) {
            Ok(()) => {}
            Err(SendMessageError::Full) => {
                self.note_refusal(id);
                return Err(ChannelSendError::Full);
            }
            Err(SendMessageError::TooLarge { len, max }) => return Err(ChannelSendError::TooLarge { len, max }),
            Err(SendMessageError::Closed) => return Err(ChannelSendError::AssociationClosed),
            // The handshake has left the peer with fewer streams, or the stream is being reset: the event that closes
            // the channel is waiting to be polled. `Empty` does not happen, for empty messages have a placeholder.
            Err(SendMessageError::NoSuchStream { .. } | SendMessageError::Resetting(_) | SendMessageError::Empty) => {
                return Err(ChannelSendError::NotOpen(ReadyState::Closing));
            }
        }
        match len {
            0 => channel.queue.on_empty_message(queued),
            _ => channel.queue.on_message(len, queued),
        }
        channel.has_sent = true;
        let waiting = channel.queue.application_bytes(association.buffered_amount(channel.stream));
        channel.was_above_threshold |= waiting > channel.low_threshold;
        self.stats.messages_sent += 1;
        self.stats.bytes_sent += len as u64;
        Ok(())
    }

    /// There is room again: each channel that was told otherwise is told so, once.
    pub(super) fn on_writable(&mut self, now: Instant, association: &mut Association) {
        self.flush_controls(now, association);
        while let Some(id) = self.refused.pop_first() {
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.was_refused = false;
                self.events.push_back(ChannelsEvent::Writable(id));
            }
        }
    }

    pub(super) fn on_buffered_amount_low(&mut self, association: &Association, stream: StreamId) {
        let Some(id) = self.streams.get(&stream).and_then(|stream| stream.channel()) else { return };
        let buffered_amount = self.buffered_amount(association, id);
        if let Some(channel) = self.channels.get_mut(&id)
            && channel.was_above_threshold
            && buffered_amount <= channel.low_threshold
        {
            channel.was_above_threshold = false;
            self.events.push_back(ChannelsEvent::BufferedAmountLow(id));
        }
    }

    /// Takes back what was accepted on the channel and not sent: of interest to nobody any more.
    pub(super) fn discard(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        self.take_back(id, association, |association, stream| association.discard_unsent(now, stream));
    }

    /// As [`discard`](Self::discard), and sends nothing again of what was sent: nobody reads it.
    pub(super) fn give_up(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        self.take_back(id, association, |association, stream| association.give_up(now, stream));
    }

    fn take_back(
        &mut self,
        id: ChannelId,
        association: &mut Association,
        drop: impl FnOnce(&mut Association, StreamId) -> usize,
    ) {
        self.drop_control(id);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let before = association.buffered_amount(channel.stream);
        let dropped = drop(association, channel.stream);
        let after = association.buffered_amount(channel.stream);
        let queued = channel.queue.application_bytes(before).saturating_sub(channel.queue.application_bytes(after));
        // What had been sent, and was thrown away none the less.
        let discarded = queued + dropped.saturating_sub(before.saturating_sub(after));
        channel.on_discarded(before.saturating_sub(after), discarded);
        self.stats.bytes_discarded += discarded as u64;
        if self.refused.remove(&id) {
            channel.was_refused = false;
        }
    }

    fn note_refusal(&mut self, id: ChannelId) {
        self.refused.insert(id);
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.was_refused = true;
        }
    }
}
