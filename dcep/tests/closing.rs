//! The closing procedure (RFC 8831 §6.7, W3C §6.2.4), case by case.

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{
    ChannelDropReason, ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, DataChannels, Message,
    ReadyState, Reliability, Role,
};
use narrowboat_sctp::{CloseReason, Ppid, ResetResult, SendOptions, StreamId, Valid};
use pair::packet::RE_CONFIG;
use pair::{A, B, Fate, Packet, Pair, Setup, Side, negotiated, partially_reliable, texts};

#[test]
fn closing_an_idle_channel_takes_both_resets_and_tells_each_end_once() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.log = Some(Vec::new());
    pair.close(A, a);
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing), "at once");
    assert_eq!(pair.try_send(A, a, "late"), Err(ChannelSendError::NotOpen(ReadyState::Closing)));
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closed(a, None)]);
    assert_eq!(pair.take_events(B), [ChannelsEvent::Closing(b), ChannelsEvent::Closed(b, None)]);
    assert_eq!(pair.try_send(A, a, "late"), Err(ChannelSendError::NotOpen(ReadyState::Closed)));
    pair.close(A, a);
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
    let log = pair.log.take().unwrap();
    let requests: Vec<_> = log.iter().filter(|packet| packet.has_reset_request()).map(|packet| packet.from).collect();
    assert_eq!(requests, [A, B], "one request each");
    assert_eq!(pair.try_send(A, a, "late"), Err(ChannelSendError::NoSuchChannel));
    assert_eq!(pair.state(A, a), None);
}

/// RFC 7053: the last chunk asks for its acknowledgement, which the peer would keep back for a while else.
#[test]
fn a_close_right_after_a_message_waits_for_no_delayed_acknowledgement() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    // Acknowledgements are not delayed at first.
    for _ in 0..50 {
        pair.send(A, a, "before");
        pair.run_for(Duration::from_millis(100));
    }
    let (now, end) = (pair.now, &mut pair[A]);
    end.channels.send(now, &mut end.association, a, Message::Text("last".into())).unwrap();
    end.channels.close(now, &mut end.association, a);
    pair.turn(A);
    // Data and its acknowledgement, a reset each way: two round trips, and half of one for the last answer.
    pair.run_for(Duration::from_millis(50));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
}

/// On a quiet link the peer delays the SACK of a single packet. Data that was sent before `close` asks for it at once.
#[test]
fn a_close_after_a_message_each_way_takes_two_round_trips_and_no_timer() {
    // 20 ms is this end's default; a foreign peer may take half a second.
    for sack_delay in [20, 200, 500].map(Duration::from_millis) {
        for is_negotiated in [false, true] {
            for closers in [&[A][..], &[B], &[A, B]] {
                for gap in [0, 50, 150, 300, 5_000].map(Duration::from_micros) {
                    let what = format!("{sack_delay:?}, negotiated {is_negotiated}, {closers:?}, {gap:?}");
                    close_after_a_message_each_way(sack_delay, is_negotiated, closers, gap, &what);
                }
            }
        }
    }
}

fn close_after_a_message_each_way(
    sack_delay: Duration,
    is_negotiated: bool,
    closers: &[Side],
    gap: Duration,
    what: &str,
) {
    let round_trip = Duration::from_micros(200);
    let setup = Setup { delay: round_trip / 2, ..Setup::default() };
    let mut pair = Pair::connected_with(setup.sctp(|config| config.sack_delay_max = sack_delay));
    warm_up(&mut pair);
    let start = pair.now;
    let (a, b) = open_both(&mut pair, is_negotiated);
    pair.send(A, a, "ping");
    pair.run_until(SECOND, |pair| pair[B].channels.is_readable(b));
    pair.send(B, b, "pong");
    pair.run_until(SECOND, |pair| pair[A].channels.is_readable(a));
    assert!(pair.now - start <= 2 * round_trip, "{what}: {:?}", pair.now - start);
    pair.run_for(gap);
    let start = pair.now;
    for side in closers {
        pair.close(*side, if *side == A { a } else { b });
    }
    let is_closed = |pair: &mut Pair| [pair.closed(A, a).is_some(), pair.closed(B, b).is_some()];
    pair.run_until(SECOND, |pair| is_closed(pair) != [false, false]);
    assert!(pair.now - start <= 2 * round_trip, "{what}: one end took {:?}", pair.now - start);
    pair.run_until(SECOND, |pair| is_closed(pair) == [true, true]);
    assert!(pair.now - start <= 2 * round_trip + round_trip / 2, "{what}: took {:?}", pair.now - start);
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)], "{what}");
}

