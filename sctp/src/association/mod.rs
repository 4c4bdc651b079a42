//! One SCTP association with one path, without I/O: the public surface. The rules live in the files beside this one,
//! one per chapter of RFC 9260.

mod abort;
mod control_queue;
mod cookie_echo;
mod data;
mod handshake;
mod heartbeat;
mod input;
mod memory;
pub(crate) mod negotiate;
mod new;
mod output;
mod packet_queue;
mod path_change;
mod path_mtu;
mod reconfig;
mod shutdown;
mod snap;
#[cfg(feature = "testing")]
mod snapshot;
mod state;
mod statistics;
mod stream_requests;
mod tcb;
mod timeout;
mod timer;
mod zero_checksum;

pub use snap::SignalledInit;
pub use state::State;

use std::collections::VecDeque;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::control_queue::ControlQueue;
use self::handshake::Handshake;
use self::tcb::Tcb;
use self::timer::TimerTable;
use self::zero_checksum::ZeroChecksum;
use crate::config::AssociationConfig;
use crate::cookie::{BoundKeys, CookieKeys};
use crate::cost_counter;
use crate::error::{CloseReason, ResetError, SendMessageError, SignalledInitError};
use crate::event::AssociationEvent;
use crate::lower_layer::LowerLayerError;
use crate::memory::{Lease, MemoryBudget};
use crate::message::{Credit, Ppid, SendOptions, StreamId};
use crate::path::Path;
use crate::recv::ReceiverEvent;
use crate::send::Sender;
use crate::send_policy::SendPolicy;
use crate::stats::AssociationStats;
use crate::time::Instant;
use crate::valid::Valid;

/// Datagrams that [`Association::poll_transmit`] wrote, one after another, all for the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Transmit {
    /// Bytes appended to the buffer.
    pub len: usize,
    /// Bytes of each datagram; the last one may be shorter. Equal to `len` if there is only one.
    pub segment_size: usize,
}

impl Transmit {
    /// Returns the description of one datagram of `len` bytes.
    pub fn single(len: usize) -> Self {
        Self { len, segment_size: len }
    }
}

/// One SCTP association.
///
/// It owns no socket and no clock. Its owner tells it the time and the datagrams that came, and asks for what to do.
/// There are four classes of method:
///
/// - *Getters* change nothing.
/// - *Commands* (`connect`, `send`, `release`, `reset_streams`, `shutdown`, `abort`, …) come from the application.
/// - *Inputs* (`handle_datagram`, `handle_timeout`) come from the network and the clock.
/// - *Outputs* are polled after any of the former, in this order, each until it has nothing more:
///   [`poll_event`](Self::poll_event), [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout).
///
/// Time must not run backwards between calls; if it does, nothing fires early and nothing panics.
///
/// ```
/// # use std::time::Instant;
/// # use narrowboat_sctp::*;
/// let now = Instant::now();
/// let config = Valid::<AssociationConfig>::default();
/// let mut ends = [1, 2].map(|n| Association::new(config.clone(), CookieKeys::new(now, [n; 32]), &[], [n; 32]));
/// ends[0].connect(now);
/// ends[0].send(now, StreamId(3), Ppid(53), "hello".into(), SendOptions::default())?;
/// // A perfect network.
/// let mut buffer = Vec::new();
/// for turn in 0..8 {
///     while let Some(transmit) = ends[turn % 2].poll_transmit(now, 1, &mut buffer) {
///         let datagram = buffer.split_off(buffer.len() - transmit.len);
///         ends[(turn + 1) % 2].handle_datagram(now, datagram.into());
///     }
/// }
/// assert!(matches!(ends[1].poll_event(), Some(AssociationEvent::Connected)));
/// let Some(AssociationEvent::Message(message)) = ends[1].poll_event() else { panic!() };
/// assert_eq!(message.payload.into_bytes(), "hello");
/// ends[1].release(message.credit);
/// # Ok::<(), SendMessageError>(())
/// ```
#[derive(Debug)]
pub struct Association {
    config: Valid<AssociationConfig>,
    cookies: BoundKeys,
    rng: StdRng,
    state: State,
    handshake: Handshake,
    zero_checksum: ZeroChecksum,
    timers: TimerTable,
    path: Path,
    sender: Sender,
    /// Exists if the state is ESTABLISHED or a later one.
    tcb: Option<Box<Tcb>>,
    control_queue: ControlQueue,
    events: VecDeque<AssociationEvent>,
    /// The terminal event, until it is polled.
    closing: Option<CloseReason>,
    /// True if the association has ended for good.
    is_over: bool,
    /// `shutdown` was called before the association was established.
    is_shutdown_wanted: bool,
    /// See [`limit_unused_resets`](Self::limit_unused_resets).
    unused_resets_left: usize,
    /// Data that the peer has still to send, once this end has sent SHUTDOWN.
    peer_queue: Option<shutdown::PeerQueue>,
    /// Packets with DATA that may still leave in answer to the last input.
    burst_left: u32,
    stats: AssociationStats,
    memory: Lease,
    /// Mutations until the next recount, in debug builds.
    until_recount: usize,
}

