//! Path MTU discovery (RFC 8899): `dcsctp` answers probes, and takes larger packets than it sends. The same messages
//! arrive if it does not answer.

use std::cell::Cell;
use std::rc::Rc;

use narrowboat_peers::{End, Fate};

use crate::world::{OURS, Run, THEIRS, World, payload};

/// Position of the first chunk's type in a packet.
const FIRST_KIND: usize = 12;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;

#[test]
fn messages_arrive_while_larger_packets_are_searched_for_with_and_without_answers() {
    for run in Run::all(10) {
        for is_answered in [true, false] {
            assert_messages_arrive(run, is_answered);
        }
    }
}

fn assert_messages_arrive(run: Run, is_answered: bool) {
    let mut world = World::searching(run, 1472);
    let (longest, probes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counts = (Rc::clone(&longest), Rc::clone(&probes));
    world.set_censor(
        OURS,
        Some(Box::new(move |datagram| {
            if datagram.get(FIRST_KIND) == Some(&HEARTBEAT) {
                counts.1.set(counts.1.get() + 1);
            } else {
                counts.0.set(counts.0.get().max(datagram.len()));
            }
            Fate::Pass
        })),
    );
    world.set_censor(
        THEIRS,
        Some(Box::new(move |datagram| {
            let is_answer = datagram.get(FIRST_KIND) == Some(&HEARTBEAT_ACK);
            if is_answer && !is_answered { Fate::Drop } else { Fate::Pass }
        })),
    );
    let sent: Vec<_> = (0..8).map(|number| payload(number, 100_000)).collect();
    for end in End::BOTH {
        sent.iter().for_each(|message| world.send_plainly(end, 1, message));
    }
    world.wait("all messages", |world| End::BOTH.iter().all(|&end| world.messages(end, 1).len() == sent.len()));
    for end in End::BOTH {
        assert!(world.messages(end, 1).iter().eq(&sent), "{run:?} {is_answered}: {}", world.story());
    }
    assert!(probes.get() > 0, "{run:?}");
    let expected = if is_answered { 1472 } else { 1200 };
    // Every answer to a few probes may be lost.
    assert!(longest.get() == expected || run.loss > 0.0 && longest.get() < expected, "{run:?}: {}", longest.get());
}
