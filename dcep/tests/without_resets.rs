//! A peer that did not offer RE-CONFIG: its streams cannot be reset, so each id serves one channel (RFC 8831 §6.7).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use narrowboat_dcep::{ChannelError, ChannelOptions, DropReason, OpenError, ReadyState};
use pair::{A, B, Pair, Setup, negotiated, texts};

fn pair_with_streams(streams: u16) -> Pair {
    let mut setup = Setup::default();
    setup = setup.sctp(|config| (config.inbound_streams, config.outbound_streams) = (streams, streams));
    setup.sctp[1].stream_reset = false;
    Pair::connected_with(setup)
}

#[test]
fn every_id_serves_once_and_the_error_says_why_there_is_none_left() {
    let mut pair = pair_with_streams(8);
    for stream in [0, 2, 4] {
        let (a, _) = pair.channel();
        assert_eq!(pair.stream(A, a), stream);
        pair.close(A, a);
        assert_eq!(pair.closed(A, a), Some(Some(ChannelError::ResetNotSupported)));
        pair.forget(A, a);
        assert_eq!(pair.try_open(A, negotiated(stream)), Err(OpenError::IdRetired(stream)));
    }
    let (last, there) = pair.channel();
    let error = pair.try_open(A, ChannelOptions::new("one too many")).unwrap_err();
    assert_eq!(error, OpenError::NoIdLeft);
    assert!(error.to_string().contains("RE-CONFIG") && error.to_string().contains("another association"), "{error}");
    // What is open works, and so do the ids of the other end.
    pair.send(A, last, "still here");
    let theirs = pair.open(B, ChannelOptions::new("of the other end"));
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, there)), ["still here"]);
    assert_eq!(pair.state(A, pair.incoming(A)), Some(ReadyState::Open));
    pair.close(B, theirs);
    assert_eq!(pair.closed(B, theirs), Some(Some(ChannelError::ResetNotSupported)));
    assert_eq!(pair[A].channels.streams_in_use(), 5);
}

#[test]
fn a_peer_that_sends_on_is_not_heard_and_that_is_counted() {
    let mut pair = pair_with_streams(8);
    let (a, b) = pair.channel();
    pair.close(A, a);
    pair.send(B, b, "are you there?");
    pair.run();
    assert_eq!(pair[A].channels.stats().drops.count(DropReason::AfterClose), 1);
    assert_eq!(pair.recv(A, a), None);
    pair.assert_windows_are_whole(8 << 20);
}

/// More channels than there may be streams without one with a peer that resets its side.
#[test]
fn j08_channels_closed_by_the_thousand_end_nothing_and_hold_little() {
    let mut pair = pair_with_streams(65_535);
    let count = if cfg!(debug_assertions) { 1_000 } else { 30_000 };
    for _ in 0..count {
        let (a, b) = pair.channel();
        pair.close(A, a);
        pair.forget(A, a);
        pair.close(B, b);
        pair.forget(B, b);
        pair.clear_events();
    }
    assert_eq!([A, B].map(|side| pair[side].channels.streams_in_use()), [count; 2]);
    assert_eq!([A, B].map(|side| pair[side].channels.len()), [0, 0]);
    // A message that the peer may not send: its stream is refused, and nothing else ends.
    let now = pair.now;
    let options = narrowboat_sctp::SendOptions::default();
    pair[B].association.send(now, 65_001, narrowboat_sctp::Ppid(52), "x".into(), options).unwrap();
    pair.turn(B);
    pair.run();
    assert_eq!(pair[A].channels.stats().drops.count(DropReason::UnsupportedPpid), 1);
    assert!(!pair[A].association.is_over());
    let (a, b) = pair.channel();
    pair.send(A, a, "well");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, b)), ["well"]);
}
