//! The sending half: queues, what is outstanding, loss, congestion, the peer's window (RFC 9260 §6, §7; RFC 3758).

mod charge;
mod congestion;
mod forward_tsn;
mod immediate_sack;
mod loss;
mod outstanding;
mod pacer;
mod queued;
mod ranges;
mod recovery;
mod retransmission;
mod sack;
mod scheduler;
mod stream;
mod stream_map;
mod window_probe;
mod write;

pub(crate) use sack::SackOutcome;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use self::congestion::{Controller, CwndUsage, controller};
use self::forward_tsn::SentForwardTsn;
use self::loss::LossDetection;
use self::outstanding::{ChunkState, Outstanding};
use self::pacer::Pacer;
use self::recovery::Recovery;
use self::stream::StreamQueues;
use self::window_probe::WindowProbe;
use crate::config::{AssociationConfig, CongestionControl};
use crate::error::SendMessageError;
use crate::event::AssociationEvent;
use crate::message::{Ppid, SendOptions, StreamId};
use crate::serial::{MessageKey, Tsn, UnwrappedTsn};
use crate::wire::{DataChunk, PACKET_HEADER_LEN};

/// Room for so many notices is kept in an empty queue: a burst of messages may bring many at once.
const NOTICES_KEPT: usize = 16;

/// Counters that the sender keeps for [`AssociationStats`](crate::AssociationStats).
#[derive(Debug, Default)]
pub(crate) struct SendCounters {
    pub(crate) messages: u64,
    pub(crate) abandoned: u64,
    pub(crate) chunks: u64,
    pub(crate) retransmitted: u64,
    pub(crate) congestion_events: u64,
    pub(crate) spurious: u64,
}

/// One packet may leave whatever the congestion window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CwndExemption {
    Nothing,
    /// What was lost (RFC 9260 §7.2.4 step 3). If it is given up instead, nothing takes its place.
    Repetition,
    /// A probe of the tail may consist of new data (RFC 8985 §7.3).
    Anything,
}

/// Everything that is on its way out.
#[derive(Debug)]
pub(crate) struct Sender {
    queues: StreamQueues,
    outstanding: Outstanding,
    loss: LossDetection,
    congestion: Box<dyn Controller>,
    congestion_control: CongestionControl,
    /// Bytes of user data that the peer can take beyond what is in flight.
    peer_rwnd: usize,
    /// The peer's whole receive window, as its INIT or INIT ACK said.
    peer_window: usize,
    window_probe: WindowProbe,
    /// The loss under repair.
    recovery: Option<Recovery>,
    pacer: Pacer,
    /// When the pacer lets the next packet out.
    paced_until: Option<Instant>,
    /// When the repair of a loss lets the next packet out if no SACK comes.
    stalled_until: Option<Instant>,
    window_usage: CwndUsage,
    /// True if everything was sent when it was last tried, with room left in the congestion window ("application-limited").
    is_out_of_data: bool,
    /// What may be sent once whatever the congestion window.
    cwnd_exemption: CwndExemption,
    is_forward_tsn_due: bool,
    forward_tsn_sent: Option<SentForwardTsn>,
    /// The first outstanding chunk was sent again since T3 was last looked at.
    restarts_t3: bool,
    /// Whether the peer knows FORWARD-TSN; without it nothing that was begun is given up.
    can_abandon: bool,
    was_refused: bool,
    waits_for_memory: bool,
    last_sent: Option<Instant>,
    /// TSN whose acknowledgement ends the round trip under way.
    round_end: UnwrappedTsn,
    notices: VecDeque<AssociationEvent>,
    counters: SendCounters,
    send_buffer: usize,
    message_size_max: usize,
    mtu: usize,
}

impl Sender {
    pub(crate) fn new(config: &AssociationConfig, mtu: usize, initial_tsn: Tsn) -> Self {
        let chunk_max = mtu - PACKET_HEADER_LEN - DataChunk::HEADER_LEN;
        Self {
            queues: StreamQueues::new(config.stream_send_buffer, chunk_max),
            outstanding: Outstanding::new(initial_tsn),
            loss: LossDetection::new(),
            congestion: controller(config.congestion_control, mtu - PACKET_HEADER_LEN),
            congestion_control: config.congestion_control,
            peer_rwnd: 0,
            peer_window: 0,
            window_probe: WindowProbe::default(),
            recovery: None,
            pacer: Pacer::new(mtu),
            paced_until: None,
            stalled_until: None,
            window_usage: CwndUsage::default(),
            is_out_of_data: true,
            cwnd_exemption: CwndExemption::Nothing,
            is_forward_tsn_due: false,
            forward_tsn_sent: None,
            restarts_t3: false,
            can_abandon: false,
            was_refused: false,
            waits_for_memory: false,
            last_sent: None,
            round_end: UnwrappedTsn::BEFORE_ALL,
            notices: VecDeque::new(),
            counters: SendCounters::default(),
            send_buffer: config.send_buffer,
            message_size_max: config.send_message_size_max,
            mtu,
        }
    }

