//! The data channels of one association: their state, and the public methods.

mod awaited_streams;
mod channel_table;
mod closing;
mod consistency;
mod context;
mod id_pool;
mod more_streams;
mod opening;
mod receiving;
mod role;
mod room;
mod sending;
mod stream_table;

use std::collections::VecDeque;

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{Association, ReceiptId, SendPolicy, StreamId, Valid};

use self::awaited_streams::AwaitedStream;
use self::channel_table::ChannelTable;
use self::context::ChannelsContext;
use self::id_pool::IdPool;
use self::room::RoomQueue;
use self::stream_table::StreamTable;
use crate::channel::Channel;
use crate::config::{ChannelsConfig, Role};
use crate::error::{ChannelError, ChannelSendError, OpenError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::message::{Message, UnreadMessage};
use crate::options::ChannelOptions;
use crate::ready_state::ReadyState;
use crate::stats::{ChannelStats, ChannelsStats};
use crate::stream::Outgoing;

/// Capacity that an empty event queue keeps. All channels may end at once, and rarely do.
const EVENTS_KEPT: usize = 256;

/// Streams that a peer may have in use without a channel at a time, until both ends have reset the stream: those of
/// refused channels, and of unclaimed data. An association whose peer opens thousands of channels above the limit is
/// aborted.
const OWNERLESS_STREAMS_MAX: usize = 512;

/// Streams without a channel that the peer has reset, and has still to answer this end's reset of, beside as many as
/// there are channels. More are denied. More than the 248 that usrsctp names in one request.
const UNUSED_RESETS_MAX: usize = 256;

/// Phase of the association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChannelsPhase {
    Connecting,
    Up,
    Ended,
}

/// The data channels of one association. Borrows the association in each call, always the same one, and owns no part
/// of it.
///
/// There are four kinds of method. *Getters* change nothing. *Commands* ([`open`](Self::open) to
/// [`set_buffered_amount_low_threshold`](Self::set_buffered_amount_low_threshold)) come from the application.
/// *Inputs*: [`handle_timeout`](Self::handle_timeout), when the time of [`poll_timeout`](Self::poll_timeout) has come.
/// *Outputs*: after any command or input, of this or of the association, first [`poll_event`](Self::poll_event) until
/// it says `None`, which also answers what the association reports, then the association's `poll_transmit`, then both
/// `poll_timeout`s. Nobody else may poll the association's events.
#[derive(Debug)]
pub struct DataChannels {
    config: Valid<ChannelsConfig>,
    phase: ChannelsPhase,
    channels: ChannelTable,
    streams: StreamTable,
    ids: IdPool,
    room: RoomQueue,
    events: VecDeque<ChannelsEvent>,
    stats: ChannelsStats,
    /// Changes since the last recount, in debug builds.
    unchecked: std::cell::Cell<usize>,
}

impl DataChannels {
    /// Creates the channels of an association whose first event has not been polled. There are none yet.
    #[must_use]
    pub fn new(config: Valid<ChannelsConfig>, role: Role) -> Self {
        Self {
            config,
            phase: ChannelsPhase::Connecting,
            channels: ChannelTable::default(),
            streams: StreamTable::default(),
            ids: IdPool::new(role),
            room: RoomQueue::default(),
            events: VecDeque::new(),
            stats: ChannelsStats::default(),
            unchecked: std::cell::Cell::new(0),
        }
    }

    // Getters

    /// Returns the role, which decides the stream ids that this end opens channels on.
    #[must_use]
    pub fn role(&self) -> Role {
        self.ids.role()
    }

    /// Returns the limits given to [`new`](Self::new).
    #[must_use]
    pub fn config(&self) -> &Valid<ChannelsConfig> {
        &self.config
    }

    /// Returns the counters of these channels.
    #[must_use]
    pub fn stats(&self) -> &ChannelsStats {
        &self.stats
    }

    /// Returns the counters of one channel; `None` if there is no such channel, or it was closed and released.
    #[must_use]
    pub fn channel_stats(&self, id: ChannelId) -> Option<ChannelStats> {
        self.channels.channel(id).map(Channel::stats)
    }

