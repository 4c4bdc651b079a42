//! Violations by the peer: rows G02 and J01 to J16 of the list of attacks. The peer sends whatever the test says.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_dcep::{
    ChannelDropReason, ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, ControlError,
    ReadyState, Role,
};
use narrowboat_sctp::{Ppid, SendOptions, StreamId};
use pair::{A, B, Fate, Packet, Pair, Setup, negotiated, texts};

/// DATA_CHANNEL_OPEN for a reliable channel with the label "x".
const OPEN: &[u8] = &[3, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x'];
const ACK: &[u8] = &[2];

/// The peer's application puts a message on the wire that its channels know nothing of.
fn raw(pair: &mut Pair, stream: u16, ppid: u32, payload: &[u8]) {
    raw_with(pair, stream, ppid, payload, false);
}

fn raw_with(pair: &mut Pair, stream: u16, ppid: u32, payload: &[u8], unordered: bool) {
    let now = pair.now;
    let options = SendOptions { unordered, ..SendOptions::default() };
    let payload = Bytes::copy_from_slice(payload);
    pair[B].association.send(now, StreamId(stream), Ppid(ppid), payload, options).unwrap();
    pair.turn(B);
}

fn drops(pair: &Pair, reason: ChannelDropReason) -> u64 {
    pair[A].channels.stats().drops.count(reason)
}

/// The peer is refused a channel on a stream: its reset is asked for, no ACK is sent, the application hears nothing.
fn assert_refused(pair: &mut Pair, stream: u16, reason: ChannelDropReason, send: impl FnOnce(&mut Pair)) {
    pair.clear_events();
    let before = drops(pair, reason);
    pair.log = Some(Vec::new());
    send(pair);
    pair.run();
    let log = pair.log.take().unwrap();
    assert!(log.iter().any(|packet| packet.from == A && packet.resets().contains(&stream)), "{stream} is reset");
    assert!(log.iter().filter(|packet| packet.from == A).all(|packet| packet.data().is_empty()), "and no ACK is sent");
    assert_eq!(pair.take_events(A), []);
    assert_eq!(drops(pair, reason), before + 1);
    assert_eq!(pair[A].channels.streams_in_use(), 0, "the peer's reset ends it");
    pair.assert_windows_are_whole(8 << 20);
}

/// A channel ends with this error when the peer does this, and another can be had.
fn assert_closed(error: &ChannelError, reason: ChannelDropReason, act: impl FnOnce(&mut Pair, u16)) {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.send(B, b, "good");
    pair.run();
    pair.clear_events();
    let stream = pair.stream(A, a);
    act(&mut pair, stream);
    raw(&mut pair, stream, 51, b"after");
    pair.run();
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Closing(a), ChannelsEvent::Closed(a, Some(error.clone()))],
        "{error}"
    );
    assert_eq!(drops(&pair, reason), 1, "{error}");
    assert_eq!(drops(&pair, ChannelDropReason::AfterClose), 1, "{error}");
    assert_eq!(texts(&pair.recv_all(A, a)), ["good"], "what came before is still there");
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
    pair.assert_windows_are_whole(8 << 20);
}

/// DATA_CHANNEL_OPEN with the longest label and protocol that the format has (RFC 8832 §5.1).
fn longest_open() -> Vec<u8> {
    let lengths = [0xff; 4];
    [&[3, 0, 1, 0, 0, 0, 0, 0][..], &lengths, &[b'l'; 65_535], &[b'p'; 65_535]].concat()
}

