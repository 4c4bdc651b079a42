//! Timing and contents of SACKs.

use super::*;

/// Returns a receiver that no longer acknowledges each packet because it is young.
fn settled() -> (Receiver, u32) {
    let mut receiver = receiver();
    let mut tsn = 1;
    loop {
        receiver.take_new(data(tsn, 1, (tsn - 1) as u16, "BE"), b"x");
        receiver.read();
        receiver.on_packet_end(at(0));
        tsn += 1;
        if receiver.sack_due() != SackDue::Now {
            break;
        }
        receiver.on_sack_sent();
    }
    receiver.on_sack_sent();
    (receiver, tsn)
}

/// Takes one whole message in a packet of its own.
fn packet(receiver: &mut Receiver, tsn: u32, flags: &str, now: Instant) {
    let chunk = data(tsn, 2, 0, &format!("{flags}BEU"));
    assert!(receiver.take(chunk, b"x").is_ok());
    receiver.read();
    receiver.on_packet_end(now);
}

#[test]
fn the_first_packets_are_acknowledged_at_once() {
    let (_, tsn) = settled();
    assert_eq!(tsn, 18);
}

#[test]
fn every_second_packet_is_acknowledged_at_once_and_one_alone_after_the_delay() {
    let (mut receiver, tsn) = settled();
    assert_eq!(receiver.sack_due(), SackDue::Not);
    packet(&mut receiver, tsn, "", at(1000));
    assert_eq!(receiver.sack_due(), SackDue::At(at(1020)));
    receiver.on_sack_timeout(at(1019));
    assert_eq!(receiver.sack_due(), SackDue::At(at(1020)));
    packet(&mut receiver, tsn + 1, "", at(1010));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    receiver.on_sack_sent();
    assert_eq!(receiver.sack_due(), SackDue::Not);
    packet(&mut receiver, tsn + 2, "", at(1100));
    receiver.on_sack_timeout(at(1120));
    assert_eq!(receiver.sack_due(), SackDue::Now);
}

#[test]
fn packets_are_counted_and_not_chunks() {
    let (mut receiver, tsn) = settled();
    for n in 0..10 {
        receiver.take_new(data(tsn + n, 2, 0, "BEU"), b"x");
        receiver.read();
    }
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::At(at(20)));
    // A packet without DATA counts for nothing.
    receiver.on_packet_end(at(1));
    receiver.on_packet_end(at(2));
    assert_eq!(receiver.sack_due(), SackDue::At(at(20)));
}