impl Association {
    /// Creates an association in [`State::Closed`] that answers a peer's INIT; [`connect`](Self::connect) makes it send
    /// one.
    ///
    /// `address` is the peer's transport address in any fixed form, to bind State Cookies to; empty where there are no
    /// addresses to know. `seed` must come from a secure source of randomness: tags and TSNs are drawn from it.
    #[must_use]
    pub fn new(config: Valid<AssociationConfig>, keys: CookieKeys, address: &[u8], seed: [u8; 32]) -> Self {
        Self::before_handshake(config, keys, address, StdRng::from_seed(seed))
    }

    // Getters

    /// Returns the state of the association.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns `true` if the association has ended, for good. There may still be events and a last packet to poll.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the counters and gauges.
    #[must_use]
    pub fn stats(&self) -> AssociationStats {
        self.collect_stats()
    }

    /// Returns true if both ends have begun (RFC 9260 §5.2.1), and this end has the smaller Verification Tag: exactly
    /// one of two ends of this implementation, once they are established.
    #[must_use]
    pub fn has_lost_collision(&self) -> bool {
        self.peer_tag().is_some_and(|tag| self.handshake.has_lost_collision(tag))
    }

    /// Returns the number of bytes accepted by [`send`](Self::send) on this stream and not yet sent for the first time.
    #[must_use]
    pub fn buffered_amount(&self, stream: StreamId) -> usize {
        self.sender.buffered_on(stream)
    }

    /// Returns `true` if every message that [`send`](Self::send) accepted on this stream has been acknowledged or
    /// abandoned.
    #[must_use]
    pub fn is_drained(&self, stream: StreamId) -> bool {
        self.sender.is_stream_drained(stream)
    }

    /// Returns `true` if a reset of the stream was requested and has not ended.
    #[must_use]
    pub fn is_resetting(&self, stream: StreamId) -> bool {
        self.sender.is_resetting(stream)
    }

    /// Returns the number of bytes of memory that the association holds for both ends: what has arrived and was not
    /// [released](Self::release), and what was sent and not acknowledged, overheads included.
    #[must_use]
    pub fn memory_charged(&self) -> usize {
        self.charged_for_receiving() + self.charged_for_sending()
    }

    // Commands

    /// Makes the association take the memory that it uses from a budget that it shares with others. Without one it is
    /// bounded by its own configuration alone. Ask [`MemoryBudget::has_room`] before you add an association.
    pub fn set_memory_budget(&mut self, budget: &MemoryBudget) {
        self.memory = Lease::new(budget);
        self.conclude();
    }

    /// Starts a handshake (RFC 9260 §5.1). Does nothing unless the association is new.
    pub fn connect(&mut self, now: Instant) {
        self.begin_handshake(now);
        self.conclude();
    }

    /// Returns the INIT chunk of this end, which signalling carries to the peer as `a=sctp-init`
    /// (draft-hancke-tsvwg-snap-00). It changes nothing: if the peer answers without its own,
    /// [`connect`](Self::connect) is as good as before. `None` once the association has begun.
    #[must_use]
    pub fn signalled_init(&self) -> Option<Bytes> {
        self.write_signalled_init()
    }

    /// Establishes the association at once, from the INIT that the peer has told in answer to, or before, this end's
    /// [`signalled_init`](Self::signalled_init). To be called when the transport below is up.
    ///
    /// The peer may have begun to send by then: keep its packets, a bounded number of them, and hand them over after
    /// this call. One that comes before it would be out of the blue.
    ///
    /// # Errors
    ///
    /// [`SignalledInitError::AlreadyBegun`]; the association goes on as it was.
    pub fn connect_as_signalled(&mut self, now: Instant, peer: &SignalledInit) -> Result<(), SignalledInitError> {
        let result = self.establish_as_signalled(now, peer);
        self.conclude();
        result
    }

