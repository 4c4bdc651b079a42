//! Receipts of messages, and what a channel tells about messages that were abandoned.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::ReceiptStatus::{Abandoned, Acknowledged, Sent};
use narrowboat_dcep::{
    AbandonReason, ChannelId, ChannelOptions, ChannelsEvent, ReceiptId, ReceiptStatus, Reliability, WaitingMax,
};
use pair::{A, B, Fate, Pair, Setup, partially_reliable};

const SECOND: Duration = Duration::from_secs(1);

/// Sends a message with a receipt.
fn send(pair: &mut Pair, id: ChannelId, message: impl Into<narrowboat_dcep::Message>) -> ReceiptId {
    let now = pair.now;
    let end = &mut pair[A];
    let receipt = end.channels.send_with_receipt(now, &mut end.association, id, message.into()).expect("room");
    pair.turn(A);
    receipt
}

/// Returns the reports about receipts, and forgets the other events.
fn statuses(pair: &mut Pair) -> Vec<(ReceiptId, ReceiptStatus)> {
    let receipt = |event| match event {
        ChannelsEvent::Receipt(id, status) => Some((id, status)),
        _ => None,
    };
    pair.take_events(A).into_iter().filter_map(receipt).collect()
}

#[test]
fn a_receipt_tells_when_a_message_was_sent_and_acknowledged_and_an_empty_one_too() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let text = send(&mut pair, a, "text");
    let empty = send(&mut pair, a, "");
    pair.send(A, a, "no receipt");
    assert_eq!(statuses(&mut pair), [(text, Sent), (empty, Sent)]);
    pair.run_for(SECOND);
    assert_eq!(statuses(&mut pair), [(text, Acknowledged), (empty, Acknowledged)]);
    assert_eq!(pair.recv_all(B, b).len(), 3);
}

#[test]
fn messages_sent_before_the_association_is_up_have_receipts() {
    let mut pair = Pair::new(Setup::default());
    let a = pair.open(A, ChannelOptions::new("early"));
    let receipt = send(&mut pair, a, "early");
    let forgotten = send(&mut pair, a, "forgotten");
    pair[A].association.forget_receipt(forgotten);
    pair.run_for(SECOND);
    assert_eq!(statuses(&mut pair), []);
    pair.connect();
    pair.run_for(SECOND);
    assert_eq!(statuses(&mut pair), [(receipt, Sent), (receipt, Acknowledged)]);
}

/// Messages of 200,000 bytes, some of which is sent, and one behind it.
fn two_in_the_queue(pair: &mut Pair, id: ChannelId) -> [ReceiptId; 2] {
    [send(pair, id, vec![1; 200_000]), send(pair, id, "behind")]
}

#[test]
fn a_close_of_this_end_delivers_what_was_accepted_first() {
    let mut pair = Pair::connected();
    let (a, _) = pair.channel();
    let [large, behind] = two_in_the_queue(&mut pair, a);
    pair.close(A, a);
    pair.run_for(5 * SECOND);
    let expected = [(large, Sent), (large, Acknowledged), (behind, Sent), (behind, Acknowledged)];
    let mut reported = statuses(&mut pair);
    reported.sort_by_key(|(id, _)| *id);
    assert_eq!(reported, expected);
}

#[test]
fn a_close_of_the_peer_abandons_what_was_not_sent() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let [large, behind] = two_in_the_queue(&mut pair, a);
    pair.close(B, b);
    pair.run_for(5 * SECOND);
    let reported = statuses(&mut pair);
    let ends: Vec<_> = reported.into_iter().filter(|(_, status)| status.is_final()).collect();
    let discarded = Abandoned(AbandonReason::Discarded);
    assert_eq!(ends.len(), 2);
    assert!(ends.contains(&(behind, discarded)) && ends.contains(&(large, discarded)), "{ends:?}");
}

#[test]
fn discarding_and_releasing_end_receipts() {
    for releases in [false, true] {
        let mut pair = Pair::connected();
        let (a, _) = pair.channel();
        pair.network(|packet| if packet.from == A { Fate::Drop } else { Fate::Deliver });
        let [large, behind] = two_in_the_queue(&mut pair, a);
        if releases {
            pair.forget(A, a);
        } else {
            pair.close(A, a);
        }
        assert_eq!(statuses(&mut pair), [], "it is sent first");
        let now = pair.now;
        let end = &mut pair[A];
        end.channels.discard_unsent(now, &mut end.association, a);
        pair.turn(A);
        let discarded = Abandoned(AbandonReason::Discarded);
        let reported = statuses(&mut pair);
        assert_eq!(reported.len(), 2, "{reported:?}");
        assert!(reported.contains(&(large, discarded)) && reported.contains(&(behind, discarded)));
        pair.heal();
        pair.run_for(20 * SECOND);
        assert_eq!(statuses(&mut pair), []);
    }
}

