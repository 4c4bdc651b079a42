//! Behaviour of an association whose transport ends or moves (RFC 8261).

#![expect(clippy::indexing_slicing, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::ChunkType;
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, LowerLayerError, LowerLayerErrorKind as Kind, State, StreamId,
};
use pair::{MS, Pair, Verdict};

fn lower_layer_error(kind: Kind) -> LowerLayerError {
    LowerLayerError::new(kind, std::fmt::Error)
}

fn closed(pair: &Pair, end: usize) -> Option<CloseReason> {
    pair.events[end].iter().find_map(|event| match event {
        AssociationEvent::Closed(reason) => Some(reason.clone()),
        _ => None,
    })
}

#[test]
fn a_transport_that_ends_takes_the_association_with_it_and_nothing_more_is_sent() {
    for begin in [false, true] {
        let mut pair = if begin { Pair::connected(AssociationConfig::default()) } else { Pair::new() };
        if begin {
            pair.send(0, StreamId(1), "never to arrive");
        }
        let sent = pair.trace.len();
        let error = lower_layer_error(Kind::Lost);
        pair.ends[0].transport_failed(error.clone());
        pair.run_for(5 * MS);
        assert_eq!(closed(&pair, 0), Some(CloseReason::Transport(error)));
        assert_eq!(pair.trace.len(), sent);
        assert!(pair.ends[0].poll_timeout().is_none());
    }
}

#[test]
fn a_transport_closed_instead_of_the_last_packet_of_a_shutdown_is_a_shutdown() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.rule = Box::new(|packet| if packet.has(ChunkType::SHUTDOWN_COMPLETE) { Verdict::Drop } else { Verdict::Pass });
    let now = pair.now;
    pair.ends[0].shutdown(now);
    pair.run_for(100 * MS);
    assert_eq!(closed(&pair, 0), Some(CloseReason::Shutdown));
    assert_eq!(pair.ends[1].state(), State::ShutdownAckSent);
    pair.ends[1].transport_failed(lower_layer_error(Kind::ClosedByPeer));
    pair.run_for(MS);
    assert_eq!(closed(&pair, 1), Some(CloseReason::Shutdown));
}

#[test]
fn k11_another_path_begins_with_an_initial_window_an_unknown_round_trip_and_loses_nothing() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let message = Bytes::from(vec![7; 300_000]);
    pair.send(0, StreamId(1), message.clone());
    pair.run_until(Duration::from_secs(10), |pair| !pair.received[1].is_empty());
    let initial = 10 * (AssociationConfig::default().mtu - 12);
    let learned = pair.ends[0].stats();
    assert!(learned.cwnd > initial && learned.srtt.is_some());

    pair.send(0, StreamId(1), message.clone());
    pair.run_for(MS);
    let now = pair.now;
    pair.ends[0].on_path_changed(now);
    let stats = pair.ends[0].stats();
    assert_eq!((stats.cwnd, stats.srtt, stats.rto), (initial, None, AssociationConfig::default().rto_initial));
    pair.run_until(Duration::from_secs(10), |pair| pair.received[1].len() == 2);
    assert_eq!(pair.received[1][1].2, message);
}

#[test]
fn another_path_gives_the_peer_the_whole_time_to_answer() {
    let config = AssociationConfig { idle_timeout: Duration::from_secs(20), ..AssociationConfig::default() };
    let mut pair = Pair::connected(config.clone());
    pair.rule = Box::new(|_| Verdict::Drop);
    pair.send(0, StreamId(1), Bytes::from_static(b"lost on both paths"));
    // Two thirds of the time after the first packet that goes unanswered would be soon.
    pair.run_for(Duration::from_secs(12));
    let now = pair.now;
    pair.ends[0].on_path_changed(now);
    pair.run_for(config.idle_timeout - Duration::from_secs(1));
    assert_eq!(closed(&pair, 0), None, "given up for packets of the old path");
    pair.run_for(Duration::from_secs(6));
    assert_eq!(closed(&pair, 0), Some(CloseReason::PeerUnreachable));
}

