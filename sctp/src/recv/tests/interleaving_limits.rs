//! I-DATA: the window, and bounds of what a peer can make an association hold.

use super::*;
use crate::recv::window::{INTERLEAVED_BYTES, LIMIT_MIN};

const WINDOW: u32 = 64 << 10;

/// Sends the fragments of messages of several streams in turns, one of each, as far as the window allows. The
/// application reads what is whole. Returns the number of messages that it has read.
fn transfer(receiver: &mut Receiver, streams: u16, fragments: u32, size: usize) -> usize {
    let mut tsn = receiver.cumulative_tsn().0;
    let mut read = 0;
    for fsn in 0..fragments {
        for stream in 0..streams {
            assert!(receiver.a_rwnd() as usize >= size, "the window closes, and nothing can open it");
            tsn += 1;
            let flags = [if fsn == 0 { "B" } else { "" }, if fsn + 1 == fragments { "E" } else { "" }].concat();
            let payload = Bytes::from(vec![stream as u8; size]);
            let arrived = receiver.on_data(i_data(tsn, stream, 0, fsn, &flags), payload, size + HEADERS);
            assert_eq!(arrived, Ok(ArrivedChunk::New));
            while let Some(ReceiverEvent::Message(message)) = receiver.poll() {
                assert_eq!(message.payload.into_bytes(), vec![message.stream.0 as u8; size * fragments as usize]);
                receiver.release(message.credit);
                read += 1;
            }
        }
    }
    receiver.check_consistency();
    read
}

#[test]
fn messages_larger_than_the_window_get_through_though_they_interleave() {
    let config = AssociationConfig { receive_window: 4096, mtu: 1200, receive_message_size_max: 1 << 20, ..config() };
    for streams in [1, 2, 10] {
        let mut receiver = interleaving_with(&config);
        assert_eq!(transfer(&mut receiver, streams, 500, 1000), usize::from(streams));
        assert_eq!(receiver.a_rwnd(), 4096);
        assert_eq!(receiver.charged(), 0);
    }
}

#[test]
fn a_small_message_passes_beside_partial_ones_that_fill_the_window() {
    let mut receiver = interleaving_with(&small_window(4096));
    let mut tsn = 0;
    for stream in 0..STREAMS - 1 {
        tsn += 1;
        receiver.take_new(i_data(tsn, stream, 0, 0, "B"), &[0; 1000]);
    }
    receiver.on_sack_sent();
    for mid in 0..100 {
        tsn += 1;
        receiver.take_new(i_data(tsn, STREAMS - 1, mid, 0, "BE"), b"ping");
        assert_eq!(receiver.read(), ["15:ping"]);
    }
    assert_eq!(receiver.a_rwnd(), 4096);
}

#[test]
fn parts_of_messages_count_as_far_as_something_can_be_read() {
    let mut receiver = interleaving_with(&AssociationConfig { receive_window: WINDOW, ..config() });
    let mut tsn = 0;
    for stream in 0..10 {
        tsn += 1;
        receiver.take_new(i_data(tsn, stream, 0, 0, "B"), &[0; 8000]);
    }
    assert_eq!(receiver.a_rwnd(), WINDOW);
    while receiver.take(i_data(tsn + 1, 11, 0, 0, "BEU"), &[0; 1000]) == Ok(ArrivedChunk::New) {
        tsn += 1;
    }
    assert_eq!(receiver.a_rwnd(), 0, "the reader has stopped");
    let unread = receiver.read().len();
    assert!((20..64).contains(&unread), "{unread}");
    assert_eq!(receiver.a_rwnd(), WINDOW);
}

