//! The data channels of one association: their state, and the public methods.

mod closing;
mod consistency;
mod context;
mod opening;
mod receiving;
mod role;
mod sending;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{Association, StreamId, Valid};

use self::context::ChannelsContext;
use crate::answered::AnsweredResets;
use crate::channel::Channel;
use crate::config::{ChannelsConfig, Role};
use crate::error::{ChannelError, ChannelSendError, OpenError};
use crate::event::{ChannelId, ChannelsEvent};
use crate::ids::{RetiredIds, StreamIds};
use crate::message::{Message, UnreadMessage};
use crate::options::ChannelOptions;
use crate::ready_state::ReadyState;
use crate::stats::ChannelsStats;
use crate::stream::{Outgoing, Stream};

/// Capacity that an empty event queue keeps. All channels may end at once, and rarely do.
const EVENTS_KEPT: usize = 256;

/// Streams that a peer may have in use without a channel at a time, until both ends have reset the stream: those of
/// refused channels, and of unclaimed data. An association whose peer opens thousands of channels above the limit is
/// aborted.
const OWNERLESS_STREAMS_MAX: usize = 512;

/// Streams without a channel that the peer has reset, and has still to answer this end's reset of, beside as many as
/// there are channels. More are denied. More than the 248 that usrsctp names in one request.
const UNUSED_RESETS_MAX: usize = 256;

/// Streams of which this end remembers that messages for a negotiated channel to come were lost.
const LOST_STREAMS_MAX: usize = 256;

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
    role: Role,
    phase: ChannelsPhase,
    /// Every channel that is not both closed and released.
    channels: BTreeMap<ChannelId, Channel>,
    /// Every stream id that is not free.
    streams: BTreeMap<StreamId, Stream>,
    /// Free ids of this end's parity.
    ids: StreamIds,
    /// Ids of either parity that can never be used again.
    retired: RetiredIds,
    /// Retired ids on which the peer was refused a channel. The ERROR that reports it may be lost.
    turned_down: RetiredIds,
    /// Streams that hold messages for an expected negotiated channel.
    unclaimed_streams: usize,
    /// Bytes held on unclaimed streams, as charged to the receive window.
    unclaimed_bytes: usize,
    /// Bytes of labels and protocols of the peer's channels.
    peer_label_bytes: usize,
    /// Channels whose DCEP message waits for room in the send buffer, in order; some may have closed since.
    waiting_controls: VecDeque<ChannelId>,
    /// Entries of `waiting_controls` whose message is not to be sent any more.
    dropped_controls: usize,
    /// Streams that are in use without a channel, and without an expected one.
    ownerless_streams: usize,
    /// Ownerless streams that the peer has reset.
    unanswered_resets: usize,
    /// Unused streams on which a reset of the peer was answered.
    answered_resets: AnsweredResets,
    /// Streams whose messages were discarded because no negotiated channel was created in time: the first
    /// [`LOST_STREAMS_MAX`] of them.
    lost_streams: BTreeSet<StreamId>,
    /// Channels on which `send` returned `Full`.
    awaiting_room: BTreeSet<ChannelId>,
    /// Times at which to check for progress of closing streams.
    deadlines: BTreeSet<(Instant, StreamId)>,
    events: VecDeque<ChannelsEvent>,
    next_channel: u64,
    stats: ChannelsStats,
    /// Changes since the last recount.
    unchecked: std::cell::Cell<usize>,
}

impl DataChannels {
    /// Creates the channels of an association whose first event has not been polled. There are none yet.
    #[must_use]
    pub fn new(config: Valid<ChannelsConfig>, role: Role) -> Self {
        Self {
            config,
            role,
            phase: ChannelsPhase::Connecting,
            channels: BTreeMap::new(),
            streams: BTreeMap::new(),
            ids: StreamIds::new(role),
            retired: RetiredIds::default(),
            turned_down: RetiredIds::default(),
            unclaimed_streams: 0,
            unclaimed_bytes: 0,
            peer_label_bytes: 0,
            waiting_controls: VecDeque::new(),
            dropped_controls: 0,
            ownerless_streams: 0,
            unanswered_resets: 0,
            answered_resets: AnsweredResets::default(),
            lost_streams: BTreeSet::new(),
            awaiting_room: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            events: VecDeque::new(),
            next_channel: 0,
            stats: ChannelsStats::default(),
            unchecked: std::cell::Cell::new(0),
        }
    }

