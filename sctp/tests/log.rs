//! The events of an association in the log: those of `ARCHITECTURE.md`, "Events in the log", with their levels and
//! fields.

mod captured;
mod pair;

use std::time::Duration;

use bytes::Bytes;
use captured::{Log, Logged, only, with_message};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, ReceivedMessage, Reliability, SendOptions, StreamId,
};
use pair::{MS, Pair, Verdict};
use tracing::Level;

fn payload(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

/// Drops the DATA packets of the first end whose positions, counted from now, are in `lost`.
fn lose(pair: &mut Pair, lost: impl Fn(usize) -> bool + 'static) {
    let mut count = 0;
    pair.rule = Box::new(move |packet| {
        if packet.from != 0 || !packet.has_user_data() {
            return Verdict::Pass;
        }
        count += 1;
        if lost(count - 1) { Verdict::Drop } else { Verdict::Pass }
    });
}

fn messages(events: &[Logged]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[test]
fn the_handshake_and_the_close_are_reported_with_their_steps() {
    let log = Log::capture(Level::DEBUG);
    let mut pair = Pair::new();
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    let events = log.take();
    assert_eq!(
        messages(&events),
        [
            "state changed",  // CLOSED to COOKIE-WAIT
            "INIT answered",  // by the other end
            "state changed",  // COOKIE-WAIT to COOKIE-ECHOED
            "state changed",  // CLOSED to ESTABLISHED, at the other end
            "handshake done", // at the other end
            "state changed",  // COOKIE-ECHOED to ESTABLISHED
            "handshake done",
        ]
    );
    assert_eq!((events[0].field("from"), events[0].field("to")), ("Closed", "CookieWait"));
    assert_eq!(events[1].field("state"), "Closed");
    for event in with_message(&events, "handshake done") {
        assert_eq!((event.level, event.target.as_str()), (Level::DEBUG, "narrowboat_sctp::association::handshake"));
        assert_eq!((event.field("stream_reset"), event.field("partial_reliability")), ("true", "true"));
        assert_eq!(event.number("inbound_streams"), u64::from(pair.ends[0].inbound_streams()));
        assert_eq!(event.number("outbound_streams"), u64::from(pair.ends[0].outbound_streams()));
        assert!(event.number("a_rwnd") > 0 && !event.field("rto").is_empty());
    }

    pair.ends[0].shutdown(pair.now);
    pair.run_for(Duration::from_secs(1));
    let events = log.take();
    let states: Vec<&str> = with_message(&events, "state changed").iter().map(|event| event.field("to")).collect();
    assert_eq!(
        states,
        ["ShutdownPending", "ShutdownSent", "ShutdownReceived", "ShutdownAckSent", "Closed", "Closed"],
        "both ends"
    );
    let closed = with_message(&events, "association closed");
    assert_eq!(closed.len(), 2);
    assert!(
        closed
            .iter()
            .all(|event| event.level == Level::DEBUG && event.field("reason") == "the association was shut down")
    );
}

#[test]
fn a_loss_and_its_recovery_are_reported_with_the_rule_that_found_the_loss() {
    // A packet is one chunk.
    let mut pair = Pair::connected(AssociationConfig { path_mtu_discovery: false, ..AssociationConfig::default() });
    pair.send(0, StreamId(1), payload(100_000));
    pair.run_for(Duration::from_secs(2));
    lose(&mut pair, |at| at == 3);
    let log = Log::capture(Level::DEBUG);
    pair.send(0, StreamId(1), payload(20_000));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.received[1].len(), 2);

    let events = log.take();
    let lost = only(&events, "chunk lost");
    assert_eq!((lost.level, lost.field("reason"), lost.number("transmissions")), (Level::DEBUG, "RACK", 1));
    let entered = only(&events, "Fast Recovery entered");
    assert!(entered.number("flight_size") > 0);
    let [idle, state] = with_message(&events, "congestion state changed")[..] else { panic!("{events:#?}") };
    assert_eq!((idle.field("state"), state.field("state")), ("slow start", "recovery"));
    assert!(!idle.fields.contains_key("ssthresh"), "nothing was lost before");
    assert_eq!(state.number("cwnd"), state.number("ssthresh"));
    let left = only(&events, "Fast Recovery left");
    let passed = left.number("cumulative_tsn_ack").wrapping_sub(entered.number("exit_point")) & 0xFFFF_FFFF;
    assert!(passed < 1 << 31, "recovery ends when its exit point is acknowledged: {entered:?} {left:?}");
    let order = ["chunk lost", "Fast Recovery entered", "congestion state changed", "Fast Recovery left"];
    let found: Vec<&str> = messages(&events[1..]).into_iter().filter(|message| order.contains(message)).collect();
    assert_eq!(found, order);
}

#[test]
fn a_lost_tail_is_reported_as_a_probe() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(1), payload(1000));
    pair.run_for(Duration::from_secs(1));
    lose(&mut pair, |at| at == 0);
    let log = Log::capture(Level::DEBUG);
    pair.send(0, StreamId(1), payload(1000));
    pair.run_for(Duration::from_secs(1));
    let events = log.take();
    let probe = only(&events, "tail loss probe");
    assert_eq!(probe.field("is_retransmission"), "true");
    let repaired = only(&events, "loss repaired by a tail loss probe");
    assert_eq!(probe.number("tsn"), repaired.number("cumulative_tsn_ack"));
}

