//! Order within streams.

use super::*;

#[test]
fn messages_in_order_are_delivered_as_they_come() {
    let mut receiver = receiver();
    for n in 0..5u16 {
        receiver.take_new(data(1 + u32::from(n), 3, n, "BE"), b"hello");
        assert_eq!(receiver.read(), ["3:hello"]);
    }
    assert_eq!(receiver.cumulative_tsn(), Tsn(5));
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn a_message_before_its_turn_waits_and_streams_do_not_wait_for_each_other() {
    let mut receiver = receiver();
    receiver.take_new(data(3, 1, 1, "BE"), b"second");
    receiver.take_new(data(4, 2, 0, "BE"), b"other");
    receiver.take_new(data(2, 1, 2, "BE"), b"third");
    assert_eq!(receiver.read(), ["2:other"]);
    receiver.take_new(data(1, 1, 0, "BE"), b"first");
    assert_eq!(receiver.read(), ["1:first", "1:second", "1:third"]);
    assert_eq!(receiver.cumulative_tsn(), Tsn(4));
}

#[test]
fn d03_the_tsn_wraps_with_and_without_loss() {
    for distance in 0..300u32 {
        let first = 0u32.wrapping_sub(distance);
        let mut receiver = Receiver::new(Tsn(first), &config(), STREAMS, false);
        // Every third comes late, after the two that follow it; a message has three fragments.
        let mut order: Vec<u32> = (0..600).collect();
        for group in order.chunks_mut(3) {
            group.rotate_left(1);
        }
        for n in order {
            let flags = ["B", "", "E"][n as usize % 3];
            let result = receiver.on_data(
                data(first.wrapping_add(n), 1, u16::try_from(n / 3).unwrap(), flags),
                Bytes::copy_from_slice(&n.to_be_bytes()),
                32,
            );
            assert_eq!(result, Ok(ArrivedChunk::New));
        }
        assert_eq!(receiver.cumulative_tsn(), Tsn(first.wrapping_add(599)));
        for n in 0..200u32 {
            let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("message {n} is missing") };
            let expected: Vec<u8> = (3 * n..3 * n + 3).flat_map(u32::to_be_bytes).collect();
            assert_eq!(message.payload.into_bytes(), expected);
            receiver.release(message.credit);
        }
        assert_eq!(receiver.charged(), 0);
    }
}

