//! Two ends may believe different things of a stream: an answer was altered on its way, or the peer resets what nobody
//! uses. Resets that answer resets come to an end all the same (RFC 8831 §6.7). Each test bears the id of its row in
//! the list of attacks.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use narrowboat_dcep::{ChannelDropReason, ChannelId, ChannelsEvent, ReadyState};
use narrowboat_sctp::StreamId;
use pair::{A, B, Fate, Pair, Side, negotiated};

const STREAM: u16 = 5;
const MINUTE: Duration = Duration::from_secs(60);

/// Reset requests that an end has sent; those that were repeated under the same number count once.
fn requests(pair: &Pair, side: Side) -> usize {
    let packets = pair.log.as_ref().unwrap().iter().filter(|packet| packet.from == side);
    let mut numbers: Vec<u32> = packets.flat_map(|packet| packet.reset_request_numbers()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// A pair whose ends have made the negotiated channel, or not.
fn pair_with(made: [bool; 2]) -> (Pair, Vec<(Side, ChannelId)>) {
    let mut pair = Pair::connected();
    let sides = [A, B].into_iter().zip(made).filter(|(_, made)| *made);
    let channels: Vec<_> = sides.map(|(side, _)| (side, pair.open(side, negotiated(STREAM)))).collect();
    pair.run();
    pair.clear_events();
    pair.log = Some(Vec::new());
    (pair, channels)
}

/// The id serves a new channel at both ends.
fn assert_usable_again(pair: &mut Pair) {
    pair.run_for(MINUTE);
    pair.clear_events();
    let [a, b] = pair.assert_negotiated_works(STREAM);
    pair.close(A, a);
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
}

#[test]
fn g13_a_reset_that_one_end_starts_alone_ends_whatever_either_end_believes() {
    for made in [[false, false], [true, false], [false, true], [true, true]] {
        for starter in [A, B] {
            let (mut pair, channels) = pair_with(made);
            // The channels of this end have not asked for it, so they do not know of it.
            let now = pair.now;
            pair[starter].association.reset_streams(now, &[StreamId(STREAM)]).unwrap();
            pair.turn(starter);
            pair.run_for(MINUTE);
            // At most that of closing, and one answer.
            let counts = [A, B].map(|side| requests(&pair, side) - usize::from(side == starter));
            assert!(counts.iter().all(|count| *count <= 2), "{made:?}, {starter:?} starts: {counts:?} requests");
            let is_answered = channels.iter().any(|(side, _)| *side != starter) || channels.is_empty();
            for (side, id) in channels {
                // The starter's channel learns of it if the other end answers.
                if side != starter || is_answered {
                    assert_eq!(pair.closed(side, id), Some(None), "{made:?}, {starter:?} starts");
                } else {
                    pair.close(side, id);
                }
            }
            assert_usable_again(&mut pair);
        }
    }
}

/// Spoils the first answer of this side to a reset.
fn spoil_an_answer(pair: &mut Pair, of: Side, result: u32) {
    let is_spoilt = Cell::new(false);
    pair.network(move |packet| {
        if packet.from == of && packet.has_reset_answer() && !is_spoilt.replace(true) {
            return Fate::Replace(packet.with_reset_result(result));
        }
        Fate::Deliver
    });
}

#[test]
fn g13_resets_end_after_an_answer_that_was_altered() {
    for made in [[true, false], [false, true], [true, true]] {
        for result in 0..8 {
            for closers in [&[A][..], &[B], &[A, B]] {
                for spoilt in [A, B] {
                    let (mut pair, channels) = pair_with(made);
                    spoil_an_answer(&mut pair, spoilt, result);
                    for (side, id) in channels.iter().filter(|(side, _)| closers.contains(side)) {
                        pair.close(*side, *id);
                    }
                    pair.run_for(MINUTE);
                    let counts = [A, B].map(|side| requests(&pair, side));
                    let case = format!("{made:?}, {closers:?} closes, {spoilt:?}'s answer is {result}: {counts:?}");
                    // The close, the request after the refusal, and at most one answer to what the peer makes of it.
                    assert!(counts.iter().all(|count| *count <= 3), "{case}");
                    for (side, id) in channels {
                        if pair.state(side, id) == Some(ReadyState::Open) {
                            pair.close(side, id);
                            pair.run();
                        }
                        assert_eq!(pair.closed(side, id), Some(None), "{case}");
                    }
                    assert_usable_again(&mut pair);
                }
            }
        }
    }
}

#[test]
fn g13_a_peer_that_answers_each_reset_with_a_reset_is_answered_once() {
    for made in [[false, false], [true, false]] {
        let (mut pair, channels) = pair_with(made);
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        pair.network(move |packet| {
            count.set(count.get() + usize::from(packet.from == A && packet.has_reset_request()));
            Fate::Deliver
        });
        let mirror = |pair: &mut Pair| {
            let now = pair.now;
            pair[B].association.reset_streams(now, &[StreamId(STREAM)]).unwrap();
            pair.turn(B);
        };
        mirror(&mut pair);
        let end = pair.now + MINUTE;
        let mut mirrored = 0;
        while pair.step(end) {
            if seen.get() > mirrored {
                mirrored = seen.get();
                pair.run_for(Duration::from_millis(50));
                mirror(&mut pair);
            }
        }
        assert!(requests(&pair, A) <= 2, "{made:?}: {} requests", requests(&pair, A));
        assert!(channels.iter().all(|(side, id)| pair.closed(*side, *id) == Some(None)));
        assert!(pair[A].channels.stats().drops.count(ChannelDropReason::RepeatedReset) > 0);
        assert_usable_again(&mut pair);
    }
}

/// Which the peer may do for good reasons: its application makes a negotiated channel, and nobody makes the other end.
#[test]
fn a_channel_of_the_peer_alone_closes_again_and_again() {
    let mut pair = Pair::connected();
    for round in 0..4 {
        let id = pair.open(B, negotiated(STREAM));
        if round % 2 == 0 {
            pair.send(B, id, "is anybody there?");
        }
        pair.close(B, id);
        pair.run_for(Duration::from_secs(if round == 2 { 1 } else { 25 }));
        assert_eq!(pair.closed(B, id), Some(None), "round {round}");
        pair.forget(B, id);
    }
    assert!(!pair[A].events.iter().any(|event| matches!(event, ChannelsEvent::Incoming(_))));
    pair.assert_nothing_left();
}
