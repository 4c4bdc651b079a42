//! Corner cases of two rules: small windows and large packets, time-outs and full buffers, resets and shutdowns.

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::ChunkType;
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, Ppid, Reliability, SendMessageError, SendOptions, State, StreamId,
};
use pair::{MS, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_is_cut_to_what_the_peers_window_can_ever_take() {
    let large = AssociationConfig { mtu: 9000, ..AssociationConfig::default() };
    let small = AssociationConfig { receive_window: 4096, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([large, small], 1);
    pair.connect();
    let message = Bytes::from(vec![7; 60_000]);
    pair.send(0, StreamId(1), message.clone());
    pair.run_for(20 * SECOND);
    assert_eq!(pair.received[1], [(StreamId(1), Ppid(53), message)]);
    assert!(pair.trace.iter().all(|packet| packet.bytes.len() <= 12 + pair.data_header_len() + 4096));
    assert_eq!(pair.ends[0].stats().t3_expirations, 0, "nothing is sent that the window cannot take");
}

#[test]
fn who_was_refused_hears_of_room_that_a_message_made_by_running_out_of_time() {
    let mut pair = Pair::connected(AssociationConfig { send_buffer: 2_000, ..AssociationConfig::default() });
    pair.rule = Box::new(|packet| if packet.from == 0 { Verdict::Drop } else { Verdict::Pass });
    let short = SendOptions { reliability: Reliability::MaxLifetime(50 * MS), ..SendOptions::default() };
    pair.send_with(0, StreamId(1), vec![0; 40_000], short);
    let refused =
        pair.ends[0].send(pair.now, StreamId(1), Ppid(53), Bytes::from_static(b"more"), SendOptions::default());
    assert_eq!(refused, Err(SendMessageError::Full));
    pair.rule = Box::new(|_| Verdict::Pass);
    pair.run_for(5 * SECOND);
    assert!(
        pair.events[0].iter().any(|event| matches!(event, AssociationEvent::Abandoned { .. })),
        "{:?}",
        pair.events[0]
    );
    assert!(pair.events[0].iter().any(|event| matches!(event, AssociationEvent::Writable)), "{:?}", pair.events[0]);
}

#[test]
fn a_reset_under_way_ends_with_the_shutdown_and_is_not_repeated_beside_it() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(1), "something");
    pair.run_for(SECOND);
    pair.rule = Box::new(|packet| {
        let is_lost = packet.has(ChunkType::RE_CONFIG) || packet.has(ChunkType::SHUTDOWN_ACK);
        if is_lost { Verdict::Drop } else { Verdict::Pass }
    });
    assert_eq!(pair.ends[0].reset_streams(pair.now, &[StreamId(1)]), Ok(()));
    pair.run_for(100 * MS);
    pair.ends[1].shutdown(pair.now);
    pair.run_for(100 * MS);
    assert_eq!(pair.ends[0].state(), State::ShutdownAckSent);
    pair.trace.clear();
    pair.run_for(5 * SECOND);
    assert!(pair.sent(0, ChunkType::RE_CONFIG).is_empty());
    assert!(!pair.sent(0, ChunkType::SHUTDOWN_ACK).is_empty());
    pair.rule = Box::new(|_| Verdict::Pass);
    pair.run_for(20 * SECOND);
    for events in &pair.events {
        assert!(matches!(events.last(), Some(AssociationEvent::Closed(CloseReason::Shutdown))), "{events:?}");
    }
}

#[test]
fn an_init_to_an_association_that_is_over_is_refused_at_once() {
    let mut pair = Pair::new();
    pair.ends[1].abort("gone");
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    let closed = pair.events[0].last();
    assert!(matches!(closed, Some(AssociationEvent::Closed(CloseReason::PeerAbort { cause: None, .. }))), "{closed:?}");
}

#[test]
fn until_the_handshake_is_done_streams_are_as_configured() {
    let few = AssociationConfig { inbound_streams: 4, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([AssociationConfig::default(), few], 1);
    pair.rule = Box::new(|packet| if packet.has(ChunkType::COOKIE_ACK) { Verdict::Drop } else { Verdict::Pass });
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    assert_eq!(pair.ends[0].state(), State::CookieEchoed);
    assert_eq!(pair.ends[0].outbound_streams(), 65_535);
    assert!(!pair.ends[0].peer_supports_stream_reset());
    pair.send(0, StreamId(100), "beyond what the peer takes");
    pair.send(0, StreamId(3), "within");
    pair.rule = Box::new(|_| Verdict::Pass);
    pair.run_for(5 * SECOND);
    assert_eq!(pair.ends[0].outbound_streams(), 4);
    assert!(pair.ends[0].peer_supports_stream_reset());
    assert_eq!(pair.received[1], [(StreamId(3), Ppid(53), Bytes::from_static(b"within"))]);
}