const SECOND: Duration = Duration::from_secs(1);

/// Acknowledgements are not delayed at first.
fn warm_up(pair: &mut Pair) {
    let (a, b) = pair.channel();
    for _ in 0..50 {
        pair.send(A, a, "before");
        pair.send(B, b, "before");
        pair.run_for(SECOND);
    }
    pair.clear_events();
}

fn open_both(pair: &mut Pair, is_negotiated: bool) -> (ChannelId, ChannelId) {
    if is_negotiated {
        return (pair.open(A, negotiated(40)), pair.open(B, negotiated(40)));
    }
    let a = pair.open(A, ChannelOptions::new("brief"));
    pair.run_until(SECOND, |pair| pair[B].events.iter().any(|event| matches!(event, ChannelsEvent::Incoming(_))));
    (a, pair.incoming(B))
}

#[test]
fn closed_waits_for_both_directions() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    // Our reset is answered, but the peer's does not come through.
    pair.network(|packet| if packet.from == B && packet.has_reset_request() { Fate::Drop } else { Fate::Deliver });
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing));
    assert_eq!(pair.state(B, b), Some(ReadyState::Closing));
    pair.heal();
    pair.run_for(Duration::from_secs(15));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
}

#[test]
fn what_was_queued_before_close_is_delivered_first() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let mut sent = 0;
    while sent < 4 << 20 {
        pair.send(A, a, vec![1; 64 << 10]);
        sent += 64 << 10;
    }
    pair.close(A, a);
    assert!(pair.buffered_amount(A, a) > 0);
    let mut received = 0;
    pair.run_until(Duration::from_secs(60), |pair| {
        received += pair.recv_all(B, b).iter().map(Message::len).sum::<usize>();
        pair.closed(A, a).is_some() && pair.closed(B, b).is_some()
    });
    received += pair.recv_all(B, b).iter().map(Message::len).sum::<usize>();
    assert_eq!(received, sent);
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    assert_eq!(pair.buffered_amount(A, a), 0);
    assert!(pair[A].events.contains(&ChannelsEvent::BufferedAmountLow(a)), "also while closing");
}

#[test]
fn what_the_peer_sent_before_its_reset_can_be_read_also_after_closed() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    for text in ["1", "2", "3"] {
        pair.send(B, b, text);
    }
    pair.close(B, b);
    pair.run();
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Readable(a), ChannelsEvent::Closing(a), ChannelsEvent::Closed(a, None)]
    );
    assert_eq!(texts(&pair.recv_all(A, a)), ["1", "2", "3"]);
}

#[test]
fn what_the_peer_sends_while_we_are_closing_is_delivered() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.close(A, a);
    pair.send(B, b, "crosses the close");
    pair.run();
    assert_eq!(pair.take_events(A), [ChannelsEvent::Readable(a), ChannelsEvent::Closed(a, None)]);
    assert_eq!(texts(&pair.recv_all(A, a)), ["crosses the close"]);
}

#[test]
fn both_ends_closing_at_once_deliver_what_they_had_and_close_once() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.send(A, a, "from A");
    pair.send(B, b, "from B");
    pair.close(A, a);
    pair.close(B, b);
    pair.run();
    assert_eq!(pair.take_events(A), [ChannelsEvent::Readable(a), ChannelsEvent::Closed(a, None)]);
    assert_eq!(pair.take_events(B), [ChannelsEvent::Readable(b), ChannelsEvent::Closed(b, None)]);
    assert_eq!([texts(&pair.recv_all(A, a)), texts(&pair.recv_all(B, b))], [["from B"], ["from A"]]);
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
}

#[test]
fn what_waits_here_when_the_peer_closes_is_thrown_away_and_counted() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    for _ in 0..64 {
        pair.send(A, a, vec![0; 64 << 10]);
    }
    pair.close(B, b);
    pair.run();
    let Some(Some(ChannelError::PeerClosed { discarded })) = pair.closed(A, a) else {
        panic!("{:?}", pair.closed(A, a))
    };
    assert!((1 << 20..=4 << 20).contains(&discarded), "{discarded}");
    assert_eq!(pair.buffered_amount(A, a), discarded, "what never left stays visible");
    assert_eq!(pair[A].channels.stats().bytes_discarded, discarded as u64);
    assert_eq!(pair.closed(B, b), Some(None));
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
    pair.channel();
}