#[test]
fn d19_messages_begun_behind_a_gap_are_bounded_by_the_window() {
    for flags in ["B", "E", "", "BU"] {
        let mut receiver = Receiver::new(Tsn(1), &small_window(WINDOW), u16::MAX, true);
        let fsn = u32::from(!flags.contains('B'));
        let mut taken = 0;
        for n in 0..2000u32 {
            let chunk = i_data(2 + n, (n % 1000) as u16, n / 1000 + 1, fsn, flags);
            let before = cost_counter::steps();
            match receiver.on_data(chunk, Bytes::from_static(b"x"), 40).unwrap() {
                ArrivedChunk::New => taken += 1,
                _ => assert!(receiver.charged() > WINDOW as usize, "{flags:?}, {n}"),
            }
            assert!(receiver.charged() <= WINDOW as usize * 5 / 4 + FRAGMENT_OVERHEAD);
            assert!(cost_counter::steps() - before < 10);
        }
        assert!((100..250).contains(&taken), "{taken}");
        receiver.check_consistency();
        assert_eq!(receiver.a_rwnd(), 0);
        // The next in sequence is taken all the same, and the highest are given up for it.
        receiver.take_new(i_data(1, 1, 0, 0, "BE"), &[0; 1000]);
        assert!(receiver.take_reneged() > 0);
        assert_eq!(receiver.read().len(), 1);
    }
}

#[test]
fn d19_messages_begun_in_sequence_are_bounded_by_the_limit_of_partial_messages() {
    let mut receiver = Receiver::new(Tsn(1), &small_window(WINDOW), u16::MAX, true);
    let mut tsn = 0;
    let result = loop {
        tsn += 1;
        let before = cost_counter::steps();
        let chunk = i_data(tsn, (tsn % 60_000) as u16, tsn / 60_000, 0, "BU");
        let result = receiver.on_data(chunk, Bytes::from_static(b"x"), 40);
        assert!(cost_counter::steps() - before < 10);
        if result != Ok(ArrivedChunk::New) {
            break result;
        }
        assert!(receiver.a_rwnd() > 0, "the peer is not asked to wait for what cannot happen");
    };
    assert_eq!(result, Err(Violation::PartialMessagesTooLarge));
    // 64 messages of 64 KiB, and half of that for their overhead.
    let limit = 64 * (WINDOW as usize + WINDOW as usize / 2);
    assert!(limit < INTERLEAVED_BYTES);
    assert!((limit - 1000..limit + 1000).contains(&receiver.charged()), "{}", receiver.charged());
}

#[test]
fn d19_the_memory_of_the_endpoint_bounds_partial_messages() {
    let mut receiver = interleaving_with(&AssociationConfig { receive_window: WINDOW, ..config() });
    receiver.set_memory(100_000, true);
    let mut tsn = 1;
    while receiver.take(i_data(tsn, (tsn % 10) as u16, 0, tsn / 10, if tsn < 10 { "B" } else { "" }), &[0; 1000])
        == Ok(ArrivedChunk::New)
    {
        tsn = if tsn == 9 { 11 } else { tsn + 1 };
        if tsn == 11 {
            receiver.take_new(i_data(10, 11, 0, 0, "BE"), b"x");
            receiver.read();
        }
    }
    assert!((90_000..=100_000).contains(&receiver.charged()), "{}", receiver.charged());
}

#[test]
fn d20_an_fsn_that_no_message_reaches_ends_the_association() {
    let config = AssociationConfig { receive_message_size_max: 1000, ..config() };
    for (fsn, flags) in [(u32::MAX, ""), (u32::MAX, "E"), (1000, ""), (1 << 31, "")] {
        let mut receiver = interleaving_with(&config);
        assert_eq!(receiver.take(i_data(9, 1, 0, fsn, flags), b"x"), Err(Violation::MessageTooLarge), "{fsn}");
        assert_eq!(receiver.charged(), 0);
    }
    interleaving_with(&config).take_new(i_data(9, 1, 0, 999, ""), b"x");
}

#[test]
fn d14_a_message_above_the_limit_is_a_violation_however_it_comes() {
    let config = AssociationConfig { receive_message_size_max: 1000, ..config() };
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [1, 4, 2, 3], [2, 3, 4, 1]] {
        for (size, fits) in [(250, true), (251, false)] {
            let mut receiver = interleaving_with(&config);
            let mut result = Ok(ArrivedChunk::New);
            for n in order {
                let flags = ["B", "", "", "E"][n as usize - 1];
                result = receiver.take(i_data(n, 1, 0, n - 1, flags), &vec![0; size]);
            }
            let wanted = if fits { Ok(ArrivedChunk::New) } else { Err(Violation::MessageTooLarge) };
            assert_eq!(result, wanted, "{order:?}, {size}");
        }
    }
    for (size, wanted) in [(1000, Ok(ArrivedChunk::New)), (1001, Err(Violation::MessageTooLarge))] {
        let mut receiver = interleaving_with(&config);
        assert_eq!(receiver.take(i_data(1, 1, 0, 0, "BE"), &vec![0; size]), wanted);
    }
}