#[test]
fn k11_an_idle_association_measures_its_new_path_at_once() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let now = pair.now;
    pair.ends[0].on_path_changed(now);
    pair.run_for(50 * MS);
    assert_eq!(pair.ends[0].stats().srtt, Some(2 * pair.one_way));
}

#[test]
fn k02_a_path_is_proven_by_the_answer_to_its_last_probe_and_by_nothing_else() {
    let mut pair = Pair::new();
    let mut probe = Vec::new();
    assert!(!pair.ends[0].validate_path(&mut probe), "nothing is established that could move");
    pair.connect();
    assert!(pair.ends[0].validate_path(&mut probe));
    let old = Bytes::from(std::mem::take(&mut probe));
    assert!(pair.ends[0].validate_path(&mut probe));
    let now = pair.now;
    let answer_to = |pair: &mut Pair, packet: Bytes| {
        pair.ends[1].handle_datagram(now, packet);
        let mut answer = Vec::new();
        assert!(pair.ends[1].poll_transmit(now, 1, &mut answer).is_some());
        Bytes::from(answer)
    };
    let late = answer_to(&mut pair, old);
    let answer = answer_to(&mut pair, probe.into());
    for (packet, proves) in [(late, false), (answer.clone(), true), (answer, false)] {
        pair.ends[0].handle_datagram(now, packet);
        assert_eq!(pair.ends[0].take_path_validated(), proves);
        assert!(!pair.ends[0].take_path_validated(), "it is told once");
    }
}

/// An end whose transport fails still sends an ABORT, so that the peer need not wait.
#[test]
fn a_transport_that_this_end_has_broken_leaves_the_peer_an_abort() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let failure = lower_layer_error(Kind::Failed);
    pair.ends[0].transport_failed(failure.clone());
    pair.run_for(100 * MS);
    assert_eq!(closed(&pair, 0), Some(CloseReason::Transport(failure.clone())));
    assert!(matches!(closed(&pair, 1), Some(CloseReason::PeerAbort { .. })), "{:?}", closed(&pair, 1));
    // Nobody is there yet who could be told.
    let mut pair = Pair::new();
    pair.ends[0].transport_failed(failure);
    let sent = pair.trace.len();
    pair.run_for(5 * MS);
    assert_eq!(pair.trace.len(), sent);
}

/// RFC 9260 §6.9: messages are cut for the size of the path as it is. Fragments cut before cannot be cut again; if they
/// are retransmitted, each leaves alone.
#[test]
fn the_packet_size_may_change_in_the_middle_of_a_transfer_that_loses_packets() {
    for seed in 0..4_u64 {
        let mut pair = Pair::connected(AssociationConfig { mtu: 1400, ..AssociationConfig::default() });
        let mut number = seed;
        pair.rule = Box::new(move |packet| {
            number += 1;
            let is_lost = packet.from == 0 && number.is_multiple_of(9);
            if is_lost { Verdict::Drop } else { Verdict::Pass }
        });
        let message = Bytes::from(vec![7; 600_000]);
        pair.send(0, StreamId(1), message.clone());
        let mut oversized = 0;
        for mtu in [800, 1400, 577] {
            pair.run_for(70 * MS);
            pair.ends[0].set_path_mtu(mtu);
            pair.flush();
            let before = pair.trace.len();
            pair.run_for(300 * MS);
            for packet in pair.trace[before..].iter().filter(|packet| packet.from == 0 && packet.bytes.len() > mtu) {
                assert_eq!(
                    packet.kinds(),
                    [pair.data_kind()],
                    "{} bytes where {mtu} are the limit",
                    packet.bytes.len()
                );
                oversized += 1;
            }
        }
        assert!(oversized > 0, "no retransmission of a larger fragment with seed {seed}");
        pair.run_until(Duration::from_secs(120), |pair| !pair.received[1].is_empty());
        assert_eq!(pair.received[1][0].2, message);
    }
}