    /// A new sender for an association that the peer has restarted; only the counters go on.
    pub(crate) fn restarted(&mut self, config: &AssociationConfig, mtu: usize, initial_tsn: Tsn) -> Self {
        Self { counters: std::mem::take(&mut self.counters), ..Self::new(config, mtu, initial_tsn) }
    }

    /// Another path, of which nothing is known yet.
    pub(crate) fn on_path_changed(&mut self, mtu: usize) {
        self.mtu = mtu;
        self.congestion = controller(self.congestion_control, mtu - PACKET_HEADER_LEN);
        self.pacer = Pacer::new(mtu);
        self.paced_until = None;
    }

    /// The first TSN is another one than thought; nothing has been sent yet.
    pub(crate) fn begin_at(&mut self, initial_tsn: Tsn) {
        debug_assert!(self.outstanding.is_empty());
        self.outstanding = Outstanding::new(initial_tsn);
    }

    /// The handshake is done, or done again: what the peer can take.
    pub(crate) fn on_established(&mut self, peer_rwnd: u32, can_abandon: bool) {
        self.peer_rwnd = peer_rwnd as usize;
        self.peer_window = peer_rwnd as usize;
        self.can_abandon = can_abandon;
    }

    pub(crate) fn counters(&self) -> &SendCounters {
        &self.counters
    }

    pub(crate) fn poll_notice(&mut self) -> Option<AssociationEvent> {
        // Whatever made room, be it that a message was given up, those who were refused hear of it.
        self.check_refused();
        let notice = self.notices.pop_front()?;
        if self.notices.is_empty() {
            self.notices.shrink_to(NOTICES_KEPT);
        }
        if matches!(notice, AssociationEvent::Abandoned { .. }) {
            self.counters.abandoned += 1;
        }
        Some(notice)
    }

    pub(crate) fn buffered(&self) -> usize {
        self.queues.buffered()
    }

    pub(crate) fn buffered_on(&self, stream: StreamId) -> usize {
        self.queues.buffered_on(stream)
    }

