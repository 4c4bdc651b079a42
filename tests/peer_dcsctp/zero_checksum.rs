//! Packets without a checksum (RFC 9653), each end with and without.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use narrowboat_peers::{End, Fate};

use crate::world::{Entry, Run, World, payload};

/// Position of the checksum in a packet, and that of the first chunk's type.
const CHECKSUM: std::ops::Range<usize> = 8..12;
const FIRST_KIND: usize = 12;

/// Chunk types that only travel in packets with a checksum (RFC 9653 §5.2). `dcsctp` sends an INIT ACK without one.
const INIT: u8 = 1;
const COOKIE_ECHO: u8 = 10;

#[test]
fn messages_arrive_with_and_without_checksums_and_only_agreed_packets_have_none() {
    for run in Run::all(2) {
        for enabled in [[true, true], [true, false], [false, true], [false, false]] {
            let mut world = World::over_dtls(run, enabled);
            // Packets without a checksum, by the end that has sent them.
            let counts = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
            for (end, count) in End::BOTH.into_iter().zip(counts.clone()) {
                world.set_censor(
                    end,
                    Some(Box::new(move |datagram| {
                        if datagram.get(CHECKSUM) == Some(&[0; 4]) {
                            let kind = datagram.get(FIRST_KIND).copied();
                            assert!(kind.is_none_or(|kind| ![INIT, COOKIE_ECHO].contains(&kind)), "{datagram:?}");
                            count.set(count.get() + 1);
                        }
                        Fate::Pass
                    })),
                );
            }
            world.wait("both ends to be connected", |world| {
                End::BOTH.iter().all(|&end| world.seen(end).contains(&Entry::Connected))
            });
            for end in End::BOTH {
                for number in 0..20 {
                    world.send_plainly(end, 1, &payload(number, 5_000));
                }
            }
            world.wait("all messages", |world| End::BOTH.iter().all(|&end| world.messages(end, 1).len() == 20));
            world.pass(Duration::from_secs(1));
            let are_zero = counts.each_ref().map(|count| count.get() > 20);
            let is_agreed = enabled == [true, true];
            assert_eq!(are_zero, [is_agreed; 2], "{enabled:?} {counts:?} {}", world.story());
            if !is_agreed {
                assert_eq!(counts.map(|count| count.get()), [0, 0], "{enabled:?}");
            }
        }
    }
}
