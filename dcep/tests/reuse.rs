//! Stream ids serve one channel after another, and nothing is left of any (attacks G11, J08, J16).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use narrowboat_dcep::{ChannelOptions, ChannelsEvent, ReadyState};
use pair::{A, B, Fate, Pair, Setup, negotiated, texts};

/// Both ends have one id each.
fn two_streams() -> Pair {
    Pair::connected_with(Setup::default().sctp(|config| (config.inbound_streams, config.outbound_streams) = (2, 2)))
}

#[test]
fn j08_ten_thousand_channels_one_after_another_leave_nothing() {
    // Debug builds recount everything at each step.
    let rounds = if cfg!(debug_assertions) { 500 } else { 10_000 };
    let mut pair = Pair::connected();
    let mut streams = BTreeSet::new();
    for round in 0..rounds {
        let (opener, other) = if round % 2 == 0 { (A, B) } else { (B, A) };
        let id = pair.open(opener, ChannelOptions::new("again"));
        pair.send(opener, id, round.to_string());
        let closer = if round % 3 == 0 { other } else { opener };
        pair.run_until(Duration::from_secs(9), |pair| !pair[other].events.is_empty());
        let there = pair.incoming(other);
        pair.close(closer, if closer == opener { id } else { there });
        pair.run_until(Duration::from_secs(9), |pair| {
            [(opener, id), (other, there)].iter().all(|(side, id)| pair.state(*side, *id) == Some(ReadyState::Closed))
        });
        assert_eq!(texts(&pair.recv_all(other, there)), [round.to_string()]);
        assert_eq!([pair.closed(opener, id), pair.closed(other, there)], [Some(None), Some(None)]);
        streams.insert(pair.stream(opener, id));
        pair.forget_all(&[(opener, id), (other, there)]);
        pair.clear_events();
    }
    pair.run();
    pair.assert_nothing_left();
    assert!(streams.len() <= 2 * 66, "{} ids", streams.len());
    assert_eq!(pair[A].channels.stats().channels_closed, rounds);
    assert_eq!([A, B].map(|side| pair[side].channels.stats().drops.total()), [0, 0]);
}

#[test]
fn an_id_serves_the_next_channel_from_the_beginning() {
    let mut pair = two_streams();
    for round in 0..20 {
        let (a, b) = pair.channel();
        assert_eq!(pair.stream(A, a), 0);
        for message in 0..round {
            pair.send(A, a, format!("{round} {message}"));
            pair.send(B, b, format!("{round} {message}"));
        }
        pair.close(if round % 2 == 0 { A } else { B }, if round % 2 == 0 { a } else { b });
        pair.run();
        let expected: Vec<_> = (0..round).map(|message| format!("{round} {message}")).collect();
        for (side, id) in [(A, a), (B, b)] {
            assert!(pair.closed(side, id).is_some());
            let received = pair.recv_all(side, id);
            assert_eq!(texts(&received), expected[..received.len()], "no message of another round, none out of order");
        }
        pair.forget_all(&[(A, a), (B, b)]);
    }
    pair.assert_nothing_left();
}

#[test]
fn g11_an_id_is_refused_until_both_directions_are_reset() {
    let mut pair = two_streams();
    let (a, b) = pair.channel();
    pair.network(|packet| if packet.from == B && packet.has_reset_request() { Fate::Drop } else { Fate::Deliver });
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing), "ours is performed, the peer's is on its way");
    assert!(pair.try_open(A, ChannelOptions::new("early")).is_err());
    assert!(pair.try_open(A, negotiated(0)).is_err());
    assert!(pair.try_open(B, negotiated(0)).is_err());
    pair.heal();
    pair.run_for(Duration::from_secs(10));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    let (next, _) = pair.channel();
    assert_eq!(pair.stream(A, next), 0);
}

/// B's channel is closed for B, which uses the id again, while A has not heard that its own reset was performed.
fn ahead() -> (Pair, narrowboat_dcep::ChannelId) {
    let mut pair = two_streams();
    let b = pair.open(B, ChannelOptions::new("first"));
    pair.run();
    let a = pair.incoming(A);
    pair.clear_events();
    pair.network(|packet| if packet.from == B && packet.has_reset_answer() { Fate::Drop } else { Fate::Deliver });
    pair.close(B, b);
    pair.run_for(Duration::from_millis(300));
    assert_eq!((pair.state(A, a), pair.state(B, b)), (Some(ReadyState::Closing), Some(ReadyState::Closed)));
    pair.clear_events();
    (pair, a)
}

