//! Stream resets from either end, and ids that serve again.

use std::time::Duration;

use bytes::Bytes;
use narrowboat_peers::{End, Fate, StreamId};

use crate::world::{Entry, OURS, ROUND_TRIP, Run, THEIRS, World, payload};

const STREAM: StreamId = 5;

/// Offset of the type of a packet's first chunk, after the common header.
const FIRST_CHUNK_TYPE: usize = 12;
const DATA: [u8; 2] = [0, 64];
const RE_CONFIG: u8 = 130;

/// The end that resets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    One(End),
    Both,
}

fn performed(stream: StreamId) -> Entry {
    Entry::OutgoingReset { stream, error: None }
}

/// Both directions of the stream have been reset so often at both ends.
fn are_reset(world: &World, stream: StreamId, times: usize) -> bool {
    End::BOTH.iter().all(|&end| {
        world.count(end, &Entry::IncomingReset(stream)) >= times && world.count(end, &performed(stream)) >= times
    })
}

/// One life of a stream: a few messages each way, so that its SSN is not 0 any more, then resets.
fn live_and_reset(world: &mut World, life: usize, first: First) {
    const MESSAGES: usize = 4;
    let letters = |end: End| -> Vec<Bytes> {
        let number = (life * 100) as u64 + if end == OURS { 0 } else { 50 };
        (number..).take(MESSAGES).enumerate().map(|(index, number)| payload(number, 1 + index * 900)).collect()
    };
    for index in 0..MESSAGES {
        for end in End::BOTH {
            world.send_plainly(end, STREAM, &letters(end)[index]);
        }
    }
    let arrived = (life + 1) * MESSAGES;
    world.wait("the messages of this life", |world| {
        End::BOTH.iter().all(|&end| world.messages(end, STREAM).len() == arrived)
    });
    for end in End::BOTH {
        let got = &world.messages(end, STREAM)[life * MESSAGES..];
        assert!(got == letters(end.other()), "life {life}; {}", world.story());
    }
    match first {
        First::Both => End::BOTH.iter().for_each(|&end| world.reset(end, STREAM)),
        First::One(end) => {
            world.reset(end, STREAM);
            world.wait("the reset to arrive", |world| {
                world.count(end.other(), &Entry::IncomingReset(STREAM)) == life + 1
            });
            world.reset(end.other(), STREAM);
        }
    }
    world.wait("both directions to be reset", |world| are_reset(world, STREAM, life + 1));
}

#[test]
fn a_stream_that_was_reset_serves_again_from_its_first_ssn() {
    const LIVES: usize = 12;
    for run in Run::all(2) {
        for first in [First::One(OURS), First::One(THEIRS), First::Both] {
            let mut world = World::connected(run);
            for life in 0..LIVES {
                live_and_reset(&mut world, life, first);
            }
            world.pass(Duration::from_secs(5));
            for end in End::BOTH {
                let counts = (world.count(end, &Entry::IncomingReset(STREAM)), world.count(end, &performed(STREAM)));
                assert_eq!(counts, (LIVES, LIVES), "resets at {end:?}, {first:?} first; {}", world.story());
            }
        }
    }
}

#[test]
fn messages_accepted_before_a_reset_arrive_before_it() {
    for run in Run::all(2) {
        let mut world = World::connected(run);
        let letters: Vec<Bytes> = (0..30).map(|number| payload(number, 20_000)).collect();
        for letter in &letters {
            world.send_plainly(OURS, STREAM, letter);
        }
        world.reset(OURS, STREAM);
        assert!(world.try_send(OURS, STREAM, &letters[0]).is_err(), "a stream that is being reset takes nothing");
        world.wait("the reset to arrive", |world| world.count(THEIRS, &Entry::IncomingReset(STREAM)) == 1);
        assert!(world.messages(THEIRS, STREAM) == letters, "{}", world.story());
        world.wait("the answer", |world| world.count(OURS, &performed(STREAM)) == 1);
        world.send_plainly(OURS, STREAM, &letters[0]);
        world.wait("a message of the next life", |world| world.messages(THEIRS, STREAM).len() == letters.len() + 1);
    }
}