    /// Hands over a message for the peer. Messages may be handed over before the association is established; they leave
    /// as soon as it is. The whole message is accepted, or nothing of it.
    ///
    /// # Errors
    ///
    /// See [`SendMessageError`].
    pub fn send(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<(), SendMessageError> {
        let result = self.accept_message(now, stream, ppid, payload, options);
        self.conclude();
        result.map(drop)
    }

    /// Sets the policy for messages that wait on a stream. It holds at once, also for those that wait already, until
    /// the stream is reset; then [`SendPolicy::default`] holds again.
    pub fn set_send_policy(&mut self, stream: StreamId, policy: SendPolicy) {
        self.apply_policy(stream, policy);
        self.conclude();
    }

    /// Sets the threshold of [`AssociationEvent::BufferedAmountLow`] for a stream, in bytes; 0 at first, and again
    /// after the stream was reset.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        self.sender.set_low_threshold(stream, threshold);
    }

    /// Sets the priority of a stream for sending, in effect from the next message on, or from the next chunk if
    /// messages interleave. With
    /// [`StreamScheduler::WeightedFairQueueing`](crate::StreamScheduler::WeightedFairQueueing) it is the weight of the
    /// stream: one with twice the weight sends twice as many bytes while both have something to send. 0 counts as 1.
    /// With [`StreamScheduler::Priority`](crate::StreamScheduler::Priority) the highest sends first.
    ///
    /// RFC 8831 §6.4 has 128 for below normal, 256 for normal, 512 for high, and 1,024 for extra high. Default 256; and
    /// again after the stream was reset.
    pub fn set_stream_priority(&mut self, stream: StreamId, priority: u16) {
        self.sender.set_priority(stream, priority);
    }

    /// Hands back the room of a message that the application has read, which opens the receive window.
    pub fn release(&mut self, credit: Credit) {
        self.limit_memory();
        self.reopen_window(credit);
        self.conclude();
    }

    /// Resets the outgoing side of streams (RFC 6525 §5.1.2) once every message that was accepted on them has been
    /// acknowledged or abandoned. Each stream ends in an [`AssociationEvent::OutgoingStreamReset`]; until then `send`
    /// on it fails with [`SendMessageError::Resetting`]. A stream that is being reset already is left as it is.
    ///
    /// # Errors
    ///
    /// See [`ResetError`]; nothing was begun then.
    pub fn reset_streams(&mut self, now: Instant, streams: &[StreamId]) -> Result<(), ResetError> {
        let result = self.begin_reset(now, streams);
        self.conclude();
        result
    }

    /// Limits the number of streams that the peer may reset from now on although this end has never sent on them; there
    /// is no limit at first. Naming a stream costs the peer two bytes. Answering with a reset of its own costs the
    /// owner of the association much more. A request above the limit is denied, so that the peer asks again later.
    pub fn limit_unused_resets(&mut self, streams: usize) {
        self.unused_resets_left = streams;
    }

    /// Discards messages that were accepted on a stream and not yet sent. A message of which some fragments have been
    /// sent is abandoned if the peer supports FORWARD-TSN, and otherwise sent completely. Returns the number of bytes
    /// discarded.
    pub fn discard_unsent(&mut self, now: Instant, stream: StreamId) -> usize {
        let dropped = self.discard(now, stream);
        self.conclude();
        dropped
    }

    /// Discards like [`discard_unsent`](Self::discard_unsent), for a peer that no longer reads: if it knows
    /// FORWARD-TSN, what was sent on the stream is not sent again either. So all of it comes to an end whether the peer
    /// takes it or not.
    pub fn abandon_stream(&mut self, now: Instant, stream: StreamId) -> usize {
        let dropped = self.sender.abandon_stream(now, stream);
        self.on_send_progress(now);
        self.conclude();
        dropped
    }

    /// Ends the association gracefully (RFC 9260 §9.2): what was accepted is delivered, then both ends close. Before
    /// the association is established it is remembered until then.
    ///
    /// It lasts as long as this end's queue gets shorter, and after that as long as the peer's does, up to
    /// `shutdown_max`. `shutdown_guard` without progress, or the end of `shutdown_max`, aborts the association with
    /// [`CloseReason::ShutdownTimedOut`].
    pub fn shutdown(&mut self, now: Instant) {
        self.begin_shutdown(now);
        self.conclude();
    }

    /// Ends the association at once (RFC 9260 §9.1). The peer is told `reason`, cut to half a packet.
    pub fn abort(&mut self, reason: &str) {
        self.abort_locally(reason);
        self.conclude();
    }

