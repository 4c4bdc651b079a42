//! The sending half: queues, outstanding chunks, loss recovery, congestion control, the peer's window (RFC 9260 §6, §7;
//! RFC 8985; RFC 3758).
//!
//! [`Sender`] has an owner for each, which keep to themselves; the files with its methods pass values between them.

mod abandon;
mod black_hole;
mod charge;
mod congestion;
mod data_format;
mod flight;
mod forward_tsn;
mod freshness;
mod immediate_sack;
mod loss;
mod notices;
mod outgoing_stream;
mod outstanding;
mod pacer;
mod packet_place;
mod peer_window;
mod priorities;
mod queue;
mod queued;
mod rack;
mod rate;
mod receipts;
mod recovery;
mod retransmission;
mod rtt_sample;
mod sack;
mod sack_delay;
mod scheduler;
mod stream;
mod stream_map;
mod stream_totals;
mod tlp;
mod undo;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use data_format::DataFormat;
pub(crate) use sack::SackOutcome;
pub(crate) use write::PacketRoom;

use bytes::Bytes;

use self::forward_tsn::ForwardPoint;
use self::loss::LossRecovery;
use self::outstanding::Outstanding;
use self::peer_window::PeerWindow;
use self::queue::OutgoingQueue;
use self::rate::{CwndExemption, SendRate};
use crate::config::AssociationConfig;
use crate::error::SendMessageError;
use crate::event::{AssociationEvent, ReceiptId};
use crate::message::{Ppid, SendOptions, StreamId};
use crate::path::Path;
use crate::send_policy::SendPolicy;
use crate::serial::{MessageKey, Tsn, UnwrappedTsn};
use crate::stats::{AbandonStats, CongestionStats};
use crate::time::Instant;

/// Counters that the sender keeps for [`AssociationStats`](crate::AssociationStats).
#[derive(Debug, Default)]
pub(crate) struct SendCounters {
    pub(crate) messages: u64,
    pub(crate) chunks: u64,
    pub(crate) retransmitted: u64,
    pub(crate) congestion_events: u64,
    pub(crate) congestion_events_undone: u64,
    pub(crate) spurious: u64,
}

/// Sending half of an association.
#[derive(Debug)]
pub(crate) struct Sender {
    queue: OutgoingQueue,
    outstanding: Outstanding,
    loss: LossRecovery,
    rate: SendRate,
    peer_window: PeerWindow,
    forward_point: ForwardPoint,
    counters: SendCounters,
}

impl Sender {
    pub(crate) fn new(config: &AssociationConfig, path: &Path, initial_tsn: Tsn) -> Self {
        Self {
            queue: OutgoingQueue::new(config, path),
            outstanding: Outstanding::new(initial_tsn),
            loss: LossRecovery::new(),
            rate: SendRate::new(config.congestion_control, path),
            peer_window: PeerWindow::default(),
            forward_point: ForwardPoint::default(),
            counters: SendCounters::default(),
        }
    }

    /// Creates a new sender for an association that the peer has restarted; only the counters go on.
    pub(crate) fn restarted(&mut self, config: &AssociationConfig, path: &Path, initial_tsn: Tsn) -> Self {
        let mut sender = Self { counters: std::mem::take(&mut self.counters), ..Self::new(config, path, initial_tsn) };
        sender.queue.streams.continue_keys(&self.queue.streams);
        sender.queue.notices.continue_totals(&self.queue.notices);
        sender
    }

    /// Switches to another path, of which nothing is known yet.
    pub(crate) fn on_path_changed(&mut self, path: &Path) {
        self.rate.on_path_changed(path);
        self.loss.undo.clear();
        self.queue.streams.on_mtu_changed(self.payload_max(path));
    }

    /// Gives back what a sender does not use that has nothing outstanding.
    pub(crate) fn trim_memory(&mut self, now: Instant) {
        if self.outstanding.is_empty() {
            self.loss.undo.trim(now);
        }
    }

