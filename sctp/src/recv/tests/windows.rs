//! The receive window.

use super::*;
use crate::recv::assembler::{DataAssembler, IDataAssembler, OUT_OF_ORDER_OVERHEAD};
use crate::recv::window::LIMIT_MIN;

const WINDOW: u32 = 64 << 10;

fn limited() -> Receiver {
    Receiver::new(Tsn(1), &small_window(WINDOW), STREAMS, false)
}

/// Takes messages of this size in sequence, unread, until one is dropped. Returns how many were taken.
fn fill(receiver: &mut Receiver, size: usize) -> u32 {
    let start = receiver.cumulative_tsn().0;
    for tsn in start + 1.. {
        if receiver.take(data(tsn, 1, tsn as u16, "BEU"), &vec![0; size]) != Ok(ArrivedChunk::New) {
            return tsn - 1 - start;
        }
    }
    unreachable!()
}

#[test]
fn the_window_closes_with_what_is_unread_and_opens_as_it_is_read() {
    let mut receiver = limited();
    assert_eq!(receiver.a_rwnd(), WINDOW);
    receiver.take_new(data(1, 1, 0, "BE"), &[0; 1000]);
    let charge = (1000 + UNREAD_OVERHEAD) as u32;
    assert_eq!(receiver.a_rwnd(), WINDOW - 1000, "the overhead is less than a quarter of the payload");
    let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
    assert_eq!(message.credit.bytes(), charge);
    assert_eq!(receiver.a_rwnd(), WINDOW - 1000, "taken is not read");
    receiver.release(message.credit);
    assert_eq!(receiver.a_rwnd(), WINDOW);
}

/// The SACKs say nothing else than what the peer can reckon itself, so all that it has on its way is taken.
#[test]
fn what_a_peer_may_send_is_taken_to_the_last_byte() {
    let mut receiver = limited();
    for message in 1..=WINDOW / 4000 {
        for (chunk, flags) in (1..).zip(["BU", "U", "U", "EU"]) {
            receiver.take_new(data(4 * (message - 1) + chunk, 1, 0, flags), &[0; 1000]);
        }
        assert_eq!(receiver.a_rwnd(), WINDOW - 4000 * message);
        receiver.on_sack_sent();
    }
    let last = receiver.cumulative_tsn().0 + 1;
    receiver.take_new(data(last, 1, 0, "BEU"), &vec![0; receiver.a_rwnd() as usize]);
    assert_eq!(receiver.a_rwnd(), 0);
}

/// RFC 9260 §6.2: "When the receiver's advertised window is 0, the receiver MUST drop any new incoming DATA chunk with
/// a TSN larger than the largest TSN received so far."
#[test]
fn a_probe_of_a_closed_window_is_not_taken_but_answered_and_a_filler_is_taken() {
    let mut receiver = limited();
    receiver.take_new(data(1, 1, 0, "BEU"), &[0; 1000]);
    let mut tsn = 3;
    while receiver.a_rwnd() > 0 {
        receiver.take_new(data(tsn, 1, 0, "BEU"), &[0; 1200]);
        tsn += 1;
    }
    receiver.on_sack_sent();
    // Less than a packet was left, which was said to be nothing; the peer may have known better, and used it.
    receiver.take_new(data(tsn, 1, 0, "BEU"), &[0; 10]);
    let probe = tsn + 1;
    for _ in 0..3 {
        assert_eq!(receiver.take(data(probe, 1, 0, "BEU"), &[0; 1200]), Ok(ArrivedChunk::Dropped));
        receiver.on_packet_end(at(0));
        assert_eq!(receiver.sack_due(), SackDue::Now);
        receiver.on_sack_sent();
    }
    receiver.take_new(data(2, 1, 0, "BEU"), &[0; 10]);
    assert_eq!(receiver.read().len() as u32, probe - 1);
    // It was not told yet, but it is open: the probe gets in, and the answer says so.
    receiver.take_new(data(probe, 1, 0, "BEU"), &[0; 1200]);
}

#[test]
fn a_window_of_less_than_a_packet_is_said_to_be_closed() {
    let mut receiver = limited();
    let mut last = WINDOW;
    for tsn in 1.. {
        if receiver.take(data(tsn, 1, 0, "BEU"), &[0; 500]) != Ok(ArrivedChunk::New) {
            break;
        }
        let now = receiver.a_rwnd();
        assert!(now == 0 || now as usize >= config().mtu, "{now}");
        assert!(now <= last);
        last = now;
    }
    assert_eq!(last, 0);
}

