//! Fragments.

use super::*;

#[test]
fn fragments_join_in_every_order() {
    let pieces: [(&str, &[u8]); 4] = [("B", b"one "), ("", b"two "), ("", b"three "), ("E", b"four")];
    for permutation in 0..24 {
        let mut left: Vec<usize> = (0..4).collect();
        let mut code = permutation;
        let mut receiver = receiver();
        for choices in (1..=4).rev() {
            let n = left.remove(code % choices);
            code /= choices;
            receiver.take_new(data(1 + n as u32, 1, 0, pieces[n].0), pieces[n].1);
        }
        assert_eq!(receiver.read(), ["1:one two three four"], "permutation {permutation}");
        assert_eq!(receiver.charged(), 0);
    }
}

#[test]
fn a_whole_message_in_front_of_the_middle_of_one_is_a_violation() {
    for flags in ["", "E"] {
        let mut receiver = receiver();
        receiver.take_new(data(2, 1, 0, flags), b"not the first");
        assert_eq!(receiver.take(data(1, 1, 0, "BE"), b"whole"), Err(Violation::BadFragment), "{flags:?}");
    }
    let mut receiver = receiver();
    receiver.take_new(data(2, 1, 1, "B"), b"the first");
    receiver.take_new(data(1, 1, 0, "BE"), b"whole");
    assert_eq!(receiver.read(), ["1:whole"]);
}

#[test]
fn the_ppid_is_that_of_the_first_fragment() {
    for backwards in [false, true] {
        let mut receiver = receiver();
        let mut chunks: Vec<_> = ["B", "", "E"].iter().zip(1..).map(|(flags, tsn)| data(tsn, 1, 0, flags)).collect();
        for (chunk, ppid) in chunks.iter_mut().zip(53..) {
            chunk.ppid = Ppid(ppid);
        }
        if backwards {
            chunks.reverse();
        }
        for chunk in chunks {
            receiver.take_new(chunk, b"x");
        }
        let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
        assert_eq!(message.ppid, Ppid(53));
    }
}

#[test]
fn d01_of_two_chunks_with_one_tsn_the_first_counts_and_the_reports_are_bounded() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"first");
    receiver.take_new(data(3, 1, 1, "B"), b"kept ");
    assert_eq!(receiver.take(data(1, 1, 0, "BE"), b"other"), Ok(ArrivedChunk::Duplicate));
    assert_eq!(receiver.take(data(3, 2, 9, "BEU"), b"other"), Ok(ArrivedChunk::Duplicate));
    assert_eq!(receiver.duplicates(), [1, 3]);
    receiver.take_new(data(4, 1, 1, "E"), b"whole");
    receiver.take_new(data(2, 2, 0, "BE"), b"gap");
    assert_eq!(receiver.read(), ["1:first", "1:kept whole", "2:gap"]);
    for _ in 0..1000 {
        assert_eq!(receiver.take(data(2, 2, 0, "BE"), b"gap"), Ok(ArrivedChunk::Duplicate));
    }
    assert_eq!(receiver.duplicates().len(), tracker::DUPLICATES_MAX);
    assert_eq!(receiver.sack_parts(100).3.count(), 21);
    receiver.on_sack_sent();
    assert_eq!(receiver.duplicates(), []);
}

#[test]
fn d02_a_tsn_out_of_reach_is_dropped() {
    let window = config().receive_window;
    let mut receiver = receiver();
    for ahead in [window + 1, window + 2, (1 << 31) - 1, 1 << 31] {
        assert_eq!(receiver.take(data(ahead, 1, 0, "BE"), b"x"), Ok(ArrivedChunk::Dropped), "{ahead} ahead");
    }
    assert_eq!(receiver.take(data((1 << 31) + 1, 1, 0, "BE"), b"x"), Ok(ArrivedChunk::Duplicate));
    assert!(!receiver.tracker.has_gaps());
    receiver.take_new(data(window, 1, 9, "BE"), b"x");
    assert_eq!(receiver.charged(), 1 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD);
    // It lies beyond what a gap block can say.
    assert_eq!(receiver.gaps(), []);
}