    /// Handles a change of the packet size. A chunk that was cut for larger packets leaves alone in its packet, if it
    /// is retransmitted.
    pub(crate) fn on_mtu_changed(&mut self, path: &Path) {
        self.rate.on_mtu_changed(path);
        self.queue.streams.on_mtu_changed(self.payload_max(path));
    }

    /// Returns the number of bytes of user data that a packet of the least size takes in one chunk.
    fn payload_max(&self, path: &Path) -> usize {
        self.queue.streams.format().payload_max(path)
    }

    /// Returns `true` once if packets above the size that needs no proof do not arrive any more (RFC 8899 §4.3).
    pub(crate) fn take_black_hole(&mut self) -> bool {
        self.loss.black_hole.take()
    }

    /// Changes the first TSN, before anything is sent.
    pub(crate) fn begin_at(&mut self, initial_tsn: Tsn) {
        debug_assert!(self.outstanding.is_empty());
        self.outstanding = Outstanding::new(initial_tsn);
    }

    /// Notes the limits of the peer and the chunk type of user data when the handshake is done, or done again.
    pub(crate) fn on_established(&mut self, peer_rwnd: u32, can_abandon: bool, format: DataFormat, path: &Path) {
        self.peer_window.on_established(peer_rwnd);
        self.forward_point.on_established(can_abandon);
        self.queue.streams.set_format(format);
        self.queue.streams.on_mtu_changed(format.payload_max(path));
    }

    /// Discards everything, because the association is over.
    pub(crate) fn clear(&mut self) {
        self.end_receipts();
        self.queue.streams.clear();
        self.outstanding = Outstanding::new(self.outstanding.next_tsn().wrap());
        self.loss = LossRecovery::new();
        self.forward_point.clear();
        self.rate.set_cwnd_exemption(CwndExemption::None);
    }

    // Queues

