//! Requests to add streams, and to have the peer reset its side (RFC 6525 §5.1.3, §5.1.5, §5.1.6), between two ends.

#![expect(clippy::indexing_slicing, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use narrowboat_sctp::testing::wire::{ChunkType, ReconfigWriter};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, Ppid, RequestSn, ResetError, ResetResult, SendMessageError, SendOptions,
    StreamId, StreamRequest, Streams,
};
use pair::{MS, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);

/// A pair that has agreed on ten streams in each direction, of which each end takes up to `limit`.
fn pair(limit: u16) -> Pair {
    let first = AssociationConfig { outbound_streams: 10, inbound_streams: limit, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([first.clone(), first], 1);
    pair.connect();
    assert_eq!(streams(&pair), [[10, 10]; 2]);
    pair
}

/// Outbound and inbound streams of each end.
fn streams(pair: &Pair) -> [[u16; 2]; 2] {
    pair.ends.each_ref().map(|end| [end.outbound_streams(), end.inbound_streams()])
}

fn added_outgoing(pair: &Pair, end: usize) -> Vec<u16> {
    pair.events[end]
        .iter()
        .filter_map(|event| if let AssociationEvent::OutgoingStreamsAdded(count) = event { Some(*count) } else { None })
        .collect()
}

fn added_incoming(pair: &Pair, end: usize) -> Vec<u16> {
    pair.events[end]
        .iter()
        .filter_map(|event| if let AssociationEvent::IncomingStreamsAdded(count) = event { Some(*count) } else { None })
        .collect()
}

fn refused(pair: &Pair, end: usize) -> Vec<(StreamRequest, ResetResult)> {
    pair.events[end]
        .iter()
        .filter_map(|event| match event {
            AssociationEvent::RequestRefused { request, result } => Some((*request, *result)),
            _ => None,
        })
        .collect()
}

#[test]
fn streams_that_are_added_can_be_used_once_the_peer_has_granted_them_whichever_packet_is_lost() {
    for lost in 0..6 {
        let mut pair = pair(20);
        let mut count = 0;
        pair.rule = Box::new(move |_| {
            count += 1;
            if count - 1 == lost { Verdict::Drop } else { Verdict::Pass }
        });
        pair.ends[0].add_streams(5, 0).unwrap();
        pair.flush();
        let now = pair.now;
        let early = pair.ends[0].send(now, StreamId(14), Ppid(53), "early".into(), SendOptions::default());
        assert!(matches!(early, Err(SendMessageError::NoSuchStream { .. })), "not before the answer (H6)");
        pair.run_for(10 * SECOND);
        assert_eq!(streams(&pair), [[15, 10], [10, 15]], "lost {lost}");
        assert_eq!((added_outgoing(&pair, 0), added_incoming(&pair, 1)), (vec![5], vec![5]));
        pair.send(0, StreamId(14), "on the last");
        pair.run_for(5 * SECOND);
        assert_eq!(pair.received[1].last().unwrap().0, StreamId(14));
        let now = pair.now;
        let beyond = pair.ends[0].send(now, StreamId(15), Ppid(53), "beyond".into(), SendOptions::default());
        assert!(matches!(beyond, Err(SendMessageError::NoSuchStream { .. })));
        pair.ends[0].reset_streams(now, &[StreamId(14)]).unwrap();
        pair.run_for(5 * SECOND);
        let is_reset = |event: &AssociationEvent| matches!(event, AssociationEvent::OutgoingStreamReset(StreamId(14)));
        assert!(pair.events[0].iter().any(is_reset));
    }
}

#[test]
fn a_request_beyond_the_peers_limit_is_refused_and_changes_nothing() {
    let mut pair = pair(20);
    pair.ends[0].add_streams(11, 0).unwrap();
    pair.run_for(SECOND);
    assert_eq!(refused(&pair, 0), [(StreamRequest::AddOutgoing, ResetResult::Denied)]);
    assert_eq!(streams(&pair), [[10, 10]; 2]);
    // The next request has the next number, and is a request of its own.
    pair.ends[0].add_streams(10, 0).unwrap();
    pair.run_for(SECOND);
    assert_eq!(streams(&pair), [[20, 10], [10, 20]]);
}

#[test]
fn a_peer_that_is_asked_to_send_on_more_streams_asks_for_them() {
    let asking = AssociationConfig { outbound_streams: 10, ..AssociationConfig::default() };
    let asked = AssociationConfig { outbound_streams: 30, inbound_streams: 10, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([AssociationConfig { inbound_streams: 40, ..asking }, asked], 1);
    pair.connect();
    assert_eq!(pair.ends[1].outbound_streams(), 30);
    // At its own limit already.
    pair.ends[0].add_streams(0, 5).unwrap();
    pair.run_for(SECOND);
    assert_eq!(refused(&pair, 0), [(StreamRequest::AddIncoming, ResetResult::Denied)]);
    assert_eq!(pair.ends[1].outbound_streams(), 30);

    let few = AssociationConfig { inbound_streams: 12, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([few, AssociationConfig::default()], 1);
    pair.connect();
    assert_eq!(pair.ends[1].outbound_streams(), 12);
    assert_eq!(pair.ends[0].add_streams(0, 1), Err(ResetError::TooManyStreams), "more than this end takes");
}

#[test]
fn a_peer_that_asks_for_more_streams_of_ours_for_ever_gets_the_configured_ones() {
    // The peer takes 10 at first. Its requests are written by hand, one after another, without its answers.
    let few = AssociationConfig { inbound_streams: 10, ..AssociationConfig::default() };
    let limited = AssociationConfig { outbound_streams: 20, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([few, limited], 1);
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    let first = pair.sent(0, ChunkType::INIT)[0].bytes.clone();
    let number = u32::from_be_bytes(first[28..32].try_into().unwrap());
    let tag: [u8; 4] = pair.sent(1, ChunkType::INIT_ACK)[0].bytes[16..20].try_into().unwrap();
    assert_eq!(pair.ends[1].outbound_streams(), 10);
    pair.rule = Box::new(|packet| if packet.from == 1 { Verdict::Drop } else { Verdict::Pass });
    pair.trace.clear();
    for index in 0..200_u32 {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        packet.extend(tag);
        packet.extend([0; 4]);
        let mut writer = ReconfigWriter::begin(&mut packet);
        writer.push_add_incoming(RequestSn(number.wrapping_add(index)), 3);
        writer.finish();
        narrowboat_sctp::testing::wire::seal(&mut packet);
        pair.ends[1].handle_datagram(pair.now, packet.into());
        pair.flush();
    }
    assert_eq!(pair.ends[1].outbound_streams(), 10, "none before the grant");
    let asked =
        pair.trace.iter().filter(|packet| packet.from == 1 && packet.bytes.windows(4).any(|w| w == [0, 17, 0, 12]));
    assert_eq!(asked.count(), 1, "one request of its own, however often it is asked");
}

#[test]
fn a_peer_resets_its_side_when_it_is_asked_to_whichever_packet_is_lost() {
    for lost in 0..6 {
        let mut pair = pair(20);
        pair.send(1, StreamId(3), "before");
        pair.run_for(SECOND);
        let mut count = 0;
        pair.rule = Box::new(move |_| {
            count += 1;
            if count - 1 == lost { Verdict::Drop } else { Verdict::Pass }
        });
        pair.ends[0].request_incoming_reset(&[StreamId(3)]).unwrap();
        pair.run_for(10 * SECOND);
        let resets: Vec<_> = pair.events[0]
            .iter()
            .filter(|event| matches!(event, AssociationEvent::IncomingStreamsReset(s) if *s == Streams::List(vec![StreamId(3)])))
            .collect();
        assert_eq!(resets.len(), 1, "lost {lost}: {:?}", pair.events[0]);
        assert!(refused(&pair, 0).is_empty());
        // The stream begins again, and so does the next request.
        pair.send(1, StreamId(3), "after");
        pair.run_for(5 * SECOND);
        assert_eq!(pair.received[0].last().unwrap().2, "after");
        pair.ends[0].add_streams(1, 0).unwrap();
        pair.run_for(5 * SECOND);
        assert_eq!(pair.ends[0].outbound_streams(), 11);
    }
}

#[test]
fn requests_wait_for_each_other_and_only_eight_may_wait() {
    let mut pair = pair(60);
    for _ in 0..8 {
        pair.ends[0].add_streams(1, 0).unwrap();
    }
    assert_eq!(pair.ends[0].add_streams(1, 0), Err(ResetError::TooManyRequests));
    pair.run_for(10 * SECOND);
    assert_eq!(added_outgoing(&pair, 0), [1; 8]);
    assert_eq!(streams(&pair), [[18, 10], [10, 18]]);
}

#[test]
fn requests_that_make_no_sense_are_errors() {
    let mut closed = Pair::new();
    assert_eq!(closed.ends[0].add_streams(1, 0), Err(ResetError::NotEstablished));
    assert_eq!(closed.ends[0].request_incoming_reset(&[]), Err(ResetError::NotEstablished));
    let mut without = Pair::connected(AssociationConfig { stream_reset: false, ..AssociationConfig::default() });
    assert_eq!(without.ends[0].add_streams(1, 0), Err(ResetError::NotSupported));
    let mut pair = pair(20);
    assert_eq!(pair.ends[0].request_incoming_reset(&[StreamId(10)]), Err(ResetError::NoSuchStream(StreamId(10))));
    assert_eq!(pair.ends[0].add_streams(65_526, 0), Err(ResetError::TooManyStreams));
    assert_eq!(pair.ends[0].add_streams(0, 11), Err(ResetError::TooManyStreams));
}