#[test]
fn empty_messages_that_wait_when_the_peer_closes_are_no_silent_loss() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.network(|packet| if packet.from == A { Fate::Drop } else { Fate::Deliver });
    // Nothing gets through, so that the congestion window fills, and the last ones are never sent.
    for _ in 0..2_000 {
        pair.send(A, a, "");
    }
    pair.close(B, b);
    pair.run_for(Duration::from_millis(500));
    pair.network(|_| Fate::Deliver);
    pair.run();
    assert_eq!(pair.closed(A, a), Some(Some(ChannelError::PeerClosed { discarded: 0 })));
    assert!(pair.recv_all(B, b).len() < 2_000);
}

#[test]
fn closed_before_the_ack_is_no_error() {
    let mut pair = Pair::connected();
    let a = pair.open(A, ChannelOptions::new("short"));
    pair.send(A, a, "only this");
    pair.close(A, a);
    pair.run();
    let b = pair.incoming(B);
    assert_eq!(pair.take_events(A), [ChannelsEvent::Open(a), ChannelsEvent::Closed(a, None)]);
    let expected = [
        ChannelsEvent::Incoming(b),
        ChannelsEvent::Readable(b),
        ChannelsEvent::Closing(b),
        ChannelsEvent::Closed(b, None),
    ];
    assert_eq!(pair.take_events(B), expected);
    assert_eq!(texts(&pair.recv_all(B, b)), ["only this"]);
}

/// A peer that creates channels on another thread finds none for a reset that comes at once, and forgets the reset.
#[test]
fn the_reset_of_a_channel_that_is_closed_at_once_waits_for_the_answer_to_its_open() {
    let mut pair = Pair::connected();
    // B acknowledges the DATA chunk, and answers DATA_CHANNEL_OPEN later.
    pair.network(|packet| match packet.from == B && packet.has_data() {
        true => packet.without_data().map_or(Fate::Drop, Fate::Replace),
        false => Fate::Deliver,
    });
    pair.log = Some(Vec::new());
    let a = pair.open(A, ChannelOptions::new("short"));
    pair.close(A, a);
    pair.run_for(Duration::from_millis(900));
    assert_eq!((pair.state(A, a), pair.buffered_amount(A, a)), (Some(ReadyState::Closing), 0));
    let requests = |pair: &Pair| pair.log.iter().flatten().filter(|packet| packet.has_reset_request()).count();
    assert_eq!(requests(&pair), 0, "a reset that B may not know what to do with");
    pair.heal();
    pair.run_for(Duration::from_secs(5));
    let b = pair.incoming(B);
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
}

#[test]
fn a_peer_that_never_answers_an_open_is_asked_for_the_reset_after_a_while() {
    let mut pair = Pair::connected();
    // B has no channels: a bare association takes the message in, and answers the reset.
    pair[B].channels = DataChannels::new(Valid::default(), Role::Server);
    let a = pair.open(A, ChannelOptions::new("unanswered"));
    pair.network(|packet| match packet.from == B && packet.has_data() {
        true => packet.without_data().map_or(Fate::Drop, Fate::Replace),
        false => Fate::Deliver,
    });
    pair.log = Some(Vec::new());
    pair.close(A, a);
    pair.run_for(Duration::from_secs(29));
    let requests = |pair: &Pair| pair.log.iter().flatten().filter(|packet| packet.has_reset_request()).count();
    assert_eq!(requests(&pair), 0);
    pair.run_for(Duration::from_secs(3));
    assert!(requests(&pair) > 0);
}

#[test]
fn closed_by_the_receiver_at_once_is_no_error_either() {
    let mut pair = Pair::connected();
    let a = pair.open(A, ChannelOptions::new("unwanted"));
    pair.run_until(Duration::from_secs(1), |pair| !pair[B].events.is_empty());
    let b = pair.incoming(B);
    pair.close(B, b);
    pair.run();
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Open(a), ChannelsEvent::Closing(a), ChannelsEvent::Closed(a, None)]
    );
    assert_eq!(pair.closed(B, b), Some(None));
}

