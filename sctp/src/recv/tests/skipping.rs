//! FORWARD-TSN.

use super::*;

#[test]
fn the_cumulative_tsn_moves_on_over_what_has_arrived() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BEU"), b"x");
    for tsn in [3, 4, 6] {
        receiver.take_new(data(tsn, 1, 0, "BEU"), b"x");
    }
    assert_eq!(receiver.forward(2, &[]), Forwarded::Advanced);
    assert_eq!(receiver.cumulative_tsn(), Tsn(4));
    assert_eq!(receiver.gaps(), [(2, 2)]);
}

#[test]
fn f02_a_forward_tsn_that_is_old_changes_nothing_and_gets_a_sack() {
    let mut receiver = receiver();
    for tsn in 1..=20 {
        receiver.take_new(data(tsn, 1, 0, "BEU"), b"x");
        receiver.on_packet_end(at(0));
    }
    receiver.take_new(data(22, 1, 3, "BE"), b"x");
    receiver.on_packet_end(at(0));
    receiver.on_sack_sent();
    for old in [20, 19, 1, 0, u32::MAX] {
        assert_eq!(receiver.forward(old, &[(1, 5)]), Forwarded::Old);
        assert_eq!(receiver.cumulative_tsn(), Tsn(20));
        assert_eq!(receiver.assembler.data().ordered().next_ssn(StreamId(1)), Ssn(0));
        receiver.on_packet_end(at(0));
        assert_eq!(receiver.sack_due(), SackDue::Now);
        receiver.on_sack_sent();
    }
}

#[test]
fn a_forward_tsn_that_closes_all_gaps_is_acknowledged_like_data() {
    let mut receiver = receiver();
    for tsn in 1..=20 {
        receiver.take_new(data(tsn, 1, 0, "BEU"), b"x");
        receiver.on_packet_end(at(0));
    }
    receiver.on_sack_sent();
    assert_eq!(receiver.forward(22, &[]), Forwarded::Advanced);
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::At(at(20)));
}

