//! Incoming stream resets.

use super::*;

fn streams(list: &[u16]) -> Streams {
    Streams::List(list.iter().copied().map(StreamId).collect())
}

#[test]
fn a_reset_after_all_data_is_performed_at_once() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"old");
    receiver.take_new(data(2, 2, 0, "BE"), b"other");
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(2)), ResetProgress::Performed);
    assert!(!receiver.take_performed_reset());
    receiver.take_new(data(3, 1, 0, "BE"), b"new");
    receiver.take_new(data(4, 2, 1, "BE"), b"goes on");
    assert_eq!(receiver.read(), ["1:old", "2:other", "reset [1]", "1:new", "2:goes on"]);
}

#[test]
fn g03_a_reset_waits_for_data_sent_before_it_and_is_performed_once() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"first");
    receiver.take_new(data(3, 1, 2, "BE"), b"third");
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(4)), ResetProgress::Deferred);
    assert_eq!(receiver.deferred(), Some(&streams(&[1])));
    // Later messages belong to the next use of the stream, whichever way it was sent.
    receiver.take_new(data(5, 1, 0, "BE"), b"new 0");
    receiver.take_new(data(7, 1, 0, "BEU"), b"new unordered");
    receiver.take_new(data(8, 1, 1, "BE"), b"new 1");
    receiver.take_new(data(9, 2, 0, "BE"), b"elsewhere");
    receiver.take_new(data(2, 1, 1, "BE"), b"second");
    assert_eq!(receiver.read(), ["1:first", "2:elsewhere", "1:second", "1:third"]);
    assert!(!receiver.take_performed_reset());
    receiver.take_new(data(4, 1, 3, "BE"), b"fourth");
    assert_eq!(receiver.read(), ["1:fourth", "reset [1]", "1:new 0", "1:new unordered", "1:new 1"]);
    assert!(receiver.take_performed_reset());
    assert!(!receiver.take_performed_reset());
    assert_eq!(receiver.deferred(), None);
    receiver.take_new(data(6, 1, 2, "BE"), b"new 2");
    assert_eq!(receiver.read(), ["1:new 2"]);
    assert_eq!(receiver.charged(), 0);
}

/// The list, its sorted copy, and the list of the last reset, which a request that is repeated is compared with.
#[test]
fn a_deferred_reset_is_charged_for_its_lists_of_streams() {
    let mut receiver = receiver();
    let before = receiver.memory_charged();
    let list: Vec<u16> = (0..1000).collect();
    assert_eq!(receiver.reset_streams(streams(&list), Tsn(1)), ResetProgress::Deferred);
    assert_eq!(receiver.memory_charged(), before + 2 * 2 * 1000);
    receiver.take_new(data(1, 1, 0, "BEU"), b"old");
    assert_eq!(receiver.read().len(), 2);
    assert_eq!(receiver.memory_charged(), before + 2 * 1000);
}

#[test]
fn a_fragmented_message_of_the_next_use_waits_as_well() {
    let mut receiver = receiver();
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(1)), ResetProgress::Deferred);
    receiver.take_new(data(4, 1, 0, "E"), b"age");
    receiver.take_new(data(2, 1, 0, "B"), b"new ");
    receiver.take_new(data(3, 1, 0, ""), b"mess");
    assert!(!receiver.has_unread());
    receiver.take_new(data(1, 1, 0, "BE"), b"old");
    assert_eq!(receiver.read(), ["1:old", "reset [1]", "1:new message"]);
}

#[test]
fn a_request_that_is_repeated_under_a_new_number_is_performed_once() {
    let mut receiver = receiver();
    assert_eq!(receiver.reset_streams(streams(&[1, 2]), Tsn(1)), ResetProgress::Deferred);
    assert_eq!(receiver.reset_streams(streams(&[1, 2]), Tsn(1)), ResetProgress::Deferred);
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(1)), ResetProgress::Busy);
    assert_eq!(receiver.reset_streams(streams(&[1, 2]), Tsn(2)), ResetProgress::Busy);
    receiver.take_new(data(1, 1, 0, "BE"), b"old");
    assert_eq!(receiver.read(), ["1:old", "reset [1, 2]"]);
    assert_eq!(receiver.reset_streams(streams(&[1, 2]), Tsn(1)), ResetProgress::Performed);
    assert_eq!(receiver.read(), Vec::<String>::new());
    // The stream was opened and closed again without data: another reset.
    assert_eq!(receiver.reset_streams(streams(&[1, 2]), Tsn(1)), ResetProgress::Performed);
    assert_eq!(receiver.read(), ["reset [1, 2]"]);
}