#[test]
fn j02_the_longest_labels_and_protocols_are_taken_up_to_a_bound_of_all_together() {
    let mut pair = Pair::connected();
    let max = narrowboat_dcep::ChannelsConfig::default().peer_label_bytes_max;
    let fit = u16::try_from(max / (2 * 65_535)).unwrap();
    let open = longest_open();
    for n in 0..fit {
        pair.clear_events();
        raw(&mut pair, 2 * n + 1, 50, &open);
        pair.run();
        let [ChannelsEvent::Incoming(id)] = pair.take_events(A)[..] else { panic!("channel {n} was not taken") };
        let options = pair[A].channels.options(id).unwrap();
        assert_eq!((options.label.len(), options.protocol.len()), (65_535, 65_535));
    }
    pair.clear_events();
    let (refused, charged) = (drops(&pair, ChannelDropReason::LimitReached), pair[A].association.memory_charged());
    raw(&mut pair, 2 * fit + 1, 50, &open);
    pair.run();
    assert_eq!(drops(&pair, ChannelDropReason::LimitReached), refused + 1);
    assert_eq!(pair.take_events(A), []);
    assert!(pair[A].association.memory_charged() <= charged, "nothing is kept of a channel that was refused");
    // A short one has room still, and those that were taken live.
    pair.clear_events();
    raw(&mut pair, 2 * fit + 3, 50, OPEN);
    pair.run();
    assert!(matches!(pair.take_events(A)[..], [ChannelsEvent::Incoming(_)]));
    raw(&mut pair, 1, 51, b"alive");
    pair.run();
    assert!(pair.take_events(A).iter().any(|event| matches!(event, ChannelsEvent::Readable(_))));
}

#[test]
fn j01_j03_j04_an_open_that_does_not_parse_is_refused() {
    let mut pair = Pair::connected();
    let mut bad: Vec<Vec<u8>> = (1..OPEN.len()).map(|len| OPEN[..len].to_vec()).collect();
    for (index, value) in [(1, 0x03), (1, 0x7f), (1, 0xff), (8, 1), (9, 2), (11, 1), (12, 0xff)] {
        let mut open = OPEN.to_vec();
        open[index] = value;
        bad.push(open);
    }
    for open in bad {
        assert_refused(&mut pair, 1, ChannelDropReason::BadControl, |pair| raw(pair, 1, 50, &open));
    }
    raw(&mut pair, 1, 50, OPEN);
    pair.run();
    let id = pair.incoming(A);
    assert_eq!(pair[A].channels.options(id).unwrap().label, "x", "the stream is as good as new");
}

#[test]
fn j05_a_second_open_on_a_channel_closes_it_and_brings_no_other() {
    let mut pair = Pair::connected();
    let b = pair.open(B, ChannelOptions::new("x"));
    pair.run();
    let a = pair.incoming(A);
    pair.clear_events();
    raw(&mut pair, 1, 50, OPEN);
    pair.run();
    let error = Some(ChannelError::StreamInUse);
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closing(a), ChannelsEvent::Closed(a, error)]);
    assert_eq!(drops(&pair, ChannelDropReason::StreamInUse), 1);
    assert_eq!(pair.closed(B, b), Some(None));

    let a = pair.open(A, negotiated(3));
    raw(&mut pair, 3, 50, OPEN);
    pair.run();
    assert_eq!(pair.closed(A, a), Some(Some(ChannelError::StreamInUse)), "a negotiated channel has no OPEN");
}

#[test]
fn j06_an_open_on_a_free_id_of_our_parity_makes_a_channel_and_takes_the_id() {
    let mut pair = Pair::connected();
    raw(&mut pair, 6, 50, OPEN);
    pair.run();
    let incoming = pair.incoming(A);
    assert_eq!((pair.stream(A, incoming), pair[A].channels.stats().channels_of_wrong_parity), (6, 1));
    pair.send(A, incoming, "answer");
    let ids: Vec<_> = (0..5).map(|_| pair.open(A, ChannelOptions::new("x"))).collect();
    pair.run();
    let streams: Vec<_> = ids.iter().map(|id| pair.stream(A, *id)).collect();
    assert_eq!(streams, [0, 2, 4, 8, 10], "6 is in use");
    pair.close(A, incoming);
    pair.run();
    assert_eq!(pair.closed(A, incoming), Some(None));
    let again = pair.open(A, negotiated(6));
    assert_eq!(pair.state(A, again), Some(ReadyState::Open), "the id is free again");
    // On an id that this end uses it is a violation.
    raw(&mut pair, 8, 50, OPEN);
    pair.run();
    assert_eq!(pair.closed(A, ids[3]), Some(Some(ChannelError::RoleConflict)));
}

