//! The same under loss, duplicates and reordering, and the effect of partial reliability (RFC 3758) on loss.

use std::time::Duration;

use narrowboat_sctp::{AssociationConfig, AssociationEvent, Reliability, SendOptions};

use crate::ours::Faults;
use crate::pair::{BINARY, Dialler, Pair};
use crate::peer::{message_report, pattern};

const BAD: Faults = Faults { lost: 30, doubled: 20, overtaken: 50 };

fn options(unordered: bool, reliability: Reliability) -> SendOptions {
    SendOptions { unordered, reliability, ..SendOptions::default() }
}

#[test]
fn a_bad_network_changes_nothing_for_reliable_messages() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.ours.faults = BAD;
        pair.peer.tell(&format!("send 2 {BINARY} o 9000 100 0"));
        pair.send(1, 9_000, 100, 0, SendOptions::default());
        pair.peer_has(1, 9_000, 100, 0, "o");
        pair.we_have(2, 9_000, 100, 0, false);
    }
}

#[test]
fn a_bad_network_stops_neither_handshake_nor_reset_nor_shutdown() {
    for (round, dialler) in (0..5).flat_map(|round| Dialler::EITHER.map(|dialler| (round, dialler))) {
        let mut pair = Pair::with_faults(dialler, Faults { lost: 150, doubled: 50, overtaken: 100 });
        pair.send(1, 1_000, 5, round, SendOptions::default());
        pair.ours.reset(&[1]);
        pair.peer.tell(&format!("send 1 {BINARY} o 1000 5 {round}"));
        pair.until("our reset is performed", |p| p.ours.has_reset(1) && p.peer.said("peer-reset 1"));
        pair.peer_has(1, 1_000, 5, round, "o");
        pair.we_have(1, 1_000, 5, round, false);
        pair.peer.tell("reset 1");
        pair.until("the peer's reset is performed", |p| p.ours.was_reset(1) && p.peer.said("reset-done 1"));
        let performed = pair.ours.times(|e| {
            matches!(e, AssociationEvent::OutgoingStreamReset(_) | AssociationEvent::IncomingStreamsReset(_))
        });
        assert_eq!(performed, 2, "each reset once: {:?}", pair.ours.events);
        pair.send(1, 1_000, 5, 77, SendOptions::default());
        pair.ours.association().shutdown(std::time::Instant::now());
        pair.until("both ends have shut down", |p| p.ours.closed.is_some() && p.peer.said("closed"));
        pair.peer_has(1, 1_000, 5, 77, "o");
    }
}

#[test]
fn messages_that_we_give_up_leave_no_hole_at_the_peer() {
    for (dialler, unordered) in Dialler::EITHER.into_iter().flat_map(|d| [(d, false), (d, true)]) {
        for reliability in [Reliability::MaxRetransmits(0), Reliability::MaxLifetime(Duration::from_millis(1))] {
            let mut pair = Pair::new(dialler);
            pair.ours.faults = Faults { lost: 200, ..Faults::default() };
            pair.send(1, 3_000, 60, 0, options(unordered, reliability));
            let order = if unordered { "u" } else { "o" };
            let last = message_report(1, BINARY, "o", &pattern(1, 999, 500));
            // A retransmission within its lifetime may overtake later messages, so the next messages are sent when
            // nothing is in flight.
            pair.until("each message is acknowledged or given up", |p| p.ours.outstanding() == 0);
            pair.ours.faults = Faults::default();
            pair.send(1, 500, 1, 999, SendOptions::default());
            pair.until("the reliable message behind them arrives", |p| p.peer.said(&last));
            let sent: Vec<String> = (0..60).map(|i| message_report(1, BINARY, order, &pattern(1, i, 3_000))).collect();
            let got: Vec<_> =
                pair.peer.reports.iter().filter(|l| l.starts_with("message ") && !l.starts_with(&last)).collect();
            let mut places = Vec::new();
            for line in &got {
                let place = sent.iter().position(|sent| line.starts_with(sent.as_str()));
                places.push(place.unwrap_or_else(|| panic!("not one of ours: {line}")));
            }
            assert!(unordered || places.is_sorted(), "out of order: {places:?}");
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), got.len(), "no message twice");
            assert!(places.len() < 60, "with a fifth lost, some of 60 messages of three packets are given up");
            // The stream is as good as new.
            pair.peer.reports.clear();
            pair.send(1, 500, 10, 100, SendOptions::default());
            pair.peer_has(1, 500, 10, 100, "o");
        }
    }
}

#[test]
fn messages_that_the_peer_gives_up_leave_no_hole_here() {
    for (dialler, order) in Dialler::EITHER.into_iter().flat_map(|d| [(d, "or0"), (d, "ur0"), (d, "ot1"), (d, "ut1")]) {
        let mut pair = Pair::new(dialler);
        pair.ours.faults = Faults { lost: 200, ..Faults::default() };
        pair.peer.tell(&format!("send 1 {BINARY} {order} 3000 60 0"));
        pair.peer.tell(&format!("send 1 {BINARY} o 500 1 999"));
        let last = pattern(1, 999, 500);
        pair.until("the reliable message behind them arrives", |p| p.ours.messages.iter().any(|m| m.bytes == last));
        pair.ours.faults = Faults::default();
        let sent: Vec<Vec<u8>> = (0..60).map(|index| pattern(1, index, 3_000)).collect();
        let got: Vec<_> = pair.ours.messages.drain(..).filter(|m| m.bytes != last).collect();
        let mut places: Vec<usize> =
            got.iter().map(|m| sent.iter().position(|sent| m.bytes == sent).expect("one of theirs, whole")).collect();
        assert!(order.starts_with('u') || places.is_sorted(), "out of order: {places:?}");
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), got.len(), "no message twice");
        pair.peer.tell(&format!("send 1 {BINARY} o 500 10 100"));
        pair.ours.messages.clear();
        pair.we_have(1, 500, 10, 100, false);
    }
}

#[test]
fn a_peer_without_partial_reliability_gets_everything() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::with(dialler, AssociationConfig::default(), &["pr=0"]);
        assert!(!pair.ours.association().peer_supports_partial_reliability());
        pair.ours.faults = Faults { lost: 100, ..Faults::default() };
        pair.send(1, 3_000, 40, 0, options(false, Reliability::MaxRetransmits(0)));
        pair.peer_has(1, 3_000, 40, 0, "o");
    }
}

#[test]
fn a_closed_window_opens_again_although_packets_are_lost() {
    let mut pair = Pair::with(
        Dialler::Ours,
        AssociationConfig { receive_window: 1 << 16, ..AssociationConfig::default() },
        &["rwnd=65536"],
    );
    pair.ours.faults = Faults { lost: 100, ..Faults::default() };
    pair.peer.tell("pause");
    pair.send(1, 10_000, 30, 0, SendOptions::default());
    pair.until("usrsctp's window is all but closed", |p| p.ours.peer_window() < 10_000);
    pair.peer.tell("resume");
    pair.peer_has(1, 10_000, 30, 0, "o");
    pair.ours.stopped_reading = true;
    pair.peer.tell(&format!("send 2 {BINARY} o 10000 30 0"));
    pair.until("our window is all but full", |p| p.ours.messages.len() >= 4);
    pair.ours.resume_reading();
    pair.we_have(2, 10_000, 30, 0, false);
}