#[test]
fn g04_a_reset_whose_last_tsn_is_out_of_reach_is_impossible() {
    let window = config().receive_window;
    let mut receiver = receiver();
    for last in [window + 1, 1 << 31] {
        assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(last)), ResetProgress::Impossible);
        assert_eq!(receiver.deferred(), None);
    }
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(window)), ResetProgress::Deferred);
}

#[test]
fn g04_what_a_reset_holds_back_is_bounded_by_the_window_and_leaves_in_the_end() {
    let mut receiver = Receiver::new(Tsn(1), &small_window(64 << 10), STREAMS, false);
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(500)), ResetProgress::Deferred);
    let (mut accepted, mut tsn) = (0, 501);
    while receiver.take(data(tsn, 1, accepted, "BE"), &[0; 1000]) == Ok(ArrivedChunk::New) {
        (accepted, tsn) = (accepted + 1, tsn + 1);
    }
    assert!(receiver.charged() <= 80 << 10);
    assert_eq!(receiver.a_rwnd(), 0);
    assert!(!receiver.has_unread());
    // The association goes on, evicting what waits, and reaches the TSN by itself.
    for tsn in 1..=500 {
        receiver.take_new(data(tsn, 2, (tsn - 1) as u16, "BE"), &[0; 100]);
        receiver.read();
    }
    assert!(receiver.take_performed_reset());
    let kept = u16::try_from(receiver.cumulative_tsn().0 - 500).unwrap();
    assert!(kept >= accepted - 2, "{kept} of {accepted}");
    assert_eq!(receiver.a_rwnd(), 64 << 10);
}

#[test]
fn f08_forward_tsns_while_a_reset_waits_keep_nothing_and_let_it_happen() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"old");
    receiver.take_new(data(50, 1, 1, "B"), b"unfinished");
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(1000)), ResetProgress::Deferred);
    receiver.take_new(data(1002, 1, 0, "BE"), b"new");
    let charged = receiver.charged();
    for tsn in 2..1000 {
        assert_ne!(receiver.forward(tsn, &[(1, 1), (2, 0), (3, 9)]), Forwarded::TooFar);
        assert!(receiver.charged() <= charged);
        assert!(!receiver.take_performed_reset());
    }
    assert_eq!(receiver.read(), ["1:old"]);
    // The last one jumps over the reset's TSN; the new message is not touched by what the old use had skipped.
    assert_eq!(receiver.forward(1001, &[(1, 2)]), Forwarded::Advanced);
    assert!(receiver.take_performed_reset());
    assert_eq!(receiver.read(), ["reset [1]", "1:new"]);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn entries_for_the_old_use_of_a_stream_do_not_skip_messages_of_the_new() {
    let mut receiver = receiver();
    for n in 0..50 {
        receiver.take_new(data(1 + n, 1, n as u16, "BE"), b"x");
    }
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(50)), ResetProgress::Performed);
    receiver.read();
    assert_eq!(receiver.forward(52, &[(1, 49)]), Forwarded::Advanced);
    receiver.take_new(data(53, 1, 0, "BE"), b"new");
    assert_eq!(receiver.read(), ["1:new"]);
}

#[test]
fn what_waits_for_messages_that_were_never_sent_is_delivered_before_the_reset() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 3, "BE"), b"three");
    receiver.take_new(data(2, 1, 1, "BE"), b"one");
    receiver.take_new(data(3, 1, 4, "B"), b"unfinished");
    assert_eq!(receiver.reset_streams(streams(&[1]), Tsn(3)), ResetProgress::Performed);
    assert_eq!(receiver.read(), ["1:one", "1:three", "reset [1]"]);
    assert_eq!(receiver.charged(), 0);
    // The rest of the unfinished one never mixes with the new use.
    receiver.take_new(data(4, 1, 4, "E"), b"late");
    receiver.take_new(data(5, 1, 0, "BE"), b"new");
    assert_eq!(receiver.read(), ["1:new"]);
}