    /// Returns the number of channels that are not both closed and released.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Returns `true` if there are no such channels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Returns the number of stream ids that are not free, including those of closed channels that cannot be used
    /// again.
    #[must_use]
    pub fn streams_in_use(&self) -> usize {
        self.streams.len() + self.ids.len_retired()
    }

    /// Returns the channel's state; `None` if there is no such channel, or it was closed and released.
    #[must_use]
    pub fn ready_state(&self, id: ChannelId) -> Option<ReadyState> {
        self.channels.channel(id).map(Channel::state)
    }

    /// Returns the options with which either end opened the channel, and its present priority. A lifetime is in whole
    /// milliseconds, as at the peer.
    #[must_use]
    pub fn options(&self, id: ChannelId) -> Option<&ChannelOptions> {
        self.channels.channel(id).map(|channel| &channel.options)
    }

    /// Returns the channel's stream id (W3C id), which it has from the start; [`set_role`](Self::set_role) may change
    /// it. Once the channel is closed, another channel may use the id.
    #[must_use]
    pub fn stream(&self, id: ChannelId) -> Option<StreamId> {
        self.channels.channel(id).map(|channel| channel.stream)
    }

    /// Returns the application bytes that are accepted and not yet sent, without DCEP (W3C bufferedAmount). Bytes that
    /// were discarded unsent stay counted, so that a closed channel shows what was never sent.
    #[must_use]
    pub fn buffered_amount(&self, association: &Association, id: ChannelId) -> usize {
        self.channels.channel(id).map_or(0, |channel| {
            let waiting = if channel.is_closed() { 0 } else { association.buffered_amount(channel.stream) };
            let held = self.streams.awaited.entry(channel.stream).filter(|awaited| awaited.channel == Some(id));
            let held = held.map_or(0, AwaitedStream::bytes);
            channel.sending.queue.application_bytes(waiting) + channel.sending.discarded() + held
        })
    }

    /// Returns `true` if `recv` would return a message.
    #[must_use]
    pub fn is_readable(&self, id: ChannelId) -> bool {
        self.unread(id) > 0
    }

    /// Returns the number of messages that `recv` would return.
    #[must_use]
    pub fn unread(&self, id: ChannelId) -> usize {
        self.channels.channel(id).map_or(0, |channel| channel.inbox.len())
    }

    /// Returns `Some` once no message can come after what [`recv`](Self::recv) has now, which is before the channel is
    /// closed: `Ok` if the peer has reset its direction (RFC 6525 §5.2.2), or the error that the channel will end with.
    #[must_use]
    pub fn receive_end(&self, id: ChannelId) -> Option<Result<(), &ChannelError>> {
        let channel = self.channels.channel(id).filter(|channel| channel.state() == ReadyState::Closing)?;
        match channel.error() {
            Some(error) => Some(Err(error)),
            None => self.streams.stream(channel.stream)?.is_incoming_reset().then_some(Ok(())),
        }
    }