#[test]
fn j07_two_ends_of_the_same_role_find_out_without_cross_talk() {
    let mut pair = Pair::connected_with(Setup { roles: [Role::Client; 2], ..Setup::default() });
    let (a, b) = (pair.open(A, ChannelOptions::new("a")), pair.open(B, ChannelOptions::new("b")));
    pair.send(A, a, "secret of A");
    pair.send(B, b, "secret of B");
    pair.run();
    for (side, id) in [(A, a), (B, b)] {
        assert_eq!(pair.closed(side, id), Some(Some(ChannelError::RoleConflict)));
        assert!(!pair[side].channels.is_readable(id));
        assert_eq!(pair[side].channels.stats().drops.count(ChannelDropReason::RoleConflict), 1);
    }
    // One after the other, their channels get ids of their own.
    pair.clear_events();
    let a = pair.open(A, ChannelOptions::new("alone"));
    pair.run();
    let at_b = pair.incoming(B);
    let b = pair.open(B, ChannelOptions::new("later"));
    pair.send(A, a, "to B");
    pair.send(B, b, "to A");
    pair.run();
    let at_a = pair.incoming(A);
    assert_ne!(pair.stream(A, a), pair.stream(A, at_a));
    assert_eq!([texts(&pair.recv_all(B, at_b)), texts(&pair.recv_all(A, at_a))], [["to B"], ["to A"]]);
    assert_eq!(pair[B].channels.stats().channels_of_wrong_parity, 1);
}

#[test]
fn j08_channels_and_labels_above_the_limit_are_refused() {
    let limits = Setup::default().channels(|config| (config.channels_max, config.peer_label_bytes_max) = (3, 100));
    let mut pair = Pair::connected_with(limits);
    let ids: Vec<_> = (0..2).map(|_| pair.open(B, ChannelOptions::new("l".repeat(50)))).collect();
    pair.run();
    let events = pair.take_events(A);
    let [ChannelsEvent::Incoming(first), ChannelsEvent::Incoming(second)] = events[..] else { panic!("{events:?}") };
    pair.clear_events();
    let long = pair.open(B, ChannelOptions::new("l"));
    pair.run();
    assert_eq!(pair.closed(B, long), Some(Some(ChannelError::Refused)), "the labels' limit");
    pair.forget(B, long);
    let third = pair.open(B, ChannelOptions::default());
    pair.run();
    assert_eq!(pair.state(B, third), Some(ReadyState::Open));
    pair.close(B, third);
    pair.run();
    pair.forget(B, third);
    let fourth = pair.open(B, ChannelOptions::default());
    pair.run();
    let refused = Some(Some(ChannelError::Refused));
    assert_eq!(pair.closed(B, fourth), refused, "a closed one counts until the application lets go of it");
    assert_eq!(drops(&pair, ChannelDropReason::LimitReached), 2);
    // Letting go makes room for both.
    pair.forget(A, first);
    pair.forget(A, second);
    pair.run();
    assert_eq!(pair.closed(B, ids[0]), Some(None));
    pair.forget(B, fourth);
    let fifth = pair.open(B, ChannelOptions::new("l".repeat(100)));
    pair.run();
    assert_eq!(pair.state(B, fifth), Some(ReadyState::Open));
}

#[test]
fn j09_labels_decide_what_is_data_and_unknown_dcep_is_ignored() {
    let mut pair = Pair::connected();
    let (a, _) = pair.channel();
    raw(&mut pair, 0, 51, &OPEN[..11]);
    raw(&mut pair, 0, 53, OPEN);
    pair.run();
    assert_eq!(pair.recv(A, a).unwrap().as_bytes(), &OPEN[..11]);
    assert_eq!(pair.recv(A, a).unwrap().as_bytes(), OPEN);
    for (stream, message) in [(0, &b"hello"[..]), (0, &[1]), (1, b"hello"), (1, &[0])] {
        raw(&mut pair, stream, 50, message);
    }
    raw(&mut pair, 0, 51, b"goes on");
    pair.run();
    assert_eq!(drops(&pair, ChannelDropReason::UnknownControl), 4);
    assert_eq!(texts(&pair.recv_all(A, a)), ["goes on"]);
    assert_eq!((pair.state(A, a), pair[A].channels.streams_in_use()), (Some(ReadyState::Open), 1));
    let cut_short = ChannelError::BadControl(ControlError::OpenTooShort);
    assert_closed(&cut_short, ChannelDropReason::BadControl, |pair, stream| raw(pair, stream, 50, &OPEN[..4]));
}