#[test]
fn closed_before_the_association_is_up_leaves_no_trace() {
    let mut pair = Pair::new(Setup::default());
    pair.log = Some(Vec::new());
    let (a, n) = (pair.open(A, ChannelOptions::new("never")), pair.open(A, negotiated(4)));
    pair.close(A, a);
    pair.close(A, n);
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closed(a, None), ChannelsEvent::Closed(n, None)]);
    pair.connect();
    pair.run();
    let next = pair.open(A, ChannelOptions::new("next"));
    assert_eq!(pair.stream(A, next), 0, "no id was used");
    let log = pair.log.take().unwrap();
    assert!(log.iter().all(|packet| !packet.has(RE_CONFIG)));
    assert_eq!(log.iter().flat_map(Packet::data).count(), 1, "only the last one's OPEN");
}

#[test]
fn closed_before_the_association_is_up_with_messages_waiting_delivers_them() {
    let mut pair = Pair::new(Setup::default());
    let (a, n) = (pair.open(A, ChannelOptions::new("brief")), pair.open(A, negotiated(4)));
    let at_b = pair.open(B, negotiated(4));
    pair.send(A, a, "");
    pair.send(A, n, "word");
    pair.close(A, a);
    pair.close(A, n);
    assert_eq!(pair.take_events(A), []);
    pair.connect();
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(A, n)], [Some(None), Some(None)]);
    assert_eq!(pair.take_events(A).len(), 3, "closing channels are not announced as open");
    let b = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, b)), [""]);
    assert_eq!(texts(&pair.recv_all(B, at_b)), ["word"]);
    pair.forget_all(&[(A, a), (A, n), (B, b), (B, at_b)]);
    pair.assert_nothing_left();
}

#[test]
fn a_partially_reliable_channel_abandons_rather_than_hang() {
    for reliability in [Reliability::MaxRetransmits(0), Reliability::MaxLifetime(Duration::from_millis(50))] {
        let mut pair = Pair::connected();
        let (a, b) = pair.channel_with(partially_reliable(reliability));
        // No data gets through, but FORWARD-TSN does.
        pair.network(|packet| match (packet.from, packet.without_data()) {
            (B, _) => Fate::Deliver,
            (A, Some(rest)) => Fate::Replace(rest),
            (A, None) => Fate::Drop,
        });
        for _ in 0..10 {
            pair.send(A, a, vec![0; 2_000]);
        }
        pair.close(A, a);
        pair.run_for(Duration::from_secs(60));
        assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)], "{reliability:?}");
        assert_eq!(pair[A].channels.stats().messages_abandoned, 10);
    }
}

#[test]
fn negotiated_channels_close_by_the_same_procedure() {
    let mut pair = Pair::connected();
    let (a, b) = (pair.open(A, negotiated(9)), pair.open(B, negotiated(9)));
    pair.run();
    pair.clear_events();
    pair.send(A, a, "bye");
    pair.close(A, a);
    pair.run();
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closed(a, None)]);
    assert_eq!(
        pair.take_events(B),
        [ChannelsEvent::Readable(b), ChannelsEvent::Closing(b), ChannelsEvent::Closed(b, None)]
    );
    let (again, _) = (pair.open(A, negotiated(9)), pair.open(B, negotiated(9)));
    assert_eq!(pair.state(A, again), Some(ReadyState::Open));
}

#[test]
fn a_negotiated_channel_that_only_one_end_has_made_closes_too() {
    let mut pair = Pair::connected();
    let a = pair.open(A, negotiated(9));
    let talkative = pair.open(A, negotiated(11));
    pair.send(A, talkative, "is anybody there?");
    pair.close(A, a);
    pair.close(A, talkative);
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(A, talkative)], [Some(None), Some(None)]);
    pair.forget_all(&[(A, a), (A, talkative)]);
    pair.assert_nothing_left();
}

#[test]
fn a_peer_without_re_config_ends_the_channel_with_an_error_and_still_gets_the_data() {
    let mut setup = Setup::default();
    setup.sctp[1].stream_reset = false;
    let mut pair = Pair::connected_with(setup);
    let (a, b) = pair.channel();
    for _ in 0..50 {
        pair.send(A, a, vec![0; 10_000]);
    }
    pair.close(A, a);
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closed(a, Some(ChannelError::ResetNotSupported))]);
    pair.run();
    assert_eq!(pair.recv_all(B, b).len(), 50);
    pair.send(B, b, "into the void");
    pair.run();
    assert_eq!(pair.recv(A, a), None);
    let next = pair.open(A, ChannelOptions::new("next"));
    assert_eq!(pair.stream(A, next), 2, "the id is of no use any more");
}

