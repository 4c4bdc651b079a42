//! Messages of every size, order and reliability, both ways at once.

use std::time::Duration;

use bytes::Bytes;
use narrowboat_peers::{End, Fate, Refusal, Reliability, SendOptions, StreamId};

use crate::world::{OURS, ROUND_TRIP, Run, THEIRS, World, payload};

/// Around one fragment, around one packet, many fragments, and nearly the peer's limit.
const SIZES: [usize; 12] = [1, 2, 3, 4, 1_171, 1_172, 1_173, 1_200, 2_345, 16_384, 65_536, 250_000];

const STREAMS: [StreamId; 3] = [0, 1, 65_534];

const UNORDERED: SendOptions = SendOptions { unordered: true, reliability: Reliability::Reliable };

/// A message of each size for a stream of an end, unlike all others.
fn letters(end: End, stream: StreamId) -> Vec<Bytes> {
    let first = u64::from(stream) * 1_000 + if end == OURS { 0 } else { 500 };
    (first..).zip(SIZES).map(|(number, size)| payload(number, size)).collect()
}

fn sorted(mut messages: Vec<Bytes>) -> Vec<Bytes> {
    messages.sort();
    messages
}

#[test]
fn ordered_messages_of_every_size_arrive_in_order_in_both_directions() {
    for run in Run::all(1) {
        let mut world = World::connected(run);
        // Streams take turns, so that they are in each other's way.
        for index in 0..SIZES.len() {
            for (end, stream) in End::BOTH.into_iter().flat_map(|end| STREAMS.map(|stream| (end, stream))) {
                world.send_plainly(end, stream, &letters(end, stream)[index]);
            }
        }
        let expected = STREAMS.len() * SIZES.len();
        let arrived =
            |world: &World, end| STREAMS.iter().map(|&stream| world.messages(end, stream).len()).sum::<usize>();
        world.wait("all messages", |world| End::BOTH.iter().all(|&end| arrived(world, end) >= expected));
        world.pass(Duration::from_secs(5));
        for (end, stream) in End::BOTH.into_iter().flat_map(|end| STREAMS.map(|stream| (end, stream))) {
            let expected = letters(end.other(), stream);
            assert!(world.messages(end, stream) == expected, "at {end:?} on {stream}; {}", world.story());
        }
    }
}

#[test]
fn unordered_messages_arrive_once_each() {
    for run in Run::all(1) {
        let mut world = World::connected(run);
        for (end, stream) in End::BOTH.into_iter().flat_map(|end| STREAMS.map(|stream| (end, stream))) {
            for letter in letters(end, stream) {
                world.send(end, stream, &letter, UNORDERED);
            }
        }
        let all_there = |world: &World| {
            End::BOTH.iter().all(|&end| STREAMS.iter().all(|&stream| world.messages(end, stream).len() >= SIZES.len()))
        };
        world.wait("all messages", all_there);
        world.pass(Duration::from_secs(5));
        for (end, stream) in End::BOTH.into_iter().flat_map(|end| STREAMS.map(|stream| (end, stream))) {
            let expected = sorted(letters(end.other(), stream));
            assert!(
                sorted(world.messages(end, stream).to_vec()) == expected,
                "at {end:?} on {stream}; {}",
                world.story()
            );
        }
    }
}

#[test]
fn messages_sent_before_the_handshake_is_done_arrive() {
    for run in Run::all(3) {
        let mut world = World::new(run);
        for (end, letter) in End::BOTH.into_iter().flat_map(|end| letters(end, 1).into_iter().map(move |it| (end, it)))
        {
            world.send_plainly(end, 1, &letter);
        }
        world.wait("all messages", |world| End::BOTH.iter().all(|&end| world.messages(end, 1).len() >= SIZES.len()));
        for end in End::BOTH {
            assert!(world.messages(end, 1) == letters(end.other(), 1), "at {end:?}; {}", world.story());
        }
    }
}

#[test]
fn more_than_the_send_buffer_and_the_window_hold_goes_through() {
    const BYTES: usize = 12 << 20;
    const SIZE: usize = 64 << 10;
    for end in End::BOTH {
        let mut world = World::connected(Run::clean());
        let mut sent = 0;
        while sent < BYTES / SIZE {
            match world.try_send(end, 3, &payload(sent as u64, SIZE)) {
                Ok(()) => sent += 1,
                Err(Refusal::Full) => world.pass(Duration::from_millis(10)),
                Err(Refusal::Failed(error)) => panic!("{end:?} could not send: {error}; {}", world.story()),
            }
        }
        world.wait("all messages", |world| world.messages(end.other(), 3).len() == sent);
        let expected: Vec<Bytes> = (0..sent as u64).map(|number| payload(number, SIZE)).collect();
        assert!(world.messages(end.other(), 3) == expected, "messages differ; {}", world.story());
    }
}

