//! Invariants of an association after every step, seen through its public surface and its packets.

use narrowboat_sctp::{AssociationStats, State};

use crate::clock::{Nanos, nanos};
use crate::node::Node;
use crate::observer::{Contents, Observer};
use crate::options::Options;
use crate::packet::{Packet, kind};
use crate::session::{Session, Turn};
use crate::stack::Stack;

/// G6: memory that an association may hold beyond its caps, as a budget of memory charges it from its beginning.
const OVERHEAD_MAX: i64 = 24 << 10;

/// Bytes that the send buffer counts for a chunk beside its payload.
const CHUNK_OVERHEAD: i64 = 352;

/// Bytes that the send buffer counts for a stream in use.
const STREAM_OVERHEAD: i64 = 256;

/// I23: the arrows of RFC 9260 §4, and those that one call may pass at once.
pub(crate) fn check_transition(from: State, to: State) {
    use State::{
        Closed, CookieEchoed, CookieWait, Established, ShutdownAckSent, ShutdownPending, ShutdownReceived, ShutdownSent,
    };
    let allowed = match (from, to) {
        (_, Closed) => true,
        (Closed, CookieWait | Established | ShutdownPending | ShutdownSent | ShutdownAckSent) => true,
        (CookieWait, CookieEchoed | Established | ShutdownPending | ShutdownSent | ShutdownAckSent) => true,
        // Back after a stale cookie (§5.2.6).
        (CookieEchoed, CookieWait | Established | ShutdownPending | ShutdownSent | ShutdownAckSent) => true,
        (Established, ShutdownPending | ShutdownSent | ShutdownReceived | ShutdownAckSent) => true,
        (ShutdownPending, ShutdownSent | ShutdownReceived | ShutdownAckSent) => true,
        (ShutdownSent | ShutdownReceived, ShutdownAckSent) => true,
        // The peer restarted (§5.2.4 A).
        (ShutdownPending | ShutdownSent | ShutdownReceived, Established) => true,
        _ => false,
    };
    assert!(allowed, "I23: from {from:?} to {to:?}");
}

pub(crate) fn check_step(session: &Session, turn: &Turn<'_>) {
    let (stack, state) = (&session.stack, session.state);
    let config = turn.options.config_of(session.node);
    let timeout = stack.poll_timeout();
    if session.app.ended.is_some() {
        assert_eq!(state, State::Closed, "I23: the last event came in {state:?}");
        assert_eq!(timeout, None, "I28: a timer runs in CLOSED");
        return;
    }
    if state == State::Closed {
        return;
    }
    let stats = stack.stats();
    assert!(timeout.is_some() || config.heartbeat_interval.is_none(), "I28: no timer runs in {state:?}");
    assert!((config.rto_min..=config.rto_max).contains(&stats.rto), "I11: an RTO of {:?}", stats.rto);
    assert!(stats.cwnd >= config.mtu.min(stats.mtu) - 40, "I09: cwnd is {}", stats.cwnd);
    let peer_window = turn.options.config_of(1 - session.node.min(1)).receive_window as usize;
    assert!(turn.observer.form_only || stats.peer_rwnd <= peer_window, "I10: peer_rwnd is {}", stats.peer_rwnd);
    if let Some(flows) = turn.observer.flows().filter(|_| !turn.observer.form_only) {
        let outstanding = flows.outgoing.outstanding_bytes();
        let flight = stats.flight_size;
        assert!(flight <= outstanding, "I06: flight size {flight}, but {outstanding} bytes are outstanding");
        let waits = flows.outgoing.has_outstanding();
        assert!(!waits || timeout.is_some(), "I11: no timer runs while {outstanding} bytes are outstanding");
    }
    // A message is accepted while the send buffer is not full, so the last one may exceed it by its own length. OPENs
    // and the messages that end a direction of a byte stream are accepted in any case.
    let accepted = stats.buffered_amount + stats.flight_size;
    let sendable = config.send_buffer + turn.options.message_size_max + turn.model.control_bytes_max();
    assert!(accepted <= sendable, "I14: {accepted} bytes wait or are in flight, at most {sendable} are accepted");
}

/// I09 and I10, around one `poll_transmit` that wrote these packets. `may_exceed`: one of them may hold new data
/// although cwnd is full.
pub(crate) fn check_window(
    before: &AssociationStats,
    after: &AssociationStats,
    written: &[Contents],
    may_exceed: &mut bool,
) {
    let (cwnd, mtu) = (after.cwnd, before.mtu.max(after.mtu));
    // The bytes in flight before each packet follow from the bytes in flight at the end: data that is abandoned while
    // packets are written is not in flight any more, and makes room.
    let mut flight = after.flight_size.saturating_sub(written.iter().map(|contents| contents.data_bytes).sum());
    for contents in written {
        if contents.new_data > 0 && flight >= cwnd {
            assert!(std::mem::take(may_exceed), "I09: new data with {flight} of {cwnd} bytes in flight");
        } else if contents.new_data > 0 {
            let limit = cwnd + mtu;
            let sent = flight + contents.data_bytes;
            assert!(sent <= limit, "I09: {sent} bytes in flight, cwnd {cwnd}");
        }
        flight += contents.data_bytes;
    }
    let new_data: u32 = written.iter().map(|contents| contents.new_data).sum();
    if before.peer_rwnd == 0 && new_data > 0 {
        let in_flight = before.flight_size;
        assert_eq!(in_flight, 0, "I10: new data into a closed window with {in_flight} bytes in flight");
        assert_eq!(new_data, 1, "I10: {new_data} chunks into a closed window");
    }
}

