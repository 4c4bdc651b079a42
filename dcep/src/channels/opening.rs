//! Opening channels from either end (RFC 8832 §6).

use std::time::Instant;

use bytes::Bytes;
use narrowboat_sctp::{Association, Credit, SendMessageError, SendOptions, StreamId};

use super::{ChannelsPhase, DataChannels};
use crate::channel::{Channel, Origin};
use crate::control::ACK;
use crate::error::{ChannelError, OpenError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::open;
use crate::options::ChannelOptions;
use crate::ppid;
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::{Arrival, StreamOwner};

/// The length fields of DATA_CHANNEL_OPEN have 16 bits (RFC 8832 §5.1).
const TEXT_LEN_MAX: usize = 65_535;

impl DataChannels {
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        association: &mut Association,
        options: ChannelOptions,
    ) -> Result<ChannelId, OpenError> {
        if self.phase == ChannelsPhase::Ended {
            return Err(OpenError::Closed);
        }
        if options.label.len() > TEXT_LEN_MAX {
            return Err(OpenError::LabelTooLong(options.label.len()));
        }
        if options.protocol.len() > TEXT_LEN_MAX {
            return Err(OpenError::ProtocolTooLong(options.protocol.len()));
        }
        if self.channels.len() >= self.config.channels_max {
            return Err(OpenError::TooManyChannels(self.config.channels_max));
        }
        let options = options.normalized();
        let id = match options.negotiated {
            Some(stream) => self.open_negotiated(now, association, options, stream)?,
            None => self.open_in_band(now, association, options)?,
        };
        self.stats.channels_opened += 1;
        Ok(id)
    }

    fn open_negotiated(
        &mut self,
        now: Instant,
        association: &mut Association,
        options: ChannelOptions,
        stream: StreamId,
    ) -> Result<ChannelId, OpenError> {
        let streams = Self::stream_limit(association);
        if stream >= streams {
            return Err(OpenError::InvalidId { id: stream, streams });
        }
        if self.retired.contains(stream) {
            return Err(OpenError::IdRetired(stream));
        }
        if self.lost_streams.remove(&stream) {
            return Err(OpenError::MessagesLost(stream));
        }
        let held = match self.streams.get_mut(&stream) {
            None => {
                self.ids.reserve(stream);
                None
            }
            Some(unclaimed) if unclaimed.owner == StreamOwner::Unclaimed => {
                self.unclaimed_streams -= 1;
                Some(unclaimed.take_held())
            }
            Some(_) => return Err(OpenError::IdInUse(stream)),
        };
        let id = self.insert_channel(now, Channel::new(Origin::Negotiated, options, stream));
        self.announce(id);
        for arrival in held.into_iter().flatten() {
            // An unclaimed stream holds nothing but messages: a reset would have ended it.
            if let Arrival::Message(message) = arrival {
                self.unclaimed_bytes = self.unclaimed_bytes.saturating_sub(message.credit.bytes() as usize);
                self.on_message(now, association, message);
            }
        }
        Ok(id)
    }

    fn open_in_band(
        &mut self,
        now: Instant,
        association: &mut Association,
        options: ChannelOptions,
    ) -> Result<ChannelId, OpenError> {
        let none_is_free = if self.retired.len() > 0 { OpenError::NoIdLeft } else { OpenError::NoFreeId };
        let stream = self.ids.allocate(Self::stream_limit(association)).ok_or(none_is_free)?;
        let message = open::encode(&options);
        let len = message.len();
        let id = self.insert_channel(now, Channel::new(Origin::Local, options, stream));
        if let Err(error) = self.send_control(now, association, id, message, SendOptions::default()) {
            self.channels.remove(&id);
            self.remove_stream(stream);
            self.ids.release_unused(stream);
            return Err(match error {
                SendMessageError::TooLarge { max, .. } => OpenError::TooLarge { len, max },
                _ => OpenError::Closed,
            });
        }
        self.announce(id);
        Ok(id)
    }

    /// The peer's DATA_CHANNEL_OPEN on a stream that nobody uses.
    pub(super) fn on_open(
        &mut self,
        now: Instant,
        association: &mut Association,
        stream: StreamId,
        options: ChannelOptions,
        credit: Credit,
    ) {
        let label_bytes = self.peer_label_bytes + options.text_len();
        if self.channels.len() >= self.config.channels_max || label_bytes > self.config.peer_label_bytes_max {
            // RFC 8832 §6: no ACK; the reset tells the peer.
            tracing::debug!(stream, "channel refused: limit reached");
            self.discard_message(association, credit, ChannelDropReason::LimitReached);
            self.refuse_stream(now, association, stream);
            return;
        }
        association.release(credit);
        // RFC 8832 §6 has each end use its own parity, and lets a channel that breaks the rule be closed. Some stacks go by
        // the ICE role instead of the DTLS role. Browsers accept their channels, and the id is free, so this end does, too.
        self.stats.channels_of_wrong_parity += u64::from(self.role.owns(stream));
        self.ids.reserve(stream);
        self.peer_label_bytes = label_bytes;
        let id = self.insert_channel(now, Channel::new(Origin::Peer, options, stream));
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.on_open();
        }
        self.stats.channels_accepted += 1;
        self.events.push_back(ChannelsEvent::Incoming(id));
        if let Err(error) = self.send_control(now, association, id, ACK, SendOptions::default()) {
            // The association is shutting down: what the peer sent can be read, and Closed follows.
            tracing::debug!(stream, %error, "channel not acknowledged");
        }
    }

    /// The association is up: channels made before it are open, unless they are closed or do not exist.
    pub(super) fn on_connected(&mut self, now: Instant, association: &mut Association) {
        self.phase = ChannelsPhase::Up;
        self.events.push_back(ChannelsEvent::Connected);
        let streams = Self::stream_limit(association);
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            let Some(channel) = self.channels.get(&id) else { continue };
            let (stream, state) = (channel.stream, channel.state());
            if state != ReadyState::Closed && stream >= streams {
                self.discard(now, association, id);
                self.remove_stream(stream);
                self.ids.release_unused(stream);
                self.finish(id, Some(ChannelError::NoSuchStream { stream, streams }));
            } else if state == ReadyState::Connecting {
                self.announce(id);
            } else if state == ReadyState::Closing {
                // Closed with messages waiting, before there was anybody to send them to.
                self.start_reset_if_possible(now, association, id);
            }
        }
    }

    /// Says that a channel made here is open, once the association is up and DATA_CHANNEL_OPEN is on its way.
    fn announce(&mut self, id: ChannelId) {
        if self.phase == ChannelsPhase::Up
            && let Some(channel) = self.channels.get_mut(&id)
            && channel.control.is_none()
            && channel.on_open()
        {
            self.events.push_back(ChannelsEvent::Open(id));
        }
    }

    /// Sends a DCEP message, or lets it wait for room. It is ordered and reliable, and the first of its channel
    /// (RFC 8832 §6).
    fn send_control(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: Bytes,
        options: SendOptions,
    ) -> Result<(), SendMessageError> {
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
        let (queued, len) = (association.buffered_amount(channel.stream), message.len());
        match association.send(now, channel.stream, ppid::DCEP, message.clone(), options) {
            Ok(()) => {
                channel.queue.on_control(len, queued);
                Ok(())
            }
            Err(SendMessageError::Full) => {
                channel.control = Some(message);
                self.waiting_controls.push_back(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A DCEP message that waits is not sent after all.
    pub(super) fn drop_control(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && channel.control.take().is_some()
        {
            // Its place on the list is given up later: a peer may reset all channels in one packet.
            self.dropped_controls += 1;
            if self.dropped_controls > self.waiting_controls.len() / 2 + 16 {
                let channels = &self.channels;
                let waits = |id: &ChannelId| channels.get(id).is_some_and(|channel| channel.control.is_some());
                self.waiting_controls.retain(waits);
                self.dropped_controls = 0;
            }
        }
    }

    /// Sends the channel's DCEP message that waits for room, although there is none.
    pub(super) fn force_control(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        let Some(message) = self.channels.get_mut(&id).and_then(|channel| channel.control.take()) else { return };
        // Its place on the list stays, until the list is next looked through.
        self.dropped_controls += 1;
        let options = SendOptions { exceeds_limits: true, ..SendOptions::default() };
        // If the association is shutting down, Closed follows.
        if self.send_control(now, association, id, message, options).is_ok() {
            self.announce(id);
            self.start_reset_if_possible(now, association, id);
        }
    }

    /// There is room again: sends the DCEP messages that wait.
    pub(super) fn flush_controls(&mut self, now: Instant, association: &mut Association) {
        for _ in 0..self.waiting_controls.len() {
            let Some(id) = self.waiting_controls.pop_front() else { break };
            let Some(message) = self.channels.get_mut(&id).and_then(|channel| channel.control.take()) else {
                self.dropped_controls = self.dropped_controls.saturating_sub(1);
                continue;
            };
            if self.send_control(now, association, id, message, SendOptions::default()).is_err() {
                // Shutting down; Closed follows.
                continue;
            }
            let Some(channel) = self.channels.get(&id) else { continue };
            if channel.control.is_some() {
                // Full again: it was put at the end, and belongs in front.
                self.waiting_controls.rotate_right(1);
                break;
            }
            self.announce(id);
            self.start_reset_if_possible(now, association, id);
        }
    }
}
