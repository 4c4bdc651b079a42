//! Opening channels from either end (RFC 8832 §6).

use std::collections::VecDeque;

use bytes::Bytes;
use narrowboat_sctp::{Credit, SendMessageError, SendOptions, StreamId};

use super::ChannelsPhase;
use super::context::ChannelsContext;
use crate::channel::{Channel, Origin};
use crate::control::ACK;
use crate::error::{ChannelError, OpenError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::open;
use crate::options::ChannelOptions;
use crate::ppid;
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::Arrival;

/// The length fields of DATA_CHANNEL_OPEN have 16 bits (RFC 8832 §5.1).
const TEXT_LEN_MAX: usize = 65_535;

impl ChannelsContext<'_> {
    pub(super) fn open_channel(&mut self, options: ChannelOptions) -> Result<ChannelId, OpenError> {
        if self.state.phase == ChannelsPhase::Ended {
            return Err(OpenError::Closed);
        }
        if options.label.len() > TEXT_LEN_MAX {
            return Err(OpenError::LabelTooLong(options.label.len()));
        }
        if options.protocol.len() > TEXT_LEN_MAX {
            return Err(OpenError::ProtocolTooLong(options.protocol.len()));
        }
        if self.state.channels.len() >= self.state.config.channels_max {
            return Err(OpenError::TooManyChannels(self.state.config.channels_max));
        }
        let options = options.normalized();
        let id = match options.negotiated {
            Some(id) => self.open_negotiated(options, StreamId(id))?,
            None => self.open_in_band(options)?,
        };
        self.state.stats.channels_opened += 1;
        Ok(id)
    }

    fn open_negotiated(&mut self, options: ChannelOptions, stream: StreamId) -> Result<ChannelId, OpenError> {
        let streams = self.stream_limit();
        let exists = stream.is_below(streams);
        if !exists && !self.can_ask_for(stream) {
            return Err(OpenError::InvalidId { id: stream.0, streams });
        }
        if self.state.ids.is_retired(stream) {
            return Err(OpenError::IdRetired(stream.0));
        }
        if self.state.streams.take_lost(stream) {
            return Err(OpenError::MessagesLost(stream.0));
        }
        let held = if self.state.streams.contains(stream) {
            self.state.streams.claim(stream).ok_or(OpenError::IdInUse(stream.0))?
        } else {
            self.state.ids.reserve(stream);
            VecDeque::new()
        };
        let policy = options.send_policy;
        let id = self.insert_channel(Channel::new(Origin::Negotiated, options, stream));
        if exists {
            self.association.set_send_policy(stream, policy);
            self.announce(id);
        } else {
            self.await_stream(id, None);
        }
        for arrival in held {
            // An unclaimed stream holds nothing but messages: a reset would have ended it.
            if let Arrival::Message(message) = arrival {
                self.on_message(message);
            }
        }
        Ok(id)
    }

    fn open_in_band(&mut self, options: ChannelOptions) -> Result<ChannelId, OpenError> {
        let none_is_free = if self.state.ids.len_retired() > 0 { OpenError::NoIdLeft } else { OpenError::NoFreeId };
        let Some(stream) = self.state.ids.allocate(self.stream_limit()) else {
            return self.open_beyond_streams(options, none_is_free);
        };
        let message = open::encode(&options);
        let (len, policy) = (message.len(), options.send_policy);
        let id = self.insert_channel(Channel::new(Origin::Local, options, stream));
        if let Err(error) = self.send_control(id, message, SendOptions::default()) {
            self.state.channels.take_back(id);
            self.release_unused_stream(stream);
            return Err(match error {
                SendMessageError::TooLarge { max, .. } => OpenError::TooLarge { len, max },
                _ => OpenError::Closed,
            });
        }
        self.association.set_send_policy(stream, policy);
        self.announce(id);
        Ok(id)
    }

    /// Opens a channel on a stream that does not exist yet, if the peer can be asked for it.
    fn open_beyond_streams(
        &mut self,
        options: ChannelOptions,
        none_is_free: OpenError,
    ) -> Result<ChannelId, OpenError> {
        let message = open::encode(&options);
        let (len, max) = (message.len(), self.association.send_message_size_max());
        let Some(stream) = self.state.ids.allocate(u16::MAX) else { return Err(none_is_free) };
        if len > max || !self.can_ask_for(stream) {
            self.state.ids.release_unused(stream);
            return Err(if len > max { OpenError::TooLarge { len, max } } else { none_is_free });
        }
        let id = self.insert_channel(Channel::new(Origin::Local, options, stream));
        self.await_stream(id, Some(message));
        Ok(id)
    }

    /// Handles the peer's DATA_CHANNEL_OPEN on a free stream.
    pub(super) fn on_open(&mut self, stream: StreamId, options: ChannelOptions, credit: Credit) {
        let label_bytes = self.state.channels.peer_label_bytes() + options.text_len();
        if self.state.channels.len() >= self.state.config.channels_max
            || label_bytes > self.state.config.peer_label_bytes_max
        {
            // RFC 8832 §6: no ACK; the reset tells the peer.
            tracing::debug!(stream_id = %stream, "DATA_CHANNEL_OPEN above the limits");
            self.discard_message(credit, ChannelDropReason::LimitReached);
            self.refuse_stream(stream);
            return;
        }
        self.association.release(credit);
        // RFC 8832 §6 has each end use its own parity, and lets a channel that breaks the rule be closed. Some stacks
        // go by the ICE role instead of the DTLS role. Browsers accept their channels, and the id is free, so this end
        // does, too.
        self.state.stats.channels_of_wrong_parity += u64::from(self.state.ids.role().owns(stream));
        self.state.ids.reserve(stream);
        let id = self.insert_channel(Channel::new(Origin::Peer, options, stream));
        if let Some(channel) = self.state.channels.channel_mut(id) {
            channel.on_open();
        }
        self.state.stats.channels_accepted += 1;
        self.state.events.push_back(ChannelsEvent::Incoming(id));
        if !stream.is_below(self.association.outbound_streams()) {
            return self.await_stream(id, Some(ACK));
        }
        if let Err(error) = self.send_control(id, ACK, SendOptions::default()) {
            // The association is shutting down: what the peer sent can be read, and Closed follows.
            tracing::debug!(stream_id = %stream, %error, "DATA_CHANNEL_ACK not sent");
        }
    }

    /// Handles the end of the handshake: channels that were created before are open, unless they were closed, or their
    /// stream does not exist.
    pub(super) fn on_connected(&mut self) {
        self.state.phase = ChannelsPhase::Up;
        self.state.events.push_back(ChannelsEvent::Connected);
        let streams = self.stream_limit();
        let ids: Vec<ChannelId> = self.state.channels.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(channel) = self.state.channels.channel(id) else { continue };
            let (stream, state) = (channel.stream, channel.state());
            if state != ReadyState::Closed && !stream.is_below(streams) {
                self.on_stream_missing(id, stream, streams);
            } else if state == ReadyState::Connecting {
                self.announce(id);
            } else if state == ReadyState::Closing {
                // Closed with messages waiting, before there was anybody to send them to.
                self.start_reset_if_possible(id);
            }
        }
    }

    /// Handles a channel that was opened before the handshake on a stream which that has not left. It waits for the
    /// stream if nothing was sent on it. If something was, the association has discarded it, and the channel ends.
    fn on_stream_missing(&mut self, id: ChannelId, stream: StreamId, streams: u16) {
        let Some(channel) = self.state.channels.channel(id) else { return };
        let is_unused = channel.state() == ReadyState::Connecting && !channel.sending.has_sent;
        let control = (channel.origin == Origin::Local).then(|| open::encode(&channel.options));
        self.discard_unsent(id);
        if is_unused && self.association.is_drained(stream) && self.can_ask_for(stream) {
            return self.await_stream(id, control);
        }
        self.release_unused_stream(stream);
        self.finish(id, Some(ChannelError::NoSuchStream { stream: stream.0, streams }));
    }

    /// Reports that a channel of this end is open, once the association is established and DATA_CHANNEL_OPEN is queued.
    pub(super) fn announce(&mut self, id: ChannelId) {
        if self.state.phase == ChannelsPhase::Up
            && let Some(channel) = self.state.channels.channel_mut(id)
            && channel.sending.control.is_none()
            && !self.state.streams.awaited.contains(channel.stream)
            && channel.on_open()
        {
            self.state.events.push_back(ChannelsEvent::Open(id));
        }
    }

    /// Sends a DCEP message, or keeps it until there is room. It is ordered and reliable, and the first message of its
    /// channel (RFC 8832 §6).
    pub(super) fn send_control(
        &mut self,
        id: ChannelId,
        message: Bytes,
        options: SendOptions,
    ) -> Result<(), SendMessageError> {
        let Some(channel) = self.state.channels.channel_mut(id) else { return Ok(()) };
        let (queued, len) = (self.association.buffered_amount(channel.stream), message.len());
        let options = SendOptions { ignores_policy: true, ..options };
        match self.association.send(self.now, channel.stream, ppid::DCEP, message.clone(), options) {
            Ok(()) => {
                channel.sending.queue.on_control(len, queued);
                Ok(())
            }
            Err(SendMessageError::Full) => {
                channel.sending.control = Some(message);
                self.state.room.push_control(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Discards a DCEP message that waits for room.
    pub(super) fn drop_control(&mut self, id: ChannelId) {
        if let Some(channel) = self.state.channels.channel_mut(id)
            && channel.sending.control.take().is_some()
        {
            self.state.on_control_dropped();
        }
    }

    /// Sends the channel's waiting DCEP message, although there is no room for it.
    pub(super) fn force_control(&mut self, id: ChannelId) {
        let Some(message) = self.state.channels.channel_mut(id).and_then(|channel| channel.sending.control.take())
        else {
            return;
        };
        self.state.on_control_dropped();
        let options = SendOptions { exceeds_limits: true, ..SendOptions::default() };
        // If the association is shutting down, Closed follows.
        if self.send_control(id, message, options).is_ok() {
            self.announce(id);
            self.start_reset_if_possible(id);
        }
    }

    /// Sends the waiting DCEP messages, as there is room again.
    pub(super) fn flush_controls(&mut self) {
        for _ in 0..self.state.room.len_controls() {
            let Some(id) = self.state.room.pop_control() else { break };
            let Some(message) = self.state.channels.channel_mut(id).and_then(|channel| channel.sending.control.take())
            else {
                self.state.room.on_dropped_popped();
                continue;
            };
            if self.send_control(id, message, SendOptions::default()).is_err() {
                // Shutting down; Closed follows.
                continue;
            }
            let Some(channel) = self.state.channels.channel(id) else { continue };
            if channel.sending.control.is_some() {
                // Full again: it was put at the end, and belongs in front.
                self.state.room.return_control();
                break;
            }
            self.announce(id);
            self.start_reset_if_possible(id);
        }
    }
}