#[test]
fn gaps_and_their_end_are_told_at_once() {
    let (mut receiver, tsn) = settled();
    packet(&mut receiver, tsn + 1, "", at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    assert_eq!(receiver.gaps(), [(2, 2)]);
    receiver.on_sack_sent();
    // While it lasts, each packet is acknowledged.
    packet(&mut receiver, tsn + 2, "", at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    receiver.on_sack_sent();
    packet(&mut receiver, tsn, "", at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    assert_eq!(receiver.gaps(), []);
    receiver.on_sack_sent();
    packet(&mut receiver, tsn + 3, "", at(0));
    assert_eq!(receiver.sack_due(), SackDue::At(at(20)));
}

#[test]
fn duplicates_are_told_at_once() {
    let (mut receiver, tsn) = settled();
    packet(&mut receiver, tsn - 1, "", at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    assert_eq!(receiver.duplicates(), [tsn - 1]);
}

#[test]
fn the_i_bit_gets_one_sack_for_a_packet() {
    let (mut receiver, tsn) = settled();
    for n in 0..30 {
        receiver.take_new(data(tsn + n, 2, 0, "BEUI"), b"x");
        receiver.read();
        assert_eq!(receiver.sack_due(), SackDue::Not, "not before the packet's end");
    }
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    receiver.on_sack_sent();
    assert_eq!(receiver.sack_due(), SackDue::Not);
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Not);
}

#[test]
fn the_closing_of_the_window_is_told_at_once() {
    let mut receiver = Receiver::new(Tsn(1), &small_window(4096), STREAMS, false);
    for tsn in 1..=17 {
        receiver.take_new(data(tsn, 1, 0, "BEU"), b"x");
        receiver.read();
        receiver.on_packet_end(at(0));
        receiver.on_sack_sent();
    }
    receiver.take_new(data(18, 1, 0, "BEU"), &[0; 1000]);
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::At(at(20)));
    receiver.on_sack_sent();
    receiver.take_new(data(19, 1, 0, "BEU"), &[0; 2000]);
    receiver.on_packet_end(at(0));
    assert_eq!((receiver.a_rwnd(), receiver.sack_due()), (0, SackDue::Now));
    receiver.on_sack_sent();
    // A packet without DATA changes nothing.
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Not);
}

#[test]
fn gap_blocks_come_from_the_lowest_up_as_many_as_fit() {
    let (mut receiver, tsn) = settled();
    for n in 0..100 {
        packet(&mut receiver, tsn + 1 + 3 * n, "", at(0));
        packet(&mut receiver, tsn + 2 + 3 * n, "", at(0));
    }
    assert_eq!(receiver.take(data(1, 1, 0, "BE"), b"x"), Ok(ArrivedChunk::Duplicate));
    let all: Vec<_> = (0..100u16).map(|n| (2 + 3 * n, 3 + 3 * n)).collect();
    assert_eq!(receiver.gaps(), all);
    for (room, blocks, duplicates) in
        [(0, 0, 0), (15, 0, 0), (19, 0, 0), (20, 1, 0), (23, 1, 0), (415, 99, 0), (416, 100, 0), (420, 100, 1)]
    {
        let (cumulative, a_rwnd, gaps, repeated) = receiver.sack_parts(room);
        assert_eq!((cumulative, a_rwnd), (Tsn(tsn - 1), receiver.a_rwnd()));
        let gaps: Vec<_> = gaps.map(|gap| (gap.start, gap.end)).collect();
        assert_eq!(gaps, all[..blocks]);
        assert_eq!(repeated.count(), duplicates);
    }
}

#[test]
fn what_16_bit_offsets_cannot_name_is_left_out() {
    let mut receiver = receiver();
    receiver.take_new(data(65_534, 1, 0, "BEU"), b"x");
    receiver.take_new(data(65_535, 1, 0, "BEU"), b"x");
    receiver.take_new(data(65_536, 1, 0, "BEU"), b"x");
    receiver.take_new(data(65_538, 1, 0, "BEU"), b"x");
    assert_eq!(receiver.gaps(), [(65_534, 65_535)]);
}

#[test]
fn more_ranges_than_are_remembered_are_not_taken() {
    let mut receiver = receiver();
    let limit = u32::try_from(tracker::RANGES_MAX).unwrap();
    for n in 0..limit {
        assert_eq!(receiver.on_data(data(3 + 2 * n, 1, 0, "BEU"), Bytes::from_static(b"x"), 29), Ok(ArrivedChunk::New));
        receiver.read();
    }
    assert_eq!(receiver.take(data(5 + 2 * limit, 1, 0, "BEU"), b"x"), Ok(ArrivedChunk::Dropped));
    // TSNs that extend or join ranges, and the next one in sequence, still are.
    receiver.take_new(data(2 + 2 * limit, 1, 0, "BEU"), b"x");
    receiver.take_new(data(4, 1, 0, "BEU"), b"x");
    receiver.take_new(data(1, 1, 0, "BEU"), b"x");
    assert_eq!(receiver.cumulative_tsn(), Tsn(1));
    receiver.take_new(data(5 + 2 * limit, 1, 0, "BEU"), b"x");
    receiver.take_new(data(2, 1, 0, "BEU"), b"x");
    assert_eq!(receiver.cumulative_tsn(), Tsn(5));
}

#[test]
fn a_sack_can_be_asked_for() {
    let (mut receiver, _) = settled();
    receiver.sack_now();
    assert_eq!(receiver.sack_due(), SackDue::Now);
}
