//! A peer that did not offer RE-CONFIG: its streams cannot be reset, so each id serves one channel (RFC 8831 §6.7).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::cell::Cell;
use std::time::Duration;

use narrowboat_dcep::{ChannelDropReason, ChannelError, ChannelOptions, ChannelsEvent, OpenError, ReadyState};
use narrowboat_sctp::StreamId;
use pair::packet::ERROR;
use pair::{A, B, Fate, Pair, Setup, negotiated, texts};

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
    // Open channels still work, and so do the ids of the other end.
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
    assert_eq!(pair[A].channels.stats().drops.count(ChannelDropReason::AfterClose), 1);
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
    pair[B].association.send(now, StreamId(65_001), narrowboat_sctp::Ppid(52), "x".into(), options).unwrap();
    pair.turn(B);
    pair.run();
    assert_eq!(pair[A].channels.stats().drops.count(ChannelDropReason::UnsupportedPpid), 1);
    assert!(!pair[A].association.is_over());
    let (a, b) = pair.channel();
    pair.send(A, a, "well");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, b)), ["well"]);
}

/// B takes one channel at most. Says which end offers RE-CONFIG.
fn pair_that_refuses([by_a, by_b]: [bool; 2]) -> Pair {
    let mut setup = Setup::default();
    (setup.sctp[0].stream_reset, setup.sctp[1].stream_reset) = (by_a, by_b);
    setup.channels[1].channels_max = 1;
    let mut pair = Pair::connected_with(setup);
    let _first = pair.channel();
    pair.clear_events();
    pair
}

#[test]
fn a_refused_channel_ends_with_an_error_at_the_peer_whatever_it_did_meanwhile() {
    for offers in [[true, false], [false, true], [false, false]] {
        for (sends, closes) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut pair = pair_that_refuses(offers);
            let id = pair.open(A, ChannelOptions::new("one too many"));
            if sends {
                pair.send(A, id, "is anybody there?");
            }
            if closes {
                pair.close(A, id);
            }
            // Long before anything is given up.
            pair.run_for(Duration::from_secs(1));
            let case = format!("{offers:?}, {sends}, {closes}");
            assert_eq!(pair.closed(A, id), Some(Some(ChannelError::Refused)), "{case}");
            let is_told = pair[A].events.contains(&ChannelsEvent::Closing(id));
            assert_eq!(is_told, !closes, "{case}: the application knows what it did itself");
            assert_eq!(pair[B].events, [], "{case}");
            assert_eq!(pair[B].channels.stats().drops.count(ChannelDropReason::LimitReached), 1, "{case}");
        }
    }
}

#[test]
fn a_refusal_whose_report_is_lost_is_reported_again_when_the_peer_sends() {
    let mut pair = pair_that_refuses([true, false]);
    let lost = Cell::new(0);
    pair.network(move |packet| match packet.has(ERROR) && lost.replace(lost.get() + 1) < 2 {
        true => packet.without(ERROR).map_or(Fate::Drop, Fate::Replace),
        false => Fate::Deliver,
    });
    let id = pair.open(A, ChannelOptions::new("one too many"));
    for _ in 0..2 {
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.state(A, id), Some(ReadyState::Open), "it cannot know");
        pair.send(A, id, "is anybody there?");
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed(A, id), Some(Some(ChannelError::Refused)));
}

/// An end that has accepted a channel reports nothing when it closes it: what it has sent may still be on its way.
#[test]
fn a_channel_that_was_accepted_and_closed_is_no_refusal() {
    let mut pair = pair_with_streams(8);
    let a = pair.open(A, ChannelOptions::new("a while"));
    // The ACK and what follows it come late.
    pair.network(|packet| if packet.from == B && packet.has_data() { Fate::Drop } else { Fate::Deliver });
    pair.run_for(Duration::from_millis(200));
    let b = pair.incoming(B);
    pair.send(B, b, "welcome and goodbye");
    pair.close(B, b);
    pair.send(A, a, "is anybody there?");
    pair.run_for(Duration::from_millis(200));
    assert!(pair[B].channels.stats().drops.count(ChannelDropReason::AfterClose) >= 1);
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(texts(&pair.recv_all(A, a)), ["welcome and goodbye"]);
    assert_eq!(pair.state(A, a), Some(ReadyState::Open));
}

#[test]
fn a_channel_on_a_stream_that_cannot_be_answered_on_is_reported() {
    let mut setup = Setup::default();
    // A may send on 100 streams and takes 4.
    setup = setup.sctp(|config| (config.inbound_streams, config.outbound_streams) = (100, 100));
    setup.sctp[0].inbound_streams = 4;
    let mut pair = Pair::connected_with(setup);
    let reports = std::rc::Rc::new(Cell::new(0));
    let count = std::rc::Rc::clone(&reports);
    pair.network(move |packet| {
        count.set(count.get() + usize::from(packet.from == B && packet.has(ERROR)));
        Fate::Deliver
    });
    let (now, options) = (pair.now, narrowboat_sctp::SendOptions::default());
    let open = b"\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    pair[A].association.send(now, StreamId(50), narrowboat_sctp::Ppid(50), (&open[..]).into(), options).unwrap();
    pair.turn(A);
    pair.run();
    // A grants no more than it has told.
    let incoming = pair.incoming(B);
    let error = ChannelError::NoSuchStream { stream: 50, streams: 4 };
    assert_eq!(pair.closed(B, incoming), Some(Some(error)));
    assert_eq!(reports.get(), 1);
    // Data without a channel is worth no request.
    pair[A].association.send(now, StreamId(51), narrowboat_sctp::Ppid(51), "data".into(), options).unwrap();
    pair.turn(A);
    pair.run();
    assert_eq!(pair[B].channels.stats().drops.count(ChannelDropReason::NoSuchStream), 1);
    assert_eq!(reports.get(), 2);
}