#[test]
fn an_expired_timer_is_reported_with_the_rto_and_an_unreachable_peer_with_the_reason() {
    let config = AssociationConfig { association_max_retransmits: Some(2), ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    lose(&mut pair, |_| true);
    let log = Log::capture(Level::DEBUG);
    pair.send(0, StreamId(1), payload(1000));
    pair.run_for(Duration::from_secs(60));
    let events = log.take();
    let silent = with_message(&events, "no answer in time");
    assert_eq!(silent.len(), 3);
    assert!(silent.iter().all(|event| event.field("timer") == "T3Rtx"));
    assert!(silent[0].field("rto") != silent[1].field("rto"), "the time-out backs off");
    let expired = with_message(&events, "T3-rtx expired");
    assert_eq!(expired.len(), 2, "the third ends the association");
    let chunk = u64::try_from(pair.data_header_len() + 1000).unwrap();
    assert_eq!((expired[0].number("flight_size"), expired[0].field("is_window_probe")), (chunk, "false"));
    assert_eq!(with_message(&events, "chunk lost")[0].field("reason"), "T3-rtx");
    let state = with_message(&events, "congestion state changed")[0];
    assert_eq!(state.field("state"), "slow start");
    assert!(state.number("cwnd") < state.number("ssthresh"));
    let closed = with_message(&events, "association closed")[0];
    assert!(closed.field("reason").starts_with("the peer became unreachable"));
}

#[test]
fn a_window_that_closes_and_opens_is_reported_by_both_ends() {
    let config = AssociationConfig { receive_window: 16 << 10, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.reads[1] = false;
    let log = Log::capture(Level::DEBUG);
    for _ in 0..40 {
        pair.send(0, StreamId(1), payload(1000));
    }
    pair.run_for(Duration::from_secs(3));
    let events = log.take();
    for message in ["own window closed", "window of the peer closed"] {
        assert_eq!(with_message(&events, message)[0].number("a_rwnd"), 0);
    }
    assert!(!with_message(&events, "window probe").is_empty());
    for event in std::mem::take(&mut pair.events[1]) {
        if let AssociationEvent::Message(ReceivedMessage { credit, .. }) = event {
            pair.ends[1].release(credit);
        }
    }
    pair.reads[1] = true;
    pair.run_for(Duration::from_secs(3));
    let events = log.take();
    for message in ["own window opened", "window of the peer opened"] {
        assert!(with_message(&events, message)[0].number("a_rwnd") > 0);
    }
}

#[test]
fn a_stream_reset_is_reported_with_its_request_and_result_at_both_ends() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(6), payload(10));
    pair.run_for(Duration::from_secs(1));
    let log = Log::capture(Level::DEBUG);
    pair.ends[0].reset_streams(pair.now, &[StreamId(6)]).unwrap();
    pair.run_for(Duration::from_secs(1));
    let events = log.take();
    let requested = only(&events, "stream reset requested");
    assert!(requested.field("streams").contains('6') && !requested.field("last_tsn").is_empty());
    let of_the_peer = only(&events, "stream reset of the peer");
    assert_eq!(of_the_peer.field("last_tsn"), requested.field("last_tsn"));
    for message in ["request of the peer answered", "stream reset answered"] {
        let answered = only(&events, message);
        assert_eq!(answered.field("request_sn"), requested.field("request_sn"));
        assert_eq!(answered.field("result"), "Performed");
    }
}