#[test]
fn d10_fragments_that_contradict_each_other_are_a_violation() {
    // Each: chunks that are fine, then one that is not.
    let cases: [&[(u32, u16, u16, &str)]; 22] = [
        // A second beginning, or none.
        &[(1, 1, 0, "B"), (2, 1, 0, "B")],
        &[(1, 1, 0, "B"), (2, 1, 1, "BE")],
        &[(1, 1, 0, "E")],
        &[(1, 1, 0, "")],
        &[(1, 1, 0, "BE"), (2, 1, 0, "E")],
        &[(2, 1, 0, "BE"), (3, 1, 1, "E")],
        &[(2, 1, 0, "B"), (3, 1, 0, "BE")],
        // An end in the middle, or none.
        &[(3, 1, 0, ""), (2, 1, 0, "E")],
        &[(3, 1, 0, "E"), (2, 1, 0, "BE")],
        &[(3, 1, 0, "B"), (2, 1, 0, "B")],
        &[(3, 1, 0, "BE"), (2, 1, 1, "")],
        &[(2, 1, 0, "BEU"), (1, 1, 0, "B")],
        // The stream, the SSN or the U bit changes.
        &[(1, 1, 0, "B"), (2, 2, 0, "E")],
        &[(1, 1, 0, "B"), (2, 1, 1, "E")],
        &[(1, 1, 0, "B"), (2, 1, 0, "EU")],
        &[(1, 1, 0, "BU"), (2, 1, 0, "E")],
        &[(2, 1, 0, "E"), (1, 2, 0, "B")],
        &[(2, 1, 0, "E"), (1, 1, 1, "B")],
        &[(2, 1, 0, "E"), (1, 1, 0, "BU")],
        &[(3, 1, 0, ""), (4, 1, 1, "")],
        &[(3, 1, 0, ""), (5, 2, 0, "E"), (4, 1, 0, "")],
        &[(3, 1, 0, "B"), (5, 1, 0, "E"), (4, 1, 0, "BE")],
    ];
    for case in cases {
        let mut receiver = receiver();
        let (&(tsn, stream, ssn, flags), fine) = case.split_last().unwrap();
        for &(tsn, stream, ssn, flags) in fine {
            receiver.take_new(data(tsn, stream, ssn, flags), b"x");
        }
        let events = receiver.read();
        assert_eq!(receiver.take(data(tsn, stream, ssn, flags), b"y"), Err(Violation::BadFragment), "{case:?}");
        assert!(events.iter().all(|event| event.len() == 3), "{events:?}");
        assert!(!receiver.has_unread(), "{case:?}");
    }
}

#[test]
fn the_ssn_of_unordered_fragments_means_nothing() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 7, "BU"), b"a");
    receiver.take_new(data(2, 1, 9, "EU"), b"b");
    assert_eq!(receiver.read(), ["1:ab"]);
}

#[test]
fn d14_a_message_above_the_limit_is_a_violation_however_it_comes() {
    let config = AssociationConfig { receive_message_size_max: 1000, ..config() };
    for (order, expected) in [
        (vec![1, 2, 3, 4], "at the last"),
        (vec![4, 3, 2, 1], "at the first"),
        (vec![1, 4, 2, 3], "in the middle"),
        (vec![2, 3, 4, 1], "behind a gap"),
    ] {
        for (size, fits) in [(250, true), (251, false)] {
            let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
            let mut result = Ok(ArrivedChunk::New);
            for &tsn in &order {
                let flags = ["B", "", "", "E"][tsn as usize - 1];
                result = receiver.take(data(tsn, 1, 0, flags), &vec![0; size]);
            }
            let wanted = if fits { Ok(ArrivedChunk::New) } else { Err(Violation::MessageTooLarge) };
            assert_eq!(result, wanted, "{expected}, {size}");
        }
    }
    for (size, wanted) in [(1000, Ok(ArrivedChunk::New)), (1001, Err(Violation::MessageTooLarge))] {
        let mut receiver = Receiver::new(Tsn(1), &config, STREAMS, false);
        assert_eq!(receiver.take(data(1, 1, 0, "BE"), &vec![0; size]), wanted);
    }
}

#[test]
fn d18_a_small_payload_does_not_keep_its_datagram() {
    let datagram = Bytes::from(vec![7; 64 << 10]);
    let mut receiver = receiver();
    for n in 0..10u16 {
        let payload = datagram.slice(usize::from(n)..usize::from(n) + 1);
        let chunk = data(1 + u32::from(n), 1, n, "BE");
        assert_eq!(receiver.on_data(chunk, payload, datagram.len()), Ok(ArrivedChunk::New));
    }
    assert!(datagram.is_unique());
    // A quarter of it may.
    let payload = datagram.slice(..datagram.len() / 4);
    assert_eq!(receiver.on_data(data(11, 1, 10, "BE"), payload, datagram.len()), Ok(ArrivedChunk::New));
    assert!(!datagram.is_unique());
}

#[test]
fn when_much_is_held_payloads_keep_at_most_a_third_more_than_themselves() {
    let mut receiver = Receiver::new(Tsn(1), &small_window(64 << 10), STREAMS, false);
    receiver.take_new(data(1, 1, 0, "BE"), &[0; 9000]);
    let datagram = Bytes::from(vec![7; 1200]);
    for (n, (len, is_kept)) in [(899, false), (900, true)].into_iter().enumerate() {
        let chunk = data(2 + n as u32, 1, 1 + n as u16, "BE");
        assert_eq!(receiver.on_data(chunk, datagram.slice(..len), datagram.len()), Ok(ArrivedChunk::New));
        assert_eq!(!datagram.is_unique(), is_kept, "{len} of 1200");
    }
}