#[test]
fn a_reset_that_is_refused_for_good_ends_the_association_at_both_ends() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.network(spoil_requests_of_a);
    let start = pair.now;
    pair.close(A, a);
    pair.run_until(Duration::from_secs(120), |pair| pair.closed(A, a).is_some());
    let refused = CloseReason::ResetRefused(ResetResult::WrongSsn);
    assert_eq!(pair.closed(A, a), Some(Some(ChannelError::Association(refused))));
    assert!(pair.now - start >= Duration::from_secs(30), "after {:?}", pair.now - start);
    assert_eq!(pair.state(B, b), Some(ReadyState::Open), "nothing has ended here alone");
    pair.run();
    assert!(matches!(pair.closed(B, b), Some(Some(ChannelError::Association(CloseReason::PeerAbort { .. })))));
}

/// B refuses A's requests, for they name a stream that does not exist.
fn spoil_requests_of_a(packet: &Packet) -> Fate {
    match packet.from == A && packet.has_reset_request() {
        true => Fate::Replace(packet.with_reset_streams(&[65_535])),
        false => Fate::Deliver,
    }
}

#[test]
fn a_reset_that_is_refused_for_a_while_is_asked_for_again() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.network(spoil_requests_of_a);
    pair.close(A, a);
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing));
    pair.heal();
    pair.run_for(Duration::from_secs(11));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
}

#[test]
fn a_reset_is_repeated_until_it_is_answered_and_its_id_is_free_again() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let (other, at_b) = pair.channel();
    pair.network(|packet| if packet.from == B && packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
    pair.close(A, a);
    // The association lives by other traffic: what is lost is the answer and nothing else.
    for _ in 0..240 {
        pair.send(A, other, "alive");
        pair.run_for(Duration::from_millis(500));
    }
    assert_eq!([pair.state(A, a), pair.state(B, b)], [Some(ReadyState::Closing); 2], "neither end decides alone");
    assert_eq!(pair.state(A, other), Some(ReadyState::Open));
    assert_eq!(pair.recv_all(B, at_b).len(), 240);
    pair.heal();
    pair.run_for(Duration::from_secs(10));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    let (again, at_b) = (pair.open(A, negotiated(0)), pair.open(B, negotiated(0)));
    pair.send(A, again, "there");
    pair.send(B, at_b, "and back");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, at_b)), ["there"]);
    assert_eq!(texts(&pair.recv_all(A, again)), ["and back"]);
}

/// The time-out of a request is backed off to ten seconds, and the peer's data says that the network is back.
#[test]
fn what_is_heard_after_an_outage_hurries_a_reset() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let (_, at_b) = pair.channel();
    pair.network(|_| Fate::Drop);
    pair.close(A, a);
    // Repeated after 0.4, 1.2, 2.8, 6, 12.4 and 22.4 seconds.
    pair.run_for(Duration::from_secs(23));
    pair.heal();
    pair.send(B, at_b, "the network is back");
    pair.run_for(Duration::from_millis(100));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
}

#[test]
fn a_peer_that_does_not_reset_its_side_is_waited_for() {
    let mut pair = Pair::connected();
    let (a, _) = pair.channel();
    // B has no channels: a bare association answers our reset, and does no more.
    pair[B].channels = DataChannels::new(Valid::default(), Role::Server);
    pair.network(|packet| match packet.from == B && packet.has_reset_request() {
        true => Fate::Drop,
        false => Fate::Deliver,
    });
    pair.close(A, a);
    for _ in 0..60 {
        // B still sends data, which tells nothing about the reset of the stream.
        let now = pair.now;
        let end = &mut pair[B];
        end.association.send(now, StreamId(9), Ppid(53), "alive".into(), SendOptions::default()).unwrap();
        pair.turn(B);
        pair.run_for(Duration::from_secs(3));
    }
    assert_eq!(pair.state(A, a), Some(ReadyState::Closing));
    let next = pair.open(A, ChannelOptions::new("next"));
    assert_eq!(pair.stream(A, next), 2, "it may still send on 0");
    // At last.
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.closed(A, a), Some(None));
    let last = pair.open(A, negotiated(0));
    assert_eq!(pair.state(A, last), Some(ReadyState::Open));
}