#[test]
fn j10_an_ack_that_nobody_waits_for_is_ignored_and_counted() {
    let mut pair = Pair::connected();
    raw(&mut pair, 1, 50, ACK);
    raw(&mut pair, 2, 50, ACK);
    pair.run();
    assert_eq!(drops(&pair, ChannelDropReason::UnexpectedAck), 2, "without a channel");
    assert_eq!(pair[A].channels.streams_in_use(), 0);
    let (a, _) = pair.channel();
    raw(&mut pair, 0, 50, ACK);
    pair.run();
    assert_eq!(drops(&pair, ChannelDropReason::UnexpectedAck), 3, "a second time");
    raw(&mut pair, 0, 50, ACK);
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.closed(A, a), Some(None));
    assert_eq!(drops(&pair, ChannelDropReason::UnexpectedAck), 4, "after close");
}

/// pion pads DATA_CHANNEL_ACK to four bytes.
#[test]
fn j10_bytes_behind_an_ack_or_an_open_are_ignored_and_counted() {
    let mut pair = Pair::connected();
    // A peer that acknowledges by hand.
    pair.network(|packet| if packet.from == A && !packet.data().is_empty() { Fate::Drop } else { Fate::Deliver });
    let a = pair.open(A, ChannelOptions::new("to pion").unordered());
    raw(&mut pair, 0, 50, &[2, 0, 0, 0]);
    pair.run();
    assert_eq!((pair.state(A, a), drops(&pair, ChannelDropReason::TrailingBytes)), (Some(ReadyState::Open), 1));
    assert_eq!(drops(&pair, ChannelDropReason::UnexpectedAck), 0, "it was the ACK");

    let mut pair = Pair::connected();
    raw(&mut pair, 1, 50, &[OPEN, &[0, 0, 0]].concat());
    pair.run();
    let id = pair.incoming(A);
    assert_eq!(pair[A].channels.options(id).unwrap().label, "x");
    assert_eq!(drops(&pair, ChannelDropReason::TrailingBytes), 1);
}

#[test]
fn j11_data_before_its_open_is_thrown_away_and_the_stream_reset() {
    let mut pair = Pair::connected();
    raw_with(&mut pair, 1, 51, b"too early", true);
    raw_with(&mut pair, 1, 51, b"too early as well", true);
    pair.run();
    assert_eq!(pair[A].channels.streams_in_use(), 1, "a negotiated channel might follow");
    pair.log = Some(Vec::new());
    raw(&mut pair, 1, 50, OPEN);
    pair.run();
    let log = pair.log.take().unwrap();
    assert!(log.iter().any(|packet| packet.from == A && packet.resets() == [1]));
    assert!(log.iter().filter(|packet| packet.from == A).all(|packet| packet.data().is_empty()), "no ACK");
    assert_eq!(pair.take_events(A), []);
    assert_eq!(drops(&pair, ChannelDropReason::Unclaimed), 3, "the two messages and the OPEN that came too late");
    assert_eq!(pair[A].channels.streams_in_use(), 0);
}

#[test]
fn j11_data_that_nobody_claims_is_bounded() {
    let mut pair = Pair::connected_with(Setup::default().channels(|config| config.unclaimed_bytes_max = 10_000));
    for stream in 20..28 {
        raw(&mut pair, stream, 51, b"held");
    }
    pair.run();
    assert_eq!(pair[A].channels.streams_in_use(), 8);
    raw(&mut pair, 30, 51, b"one stream too many");
    pair.run();
    assert_eq!((drops(&pair, ChannelDropReason::Unclaimed), pair[A].channels.streams_in_use()), (1, 8));
    raw(&mut pair, 20, 53, &[0; 10_000]);
    pair.run();
    assert_eq!(
        (drops(&pair, ChannelDropReason::Unclaimed), pair[A].channels.streams_in_use()),
        (3, 7),
        "too many bytes"
    );
    let claimed = pair.open(A, negotiated(21));
    assert_eq!(texts(&pair.recv_all(A, claimed)), ["held"]);
    assert_refused_label(&mut pair);
    pair.forget(A, claimed);
    for stream in 22..28 {
        let id = pair.open(A, negotiated(stream));
        pair.forget(A, id);
    }
    pair.run();
    pair.assert_windows_are_whole(8 << 20);
}