#[test]
fn d13_when_full_a_filler_is_taken_and_the_highest_come_again() {
    // Two messages interleave behind a gap until the window is full: one has the even TSNs, the other the odd ones.
    let mut receiver = interleaving_with(&AssociationConfig { receive_window: WINDOW, ..config() });
    let count = 200;
    let of = |tsn: u32| {
        let (stream, fsn) = ((tsn % 2) as u16, (tsn - 1) / 2);
        let flags = [if fsn == 0 { "B" } else { "" }, if fsn + 1 == count / 2 { "E" } else { "" }].concat();
        i_data(tsn, stream, 0, fsn, &flags)
    };
    let mut tsn = 3;
    while receiver.take(of(tsn), &[tsn as u8; 1000]) == Ok(ArrivedChunk::New) {
        tsn += 1;
    }
    assert_eq!(receiver.a_rwnd(), 0);
    let highest = tsn - 1;
    receiver.take_new(of(1), &[1; 1000]);
    receiver.take_new(of(2), &[2; 1000]);
    assert!(receiver.take_reneged() >= 1);
    let kept = receiver.cumulative_tsn().0;
    assert!(kept < highest && kept > highest - 4, "{kept} of {highest}");
    let mut first = 1;
    for tsn in kept + 1..=count {
        receiver.take_new(of(tsn), &[tsn as u8; 1000]);
        let Some(ReceiverEvent::Message(message)) = receiver.poll() else { continue };
        let expected: Vec<u8> = (first..=count).step_by(2).flat_map(|tsn| [tsn as u8; 1000]).collect();
        assert!(message.payload.into_bytes() == expected, "{first}");
        receiver.release(message.credit);
        first += 1;
    }
    assert_eq!(first, 3, "both have arrived");
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn a_whole_message_that_is_given_up_in_part_is_whole_again_later() {
    let mut receiver = interleaving_with(&small_window(WINDOW));
    // The highest message is whole, and waits for its turn; so does a single chunk below it.
    receiver.take_new(i_data(39, 1, 1, 0, "BE"), b"single");
    receiver.take_new(i_data(40, 1, 2, 0, "B"), &[1; 9000]);
    receiver.take_new(i_data(41, 1, 2, 1, "E"), &[2; 9000]);
    receiver.take_new(i_data(2, 2, 0, 0, "BEU"), &[3; 40_000]);
    receiver.take_new(i_data(1, 2, 1, 0, "BEU"), &[4; 18_000]);
    receiver.take_new(i_data(3, 2, 2, 0, "BEU"), &[5; 9000]);
    assert_eq!(receiver.take_reneged(), 1);
    receiver.read();
    receiver.take_new(i_data(41, 1, 2, 1, "E"), &[2; 9000]);
    assert_eq!(receiver.forward_messages(38, &[skipped(1, false, 0)]), Forwarded::Advanced);
    assert_eq!(receiver.read().len(), 2);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn a_packet_of_one_byte_messages_fits_the_smallest_window() {
    let mut receiver = interleaving_with(&small_window(4096));
    let mut count = 0;
    while receiver.take(i_data(count + 1, 1, count, 0, "BE"), b"x") == Ok(ArrivedChunk::New) {
        count += 1;
    }
    assert!(count as usize >= (1200 - 12) / 24, "chunks of one byte in a packet");
    let room = LIMIT_MIN - receiver.charged();
    assert!(room < 1 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD, "{room} bytes are left, another might have had to wait");
    // Behind a gap a packet of them fits as well, and waits.
    let mut receiver = interleaving_with(&small_window(4096));
    for n in 1..=(1200 - 12) / 24 {
        receiver.take_new(i_data(n + 1, 1, n, 0, "BE"), b"x");
    }
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"x");
    assert_eq!(receiver.read().len(), 50);
}