/// I17 and G6: heap of one node with so many associations. `streams` have been used and not reset, and `names` are the
/// bytes of the labels of channels: neither counts in a cap where it is small.
pub(crate) fn check_heap(node: &Node, streams: usize, names: usize, options: &Options) {
    let held = node.gauge.held().bytes - node.rate_table_bytes();
    let (associations, node) = (node.sessions.len(), node.id);
    let config = options.config_of(node);
    let message = options.app.iter().map(|app| app.message_max as i64).max().unwrap_or_default();
    let message = message.min(options.message_size_max as i64);
    // A message that is larger than the window is finished when nothing else is held.
    let receive_cap = i64::from(config.receive_window).max(message);
    // The message that crosses the line is still accepted, and costs more than its bytes in each of its chunks.
    let chunks = message / (options.mtu_floor_of(node) as i64 - 40) + 2;
    let send_cap = config.send_buffer as i64 + message + chunks * CHUNK_OVERHEAD;
    let channels = streams as i64 * STREAM_OVERHEAD + names as i64;
    let bound = associations.max(1) as i64 * (receive_cap + send_cap + OVERHEAD_MAX) + channels;
    assert!(held <= bound, "I17: {held} bytes of heap are held for {associations} associations, bound {bound}");
}

/// State that a packet without meaning must not touch (I25): all but the counters.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    state: State,
    timeout: Option<Nanos>,
    stats: AssociationStats,
    internals: String,
}

impl Snapshot {
    /// Returns the state with everything that the association holds.
    pub(crate) fn whole(stack: &Stack) -> Self {
        Self { internals: stack.association().state_without_counters(), ..Self::outside(stack) }
    }

    /// Returns the state that is seen from outside.
    pub(crate) fn outside(stack: &Stack) -> Self {
        let mut stats = stack.stats();
        // Counters of received packets may grow.
        (stats.packets_received, stats.bytes_received, stats.packets_accepted) = (0, 0, 0);
        stats.drops = Default::default();
        Self { state: stack.state(), timeout: stack.poll_timeout(), stats, internals: String::new() }
    }
}

/// Returns `true` if a packet means nothing to this end: a wrong checksum, or an unknown tag.
pub(crate) fn is_void(observer: &Observer, packet: &[u8]) -> bool {
    let Some((ours, peers)) = observer.tags() else { return false };
    match Packet::parse(packet) {
        Err(_) => packet.len() < 16,
        Ok(parsed) => {
            let reflected = parsed.has(kind::ABORT) || parsed.has(kind::SHUTDOWN_COMPLETE);
            let tagged = parsed.tag == ours || (reflected && parsed.tag == peers);
            // INIT has no tag, COOKIE ECHO brings its own, and SHUTDOWN ACK may be of an older association (RFC 9260
            // §8.5.1 E).
            let kinds = [kind::INIT, kind::COOKIE_ECHO, kind::SHUTDOWN_ACK];
            let handshake = kinds.iter().any(|&kind| parsed.has(kind));
            !parsed.crc_is_right || (!tagged && !handshake)
        }
    }
}

pub(crate) fn check_void(before: &Snapshot, stack: &Stack, packet: &[u8]) {
    let after = Snapshot::whole(stack);
    assert!(
        *before == after,
        "I25: a void packet changed the state: {}\n{}",
        Packet::words(packet),
        difference(before, &after)
    );
}

pub(crate) fn check_early_timeout(before: &Snapshot, stack: &Stack, now: Nanos) {
    let after = Snapshot::outside(stack);
    assert!(*before == after, "I28: a timer fired before its time at {now}\n{}", difference(before, &after));
}

/// Upper bound of the time in which a peer that has vanished is noticed.
pub(crate) fn detection_bound(config: &narrowboat_sctp::AssociationConfig) -> Nanos {
    // A handshake that goes on has its own number of attempts. A window that is closed is probed each RTO.Max.
    let attempts = u64::from(config.init_max_retransmits) + 4;
    2 * nanos(config.idle_timeout) + config.heartbeat_interval.map_or(0, nanos) + attempts * nanos(config.rto_max)
}

/// The first place where two states differ.
fn difference(before: &Snapshot, after: &Snapshot) -> String {
    let (old, new) = (format!("{before:?}"), format!("{after:?}"));
    let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.bytes().skip(same.saturating_sub(80)).take(200).map(char::from).collect::<String>();
    format!("  before: …{}\n  after:  …{}", around(&old), around(&new))
}