    // Getters

    /// Returns the role, which decides the stream ids that this end opens channels on.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
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
        self.streams.len() + self.retired.len()
    }

    /// Returns the channel's state; `None` if there is no such channel, or it was closed and released.
    #[must_use]
    pub fn ready_state(&self, id: ChannelId) -> Option<ReadyState> {
        self.channels.get(&id).map(Channel::state)
    }

    /// Returns the options with which either end opened the channel. A lifetime is in whole milliseconds, as at the
    /// peer.
    #[must_use]
    pub fn options(&self, id: ChannelId) -> Option<&ChannelOptions> {
        self.channels.get(&id).map(|channel| &channel.options)
    }

    /// Returns the channel's stream id (W3C id), which it has from the start; [`set_role`](Self::set_role) may change
    /// it. Once the channel is closed, another channel may use the id.
    #[must_use]
    pub fn stream(&self, id: ChannelId) -> Option<StreamId> {
        self.channels.get(&id).map(|channel| channel.stream)
    }

    /// Returns the application bytes that are accepted and not yet sent, without DCEP (W3C bufferedAmount). Bytes that
    /// were discarded unsent stay counted, so that a closed channel shows what was never sent.
    #[must_use]
    pub fn buffered_amount(&self, association: &Association, id: ChannelId) -> usize {
        self.channels.get(&id).map_or(0, |channel| {
            let waiting = if channel.is_closed() { 0 } else { association.buffered_amount(channel.stream) };
            channel.queue.application_bytes(waiting) + channel.discarded()
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
        self.channels.get(&id).map_or(0, Channel::unread)
    }

    /// Returns `Some` once no message can come after what [`recv`](Self::recv) has now, which is before the channel is
    /// closed: `Ok` if the peer has reset its direction (RFC 6525 §5.2.2), or the error that the channel will end with.
    #[must_use]
    pub fn receive_end(&self, id: ChannelId) -> Option<Result<(), &ChannelError>> {
        let channel = self.channels.get(&id).filter(|channel| channel.state() == ReadyState::Closing)?;
        match channel.error() {
            Some(error) => Some(Err(error)),
            None => self.streams.get(&channel.stream)?.is_incoming_reset().then_some(Ok(())),
        }
    }

    /// Returns the message that `recv` would return after `skipped` others.
    #[must_use]
    pub fn peek(&self, id: ChannelId, skipped: usize) -> Option<UnreadMessage<'_>> {
        self.channels.get(&id)?.peek(skipped)
    }

    /// Returns `true` if the peer has reset its direction of the channel, which may be closed since.
    #[must_use]
    pub fn is_reset_by_peer(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_some_and(|channel| channel.is_reset_by_peer)
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
        let result = self.context(now, association).send_message(id, message, false);
        self.recount();
        result
    }

    /// Queues a message as [`send`](Self::send) does, even if the send buffer is full. Meant for one or two short
    /// messages that end a protocol on the channel: they must be queued before the channel is closed, which cannot wait
    /// for room.
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
        let result = self.context(now, association).send_message(id, message, true);
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
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.is_closed()
        {
            channel.low_threshold = threshold;
            channel.was_above_threshold = buffered_amount > threshold;
            // Once the stream is reset, nothing waits on it, and what is set is for its next use.
            let stream = self.streams.get(&channel.stream).map(Stream::outgoing);
            if matches!(stream, Some(Outgoing::InUse | Outgoing::Resetting)) {
                association.set_buffered_amount_low_threshold(channel.stream, threshold);
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
                let known = self.streams.len() - self.unanswered_resets;
                association.limit_unused_resets((UNUSED_RESETS_MAX + known).saturating_sub(self.unanswered_resets));
                return None;
            };
            self.context(now, association).on_association_event(event);
            self.recount();
        }
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout). Any other call may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    // Shared by the child modules

    fn context<'a>(&'a mut self, now: Instant, association: &'a mut Association) -> ChannelsContext<'a> {
        ChannelsContext { now, association, state: self }
    }

    /// Returns the number of streams that exist in both directions (RFC 8831 §6.4).
    fn stream_limit(association: &Association) -> u16 {
        association.outbound_streams().min(association.inbound_streams())
    }
}