/// A message on a free stream with a label that data channels do not have is nothing to hold.
fn assert_refused_label(pair: &mut Pair) {
    let before = pair[A].channels.streams_in_use();
    raw(pair, 40, 52, b"partial");
    pair.run();
    assert_eq!(drops(pair, ChannelDropReason::UnsupportedPpid), 1);
    assert_eq!(pair[A].channels.streams_in_use(), before);
}

#[test]
fn j13_messages_on_streams_that_lack_a_way_back_are_thrown_away() {
    let mut setup = Setup::default();
    setup.sctp[0].outbound_streams = 4;
    // The peer cannot be asked for more.
    setup.sctp[0].stream_reset = false;
    let mut pair = Pair::connected_with(setup);
    raw(&mut pair, 5, 50, OPEN);
    raw(&mut pair, 7, 51, b"data");
    pair.run();
    assert_eq!(drops(&pair, ChannelDropReason::NoSuchStream), 2);
    assert_eq!((pair.take_events(A), pair[A].channels.streams_in_use()), (vec![], 0));
    raw(&mut pair, 3, 50, OPEN);
    pair.run();
    pair.incoming(A);
}

#[test]
fn j14_messages_that_no_channel_may_carry_close_it() {
    assert_closed(&ChannelError::BadText, ChannelDropReason::BadText, |pair, stream| {
        raw(pair, stream, 51, &[b'a', 0xff]);
    });
    for ppid in [0, 49, 52, 54, 55, 58, u32::MAX] {
        let error = ChannelError::UnsupportedPpid(ppid);
        assert_closed(&error, ChannelDropReason::UnsupportedPpid, |pair, stream| raw(pair, stream, ppid, b"x"));
    }
    let mut pair = Pair::connected();
    let (a, _) = pair.channel();
    raw(&mut pair, 0, 56, b"ignored \xff");
    raw(&mut pair, 0, 57, &[0; 5000]);
    pair.run();
    assert_eq!(pair.recv_all(A, a), ["".into(), vec![].into()], "empty whatever the payload");
}

#[test]
fn a_message_above_our_limit_closes_its_channel_and_no_other() {
    let mut pair = Pair::connected_with(Setup::default().channels(|config| config.message_size_max = 100));
    let (a, _) = pair.channel();
    let (other, at_b) = pair.channel();
    raw(&mut pair, 0, 53, &[0; 101]);
    pair.run();
    assert_eq!(pair.closed(A, a), Some(Some(ChannelError::MessageTooLarge { len: 101, max: 100 })));
    pair.send(B, at_b, vec![0; 100]);
    pair.run();
    assert_eq!(pair.recv(A, other).unwrap().len(), 100);
}

#[test]
fn j16_what_the_peer_sends_on_after_its_channel_was_let_go_of_is_thrown_away() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    // B's own reset is lost for long, and what it had sent before comes late.
    pair.network(
        |packet: &Packet| if packet.from == A && packet.has_reset_request() { Fate::Deliver } else { keep(packet) },
    );
    pair.send(B, b, "crosses the close");
    pair.forget(A, a);
    pair.run_for(Duration::from_secs(45));
    assert_eq!(pair.try_send(A, a, "x"), Err(ChannelSendError::NotOpen(ReadyState::Closing)));
    assert_eq!(pair[A].channels.stats().drops.count(ChannelDropReason::AfterClose), 1);
    assert_eq!(pair[A].channels.streams_in_use(), 1);
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair[A].channels.streams_in_use(), 0, "the reset came at last");
    assert_eq!(
        pair[A].events.iter().filter(|event| matches!(event, ChannelsEvent::Closed(ChannelId(0), None))).count(),
        1
    );
}

/// Loses the peer's reset requests.
fn keep(packet: &Packet) -> Fate {
    if packet.has_reset_request() { Fate::Drop } else { Fate::Deliver }
}