    pub(crate) fn set_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        self.queues.set_low_threshold(stream, threshold);
    }

    pub(crate) fn cwnd(&self) -> usize {
        self.congestion.cwnd()
    }

    pub(crate) fn flight_size(&self) -> usize {
        self.outstanding.flight_size()
    }

    pub(crate) fn peer_rwnd(&self) -> usize {
        self.peer_rwnd
    }

    /// Whether chunks wait for acknowledgement, or for the peer to skip them. T3 runs exactly then.
    pub(crate) fn has_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether T3 is to start again, asked once.
    pub(crate) fn take_t3_restart(&mut self) -> bool {
        std::mem::take(&mut self.restarts_t3)
    }

    /// Whether all that was accepted has been acknowledged or given up.
    pub(crate) fn is_drained(&self) -> bool {
        self.queues.is_empty() && self.outstanding.is_empty()
    }

    pub(crate) fn is_stream_drained(&self, stream: StreamId) -> bool {
        self.drains_at(stream).is_some_and(|last| last <= self.cumulative_tsn_ack_point())
    }

    /// See [`StreamQueues::drains_at`].
    pub(crate) fn drains_at(&self, stream: StreamId) -> Option<UnwrappedTsn> {
        self.queues.drains_at(stream)
    }

    /// Returns each stream under reset once whose queue has run empty, and the TSN of its last chunk.
    pub(crate) fn poll_drained(&mut self) -> Option<(StreamId, UnwrappedTsn)> {
        self.queues.poll_drained()
    }

    /// The Cumulative TSN Ack Point (RFC 9260 §2.4).
    pub(crate) fn cumulative_tsn_ack_point(&self) -> UnwrappedTsn {
        self.outstanding.cumulative_tsn_ack_point()
    }

    /// True if something was sent or set on the stream since it was reset last.
    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.queues.has_stream(stream)
    }

    /// Streams in use from this id on.
    pub(crate) fn streams_from(&self, first: StreamId) -> Vec<StreamId> {
        self.queues.streams_from(first)
    }

    /// The last TSN that was assigned (RFC 6525 §4.1).
    pub(crate) fn last_assigned_tsn(&self) -> UnwrappedTsn {
        self.outstanding.last_assigned_tsn()
    }

    pub(crate) fn begin_reset(&mut self, stream: StreamId) {
        self.queues.begin_reset(stream);
    }

    pub(crate) fn finish_reset(&mut self, stream: StreamId) {
        self.queues.finish_reset(stream);
    }

    /// Moves what waits on a stream that was never used to another one that is not in use. Returns false if that cannot be.
    pub(crate) fn move_unsent(&mut self, from: StreamId, to: StreamId) -> bool {
        self.queues.move_unsent(from, to)
    }

    pub(crate) fn is_resetting(&self, stream: StreamId) -> bool {
        self.queues.is_resetting(stream)
    }

    /// Accepts a message, or says why not.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<(), SendMessageError> {
        if payload.is_empty() {
            return Err(SendMessageError::Empty);
        }
        if payload.len() > self.message_size_max {
            return Err(SendMessageError::TooLarge { len: payload.len(), max: self.message_size_max });
        }
        if self.queues.is_resetting(stream) {
            return Err(SendMessageError::Resetting(stream));
        }
        if !options.exceeds_limits && (self.is_full() || self.queues.refuses(stream)) {
            // What has expired in the meantime need not keep new messages out.
            self.queues.peek(now, &mut self.notices);
            self.was_refused |= self.is_full();
            if self.is_full() || self.queues.refuses(stream) {
                return Err(SendMessageError::Full);
            }
        }
        self.counters.messages += 1;
        self.queues.push(now, stream, ppid, payload, options);
        Ok(())
    }

    /// Returns true if the send buffer is used up: by what waits, by what is outstanding, and by the streams in use. The
    /// latter take seven eighths of it at most, so that something can always be sent.
    fn is_full(&self) -> bool {
        let streams = self.queues.streams_charge().min(self.send_buffer / 8 * 7);
        self.queues.charge() + self.outstanding.charge() + streams >= self.send_buffer
    }

    /// Drops what was not sent of a stream. A message that was begun is given up if the peer can skip it, else finished.
    pub(crate) fn discard_unsent(&mut self, now: Instant, stream: StreamId) -> usize {
        let (mut dropped, begun) = self.queues.drop_unsent(stream, &mut self.notices);
        if let Some(message) = begun.filter(|_| self.can_abandon) {
            let before = self.queues.buffered_on(stream);
            let last = self.outstanding.last_assigned_tsn();
            self.abandon(now, last, stream, message.key);
            dropped += before - self.queues.buffered_on(stream);
        }
        self.check_refused();
        dropped
    }

    /// Drops what was not sent of a stream, and sends nothing of it again, if the peer can skip it. What is on its way
    /// may still arrive, but for the probe of a closed window, which the peer takes no sooner than the rest.
    pub(crate) fn give_up(&mut self, now: Instant, stream: StreamId) -> usize {
        let mut dropped = self.discard_unsent(now, stream);
        if self.can_abandon {
            let is_probing = self.is_probing_window();
            for tsn in self.outstanding.forbid_retransmissions(stream) {
                let Some(chunk) = self.outstanding.chunk(tsn) else { continue };
                if chunk.state == ChunkState::Lost || is_probing && chunk.state == ChunkState::InFlight {
                    dropped += chunk.payload.len();
                    self.abandon(now, tsn, stream, chunk.message.key);
                }
            }
        }
        dropped
    }

    /// The association is over: nothing is kept.
    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.outstanding = Outstanding::new(self.outstanding.next_tsn().wrap());
        self.loss = LossDetection::new();
        self.is_forward_tsn_due = false;
        self.forward_tsn_sent = None;
        self.cwnd_exemption = CwndExemption::Nothing;
        self.recovery = None;
    }

    /// Abandons the message that holds the chunk `tsn` or, if all of its fragments have been acknowledged, whose rest waits in
    /// the queue of `stream`.
    fn abandon(&mut self, now: Instant, tsn: UnwrappedTsn, stream: StreamId, key: MessageKey) {
        let mut len = None;
        if let Some(chunk) = self.outstanding.chunk(tsn).filter(|chunk| chunk.message.key == key) {
            len = Some(chunk.message.len);
            self.outstanding.abandon_message(tsn);
        }
        if let Some(message) = self.queues.drop_rest(stream, key, &mut self.notices) {
            len = Some(message.len);
            self.outstanding.push_placeholder(now, message);
            self.queues.on_placeholder(stream, self.outstanding.last_assigned_tsn());
        }
        if let Some(len) = len {
            self.notices.push_back(AssociationEvent::Abandoned { stream, len });
            self.on_abandoned();
        }
    }

    /// Bytes of memory that are held for the peer and for the streams in use.
    pub(crate) fn charged(&self) -> usize {
        self.queues.charge() + self.outstanding.charge() + self.queues.streams_charge()
    }

    /// A message was refused because memory that is shared with others is used up. The application may try again when
    /// something was acknowledged.
    pub(crate) fn note_refusal(&mut self) {
        self.waits_for_memory = true;
    }

    /// Something was acknowledged.
    pub(crate) fn on_memory_progress(&mut self) {
        if std::mem::take(&mut self.waits_for_memory) {
            self.notices.push_back(AssociationEvent::Writable);
        }
    }

    /// Reports room again after a refusal.
    fn check_refused(&mut self) {
        let has_room = self.was_refused && !self.is_full();
        if self.queues.take_room() | has_room {
            self.was_refused &= !has_room;
            self.notices.push_back(AssociationEvent::Writable);
        }
    }

    /// Returns how much was counted.
    pub(crate) fn check_consistency(&self) -> usize {
        let queued = self.queues.check_consistency();
        self.outstanding.check_consistency();
        self.loss.check_consistency(&self.outstanding);
        self.congestion.check_consistency();
        let cumulative = self.outstanding.cumulative_tsn_ack_point();
        assert!(self.recovery.as_ref().is_none_or(|recovery| !recovery.is_over(cumulative)), "recovery has no end");
        assert!(self.can_abandon || !self.outstanding.has_abandoned_front());
        queued + self.outstanding.len()
    }
}
