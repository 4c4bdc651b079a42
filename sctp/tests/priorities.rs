//! The Priority Policy: messages that make room for others when the send buffer is full (RFC 7496 §3.2).

mod pair;

use bytes::Bytes;
use narrowboat_sctp::{
    AbandonReason, AssociationConfig, AssociationEvent, Ppid, ReceiptStatus, Reliability, SendMessageError,
    SendOptions, StreamId,
};
use pair::{MS, Pair};

const LEN: usize = 1_000;

fn priority(priority: u32) -> SendOptions {
    SendOptions { reliability: Reliability::Priority(priority), ..SendOptions::default() }
}

/// Creates a pair whose first end cannot send new data: the peer's window is full.
fn closed_window(mut config: AssociationConfig) -> Pair {
    config.receive_window = 20_000;
    let mut pair = Pair::connected(config);
    pair.reads = [false; 2];
    for _ in 0..30 {
        pair.send(0, StreamId(0), vec![0; 1_000]);
    }
    pair.run_for(2_000 * MS);
    pair.events[0].clear();
    pair
}

/// Sends a message whose first byte is a mark.
fn send(pair: &mut Pair, stream: u16, mark: u8, options: SendOptions) -> Result<(), SendMessageError> {
    pair.ends[0].send(pair.now, StreamId(stream), Ppid(53), vec![mark; LEN].into(), options)
}

/// Sends such messages until one is refused, and returns their number.
fn fill(pair: &mut Pair, stream: u16, mark: u8, options: SendOptions) -> usize {
    (0..10_000).take_while(|_| send(pair, stream, mark, options).is_ok()).count()
}

/// Returns the streams of the messages that were dropped for others, and forgets the events.
fn dropped(pair: &mut Pair) -> Vec<u16> {
    pair.take_events(0);
    let mut streams = Vec::new();
    for event in std::mem::take(&mut pair.events[0]) {
        if let AssociationEvent::Abandoned { stream, messages, bytes, reason, unsent } = event {
            assert_eq!((reason, unsent, bytes as u64), (AbandonReason::Priority, true, messages * LEN as u64));
            streams.extend((0..messages).map(|_| stream.0));
        }
    }
    streams
}

#[test]
fn a_full_buffer_drops_the_oldest_message_of_the_lowest_priority_for_a_higher_one() {
    let mut pair = closed_window(AssociationConfig { send_buffer: 200_000, ..AssociationConfig::default() });
    let receipt =
        pair.ends[0].send_with_receipt(pair.now, StreamId(1), Ppid(53), vec![0; LEN].into(), priority(7)).unwrap();
    assert_eq!(send(&mut pair, 2, 1, priority(9)), Ok(()));
    assert!(fill(&mut pair, 1, 2, priority(7)) > 50);
    assert_eq!(dropped(&mut pair), [2], "the last one took the place of the lowest");
    for lower in [7, 8, u32::MAX] {
        assert_eq!(send(&mut pair, 3, 3, priority(lower)), Err(SendMessageError::Full), "{lower}");
    }
    assert_eq!(dropped(&mut pair), [0; 0]);
    assert_eq!(send(&mut pair, 3, 3, priority(6)), Ok(()));
    pair.take_events(0);
    let ended = ReceiptStatus::Abandoned(AbandonReason::Priority);
    let is_end = |event: &AssociationEvent| matches!(event, AssociationEvent::Receipt { id, status } if (*id, *status) == (receipt, ended));
    assert!(pair.events[0].iter().any(is_end), "the oldest went");
    let mut all = dropped(&mut pair).len();
    assert!((1..=2).contains(&all), "{all} dropped for one");
    // All other messages come before those with a priority.
    let others = [
        Reliability::Reliable,
        Reliability::MaxRetransmits(0),
        Reliability::MaxLifetime(60_000 * MS),
        Reliability::Priority(0),
    ];
    for reliability in others {
        // The last drop may have left some room.
        fill(&mut pair, 1, 2, priority(7));
        assert_eq!(dropped(&mut pair), [0; 0]);
        let options = SendOptions { reliability, ..SendOptions::default() };
        assert_eq!(send(&mut pair, 4, 4, options), Ok(()), "{reliability:?}");
        // The counters and the other stream take room, too, so that it may be two.
        let streams = dropped(&mut pair);
        assert!([&[1][..], &[1, 1]].contains(&&streams[..]), "{reliability:?}: {streams:?}");
        all += streams.len();
    }
    let stats = pair.ends[0].stats().abandoned.count(AbandonReason::Priority);
    assert_eq!((stats.unsent, stats.sent, stats.bytes), (all as u64 + 1, 0, (all as u64 + 1) * LEN as u64));
    assert_eq!(pair.ends[0].abandoned_on(StreamId(1)).total().unsent, all as u64);
    assert!(pair.ends[0].memory_charged() < 250_000);
}