#[test]
fn an_abandoned_message_is_reported_and_so_is_the_chunk_that_skips_it() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(1), payload(1000));
    pair.run_for(Duration::from_secs(1));
    lose(&mut pair, |at| at == 0);
    let log = Log::capture(Level::DEBUG);
    let options = SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() };
    pair.send_with(0, StreamId(4), payload(900), options);
    pair.run_for(Duration::from_secs(3));
    let events = log.take();
    let abandoned = only(&events, "message abandoned");
    assert_eq!((abandoned.field("stream_id"), abandoned.number("len")), ("4", 900));
    let sent = with_message(&events, "FORWARD TSN sent")[0];
    let received = only(&events, "FORWARD TSN received");
    assert_eq!(sent.field("new_cumulative_tsn"), abandoned.field("tsn"));
    assert_eq!(sent.field("new_cumulative_tsn"), received.field("new_cumulative_tsn"));
}

#[test]
fn a_handshake_without_an_answer_is_reported_with_its_timer() {
    let mut pair = Pair::new();
    let mut is_first = true;
    pair.rule = Box::new(move |_| if std::mem::take(&mut is_first) { Verdict::Drop } else { Verdict::Pass });
    let log = Log::capture(Level::DEBUG);
    pair.ends[0].connect(pair.now);
    pair.run_for(Duration::from_secs(3));
    let events = log.take();
    let silent = only(&events, "no answer in time");
    assert_eq!((silent.field("timer"), silent.field("rto")), ("T1Init", "2s"));
    assert_eq!(with_message(&events, "handshake done").len(), 2);
}

#[test]
fn an_idle_path_is_reported_by_its_heartbeats() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let log = Log::capture(Level::DEBUG);
    pair.run_for(Duration::from_secs(40));
    let events = log.take();
    assert!(!events.is_empty());
    for event in events {
        assert_eq!((event.message.as_str(), event.field("rtt")), ("HEARTBEAT answered", "20ms"));
    }
}

#[test]
fn a_repeated_chunk_is_a_drop_for_the_receiver_and_a_spurious_retransmission_for_the_sender() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.rule = Box::new(|packet| if packet.has_user_data() { Verdict::Repeat(MS) } else { Verdict::Pass });
    let log = Log::capture(Level::DEBUG);
    pair.send(0, StreamId(1), payload(100));
    pair.run_for(Duration::from_secs(1));
    let events = log.take();
    assert_eq!(messages(&events), ["dropped", "spurious retransmission"]);
    assert_eq!((events[0].field("reason"), events[1].number("duplicates")), ("Duplicate", 1));
}

#[test]
fn reports_of_the_peer_are_logged_with_their_cause() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let log = Log::capture(Level::DEBUG);
    pair.ends[0].report_invalid_stream(StreamId(3));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(only(&log.take(), "ERROR received").number("cause"), 1);
    pair.ends[0].abort("enough");
    pair.run_for(Duration::from_secs(1));
    let events = log.take();
    let [here, there] = with_message(&events, "association closed")[..] else { panic!("{events:#?}") };
    assert_eq!(here.field("reason"), "the association was aborted locally");
    assert_eq!((there.field("reason"), there.number("cause")), ("the peer aborted the association: enough", 12));
}

#[test]
fn a_message_whose_lifetime_ends_in_the_queue_is_reported() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(1), payload(100_000));
    let log = Log::capture(Level::DEBUG);
    let options = SendOptions { reliability: Reliability::MaxLifetime(MS), ..SendOptions::default() };
    pair.send_with(0, StreamId(4), payload(900), options);
    pair.run_for(Duration::from_secs(3));
    let events = log.take();
    let abandoned = only(&events, "message abandoned unsent");
    assert_eq!((abandoned.field("stream_id"), abandoned.number("len")), ("4", 900));
}

#[test]
fn changes_of_the_path_are_reported() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let log = Log::capture(Level::DEBUG);
    pair.ends[0].set_path_mtu(1001);
    assert_eq!(only(&log.take(), "MTU changed").number("mtu"), 1000);
    pair.ends[0].on_path_changed(pair.now);
    assert!(only(&log.take(), "path changed").number("cwnd") > 0);
    let mut probe = Vec::new();
    assert!(pair.ends[0].validate_path(&mut probe));
    pair.put_on_wire(0, probe.into());
    pair.run_for(100 * MS);
    assert_eq!(messages(&log.take()), ["path challenge sent", "path validated", "HEARTBEAT answered"]);
}