#[test]
fn a_chunk_larger_than_the_window_is_taken_if_nothing_else_is_held() {
    let mut receiver = Receiver::new(Tsn(1), &AssociationConfig { receive_window: 4096, ..config() }, STREAMS, false);
    receiver.take_new(data(1, 1, 0, "BE"), &[0; LIMIT_MIN]);
    assert_eq!(receiver.a_rwnd(), 0);
    assert_eq!(receiver.take(data(2, 1, 1, "BE"), &[0; LIMIT_MIN]), Ok(ArrivedChunk::Dropped), "one at a time");
    assert_eq!(receiver.read().len(), 1);
    receiver.take_new(data(3, 1, 2, "BE"), &[0; 100]);
    receiver.take_new(data(2, 1, 1, "BE"), &[0; LIMIT_MIN]);
    assert_eq!(receiver.read().len(), 1, "what came early has made room for what comes first");
}

#[test]
fn a_packet_of_one_byte_messages_fits_the_smallest_window() {
    let mut receiver = Receiver::new(Tsn(1), &small_window(4096), STREAMS, false);
    // One is missing, so all others wait, which costs more than to be unread.
    let in_a_packet = (1472 - 12) / 20;
    for tsn in 2..in_a_packet + 2 {
        receiver.take_new(data(tsn.into(), 1, tsn - 1, "BE"), b"x");
    }
    assert_eq!((receiver.charged(), receiver.a_rwnd()), (LIMIT_MIN, 0));
    assert_eq!(receiver.take(data(75, 1, 74, "BE"), b"x"), Ok(ArrivedChunk::Dropped));
    // The packet that was missing brings the first of them, and evicts the last.
    receiver.take_new(data(1, 1, 0, "BE"), b"x");
    assert_eq!(receiver.read().len(), 73);
    assert_eq!(receiver.a_rwnd(), 4096);
}

/// The window at rest is small, because nobody reads. The overheads of small messages have a quarter of the largest.
#[test]
fn thousands_of_small_messages_wait_for_a_reader_while_there_is_memory() {
    for (window, may_grow, expected) in [
        (32 << 20, true, (256 << 10) + (8 << 20)),
        (1 << 20, true, (256 << 10) + (256 << 10)),
        (32 << 20, false, (256 << 10) * 5 / 4),
        (64 << 10, true, (64 << 10) * 5 / 4),
    ] {
        for size in [1, 10, 100] {
            let config = AssociationConfig { receive_window: window, ..config() };
            let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
            receiver.set_memory(usize::MAX, may_grow);
            let mut count = 0;
            while receiver.take_quickly(data(count as u32 + 1, 1, 0, "BEU"), &vec![0; size]) == ArrivedChunk::New {
                count += 1;
            }
            receiver.check_consistency();
            let charged = receiver.charged();
            assert_eq!(charged, count * (size + UNREAD_OVERHEAD));
            let payload_left = (window.min(256 << 10) as usize * 5 / 4) - count * size;
            let is_full = expected - charged < size + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD || payload_left < size;
            assert!(charged <= expected && is_full, "{count} messages of {size} bytes into {window}: {charged}");
        }
    }
}

/// A peer that ignores the window gets no more payload in for that.
#[test]
fn the_room_for_overheads_is_none_for_payload() {
    let mut receiver = receiver();
    let bytes = 1000 * fill(&mut receiver, 1000);
    assert!((256 << 10..=320 << 10).contains(&bytes), "{bytes} bytes");
}

#[test]
fn d07_a_message_without_end_is_a_violation_at_the_limit_and_the_window_stays_honest() {
    let config = AssociationConfig { receive_window: WINDOW, receive_message_size_max: 1 << 20, ..config() };
    let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
    receiver.take_new(data(1, 1, 0, "B"), &[0; 1024]);
    for tsn in 2..=1024 {
        assert!(receiver.a_rwnd() >= 1200);
        receiver.take_new(data(tsn, 1, 0, ""), &[0; 1024]);
    }
    assert_eq!(receiver.take(data(1025, 1, 0, ""), b"x"), Err(Violation::MessageTooLarge));
    // In crumbs, it ends before it has taken more memory than that.
    let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
    let mut result = receiver.take(data(1, 1, 0, "B"), b"x");
    let mut tsn = 1;
    while result == Ok(ArrivedChunk::New) {
        tsn += 1;
        result = receiver.on_data(data(tsn, 1, 0, ""), Bytes::from_static(b"x"), 29);
        assert!(receiver.charged() <= (2 << 20) + WINDOW as usize);
    }
    assert_eq!(result, Err(Violation::MessageTooLarge));
}

