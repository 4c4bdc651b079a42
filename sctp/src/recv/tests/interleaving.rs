//! I-DATA: messages by MID and FSN, in order, skipped and reset.

use super::*;

fn streams(list: &[u16]) -> Streams {
    Streams::List(list.iter().copied().map(StreamId).collect())
}

#[test]
fn messages_of_several_streams_interleave_and_none_waits_for_another() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "B"), b"one ");
    receiver.take_new(i_data(2, 2, 0, 0, "B"), b"two ");
    receiver.take_new(i_data(3, 1, 0, 1, ""), b"goes ");
    receiver.take_new(i_data(4, 3, 0, 0, "BE"), b"ping");
    assert_eq!(receiver.read(), ["3:ping"]);
    receiver.take_new(i_data(5, 2, 0, 1, "E"), b"ends");
    receiver.take_new(i_data(6, 1, 0, 2, "E"), b"on");
    assert_eq!(receiver.read(), ["2:two ends", "1:one goes on"]);
    assert_eq!(receiver.charged(), 0);
    assert_eq!(receiver.cumulative_tsn(), Tsn(6));
}

#[test]
fn d12_fragments_join_in_every_order_of_arrival_and_of_tsns() {
    // RFC 8260 §2.2.3: "The receiver MUST NOT make any assumption about the TSN assignments of the sender."
    let pieces: [(&str, &[u8]); 4] = [("B", b"one "), ("", b"two "), ("", b"three "), ("E", b"four")];
    let permutation = |mut code: usize| {
        let mut left: Vec<u32> = (0..4).collect();
        let mut taken = Vec::new();
        for choices in (1..=4).rev() {
            taken.push(left.remove(code % choices));
            code /= choices;
        }
        taken
    };
    for arrival in 0..24 {
        for numbering in 0..24 {
            let tsns = permutation(numbering);
            let mut receiver = interleaving();
            for n in permutation(arrival) {
                let (flags, payload) = pieces[n as usize];
                receiver.take_new(i_data(1 + tsns[n as usize], 1, 0, n, flags), payload);
            }
            assert_eq!(receiver.read(), ["1:one two three four"], "{arrival}, {numbering}");
            assert_eq!(receiver.charged(), 0);
        }
    }
}

#[test]
fn the_ppid_is_that_of_the_first_fragment_whichever_comes_first() {
    for backwards in [false, true] {
        let mut receiver = interleaving();
        let mut chunks = [i_data(1, 1, 0, 0, "B"), i_data(2, 1, 0, 1, ""), i_data(3, 1, 0, 2, "E")];
        if backwards {
            chunks.reverse();
        }
        for chunk in chunks {
            receiver.take_new(chunk, b"x");
        }
        let Some(ReceiverEvent::Message(message)) = receiver.poll() else { panic!("no message") };
        assert_eq!((message.ppid, message.payload.len()), (Ppid(51), 3));
    }
}

#[test]
fn the_i_bit_asks_for_a_sack_at_once() {
    for (flag, due) in [("", SackDue::At(at(20))), ("I", SackDue::Now)] {
        let mut receiver = interleaving();
        // A young receiver acknowledges each packet at once.
        for tsn in 1..=20 {
            receiver.take_new(i_data(tsn, 1, tsn - 1, 0, "BE"), b"x");
            receiver.on_packet_end(at(0));
            receiver.on_sack_sent();
        }
        receiver.take_new(i_data(21, 1, 20, 0, &format!("B{flag}")), b"x");
        receiver.on_packet_end(at(0));
        assert_eq!(receiver.sack_due(), due);
    }
}

