//! Channels beyond the streams of the handshake: the peer is asked for more (RFC 8831 §6.2, RFC 6525 §5.1.5, §5.1.6).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{
    ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, Message, OpenError, ReadyState,
    Reliability,
};
use narrowboat_sctp::{CloseReason, SendPolicy, WaitingMax};
use pair::packet::RE_CONFIG;
use pair::{A, B, Fate, Pair, Setup, negotiated, texts};

/// A may send on four streams at first; B takes `limit` when it is asked.
fn setup(limit: u16) -> Setup {
    let mut setup = Setup::default();
    setup.sctp[0].outbound_streams = 4;
    setup.sctp[1].inbound_streams = limit;
    setup
}

fn pair(limit: u16) -> Pair {
    let pair = Pair::connected_with(setup(limit));
    assert_eq!((pair[A].association.outbound_streams(), pair[B].association.inbound_streams()), (4, 4));
    pair
}

/// Channels on all streams of A's parity that exist.
fn fill(pair: &mut Pair) {
    for stream in [0, 2] {
        let id = pair.open(A, ChannelOptions::new("below"));
        assert_eq!(pair.stream(A, id), stream);
    }
    pair.run();
    pair.clear_events();
}

fn no_stream(stream: u16, streams: u16) -> Option<Option<ChannelError>> {
    Some(Some(ChannelError::NoSuchStream { stream, streams }))
}

fn send_beyond_limits(pair: &mut Pair, id: ChannelId, message: &str) {
    let (now, end) = (pair.now, &mut pair[A]);
    end.channels.send_beyond_limits(now, &mut end.association, id, Message::from(message)).unwrap();
    pair.turn(A);
}

/// Packets from A that ask for something.
fn requests(pair: &Pair) -> usize {
    let is_request = |packet: &&pair::Packet| packet.from == A && packet.has(RE_CONFIG) && !packet.has_reset_answer();
    pair.log.iter().flatten().filter(is_request).count()
}

#[test]
fn a_channel_beyond_the_streams_opens_when_the_peer_has_granted_them_whichever_packet_is_lost() {
    for lost in 0..8 {
        let mut pair = pair(100);
        fill(&mut pair);
        let mut count = 0;
        pair.network(move |_| {
            count += 1;
            if count - 1 == lost { Fate::Drop } else { Fate::Deliver }
        });
        let id = pair.open(A, ChannelOptions::new("beyond"));
        assert_eq!((pair.stream(A, id), pair.state(A, id)), (4, Some(ReadyState::Connecting)));
        assert_eq!(pair.try_send(A, id, "early"), Err(ChannelSendError::Full));
        assert_eq!(pair.take_events(A), []);
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.take_events(A), [ChannelsEvent::Open(id), ChannelsEvent::Writable(id)], "lost {lost}");
        let there = pair.incoming(B);
        pair.send(A, id, "hello");
        pair.send(B, there, "and back");
        pair.run_for(Duration::from_secs(20));
        assert_eq!(texts(&pair.recv_all(B, there)), ["hello"]);
        assert_eq!(texts(&pair.recv_all(A, id)), ["and back"]);
        pair.close(A, id);
        pair.run_for(Duration::from_secs(20));
        assert_eq!((pair.closed(A, id), pair.closed(B, there)), (Some(None), Some(None)));
    }
}

#[test]
fn many_channels_ask_once_or_twice() {
    let mut pair = pair(65_535);
    pair.log = Some(Vec::new());
    let channels: Vec<_> = (0..100).map(|_| pair.open(A, ChannelOptions::new("many"))).collect();
    pair.run();
    assert!(channels.iter().all(|id| pair.state(A, *id) == Some(ReadyState::Open)));
    assert_eq!(pair[B].channels.len(), 100);
    assert_eq!(requests(&pair), 2, "one for the first, one for all others");
    assert_eq!(pair[A].association.outbound_streams(), 199);
}