/// Neither a list of tens of thousands of streams in one request, nor request after request, makes this end hold more
/// than a few hundred streams that nobody uses.
#[test]
fn g02_resets_of_streams_that_were_never_used_are_bounded() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let wanted = Rc::new(RefCell::new((1..32_001).collect::<Vec<u16>>()));
    let named = Rc::clone(&wanted);
    // B's requests are replaced, and A's own resets are "in progress" for ever (RFC 6525 §4.4).
    pair.network(move |packet| {
        let mut packet = packet.clone();
        if packet.from == B && packet.has_reset_request() {
            packet.bytes = packet.with_reset_streams(&named.borrow());
        }
        if packet.from == B && packet.has_reset_answer() {
            packet.bytes = packet.with_reset_result(6);
        }
        Fate::Replace(packet.bytes)
    });
    pair.log = Some(Vec::new());
    let ask = |pair: &mut Pair, stream| {
        pair.log.as_mut().unwrap().clear();
        let kept = allocation_counter::measure(|| {
            let now = pair.now;
            pair[B].association.reset_streams(now, &[stream]).unwrap();
            pair.turn(B);
            pair.run_for(Duration::from_millis(100));
        });
        let log = pair.log.as_ref().unwrap();
        let results: Vec<u32> = log.iter().filter(|packet| packet.from == A).flat_map(Packet::reset_results).collect();
        (kept.bytes_current, results.contains(&1), pair[A].channels.streams_in_use())
    };
    let (kept, is_performed, streams) = ask(&mut pair, StreamId(40_000));
    assert!(!is_performed && streams == 1 && kept < 16_000, "{kept} bytes, {streams} streams");
    // B repeats its request, and now it is a modest one.
    *wanted.borrow_mut() = (1..201).collect();
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair[A].channels.streams_in_use(), 201);
    *wanted.borrow_mut() = (201..401).collect();
    let (kept, is_performed, streams) = ask(&mut pair, StreamId(40_001));
    assert!(!is_performed && streams == 201 && kept < 16_000, "{kept} bytes, {streams} streams");
    pair.send(B, b, "well");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(texts(&pair.recv_all(A, a)), ["well"]);
}

#[test]
fn j08_channels_above_the_limit_are_refused_by_the_hundred_and_end_the_association_by_the_thousand() {
    for (count, is_refused) in [(500, true), (2_000, false)] {
        let mut pair = Pair::connected_with(Setup::default().channels(|config| config.channels_max = 10));
        // The peer does not reset its side, so that each refusal is remembered.
        pair.network(|packet: &Packet| if packet.from == B { keep(packet) } else { Fate::Deliver });
        for index in 0..count {
            raw(&mut pair, 2 * index + 1, 50, OPEN);
        }
        pair.run_for(Duration::from_secs(2));
        let streams = pair[A].channels.streams_in_use();
        if is_refused {
            assert_eq!((streams, drops(&pair, ChannelDropReason::LimitReached)), (500, 490));
            pair.heal();
            pair.run_for(Duration::from_secs(10));
            assert_eq!(pair[A].channels.streams_in_use(), 10, "the peer's resets free what was refused");
        } else {
            assert_eq!(streams, 0);
            assert!(pair[A].association.is_over() && pair[B].association.is_over(), "both ends know");
        }
    }
}

/// Browsers name all the streams that they reset at once in one request. Those of channels that this end has reset
/// before do not count as streams that were never used.
#[test]
fn g02_one_request_may_reset_all_the_channels_that_this_end_has_reset() {
    let mut pair = Pair::connected();
    let channels: Vec<ChannelId> = (0..600).map(|_| pair.channel().0).collect();
    let streams: Vec<u16> = channels.iter().map(|id| pair.stream(A, *id)).collect();
    pair.network(|packet: &Packet| if packet.from == B { keep(packet) } else { Fate::Deliver });
    for id in channels {
        pair.close(A, id);
    }
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair[A].channels.streams_in_use(), 600);
    pair.network(move |packet| match packet.from {
        B if packet.has_reset_request() => Fate::Replace(packet.with_reset_streams(&streams)),
        _ => Fate::Deliver,
    });
    pair.run_for(Duration::from_secs(12));
    let closed = pair[A].events.iter().filter(|event| matches!(event, ChannelsEvent::Closed(_, None))).count();
    assert_eq!(closed, 600);
}