#[test]
fn a_message_larger_than_the_window_gets_through() {
    let config = AssociationConfig { receive_window: 4096, mtu: 1200, receive_message_size_max: 1 << 20, ..config() };
    let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
    let count = 1024;
    let mut expected = Vec::new();
    // The sender keeps to the window: what it may have on its way, in the wrong order.
    let mut tsn = 1;
    while tsn <= count {
        let flight = (receiver.a_rwnd() / 1024).clamp(1, count + 1 - tsn);
        for tsn in (tsn..tsn + flight).rev() {
            let flags = [if tsn == 1 { "B" } else { "" }, if tsn == count { "E" } else { "" }].concat();
            let received = receiver.take_quickly(data(tsn, 1, 0, &flags), &[tsn as u8; 1024]);
            assert_ne!(received, ArrivedChunk::Duplicate);
        }
        while tsn <= receiver.cumulative_tsn().0 {
            expected.extend([tsn as u8; 1024]);
            tsn += 1;
        }
    }
    let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
    assert!(message.payload.into_bytes() == expected);
    assert_eq!(receiver.a_rwnd(), 0);
    receiver.on_sack_sent();
    assert!(receiver.release(message.credit));
    assert_eq!(receiver.a_rwnd(), 4096);
}

#[test]
fn d13_when_full_a_filler_is_taken_and_the_highest_are_given_up() {
    let mut receiver = limited();
    let mut tsn = 3;
    while receiver.take(data(tsn, 1, (tsn - 1) as u16, "BE"), &[tsn as u8; 1000]) == Ok(ArrivedChunk::New) {
        tsn += 1;
    }
    assert_eq!(receiver.a_rwnd(), 0);
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    let highest = receiver.gaps()[0].1;
    // A filler that is not next in sequence, then the next.
    receiver.take_new(data(2, 1, 1, "BE"), &[2; 1000]);
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    assert_eq!(receiver.gaps(), [(2, highest - 1)], "the one given up is no longer reported");
    assert_eq!((receiver.take_reneged(), receiver.take_reneged()), (1, 0));
    receiver.take_new(data(1, 1, 0, "BE"), &[1; 1000]);
    assert_eq!(receiver.read().len(), usize::from(highest) - 2);
    assert_eq!(receiver.cumulative_tsn(), Tsn(u32::from(highest) - 2));
    // The evicted chunk is retransmitted.
    for tsn in u32::from(highest) - 1..=tsn {
        receiver.take_new(data(tsn, 1, (tsn - 1) as u16, "BE"), &[tsn as u8; 1000]);
    }
    assert_eq!(receiver.charged() > 0, receiver.has_unread());
}

#[test]
fn d13_full_of_fragments_the_next_in_sequence_is_always_taken() {
    // A message with a hole fills the window. Nothing can be read, and only what comes can finish it.
    let config = AssociationConfig { receive_window: WINDOW, ..config() };
    let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
    let of = |tsn: u32| data(tsn, 1, 0, ["", "B", "E"][usize::from(tsn == 1) + 2 * usize::from(tsn == 200)]);
    receiver.take_new(of(1), &[1; 1000]);
    let mut tsn = 3;
    while receiver.take(of(tsn), &[tsn as u8; 1000]) == Ok(ArrivedChunk::New) {
        tsn += 1;
    }
    let full = tsn;
    assert!(full > 60 && full < 100);
    assert_eq!(receiver.gaps(), [(2, full as u16 - 2)]);
    for tsn in 2..=200 {
        let received = receiver.take(of(tsn), &[tsn as u8; 1000]).unwrap();
        let is_kept_from_before = tsn > 2 && tsn < full - 1;
        assert_eq!(
            received,
            if is_kept_from_before { ArrivedChunk::Duplicate } else { ArrivedChunk::New },
            "{tsn} of {full}"
        );
    }
    let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
    let expected: Vec<u8> = (1..=200).flat_map(|tsn| [tsn as u8; 1000]).collect();
    assert!(message.payload.into_bytes() == expected);
}

