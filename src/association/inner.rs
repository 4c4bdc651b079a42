//! What an association's lock protects: the core, its channels, and who waits for what.

use std::collections::{HashMap, VecDeque};
use std::task::{Poll, Waker};
use std::time::Instant;

use narrowboat_dcep::{
    ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, DataChannels, Message, ReadyState, Role,
};
use narrowboat_sctp::SignalledInit;
use narrowboat_sctp::StreamId;

use super::channel_entry::{ChannelEntry, EventKind};
use super::shared::WaitKey;
use crate::config::ChannelLimits;
use crate::error::{ChannelError, CloseReason, OpenError, SendError};
use crate::waiters::{Interest, Waiters};

/// Up to this many channels, debug builds recount after each call.
const CHECKED_CHANNELS_MAX: usize = 64;

/// A channel that was just made, for its first handle.
#[derive(Debug)]
pub(crate) struct OpenedChannel {
    pub(crate) id: ChannelId,
    pub(crate) stream: StreamId,
    pub(crate) options: ChannelOptions,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) core: narrowboat_sctp::Association,
    pub(crate) channels: DataChannels,
    pub(super) slots: HashMap<ChannelId, ChannelEntry>,
    /// Channels of the peer that the application has not taken yet.
    pub(super) incoming: VecDeque<ChannelId>,
    pub(super) waiters: Waiters,
    /// Tasks that a call of this end wakes, until the lock is released.
    pub(super) local_wakers: Vec<Waker>,
    /// Channels that have ended, and whose last packet is not written yet.
    pub(super) ended: Vec<ChannelId>,
    /// Channels that have ended, and whose last packet is being sent.
    pub(super) leaving: Vec<ChannelId>,
    /// Handles of the association and of its channels.
    handles: usize,
    /// Channels that are not closed.
    pub(super) channels_alive: usize,
    pub(crate) is_connected: bool,
    /// True until the association is established if the peer may have dialled this end at the same time, over plain UDP.
    pub(crate) has_open_role: bool,
    pub(crate) closed: Option<CloseReason>,
    /// The last datagram has left too, and the endpoint has forgotten the association.
    pub(super) is_finished: bool,
    /// True if the core took messages when it was last looked at: it does not after the peer's SHUTDOWN.
    pub(super) takes_messages: bool,
    /// True if a byte stream that can be half closed was ever made of a channel: no other association looks for one.
    pub(super) has_half_close: bool,
    /// The association ends, because this end said so.
    pub(super) is_ending: bool,
    /// True if this end has begun to end the association, before it had heard that the peer did.
    pub(super) is_ended_here: bool,
    /// Why the system has no way to the peer, if that is why the association ended.
    pub(crate) unreachable: Option<String>,
    /// Why the system has refused the last datagram, if it has.
    pub(crate) network_error: Option<String>,
    /// A panic has left the core in an unknown state: it is not called any more.
    pub(super) is_failed: bool,
    /// The ABORT that was written after a panic, until it is sent.
    pub(super) last_packet: Vec<u8>,
    /// The driver has something to look at.
    pub(crate) has_work: bool,
    /// Largest message that may be sent.
    pub(crate) send_size_max: usize,
    /// The peer's INIT, if it has come with its description (draft-hancke-tsvwg-snap).
    pub(crate) signalled_init: Option<SignalledInit>,
}

impl Inner {
    pub(super) fn new(core: narrowboat_sctp::Association, role: Role, limits: &ChannelLimits) -> Self {
        Self {
            core,
            channels: DataChannels::new(limits.channels.clone(), role),
            slots: HashMap::new(),
            incoming: VecDeque::new(),
            waiters: Waiters::default(),
            local_wakers: Vec::new(),
            ended: Vec::new(),
            leaving: Vec::new(),
            handles: 0,
            channels_alive: 0,
            is_connected: false,
            has_open_role: false,
            closed: None,
            is_finished: false,
            takes_messages: true,
            is_ending: false,
            is_ended_here: false,
            has_half_close: false,
            unreachable: None,
            network_error: None,
            is_failed: false,
            last_packet: Vec::new(),
            has_work: false,
            send_size_max: limits.send_size_max(),
            signalled_init: None,
        }
    }