#[test]
fn the_end_of_the_association_ends_receipts_before_it_is_reported() {
    for by in [A, B] {
        let mut pair = Pair::connected();
        let (a, _) = pair.channel();
        let [large, behind] = two_in_the_queue(&mut pair, a);
        pair[by].association.abort("enough");
        pair.turn(by);
        pair.run_for(SECOND);
        let events = pair.take_events(A);
        let ended = Abandoned(AbandonReason::AssociationEnded);
        let receipts = events.iter().filter(|event| {
            [(large, ended), (behind, ended)].iter().any(|(id, status)| **event == ChannelsEvent::Receipt(*id, *status))
        });
        assert_eq!(receipts.count(), 2, "{events:?}");
        assert!(matches!(events.last(), Some(ChannelsEvent::AssociationClosed(_))));
    }
}

#[test]
fn each_channel_counts_and_reports_what_was_abandoned_on_it() {
    let mut pair = Pair::connected();
    let (kept, _) = pair.channel();
    let (once, _) = pair.channel_with(partially_reliable(Reliability::MaxRetransmits(0)));
    let state = pair.open(A, ChannelOptions::new("state").drop_oldest(WaitingMax::Messages(2)));
    pair.run();
    pair.clear_events();
    pair.network(|packet| if packet.from == A { Fate::Drop } else { Fate::Deliver });
    let lost = send(&mut pair, once, "lost");
    pair.send(A, kept, "kept");
    // It fills the congestion window, so that the states wait.
    pair.send(A, kept, vec![0; 200_000]);
    for index in 0..5 {
        pair.send(A, state, format!("state {index}"));
    }
    pair.run_for(3 * SECOND);
    let events = pair.take_events(A);
    let total = |channel| {
        let abandoned = events.iter().filter_map(|event| match event {
            ChannelsEvent::Abandoned { channel: on, messages, bytes, reason, unsent } if *on == channel => {
                Some((*messages, *bytes, *reason, *unsent))
            }
            _ => None,
        });
        abandoned.fold((0, 0), |(messages, bytes), (more, more_bytes, reason, unsent)| {
            let expected = if unsent { AbandonReason::Displaced } else { AbandonReason::Retransmits };
            assert_eq!(reason, expected);
            (messages + more, bytes + more_bytes)
        })
    };
    assert_eq!((total(kept), total(once), total(state)), ((0, 0), (1, 4), (3, 21)));
    assert!(events.contains(&ChannelsEvent::Receipt(lost, Abandoned(AbandonReason::Retransmits))));
    let stats = |id| pair[A].channels.channel_stats(id).unwrap();
    let count = |id, reason| stats(id).abandoned.count(reason);
    assert_eq!((stats(kept).messages_sent, stats(kept).bytes_sent), (2, 200_004));
    assert_eq!(stats(kept).abandoned.total().messages(), 0);
    let retransmits = count(once, AbandonReason::Retransmits);
    assert_eq!((retransmits.sent, retransmits.unsent, retransmits.bytes), (1, 0, 4));
    let displaced = count(state, AbandonReason::Displaced);
    assert_eq!((displaced.sent, displaced.unsent, displaced.bytes), (0, 3, 21));
    assert_eq!(stats(state).messages_sent, 5);
    // The association counts the same, by reason and by stream.
    let association = &pair[A].association;
    let all = association.stats().abandoned;
    assert_eq!((all.count(AbandonReason::Retransmits), all.count(AbandonReason::Displaced)), (retransmits, displaced));
    let stream = pair[A].channels.stream(state).unwrap();
    assert_eq!(association.abandoned_on(stream).total(), displaced);
    assert_eq!(association.stats().abandoned.total().messages(), 4);
    pair.heal();
    pair.run_for(30 * SECOND);
    assert_eq!(pair[A].channels.channel_stats(kept).map(|stats| stats.messages_sent), Some(2));
}

#[test]
fn a_channel_counts_what_it_receives_until_it_is_released() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.send(A, a, "abc");
    pair.send(A, a, "");
    pair.run_for(SECOND);
    let stats = pair[B].channels.channel_stats(b).unwrap();
    assert_eq!((stats.messages_received, stats.bytes_received, stats.messages_sent), (2, 3, 0));
    pair.recv_all(B, b);
    pair.close(A, a);
    pair.run_for(SECOND);
    assert_eq!(pair[B].channels.channel_stats(b).map(|stats| stats.messages_received), Some(2), "closed, and held");
    pair.forget(B, b);
    assert_eq!(pair[B].channels.channel_stats(b), None);
}