#[test]
fn d13_a_whole_message_that_is_given_up_in_part_is_whole_again_later() {
    let mut receiver = limited();
    // The highest message is whole and waits for its turn.
    receiver.take_new(data(40, 1, 1, "B"), &[1; 9000]);
    receiver.take_new(data(41, 1, 1, "E"), &[2; 9000]);
    receiver.take_new(data(2, 2, 0, "BE"), &[3; 40_000]);
    assert_eq!(receiver.assembler.data().ordered().held_back_len(), 1);
    receiver.take_new(data(1, 2, 1, "BE"), &[4; 18_000]);
    assert_eq!(receiver.assembler.data().ordered().held_back_len(), 1, "{:?}", receiver.gaps());
    receiver.take_new(data(3, 2, 2, "BE"), &[5; 9000]);
    assert_eq!(receiver.assembler.data().ordered().held_back_len(), 0);
    assert_eq!(receiver.gaps(), [(37, 37)]);
    receiver.read();
    receiver.take_new(data(41, 1, 1, "E"), &[2; 9000]);
    assert_eq!(receiver.forward(39, &[(1, 0)]), Forwarded::Advanced);
    let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
    assert_eq!(message.payload.into_bytes(), [[1; 9000], [2; 9000]].concat());
}

#[test]
fn beyond_the_hard_limit_data_is_dropped_until_the_application_reads() {
    let mut receiver = limited();
    let count = fill(&mut receiver, 1000);
    assert!(receiver.charged() <= WINDOW as usize * 5 / 4);
    assert!(receiver.charged() > WINDOW as usize);
    let next = count + 1;
    assert_eq!(receiver.take(data(next, 1, 0, "BEU"), &[0; 1000]), Ok(ArrivedChunk::Dropped));
    receiver.on_packet_end(at(0));
    assert_eq!(receiver.sack_due(), SackDue::Now);
    assert_eq!(receiver.read().len(), count as usize);
    receiver.take_new(data(next, 1, 0, "BEU"), &[0; 1000]);
}

#[test]
fn reading_sends_few_window_updates() {
    let mut receiver = limited();
    let count = fill(&mut receiver, 1000);
    receiver.on_packet_end(at(0));
    receiver.on_sack_sent();
    assert_eq!(receiver.a_rwnd(), 0);
    let mut updates = Vec::new();
    for _ in 0..count {
        let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
        if receiver.release(message.credit) {
            assert_eq!(receiver.sack_due(), SackDue::Now);
            updates.push(receiver.a_rwnd());
            receiver.on_sack_sent();
        }
    }
    // From closed to two packets, then by quarters.
    assert!((3..=5).contains(&updates.len()), "{updates:?}");
    assert!((2400..4000).contains(&updates[0]), "{updates:?}");
    assert!(updates[1..].windows(2).all(|pair| pair[1] >= pair[0] + WINDOW / 4), "{updates:?}");
}

#[test]
fn a_window_that_was_never_short_needs_no_updates() {
    let mut receiver = receiver();
    for tsn in 1..1000u32 {
        receiver.take_new(data(tsn, 1, 0, "BEU"), &[0; 1000]);
        receiver.on_packet_end(at(0));
        receiver.on_sack_sent();
        let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
        assert!(!receiver.release(message.credit));
    }
}

#[test]
fn the_overheads_cover_what_is_really_held() {
    // A block of memory of one byte takes 32 with what belongs to the allocator.
    let place = 2 * size_of::<ReceiverEvent>();
    assert!(place + 32 <= UNREAD_OVERHEAD, "{place}");
    let list = size_of::<(std::collections::VecDeque<Bytes>, usize)>();
    assert!(place + list + 32 <= MESSAGE_OVERHEAD, "{place} + {list}");
    // Nodes of a B-tree hold 5 to 11 entries.
    let held = (size_of::<UnwrappedTsn>() + DataAssembler::RUN_SIZE) * 11 / 5;
    let parked = (size_of::<(StreamId, u16)>() + size_of::<UnwrappedTsn>()) * 11 / 5;
    assert!(held + parked <= MESSAGE_OVERHEAD, "{held} + {parked}");
    assert!(2 * size_of::<Bytes>() <= FRAGMENT_OVERHEAD);
    // A list of fragments that grows from one has room for four.
    let message = IDataAssembler::MESSAGE_SIZE * 11 / 5 + 4 * size_of::<Bytes>();
    assert!(message <= MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD * 2, "{message}");
    let single = IDataAssembler::MESSAGE_SIZE * 11 / 5 + IDataAssembler::ABOVE_SIZE * 11 / 5;
    assert!(single <= MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD, "{single}");
    let fragment = (IDataAssembler::OUT_OF_ORDER_SIZE + IDataAssembler::ABOVE_SIZE) * 11 / 5;
    assert!(fragment <= FRAGMENT_OVERHEAD + OUT_OF_ORDER_OVERHEAD, "{fragment}");
}

impl Receiver {
    fn take_quickly(&mut self, chunk: DataChunk, payload: &[u8]) -> ArrivedChunk {
        self.on_data(chunk, Bytes::copy_from_slice(payload), payload.len() + HEADERS).unwrap()
    }
}