#[test]
fn ordered_messages_wait_for_their_turn_and_unordered_ones_do_not() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(2, 1, 1, 0, "BE"), b"second");
    receiver.take_new(i_data(4, 1, 2, 1, "E"), b"rd");
    receiver.take_new(i_data(3, 1, 2, 0, "B"), b"thi");
    // The same MID, counted apart.
    receiver.take_new(i_data(5, 1, 1, 0, "BEU"), b"unordered 1");
    receiver.take_new(i_data(6, 1, 0, 0, "BU"), b"unordered ");
    receiver.take_new(i_data(7, 1, 0, 1, "EU"), b"0");
    receiver.take_new(i_data(8, 2, 0, 0, "BE"), b"elsewhere");
    assert_eq!(receiver.read(), ["1:unordered 1", "1:unordered 0", "2:elsewhere"]);
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"first");
    assert_eq!(receiver.read(), ["1:first", "1:second", "1:third"]);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn d05_the_mid_wraps_in_order_out_of_order_and_skipped() {
    for before in 0..6u32 {
        let first = 0u32.wrapping_sub(before);
        let mut receiver = interleaving();
        receiver.assembler.i_data().mids_mut().begin_at(StreamId(1), Mid(first));
        let of = |n: u32, flags: &str| i_data(1 + n, 1, first.wrapping_add(n), 0, flags);
        // 0 comes last; 1 and 2 are skipped, of which 2 is whole; 5 is partial.
        receiver.take_new(of(4, "BE"), b"4");
        receiver.take_new(of(2, "BE"), b"2");
        receiver.take_new(of(3, "BE"), b"3");
        receiver.take_new(of(5, "B"), b"5");
        receiver.take_new(of(0, "BE"), b"0");
        assert_eq!(receiver.read(), ["1:0"]);
        let last = skipped(1, false, first.wrapping_add(1));
        assert_eq!(receiver.forward_messages(2, &[last]), Forwarded::Advanced);
        assert_eq!(receiver.read(), ["1:2", "1:3", "1:4"], "{before} before the wrap");
        assert_eq!(receiver.forward_messages(7, &[skipped(1, false, first.wrapping_add(5))]), Forwarded::Advanced);
        assert_eq!(receiver.charged(), 0);
        assert_eq!(receiver.assembler.i_data().mids().next(StreamId(1), false), Mid(first.wrapping_add(6)));
    }
}

#[test]
fn d12_fragments_of_one_message_that_contradict_each_other_are_a_violation() {
    // Each: chunks that are fine, then one that is not.
    type Fields = (u32, u16, u32, u32, &'static str);
    let cases: [&[Fields]; 14] = [
        // The B bit and FSN 0 belong together.
        &[(1, 1, 0, 0, "")],
        &[(1, 1, 0, 0, "E")],
        // One FSN twice: in sequence, ahead, of the whole and of a part.
        &[(1, 1, 0, 0, "B"), (2, 1, 0, 0, "B")],
        &[(1, 1, 0, 0, "B"), (2, 1, 0, 1, ""), (3, 1, 0, 1, "")],
        &[(1, 1, 0, 0, "B"), (4, 1, 0, 1, ""), (3, 1, 0, 1, "")],
        &[(5, 1, 0, 7, ""), (4, 1, 0, 7, "")],
        &[(5, 1, 1, 0, "BE"), (4, 1, 1, 0, "B")],
        &[(5, 1, 1, 0, "B"), (4, 1, 1, 0, "BE")],
        &[(5, 1, 0, 0, "BU"), (4, 1, 0, 0, "BEU")],
        // A fragment behind the last, and a last one before others.
        &[(5, 1, 0, 1, "E"), (4, 1, 0, 2, "")],
        &[(5, 1, 0, 2, "E"), (4, 1, 0, 3, "E")],
        &[(5, 1, 0, 2, "E"), (4, 1, 0, 1, "E")],
        &[(5, 1, 0, 2, ""), (4, 1, 0, 1, "E")],
        // A message that was delivered.
        &[(1, 1, 0, 0, "BE"), (2, 1, 0, 0, "BE")],
    ];
    for case in cases {
        let mut receiver = interleaving();
        let (&(tsn, stream, mid, fsn, flags), fine) = case.split_last().unwrap();
        for &(tsn, stream, mid, fsn, flags) in fine {
            receiver.take_new(i_data(tsn, stream, mid, fsn, flags), b"x");
        }
        receiver.read();
        let result = receiver.take(i_data(tsn, stream, mid, fsn, flags), b"y");
        assert_eq!(result, Err(Violation::BadFragment), "{case:?}");
        assert!(!receiver.has_unread(), "{case:?}");
    }
}

#[test]
fn the_other_kind_of_chunk_is_a_violation() {
    for stream in [1, STREAMS] {
        let result = interleaving().take(data(1, stream, 0, "BE"), b"x");
        assert_eq!(result, Err(Violation::NotNegotiated));
        let result = receiver().take(i_data(1, stream, 0, 0, "BE"), b"x");
        assert_eq!(result, Err(Violation::NotNegotiated));
    }
}

#[test]
fn a_mid_that_was_delivered_is_judged_once_it_is_in_sequence() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"x");
    // The stream may have been reset, and the request be on its way.
    assert_eq!(receiver.take(i_data(3, 1, 0, 0, "BE"), b"new"), Ok(ArrivedChunk::Dropped));
    assert_eq!(receiver.gaps(), []);
    receiver.take_new(i_data(2, 2, 0, 0, "BE"), b"x");
    assert_eq!(receiver.take(i_data(3, 1, 0, 0, "BE"), b"new"), Err(Violation::BadFragment));
}

