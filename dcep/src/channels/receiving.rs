//! What the association reports, and messages in particular (RFC 8831 §6.6, RFC 8832 §6).

use std::time::Instant;

use bytestring::ByteString;
use narrowboat_sctp::{Association, AssociationEvent, Payload, ReceivedMessage, StreamId};

use super::{DataChannels, LOST_STREAMS_MAX};
use crate::channel::{CloseCause, Content, InboundMessage, Origin};
use crate::control::{Control, Decoded};
use crate::error::{ChannelError, ControlError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::Message;
use crate::ppid::PpidKind;
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::{Arrival, Outgoing, StreamOwner};

/// Streams at most that hold messages for a negotiated channel to come.
const UNCLAIMED_STREAMS_MAX: usize = 8;

impl DataChannels {
    pub(super) fn on_association_event(
        &mut self,
        now: Instant,
        association: &mut Association,
        event: AssociationEvent,
    ) {
        match event {
            AssociationEvent::Connected => self.on_connected(now, association),
            AssociationEvent::Message(message) => self.on_message(now, association, message),
            AssociationEvent::IncomingStreamsReset(streams) => self.on_incoming_reset(now, association, &streams),
            AssociationEvent::OutgoingStreamReset(stream) => self.on_outgoing_reset(now, association, stream),
            AssociationEvent::InvalidStream(stream) => self.on_invalid_stream(now, association, stream),
            AssociationEvent::BufferedAmountLow(stream) => self.on_buffered_amount_low(association, stream),
            AssociationEvent::Writable => self.on_writable(now, association),
            AssociationEvent::Abandoned { .. } => self.stats.messages_abandoned += 1,
            AssociationEvent::Restarted => self.on_restarted(association),
            AssociationEvent::Closed(reason) => self.on_association_closed(now, association, reason),
        }
    }

    pub(super) fn on_message(&mut self, now: Instant, association: &mut Association, message: ReceivedMessage) {
        let Some(stream) = self.streams.get_mut(&message.stream) else {
            self.on_message_unused(now, association, message);
            return;
        };
        if stream.is_incoming_reset() {
            // The peer knows already that our reset is performed, and uses the id again.
            stream.hold(message);
            return;
        }
        match stream.owner {
            StreamOwner::Channel(id) => {
                stream.on_progress(now);
                self.on_channel_message(now, association, id, message);
            }
            StreamOwner::Unclaimed => self.on_unclaimed(now, association, message),
            StreamOwner::Nobody => self.discard_message(association, message.credit, ChannelDropReason::AfterClose),
        }
    }

    pub(super) fn next_message(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
    ) -> Option<Message> {
        let channel = self.channels.get_mut(&id)?;
        let (message, credit) = channel.next_message()?.into_message();
        association.release(credit);
        if channel.state() == ReadyState::Closing
            && let Some(stream) = self.streams.get_mut(&channel.stream)
        {
            stream.on_progress(now);
        }
        Some(message)
    }

    /// A message on a stream that is free.
    fn on_message_unused(&mut self, now: Instant, association: &mut Association, message: ReceivedMessage) {
        let stream = message.stream;
        if self.retired.contains(stream) {
            // The peer does not know that the channel has ended.
            self.discard_message(association, message.credit, ChannelDropReason::AfterClose);
            if self.turned_down.contains(stream) {
                association.report_invalid_stream(stream);
            }
            return;
        }
        if stream >= Self::stream_limit(association) {
            // There is no stream to answer on, nor to reset.
            self.discard_message(association, message.credit, ChannelDropReason::NoSuchStream);
            association.report_invalid_stream(stream);
            return;
        }
        match PpidKind::of(message.ppid) {
            PpidKind::Control => match self.decode_control(&message.payload.into_bytes()) {
                Ok(Control::Open(options)) => self.on_open(now, association, stream, options, message.credit),
                Ok(Control::Ack) => self.discard_message(association, message.credit, ChannelDropReason::UnexpectedAck),
                Ok(Control::Unknown(_)) => {
                    self.discard_message(association, message.credit, ChannelDropReason::UnknownControl);
                }
                Err(error) => {
                    tracing::debug!(stream, %error, "channel refused");
                    self.discard_message(association, message.credit, ChannelDropReason::BadControl);
                    self.refuse_stream(now, association, stream);
                }
            },
            PpidKind::Unsupported => {
                self.discard_message(association, message.credit, ChannelDropReason::UnsupportedPpid);
                self.refuse_stream(now, association, stream);
            }
            PpidKind::Text | PpidKind::Binary | PpidKind::EmptyText | PpidKind::EmptyBinary => {
                self.answered_resets.on_used(stream);
                self.lost_streams.remove(&stream);
                self.insert_stream(stream, StreamOwner::Unclaimed, now);
                self.unclaimed_streams += 1;
                self.on_unclaimed(now, association, message);
            }
        }
    }

    /// Data on a stream without a channel. RFC 8832 §6 calls it an error in the peer, and so it is if a
    /// DATA_CHANNEL_OPEN follows; but if a negotiated channel follows, the application here was merely later than the
    /// application there.
    fn on_unclaimed(&mut self, now: Instant, association: &mut Association, message: ReceivedMessage) {
        let id = message.stream;
        self.unclaimed_bytes += message.credit.bytes() as usize;
        let is_data = !matches!(PpidKind::of(message.ppid), PpidKind::Control | PpidKind::Unsupported);
        let fits = self.unclaimed_bytes <= self.config.unclaimed_bytes_max;
        let within = is_data && fits && self.unclaimed_streams <= UNCLAIMED_STREAMS_MAX;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.hold(message);
        }
        if !within {
            tracing::debug!(stream = id, "data on a stream without a channel");
            if is_data && association.peer_supports_stream_reset() {
                // The reset alone looks like the close of an application that has read everything.
                association.report_invalid_stream(id);
            }
            self.refuse_stream(now, association, id);
        }
    }

    /// Stops holding messages for a channel to come: it will not.
    pub(super) fn give_up_unclaimed(&mut self, association: &mut Association, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.owner != StreamOwner::Unclaimed {
            return;
        }
        stream.owner = StreamOwner::Nobody;
        self.ownerless_streams += 1;
        self.unclaimed_streams -= 1;
        if self.lost_streams.len() < LOST_STREAMS_MAX {
            self.lost_streams.insert(id);
        }
        for arrival in stream.take_held() {
            if let Arrival::Message(message) = arrival {
                self.unclaimed_bytes = self.unclaimed_bytes.saturating_sub(message.credit.bytes() as usize);
                self.discard_message(association, message.credit, ChannelDropReason::Unclaimed);
            }
        }
    }

    fn on_channel_message(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: ReceivedMessage,
    ) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let kind = PpidKind::of(message.ppid);
        if kind == PpidKind::Control {
            let control = self.decode_control(&message.payload.into_bytes());
            association.release(message.credit);
            self.on_control(now, association, id, &control);
            return;
        }
        // Any message confirms the channel as its acknowledgement does (RFC 8832 §6). It is delivered before a reset that
        // waits for that: if the peer does not support resets, the channel ends at once.
        let is_acknowledgement = channel.awaits_ack();
        channel.on_heard();
        self.deliver(now, association, id, message);
        if is_acknowledgement {
            self.start_reset_if_possible(now, association, id);
        }
    }

    /// The peer has no channel on this stream, and throws away what it gets. It resets the stream, too, if it can.
    fn on_invalid_stream(&mut self, now: Instant, association: &mut Association, stream: StreamId) {
        let Some(entry) = self.streams.get(&stream) else { return };
        let is_in_use = entry.outgoing() == Outgoing::InUse;
        let Some(id) = entry.channel() else { return };
        let Some(channel) = self.channels.get_mut(&id) else { return };
        // An OPEN that waits for room has not been refused.
        let is_refused = channel.awaits_ack() && channel.control.is_none();
        if !is_refused && !channel.may_be_alone() {
            return;
        }
        let error = if is_refused { ChannelError::Refused } else { ChannelError::NotMade };
        if channel.on_closing(CloseCause::Violation(error.clone())) {
            self.events.push_back(ChannelsEvent::Closing(id));
            self.discard(now, association, id);
            self.start_reset(now, association, stream);
            return;
        }
        channel.set_error(error);
        if is_refused && is_in_use {
            // Nothing to wait for: there will be no DATA_CHANNEL_ACK.
            self.discard(now, association, id);
            self.start_reset(now, association, stream);
        }
    }

    /// Queues a user message for the application, or closes the channel for what is wrong with it.
    fn deliver(&mut self, now: Instant, association: &mut Association, id: ChannelId, message: ReceivedMessage) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let kind = PpidKind::of(message.ppid);
        if channel.is_deaf() {
            self.discard_message(association, message.credit, ChannelDropReason::AfterClose);
            return;
        }
        let (len, max) = (message.payload.len(), self.config.message_size_max);
        let content = match kind {
            PpidKind::EmptyText => Content::Text(ByteString::new()),
            PpidKind::EmptyBinary => Content::Binary(Payload::default()),
            PpidKind::Text | PpidKind::Binary if len > max => {
                association.release(message.credit);
                let error = ChannelError::MessageTooLarge { len, max };
                self.close_for_violation(now, association, id, error, ChannelDropReason::TooLarge);
                return;
            }
            PpidKind::Binary => Content::Binary(message.payload),
            PpidKind::Text => {
                let Ok(text) = ByteString::try_from(message.payload.into_bytes()) else {
                    association.release(message.credit);
                    self.close_for_violation(now, association, id, ChannelError::BadText, ChannelDropReason::BadText);
                    return;
                };
                Content::Text(text)
            }
            PpidKind::Control | PpidKind::Unsupported => {
                association.release(message.credit);
                let error = ChannelError::UnsupportedPpid(message.ppid.0);
                self.close_for_violation(now, association, id, error, ChannelDropReason::UnsupportedPpid);
                return;
            }
        };
        self.stats.messages_received += 1;
        self.stats.bytes_received += content.len() as u64;
        if channel.on_message(InboundMessage { content, credit: message.credit }) {
            self.events.push_back(ChannelsEvent::Readable(id));
        }
    }

    fn decode_control(&mut self, message: &[u8]) -> Result<Control, ControlError> {
        let decoded = Decoded::new(message)?;
        if decoded.has_trailing_bytes {
            self.stats.drops.add(ChannelDropReason::TrailingBytes);
        }
        Ok(decoded.control)
    }

    /// A DCEP message on a channel's stream.
    fn on_control(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        control: &Result<Control, ControlError>,
    ) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        match control {
            Ok(Control::Ack) if channel.awaits_ack() => {
                channel.on_heard();
                self.start_reset_if_possible(now, association, id);
            }
            // Data may have overtaken an ACK on an unordered channel, so one that is not awaited need not be wrong.
            Ok(Control::Ack) => self.stats.drops.add(ChannelDropReason::UnexpectedAck),
            Ok(Control::Unknown(_)) => self.stats.drops.add(ChannelDropReason::UnknownControl),
            Ok(Control::Open(_)) if channel.origin == Origin::Local => {
                self.close_for_violation(
                    now,
                    association,
                    id,
                    ChannelError::RoleConflict,
                    ChannelDropReason::RoleConflict,
                );
            }
            Ok(Control::Open(_)) => {
                self.close_for_violation(
                    now,
                    association,
                    id,
                    ChannelError::StreamInUse,
                    ChannelDropReason::StreamInUse,
                );
            }
            Err(error) => {
                self.close_for_violation(
                    now,
                    association,
                    id,
                    ChannelError::BadControl(*error),
                    ChannelDropReason::BadControl,
                );
            }
        }
    }

    /// The peer broke a rule on this channel, which is closed for it (RFC 8831 §6.6, RFC 8832 §6).
    fn close_for_violation(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        error: ChannelError,
        reason: ChannelDropReason,
    ) {
        self.stats.drops.add(reason);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        tracing::debug!(stream = channel.stream, %error, "channel closed");
        let stream = channel.stream;
        if channel.on_closing(CloseCause::Violation(error)) {
            self.events.push_back(ChannelsEvent::Closing(id));
            self.discard(now, association, id);
            self.start_reset(now, association, stream);
        }
    }
}
