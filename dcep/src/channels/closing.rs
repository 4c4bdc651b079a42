//! The closing procedure (RFC 8831 §6.7, W3C §6.2.4), and the other ways in which a channel ends.

use narrowboat_sctp::{CloseReason, Reliability, ResetError, StreamId, Streams};
use std::collections::BTreeSet;

use super::awaited_streams::AwaitedStream;
use super::context::ChannelsContext;
use super::id_pool::IdPool;
use super::{ChannelsPhase, OWNERLESS_STREAMS_MAX};
use crate::channel::{Channel, CloseCause, Origin};
use crate::error::ChannelError;
use crate::event::{ChannelId, ChannelsEvent};
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::{Arrival, Outgoing, Stream, StreamOwner};

impl ChannelsContext<'_> {
    pub(super) fn close_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let mut unsent_open = channel.origin == Origin::Local && channel.sending.control.is_some();
        let is_idle = self.state.phase == ChannelsPhase::Connecting && !channel.sending.has_sent;
        if !channel.on_closing(CloseCause::Application) {
            return;
        }
        self.state.room.stop_waiting(id);
        let stream = channel.stream;
        let awaited = self.state.streams.awaited.entry(stream);
        unsent_open |= awaited.is_some_and(|awaited| !awaited.has_messages()) && self.is_unheard(id);
        if unsent_open || is_idle {
            // The peer has not heard of the channel. DATA_CHANNEL_OPEN is taken back if it can be: nothing goes out,
            // and the id was never used. (Messages that the application did send go out first, as after open.)
            self.discard_unsent(id);
            if self.association.is_drained(stream) {
                self.release_unused_stream(stream);
                self.finish(id, None);
                return;
            }
        }
        self.start_reset_if_possible(id);
        if let Some(stream) = self.state.streams.stream_mut(stream) {
            stream.on_progress(self.now);
        }
        self.watch(stream);
    }

    pub(super) fn forget_channel(&mut self, id: ChannelId) {
        self.close_channel(id);
        self.discard_unread(id, ChannelDropReason::AfterClose);
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        channel.ending.is_released = true;
        if channel.is_closed() {
            self.state.channels.remove(id);
        }
    }

    /// Requests the reset of a closing channel's stream, unless the reset has to wait: before the association is
    /// established, while a DCEP message waits for room, and until the peer has answered DATA_CHANNEL_OPEN. Firefox
    /// creates the channel on another thread, and loses a reset that arrives before: its channel would stay open for
    /// ever. The answer shows that the channel exists.
    pub(super) fn start_reset_if_possible(&mut self, id: ChannelId) {
        let Some(channel) = self.state.channels.channel(id) else { return };
        let stream = channel.stream;
        let has_to_wait = self.state.phase != ChannelsPhase::Up
            || channel.sending.control.is_some()
            || channel.awaits_ack()
            || self.state.streams.awaited.contains(stream);
        let is_unasked = self.state.streams.stream(stream).is_some_and(|stream| stream.outgoing() == Outgoing::InUse);
        if channel.state() == ReadyState::Closing && is_unasked && !has_to_wait {
            self.start_reset(stream);
        }
    }

    /// Requests the reset of our side, which is sent once every accepted message is acknowledged or abandoned.
    pub(super) fn start_reset(&mut self, id: StreamId) {
        if self.defer_reset(id) {
            return;
        }
        let Some(stream) = self.state.streams.stream_mut(id) else { return };
        stream.on_reset_asked(self.now);
        match self.association.reset_streams(self.now, &[id]) {
            Ok(()) => self.watch(id),
            Err(ResetError::NotSupported) => {
                self.retire_stream(id, ChannelError::ResetNotSupported);
            }
            Err(ResetError::NoSuchStream(_)) => {
                let streams = self.stream_limit();
                self.retire_stream(id, ChannelError::NoSuchStream { stream: id.0, streams });
            }
            // The association is shutting down, and its end is that of the channel.
            Err(_) => {}
        }
    }

    /// Resets a stream, in use or not, on which the peer is refused a channel (RFC 8832 §6).
    pub(super) fn refuse_stream(&mut self, id: StreamId) {
        tracing::debug!(stream_id = %id, "stream refused");
        self.discard_unclaimed(id);
        if !self.state.streams.contains(id) {
            self.state.ids.on_used(id);
            self.insert_ownerless(id);
        }
        if self.state.streams.ownerless() > OWNERLESS_STREAMS_MAX {
            // Each costs memory until the peer has reset it, and not to answer would leave the peer with a channel that
            // loses its messages silently.
            self.association.abort("too many streams without a channel");
            return;
        }
        self.start_reset(id);
        if self.state.ids.turn_down(id) {
            self.association.report_invalid_stream(id);
        }
    }

    pub(super) fn on_incoming_reset(&mut self, streams: &Streams) {
        let streams: BTreeSet<StreamId> = match streams {
            // A stream named twice is still reset once.
            Streams::List(list) => list.iter().copied().collect(),
            // RFC 6525 §4.1: every stream. Those that nobody uses need no answer.
            Streams::All => self.state.streams.iter().map(|(id, _)| id).collect(),
        };
        for stream in streams {
            self.on_stream_reset(stream);
        }
    }

    /// Handles the peer's answer that it has performed our reset of the stream.
    pub(super) fn on_outgoing_reset(&mut self, id: StreamId) {
        let Some(stream) = self.state.streams.stream_mut(id) else { return };
        match stream.outgoing() {
            Outgoing::InUse => return self.on_reset_by_request(id),
            Outgoing::Resetting => stream.on_reset_performed(self.now),
            Outgoing::Reset => return,
        }
        if stream.is_done() {
            self.on_both_reset(id);
        }
    }

    /// Handles a reset of this end's side that the peer has asked for (RFC 6525 §5.1.3). To the peer it is the close of
    /// the channel, as any other reset, so it is a close by the peer here.
    fn on_reset_by_request(&mut self, id: StreamId) {
        self.discard_unclaimed(id);
        let Some(stream) = self.state.streams.stream_mut(id) else { return };
        stream.on_reset_asked(self.now);
        stream.on_reset_performed(self.now);
        if stream.is_done() {
            return self.on_both_reset(id);
        }
        if let Some(channel) = stream.channel() {
            self.on_peer_closed(channel);
            self.watch(id);
        }
    }

    /// Discards the unread messages of channels that the application has closed, and stops waiting for the answer to
    /// DATA_CHANNEL_OPEN, if nothing has happened for `close_timeout`. A time-out does no more: a channel is closed
    /// when both ends have reset the stream, or with the association.
    pub(super) fn on_timeout(&mut self) {
        self.retry_request();
        while let Some(id) = self.state.streams.pop_due(self.now) {
            if self.state.streams.awaited.contains(id) {
                self.on_stream_overdue(id);
                continue;
            }
            let Some(stream) = self.state.streams.stream_mut(id) else { continue };
            let Some(channel_id) = stream.channel() else { continue };
            let is_stalled = stream.progress() + self.state.config.close_timeout <= self.now;
            if is_stalled {
                stream.on_progress(self.now);
            }
            let (incoming_reset, outgoing) = (stream.is_incoming_reset(), stream.outgoing());
            let Some(channel) = self.state.channels.channel(channel_id) else { continue };
            let is_unanswered =
                channel.awaits_ack() && channel.sending.control.is_none() && outgoing == Outgoing::InUse;
            if is_stalled && channel.is_closed_locally() && channel.inbox.len() > 0 && !incoming_reset {
                // Nobody reads; what lies there may keep the window closed that the peer needs to finish.
                self.discard_unread(channel_id, ChannelDropReason::UnreadAfterClose);
            }
            if is_stalled && is_unanswered && self.state.phase == ChannelsPhase::Up {
                // A peer that never answers DATA_CHANNEL_OPEN is asked for the reset all the same.
                self.start_reset(id);
            }
            self.watch(id);
        }
    }

    /// Handles a restart of the association: every channel ends, and every id is free.
    pub(super) fn on_restarted(&mut self) {
        self.close_all(&ChannelError::PeerRestarted);
        self.state.ids = IdPool::new(self.state.role());
        self.state.streams.forget_lost();
        self.state.events.push_back(ChannelsEvent::Restarted);
    }

    pub(super) fn on_association_closed(&mut self, reason: CloseReason) {
        if reason == CloseReason::Shutdown {
            self.deliver_held();
        }
        self.close_all(&ChannelError::Association(reason.clone()));
        self.state.phase = ChannelsPhase::Ended;
        self.state.events.push_back(ChannelsEvent::AssociationClosed(reason));
    }

    /// Delivers the messages that wait for the answer to our reset, which will not arrive any more. A message on an id
    /// after the peer's own reset shows that the peer has performed ours.
    fn deliver_held(&mut self) {
        let holds = |stream: &Stream| stream.has_held() && stream.outgoing() == Outgoing::Resetting;
        let ids: Vec<StreamId> =
            self.state.streams.iter().filter(|(_, stream)| holds(stream)).map(|(id, _)| id).collect();
        for id in ids {
            self.on_both_reset(id);
        }
    }

    /// Closes the channel. The caller has already dealt with the stream.
    pub(super) fn finish(&mut self, id: ChannelId, error: Option<ChannelError>) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        let Some(error) = channel.on_closed(error) else { return };
        let stream = channel.stream;
        if self.state.streams.awaited.entry(stream).is_some_and(|awaited| awaited.channel == Some(id)) {
            self.state.streams.awaited.remove(stream);
        }
        self.state.room.stop_waiting(id);
        self.state.stats.channels_closed += 1;
        self.state.stats.channels_failed += u64::from(error.is_some());
        let released = channel.ending.is_released;
        self.state.events.push_back(ChannelsEvent::Closed(id, error));
        if released {
            self.state.channels.remove(id);
        }
    }

    /// Handles the peer's reset of one stream.
    fn on_stream_reset(&mut self, id: StreamId) {
        let Some(stream) = self.state.streams.stream_mut(id) else {
            // A channel that was never made here, say a negotiated one: the peer waits for our reset (RFC 8831 §6.7).
            if !id.is_below(self.stream_limit()) && !self.can_ask_for(id) {
                return;
            }
            if self.state.ids.take_answer(self.now, id) {
                self.insert_ownerless(id);
                self.state.streams.on_incoming_reset(id, self.now);
                self.start_reset(id);
            } else {
                self.state.stats.drops.add(ChannelDropReason::RepeatedReset);
            }
            return;
        };
        if stream.is_incoming_reset() {
            stream.hold_reset();
            return;
        }
        let owner = stream.owner;
        if owner == StreamOwner::Unclaimed {
            self.discard_unclaimed(id);
        }
        self.state.streams.on_incoming_reset(id, self.now);
        let Some(stream) = self.state.streams.stream(id) else { return };
        let (outgoing, done) = (stream.outgoing(), stream.is_done());
        if let StreamOwner::Channel(channel_id) = owner
            && let Some(channel) = self.state.channels.channel_mut(channel_id)
        {
            channel.ending.is_reset_by_peer = true;
        }
        if done {
            self.on_both_reset(id);
            return;
        }
        if let StreamOwner::Channel(channel_id) = owner {
            self.on_peer_closed(channel_id);
        }
        if outgoing == Outgoing::InUse {
            self.start_reset(id);
        }
    }

    /// Handles the peer's reset of a channel that is connecting, open, or closing here.
    fn on_peer_closed(&mut self, id: ChannelId) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        if channel.on_closing(CloseCause::Peer) {
            self.state.events.push_back(ChannelsEvent::Closing(id));
            // The peer does not read the unsent messages any more. Browsers differ: Chromium discards its queue,
            // Firefox sends it to the end. A close that ends at once, and an error that says how much was lost, serve
            // the application best.
            self.discard_unsent(id);
            if let Some(channel) = self.state.channels.channel_mut(id)
                && channel.sending.has_discarded()
                && channel.options.reliability == Reliability::Reliable
            {
                channel.set_error(ChannelError::PeerClosed { discarded: channel.sending.discarded() });
            }
        } else {
            // Closing here already: what was accepted is still sent, as promised. An ACK that waits for room is not. A
            // peer acknowledges a channel before it resets it, unless it refuses it. One that was asked for the reset
            // because it never answers may have the channel; that matters only if something was sent.
            let is_unasked =
                self.state.streams.stream(channel.stream).is_some_and(|stream| stream.outgoing() == Outgoing::InUse);
            if channel.awaits_ack() && (is_unasked || channel.sending.has_sent) {
                channel.set_error(ChannelError::Refused);
            }
            let has_nothing = channel.inbox.len() == 0;
            self.drop_control(id);
            if has_nothing {
                self.state.events.push_back(ChannelsEvent::Readable(id));
            }
        }
    }

    /// Closes the channel of a stream whose two directions are reset. The id is free, and what arrived for its next use
    /// is handled.
    fn on_both_reset(&mut self, id: StreamId) {
        let Some(mut stream) = self.state.streams.remove(id) else { return };
        self.state.ids.release(self.now, id);
        if let Some(channel) = stream.channel() {
            self.finish(channel, None);
        }
        for arrival in stream.take_held() {
            match arrival {
                Arrival::Message(message) => self.on_message(message),
                Arrival::Reset => self.on_stream_reset(id),
            }
        }
    }

    /// Ends the channel of a stream that cannot be reset. The id is not used again.
    fn retire_stream(&mut self, id: StreamId, error: ChannelError) {
        tracing::debug!(stream_id = %id, %error, "stream id retired");
        let Some(mut stream) = self.state.streams.remove(id) else { return };
        self.state.ids.retire(id);
        for arrival in stream.take_held() {
            if let Arrival::Message(message) = arrival {
                self.discard_message(message.credit, ChannelDropReason::AfterClose);
            }
        }
        if let Some(channel) = stream.channel() {
            self.finish(channel, Some(error));
        }
    }

    /// Sets the deadline at which the progress of a closing channel is checked.
    pub(super) fn watch(&mut self, id: StreamId) {
        let Some(stream) = self.state.streams.stream(id) else { return };
        // The peer's reset is what may be missing; our own ends by itself.
        if stream.channel().is_none() || stream.is_incoming_reset() || stream.deadline.is_some() {
            return;
        }
        // Progress puts off what is done at the deadline, and not the deadline, which would cost every message
        // something.
        let due = stream.progress() + self.state.config.close_timeout;
        let deadline = if due > self.now { due } else { self.now + self.state.config.close_timeout };
        self.state.streams.set_deadline(id, deadline);
    }

    fn discard_unread(&mut self, id: ChannelId, reason: ChannelDropReason) {
        let Some(channel) = self.state.channels.channel_mut(id) else { return };
        for received in channel.inbox.close_and_take() {
            self.discard_message(received.credit, reason);
        }
    }

    /// Discards the unsent messages of a closing channel, and abandons unacknowledged ones. Returns the bytes.
    pub(super) fn expedite_close(&mut self, id: ChannelId) -> usize {
        let before = match self.state.channels.channel(id) {
            Some(channel) if channel.state() == ReadyState::Closing => channel.sending.discarded(),
            _ => return 0,
        };
        self.abandon_unsent(id);
        if self.is_unheard(id)
            && let Some(stream) = self.state.channels.channel(id).map(|channel| channel.stream)
        {
            self.end_awaiting(stream, None);
        }
        self.state.channels.channel(id).map_or(0, |channel| channel.sending.discarded() - before)
    }

    /// Ends every channel, after a restart or the end of the association.
    fn close_all(&mut self, error: &ChannelError) {
        let awaited: Vec<(StreamId, ChannelId)> = self
            .state
            .streams
            .awaited
            .iter()
            .filter_map(|(stream, awaited)| Some((stream, awaited.channel.filter(|_| awaited.has_messages())?)))
            .collect();
        for (stream, id) in awaited {
            let messages = self.state.streams.awaited.entry_mut(stream).map(AwaitedStream::take_messages);
            self.discard_awaited(id, &messages.unwrap_or_default(), || error.clone());
        }
        for mut stream in self.state.streams.take_all() {
            let unclaimed = stream.owner == StreamOwner::Unclaimed;
            for arrival in stream.take_held() {
                if let Arrival::Message(message) = arrival {
                    let reason = if unclaimed { ChannelDropReason::Unclaimed } else { ChannelDropReason::AfterClose };
                    self.discard_message(message.credit, reason);
                }
            }
        }
        self.state.room.clear_controls();
        let open: Vec<ChannelId> =
            self.state.channels.iter().filter(|(_, channel)| !channel.is_closed()).map(|(id, _)| id).collect();
        for id in open {
            // A graceful shutdown delivers what was accepted first (RFC 9260 §9.2), the peer's DATA_CHANNEL_ACK
            // included. A channel without one may have been refused: the reset that says so need not arrive before the
            // shutdown.
            let was_graceful = *error == ChannelError::Association(CloseReason::Shutdown);
            let is_uncertain = self.state.channels.channel(id).is_some_and(Channel::awaits_ack);
            self.finish(id, (!was_graceful || is_uncertain).then(|| error.clone()));
        }
    }
}
