//! Stream reset (RFC 6525), which is how data channels close: asked for by either end, and by both.

use narrowboat_sctp::{AssociationConfig, AssociationEvent, ResetError, SendOptions, StreamId, Streams};

use crate::pair::{BINARY, Dialler, Pair};

#[test]
fn our_reset_is_performed_and_the_stream_starts_again() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        for round in 0..20 {
            pair.send(6, 3_000, 3, round, SendOptions::default());
            pair.ours.reset(&[6]);
            pair.until("our reset is performed", |p| p.ours.has_reset(6) && p.peer.said("peer-reset 6"));
            // usrsctp delivers this only if it begins again at SSN 0.
            pair.peer_has(6, 3_000, 3, round, "o");
            pair.ours.events.clear();
            pair.peer.reports.clear();
        }
    }
}

#[test]
fn the_peers_reset_is_performed_and_the_stream_starts_again() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        for round in 0..20 {
            pair.peer.tell(&format!("send 6 {BINARY} o 3000 3 {round}"));
            pair.we_have(6, 3_000, 3, round, false);
            pair.peer.tell("reset 6");
            pair.until("the peer's reset is performed", |p| p.ours.was_reset(6) && p.peer.said("reset-done 6"));
            pair.ours.events.clear();
            pair.peer.reports.clear();
        }
    }
}

#[test]
fn a_reset_behind_a_megabyte_of_data_waits_for_it() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.send(6, 50_000, 20, 0, SendOptions::default());
        pair.ours.reset(&[6]);
        pair.peer.tell(&format!("send 8 {BINARY} o 50000 20 0"));
        pair.peer.tell("reset 8");
        pair.until("both resets are performed", |p| p.ours.has_reset(6) && p.peer.said("reset-done 8"));
        pair.until("both ends were told", |p| p.peer.said("peer-reset 6") && p.ours.was_reset(8));
        // The data came first.
        let last_message = pair.peer.reports.iter().rposition(|line| line.starts_with("message 6 "));
        let reset = pair.peer.reports.iter().position(|line| line == "peer-reset 6");
        assert!(last_message < reset, "{:?}", pair.peer.reports);
        pair.peer_has(6, 50_000, 20, 0, "o");
        pair.we_have(8, 50_000, 20, 0, false);
    }
}

#[test]
fn both_ends_reset_the_same_stream_at_once() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        for round in 0..50 {
            pair.send(2, 100, 1, round, SendOptions::default());
            pair.peer.tell(&format!("send 2 {BINARY} o 100 1 {round}"));
            pair.we_have(2, 100, 1, round, false);
            pair.peer_has(2, 100, 1, round, "o");
            pair.peer.tell("reset 2");
            pair.ours.reset(&[2]);
            pair.until("both directions are reset, for both", |p| {
                p.ours.has_reset(2) && p.ours.was_reset(2) && p.peer.said("reset-done 2") && p.peer.said("peer-reset 2")
            });
            let resets = |e: &AssociationEvent| {
                matches!(e, AssociationEvent::IncomingStreamsReset(_) | AssociationEvent::OutgoingStreamReset(_))
            };
            assert_eq!(pair.ours.times(resets), 2, "each of our two events once: {:?}", pair.ours.events);
            pair.ours.events.clear();
            pair.peer.reports.clear();
        }
    }
}

#[test]
fn many_streams_are_reset_together_and_all_at_once() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        let list: Vec<u16> = (0..300).collect();
        for stream in &list {
            pair.send(*stream, 10, 1, 0, SendOptions::default());
        }
        pair.ours.reset(&list);
        pair.until("300 of our streams are reset", |p| {
            p.ours.times(|e| matches!(e, AssociationEvent::OutgoingStreamReset(_))) == 300
        });
        for stream in &list {
            pair.send(*stream, 10, 1, 1, SendOptions::default());
        }
        pair.until("their streams carry data again", |p| p.peer.times("message") == 600);

        let words: Vec<String> = list.iter().map(ToString::to_string).collect();
        pair.peer.tell(&format!("reset {}", words.join(" ")));
        pair.until("300 of the peer's streams are reset", |p| list.iter().all(|stream| p.ours.was_reset(*stream)));
        pair.ours.events.clear();

        pair.peer.tell("reset all");
        pair.until("all of them are", |p| {
            p.ours.times(|e| matches!(e, AssociationEvent::IncomingStreamsReset(Streams::All))) == 1
        });
        pair.peer.tell(&format!("send 299 {BINARY} o 10 1 3"));
        pair.we_have(299, 10, 1, 3, false);
    }
}

#[test]
fn a_request_to_reset_our_side_is_answered_by_our_reset() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.send(4, 1_000, 3, 0, SendOptions::default());
        pair.peer_has(4, 1_000, 3, 0, "o");
        pair.peer.tell("reset-in 4");
        pair.until("our outgoing side is reset", |p| p.peer.said("peer-reset 4"));
        pair.until("and works again", |p| p.ours.times(|e| matches!(e, AssociationEvent::OutgoingStreamReset(_))) <= 1);
        while pair.ours.association().is_resetting(StreamId(4)) {
            pair.ours.turn();
        }
        pair.send(4, 1_000, 1, 5, SendOptions::default());
        pair.peer_has(4, 1_000, 1, 5, "o");
    }
}

#[test]
fn a_request_for_more_streams_gets_an_answer_and_does_no_harm() {
    let mut pair = Pair::new(Dialler::Ours);
    pair.peer.tell("add-streams 10");
    pair.until("usrsctp has its answer", |p| p.peer.said("streams-changed"));
    pair.send(1, 100, 1, 0, SendOptions::default());
    pair.peer_has(1, 100, 1, 0, "o");
    // The number of the next request is the right one again.
    pair.peer.tell("reset 1");
    pair.until("a reset works afterwards", |p| p.peer.said("reset-done 1") && p.ours.was_reset(1));
}

#[test]
fn a_peer_without_stream_reset_is_told_apart() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::with(dialler, AssociationConfig::default(), &["reset=0"]);
        assert!(!pair.ours.association().peer_supports_stream_reset());
        let refused = pair.ours.association().reset_streams(std::time::Instant::now(), &[StreamId(1)]);
        assert_eq!(refused, Err(ResetError::NotSupported));
        pair.send(1, 100, 1, 0, SendOptions::default());
        pair.peer_has(1, 100, 1, 0, "o");
    }
}