    /// Accepts a message and returns its number, or says why not.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<MessageKey, SendMessageError> {
        let key = self.queue.push(now, stream, ppid, payload, options, self.outstanding.charge())?;
        self.counters.messages += 1;
        Ok(key)
    }

    /// Reports the progress of a message that was just accepted.
    pub(crate) fn open_receipt(&mut self, key: MessageKey) -> ReceiptId {
        self.queue.notices.open_receipt(key)
    }

    pub(crate) fn forget_receipt(&mut self, id: ReceiptId) {
        self.queue.notices.forget_receipt(id);
        self.check_refused();
    }

    /// Ends all receipts, because what was accepted is not sent any more.
    pub(crate) fn end_receipts(&mut self) {
        self.queue.notices.end_receipts();
    }

    pub(crate) fn poll_notice(&mut self) -> Option<AssociationEvent> {
        // Streams that were refused are notified, however room was made: an abandoned message makes room, too.
        self.check_refused();
        self.queue.poll_notice()
    }

    /// Returns the messages that were abandoned, on all streams.
    pub(crate) fn abandoned(&self) -> &AbandonStats {
        self.queue.notices.abandoned()
    }

    /// Returns the messages that were abandoned on a stream since it was reset.
    pub(crate) fn abandoned_on(&self, stream: StreamId) -> AbandonStats {
        self.queue.notices.abandoned_on(stream)
    }

    fn check_refused(&mut self) {
        self.queue.check_refused(self.outstanding.charge());
    }

    /// Calls [`OutgoingQueue::note_memory_refusal`].
    pub(crate) fn note_refusal(&mut self) {
        self.queue.note_memory_refusal();
    }

    pub(crate) fn on_memory_progress(&mut self) {
        self.queue.on_memory_progress();
    }

    pub(crate) fn buffered(&self) -> usize {
        self.queue.streams.buffered()
    }

    pub(crate) fn buffered_on(&self, stream: StreamId) -> usize {
        self.queue.streams.buffered_on(stream)
    }

    pub(crate) fn set_policy(&mut self, stream: StreamId, policy: SendPolicy) {
        self.queue.streams.set_policy(stream, policy);
    }

    pub(crate) fn set_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        self.queue.streams.set_low_threshold(stream, threshold);
    }

    /// Sets the priority of a stream, which the scheduler uses.
    pub(crate) fn set_priority(&mut self, stream: StreamId, priority: u16) {
        self.queue.streams.set_priority(stream, priority);
    }

    /// Moves what waits on a stream that was never used to another one that is not in use. Returns false if that cannot
    /// be.
    pub(crate) fn move_unsent(&mut self, from: StreamId, to: StreamId) -> bool {
        self.queue.streams.move_unsent(from, to)
    }

    /// True if something was sent or set on the stream since it was reset last.
    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.queue.streams.has_stream(stream)
    }

    /// Returns the streams in use from this id on, this one included.
    pub(crate) fn streams_from(&self, first: StreamId) -> Vec<StreamId> {
        self.queue.streams.streams_from(first)
    }

    // Stream resets

    /// Returns `true` if all that was accepted has been acknowledged or abandoned.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.streams.is_empty() && self.outstanding.is_empty()
    }

    pub(crate) fn is_stream_drained(&self, stream: StreamId) -> bool {
        self.drains_at(stream).is_some_and(|last| last <= self.cumulative_tsn_ack_point())
    }

    /// Calls [`StreamQueues::drains_at`](stream::StreamQueues::drains_at).
    pub(crate) fn drains_at(&self, stream: StreamId) -> Option<UnwrappedTsn> {
        self.queue.streams.drains_at(stream)
    }

    /// Returns each stream under reset once whose queue has run empty, and the TSN of its last chunk.
    pub(crate) fn poll_drained(&mut self) -> Option<(StreamId, UnwrappedTsn)> {
        self.queue.streams.poll_drained()
    }

    pub(crate) fn begin_reset(&mut self, stream: StreamId) {
        self.queue.streams.begin_reset(stream);
    }

    pub(crate) fn finish_reset(&mut self, stream: StreamId) {
        self.queue.streams.finish_reset(stream);
        self.queue.notices.on_stream_reset(stream);
    }

    pub(crate) fn is_resetting(&self, stream: StreamId) -> bool {
        self.queue.streams.is_resetting(stream)
    }

    // State of the transfer

    pub(crate) fn counters(&self) -> &SendCounters {
        &self.counters
    }

    pub(crate) fn cwnd(&self) -> usize {
        self.rate.cwnd()
    }

    /// Returns the state of the congestion controller for users.
    pub(crate) fn congestion_stats(&self, path: &Path) -> CongestionStats {
        self.rate.stats(path)
    }

    pub(crate) fn flight_size(&self) -> usize {
        self.outstanding.flight_size()
    }

    pub(crate) fn peer_rwnd(&self) -> usize {
        self.peer_window.peer_rwnd()
    }

    /// Returns `true` if chunks wait for acknowledgement, or for the peer to skip them. T3-rtx runs exactly then.
    pub(crate) fn has_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Returns the Cumulative TSN Ack Point (RFC 9260 §2.4).
    pub(crate) fn cumulative_tsn_ack_point(&self) -> UnwrappedTsn {
        self.outstanding.cumulative_tsn_ack_point()
    }

    /// Returns the last TSN that was assigned (RFC 6525 §4.1).
    pub(crate) fn last_assigned_tsn(&self) -> UnwrappedTsn {
        self.outstanding.last_assigned_tsn()
    }

    /// Returns the number of bytes of memory that are held for the peer and for the streams in use.
    pub(crate) fn charged(&self) -> usize {
        let queues = self.queue.streams.charge() + self.queue.streams.streams_charge();
        queues + self.outstanding.charge() + self.queue.notices.receipts_charge() + self.queue.notices.counters_charge()
    }

    /// Returns how much was counted.
    pub(crate) fn check_consistency(&self, path: &Path) -> usize {
        let queued = self.queue.check_consistency();
        self.outstanding.check_consistency();
        self.loss.check_consistency(&self.outstanding);
        self.rate.check_consistency(path);
        assert!(self.forward_point.can_abandon() || !self.outstanding.has_abandoned_front());
        queued + self.outstanding.len()
    }
}