#[test]
fn f03_a_jump_out_of_reach_is_dropped() {
    let window = config().receive_window;
    let mut receiver = receiver();
    receiver.take_new(data(2, 1, 0, "B"), b"x");
    for to in [window + 1, 1 << 31] {
        assert_eq!(receiver.forward(to, &[(1, 3)]), Forwarded::TooFar);
    }
    assert_eq!(receiver.cumulative_tsn(), Tsn(0));
    assert_eq!(receiver.assembler.data().ordered().next_ssn(StreamId(1)), Ssn(0));
    assert_eq!(receiver.forward(window, &[]), Forwarded::Advanced);
    assert_eq!(receiver.cumulative_tsn(), Tsn(window));
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn a_jump_of_100_000_is_fine() {
    let mut receiver = receiver();
    receiver.take_new(data(50_000, 1, 0, "B"), b"x");
    receiver.take_new(data(100_001, 1, 40, "BE"), b"next");
    assert_eq!(receiver.forward(100_000, &[(1, 39)]), Forwarded::Advanced);
    assert_eq!(receiver.cumulative_tsn(), Tsn(100_001));
    assert_eq!(receiver.read(), ["1:next"]);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn f05_bad_stream_entries_are_ignored_and_nothing_is_delivered_out_of_order() {
    let mut receiver = receiver();
    for n in 0..10 {
        receiver.take_new(data(1 + n, 1, n as u16, "BE"), b"x");
    }
    receiver.read();
    receiver.take_new(data(13, 1, 12, "BE"), b"twelve");
    receiver.take_new(data(12, 1, 11, "BE"), b"eleven");
    receiver.take_new(data(15, 2, 1, "BE"), b"two");
    let mut entries = vec![
        (1, 9),          // old
        (1, 0),          // older
        (1, 32_000),     // more than can have been skipped
        (1, 50_000),     // backwards, on the shorter way round
        (STREAMS, 0),    // no such stream
        (u16::MAX, 700), // nor this
        (2, 5),          // more than can have been skipped
    ];
    entries.extend(std::iter::repeat_n((1, 9), 300));
    assert_eq!(receiver.forward(11, &entries), Forwarded::Advanced);
    assert_eq!(receiver.read(), Vec::<String>::new());
    assert_eq!(receiver.assembler.data().ordered().next_ssn(StreamId(1)), Ssn(10));
    assert_eq!(receiver.assembler.data().ordered().next_ssn(StreamId(2)), Ssn(0));
    // The right entry, and twice.
    assert_eq!(receiver.forward(14, &[(1, 10), (1, 10), (2, 0), (1, 10)]), Forwarded::Advanced);
    assert_eq!(receiver.read(), ["1:eleven", "1:twelve", "2:two"]);
    assert_eq!(receiver.cumulative_tsn(), Tsn(15));
}

#[test]
fn f06_half_a_message_is_removed_and_what_is_left_of_it_is_a_duplicate() {
    for flags in ["", "U"] {
        let mut receiver = receiver();
        let of = |tsn, part: &str| data(tsn, 1, 0, &format!("{part}{flags}"));
        // The message in sequence, one behind a gap, and another in pieces.
        receiver.take_new(of(1, "B"), &[0; 1000]);
        receiver.take_new(of(3, "E"), &[0; 1000]);
        receiver.take_new(data(5, 1, 1, flags), &[0; 1000]);
        receiver.take_new(data(8, 1, 2, &format!("BE{flags}")), b"whole");
        receiver.take_new(data(10, 1, 3, &format!("E{flags}")), b"tail");
        receiver.read();
        assert_eq!(receiver.forward(7, &[(1, 1)]), Forwarded::Advanced);
        assert_eq!(receiver.read(), if flags == "U" { vec![] } else { vec!["1:whole"] });
        assert_eq!(receiver.cumulative_tsn(), Tsn(8));
        assert_eq!(receiver.charged(), 4 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD);
        for tsn in [2, 4, 6, 7] {
            assert_eq!(receiver.take(of(tsn, ""), b"late"), Ok(ArrivedChunk::Duplicate));
        }
        assert_eq!(receiver.duplicates(), [2, 4, 6, 7]);
        receiver.take_new(data(9, 1, 3, &format!("B{flags}")), b"head and ");
        assert_eq!(receiver.read(), ["1:head and tail"]);
        assert_eq!(receiver.charged(), 0);
        assert_eq!(receiver.a_rwnd(), INITIAL_WINDOW);
    }
}

#[test]
fn a_message_that_lacks_nothing_up_to_the_new_point_is_kept() {
    let mut receiver = receiver();
    receiver.take_new(data(3, 1, 1, "B"), b"kept ");
    receiver.take_new(data(4, 1, 1, ""), b"and ");
    assert_eq!(receiver.forward(3, &[(1, 0)]), Forwarded::Advanced);
    assert_eq!(receiver.cumulative_tsn(), Tsn(4));
    receiver.take_new(data(5, 1, 1, "E"), b"finished");
    assert_eq!(receiver.read(), ["1:kept and finished"]);
}

#[test]
fn a_message_whose_ssn_is_skipped_is_removed_though_it_lacks_nothing_yet() {
    let mut receiver = receiver();
    receiver.take_new(data(3, 1, 1, "B"), b"given ");
    receiver.take_new(data(4, 1, 1, ""), b"up ");
    assert_eq!(receiver.forward(3, &[(1, 1)]), Forwarded::Advanced);
    assert_eq!(receiver.charged(), 0);
    // Its rest may have been on its way. The next message is not touched by it.
    receiver.take_new(data(7, 1, 2, "B"), b"next ");
    receiver.take_new(data(5, 1, 1, ""), b"late ");
    receiver.take_new(data(6, 1, 1, "E"), b"late");
    receiver.take_new(data(8, 1, 2, "E"), b"message");
    assert_eq!(receiver.read(), ["1:next message"]);
}

#[test]
fn the_rest_of_a_skipped_message_is_discarded() {
    for late in [[3, 4, 5], [5, 4, 3], [4, 3, 5], [4, 5, 3]] {
        for flags in ["", "U"] {
            let mut receiver = receiver();
            receiver.take_new(data(1, 1, 0, &format!("B{flags}")), b"never ");
            assert_eq!(receiver.forward(2, &[]), Forwarded::Advanced);
            let mut late: std::collections::VecDeque<u32> = late.into();
            while let Some(tsn) = late.pop_front() {
                let end = if tsn == 5 { "E" } else { "" };
                // A chunk that is not accepted is retransmitted.
                if receiver.take(data(tsn, 1, 0, &format!("{end}{flags}")), b"late").unwrap() == ArrivedChunk::Dropped {
                    late.push_back(tsn);
                }
            }
            assert_eq!(receiver.charged(), 0);
            receiver.take_new(data(6, 1, 1, &format!("BE{flags}")), b"next");
            assert_eq!(receiver.read(), ["1:next"]);
        }
    }
}

#[test]
fn a_stream_moves_on_past_a_removed_message_that_is_not_listed() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"zero");
    receiver.take_new(data(3, 1, 1, "E"), b"half");
    receiver.take_new(data(4, 1, 2, "BE"), b"two");
    assert_eq!(receiver.forward(2, &[]), Forwarded::Advanced);
    assert_eq!(receiver.read(), ["1:zero", "1:two"]);
}

#[test]
fn a_straggler_of_a_skipped_message_is_acknowledged_and_discarded() {
    let mut receiver = receiver();
    // The sender lists a message that lies beyond the point that it forwards to.
    assert_eq!(receiver.forward(2, &[(1, 1)]), Forwarded::Advanced);
    receiver.take_new(data(3, 1, 1, "BE"), b"late");
    receiver.take_new(data(4, 1, 2, "BE"), b"next");
    assert_eq!(receiver.read(), ["1:next"]);
}

#[test]
fn skipping_works_across_the_wrap_of_ssns() {
    let mut receiver = receiver();
    let mut tsn = 1;
    for n in 0..65_534u32 {
        assert_eq!(receiver.on_data(data(tsn, 1, n as u16, "BE"), Bytes::from_static(b"x"), 29), Ok(ArrivedChunk::New));
        receiver.read();
        tsn += 1;
    }
    receiver.take_new(data(tsn + 1, 1, 65_535, "BE"), b"65535");
    receiver.take_new(data(tsn + 3, 1, 1, "BE"), b"1");
    receiver.take_new(data(tsn + 5, 1, 3, "BE"), b"3");
    assert_eq!(receiver.forward(tsn + 2, &[(1, 0)]), Forwarded::Advanced);
    assert_eq!(receiver.read(), ["1:65535", "1:1"]);
    assert_eq!(receiver.forward(tsn + 4, &[(1, 2)]), Forwarded::Advanced);
    assert_eq!(receiver.read(), ["1:3"]);
}
