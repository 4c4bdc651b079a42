//! Shutdown and abort, from either end.

use std::time::Duration;

use bytes::Bytes;
use narrowboat_peers::End;

use crate::world::{OURS, Run, THEIRS, World, payload};

/// Both ends know that it is over.
fn wait_for_the_end(world: &mut World) {
    world.wait("both ends to be closed", |world| End::BOTH.iter().all(|&end| world.closed(end).is_some()));
}

#[test]
fn a_shutdown_delivers_what_was_accepted_and_ends_gracefully_at_both_ends() {
    // Beyond this the last SHUTDOWN COMPLETE may be lost, and the end that waits for it gives up in its own way.
    for run in Run::all(2).into_iter().filter(|run| run.loss < 0.1) {
        for end in End::BOTH {
            let mut world = World::connected(run);
            let letters: Vec<Bytes> = (0..20).map(|number| payload(number, 30_000)).collect();
            for letter in &letters {
                world.send_plainly(end, 1, letter);
            }
            world.shutdown(end);
            wait_for_the_end(&mut world);
            assert!(world.messages(end.other(), 1) == letters, "{end:?} shut down; {}", world.story());
            assert_eq!(End::BOTH.map(|end| world.closed(end)), [Some(true); 2], "{end:?} shut down; {}", world.story());
        }
    }
}

#[test]
fn a_shutdown_delivers_what_the_other_end_had_accepted_too() {
    for run in Run::all(1).into_iter().filter(|run| run.loss < 0.1) {
        for end in End::BOTH {
            let mut world = World::connected(run);
            let letters: Vec<Bytes> = (0..20).map(|number| payload(number, 30_000)).collect();
            for letter in &letters {
                world.send_plainly(end.other(), 1, letter);
            }
            world.shutdown(end);
            wait_for_the_end(&mut world);
            assert!(world.messages(end, 1) == letters, "{end:?} shut down; {}", world.story());
            assert_eq!(End::BOTH.map(|end| world.closed(end)), [Some(true); 2], "{end:?} shut down; {}", world.story());
        }
    }
}

#[test]
fn both_ends_may_shut_down_at_once() {
    for run in Run::all(2).into_iter().filter(|run| run.loss < 0.1) {
        let mut world = World::connected(run);
        for end in End::BOTH {
            world.send_plainly(end, 1, &payload(0, 100_000));
            world.shutdown(end);
        }
        wait_for_the_end(&mut world);
        for end in End::BOTH {
            assert!(world.messages(end, 1) == [payload(0, 100_000)], "{}", world.story());
            assert_eq!(world.closed(end), Some(true), "{}", world.story());
        }
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
    world.set_censor(THEIRS, Some(Box::new(|_| narrowboat_peers::Fate::Drop)));
    world.wait("this end to notice", |world| world.closed(OURS).is_some());
    assert_eq!(world.closed(OURS), Some(false), "{}", world.story());
}