#[test]
fn many_streams_are_reset_at_once() {
    const COUNT: u16 = 300;
    for run in Run::all(1) {
        for end in End::BOTH {
            let mut world = World::connected(run);
            for stream in 0..COUNT {
                world.send_plainly(end, stream, &payload(u64::from(stream), 100));
            }
            world.wait("the messages", |world| (0..COUNT).all(|stream| world.messages(end.other(), stream).len() == 1));
            for stream in 0..COUNT {
                world.reset(end, stream);
            }
            world.wait("all resets", |world| {
                (0..COUNT).all(|stream| {
                    world.count(end, &performed(stream)) == 1
                        && world.count(end.other(), &Entry::IncomingReset(stream)) == 1
                })
            });
            for stream in 0..COUNT {
                world.send_plainly(end, stream, &payload(u64::from(stream) + 1_000, 100));
            }
            world.wait("messages of the next lives", |world| {
                (0..COUNT).all(|stream| world.messages(end.other(), stream).len() == 2)
            });
        }
    }
}

/// Holds DATA back for longer than the request needs, so that the request comes first and is answered 'in progress'.
fn hold_data(datagram: &[u8]) -> Fate {
    if DATA.contains(&datagram[FIRST_CHUNK_TYPE]) { Fate::Hold(ROUND_TRIP) } else { Fate::Pass }
}

/// Has bulk data under way on one stream, closes another, and returns how long the reset took for the end that asked
/// and for its peer.
fn reset_amid_bulk(end: End, bulk: usize) -> (Duration, Duration) {
    const BULK: StreamId = 1;
    let mut world = World::connected(Run::clean());
    world.send_plainly(end, STREAM, &payload(1, 100));
    world.wait("the message", |world| world.messages(end.other(), STREAM).len() == 1);
    world.pass(ROUND_TRIP);
    world.set_censor(end, Some(Box::new(hold_data)));
    for number in 0..bulk as u64 {
        world.send_plainly(end, BULK, &payload(number, 10_000));
    }
    let from = world.now();
    world.reset(end, STREAM);
    world.wait("the reset to arrive", |world| world.count(end.other(), &Entry::IncomingReset(STREAM)) == 1);
    let arrived = world.now() - from;
    world.wait("the answer", |world| world.count(end, &performed(STREAM)) == 1);
    let answered = world.now() - from;
    world.wait("the bulk", |world| world.messages(end.other(), BULK).len() == bulk);
    (answered, arrived)
}

#[test]
fn a_close_amid_bulk_data_of_another_stream_costs_no_retransmission_timeout() {
    // The request is answered "in progress", because the data before it is still in flight. All of the data arrives two
    // round trips after it was sent, and a retransmission of the request takes one more. The least RTO of either stack
    // is ten round trips.
    for bulk in [1, 10, 100] {
        let (answered, arrived) = reset_amid_bulk(OURS, bulk);
        assert!(arrived <= 4 * ROUND_TRIP, "with {bulk} messages the reset arrived after {arrived:?}");
        assert!(answered <= 5 * ROUND_TRIP, "with {bulk} messages the reset was answered after {answered:?}");
    }
}

#[test]
fn a_peers_close_amid_bulk_data_is_performed_as_soon_as_the_data_is_there() {
    for bulk in [1, 10, 100] {
        let (answered, arrived) = reset_amid_bulk(THEIRS, bulk);
        assert!(arrived <= 4 * ROUND_TRIP, "with {bulk} messages the reset arrived after {arrived:?}");
        assert!(answered <= 5 * ROUND_TRIP, "with {bulk} messages the reset was answered after {answered:?}");
    }
}

#[test]
fn lost_requests_and_answers_are_made_up_for() {
    for end in End::BOTH {
        for lost_from in End::BOTH {
            for lost in 1..=3 {
                let mut world = World::connected(Run::clean());
                world.send_plainly(end, STREAM, &payload(0, 100));
                world.wait("the message", |world| world.messages(end.other(), STREAM).len() == 1);
                world.pass(Duration::from_secs(1));
                let mut left = lost;
                let censor = move |datagram: &[u8]| {
                    if datagram[FIRST_CHUNK_TYPE] != RE_CONFIG || left == 0 {
                        return Fate::Pass;
                    }
                    left -= 1;
                    Fate::Drop
                };
                world.set_censor(lost_from, Some(Box::new(censor)));
                world.reset(end, STREAM);
                world.wait("the reset", |world| {
                    world.count(end, &performed(STREAM)) == 1
                        && world.count(end.other(), &Entry::IncomingReset(STREAM)) == 1
                });
                world.send_plainly(end, STREAM, &payload(1, 100));
                world.wait("a message of the next life", |world| world.messages(end.other(), STREAM).len() == 2);
                world.pass(Duration::from_secs(30));
                let again =
                    (world.count(end, &performed(STREAM)), world.count(end.other(), &Entry::IncomingReset(STREAM)));
                assert_eq!(again, (1, 1), "{end:?} resets, {lost_from:?} loses {lost}; {}", world.story());
            }
        }
    }
}