    /// Moves what waits on a stream to an unused one. Returns false, and moves nothing, if anything was sent on it.
    pub fn move_unsent(&mut self, from: StreamId, to: StreamId) -> bool {
        self.sender.move_unsent(from, to)
    }

    // Inputs

    /// Takes in a datagram from the peer. It should own memory of about its own size: payloads are kept as slices of
    /// it, and only small ones are copied out.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        self.burst_left = self.config.max_burst;
        self.queue_answers(now);
        self.take_in(now, datagram);
        self.conclude();
    }

    /// Ends the association, because the transport below has ended for good. Nothing is sent.
    pub fn transport_failed(&mut self, error: LowerLayerError) {
        self.end_with_transport(error);
        self.conclude();
    }

    /// Tells the association that the transport below sends by another path from now on. Packet size, round-trip time
    /// and congestion window are learned anew. Data in flight still counts.
    pub fn on_path_changed(&mut self, now: Instant) {
        self.begin_anew_on_path(now);
        self.conclude();
    }

    /// Appends a HEARTBEAT for another path to the peer: nothing else may be sent there before the path is validated.
    /// Returns `false`, and writes nothing, before the association is established and after SHUTDOWN.
    pub fn validate_path(&mut self, buf: &mut Vec<u8>) -> bool {
        let wrote = self.write_path_challenge(buf);
        self.conclude();
        wrote
    }

    /// Returns `true` once if the packet of the last [`validate_path`](Self::validate_path) has been answered: the peer
    /// receives packets where that packet was sent.
    pub fn take_path_validated(&mut self) -> bool {
        self.path.take_validated()
    }

    /// Fires what is due. To be called when the time that [`poll_timeout`](Self::poll_timeout) returned has come; calls
    /// at other times do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.burst_left = self.config.max_burst;
        self.schedule_probe(now);
        if let Some(due) = self.timers.next() {
            self.path.check_suspension(now, due);
        }
        self.fire_timers(now);
        self.trim_memory(now);
        self.conclude();
    }

    // Outputs

    /// Returns the next event, in the order in which they happened. The last event is [`AssociationEvent::Closed`].
    #[must_use = "events drive the owner; unpolled ones keep the receive window smaller"]
    pub fn poll_event(&mut self) -> Option<AssociationEvent> {
        if let Some(event) = self.take_event() {
            return Some(event);
        }
        if let Some(event) = self.sender.poll_notice() {
            return Some(event);
        }
        if let Some(event) = self.tcb.as_mut().and_then(|tcb| tcb.receiver.poll()) {
            return Some(match event {
                ReceiverEvent::Message(message) => {
                    self.stats.messages_received += 1;
                    AssociationEvent::Message(message)
                }
                ReceiverEvent::Reset(streams) => AssociationEvent::IncomingStreamsReset(streams),
            });
        }
        self.closing.take().map(AssociationEvent::Closed)
    }

    /// Appends up to `max_datagrams` datagrams for the peer to `buf`, equal in size but for the last one. Returns
    /// `None` when there is nothing to send now.
    pub fn poll_transmit(&mut self, now: Instant, max_datagrams: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
        let transmit = self.write_datagrams(now, max_datagrams, buf);
        self.schedule_probe(now);
        self.conclude();
        transmit
    }

    /// True if an answer to a request of the peer waits for room in a packet that
    /// [`poll_transmit`](Self::poll_transmit) writes.
    #[must_use]
    pub fn has_answer_to_transmit(&self) -> bool {
        !self.control_queue.packets.is_empty() || !self.control_queue.reconfig_responses.is_empty()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if any timer runs.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Ends a change: a SACK that waits gets its timer, and what is used is charged to the budget.
    fn conclude(&mut self) {
        self.schedule_sack();
        self.cover_memory();
        self.check_consistency();
    }

    /// Recounts what the parts keep, in debug builds. With much in store only some mutations are followed by it, since
    /// recounting all after each would make every test quadratic; see [`cost_counter::recount_interval`].
    fn check_consistency(&mut self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.check_timers();
        assert!(self.is_over || self.tcb.is_some() == self.state.has_tcb(), "TCB in {:?}", self.state);
        self.until_recount = self.until_recount.saturating_sub(1);
        if self.until_recount > 0 {
            return;
        }
        self.until_recount = cost_counter::recount_interval(self.sender.check_consistency(&self.path) / 16);
        self.path.check_consistency();
        if let Some(tcb) = &self.tcb {
            tcb.check_consistency();
            self.until_recount = self.until_recount.max(tcb.receiver.recount_interval());
        }
    }
}