/// Sends a row of messages that may be abandoned, then one that may not, and returns how many of the first arrived.
fn give_up(run: Run, end: End, size: usize, options: SendOptions) -> usize {
    const COUNT: usize = 100;
    // With this pause, data in flight fits the first congestion window, and no message expires on a clean path.
    let pause = Duration::from_millis(if size > 1_000 { 50 } else { 3 });
    let mut world = World::connected(run);
    let last = payload(COUNT as u64, 10);
    for number in 0..COUNT as u64 {
        world.send(end, 2, &payload(number, size), options);
        // The same at the same time on a stream that must not lose anything.
        world.send_plainly(end, 4, &payload(number, 50));
        world.pass(pause);
    }
    world.pass(Duration::from_secs(2));
    world.send_plainly(end, 2, &last);
    world.wait("the last message", |world| world.messages(end.other(), 2).last() == Some(&last));
    world.wait("the reliable stream", |world| world.messages(end.other(), 4).len() == COUNT);
    let mut arrived = world.messages(end.other(), 2).to_vec();
    arrived.pop();
    let numbers: Vec<u64> = arrived
        .iter()
        .map(|message| (0..COUNT as u64).find(|&number| payload(number, size) == *message))
        .map(|number| number.unwrap_or_else(|| panic!("a message that nobody sent; {}", world.story())))
        .collect();
    let mut unique = numbers.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), numbers.len(), "a message came twice; {}", world.story());
    if !options.unordered {
        assert_eq!(unique, numbers, "messages came out of order; {}", world.story());
    }
    let reliable: Vec<Bytes> = (0..COUNT as u64).map(|number| payload(number, 50)).collect();
    assert!(world.messages(end.other(), 4) == reliable, "{}", world.story());
    numbers.len()
}

#[test]
fn messages_that_are_given_up_leave_the_rest_alone() {
    let given_up_at_once = Reliability::MaxRetransmits(0);
    let given_up_in_time = Reliability::MaxLifetime(Duration::from_millis(30));
    for (end, run) in End::BOTH.into_iter().flat_map(|end| Run::all(1).into_iter().map(move |run| (end, run))) {
        for (unordered, reliability) in
            [(false, given_up_at_once), (true, given_up_at_once), (false, given_up_in_time), (true, given_up_in_time)]
        {
            let options = SendOptions { unordered, reliability };
            // The peer forgets the rest of a message that expires half sent: it sends no FORWARD-TSN for it, and the
            // next message follows fragments that have no end. Of its messages with a lifetime, only short ones make
            // sense.
            let is_broken = end == THEIRS && reliability == given_up_in_time;
            for size in if is_broken { &[100][..] } else { &[100, 5_000] }.iter().copied() {
                let arrived = give_up(run, end, size, options);
                let context = format!("{arrived} of 100 from {end:?}, {size} B, {options:?}, {run:?}");
                if run.loss == 0.0 {
                    assert_eq!(arrived, 100, "{context}");
                }
                if run.loss >= 0.1 {
                    assert!(arrived < 100, "nothing was given up: {context}");
                }
                assert!(arrived > 10, "too much was given up: {context}");
            }
        }
    }
}

/// A FORWARD-TSN of ours passes several gaps at once. `dcsctp` discards what has arrived up to the last number that is
/// named, so that each gap has to be named.
#[test]
fn messages_that_arrive_between_abandoned_ones_are_delivered_in_order() {
    let options = SendOptions { unordered: false, reliability: Reliability::MaxRetransmits(0) };
    for period in [2, 3, 5] {
        let mut world = World::connected(Run::clean());
        world.pass(Duration::from_secs(1));
        // Packets with a message are large. Some are lost, but not the last ones, by which the loss is found.
        let mut number = 0;
        let censor = move |datagram: &[u8]| {
            number += u64::from(datagram.len() > 900);
            if datagram.len() > 900 && number < 7 && number % period == 1 { Fate::Drop } else { Fate::Pass }
        };
        world.set_censor(OURS, Some(Box::new(censor)));
        let messages: Vec<Bytes> = (0..10).map(|number| payload(number, 1_000)).collect();
        messages.iter().for_each(|message| world.send(OURS, 2, message, options));
        let begun = world.now();
        let expected: Vec<Bytes> = (1..)
            .zip(&messages)
            .filter(|(number, _)| *number >= 7 || number % period != 1)
            .map(|(_, m)| m.clone())
            .collect();
        world.wait("the messages that were not lost", |world| world.messages(THEIRS, 2).len() == expected.len());
        assert_eq!(world.messages(THEIRS, 2), expected, "{}", world.story());
        let time = world.now() - begun;
        assert!(time <= 3 * ROUND_TRIP, "every {period}th lost: {time:?}");
    }
}

#[test]
fn a_message_above_the_limit_is_refused_and_the_association_lives_on() {
    let mut world = World::connected(Run::clean());
    for end in [OURS, THEIRS] {
        let refused = world.try_send(end, 0, &payload(0, (256 << 10) + 1));
        assert!(matches!(refused, Err(Refusal::Failed(_))), "{refused:?}");
        world.send_plainly(end, 0, &payload(1, 256 << 10));
    }
    world.wait("the messages", |world| End::BOTH.iter().all(|&end| world.messages(end, 0) == [payload(1, 256 << 10)]));
}