#[test]
fn d04_the_ssn_wraps_within_70_000_messages() {
    let mut receiver = receiver();
    for n in 0..70_000u32 {
        // Each pair comes the wrong way round.
        let n = n ^ 1;
        let (low, payload) = ((n & 0xffff) as u16, n.to_be_bytes());
        assert_eq!(
            receiver.on_data(data(1 + n, 5, low, "BE"), Bytes::copy_from_slice(&payload), 32),
            Ok(ArrivedChunk::New)
        );
        while n % 2 == 0
            && let Some(ReceiverEvent::Message(message)) = receiver.poll()
        {
            let expected = if message.payload.clone().into_bytes() == payload[..] { n } else { n + 1 };
            assert_eq!(message.payload.into_bytes(), expected.to_be_bytes()[..]);
            receiver.release(message.credit);
        }
    }
    assert_eq!(receiver.assembler.data().ordered().next_ssn(StreamId(5)), Ssn((70_000u32 & 0xffff) as u16));
    assert!(!receiver.has_unread());
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn d06_data_on_a_stream_that_does_not_exist_is_acknowledged_and_discarded() {
    let mut receiver = receiver();
    assert_eq!(receiver.take(data(1, STREAMS, 0, "BE"), b"x"), Ok(ArrivedChunk::BadStream));
    assert_eq!(receiver.take(data(3, u16::MAX, 7, "B"), b"x"), Ok(ArrivedChunk::BadStream));
    assert_eq!(receiver.cumulative_tsn(), Tsn(1));
    assert_eq!(receiver.gaps(), [(2, 2)]);
    assert_eq!(receiver.charged(), 0);
    receiver.take_new(data(2, STREAMS - 1, 0, "BE"), b"last");
    assert_eq!(receiver.read(), ["15:last"]);
    // In the middle of a message it is a contradiction like any change of stream.
    receiver.take_new(data(4, 1, 0, "B"), b"x");
    assert_eq!(receiver.take(data(5, STREAMS, 0, ""), b"x"), Err(Violation::BadFragment));
}

#[test]
fn d17_ordered_and_unordered_messages_of_a_stream_do_not_wait_for_each_other() {
    let mut receiver = receiver();
    receiver.take_new(data(2, 1, 0, "BEU"), b"unordered 1");
    receiver.take_new(data(3, 1, 1, "BE"), b"ordered 1");
    receiver.take_new(data(4, 1, 9, "BU"), b"unordered ");
    receiver.take_new(data(5, 1, 9, "EU"), b"2");
    assert_eq!(receiver.read(), ["1:unordered 1", "1:unordered 2"]);
    receiver.take_new(data(1, 1, 0, "BE"), b"ordered 0");
    assert_eq!(receiver.read(), ["1:ordered 0", "1:ordered 1"]);
    // An unfinished unordered message holds back no ordered one, and the reverse.
    receiver.take_new(data(7, 1, 0, "EU"), b"tail");
    receiver.take_new(data(8, 1, 2, "BE"), b"ordered 2");
    assert_eq!(receiver.read(), ["1:ordered 2"]);
    receiver.take_new(data(6, 1, 0, "BU"), b"head and ");
    assert_eq!(receiver.read(), ["1:head and tail"]);
}

#[test]
fn an_ssn_that_was_delivered_before_is_a_violation_once_it_is_in_sequence() {
    let mut receiver = receiver();
    for n in 0..3 {
        receiver.take_new(data(1 + n, 1, n as u16, "BE"), b"x");
    }
    // Ahead of a gap it could be more than half the circle on, so it is not judged yet.
    assert_eq!(receiver.take(data(5, 1, 1, "BE"), b"x"), Ok(ArrivedChunk::Dropped));
    assert_eq!(receiver.gaps(), []);
    assert_eq!(receiver.take(data(4, 1, 1, "BE"), b"x"), Err(Violation::BadFragment));
}

#[test]
fn forty_thousand_messages_behind_one_loss_are_all_delivered() {
    // More than half the circle of SSNs: those beyond it are not taken before the gap is filled, and come again.
    let config = AssociationConfig { receive_window: 64 << 20, ..config() };
    let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
    let mut missing: std::collections::VecDeque<u32> = (1..40_000).chain([0]).collect();
    let mut delivered = 0;
    while let Some(n) = missing.pop_front() {
        let chunk = data(1 + n, 1, n as u16, "BE");
        match receiver.on_data(chunk, Bytes::copy_from_slice(&n.to_be_bytes()), 32) {
            Ok(ArrivedChunk::New) => {}
            Ok(ArrivedChunk::Dropped) => missing.push_back(n),
            other => panic!("{other:?}"),
        }
        receiver.on_packet_end(at(0));
        while let Some(ReceiverEvent::Message(message)) = receiver.poll() {
            assert_eq!(message.payload.into_bytes(), u32::to_be_bytes(delivered)[..]);
            receiver.release(message.credit);
            delivered += 1;
        }
    }
    assert_eq!(delivered, 40_000);
    receiver.check_consistency();
}

#[test]
fn two_messages_with_one_ssn_are_a_violation() {
    let mut receiver = receiver();
    receiver.take_new(data(2, 1, 1, "BE"), b"x");
    assert_eq!(receiver.take(data(3, 1, 1, "BE"), b"y"), Err(Violation::BadFragment));
}

#[test]
fn streams_in_their_initial_state_take_no_memory() {
    let config = config();
    let mut receiver = Receiver::new(Tsn(1), &config, u16::MAX, false);
    let mut tsn = 1;
    for cycle in 0..70_000u32 {
        let stream = (cycle % 65_535) as u16;
        let chunk = data(tsn, stream, 0, "BE");
        assert_eq!(receiver.on_data(chunk, Bytes::from_static(b"x"), 29), Ok(ArrivedChunk::New));
        assert_eq!(receiver.reset_streams(Streams::List(vec![StreamId(stream)]), Tsn(tsn)), ResetProgress::Performed);
        tsn += 1;
        while let Some(event) = receiver.poll() {
            if let ReceiverEvent::Message(message) = event {
                receiver.release(message.credit);
            }
        }
        assert_eq!(receiver.assembler.data().ordered().streams_len(), 0);
    }
    // And all at once work as well.
    for stream in 0..u16::MAX {
        let chunk = data(tsn, stream, 0, "BE");
        assert_eq!(receiver.on_data(chunk, Bytes::from_static(b"x"), 29), Ok(ArrivedChunk::New));
        tsn += 1;
        while let Some(ReceiverEvent::Message(message)) = receiver.poll() {
            receiver.release(message.credit);
        }
    }
    assert_eq!(receiver.assembler.data().ordered().streams_len(), 65_535);
    assert_eq!(receiver.reset_streams(Streams::All, Tsn(tsn - 1)), ResetProgress::Performed);
    assert_eq!(receiver.assembler.data().ordered().streams_len(), 0);
}