#[test]
fn a_shutdown_closes_channels_without_error_and_an_abort_with_one() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.send(A, a, vec![0; 500_000]);
    let now = pair.now;
    pair[A].association.shutdown(now);
    pair.turn(A);
    pair.run();
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Closed(a, None), ChannelsEvent::AssociationClosed(CloseReason::Shutdown)]
    );
    assert_eq!(pair.closed(B, b), Some(None));
    assert_eq!(pair.recv_all(B, b).len(), 1, "still there to read");

    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.send(A, a, vec![0; 500_000]);
    pair[A].association.abort("enough");
    pair.turn(A);
    pair.run();
    let local = Some(ChannelError::Association(CloseReason::LocalAbort));
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Closed(a, local), ChannelsEvent::AssociationClosed(CloseReason::LocalAbort)]
    );
    let Some(Some(ChannelError::Association(CloseReason::PeerAbort { .. }))) = pair.closed(B, b) else {
        panic!("{:?}", pair.closed(B, b))
    };
    pair.close(A, a);
    assert_eq!(pair.take_events(A), [], "nothing follows");
    assert!(pair.try_open(A, ChannelOptions::new("late")).is_err());
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
}

/// The refusal is a stream reset, for which a shutdown does not wait.
#[test]
fn a_refused_channel_ends_with_an_error_though_a_shutdown_overtakes_the_refusal() {
    let mut setup = Setup::default();
    setup.channels[B as usize].channels_max = 1;
    let mut pair = Pair::connected_with(setup);
    let (taken, _) = pair.channel();
    pair.network(|packet| if packet.from == B && packet.has_reset_request() { Fate::Drop } else { Fate::Deliver });
    let refused = pair.open(A, ChannelOptions::new("refused"));
    pair.send(A, refused, "will not be read");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair[B].channels.stats().drops.count(ChannelDropReason::LimitReached), 1);
    let now = pair.now;
    pair[B].association.shutdown(now);
    pair.turn(B);
    pair.run();
    let uncertain = ChannelError::Association(CloseReason::Shutdown);
    assert_eq!([pair.closed(A, taken), pair.closed(A, refused)], [Some(None), Some(Some(uncertain))]);
}