#[test]
fn data_on_a_stream_that_does_not_exist_is_acknowledged_and_discarded() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "B"), b"whole ");
    assert_eq!(receiver.take(i_data(2, STREAMS, 0, 1, ""), b"x"), Ok(ArrivedChunk::BadStream));
    receiver.take_new(i_data(3, 1, 0, 1, "E"), b"message");
    assert_eq!(receiver.read(), ["1:whole message"], "it lies between fragments, as it may");
    assert_eq!(receiver.cumulative_tsn(), Tsn(3));
}

#[test]
fn a_skipped_message_is_discarded_and_its_late_fragments_are_acknowledged() {
    for unordered in [false, true] {
        let u = if unordered { "U" } else { "" };
        let mut receiver = interleaving();
        let of = |tsn, mid, fsn, flags: &str| i_data(tsn, 1, mid, fsn, &format!("{flags}{u}"));
        // Message 0 has the odd TSNs; a message of another stream has the even ones.
        receiver.take_new(of(3, 0, 1, ""), b"never");
        receiver.take_new(i_data(2, 2, 0, 0, "B"), b"other ");
        receiver.take_new(of(9, 1, 0, "BE"), b"next");
        assert_eq!(receiver.forward_messages(1, &[skipped(1, unordered, 0)]), Forwarded::Advanced);
        assert_eq!(receiver.read(), ["1:next"], "nothing waits for it any more");
        assert_eq!(receiver.cumulative_tsn(), Tsn(3));
        // The rest of it was on its way, in any order.
        for (tsn, fsn, flags) in [(7, 3, "E"), (5, 2, "")] {
            receiver.take_new(of(tsn, 0, fsn, flags), b"late");
        }
        let charged = receiver.charged();
        assert_eq!(charged, 6 + MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD, "only the other message is held");
        receiver.take_new(i_data(4, 2, 0, 1, "E"), b"message");
        assert_eq!(receiver.read(), ["2:other message"]);
        assert_eq!(receiver.cumulative_tsn(), Tsn(5));
        // The sender goes on to name it while its TSNs lie on the way.
        assert_eq!(receiver.forward_messages(8, &[skipped(1, unordered, 0)]), Forwarded::Advanced);
        receiver.take_new(of(10, 2, 0, "BE"), b"after");
        assert_eq!(receiver.read(), ["1:after"]);
        assert_eq!(receiver.charged(), 0);
    }
}