/// Every drop that is counted has one event, with its reason, at the level DEBUG: a peer that sends nonsense shows in
/// no log that is on by default.
#[test]
fn each_drop_is_reported_once_with_its_reason() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let before = pair.ends[1].stats().drops.total();
    let log = Log::capture(Level::TRACE);
    for datagram in [&b"short"[..], &[0; 100]] {
        pair.ends[1].handle_datagram(pair.now, Bytes::copy_from_slice(datagram));
    }
    let events = log.take();
    let reasons: Vec<&str> = events.iter().map(|event| event.field("reason")).collect();
    assert_eq!(reasons, ["BadPacket", "BadPacket"]);
    assert!(events.iter().all(|event| event.message == "dropped" && event.level == Level::DEBUG));
    assert_eq!(pair.ends[1].stats().drops.total(), before + 2);
}

#[test]
fn a_violation_of_the_peer_is_reported_with_the_cause_of_the_abort() {
    let mut pair = Pair::connected(AssociationConfig::default());
    // A chunk of user data without any: RFC 9260 §6.2.
    pair.send(0, StreamId(1), payload(4));
    let mut packet = pair.sent(0, pair.data_kind())[0].bytes.to_vec();
    let header_len = pair.data_header_len();
    packet.truncate(12 + header_len);
    packet[12 + 3] = u8::try_from(header_len).unwrap();
    packet[8..12].fill(0);
    narrowboat_sctp::testing::wire::seal(&mut packet);
    let log = Log::capture(Level::DEBUG);
    pair.ends[1].handle_datagram(pair.now, packet.into());
    let events = log.take();
    let closed = only(&events, "association closed");
    assert_eq!(
        (closed.field("reason"), closed.number("cause")),
        ("the peer violated the protocol: DATA without user data", 9)
    );
}

/// No event for which the application has not asked, whatever the peer does: an association knows no address, so its
/// owner reports the start and the end.
#[test]
fn nothing_is_emitted_above_debug() {
    let log = Log::capture(Level::INFO);
    let mut pair = Pair::with_config(AssociationConfig { receive_window: 64 << 10, ..AssociationConfig::default() });
    pair.connect();
    lose(&mut pair, |at| at % 10 == 3);
    for stream in 0..20 {
        pair.send(0, StreamId(stream), payload(30_000));
    }
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.received[1].len(), 20);
    let stats = pair.ends[0].stats();
    assert!(stats.data_chunks_retransmitted > 30 && stats.congestion_events > 0);
    pair.ends[0].reset_streams(pair.now, &[StreamId(1)]).unwrap();
    pair.ends[1].handle_datagram(pair.now, Bytes::from_static(b"no packet"));
    pair.run_for(Duration::from_secs(1));
    pair.ends[0].abort("enough");
    pair.run_for(Duration::from_secs(1));
    assert!(pair.ends.iter().all(Association::is_over));
    assert_eq!(messages(&log.take()), [""; 0]);
}

#[test]
fn each_chunk_is_reported_at_trace_by_its_sender_and_its_receiver() {
    let cases = [
        (false, "DATA", &["tsn", "stream_id", "ssn", "ppid", "len"][..], "ssn"),
        (true, "I_DATA", &["tsn", "stream_id", "mid", "fsn", "ppid", "len"], "mid"),
    ];
    for (message_interleaving, kind, fields, number) in cases {
        let events = events_of_one_message(message_interleaving);
        let chunk = |direction, kind| {
            let is_it = |event: &&Logged| (event.field("direction"), event.field("kind")) == (direction, kind);
            let found: Vec<_> = with_message(&events, "chunk").into_iter().filter(is_it).collect();
            assert_eq!(found.len(), 1, "{direction} {kind} {events:#?}");
            found[0]
        };
        let (sent, received) = (chunk("sent", kind), chunk("received", kind));
        for name in fields {
            assert_eq!(sent.field(name), received.field(name));
        }
        assert_eq!((sent.field("stream_id"), sent.number(number), sent.number("ppid")), ("3", 0, 53));
        assert_eq!((sent.number("len"), sent.level), (10, Level::TRACE));
        for sack in [chunk("sent", "SACK"), chunk("received", "SACK")] {
            assert_eq!(sack.field("cumulative_tsn_ack"), sent.field("tsn"));
            assert!(sack.number("a_rwnd") > 0 && sack.number("gap_blocks") == 0);
        }
    }
}

/// Returns the events when one message of ten bytes passes.
fn events_of_one_message(message_interleaving: bool) -> Vec<Logged> {
    let mut pair = Pair::connected(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
    let log = Log::capture(Level::TRACE);
    pair.send(0, StreamId(3), payload(10));
    pair.run_for(Duration::from_secs(1));
    log.take()
}
