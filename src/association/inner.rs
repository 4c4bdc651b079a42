//! State under an association's lock: the SCTP association, its channels, and the tasks that wait.

use std::task::{Poll, Waker};
use std::time::Instant;

use narrowboat_dcep::{
    ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, DataChannels, Message, ReadyState, Role,
};
use narrowboat_sctp::{ReceiptId, SendPolicy, SignalledInit, StreamId};

use super::channel_entry::{ChannelEntry, EventKind};
use super::entries::ChannelEntries;
use super::lifecycle::Lifecycle;
use super::receipts::{ReceiptEntry, ReceiptTable};
use crate::config::ChannelLimits;
use crate::error::{ChannelError, OpenError, SendError, TransportFailure};
use crate::waiters::{Interest, WaitKey, Waiters};

/// Largest number of channels with which debug builds recount after each call.
const CHECKED_CHANNELS_MAX: usize = 64;

/// A new channel, for its first handle.
#[derive(Debug)]
pub(crate) struct OpenedChannel {
    pub(crate) id: ChannelId,
    pub(crate) stream: StreamId,
    pub(crate) options: ChannelOptions,
}

/// State under the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) sctp: narrowboat_sctp::Association,
    pub(crate) channels: DataChannels,
    pub(crate) entries: ChannelEntries,
    pub(crate) life: Lifecycle,
    pub(crate) setup: AssociationSetup,
    pub(crate) network: NetworkErrors,
    pub(crate) tasks: Tasks,
    /// True if the driver has to be woken.
    pub(crate) has_work: bool,
}

/// Values that are known before the association is established, from the limits and from the peer's description.
#[derive(Debug)]
pub(crate) struct AssociationSetup {
    /// Largest message that may be sent.
    pub(crate) send_size_max: usize,
    /// True until the association is established if the peer may have dialled this end at the same time, over plain
    /// UDP.
    pub(crate) has_open_role: bool,
    /// The peer's INIT, if it has come with its description (draft-hancke-tsvwg-snap).
    pub(crate) signalled_init: Option<SignalledInit>,
}

/// Errors of the system, as it words them.
#[derive(Debug, Default)]
pub(crate) struct NetworkErrors {
    /// Error with which the system refused the last datagram.
    pub(crate) refused: Option<String>,
    /// Error that ended the association, because there is no route to the peer.
    pub(crate) unreachable: Option<String>,
}

/// Tasks that wait on the association or on receipts, and tasks to be woken.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    pub(super) waiters: Waiters,
    pub(crate) receipts: ReceiptTable,
    /// Wakers of tasks that a call of this end wakes, until the lock is released.
    pub(super) local_wakers: Vec<Waker>,
}

impl Tasks {
    /// Ends the receipts of an association that has failed.
    pub(super) fn fail_receipts(&mut self) {
        self.receipts.fail(&mut self.local_wakers);
    }
}

impl Inner {
    pub(super) fn new(sctp: narrowboat_sctp::Association, role: Role, limits: &ChannelLimits) -> Self {
        Self {
            sctp,
            channels: DataChannels::new(limits.channels.clone(), role),
            entries: ChannelEntries::default(),
            life: Lifecycle::new(),
            setup: AssociationSetup {
                send_size_max: limits.send_size_max(),
                has_open_role: false,
                signalled_init: None,
            },
            network: NetworkErrors::default(),
            tasks: Tasks::default(),
            has_work: false,
        }
    }

    pub(crate) fn entry(&mut self, id: ChannelId) -> Option<&mut ChannelEntry> {
        self.entries.entry_mut(id)
    }

    pub(crate) fn ready_state(&self, id: ChannelId) -> ReadyState {
        match self.entries.entry(id) {
            Some(entry) if entry.end.result.is_none() => self.channels.ready_state(id).unwrap_or(ReadyState::Closed),
            _ => ReadyState::Closed,
        }
    }

    /// Opens a channel, with one handle.
    pub(crate) fn open(&mut self, now: Instant, options: ChannelOptions) -> Result<OpenedChannel, OpenError> {
        if self.life.is_ending() {
            return Err(OpenError::Closed);
        }
        let id = self.channels.open(now, &mut self.sctp, options)?;
        self.insert(id, ChannelEntry::default());
        self.hold_channel(id);
        self.has_work = true;
        Ok(self.opened(id))
    }