#[test]
fn a_long_list_is_as_good_as_a_short_one_and_all_means_all() {
    let mut receiver = Receiver::new(Tsn(1), &config(), u16::MAX, false);
    for n in 0..1000 {
        receiver.take_new(data(1 + n, n as u16, 0, "BE"), b"x");
        receiver.read();
    }
    let list: Vec<_> = (0..1000).rev().chain(0..1000).map(StreamId).collect();
    assert_eq!(receiver.reset_streams(Streams::List(list), Tsn(1000)), ResetProgress::Performed);
    assert_eq!(receiver.assembler.data().ordered().streams_len(), 0);
    receiver.read();
    receiver.take_new(data(1001, 7, 0, "BE"), b"x");
    receiver.take_new(data(1002, 65_534, 0, "BE"), b"x");
    assert_eq!(receiver.reset_streams(Streams::All, Tsn(1002)), ResetProgress::Performed);
    assert_eq!(receiver.assembler.data().ordered().streams_len(), 0);
    assert_eq!(receiver.read(), ["7:x", "65534:x", "reset all"]);
}

#[test]
fn a_flood_of_resets_is_bounded() {
    let mut receiver = receiver();
    let list: Vec<_> = (0..500).map(StreamId).collect();
    for _ in 0..2000 {
        assert_eq!(receiver.reset_streams(Streams::List(list.clone()), Tsn(0)), ResetProgress::Performed);
    }
    assert!(receiver.charged() <= 300 << 10, "{}", receiver.charged());
    assert!(matches!(receiver.poll(), Some(ReceiverEvent::Reset(_))));
    assert!(receiver.poll().is_none());
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn after_a_restart_what_was_whole_is_still_there_and_still_charged() {
    let mut receiver = receiver();
    receiver.take_new(data(1, 1, 0, "BE"), b"taken");
    let Some(ReceiverEvent::Message(taken)) = receiver.poll() else { panic!("no message") };
    receiver.take_new(data(2, 1, 1, "BE"), b"queued");
    receiver.take_new(data(3, 1, 2, "B"), b"partial");
    receiver.take_new(data(9, 1, 5, "BE"), b"parked");
    receiver.restart(Tsn(1000), &config(), STREAMS, false);
    receiver.check_consistency();
    assert_eq!(receiver.cumulative_tsn(), Tsn(999));
    receiver.take_new(data(1000, 1, 0, "BE"), b"new");
    assert_eq!(receiver.read(), ["1:queued", "1:new"]);
    assert_eq!(receiver.charged(), taken.credit.bytes() as usize);
    receiver.release(taken.credit);
    assert_eq!(receiver.charged(), 0);
}

#[test]
fn g12_two_messages_with_one_number_behind_a_deferred_reset_are_a_violation() {
    for skips in [false, true] {
        let mut receiver = receiver();
        assert_eq!(receiver.reset_streams(streams(&[2]), Tsn(1)), ResetProgress::Deferred);
        receiver.take_new(data(5, 2, 3, "BE"), b"third");
        receiver.take_new(data(90, 2, 3, "BE"), b"third as well");
        if skips {
            assert_eq!(receiver.on_forward_tsn(Tsn(1), std::iter::empty()), Forwarded::Advanced);
        } else {
            assert_eq!(receiver.take(data(1, 3, 0, "BE"), b"the last of the old use"), Err(Violation::BadFragment));
        }
        assert_eq!(receiver.violation(), Some(Violation::BadFragment));
        receiver.check_consistency();
    }
}

#[test]
fn g12_a_violation_is_found_by_whatever_completes_the_reset() {
    type Complete = fn(&mut Receiver) -> Result<ArrivedChunk, Violation>;
    // Of a stream that does not exist, and of a message that was skipped.
    let ways: [Complete; 2] = [
        |receiver| receiver.take(data(1, STREAMS, 0, "BE"), b"no such stream"),
        |receiver| {
            let cumulative = receiver.tracker.cumulative();
            receiver.assembler.data().set_skipped_to(Some(cumulative));
            receiver.take(data(1, 4, 0, "E"), b"the end of a skipped message")
        },
    ];
    for complete in ways {
        let mut receiver = receiver();
        assert_eq!(receiver.reset_streams(streams(&[2]), Tsn(1)), ResetProgress::Deferred);
        receiver.take_new(data(5, 2, 3, "BE"), b"third");
        receiver.take_new(data(9, 2, 3, "BE"), b"third as well");
        assert_eq!(complete(&mut receiver), Err(Violation::BadFragment));
        receiver.check_consistency();
    }
}