#[test]
fn an_abort_in_the_middle_of_closing_ends_it_with_an_error() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.network(|packet| if packet.has(RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
    pair.close(A, a);
    pair.run_for(Duration::from_millis(100));
    pair[B].association.abort("enough");
    pair.turn(B);
    pair.run();
    assert!(matches!(pair.closed(A, a), Some(Some(ChannelError::Association(CloseReason::PeerAbort { .. })))));
    assert_eq!(pair.closed(B, b), Some(Some(ChannelError::Association(CloseReason::LocalAbort))));
}

#[test]
fn forgetting_closes_throws_away_what_was_not_read_and_still_sends_what_was_accepted() {
    let mut pair = Pair::connected_with(Setup::default().sctp(|config| config.receive_window = 200_000));
    let (a, b) = pair.channel();
    pair.send(A, a, "kept");
    for _ in 0..100 {
        pair.send(B, b, vec![0; 10_000]);
    }
    pair.run();
    assert!(pair[A].channels.unread(a) > 10);
    pair.forget(A, a);
    pair.run();
    assert_eq!(pair.state(A, a), None);
    assert_eq!(texts(&pair.recv_all(B, b)), ["kept"]);
    // Had a credit been lost, this would get stuck.
    let (c, d) = pair.channel();
    for _ in 0..100 {
        pair.send(B, d, vec![0; 10_000]);
        pair.run_for(Duration::from_millis(200));
        pair.recv_all(A, c);
    }
    assert_eq!(pair.buffered_amount(B, d), 0);
}

#[test]
fn a_handshake_that_nobody_answers_closes_what_was_opened() {
    let mut pair = Pair::new(Setup::default().sctp(|config| config.init_max_retransmits = 2));
    pair.network(|_| Fate::Drop);
    let (a, closing) = (pair.open(A, ChannelOptions::new("never")), pair.open(A, ChannelOptions::new("closed")));
    pair.send(A, closing, "waits for ever");
    pair.connect();
    pair.close(A, closing);
    pair.run_for(Duration::from_secs(60));
    let error = Some(ChannelError::Association(CloseReason::HandshakeTimedOut));
    let end = ChannelsEvent::AssociationClosed(CloseReason::HandshakeTimedOut);
    assert_eq!(
        pair.take_events(A),
        [ChannelsEvent::Closed(a, error.clone()), ChannelsEvent::Closed(closing, error), end]
    );
    pair.forget_all(&[(A, a), (A, closing)]);
    assert!(pair[A].channels.is_empty());
}

#[test]
fn a_reset_of_all_streams_closes_all_channels_and_one_named_twice_closes_once() {
    for streams in [&[][..], &[0, 1, 5, 5, 1, 0]] {
        let mut pair = Pair::connected();
        let a = [pair.open(A, ChannelOptions::new("a")), pair.open(A, negotiated(5))];
        let b = [pair.open(B, ChannelOptions::new("b")), pair.open(B, negotiated(5))];
        pair.run();
        let all = [(A, a[0]), (A, a[1]), (A, pair.incoming(A)), (B, b[0]), (B, b[1]), (B, pair.incoming(B))];
        pair.clear_events();
        pair.log = Some(Vec::new());
        pair.network(move |packet| match packet.from == B && packet.has_reset_request() {
            true => Fate::Replace(packet.with_reset_streams(streams)),
            false => Fate::Deliver,
        });
        // One request for all that B has.
        let now = pair.now;
        for (_, id) in &all[3..] {
            let end = &mut pair[B];
            end.channels.close(now, &mut end.association, *id);
        }
        pair.turn(B);
        pair.run();
        for (side, id) in all {
            assert_eq!(pair.closed(side, id), Some(None), "{side:?} {streams:?}");
        }
        let log = pair.log.take().unwrap();
        let mut reset: Vec<u16> = log.iter().filter(|packet| packet.from == A).flat_map(Packet::resets).collect();
        reset.sort_unstable();
        assert_eq!(reset, [0, 1, 5], "each is answered once");
        pair.forget_all(&all);
        pair.assert_nothing_left();
    }
}

#[test]
fn the_last_stream_closes_like_the_first() {
    let mut pair = Pair::connected();
    let (a, b) = (pair.open(A, negotiated(65_534)), pair.open(B, negotiated(65_534)));
    pair.close(A, a);
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
}

/// A close in the words of RFC 6525 §5.1.3, which no data channel uses.
#[test]
fn a_peer_that_asks_for_the_reset_of_our_side_closes_the_channel_at_both_ends() {
    for opener in [A, B] {
        let mut pair = Pair::connected();
        let id = pair.open(opener, ChannelOptions::new("test"));
        pair.run();
        let there = pair.incoming(opener.other());
        let (a, b) = if opener == A { (id, there) } else { (there, id) };
        pair.send(B, b, "before");
        pair.clear_events();
        let stream = StreamId(pair.stream(A, a));
        pair[A].association.request_incoming_reset(&[stream]).unwrap();
        pair.turn(A);
        pair.run();
        assert_eq!(texts(&pair.recv_all(A, a)), ["before"]);
        assert_eq!((pair.closed(A, a), pair.closed(B, b)), (Some(None), Some(None)));
        let closing = pair[B].events.iter().filter(|event| **event == ChannelsEvent::Closing(b)).count();
        assert_eq!(closing, 1, "the application is told before");
        pair.run();
        pair.channel();
    }
}

/// Nothing is taken, and lost, between the reset and the close of the channel.
#[test]
fn nothing_can_be_sent_on_a_channel_whose_reset_the_peer_has_asked_for() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    // The peer does not answer, so its own reset does not follow.
    pair.network(|packet| if packet.from == A && packet.has_reset_request() { Fate::Drop } else { Fate::Deliver });
    let stream = StreamId(pair.stream(A, a));
    pair[A].association.request_incoming_reset(&[stream]).unwrap();
    pair.turn(A);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.state(B, b), Some(ReadyState::Closing));
    assert!(pair.try_send(B, b, "late").is_err());
    pair.heal();
    pair.run_for(Duration::from_secs(20));
    assert_eq!((pair.closed(A, a), pair.closed(B, b)), (Some(None), Some(None)));
}