#[test]
fn a_full_stream_drops_messages_of_its_own_and_of_no_other() {
    let config = AssociationConfig { stream_send_buffer: 50_000, ..AssociationConfig::default() };
    let mut pair = closed_window(config);
    assert_eq!(send(&mut pair, 2, 1, priority(9)), Ok(()));
    assert!(fill(&mut pair, 1, 2, priority(5)) > 10);
    assert_eq!(send(&mut pair, 1, 3, priority(4)), Ok(()));
    assert_eq!(dropped(&mut pair), [1]);
    assert_eq!(send(&mut pair, 1, 3, priority(5)), Err(SendMessageError::Full));
    assert_eq!(dropped(&mut pair), [0; 0]);
}

#[test]
fn the_overhead_of_a_dropped_message_makes_room_too() {
    let mut pair = closed_window(AssociationConfig { send_buffer: 200_000, ..AssociationConfig::default() });
    let small = Bytes::from_static(b"small");
    pair.ends[0].send(pair.now, StreamId(1), Ppid(53), small, priority(9)).unwrap();
    assert!(fill(&mut pair, 2, 1, SendOptions::default()) > 50);
    pair.take_events(0);
    assert_eq!(pair.ends[0].abandoned_on(StreamId(1)).total().messages(), 1);
}

#[test]
fn nothing_is_dropped_if_that_makes_no_room() {
    // One large message crosses the line by more than all messages with a low priority hold together.
    let mut pair = closed_window(AssociationConfig { send_buffer: 200_000, ..AssociationConfig::default() });
    for (stream, options) in [(1, priority(9)), (1, priority(2)), (1, priority(9))] {
        assert_eq!(send(&mut pair, stream, 1, options), Ok(()));
    }
    pair.ends[0].send(pair.now, StreamId(2), Ppid(53), vec![0; 200_000].into(), SendOptions::default()).unwrap();
    for (stream, options) in [(3, SendOptions::default()), (3, priority(5)), (1, priority(5))] {
        assert_eq!(send(&mut pair, stream, 2, options), Err(SendMessageError::Full));
    }
    assert_eq!(dropped(&mut pair), [0; 0]);
    // A stream that is full beside an association that has room.
    let config = AssociationConfig { stream_send_buffer: 50_000, ..AssociationConfig::default() };
    let mut pair = closed_window(config);
    assert_eq!(send(&mut pair, 1, 1, priority(9)), Ok(()));
    pair.ends[0].send(pair.now, StreamId(1), Ppid(53), vec![0; 100_000].into(), priority(3)).unwrap();
    assert_eq!(send(&mut pair, 1, 2, priority(5)), Err(SendMessageError::Full));
    assert_eq!(dropped(&mut pair), [0; 0]);
    assert_eq!(send(&mut pair, 1, 2, priority(2)), Ok(()));
    assert_eq!(pair.ends[0].abandoned_on(StreamId(1)).count(AbandonReason::Priority).unsent, 2);
}

#[test]
fn messages_that_wait_for_their_stream_are_dropped_on_the_one_that_they_moved_to() {
    let mut pair = closed_window(AssociationConfig { send_buffer: 200_000, ..AssociationConfig::default() });
    for _ in 0..3 {
        assert_eq!(send(&mut pair, 1, 1, priority(9)), Ok(()));
    }
    assert!(pair.ends[0].move_unsent(StreamId(1), StreamId(5)));
    assert!(fill(&mut pair, 2, 2, priority(3)) > 50);
    assert_eq!(dropped(&mut pair), [5, 5, 5]);
    // Discarded messages are not dropped again.
    assert!(pair.ends[0].discard_unsent(pair.now, StreamId(2)) > 50 * LEN);
    assert!(fill(&mut pair, 3, 3, SendOptions::default()) > 50);
    assert_eq!(dropped(&mut pair), [0; 0]);
}

#[test]
fn a_message_that_was_begun_stays_and_the_rest_arrives_in_order() {
    let mut pair = Pair::connected(AssociationConfig { send_buffer: 300_000, ..AssociationConfig::default() });
    let large = vec![9; 100_000];
    pair.ends[0].send(pair.now, StreamId(1), Ppid(53), large.into(), priority(9)).unwrap();
    pair.flush();
    assert!(pair.ends[0].buffered_amount(StreamId(1)) < 100_000, "it was begun");
    fill(&mut pair, 1, 1, priority(9));
    for mark in 2..20 {
        assert_eq!(send(&mut pair, 1, mark, priority(3)), Ok(()));
    }
    let count = dropped(&mut pair).len();
    assert!(count >= 17, "{count} dropped");
    pair.run_for(10_000 * MS);
    let marks: Vec<u8> = pair.received[1].iter().map(|(_, _, payload)| payload[0]).collect();
    assert_eq!(marks[0], 9, "what was begun is finished");
    let last: Vec<u8> = marks.iter().copied().filter(|mark| *mark < 9 && *mark > 1 || *mark > 9).collect();
    assert_eq!(last, (2..20).filter(|mark| *mark != 9).collect::<Vec<u8>>());
    assert!(pair.ends[0].is_drained(StreamId(1)));
}