#[test]
fn a_message_that_is_whole_is_delivered_though_it_is_skipped() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(2, 1, 1, 0, "B"), b"who");
    receiver.take_new(i_data(3, 1, 1, 1, "E"), b"le");
    receiver.take_new(i_data(4, 1, 2, 0, "B"), b"part");
    receiver.take_new(i_data(6, 1, 3, 0, "BE"), b"after");
    assert_eq!(receiver.forward_messages(5, &[skipped(1, false, 2)]), Forwarded::Advanced);
    assert_eq!(receiver.read(), ["1:whole", "1:after"]);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn f05_bad_entries_are_ignored_and_nothing_is_lost_or_out_of_order() {
    let mut receiver = interleaving();
    for n in 0..10 {
        receiver.take_new(i_data(1 + 2 * n, 1, n, 0, "BE"), b"x");
        receiver.take_new(i_data(2 + 2 * n, 1, n, 0, "BEU"), b"x");
    }
    receiver.read();
    receiver.take_new(i_data(22, 1, 11, 0, "BE"), b"eleven");
    receiver.take_new(i_data(23, 1, 11, 1, "EU"), b"eleven");
    let mut entries = Vec::new();
    for unordered in [false, true] {
        entries.extend([
            skipped(1, unordered, 9),        // old
            skipped(1, unordered, 0),        // older
            skipped(1, unordered, 1000),     // more than can have been skipped
            skipped(1, unordered, 1 << 31),  // the same
            skipped(1, unordered, u32::MAX), // backwards
            skipped(STREAMS, unordered, 0),  // no such stream
            skipped(2, unordered, 5),        // more than can have been skipped
        ]);
    }
    assert_eq!(receiver.forward_messages(21, &entries), Forwarded::Advanced);
    assert_eq!(receiver.read(), Vec::<String>::new());
    let mids = receiver.assembler.i_data().mids();
    assert_eq!((mids.next(StreamId(1), false), mids.next(StreamId(2), true)), (Mid(10), Mid(0)));
    // Nothing of what is to come counts as skipped.
    receiver.take_new(i_data(24, 1, 11, 0, "BU"), b"unordered ");
    receiver.take_new(i_data(25, 2, 0, 0, "BEU"), b"zero");
    receiver.take_new(i_data(26, 1, 10, 0, "BE"), b"ten");
    assert_eq!(receiver.read(), ["1:unordered eleven", "2:zero", "1:ten", "1:eleven"]);
}

#[test]
fn f02_an_old_i_forward_tsn_changes_nothing_and_gets_a_sack() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"x");
    receiver.on_packet_end(at(0));
    receiver.on_sack_sent();
    for old in [1, 0, u32::MAX] {
        assert_eq!(receiver.forward_messages(old, &[skipped(1, false, 5)]), Forwarded::Old);
        receiver.on_packet_end(at(0));
        assert_eq!(receiver.sack_due(), SackDue::Now);
        receiver.on_sack_sent();
    }
    assert_eq!(receiver.forward_messages(config().receive_window + 2, &[]), Forwarded::TooFar);
    assert_eq!(receiver.cumulative_tsn(), Tsn(1));
}

#[test]
fn a_mark_of_skipped_messages_follows_their_numbers_around_the_circle() {
    let mut receiver = interleaving();
    assert_eq!(receiver.forward_messages(1, &[skipped(1, true, 0)]), Forwarded::Advanced);
    // Half a thousand million messages lie between two of these.
    for (tsn, mid) in (2..).zip((1..20u32).map(|n| n.wrapping_mul(1 << 29))) {
        receiver.take_new(i_data(tsn, 1, mid, 0, "BEU"), b"new");
        assert_eq!(receiver.read(), ["1:new"], "{mid}");
    }
}

#[test]
fn g03_a_reset_waits_for_data_sent_before_it_and_mids_begin_again() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"first");
    receiver.take_new(i_data(2, 1, 0, 0, "BEU"), b"unordered");
    receiver.take_new(i_data(4, 1, 1, 1, "E"), b"ond");
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(4)), ResetProgress::Deferred);
    assert_eq!(receiver.deferred(), Some(&streams(&[1])));
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(4)), ResetProgress::Deferred);
    assert_eq!(receiver.reset_streams(streams(&[2]), Tsn(4)), ResetProgress::Busy);
    // A sender waits for the answer. What one sends that does not is not taken yet: it is numbered like what is held.
    for unordered in ["", "U"] {
        let early = i_data(5, 1, 1, 0, &format!("BE{unordered}"));
        assert_eq!(receiver.take(early, b"early"), Ok(ArrivedChunk::Dropped));
    }
    receiver.take_new(i_data(6, 2, 0, 0, "BE"), b"elsewhere");
    receiver.take_new(i_data(3, 1, 1, 0, "B"), b"sec");
    assert!(receiver.take_performed_reset());
    assert_eq!(receiver.read(), ["1:first", "1:unordered", "2:elsewhere", "1:second", "reset [1]"]);
    for (tsn, unordered) in [(5, ""), (7, "U")] {
        receiver.take_new(i_data(tsn, 1, 0, 0, &format!("BE{unordered}")), b"new");
    }
    assert_eq!(receiver.read(), ["1:new", "1:new"]);
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(4)), ResetProgress::Performed, "performed once");
    assert_eq!(receiver.read(), Vec::<String>::new());
}

