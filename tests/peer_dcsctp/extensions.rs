//! Each extension with and without, at either end: the same messages arrive. User data is I-DATA if both ends offer it,
//! and DATA otherwise; packets have a checksum unless both ends can do without.

use std::cell::Cell;
use std::rc::Rc;

use narrowboat_peers::{End, Fate, OfferedExtensions, Reliability, SendOptions, StreamId};

use crate::world::{Dialling, Entry, Run, World, payload};

/// Position of the checksum in a packet, and that of the first chunk's type.
const CHECKSUM: std::ops::Range<usize> = 8..12;
const FIRST_KIND: usize = 12;
const DATA: u8 = 0;
const I_DATA: u8 = 64;

/// Seeds that are drawn.
const SEEDS: u64 = 1_000;

/// Streams of the messages that arrive, and the one of those that may be abandoned.
const STREAMS: std::ops::Range<StreamId> = 0..3;
const UNRELIABLE: StreamId = 3;

/// The message that may be retransmitted once.
const ONCE: SendOptions = SendOptions { unordered: false, reliability: Reliability::MaxRetransmits(1) };

#[test]
fn messages_arrive_with_and_without_each_extension_which_both_ends_must_offer() {
    for seed in 1..=SEEDS {
        let has = |bit: u64| seed >> bit & 1 == 0;
        let offered = |first: u64, stream_reset| OfferedExtensions {
            message_interleaving: has(first),
            partial_reliability: has(first + 1) || has(first),
            stream_reset,
            zero_checksum: has(first + 2),
        };
        let dialling = [Dialling::Ours, Dialling::Theirs, Dialling::Both][(seed % 3) as usize];
        let loss = [0.0, 0.02, 0.1][(seed / 3 % 3) as usize];
        assert_messages_arrive(Run { dialling, loss, seed }, [offered(0, has(6)), offered(3, true)]);
    }
}

/// Packets that begin with DATA, packets that begin with I-DATA, and packets without a checksum.
fn count_packets(world: &mut World) -> Rc<[Cell<u32>; 3]> {
    let counts = Rc::<[Cell<u32>; 3]>::default();
    for end in End::BOTH {
        let counts = Rc::clone(&counts);
        world.set_censor(
            end,
            Some(Box::new(move |datagram| {
                let kind = datagram.get(FIRST_KIND).copied();
                let is_zero = datagram.get(CHECKSUM) == Some(&[0; 4]);
                for (is_one, count) in [kind == Some(DATA), kind == Some(I_DATA), is_zero].into_iter().zip(&*counts) {
                    count.set(count.get() + u32::from(is_one));
                }
                Fate::Pass
            })),
        );
    }
    counts
}

fn assert_messages_arrive(run: Run, offered: [OfferedExtensions; 2]) {
    let mut world = World::with_extensions(run, offered);
    let counts = count_packets(&mut world);
    world.wait("both ends to be connected", |world| {
        End::BOTH.iter().all(|&end| world.seen(end).contains(&Entry::Connected))
    });
    let sent: Vec<_> = (0..12)
        .map(|number| (number % 3, payload(number.into(), [20_000, 1, 3_000, 1_200][usize::from(number % 4)])))
        .collect();
    for end in End::BOTH {
        for (stream, message) in &sent {
            world.send_plainly(end, *stream, message);
            world.send(end, UNRELIABLE, message, ONCE);
        }
    }
    let arrived = |world: &World, end| STREAMS.map(|stream| world.messages(end, stream).len()).sum::<usize>();
    world.wait("all messages", |world| End::BOTH.iter().all(|&end| arrived(world, end) == sent.len()));
    for end in End::BOTH {
        for stream in STREAMS {
            let expected = sent.iter().filter(|message| message.0 == stream).map(|message| &message.1);
            assert!(world.messages(end, stream).iter().eq(expected), "{run:?} {offered:?} {}", world.story());
        }
    }
    let [data, i_data, zero] = counts.each_ref().map(|count| count.get() > 0);
    let interleaves = offered.iter().all(|offered| offered.message_interleaving);
    assert_eq!((data, i_data), (!interleaves, interleaves), "{run:?} {offered:?}");
    assert_eq!(zero, offered.iter().all(|offered| offered.zero_checksum), "{run:?} {offered:?}");
    if offered[0].stream_reset {
        streams_serve_again(&mut world);
    }
}

/// Resets a stream from both ends, and sends on it again.
fn streams_serve_again(world: &mut World) {
    let stream = STREAMS.start;
    let before = End::BOTH.map(|end| world.messages(end, stream).len());
    End::BOTH.iter().for_each(|&end| world.reset(end, stream));
    world.wait("the resets", |world| {
        End::BOTH.iter().all(|&end| {
            let performed = Entry::OutgoingReset { stream, error: None };
            world.count(end, &Entry::IncomingReset(stream)) == 1 && world.count(end, &performed) == 1
        })
    });
    let letter = payload(1_000, 5_000);
    End::BOTH.iter().for_each(|&end| world.send_plainly(end, stream, &letter));
    world.wait("messages after the resets", |world| {
        End::BOTH.iter().zip(before).all(|(&end, before)| world.messages(end, stream).len() == before + 1)
    });
    End::BOTH.iter().for_each(|&end| assert_eq!(world.messages(end, stream).last(), Some(&letter)));
}
