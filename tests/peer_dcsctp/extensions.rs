//! Message interleaving (RFC 8260), each end with and without: the same messages arrive, in I-DATA if both ends offer
//! it, in DATA otherwise.

use std::cell::Cell;
use std::rc::Rc;

use narrowboat_peers::{End, Fate};

use crate::world::{Dialling, Entry, Run, World, payload};

/// Position of the first chunk's type in a packet.
const FIRST_KIND: usize = 12;
const DATA: u8 = 0;
const I_DATA: u8 = 64;

/// Seeds that are drawn.
const SEEDS: u64 = 1_000;

#[test]
fn messages_arrive_with_and_without_interleaving_which_both_ends_must_offer() {
    for seed in 1..=SEEDS {
        let dialling = [Dialling::Ours, Dialling::Theirs, Dialling::Both][(seed / 4 % 3) as usize];
        let loss = [0.0, 0.02, 0.1][(seed / 12 % 3) as usize];
        assert_messages_arrive(Run { dialling, loss, seed }, [seed % 2 == 0, seed / 2 % 2 == 0]);
    }
}

fn assert_messages_arrive(run: Run, offers: [bool; 2]) {
    let mut world = World::with_interleaving(run, offers);
    // Packets that begin with DATA, and with I-DATA.
    let counts = Rc::new([Cell::new(0), Cell::new(0)]);
    for end in End::BOTH {
        let counts = Rc::clone(&counts);
        world.set_censor(
            end,
            Some(Box::new(move |datagram| {
                for (kind, count) in [DATA, I_DATA].into_iter().zip(counts.iter()) {
                    count.set(count.get() + u32::from(datagram.get(FIRST_KIND) == Some(&kind)));
                }
                Fate::Pass
            })),
        );
    }
    world.wait("both ends to be connected", |world| {
        End::BOTH.iter().all(|&end| world.seen(end).contains(&Entry::Connected))
    });
    let sent: Vec<_> = (0..12)
        .map(|number| (number % 3, payload(number.into(), [20_000, 1, 3_000, 1_200][usize::from(number % 4)])))
        .collect();
    for end in End::BOTH {
        for (stream, message) in &sent {
            world.send_plainly(end, *stream, message);
        }
    }
    let is_done = |world: &World| {
        let count = |end| (0..3).map(|stream| world.messages(end, stream).len()).sum::<usize>();
        End::BOTH.iter().all(|&end| count(end) == sent.len())
    };
    world.wait("all messages", is_done);
    for end in End::BOTH {
        for stream in 0..3 {
            let expected = sent.iter().filter(|message| message.0 == stream).map(|message| &message.1);
            assert!(world.messages(end, stream).iter().eq(expected), "{run:?} {offers:?} {}", world.story());
        }
    }
    let [data, i_data] = counts.each_ref().map(|count| count.get() > 0);
    let is_agreed = offers == [true, true];
    assert_eq!((data, i_data), (!is_agreed, is_agreed), "{run:?} {offers:?}");
}