#[test]
fn a_reset_ends_the_old_use_of_a_stream_and_no_other() {
    for all in [false, true] {
        let mut receiver = interleaving();
        receiver.take_new(i_data(1, 1, 3, 0, "BE"), b"three");
        receiver.take_new(i_data(2, 1, 1, 0, "BE"), b"one");
        receiver.take_new(i_data(3, 1, 4, 0, "B"), b"unfinished");
        receiver.take_new(i_data(4, 1, 0, 0, "BU"), b"unfinished");
        receiver.take_new(i_data(5, 2, 0, 0, "B"), b"other ");
        let list = if all { Streams::All } else { streams(&[1]) };
        assert_eq!(receiver.reset_streams(list, Tsn(5)), ResetProgress::Performed);
        let reset = if all { "reset all" } else { "reset [1]" };
        assert_eq!(receiver.read(), ["1:one", "1:three", reset]);
        receiver.take_new(i_data(6, 1, 0, 0, "BE"), b"new");
        assert_eq!(receiver.read(), ["1:new"]);
        if all {
            assert_eq!(receiver.charged(), 0);
            continue;
        }
        receiver.take_new(i_data(7, 2, 0, 1, "E"), b"message");
        assert_eq!(receiver.read(), ["2:other message"]);
    }
}

#[test]
fn entries_for_the_old_use_of_a_stream_do_not_skip_messages_of_the_new() {
    for (unordered, flags) in [(false, "BE"), (true, "BEU")] {
        let mut receiver = interleaving();
        for n in 0..50 {
            receiver.take_new(i_data(1 + n, 1, n, 0, flags), b"x");
        }
        assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(50)), ResetProgress::Performed);
        receiver.read();
        assert_eq!(receiver.forward_messages(52, &[skipped(1, unordered, 49)]), Forwarded::Advanced);
        receiver.take_new(i_data(53, 1, 0, 0, flags), b"new");
        assert_eq!(receiver.read(), ["1:new"]);
    }
}

#[test]
fn streams_in_their_initial_state_take_no_memory() {
    let mut receiver = Receiver::new(Tsn(1), &config(), u16::MAX, true);
    let mut tsn = 1;
    for stream in 0..u16::MAX {
        let flags = if stream % 2 == 0 { "BE" } else { "BEU" };
        let chunk = i_data(tsn, stream, 0, 0, flags);
        assert_eq!(receiver.on_data(chunk, Bytes::from_static(b"x"), 29), Ok(ArrivedChunk::New));
        tsn += 1;
        while let Some(ReceiverEvent::Message(message)) = receiver.poll() {
            receiver.release(message.credit);
        }
    }
    assert!(receiver.memory_charged() < 1 << 20, "{}", receiver.memory_charged());
    assert_eq!(receiver.reset_streams(Streams::All, Tsn(tsn - 1)), ResetProgress::Performed);
    assert_eq!(receiver.assembler.i_data().mids().streams_len(), 0);
    assert_eq!(receiver.memory_charged(), 0);
}

#[test]
fn after_a_restart_the_kind_of_chunks_is_what_was_negotiated_anew() {
    let mut receiver = interleaving();
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"whole");
    receiver.take_new(i_data(2, 1, 1, 0, "B"), b"partial");
    receiver.restart(Tsn(1000), &config(), STREAMS, false);
    receiver.take_new(data(1000, 1, 0, "BE"), b"new");
    assert_eq!(receiver.read(), ["1:whole", "1:new"]);
    assert_eq!(receiver.charged(), 0);
    receiver.restart(Tsn(1), &config(), STREAMS, true);
    receiver.take_new(i_data(1, 1, 0, 0, "BE"), b"newer");
    assert_eq!(receiver.read(), ["1:newer"]);
}
