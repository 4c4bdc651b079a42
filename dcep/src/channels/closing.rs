//! The closing procedure (RFC 8831 §6.7, W3C §6.2.4), and everything else that ends a channel.

use std::collections::BTreeSet;
use std::time::Instant;

use narrowboat_sctp::{Association, CloseReason, Reliability, ResetError, StreamId, Streams};

use super::{ChannelsPhase, DataChannels, OWNERLESS_STREAMS_MAX};
use crate::answered::AnsweredResets;
use crate::channel::{Channel, CloseCause, Origin};
use crate::error::ChannelError;
use crate::event::{ChannelId, ChannelsEvent};
use crate::ids::{RetiredIds, StreamIds};
use crate::ready_state::ReadyState;
use crate::stats::ChannelDropReason;
use crate::stream::{Arrival, Outgoing, Stream, StreamOwner};

impl DataChannels {
    pub(super) fn close_channel(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let unsent_open = channel.origin == Origin::Local && channel.control.is_some();
        let is_idle = self.phase == ChannelsPhase::Connecting && !channel.has_sent;
        if !channel.on_closing(CloseCause::Application) {
            return;
        }
        self.refused.remove(&id);
        let stream = channel.stream;
        if unsent_open || is_idle {
            // The peer has not heard of the channel. DATA_CHANNEL_OPEN is taken back if it can be: nothing goes out,
            // and the id was never used. (Messages that the application did send go out first, as after open.)
            self.discard(now, association, id);
            if association.is_drained(stream) {
                // A reset would have done that.
                association.set_buffered_amount_low_threshold(stream, 0);
                self.remove_stream(stream);
                self.ids.release_unused(stream);
                self.finish(id, None);
                return;
            }
        }
        self.start_reset_if_possible(now, association, id);
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.on_progress(now);
        }
        self.watch(now, stream);
    }

    pub(super) fn forget_channel(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        self.close_channel(now, association, id);
        self.throw_away_unread(association, id, ChannelDropReason::AfterClose);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.released = true;
        if channel.is_closed() {
            self.remove_channel(id);
        }
    }

    /// Asks for the reset of a closing channel's stream, unless the reset has to wait: before the association is up, while
    /// a DCEP message waits for room, and until the peer has answered DATA_CHANNEL_OPEN. Firefox creates the channel on
    /// another thread, and forgets a reset that comes before: its channel would stay open for ever. The answer shows that
    /// the channel exists.
    pub(super) fn start_reset_if_possible(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        let Some(channel) = self.channels.get(&id) else { return };
        let stream = channel.stream;
        let has_to_wait = self.phase != ChannelsPhase::Up || channel.control.is_some() || channel.awaits_ack();
        let is_unasked = self.streams.get(&stream).is_some_and(|stream| stream.outgoing() == Outgoing::InUse);
        if channel.state() == ReadyState::Closing && is_unasked && !has_to_wait {
            self.start_reset(now, association, stream);
        }
    }

    /// Asks for the reset of our side, which takes place once all that was accepted is acknowledged or abandoned.
    pub(super) fn start_reset(&mut self, now: Instant, association: &mut Association, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.on_reset_asked(now);
        match association.reset_streams(now, &[id]) {
            Ok(()) => self.watch(now, id),
            Err(ResetError::NotSupported) => {
                self.retire_stream(association, id, ChannelError::ResetNotSupported);
            }
            Err(ResetError::NoSuchStream(_)) => {
                let streams = Self::stream_limit(association);
                self.retire_stream(association, id, ChannelError::NoSuchStream { stream: id, streams });
            }
            // The association is shutting down, and its end is that of the channel.
            Err(ResetError::NotEstablished) => {}
        }
    }

    /// Resets a stream on which the peer will not get a channel (RFC 8832 §6), whether it is in use or not.
    pub(super) fn refuse_stream(&mut self, now: Instant, association: &mut Association, id: StreamId) {
        self.give_up_unclaimed(association, id);
        if !self.streams.contains_key(&id) {
            self.answered_resets.on_used(id);
            self.insert_stream(id, StreamOwner::Nobody, now);
        }
        if self.ownerless_streams > OWNERLESS_STREAMS_MAX {
            // Each costs memory until the peer has reset it, and not to answer would leave the peer with a channel that
            // loses its messages silently.
            association.abort("too many streams without a channel");
            return;
        }
        self.start_reset(now, association, id);
        if self.retired.contains(id) {
            // No reset tells the peer.
            self.turned_down.insert(id);
            association.report_invalid_stream(id);
        }
    }

    pub(super) fn on_incoming_reset(&mut self, now: Instant, association: &mut Association, streams: &Streams) {
        let streams: BTreeSet<StreamId> = match streams {
            // A stream named twice is still reset once.
            Streams::List(list) => list.iter().copied().collect(),
            // RFC 6525 §4.1: every stream. Those that nobody uses need no answer.
            Streams::All => self.streams.keys().copied().collect(),
        };
        for stream in streams {
            self.on_stream_reset(now, association, stream);
        }
    }

    /// The peer has performed our reset of the stream.
    pub(super) fn on_outgoing_reset(&mut self, now: Instant, association: &mut Association, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.outgoing() != Outgoing::Resetting {
            return;
        }
        stream.on_reset_performed(now);
        if stream.is_done() {
            self.on_both_reset(now, association, id);
        }
    }

    /// Discards what the application leaves unread on channels that it has closed, if nothing has happened for long, and
    /// waits no longer for the answer to DATA_CHANNEL_OPEN. That is all that a time-out does: a channel is closed when both ends have reset the stream, or with the association.
    pub(super) fn on_timeout(&mut self, now: Instant, association: &mut Association) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.deadline = None;
            let Some(channel_id) = stream.channel() else { continue };
            let is_stalled = stream.progress() + self.config.close_timeout <= now;
            if is_stalled {
                stream.on_progress(now);
            }
            let (incoming_reset, outgoing) = (stream.is_incoming_reset(), stream.outgoing());
            let Some(channel) = self.channels.get(&channel_id) else { continue };
            let is_unanswered = channel.awaits_ack() && channel.control.is_none() && outgoing == Outgoing::InUse;
            if is_stalled && channel.is_closed_here() && channel.unread() > 0 && !incoming_reset {
                // Nobody reads; what lies there may keep the window closed that the peer needs to finish.
                self.throw_away_unread(association, channel_id, ChannelDropReason::UnreadAfterClose);
            }
            if is_stalled && is_unanswered && self.phase == ChannelsPhase::Up {
                // A peer that never answers DATA_CHANNEL_OPEN is asked for the reset all the same.
                self.start_reset(now, association, id);
            }
            self.watch(now, id);
        }
    }

    /// The peer starts again from nothing, and so do we.
    pub(super) fn on_restarted(&mut self, association: &mut Association) {
        self.close_all(association, &ChannelError::PeerRestarted);
        self.ids = StreamIds::new(self.role);
        self.answered_resets = AnsweredResets::default();
        self.lost_streams.clear();
        self.retired = RetiredIds::default();
        self.turned_down = RetiredIds::default();
        self.events.push_back(ChannelsEvent::Restarted);
    }

    pub(super) fn on_association_closed(&mut self, now: Instant, association: &mut Association, reason: CloseReason) {
        if reason == CloseReason::Shutdown {
            self.deliver_held(now, association);
        }
        self.close_all(association, &ChannelError::Association(reason.clone()));
        self.phase = ChannelsPhase::Ended;
        self.events.push_back(ChannelsEvent::AssociationClosed(reason));
    }

    /// What a peer has sent on an id after its own reset shows that it has performed ours; the answer that would have said
    /// so will not come any more. It was accepted there, and can still be read here.
    fn deliver_held(&mut self, now: Instant, association: &mut Association) {
        let holds = |stream: &Stream| stream.has_held() && stream.outgoing() == Outgoing::Resetting;
        let ids: Vec<StreamId> = self.streams.iter().filter(|(_, stream)| holds(stream)).map(|(id, _)| *id).collect();
        for id in ids {
            self.on_both_reset(now, association, id);
        }
    }

    /// The channel is closed; its stream is somebody else's business by now.
    pub(super) fn finish(&mut self, id: ChannelId, error: Option<ChannelError>) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let Some(error) = channel.on_closed(error) else { return };
        self.refused.remove(&id);
        self.stats.channels_closed += 1;
        self.stats.channels_failed += u64::from(error.is_some());
        let released = channel.released;
        self.events.push_back(ChannelsEvent::Closed(id, error));
        if released {
            self.remove_channel(id);
        }
    }

    /// The peer's reset of one stream.
    fn on_stream_reset(&mut self, now: Instant, association: &mut Association, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            // A channel that was never made here, say a negotiated one: the peer waits for our reset (RFC 8831 §6.7).
            if id >= Self::stream_limit(association) {
                return;
            }
            if self.answered_resets.take_answer(now, id) {
                self.insert_stream(id, StreamOwner::Nobody, now).on_incoming_reset(now);
                self.unanswered_resets += 1;
                self.start_reset(now, association, id);
            } else {
                self.stats.drops.add(ChannelDropReason::RepeatedReset);
            }
            return;
        };
        if stream.is_incoming_reset() {
            stream.hold_reset();
            return;
        }
        let owner = stream.owner;
        if owner == StreamOwner::Unclaimed {
            self.give_up_unclaimed(association, id);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.on_incoming_reset(now);
        self.unanswered_resets += usize::from(stream.owner == StreamOwner::Nobody);
        let (outgoing, done) = (stream.outgoing(), stream.is_done());
        if let StreamOwner::Channel(channel_id) = owner
            && let Some(channel) = self.channels.get_mut(&channel_id)
        {
            channel.is_reset_by_peer = true;
        }
        if done {
            self.on_both_reset(now, association, id);
            return;
        }
        if let StreamOwner::Channel(channel_id) = owner {
            self.on_peer_closed(now, association, channel_id);
        }
        if outgoing == Outgoing::InUse {
            self.start_reset(now, association, id);
        }
    }

    /// The peer's reset found the channel connecting, open, or not done with its own closing.
    fn on_peer_closed(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if channel.on_closing(CloseCause::Peer) {
            self.events.push_back(ChannelsEvent::Closing(id));
            // There is nobody to read it. Browsers differ (Chromium drops its queue, Firefox sends it to the end); a
            // close that ends at once, and an error that says how much was lost, serve the application best.
            self.discard(now, association, id);
            if let Some(channel) = self.channels.get_mut(&id)
                && channel.has_discarded()
                && channel.options.reliability == Reliability::Reliable
            {
                channel.set_error(ChannelError::PeerClosed { discarded: channel.discarded() });
            }
        } else {
            // Closing here already: what was accepted is still sent, as promised. An ACK that waits for room is not. A peer
            // acknowledges a channel before it resets it, unless it refuses it. One that was asked for the reset because it
            // never answers may have the channel; that matters only if something was sent.
            let is_unasked =
                self.streams.get(&channel.stream).is_some_and(|stream| stream.outgoing() == Outgoing::InUse);
            if channel.awaits_ack() && (is_unasked || channel.has_sent) {
                channel.set_error(ChannelError::Refused);
            }
            let has_nothing = channel.unread() == 0;
            self.drop_control(id);
            if has_nothing {
                self.events.push_back(ChannelsEvent::Readable(id));
            }
        }
    }

    /// Both directions are reset: the channel is closed, the id is free, and what came for its next use is looked at.
    fn on_both_reset(&mut self, now: Instant, association: &mut Association, id: StreamId) {
        let Some(mut stream) = self.remove_stream(id) else { return };
        self.ids.release(id);
        self.answered_resets.on_free(now, id);
        if let Some(channel) = stream.channel() {
            self.finish(channel, None);
        }
        for arrival in stream.take_held() {
            match arrival {
                Arrival::Message(message) => self.on_message(now, association, message),
                Arrival::Reset => self.on_stream_reset(now, association, id),
            }
        }
    }

    /// The peer cannot be asked to reset the stream: the channel ends here, and the id is never used again.
    fn retire_stream(&mut self, association: &mut Association, id: StreamId, error: ChannelError) {
        tracing::debug!(stream = id, %error, "stream retired");
        let Some(mut stream) = self.remove_stream(id) else { return };
        self.retired.insert(id);
        for arrival in stream.take_held() {
            if let Arrival::Message(message) = arrival {
                self.discard_message(association, message.credit, ChannelDropReason::AfterClose);
            }
        }
        if let Some(channel) = stream.channel() {
            self.finish(channel, Some(error));
        }
    }

    /// Makes sure that somebody looks at the closing of a channel's stream in time.
    fn watch(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // The peer's reset is what may be missing; our own ends by itself.
        if stream.channel().is_none() || stream.is_incoming_reset() || stream.deadline.is_some() {
            return;
        }
        // Progress puts off what is done at the deadline, and not the deadline, which would cost every message
        // something.
        let due = stream.progress() + self.config.close_timeout;
        let deadline = if due > now { due } else { now + self.config.close_timeout };
        stream.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
    }

    /// Takes a stream out of the table, for its id to be given back.
    pub(super) fn remove_stream(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.streams.remove(&id)?;
        if stream.owner == StreamOwner::Nobody {
            self.ownerless_streams -= 1;
            self.unanswered_resets -= usize::from(stream.is_incoming_reset());
        }
        if let Some(deadline) = stream.deadline.take() {
            self.deadlines.remove(&(deadline, id));
        }
        Some(stream)
    }

    fn throw_away_unread(&mut self, association: &mut Association, id: ChannelId, reason: ChannelDropReason) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        for received in channel.stop_listening() {
            self.discard_message(association, received.credit, reason);
        }
    }

    /// Gives up what a closing channel has not sent.
    pub(super) fn expedite_close(&mut self, now: Instant, association: &mut Association, id: ChannelId) -> usize {
        let before = match self.channels.get(&id) {
            Some(channel) if channel.state() == ReadyState::Closing => channel.discarded(),
            _ => return 0,
        };
        self.give_up(now, association, id);
        self.channels.get(&id).map_or(0, |channel| channel.discarded() - before)
    }

    /// The association is no more what it was: all channels end, all ids are free.
    fn close_all(&mut self, association: &mut Association, error: &ChannelError) {
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            let unclaimed = stream.owner == StreamOwner::Unclaimed;
            for arrival in stream.take_held() {
                if let Arrival::Message(message) = arrival {
                    let reason = if unclaimed { ChannelDropReason::Unclaimed } else { ChannelDropReason::AfterClose };
                    self.discard_message(association, message.credit, reason);
                }
            }
        }
        (self.unclaimed_streams, self.unclaimed_bytes) = (0, 0);
        (self.ownerless_streams, self.unanswered_resets) = (0, 0);
        self.deadlines.clear();
        self.waiting_controls.clear();
        self.dropped_controls = 0;
        let open: Vec<ChannelId> =
            self.channels.iter().filter(|(_, channel)| !channel.is_closed()).map(|(id, _)| *id).collect();
        for id in open {
            // A graceful shutdown delivers what was accepted first (RFC 9260 §9.2), the peer's DATA_CHANNEL_ACK included. A
            // channel without one may have been refused: the reset that says so need not arrive before the shutdown.
            let was_graceful = *error == ChannelError::Association(CloseReason::Shutdown);
            let is_uncertain = self.channels.get(&id).is_some_and(Channel::awaits_ack);
            self.finish(id, (!was_graceful || is_uncertain).then(|| error.clone()));
        }
    }

    fn remove_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.remove(&id) else { return };
        if channel.origin == Origin::Peer {
            self.peer_label_bytes -= channel.options.text_len();
        }
        debug_assert!(channel.state() == ReadyState::Closed && channel.released);
    }
}