#[test]
fn a_negotiated_channel_beyond_the_streams_opens_at_both_ends() {
    let mut pair = pair(100);
    let [a, b] = [A, B].map(|side| pair.open(side, negotiated(9)));
    assert_eq!([pair.state(A, a), pair.state(B, b)], [Some(ReadyState::Connecting); 2]);
    pair.run();
    assert_eq!(pair.take_events(A), [ChannelsEvent::Open(a)]);
    assert_eq!(pair.take_events(B), [ChannelsEvent::Open(b)]);
    pair.send(A, a, "here");
    pair.send(B, b, "there");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, b)), ["here"]);
    assert_eq!(texts(&pair.recv_all(A, a)), ["there"]);
}

#[test]
fn streams_that_the_peer_adds_open_the_channels_that_wait_for_them() {
    let mut pair = pair(100);
    fill(&mut pair);
    // B cannot ask A to send on more, as A asks itself at this time. Its channels wait for what A adds.
    let at_b: Vec<_> = (0..3).map(|_| pair.open(B, ChannelOptions::new("of B"))).collect();
    assert_eq!(at_b.iter().map(|id| pair.stream(B, *id)).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(pair.state(B, at_b[2]), Some(ReadyState::Connecting));
    let now = pair.now;
    pair[A].association.add_streams(3, 0).unwrap();
    pair.turn(A);
    pair.run_until(Duration::from_secs(1), |pair| pair.state(B, at_b[2]) == Some(ReadyState::Open));
    assert!(pair.now - now < Duration::from_millis(50), "with the request that adds them");
    pair.run();
    assert_eq!(pair.state(B, at_b[2]), Some(ReadyState::Open));
    assert!(pair.closed(B, at_b[2]).is_none(), "whatever became of its own request");
    assert_eq!(pair[A].channels.len(), 5);
}

#[test]
fn a_peer_that_is_busy_is_asked_again_a_little_later() {
    let mut pair = pair(100);
    fill(&mut pair);
    let mut answers = 0;
    pair.network(move |packet| {
        let is_answer = packet.from == B && packet.has_reset_answer();
        answers += u32::from(is_answer);
        // Error, request already in progress.
        if is_answer && answers <= 2 { Fate::Replace(packet.with_reset_result(4)) } else { Fate::Deliver }
    });
    pair.log = Some(Vec::new());
    let id = pair.open(A, ChannelOptions::new("beyond"));
    pair.run_for(Duration::from_millis(300));
    assert_eq!((pair.state(A, id), requests(&pair)), (Some(ReadyState::Connecting), 2));
    pair.run_for(Duration::from_millis(300));
    assert_eq!((pair.state(A, id), requests(&pair)), (Some(ReadyState::Open), 3));
    pair.run();
    assert_eq!(pair[A].channels.poll_timeout(), None);
}

#[test]
fn channels_that_the_peer_does_not_grant_end_with_one_error_and_the_others_open() {
    let mut pair = pair(6);
    fill(&mut pair);
    let below = pair.open(A, ChannelOptions::new("4"));
    let beyond = [pair.open(A, negotiated(9)), pair.open(A, ChannelOptions::new("6"))];
    pair.run();
    assert_eq!(pair.state(A, below), Some(ReadyState::Open));
    assert_eq!(beyond.map(|id| pair.closed(A, id)), [no_stream(9, 5), no_stream(6, 5)]);
    // Several are refused at once, and one of them is possible.
    let mut pair = self::pair(6);
    let beyond = pair.open(A, negotiated(9));
    let below = pair.open(A, negotiated(5));
    pair.run();
    assert_eq!((pair.state(A, below), pair.closed(A, beyond)), (Some(ReadyState::Open), no_stream(9, 6)));
    pair.run_for(Duration::from_secs(60));
    let is_end = |event: &&ChannelsEvent| matches!(event, ChannelsEvent::Closed(..));
    assert_eq!(pair[A].events.iter().filter(is_end).count(), 1);
    // The ids are free again.
    assert_eq!(pair[A].channels.streams_in_use(), 1);
    assert_eq!(pair.try_open(A, ChannelOptions::new("0")).map(|id| pair.stream(A, id)), Ok(0));
}

#[test]
fn a_peer_that_never_answers_costs_thirty_seconds() {
    let mut pair = pair(100);
    fill(&mut pair);
    pair.network(|packet| if packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
    let id = pair.open(A, ChannelOptions::new("beyond"));
    pair.run_for(Duration::from_secs(29));
    assert_eq!(pair.state(A, id), Some(ReadyState::Connecting));
    let late = pair.open(A, ChannelOptions::new("later"));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.closed(A, id), no_stream(4, 4));
    assert_eq!(pair.state(A, late), Some(ReadyState::Connecting));
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.state(A, late), Some(ReadyState::Open), "the request was repeated, and the next one followed");
}

