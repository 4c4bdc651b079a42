//! Shutdown and abort, from either end.

use std::time::Duration;

use bytes::Bytes;
use narrowboat_peers::{End, Fate};

use crate::world::{OURS, Run, THEIRS, World, payload};

const BOTH_GRACEFUL: [Option<bool>; 2] = [Some(true); 2];

/// Above this much loss the last SHUTDOWN COMPLETE may well be lost, and the end that waits for it gives up in its own
/// way.
const LOSS_MAX: f64 = 0.05;

fn runs() -> impl Iterator<Item = Run> {
    Run::all(2).into_iter().filter(|run| run.loss < LOSS_MAX)
}

fn letters() -> Vec<Bytes> {
    (0..20).map(|number| payload(number, 30_000)).collect()
}

/// Both ends know that it is over. Returns whether it was graceful for each.
fn end(world: &mut World) -> [Option<bool>; 2] {
    world.wait("both ends to be closed", |world| End::BOTH.iter().all(|&end| world.closed(end).is_some()));
    End::BOTH.map(|end| world.closed(end))
}

/// Checks that what this end has accepted arrives although an end shuts down at once.
fn our_letters_arrive_in_spite_of_a_shutdown(world: &mut World, by: End) {
    for letter in &letters() {
        world.send_plainly(OURS, 1, letter);
    }
    world.shutdown(by);
    assert_eq!(end(world), BOTH_GRACEFUL, "{}", world.story());
    assert!(world.messages(THEIRS, 1) == letters(), "{}", world.story());
}

#[test]
fn our_shutdown_delivers_what_was_accepted_and_is_graceful_at_both_ends() {
    for run in runs() {
        let mut world = World::connected(run);
        our_letters_arrive_in_spite_of_a_shutdown(&mut world, OURS);
    }
}

/// The peer shuts down as soon as it waits for no acknowledgement, even if it has more to send; so it is let finish
/// first.
#[test]
fn their_shutdown_is_graceful_at_both_ends() {
    for run in runs() {
        let mut world = World::connected(run);
        let letters = letters();
        for letter in &letters {
            world.send_plainly(THEIRS, 1, letter);
        }
        world.wait("the messages", |world| world.messages(OURS, 1).len() == letters.len());
        world.shutdown(THEIRS);
        assert_eq!(end(&mut world), BOTH_GRACEFUL, "{}", world.story());
        assert!(world.messages(OURS, 1) == letters, "{}", world.story());
    }
}

#[test]
fn their_shutdown_loses_nothing_that_was_accepted_here() {
    for run in runs() {
        let mut world = World::connected(run);
        our_letters_arrive_in_spite_of_a_shutdown(&mut world, THEIRS);
    }
}

#[test]
fn both_ends_may_shut_down_at_once() {
    for run in runs() {
        let mut world = World::connected(run);
        world.send_plainly(OURS, 1, &payload(0, 100_000));
        End::BOTH.iter().for_each(|&end| world.shutdown(end));
        assert_eq!(end(&mut world), BOTH_GRACEFUL, "{}", world.story());
        assert!(world.messages(THEIRS, 1) == [payload(0, 100_000)], "{}", world.story());
    }
}

#[test]
fn an_abort_ends_both_ends_at_once_and_not_gracefully() {
    for run in Run::all(0) {
        for end in End::BOTH {
            let mut world = World::connected(run);
            world.send_plainly(end, 1, &payload(0, 200_000));
            world.pass(Duration::from_millis(30));
            let from = world.now();
            world.abort(end);
            world.wait("the other end to be closed", |world| world.closed(end.other()).is_some());
            assert!(world.now() - from < Duration::from_millis(100), "{}", world.story());
            assert_eq!(world.closed(end.other()), Some(false), "{end:?} aborted; {}", world.story());
            assert!(world.try_send(OURS, 1, &payload(0, 1)).is_err());
        }
    }
}

#[test]
fn a_peer_that_falls_silent_is_noticed() {
    let mut world = World::connected(Run::clean());
    world.send_plainly(OURS, 1, &payload(0, 10_000));
    world.set_censor(THEIRS, Some(Box::new(|_| Fate::Drop)));
    world.wait("this end to notice", |world| world.closed(OURS).is_some());
    assert_eq!(world.closed(OURS), Some(false), "{}", world.story());
}
