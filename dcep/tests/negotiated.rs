//! Negotiated channels of which one end is made later than the other, or never (RFC 8831 §6.5, RFC 8832 §6).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{
    ChannelDropReason, ChannelError, ChannelId, ChannelSendError, ChannelsEvent, Message, OpenError, ReadyState,
};
use narrowboat_sctp::StreamId;
use pair::packet::ERROR;
use pair::{A, B, Fate, Pair, negotiated, texts};

const STREAM: u16 = 7;

/// Bytes in a message; seven of them are more than is held for a channel to come, and six with all fragments are not.
const LEN: usize = 9_500;

fn message() -> Message {
    Message::from(vec![0; LEN])
}

/// A makes its end and sends so many messages. Those that it cannot send any more are not counted.
fn send_before_the_peer_is_ready(pair: &mut Pair, messages: usize) -> ChannelId {
    let id = pair.open(A, negotiated(STREAM));
    for _ in 0..messages {
        let sent = pair.try_send(A, id, message());
        assert!(matches!(sent, Ok(()) | Err(ChannelSendError::NotOpen(_))), "{sent:?}");
        pair.run_for(Duration::from_millis(1));
    }
    id
}

#[test]
fn more_than_is_held_for_a_channel_to_come_ends_it_at_both_ends() {
    // The sender is in the middle of it, or has sent everything.
    for messages in [7, 8, 100, 400] {
        let mut pair = Pair::connected();
        let a = send_before_the_peer_is_ready(&mut pair, messages);
        pair.run();
        assert_eq!(pair.closed(A, a), Some(Some(ChannelError::NotMade)), "{messages} messages");
        assert_eq!(pair[A].events.iter().filter(|event| **event == ChannelsEvent::Closing(a)).count(), 1);
        assert!(pair[B].channels.stats().drops.count(ChannelDropReason::Unclaimed) >= 7);
        assert_eq!(pair[B].events, [], "nobody at B knows of a channel");
        // B's application learns of it when it makes its end after all.
        assert_eq!(pair.try_open(B, negotiated(STREAM)), Err(OpenError::MessagesLost(STREAM)));
        pair.run();
        pair.assert_negotiated_works(STREAM);
    }
}

#[test]
fn an_end_that_is_made_before_too_much_came_gets_everything() {
    for messages in [1, 6] {
        let mut pair = Pair::connected();
        let a = send_before_the_peer_is_ready(&mut pair, messages);
        pair.run();
        let b = pair.open(B, negotiated(STREAM));
        for _ in 0..20 {
            pair.send(A, a, message());
        }
        pair.run();
        assert_eq!(pair.recv_all(B, b).len(), messages + 20);
        assert_eq!([pair.state(A, a), pair.state(B, b)], [Some(ReadyState::Open); 2]);
    }
}

#[test]
fn an_end_that_is_made_while_the_other_is_being_closed_waits_for_it() {
    let mut pair = Pair::connected();
    pair.network(|packet| if packet.from == A && packet.has_reset_request() { Fate::Drop } else { Fate::Deliver });
    let a = send_before_the_peer_is_ready(&mut pair, 100);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing));
    assert_eq!(pair.try_open(B, negotiated(STREAM)), Err(OpenError::MessagesLost(STREAM)));
    assert_eq!(pair.try_open(B, negotiated(STREAM)), Err(OpenError::IdInUse(STREAM)));
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.closed(A, a), Some(Some(ChannelError::NotMade)));
    pair.run();
    pair.assert_negotiated_works(STREAM);
}

#[test]
fn an_end_that_is_made_after_the_other_has_closed_learns_that_it_missed_something() {
    let mut pair = Pair::connected();
    let a = pair.open(A, negotiated(STREAM));
    pair.send(A, a, "is anybody there?");
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.closed(A, a), Some(None), "its own application closed it");
    assert_eq!(pair.try_open(B, negotiated(STREAM)), Err(OpenError::MessagesLost(STREAM)));
    pair.run();
    pair.assert_negotiated_works(STREAM);
}

/// The lost messages belonged to a channel that has ended at the peer. A later channel of that id works.
#[test]
fn what_was_lost_is_forgotten_when_the_peer_uses_the_stream_again() {
    let mut pair = Pair::connected();
    send_before_the_peer_is_ready(&mut pair, 100);
    pair.run();
    let a = pair.open(A, negotiated(STREAM));
    pair.send(A, a, "once more");
    pair.run();
    let b = pair.open(B, negotiated(STREAM));
    assert_eq!(texts(&pair.recv_all(B, b)), ["once more"]);
}

/// The report is sent once. The reset is not lost, so both ends end all the same.
#[test]
fn a_channel_ends_at_both_ends_though_the_report_is_lost() {
    let mut pair = Pair::connected();
    pair.network(|packet| match packet.has(ERROR) {
        true => packet.without(ERROR).map_or(Fate::Drop, Fate::Replace),
        false => Fate::Deliver,
    });
    let a = send_before_the_peer_is_ready(&mut pair, 400);
    pair.run();
    let closed = pair.closed(A, a);
    assert!(matches!(closed, Some(None | Some(ChannelError::PeerClosed { .. }))), "{closed:?}");
    assert_eq!(pair.try_open(B, negotiated(STREAM)), Err(OpenError::MessagesLost(STREAM)));
    pair.run();
    pair.assert_negotiated_works(STREAM);
}

/// An end that has been heard has a channel, whatever a report says that somebody has made up.
#[test]
fn a_report_does_nothing_to_a_channel_that_the_peer_has_used() {
    let mut pair = Pair::connected();
    let [a, b] = [A, B].map(|side| pair.open(side, negotiated(STREAM)));
    pair.send(A, a, "well");
    pair.send(B, b, "well");
    pair.run();
    let (in_band, _) = pair.channel();
    for stream in [STREAM, pair.stream(A, in_band), 1_000] {
        pair[B].association.report_invalid_stream(StreamId(stream));
    }
    pair.turn(B);
    pair.run();
    assert_eq!([a, in_band].map(|id| pair.state(A, id)), [Some(ReadyState::Open); 2]);
}