#[test]
fn an_open_that_overtakes_the_answer_to_our_reset_waits_for_it() {
    let (mut pair, a) = ahead();
    let second = pair.open(B, ChannelOptions::new("second"));
    assert_eq!(pair.stream(B, second), 1);
    pair.send(B, second, "of the second");
    pair.run_for(Duration::from_millis(300));
    assert_eq!(pair.take_events(A), [], "A does not know yet that it may listen");
    pair.heal();
    pair.run();
    let next = pair.incoming(A);
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Closed(a, None), ChannelsEvent::Incoming(next), ChannelsEvent::Readable(next)]
    );
    assert_eq!(pair.recv(A, a), None);
    assert_eq!(texts(&pair.recv_all(A, next)), ["of the second"]);
    pair.send(A, next, "answer");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, second)), ["answer"]);
}

#[test]
fn what_waits_for_the_answer_to_our_reset_is_delivered_if_the_association_is_shut_down() {
    let (mut pair, a) = ahead();
    let second = pair.open(B, ChannelOptions::new("second"));
    pair.send(B, second, "of the second");
    pair.run_for(Duration::from_millis(300));
    let now = pair.now;
    pair[A].association.shutdown(now);
    pair.turn(A);
    pair.run_for(Duration::from_secs(5));
    let next = pair.incoming(A);
    let events = pair.take_events(A);
    assert_eq!(
        events[..3],
        [ChannelsEvent::Closed(a, None), ChannelsEvent::Incoming(next), ChannelsEvent::Readable(next)],
        "{events:?}"
    );
    assert!(
        matches!(events[3..], [ChannelsEvent::Closed(id, None), ChannelsEvent::AssociationClosed(_)] if id == next),
        "{events:?}"
    );
    assert_eq!(texts(&pair.recv_all(A, next)), ["of the second"]);
}

#[test]
fn a_whole_channel_that_overtakes_the_answer_to_our_reset_comes_and_goes() {
    let (mut pair, a) = ahead();
    let second = pair.open(B, ChannelOptions::new("second"));
    pair.send(B, second, "of the second");
    pair.close(B, second);
    pair.run_for(Duration::from_millis(300));
    assert_eq!(pair.take_events(A), []);
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    let next = pair.incoming(A);
    let expected = [
        ChannelsEvent::Closed(a, None),
        ChannelsEvent::Incoming(next),
        ChannelsEvent::Readable(next),
        ChannelsEvent::Closing(next),
        ChannelsEvent::Closed(next, None),
    ];
    assert_eq!(pair.take_events(A), expected);
    assert_eq!(pair.closed(B, second), Some(None));
    assert_eq!(texts(&pair.recv_all(A, next)), ["of the second"]);
    pair.forget_all(&[(A, a), (A, next), (B, narrowboat_dcep::ChannelId(0)), (B, second)]);
    pair.assert_nothing_left();
}

#[test]
fn j16_messages_of_a_closed_channel_stay_its_own_when_the_id_is_used_again() {
    let mut pair = two_streams();
    let (a, b) = pair.channel();
    pair.send(A, a, "of the first");
    pair.close(A, a);
    pair.run();
    let (a2, b2) = pair.channel();
    pair.send(A, a2, "of the second");
    pair.run();
    assert_eq!(pair.stream(B, b), pair.stream(B, b2));
    assert_eq!(texts(&pair.recv_all(B, b2)), ["of the second"]);
    assert_eq!(texts(&pair.recv_all(B, b)), ["of the first"]);
}

#[test]
fn every_id_can_be_open_at_once_and_all_close() {
    // The recounts of debug builds would take their time with as many as there can be; ids.rs counts to the last id.
    let count: u16 = if cfg!(debug_assertions) { 1_000 } else { 65_535 };
    let setup = Setup::default().channels(|config| config.channels_max = 65_535);
    let setup = setup.sctp(|config| (config.inbound_streams, config.outbound_streams) = (count, count));
    let mut pair = Pair::connected_with(setup);
    let mut ids = Vec::new();
    for side in [A, B] {
        while let Ok(id) = pair.try_open(side, ChannelOptions::new("one of many")) {
            ids.push((side, id));
        }
    }
    assert_eq!(ids.len(), usize::from(count));
    pair.run();
    for side in [A, B] {
        assert_eq!(pair[side].channels.len(), usize::from(count));
        let incoming: Vec<_> = pair[side]
            .events
            .iter()
            .filter_map(|event| if let ChannelsEvent::Incoming(id) = event { Some((side, *id)) } else { None })
            .collect();
        ids.extend(incoming);
    }
    let (side, last) = ids[usize::from(count) - 1];
    pair.send(side, last, "through the crowd");
    for (side, id) in ids.iter().take(usize::from(count)).copied() {
        pair.close(side, id);
    }
    pair.run_for(Duration::from_secs(60));
    let closed = [A, B].map(|side| pair[side].channels.stats().channels_closed);
    assert_eq!(closed, [u64::from(count); 2]);
    assert_eq!([A, B].map(|side| pair[side].channels.stats().channels_failed), [0, 0]);
    pair.forget_all(&ids);
    pair.assert_nothing_left();
}