    /// Returns the message that `recv` would return after `skipped` others.
    #[must_use]
    pub fn peek(&self, id: ChannelId, skipped: usize) -> Option<UnreadMessage<'_>> {
        self.channels.channel(id)?.inbox.peek(skipped)
    }

    /// Returns `true` if the peer has reset its direction of the channel, which may be closed since.
    #[must_use]
    pub fn is_reset_by_peer(&self, id: ChannelId) -> bool {
        self.channels.channel(id).is_some_and(|channel| channel.ending.is_reset_by_peer)
    }

    // Commands

    /// Opens a channel. It is usable at once: before the association is established its messages wait, behind
    /// DATA_CHANNEL_OPEN. [`ChannelsEvent::Open`] follows when the association is established and DATA_CHANNEL_OPEN is
    /// queued, without waiting for DATA_CHANNEL_ACK (W3C §6.2.2).
    ///
    /// A negotiated channel receives what the peer has sent on its stream before, up to `unclaimed_bytes_max`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: nothing was sent, and no stream id is used.
    pub fn open(
        &mut self,
        now: Instant,
        association: &mut Association,
        options: ChannelOptions,
    ) -> Result<ChannelId, OpenError> {
        let result = self.context(now, association).open_channel(options);
        self.recount();
        result
    }

    /// Queues a message, whole or not at all, on a channel that is connecting or open.
    ///
    /// # Errors
    ///
    /// Nothing was queued, and the channel is as it was. After [`ChannelSendError::Full`] comes
    /// [`ChannelsEvent::Writable`].
    pub fn send(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: Message,
    ) -> Result<(), ChannelSendError> {
        let result = self.context(now, association).send_message(id, message, Association::send);
        self.recount();
        result
    }

    /// Queues a message as [`send`](Self::send) does, and reports its progress by [`ChannelsEvent::Receipt`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with_receipt(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: Message,
    ) -> Result<ReceiptId, ChannelSendError> {
        let result = self.context(now, association).send_message(id, message, Association::send_with_receipt);
        self.recount();
        result
    }

    /// Queues a message as [`send`](Self::send) does, even if the send buffer is full. Meant for one or two short
    /// messages that end a protocol on the channel: they must be queued before the channel is closed, which cannot wait
    /// for room. No budget is charged for messages that wait for the stream of their channel, up to 30 s.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but never [`ChannelSendError::Full`].
    pub fn send_beyond_limits(
        &mut self,
        now: Instant,
        association: &mut Association,
        id: ChannelId,
        message: Message,
    ) -> Result<(), ChannelSendError> {
        let result = self.context(now, association).send_message_unlimited(id, message);
        self.recount();
        result
    }

    /// Returns the next message, in any state of the channel, including closed. Reading opens the receive window.
    pub fn recv(&mut self, now: Instant, association: &mut Association, id: ChannelId) -> Option<Message> {
        let message = self.context(now, association).next_message(id);
        self.recount();
        message
    }

    /// Starts the closing procedure (W3C §6.2.4, RFC 8831 §6.7); [`ChannelsEvent::Closed`] follows. Nothing happens if
    /// the channel is closing or closed.
    ///
    /// The state is `Closing` at once. What was accepted before is still sent, or abandoned if the channel is partially
    /// reliable, as long as the association lasts; then this end's stream is reset, and the peer answers with its own
    /// reset. What it sent before that can be read, whether [`ChannelsEvent::Closed`] has come or not. What is left
    /// unread for `close_timeout` while the peer has not reset its side is discarded, because it may keep the receive
    /// window closed.
    ///
    /// Our reset makes the peer discard the messages of this channel that still wait in its send queue. The peer
    /// reports [`ChannelError::PeerClosed`](crate::ChannelError::PeerClosed) then.
    ///
    /// No time-out ends the procedure. Our reset is retransmitted until it is answered (RFC 6525 §5.1.1), and we wait
    /// for the peer's reset as long as the association lasts. An end that gave up would leave the other with a channel
    /// that loses its messages silently.
    ///
    /// Before the association is up, a channel on which nothing was sent ends at once: nothing of it goes out, and no
    /// id is used. One with messages waiting delivers them first. A peer without RE-CONFIG ends it at once too, with
    /// [`ChannelError::ResetNotSupported`](crate::ChannelError::ResetNotSupported).
    pub fn close(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        self.context(now, association).close_channel(id);
        self.recount();
    }

    /// Releases a channel whose last handle was dropped: closes it if it is not closed, and removes it once it is.
    /// Unread and arriving messages are discarded. Accepted messages are still sent.
    pub fn forget(&mut self, now: Instant, association: &mut Association, id: ChannelId) {
        self.context(now, association).forget_channel(id);
        self.recount();
    }

    /// Discards the unsent messages of a closing channel, and abandons those that were sent and not acknowledged, so
    /// that it closes soon even if the peer does not read. Returns the bytes discarded. Does nothing in any other
    /// state.
    pub fn discard_unsent(&mut self, now: Instant, association: &mut Association, id: ChannelId) -> usize {
        let discarded = self.context(now, association).expedite_close(id);
        self.recount();
        discarded
    }

    /// Sets the threshold of [`ChannelsEvent::BufferedAmountLow`], which is reported when the buffered amount falls to
    /// it or below. Default 0.
    pub fn set_buffered_amount_low_threshold(
        &mut self,
        association: &mut Association,
        id: ChannelId,
        threshold: usize,
    ) {
        let buffered_amount = self.buffered_amount(association, id);
        if let Some(channel) = self.channels.channel_mut(id)
            && !channel.is_closed()
        {
            channel.sending.set_low_threshold(threshold, buffered_amount);
            let stream = channel.stream;
            if self.may_still_send(stream) {
                association.set_buffered_amount_low_threshold(stream, threshold);
            }
        }
    }

    /// Changes the [priority](ChannelOptions::priority) with which this end sends on the channel, from the next message
    /// on, or from the next chunk if messages interleave. The peer is not told, and keeps its own. Does nothing on a
    /// closed channel.
    pub fn set_priority(&mut self, association: &mut Association, id: ChannelId, priority: u16) {
        if let Some(channel) = self.channels.channel_mut(id)
            && !channel.is_closed()
        {
            channel.options.priority = priority;
            let (stream, weight) = (channel.stream, channel.options.weight());
            if self.may_still_send(stream) {
                association.set_stream_priority(stream, weight);
            }
        }
    }

    /// Sets the policy for messages that wait on a channel. It holds at once, also for those that wait already. Does
    /// nothing once the channel's stream is reset.
    pub fn set_send_policy(&mut self, association: &mut Association, id: ChannelId, policy: SendPolicy) {
        if let Some(channel) = self.channels.channel_mut(id)
            && !channel.is_closed()
        {
            let stream = channel.stream;
            if self.streams.awaited.contains(stream) {
                channel.options.send_policy = policy;
            } else if self.may_still_send(stream) {
                association.set_send_policy(stream, policy);
            }
        }
    }

    /// Changes the role, if the association is not established yet: both ends may have connected, and only one can be
    /// the client. Channels that were opened in band before move to ids of the role, with the messages that wait on
    /// them. Negotiated ones keep theirs, as the peer knows them. Does nothing later.
    pub fn set_role(&mut self, association: &mut Association, role: Role) {
        self.take_role(association, role);
        self.recount();
    }

    // Inputs

    /// Handles the time-outs that are due. To be called at the time of [`poll_timeout`](Self::poll_timeout); harmless
    /// at any other.
    pub fn handle_timeout(&mut self, now: Instant, association: &mut Association) {
        self.context(now, association).on_timeout();
        self.recount();
    }

    // Outputs

    /// Handles the association's events, and returns the next event for the application. Call until `None`.
    pub fn poll_event(&mut self, now: Instant, association: &mut Association) -> Option<ChannelsEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.events.capacity() > EVENTS_KEPT {
                self.events.shrink_to_fit();
            }
            let Some(event) = association.poll_event() else {
                // A stream of a channel that this end has reset already counts as unused there.
                let unanswered = self.streams.unanswered_resets();
                let known = self.streams.len() - unanswered;
                association.limit_unused_resets((UNUSED_RESETS_MAX + known).saturating_sub(unanswered));
                return None;
            };
            self.context(now, association).on_association_event(event);
            self.recount();
        }
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout). Any other call may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.streams.first_deadline().into_iter().chain(self.streams.awaited.next_retry()).min()
    }

    // Shared by the child modules

    /// Returns true from the time at which the stream of a channel exists until it is reset. Nothing waits on it after
    /// that, and what is set on it is for its next use.
    fn may_still_send(&self, stream: StreamId) -> bool {
        let outgoing = self.streams.stream(stream).map(|stream| stream.outgoing());
        matches!(outgoing, Some(Outgoing::InUse | Outgoing::Resetting)) && !self.streams.awaited.contains(stream)
    }

    /// Records that the DCEP message of a channel is not to be sent any more.
    fn on_control_dropped(&mut self) {
        let waits = |id| self.channels.channel(id).is_some_and(|channel| channel.sending.control.is_some());
        self.room.on_control_dropped(waits);
    }

    fn context<'a>(&'a mut self, now: Instant, association: &'a mut Association) -> ChannelsContext<'a> {
        ChannelsContext { now, association, state: self }
    }

    /// Returns the number of streams that exist in both directions (RFC 8831 §6.4).
    fn stream_limit(association: &Association) -> u16 {
        association.outbound_streams().min(association.inbound_streams())
    }
}