    pub(crate) fn slot(&mut self, id: ChannelId) -> Option<&mut ChannelEntry> {
        self.slots.get_mut(&id)
    }

    pub(crate) fn ready_state(&self, id: ChannelId) -> ReadyState {
        match self.slots.get(&id) {
            Some(slot) if slot.end.is_none() => self.channels.ready_state(id).unwrap_or(ReadyState::Closed),
            _ => ReadyState::Closed,
        }
    }

    /// Whether the association ends or has ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending || self.closed.is_some()
    }

    /// A new channel, held once.
    pub(crate) fn open(&mut self, now: Instant, options: ChannelOptions) -> Result<OpenedChannel, OpenError> {
        if self.is_ending() {
            return Err(OpenError::Closed);
        }
        let id = self.channels.open(now, &mut self.core, options)?;
        self.insert(id, ChannelEntry::default());
        self.hold_channel(id);
        self.has_work = true;
        Ok(self.opened(id))
    }

    /// The next channel that the peer has opened, held once; `Ready(None)` when there will be no more.
    pub(crate) fn poll_incoming(&mut self) -> Poll<Option<OpenedChannel>> {
        match self.incoming.pop_front() {
            Some(id) => {
                self.hold_channel(id);
                self.release_reference(id);
                Poll::Ready(Some(self.opened(id)))
            }
            None if self.is_ending() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Hands a message to the core; `Pending` when it is full. Nothing of it was queued unless this is `Ready(Ok)`.
    pub(crate) fn poll_send(
        &mut self,
        now: Instant,
        id: ChannelId,
        message: impl FnOnce() -> Message,
    ) -> Poll<Result<(), SendError>> {
        let state = self.ready_state(id);
        let takes_none = self.is_ending() || !self.core.state().can_accept_messages();
        let Some(slot) = self.slots.get_mut(&id) else {
            return Poll::Ready(Err(SendError::NotOpen(ReadyState::Closed)));
        };
        if matches!(state, ReadyState::Closing | ReadyState::Closed) {
            return Poll::Ready(Err(slot.send_error(state)));
        }
        if takes_none {
            return Poll::Ready(Err(SendError::AssociationClosed));
        }
        if slot.is_full {
            return Poll::Pending;
        }
        match self.channels.send(now, &mut self.core, id, message()) {
            Ok(()) => {
                self.has_work = true;
                Poll::Ready(Ok(()))
            }
            Err(ChannelSendError::Full) => {
                slot.is_full = true;
                Poll::Pending
            }
            Err(ChannelSendError::TooLarge { len, max }) => Poll::Ready(Err(SendError::TooLarge { len, max })),
            Err(ChannelSendError::NotOpen(state)) => Poll::Ready(Err(slot.send_error(state))),
            Err(ChannelSendError::AssociationClosed) => Poll::Ready(Err(SendError::AssociationClosed)),
            // Not reached: the channel exists as long as its handles.
            Err(_) => Poll::Ready(Err(slot.send_error(ReadyState::Closed))),
        }
    }

    /// Returns the next message; then, once, the error that the channel ended with; then `Ready(None)`.
    pub(crate) fn poll_recv(&mut self, now: Instant, id: ChannelId) -> Poll<Option<Result<Message, ChannelError>>> {
        if let Some(message) = self.channels.recv(now, &mut self.core, id) {
            // Reading opens the receive window, which the peer may have to be told.
            self.has_work = true;
            if let Some(half_close) = self.half_close(id) {
                half_close.on_popped();
            }
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(slot) = self.slots.get_mut(&id) else { return Poll::Ready(None) };
        if slot.is_end_given {
            return Poll::Ready(None);
        }
        let end = match &slot.end {
            Some(end) => end.as_ref().err(),
            // The peer may have closed, and this end not be done with its own direction.
            None => match self.channels.receive_end(id) {
                Some(end) => end.err(),
                None => return Poll::Pending,
            },
        };
        slot.is_end_given = true;
        Poll::Ready(end.cloned().map(Err))
    }

    /// Returns how the channel ended, once it has and its last packet has left.
    pub(crate) fn poll_end(&self, id: ChannelId) -> Poll<Result<(), ChannelError>> {
        match self.slots.get(&id) {
            Some(slot) => slot.end.clone().filter(|_| slot.is_end_sent).map_or(Poll::Pending, Poll::Ready),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if matches!(self.ready_state(id), ReadyState::Connecting | ReadyState::Open)
            && let Some(slot) = self.slots.get_mut(&id)
        {
            slot.is_closed_here = true;
        }
        self.channels.close(now, &mut self.core, id);
        self.wake_channel(id);
        self.has_work = true;
    }

    pub(crate) fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, threshold: usize) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.buffered_amount_low_threshold = threshold;
        }
        self.channels.set_buffered_amount_low_threshold(&mut self.core, id, threshold);
        self.wake_channel(id);
    }

    /// Wakes everybody who waits on a channel that a call of this end has changed. The layers below report what the peer
    /// does, not what they are told to do.
    fn wake_channel(&mut self, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.waiters.wake_all(&mut self.local_wakers);
        }
    }

    /// Wakes everybody who waits on the association or on one of its channels, because this end has ended it.
    pub(super) fn wake_everybody(&mut self) {
        self.waiters.wake_all(&mut self.local_wakers);
        #[expect(clippy::iter_over_hash_type, reason = "tasks that are woken together run in any order")]
        for slot in self.slots.values_mut() {
            slot.waiters.wake_all(&mut self.local_wakers);
        }
    }

    /// Throws away what waits on a closing channel. Returns the bytes.
    pub(crate) fn discard_unsent(&mut self, now: Instant, id: ChannelId) -> usize {
        self.has_work = true;
        let discarded = self.channels.discard_unsent(now, &mut self.core, id);
        self.wake_channel(id);
        discarded
    }

    pub(crate) fn hold_association(&mut self) {
        self.handles += 1;
    }

    /// One handle less; the last one begins the graceful end.
    pub(crate) fn release_association(&mut self, now: Instant) {
        self.handles -= 1;
        if self.handles == 0 {
            self.begin_shutdown(now);
        }
    }

    pub(crate) fn hold_channel(&mut self, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.handles += 1;
            slot.references += 1;
        }
        self.handles += 1;
    }

    /// One handle less; the last one of a channel closes it.
    pub(crate) fn release_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.handles -= 1;
            if slot.handles == 0 {
                self.channels.forget(now, &mut self.core, id);
                self.has_work = true;
            }
        }
        self.release_reference(id);
        self.release_association(now);
    }

    pub(crate) fn hold_reference(&mut self, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.references += 1;
        }
    }

    pub(crate) fn release_reference(&mut self, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.references -= 1;
        }
        self.remove_if_unused(id);
    }

    pub(super) fn waiters(&mut self, place: WaitKey) -> Option<&mut Waiters> {
        match place.channel {
            Some(id) => self.slots.get_mut(&id).map(|slot| &mut slot.waiters),
            None => Some(&mut self.waiters),
        }
    }

    /// Fires what is due. Returns `true` if the path to the peer should be checked.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.is_failed {
            return false;
        }
        if self.core.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now);
        }
        if self.channels.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.channels.handle_timeout(now, &mut self.core);
        }
        self.core.take_path_suspicion()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_failed {
            return None;
        }
        [self.core.poll_timeout(), self.channels.poll_timeout()].into_iter().flatten().min()
    }

    /// Passes on all that has happened. Returns whether anything has.
    pub(super) fn settle(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> bool {
        let mut has_changed = false;
        wakers.append(&mut std::mem::take(&mut self.local_wakers));
        while !self.is_failed
            && let Some(event) = self.channels.poll_event(now, &mut self.core)
        {
            self.on_event(now, event, wakers);
            has_changed = true;
        }
        self.wake_senders_of_the_ending(wakers);
        if self.is_ending() {
            self.waiters.wake(Interest::Accept, wakers);
        }
        if cfg!(debug_assertions) && self.slots.len() <= CHECKED_CHANNELS_MAX {
            self.check_consistency();
        }
        has_changed
    }

    fn on_event(&mut self, now: Instant, event: ChannelsEvent, wakers: &mut Vec<Waker>) {
        match event {
            ChannelsEvent::Connected => {
                self.is_connected = true;
                self.waiters.wake(Interest::Progress, wakers);
            }
            ChannelsEvent::Restarted => tracing::debug!("the peer restarted the association"),
            ChannelsEvent::Incoming(id) => self.on_incoming(now, id, wakers),
            ChannelsEvent::Open(id) => self.on_channel(id, |slot| {
                slot.was_open = true;
                slot.events.push(EventKind::Open);
                slot.waiters.wake(Interest::Life, wakers);
            }),
            ChannelsEvent::Readable(id) => self.on_readable(now, id, wakers),
            ChannelsEvent::Writable(id) => self.on_channel(id, |slot| {
                slot.is_full = false;
                slot.waiters.wake(Interest::Send, wakers);
            }),
            ChannelsEvent::BufferedAmountLow(id) => self.on_channel(id, |slot| {
                slot.events.push(EventKind::BufferedAmountLow);
                slot.waiters.wake(Interest::Low, wakers);
                slot.waiters.wake(Interest::Life, wakers);
            }),
            ChannelsEvent::Closing(id) => {
                let has_undelivered = self.has_undelivered(id);
                self.on_channel(id, |slot| {
                    slot.has_undelivered = has_undelivered;
                    slot.events.push(EventKind::Closing);
                    slot.waiters.wake_all(wakers);
                });
            }
            ChannelsEvent::Closed(id, error) => {
                self.channels_alive -= 1;
                self.on_channel(id, |slot| {
                    if error.is_some() {
                        slot.events.push(EventKind::Error);
                    }
                    slot.end = Some(error.map_or(Ok(()), Err));
                    slot.waiters.wake_all(wakers);
                });
                self.ended.push(id);
                self.remove_if_unused(id);
            }
            ChannelsEvent::AssociationClosed(reason) => {
                self.closed = Some(reason);
                self.waiters.wake_all(wakers);
            }
            event => tracing::debug!(?event, "event of a later version is ignored"),
        }
    }

    fn on_incoming(&mut self, now: Instant, id: ChannelId, wakers: &mut Vec<Waker>) {
        self.insert(id, ChannelEntry::open());
        self.on_channel(id, |slot| slot.events.push(EventKind::Open));
        if self.is_ending() {
            self.channels.forget(now, &mut self.core, id);
        } else {
            self.hold_reference(id);
            self.incoming.push_back(id);
            self.waiters.wake(Interest::Accept, wakers);
        }
    }

    fn on_channel(&mut self, id: ChannelId, change: impl FnOnce(&mut ChannelEntry)) {
        if let Some(slot) = self.slots.get_mut(&id) {
            change(slot);
        }
    }

    fn opened(&self, id: ChannelId) -> OpenedChannel {
        let stream = self.channels.stream(id).unwrap_or_default();
        let options = self.channels.options(id).cloned().unwrap_or_default();
        OpenedChannel { id, stream, options }
    }

    fn insert(&mut self, id: ChannelId, slot: ChannelEntry) {
        self.slots.insert(id, slot);
        self.channels_alive += 1;
    }

    fn remove_if_unused(&mut self, id: ChannelId) {
        if self.slots.get(&id).is_some_and(|slot| slot.references == 0 && slot.end.is_some()) {
            self.slots.remove(&id);
        }
    }

    /// Recounts what is counted.
    fn check_consistency(&self) {
        assert_eq!(self.channels_alive, self.slots.values().filter(|slot| slot.end.is_none()).count());
        assert!(self.handles >= self.slots.values().map(|slot| slot.handles).sum());
        assert!(self.slots.values().all(|slot| slot.references >= slot.handles));
        assert!(self.slots.values().all(|slot| slot.references > 0 || slot.waiters.is_empty()));
        assert!(self.incoming.iter().all(|id| self.slots.contains_key(id)));
    }
}