#[test]
fn a_message_that_waits_for_its_stream_at_a_graceful_shutdown_is_reported_as_lost() {
    for reliability in [Reliability::Reliable, Reliability::MaxRetransmits(0)] {
        let mut pair = pair(100);
        fill(&mut pair);
        pair.network(|packet| if packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
        let id = pair.open(A, ChannelOptions::new("beyond").reliability(reliability));
        send_beyond_limits(&mut pair, id, "never");
        let now = pair.now;
        pair[A].association.shutdown(now);
        pair.turn(A);
        pair.run_for(Duration::from_secs(60));
        let end = Some(Some(ChannelError::Association(CloseReason::Shutdown)));
        assert_eq!((pair.closed(A, id), pair[A].channels.stats().bytes_discarded), (end, 5));
    }
}

#[test]
fn the_wait_for_a_stream_is_a_part_of_the_lifetime() {
    for (wait, arrives) in [(100, true), (400, false)] {
        let mut pair = pair(100);
        fill(&mut pair);
        pair.network(|packet| if packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
        let lifetime = Reliability::MaxLifetime(Duration::from_millis(2_000));
        let id = pair.open(A, ChannelOptions::new("beyond").reliability(lifetime));
        send_beyond_limits(&mut pair, id, "short-lived");
        pair.run_for(Duration::from_millis(wait * 10));
        pair.heal();
        pair.run_until(Duration::from_secs(20), |pair| pair.state(A, id) == Some(ReadyState::Open));
        pair.run_for(Duration::from_millis(200));
        let there = pair.incoming(B);
        assert_eq!(pair.recv_all(B, there).len(), usize::from(arrives), "after {wait}0 ms and more");
        assert_eq!(pair[A].channels.stats().messages_abandoned, u64::from(!arrives));
    }
}

#[test]
fn nobody_is_asked_who_cannot_add_streams() {
    let mut without = setup(100);
    without.sctp[1].stream_reset = false;
    let mut few = setup(100);
    few.sctp[0].inbound_streams = 4;
    for setup in [without, few] {
        let mut pair = Pair::connected_with(setup);
        fill(&mut pair);
        pair.log = Some(Vec::new());
        assert_eq!(pair.try_open(A, ChannelOptions::new("beyond")), Err(OpenError::NoFreeId));
        assert_eq!(pair.try_open(A, negotiated(9)), Err(OpenError::InvalidId { id: 9, streams: 4 }));
        pair.run();
        assert_eq!((requests(&pair), pair.take_events(A)), (0, vec![]));
    }
    let mut pair = pair(65_535);
    let none = OpenError::InvalidId { id: 65_535, streams: 4 };
    assert_eq!(pair.try_open(A, negotiated(65_535)), Err(none), "no association has it");
}

#[test]
fn a_channel_that_is_closed_while_it_waits_leaves_nothing() {
    for side in [A, B] {
        let mut pair = pair(100);
        fill(&mut pair);
        let id = pair.open(A, ChannelOptions::new("beyond"));
        pair[A].channels.check_consistency();
        match side {
            A => pair.close(A, id),
            B => pair.forget(A, id),
        }
        assert_eq!(pair.closed(A, id), Some(None));
        pair.run();
        assert_eq!(pair[B].channels.len(), 2);
        // Its id and its stream serve the next.
        let next = pair.open(A, ChannelOptions::new("next"));
        assert_eq!((pair.stream(A, next), pair.state(A, next)), (4, Some(ReadyState::Open)));
        pair.run();
        assert_eq!(pair[B].channels.len(), 3);
    }
}

#[test]
fn options_that_are_set_while_a_channel_waits_hold_when_it_opens() {
    let mut pair = pair(100);
    fill(&mut pair);
    let id = pair.open(A, ChannelOptions::new("beyond").reliability(Reliability::MaxRetransmits(0)).unordered());
    let end = &mut pair[A];
    end.channels.set_send_policy(&mut end.association, id, SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    end.channels.set_buffered_amount_low_threshold(&mut end.association, id, 10);
    pair.run();
    pair.clear_events();
    pair.network(|_| Fate::Drop);
    (0..100).for_each(|_| pair.send(A, id, vec![0; 1_100]));
    assert!(pair.buffered_amount(A, id) <= 1_100, "only the newest waits");
    assert!(pair[A].channels.stats().messages_abandoned > 50);
}

#[test]
fn a_message_beyond_the_limits_waits_with_its_channel_and_survives_its_close() {
    let mut pair = pair(100);
    fill(&mut pair);
    let id = pair.open(A, ChannelOptions::new("beyond"));
    send_beyond_limits(&mut pair, id, "end");
    assert_eq!(pair.buffered_amount(A, id), 3);
    pair.close(A, id);
    assert_eq!(pair.state(A, id), Some(ReadyState::Closing));
    pair.run();
    let there = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, there)), ["end"]);
    assert_eq!((pair.closed(A, id), pair.closed(B, there)), (Some(None), Some(None)));
    // Discarded, it does not.
    let mut pair = self::pair(100);
    fill(&mut pair);
    let id = pair.open(A, ChannelOptions::new("beyond"));
    send_beyond_limits(&mut pair, id, "end");
    pair.close(A, id);
    let (now, end) = (pair.now, &mut pair[A]);
    assert_eq!(end.channels.discard_unsent(now, &mut end.association, id), 3);
    pair.run();
    assert_eq!((pair.closed(A, id), pair[B].channels.len()), (Some(None), 2));
}

