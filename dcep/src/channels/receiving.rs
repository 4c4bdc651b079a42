//! Events of the association, and messages in particular (RFC 8831 §6.6, RFC 8832 §6).

use bytestring::ByteString;
use narrowboat_sctp::{AssociationEvent, Payload, ReceivedMessage, StreamId};

use super::context::ChannelsContext;
use super::sending::AbandonedMessages;
use crate::channel::{CloseCause, Content, InboundMessage, Origin};
use crate::control::{Control, Decoded};
use crate::error::{ChannelError, ControlError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::Message;
use crate::ppid::PpidKind;
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::{Arrival, Outgoing, StreamOwner};

impl ChannelsContext<'_> {
    pub(super) fn on_association_event(&mut self, event: AssociationEvent) {
        match event {
            AssociationEvent::Connected => self.on_connected(),
            AssociationEvent::Message(message) => self.on_message(message),
            AssociationEvent::IncomingStreamsReset(streams) => self.on_incoming_reset(&streams),
            AssociationEvent::OutgoingStreamReset(stream) => self.on_outgoing_reset(stream),
            AssociationEvent::InvalidStream(stream) => self.on_invalid_stream(stream),
            AssociationEvent::BufferedAmountLow(stream) => self.on_buffered_amount_low(stream),
            AssociationEvent::Writable => self.on_writable(),
            AssociationEvent::OutgoingStreamsAdded(_) | AssociationEvent::IncomingStreamsAdded(_) => {
                self.on_streams_added();
            }
            AssociationEvent::RequestRefused { request, result } => self.on_request_refused(request, result),
            AssociationEvent::Abandoned { stream, messages, bytes, reason, unsent } => {
                self.on_abandoned(stream, AbandonedMessages { messages, bytes, reason, unsent });
            }
            AssociationEvent::Receipt { id, status } => {
                self.state.events.push_back(ChannelsEvent::Receipt(id, status));
            }
            AssociationEvent::Restarted => self.on_restarted(),
            AssociationEvent::Closed(reason) => self.on_association_closed(reason),
            other => tracing::debug!(?other, "event ignored"),
        }
    }

    pub(super) fn on_message(&mut self, message: ReceivedMessage) {
        let Some(stream) = self.state.streams.stream_mut(message.stream) else {
            self.on_message_unused(message);
            return;
        };
        if stream.is_incoming_reset() {
            // The peer knows already that our reset is performed, and uses the id again.
            stream.hold(message);
            return;
        }
        match stream.owner {
            StreamOwner::Channel(id) => {
                stream.on_progress(self.now);
                self.on_channel_message(id, message);
            }
            StreamOwner::Unclaimed => self.on_unclaimed(message),
            StreamOwner::Nobody => self.discard_message(message.credit, ChannelDropReason::AfterClose),
        }
    }

    pub(super) fn next_message(&mut self, id: ChannelId) -> Option<Message> {
        let channel = self.state.channels.channel_mut(id)?;
        let (message, credit) = channel.inbox.pop()?.into_message();
        self.association.release(credit);
        if channel.state() == ReadyState::Closing
            && let Some(stream) = self.state.streams.stream_mut(channel.stream)
        {
            stream.on_progress(self.now);
        }
        Some(message)
    }

    /// Handles a message on a free stream.
    fn on_message_unused(&mut self, message: ReceivedMessage) {
        let stream = message.stream;
        if self.state.ids.is_retired(stream) {
            // The peer does not know that the channel has ended.
            self.discard_message(message.credit, ChannelDropReason::AfterClose);
            if self.state.ids.is_turned_down(stream) {
                self.association.report_invalid_stream(stream);
            }
            return;
        }
        // DATA_CHANNEL_ACK has one byte. A DATA_CHANNEL_OPEN is answered once there is a stream to answer on.
        let is_open = || PpidKind::of(message.ppid) == PpidKind::Control && message.payload.len() > 1;
        let has_answer = stream.is_below(self.stream_limit()) || is_open() && self.can_ask_for(stream);
        if !has_answer {
            // There is no stream to answer on, nor to reset.
            self.discard_message(message.credit, ChannelDropReason::NoSuchStream);
            self.association.report_invalid_stream(stream);
            return;
        }
        match PpidKind::of(message.ppid) {
            PpidKind::Control => match self.decode_control(&message.payload.into_bytes()) {
                Ok(Control::Open(options)) => self.on_open(stream, options, message.credit),
                Ok(Control::Ack) => self.discard_message(message.credit, ChannelDropReason::UnexpectedAck),
                Ok(Control::Unknown(_)) => {
                    self.discard_message(message.credit, ChannelDropReason::UnknownControl);
                }
                Err(error) => {
                    tracing::debug!(stream_id = %stream, %error, "DCEP message not understood");
                    self.discard_message(message.credit, ChannelDropReason::BadControl);
                    self.refuse_stream(stream);
                }
            },
            PpidKind::Unsupported => {
                self.discard_message(message.credit, ChannelDropReason::UnsupportedPpid);
                self.refuse_stream(stream);
            }
            PpidKind::Text | PpidKind::Binary | PpidKind::EmptyText | PpidKind::EmptyBinary => {
                self.state.ids.on_used(stream);
                self.state.ids.reserve(stream);
                self.state.streams.insert_unclaimed(stream, self.now);
                self.on_unclaimed(message);
            }
        }
    }

    /// Handles a message on a stream without a channel. RFC 8832 §6 calls it an error of the peer, which it is if a
    /// DATA_CHANNEL_OPEN follows. If a negotiated channel follows, the application here was only later than that of the
    /// peer.
    fn on_unclaimed(&mut self, message: ReceivedMessage) {
        let id = message.stream;
        let is_data = !matches!(PpidKind::of(message.ppid), PpidKind::Control | PpidKind::Unsupported);
        let is_within = self.state.streams.hold_unclaimed(message, self.state.config.unclaimed_bytes_max);
        if !(is_data && is_within) {
            tracing::debug!(stream_id = %id, "data on a stream without a channel");
            if is_data && self.association.peer_supports_stream_reset() {
                // The reset alone looks like the close of an application that has read everything.
                self.association.report_invalid_stream(id);
            }
            self.refuse_stream(id);
        }
    }

    /// Discards the messages held for a channel that is not expected any more.
    pub(super) fn discard_unclaimed(&mut self, id: StreamId) {
        for arrival in self.state.streams.disclaim(id).into_iter().flatten() {
            if let Arrival::Message(message) = arrival {
                self.discard_message(message.credit, ChannelDropReason::Unclaimed);
            }
        }
    }

    fn on_channel_message(&mut self, id: ChannelId, message: ReceivedMessage) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let kind = PpidKind::of(message.ppid);
        if kind == PpidKind::Control {
            let control = self.decode_control(&message.payload.into_bytes());
            self.association.release(message.credit);
            self.on_control(id, &control);
            return;
        }
        // Any message confirms the channel as its acknowledgement does (RFC 8832 §6). It is delivered before a reset
        // that waits for that: if the peer does not support resets, the channel ends at once.
        let is_acknowledgement = channel.awaits_ack();
        channel.on_confirmed_by_peer();
        self.deliver(id, message);
        if is_acknowledgement {
            self.start_reset_if_possible(id);
        }
    }

    /// Handles a report of the peer that it has no channel on this stream, and discards its messages. The peer resets
    /// the stream, too, if it can.
    fn on_invalid_stream(&mut self, stream: StreamId) {
        let Some(entry) = self.state.streams.stream(stream) else { return };
        let is_in_use = entry.outgoing() == Outgoing::InUse;
        let Some(id) = entry.channel().filter(|_| !self.state.streams.awaited.contains(stream)) else { return };
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        // An OPEN that waits for room has not been refused.
        let is_refused = channel.awaits_ack() && channel.sending.control.is_none();
        if !is_refused && !channel.may_be_alone() {
            return;
        }
        let error = if is_refused { ChannelError::Refused } else { ChannelError::NotMade };
        if channel.on_closing(CloseCause::Violation(error.clone())) {
            self.state.events.push_back(ChannelsEvent::Closing(id));
            self.discard_unsent(id);
            self.start_reset(stream);
            return;
        }
        channel.set_error(error);
        if is_refused && is_in_use {
            // Nothing to wait for: there will be no DATA_CHANNEL_ACK.
            self.discard_unsent(id);
            self.start_reset(stream);
        }
    }

    /// Queues a user message for the application, or closes the channel if the message violates a rule.
    fn deliver(&mut self, id: ChannelId, message: ReceivedMessage) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let kind = PpidKind::of(message.ppid);
        if channel.inbox.is_closed() {
            self.discard_message(message.credit, ChannelDropReason::AfterClose);
            return;
        }
        let (len, max) = (message.payload.len(), self.state.config.message_size_max);
        let content = match kind {
            PpidKind::EmptyText => Content::Text(ByteString::new()),
            PpidKind::EmptyBinary => Content::Binary(Payload::default()),
            PpidKind::Text | PpidKind::Binary if len > max => {
                self.association.release(message.credit);
                let error = ChannelError::MessageTooLarge { len, max };
                self.close_for_violation(id, error, ChannelDropReason::TooLarge);
                return;
            }
            PpidKind::Binary => Content::Binary(message.payload),
            PpidKind::Text => {
                let Ok(text) = ByteString::try_from(message.payload.into_bytes()) else {
                    self.association.release(message.credit);
                    self.close_for_violation(id, ChannelError::BadText, ChannelDropReason::BadText);
                    return;
                };
                Content::Text(text)
            }
            PpidKind::Control | PpidKind::Unsupported => {
                self.association.release(message.credit);
                let error = ChannelError::UnsupportedPpid(message.ppid.0);
                self.close_for_violation(id, error, ChannelDropReason::UnsupportedPpid);
                return;
            }
        };
        self.state.stats.messages_received += 1;
        self.state.stats.bytes_received += content.len() as u64;
        channel.inbox.counters.add(content.len());
        if channel.inbox.push(InboundMessage { content, credit: message.credit }) {
            self.state.events.push_back(ChannelsEvent::Readable(id));
        }
    }

    fn decode_control(&mut self, message: &[u8]) -> Result<Control, ControlError> {
        let decoded = Decoded::new(message)?;
        if decoded.has_trailing_bytes {
            self.state.stats.drops.add(ChannelDropReason::TrailingBytes);
        }
        Ok(decoded.control)
    }

    /// Handles a DCEP message on a channel's stream.
    fn on_control(&mut self, id: ChannelId, control: &Result<Control, ControlError>) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        match control {
            Ok(Control::Ack) if channel.awaits_ack() => {
                tracing::debug!(channel = id.0, stream_id = %channel.stream, "DATA_CHANNEL_ACK received");
                channel.on_confirmed_by_peer();
                self.start_reset_if_possible(id);
            }
            // Data may have overtaken an ACK on an unordered channel, so one that is not awaited need not be wrong.
            Ok(Control::Ack) => self.state.stats.drops.add(ChannelDropReason::UnexpectedAck),
            Ok(Control::Unknown(_)) => self.state.stats.drops.add(ChannelDropReason::UnknownControl),
            Ok(Control::Open(_)) if channel.origin == Origin::Local => {
                self.close_for_violation(id, ChannelError::RoleConflict, ChannelDropReason::RoleConflict);
            }
            Ok(Control::Open(_)) => {
                self.close_for_violation(id, ChannelError::StreamInUse, ChannelDropReason::StreamInUse);
            }
            Err(error) => {
                self.close_for_violation(id, ChannelError::BadControl(*error), ChannelDropReason::BadControl);
            }
        }
    }

    /// Closes a channel on which the peer violated a rule (RFC 8831 §6.6, RFC 8832 §6).
    fn close_for_violation(&mut self, id: ChannelId, error: ChannelError, reason: ChannelDropReason) {
        self.state.stats.drops.add(reason);
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let stream = channel.stream;
        if channel.on_closing(CloseCause::Violation(error)) {
            self.state.events.push_back(ChannelsEvent::Closing(id));
            self.discard_unsent(id);
            self.start_reset(stream);
        }
    }
}