    /// Returns the next channel that the peer has opened, with one handle; `Ready(None)` if there will be no more.
    pub(crate) fn poll_incoming(&mut self) -> Poll<Option<OpenedChannel>> {
        match self.entries.accept() {
            Some(id) => {
                self.life.hold();
                Poll::Ready(Some(self.opened(id)))
            }
            None if self.life.is_ending() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Queues a message; `Pending` if the send buffer is full. Nothing of the message was queued unless this is
    /// `Ready(Ok)`.
    pub(crate) fn poll_send(
        &mut self,
        now: Instant,
        id: ChannelId,
        message: impl FnOnce() -> Message,
    ) -> Poll<Result<(), SendError>> {
        self.poll_accept(id, |inner| inner.channels.send(now, &mut inner.sctp, id, message()))
    }

    /// Queues a message as [`poll_send`](Self::poll_send) does, and returns its receipt, which exists until
    /// [`forget_receipt`](Self::forget_receipt).
    pub(crate) fn poll_send_with_receipt(
        &mut self,
        now: Instant,
        id: ChannelId,
        message: impl FnOnce() -> Message,
    ) -> Poll<Result<ReceiptId, SendError>> {
        let accepted =
            self.poll_accept(id, |inner| inner.channels.send_with_receipt(now, &mut inner.sctp, id, message()));
        if let Poll::Ready(Ok(receipt)) = accepted {
            self.tasks.receipts.insert(receipt);
        }
        accepted
    }

    /// Releases a receipt. Returns its entry, which may hold wakers.
    pub(crate) fn forget_receipt(&mut self, id: ReceiptId) -> Option<ReceiptEntry> {
        if !self.life.is_failed() && !self.tasks.receipts.status(id).is_final() {
            self.sctp.forget_receipt(id);
        }
        self.tasks.receipts.remove(id)
    }

    fn poll_accept<R>(
        &mut self,
        id: ChannelId,
        send: impl FnOnce(&mut Self) -> Result<R, ChannelSendError>,
    ) -> Poll<Result<R, SendError>> {
        let state = self.ready_state(id);
        let takes_none = self.life.is_ending() || !self.sctp.state().can_accept_messages();
        let Some(entry) = self.entries.entry_mut(id) else {
            return Poll::Ready(Err(SendError::NotOpen(ReadyState::Closed)));
        };
        if matches!(state, ReadyState::Closing | ReadyState::Closed) {
            return Poll::Ready(Err(entry.send_error(state)));
        }
        if takes_none {
            return Poll::Ready(Err(SendError::AssociationClosed));
        }
        if entry.send_buffer.is_full {
            return Poll::Pending;
        }
        let error = match send(self) {
            Ok(accepted) => {
                self.has_work = true;
                return Poll::Ready(Ok(accepted));
            }
            Err(error) => error,
        };
        let Some(entry) = self.entries.entry_mut(id) else {
            return Poll::Ready(Err(SendError::NotOpen(ReadyState::Closed)));
        };
        Poll::Ready(Err(match error {
            ChannelSendError::Full => {
                entry.send_buffer.is_full = true;
                return Poll::Pending;
            }
            ChannelSendError::TooLarge { len, max } => SendError::TooLarge { len, max },
            ChannelSendError::NotOpen(state) => entry.send_error(state),
            ChannelSendError::AssociationClosed => SendError::AssociationClosed,
            // Not reached: the channel exists as long as its handles.
            _ => entry.send_error(ReadyState::Closed),
        }))
    }

    /// Returns the next message; then, once, the error that the channel ended with; then `Ready(None)`.
    pub(crate) fn poll_recv(&mut self, now: Instant, id: ChannelId) -> Poll<Option<Result<Message, ChannelError>>> {
        if let Some(message) = self.channels.recv(now, &mut self.sctp, id) {
            // Reading opens the receive window, which the peer may have to be told.
            self.has_work = true;
            if let Some(half_close) = self.entries.half_close(id) {
                half_close.on_popped();
            }
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(entry) = self.entries.entry_mut(id) else { return Poll::Ready(None) };
        if entry.end.is_returned {
            return Poll::Ready(None);
        }
        let error = match &entry.end.result {
            Some(end) => end.clone().err(),
            // The peer may have closed its direction, and this end may still be sending.
            None => match self.channels.receive_end(id) {
                Some(end) => end.err().cloned().map(|error| error.map_transport(TransportFailure::from)),
                None => return Poll::Pending,
            },
        };
        entry.end.is_returned = true;
        Poll::Ready(error.map(Err))
    }

    /// Returns the end of the channel, once its last packet has left.
    pub(crate) fn poll_end(&self, id: ChannelId) -> Poll<Result<(), ChannelError>> {
        match self.entries.entry(id) {
            Some(entry) => entry.end.result.clone().filter(|_| entry.end.is_sent).map_or(Poll::Pending, Poll::Ready),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if matches!(self.ready_state(id), ReadyState::Connecting | ReadyState::Open)
            && let Some(entry) = self.entries.entry_mut(id)
        {
            entry.end.is_closed_here = true;
        }
        self.channels.close(now, &mut self.sctp, id);
        self.wake_channel(id);
        self.has_work = true;
    }

    pub(crate) fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, threshold: usize) {
        if let Some(entry) = self.entries.entry_mut(id) {
            entry.send_buffer.low_threshold = threshold;
        }
        self.channels.set_buffered_amount_low_threshold(&mut self.sctp, id, threshold);
        self.wake_channel(id);
    }

    pub(crate) fn set_priority(&mut self, id: ChannelId, priority: u16) {
        self.channels.set_priority(&mut self.sctp, id, priority);
    }

    pub(crate) fn set_send_policy(&mut self, id: ChannelId, policy: SendPolicy) {
        self.channels.set_send_policy(&mut self.sctp, id, policy);
        self.has_work = true;
    }

    /// Wakes every task that waits on a channel that a call of this end has changed. The layers below report what the
    /// peer does, not what this end calls.
    pub(super) fn wake_channel(&mut self, id: ChannelId) {
        if let Some(entry) = self.entries.entry_mut(id) {
            entry.waiters.wake_all(&mut self.tasks.local_wakers);
        }
    }

    /// Wakes every task that waits on the association or on one of its channels, because this end has ended it.
    pub(super) fn wake_everybody(&mut self) {
        self.tasks.waiters.wake_all(&mut self.tasks.local_wakers);
        self.entries.wake_all(&mut self.tasks.local_wakers);
    }

    /// Discards the unsent messages of a closing channel. Returns the bytes.
    pub(crate) fn discard_unsent(&mut self, now: Instant, id: ChannelId) -> usize {
        self.has_work = true;
        let discarded = self.channels.discard_unsent(now, &mut self.sctp, id);
        self.wake_channel(id);
        discarded
    }

    pub(crate) fn hold_association(&mut self) {
        self.life.hold();
    }

    /// Releases a handle. The last one begins the shutdown.
    pub(crate) fn release_association(&mut self, now: Instant) {
        if self.life.release() {
            self.begin_shutdown(now);
        }
    }

    pub(crate) fn hold_channel(&mut self, id: ChannelId) {
        self.entries.hold_handle(id);
        self.life.hold();
    }

    /// Releases a handle of a channel. The last one closes the channel.
    pub(crate) fn release_channel(&mut self, now: Instant, id: ChannelId) {
        if self.entries.release_handle(id) {
            self.channels.forget(now, &mut self.sctp, id);
            self.has_work = true;
        }
        self.entries.release_reference(id);
        self.release_association(now);
    }

    pub(crate) fn hold_reference(&mut self, id: ChannelId) {
        self.entries.hold_reference(id);
    }

    pub(crate) fn release_reference(&mut self, id: ChannelId) {
        self.entries.release_reference(id);
    }

    pub(super) fn waiters(&mut self, wait_key: WaitKey) -> Option<&mut Waiters> {
        match (wait_key.channel, wait_key.interest) {
            (_, Interest::Receipt(id)) => self.tasks.receipts.waiters(id),
            (Some(id), _) => self.entries.entry_mut(id).map(|entry| &mut entry.waiters),
            (None, _) => Some(&mut self.tasks.waiters),
        }
    }

    /// Handles the time-outs that are due. Returns `true` if the path to the peer should be checked.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.life.is_failed() {
            return false;
        }
        if self.sctp.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.sctp.handle_timeout(now);
        }
        if self.channels.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.channels.handle_timeout(now, &mut self.sctp);
        }
        self.sctp.take_path_suspicion()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.life.is_failed() {
            return None;
        }
        [self.sctp.poll_timeout(), self.channels.poll_timeout()].into_iter().flatten().min()
    }

    /// Handles every event of the channels, and collects the wakers of the tasks that wait for them. Returns `true` if
    /// there was an event.
    pub(super) fn process_events(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> bool {
        let mut has_changed = false;
        wakers.append(&mut std::mem::take(&mut self.tasks.local_wakers));
        while !self.life.is_failed()
            && let Some(event) = self.channels.poll_event(now, &mut self.sctp)
        {
            self.on_event(now, event, wakers);
            has_changed = true;
        }
        self.wake_senders_on_shutdown(wakers);
        if self.life.is_ending() {
            self.tasks.waiters.wake(Interest::Accept, wakers);
        }
        if cfg!(debug_assertions) && self.entries.len() <= CHECKED_CHANNELS_MAX {
            self.entries.check_consistency(self.life.handles());
        }
        has_changed
    }

    fn on_event(&mut self, now: Instant, event: ChannelsEvent, wakers: &mut Vec<Waker>) {
        match event {
            ChannelsEvent::Connected => {
                self.life.on_connected();
                self.tasks.waiters.wake(Interest::Progress, wakers);
            }
            ChannelsEvent::Restarted => tracing::debug!("the peer restarted the association"),
            ChannelsEvent::Incoming(id) => self.on_incoming(now, id, wakers),
            ChannelsEvent::Open(id) => {
                self.report_open(id);
                self.on_channel(id, |entry| {
                    entry.was_open = true;
                    entry.events.push(EventKind::Open);
                    entry.waiters.wake(Interest::Life, wakers);
                });
            }
            ChannelsEvent::Readable(id) => self.on_readable(now, id, wakers),
            ChannelsEvent::Writable(id) => self.on_channel(id, |entry| {
                entry.send_buffer.is_full = false;
                entry.waiters.wake(Interest::Send, wakers);
            }),
            ChannelsEvent::BufferedAmountLow(id) => self.on_channel(id, |entry| {
                entry.events.push(EventKind::BufferedAmountLow);
                entry.waiters.wake(Interest::Low, wakers);
                entry.waiters.wake(Interest::Life, wakers);
            }),
            ChannelsEvent::Abandoned { channel, messages, bytes, .. } => self.on_channel(channel, |entry| {
                entry.on_abandoned(messages, bytes);
                entry.waiters.wake(Interest::Life, wakers);
            }),
            ChannelsEvent::Receipt(id, status) => self.tasks.receipts.on_status(id, status, wakers),
            ChannelsEvent::Closing(id) => {
                let has_undelivered = self.has_undelivered(id);
                self.on_channel(id, |entry| {
                    entry.end.has_undelivered = has_undelivered;
                    entry.events.push(EventKind::Closing);
                    entry.waiters.wake_all(wakers);
                });
            }
            ChannelsEvent::Closed(id, error) => {
                let error = error.map(|error| error.map_transport(TransportFailure::from));
                self.report_closed(id, error.as_ref());
                self.entries.on_closed(id, error.map_or(Ok(()), Err), wakers);
            }
            ChannelsEvent::AssociationClosed(reason) => {
                self.life.on_closed(reason.map_transport(TransportFailure::from));
                self.tasks.waiters.wake_all(wakers);
            }
            event => tracing::debug!(?event, "event of a later version is ignored"),
        }
    }

    fn on_incoming(&mut self, now: Instant, id: ChannelId, wakers: &mut Vec<Waker>) {
        self.insert(id, ChannelEntry::open());
        self.report_open(id);
        self.on_channel(id, |entry| entry.events.push(EventKind::Open));
        if self.life.is_ending() {
            self.channels.forget(now, &mut self.sctp, id);
        } else {
            self.entries.push_incoming(id);
            self.tasks.waiters.wake(Interest::Accept, wakers);
        }
    }

    fn on_channel(&mut self, id: ChannelId, change: impl FnOnce(&mut ChannelEntry)) {
        if let Some(entry) = self.entries.entry_mut(id) {
            change(entry);
        }
    }

    fn opened(&self, id: ChannelId) -> OpenedChannel {
        let stream = self.channels.stream(id).unwrap_or_default();
        let options = self.channels.options(id).cloned().unwrap_or_default();
        OpenedChannel { id, stream, options }
    }

    fn insert(&mut self, id: ChannelId, mut entry: ChannelEntry) {
        entry.span = self.channel_span(id);
        self.entries.insert(id, entry);
    }
}