#[test]
fn a_message_beyond_the_limits_leaves_behind_an_open_that_has_no_room() {
    let setup = setup(100).sctp(|config| (config.send_buffer, config.stream_send_buffer) = (20_000, 20_000));
    let mut pair = Pair::connected_with(setup);
    fill(&mut pair);
    let full = pair.open(A, ChannelOptions::new("").negotiated(1));
    pair.open(B, ChannelOptions::new("").negotiated(1));
    pair.network(|packet| if packet.has_data() { Fate::Drop } else { Fate::Deliver });
    while pair.try_send(A, full, vec![0; 1000]).is_ok() {}
    let id = pair.open(A, ChannelOptions::new("beyond"));
    send_beyond_limits(&mut pair, id, "end");
    pair.run_until(Duration::from_secs(20), |pair| pair[A].association.outbound_streams() > 4);
    assert_eq!(pair.try_send(A, full, "x"), Err(ChannelSendError::Full), "the buffer is still full");
    pair.heal();
    pair.run();
    let there = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, there)), ["end"]);
}

#[test]
fn a_channel_opened_before_the_handshake_waits_too_unless_something_was_sent_on_it() {
    let mut setup = Setup::default();
    setup.sctp[0].outbound_streams = 10;
    // B sends on four streams at first, and adds some a little later.
    setup.sctp[1].outbound_streams = 4;
    let mut pair = Pair::new(setup);
    let ids = [0, 2, 4, 6].map(|_| pair.open(A, ChannelOptions::new("early")));
    pair.send(A, ids[3], "lost");
    pair.connect();
    pair.run_until(Duration::from_secs(1), |pair| !pair[A].events.is_empty());
    pair[B].association.add_streams(4, 0).unwrap();
    pair.turn(B);
    pair.run();
    assert_eq!(
        ids.map(|id| pair.state(A, id)),
        [0, 1, 2, 3].map(|n| Some([ReadyState::Open, ReadyState::Closed][n / 3]))
    );
    assert_eq!(pair.closed(A, ids[3]), no_stream(6, 4));
    assert_eq!(pair[B].channels.len(), 3);
}

#[test]
fn settings_of_a_channel_that_never_had_its_stream_do_not_reach_the_next() {
    let mut setup = Setup::default();
    setup.sctp[0].outbound_streams = 10;
    setup.sctp[1].outbound_streams = 4;
    let mut pair = Pair::new(setup);
    let first = [0, 2, 4].map(|_| pair.open(A, ChannelOptions::new("early")))[2];
    let policy = SendPolicy::new().drop_oldest(WaitingMax::Messages(1));
    let end = &mut pair[A];
    end.channels.set_buffered_amount_low_threshold(&mut end.association, first, 20_000);
    end.channels.set_send_policy(&mut end.association, first, policy);
    pair.send(A, first, "lost");
    pair.connect();
    pair.run_until(Duration::from_secs(1), |pair| pair.state(A, first) == Some(ReadyState::Closed));
    pair[B].association.add_streams(4, 0).unwrap();
    pair.turn(B);
    pair.run();
    pair.clear_events();
    let next = pair.open(A, ChannelOptions::new("next"));
    assert_eq!((pair.stream(A, next), pair.state(A, next)), (4, Some(ReadyState::Open)));
    for message in ["one", "two"] {
        pair.send(A, next, message);
    }
    pair.run();
    let there = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, there)), ["one", "two"]);
    assert!(pair[A].events.contains(&ChannelsEvent::BufferedAmountLow(next)), "{:?}", pair[A].events);
}

/// B has granted streams, and uses them; its answer is lost. A learns only later that it may use them, too.
#[test]
fn a_channel_of_the_peer_on_a_stream_that_is_not_granted_here_yet_is_answered_when_it_is() {
    for closer in [A, B] {
        let mut pair = pair(100);
        pair.network(|packet| if packet.from == B && packet.has_reset_answer() { Fate::Drop } else { Fate::Deliver });
        pair.open(A, negotiated(9));
        pair.run_for(Duration::from_millis(100));
        let there: Vec<_> = (0..3).map(|_| pair.open(B, ChannelOptions::new("of B"))).collect();
        pair.send(B, there[2], "hello");
        pair.run_for(Duration::from_millis(100));
        assert_eq!((pair.stream(B, there[2]), pair[A].association.outbound_streams()), (5, 4));
        let here = pair.incoming(A);
        assert_eq!(texts(&pair.recv_all(A, here)), ["hello"]);
        let (opened, ended) = if closer == A { (here, there[2]) } else { (there[2], here) };
        pair.close(closer, opened);
        pair.run_for(Duration::from_millis(500));
        assert_eq!(pair.closed(closer, opened), None, "it waits for both resets");
        pair.heal();
        pair.run_for(Duration::from_secs(20));
        assert_eq!((pair.closed(closer, opened), pair.closed(closer.other(), ended)), (Some(None), Some(None)));
        pair[A].channels.check_consistency();
    }
}

/// B alone has made a negotiated channel on such a stream. Its end closes, too.
#[test]
fn a_reset_of_a_stream_that_is_not_granted_here_yet_is_answered_when_it_is() {
    let mut pair = pair(100);
    pair.network(|packet| if packet.from == B && packet.has_reset_answer() { Fate::Drop } else { Fate::Deliver });
    pair.open(A, negotiated(9));
    pair.run_for(Duration::from_millis(100));
    let there = pair.open(B, negotiated(7));
    pair.close(B, there);
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.state(B, there), Some(ReadyState::Closing));
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.closed(B, there), Some(None));
    assert_eq!(pair[A].channels.streams_in_use(), 1);
}

#[test]
fn the_end_of_the_association_ends_the_channels_that_wait() {
    let ends: [fn(&mut Pair); 2] = [
        |pair| pair[B].association.abort("enough"),
        |pair| {
            let now = pair.now;
            pair[B].association.shutdown(now);
        },
    ];
    for end in ends {
        let mut pair = pair(100);
        fill(&mut pair);
        pair.network(|packet| if packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
        let id = pair.open(A, ChannelOptions::new("beyond"));
        send_beyond_limits(&mut pair, id, "never");
        end(&mut pair);
        pair.turn(B);
        pair.run_for(Duration::from_secs(60));
        assert!(matches!(pair.closed(A, id), Some(Some(ChannelError::Association(_)))), "{:?}", pair.closed(A, id));
        assert_eq!((pair[A].channels.poll_timeout(), pair[A].channels.streams_in_use()), (None, 0));
    }
}
