//! Opening channels and exchanging messages (RFC 8831 §6.5, §6.6, RFC 8832 §6).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{
    ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, Message, OpenError, ReadyState,
    Reliability, Role, SendPolicy, WaitingMax,
};
use pair::packet::COOKIE_ECHO;
use pair::{A, B, Fate, Packet, Pair, Setup, Side, negotiated, texts, unordered};

#[test]
fn a_channel_opened_here_comes_in_there_with_the_same_options() {
    let reliabilities = [
        Reliability::Reliable,
        Reliability::MaxRetransmits(0),
        Reliability::MaxRetransmits(u32::MAX),
        Reliability::MaxLifetime(Duration::from_millis(1)),
        Reliability::MaxLifetime(Duration::from_micros(1_500)),
        Reliability::MaxLifetime(Duration::MAX),
    ];
    let mut pair = Pair::connected();
    for reliability in reliabilities {
        for ordered in [true, false] {
            let mut options = ChannelOptions::new("naïve").protocol("chat.v2").reliability(reliability).priority(1024);
            options.ordered = ordered;
            let (a, b) = pair.channel_with(options.clone());
            let expected = match reliability {
                Reliability::MaxLifetime(Duration::MAX) => {
                    Reliability::MaxLifetime(Duration::from_millis(u64::from(u32::MAX)))
                }
                Reliability::MaxLifetime(lifetime) if lifetime > Duration::from_millis(1) => {
                    Reliability::MaxLifetime(Duration::from_millis(2))
                }
                other => other,
            };
            let options = options.reliability(expected);
            assert_eq!(pair[A].channels.options(a), Some(&options));
            assert_eq!(pair[B].channels.options(b), Some(&options));
            assert_eq!(pair.stream(A, a), pair.stream(B, b));
        }
    }
}

#[test]
fn each_end_uses_its_own_ids_and_both_may_use_the_same_label() {
    let mut pair = Pair::connected();
    let ids: Vec<_> = [A, B, A, B].into_iter().map(|side| (side, pair.open(side, ChannelOptions::new("x")))).collect();
    pair.run();
    let streams: Vec<_> = ids.iter().map(|(side, id)| pair.stream(*side, *id)).collect();
    assert_eq!(streams, [0, 1, 2, 3]);
    assert_eq!([pair[A].channels.len(), pair[B].channels.len()], [4, 4]);
}

#[test]
fn a_channel_is_open_as_soon_as_the_association_is_up() {
    let mut pair = Pair::new(Setup::default());
    let a = pair.open(A, ChannelOptions::new("early"));
    assert_eq!(pair.state(A, a), Some(ReadyState::Connecting));
    pair.connect();
    pair.run_until(Duration::from_secs(1), |pair| pair.state(A, a) == Some(ReadyState::Open));
    assert_eq!(pair.take_events(A), [ChannelsEvent::Connected, ChannelsEvent::Open(a)]);
    let late = pair.open(A, ChannelOptions::new("late"));
    assert_eq!(pair.state(A, late), Some(ReadyState::Open), "the ACK is not waited for");
    assert_eq!(pair.take_events(A), [ChannelsEvent::Open(late)]);
    pair.run();
    assert_eq!(pair.take_events(A), [], "open is said once");
}

#[test]
fn messages_sent_before_the_association_is_up_arrive_after_the_channel() {
    let mut pair = Pair::new(Setup::default());
    let a = pair.open(A, ChannelOptions::new("early"));
    for text in ["1", "", "3"] {
        pair.send(A, a, text);
    }
    let from_b = pair.open(B, ChannelOptions::new("from B"));
    pair.send(B, from_b, "b");
    pair.connect();
    pair.run();
    let events = pair.take_events(B);
    let [
        ChannelsEvent::Connected,
        ChannelsEvent::Open(open),
        ChannelsEvent::Incoming(b),
        ChannelsEvent::Readable(readable),
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((open, readable), (from_b, b));
    assert_eq!(texts(&pair.recv_all(B, b)), ["1", "", "3"]);
    let at_a = pair.incoming(A);
    assert_eq!(texts(&pair.recv_all(A, at_a)), ["b"]);
}

#[test]
fn data_follows_open_at_once_in_order_and_unordered_only_once_the_peer_was_heard_j12() {
    let mut pair = Pair::connected();
    pair.log = Some(Vec::new());
    let a = pair.open(A, unordered());
    pair.send(A, a, "before the ACK");
    pair.run();
    let b = pair.incoming(B);
    pair.send(A, a, "after the ACK");
    pair.send(B, b, "the receiver's");
    pair.run();
    let log = pair.log.take().unwrap();
    let data: Vec<_> = log
        .iter()
        .flat_map(|packet| packet.data().into_iter().map(|(_, ppid, unordered, _)| (packet.from, ppid, unordered)))
        .collect();
    let expected = [(A, 50, false), (A, 51, false), (B, 50, false), (A, 51, true), (B, 51, true)];
    assert_eq!(data, expected);
    assert_eq!(texts(&pair.recv_all(B, b)), ["before the ACK", "after the ACK"]);
}

#[test]
fn a_message_is_sign_enough_of_life_if_it_overtakes_the_ack() {
    let mut pair = Pair::connected();
    let a = pair.open(A, unordered());
    pair.run_until(Duration::from_secs(1), |pair| !pair[B].events.is_empty());
    let b = pair.incoming(B);
    // The ACK has left already; another is not needed once the message is there.
    pair.lose_what_is_on_the_way();
    pair.send(B, b, "overtakes");
    pair.run_until(Duration::from_secs(1), |pair| pair[A].channels.is_readable(a));
    pair.log = Some(Vec::new());
    pair.send(A, a, "unordered");
    pair.run();
    let log = pair.log.take().unwrap();
    assert!(log.iter().flat_map(Packet::data).any(|data| data.1 == 51 && data.2));
    assert_eq!(pair[A].channels.stats().drops.total(), 1, "the ACK that came late is only counted");
    assert_eq!(pair.state(A, a), Some(ReadyState::Open));
}

#[test]
fn j15_the_receiver_replies_with_the_reliability_that_the_opener_chose() {
    let mut pair = Pair::connected();
    let options = unordered().max_retransmits(0);
    let (a, b) = pair.channel_with(options);
    let mut lost = 0;
    pair.network(move |packet| {
        let lose = packet.data().iter().any(|data| data.3 == b"lost") && packet.from == B;
        lost += usize::from(lose);
        assert!(lost <= 1, "sent once and never again");
        if lose { Fate::Drop } else { Fate::Deliver }
    });
    pair.send(B, b, "lost");
    pair.run();
    pair.send(B, b, "kept");
    pair.run();
    assert_eq!(texts(&pair.recv_all(A, a)), ["kept"]);
    assert_eq!(pair[B].channels.stats().messages_abandoned, 1);
}

/// DATA_CHANNEL_OPEN waits in the same queue, and is no message that a newer one replaces.
#[test]
fn a_policy_drops_messages_that_wait_and_never_the_open() {
    let mut pair = Pair::new(Setup::default());
    let options = ChannelOptions::new("state").drop_oldest(WaitingMax::Messages(2));
    let a = pair.open(A, options.clone());
    let late = pair.open(A, ChannelOptions::new("late").latency_budget(Duration::from_millis(50)));
    for index in 0..6 {
        pair.send(A, a, index.to_string());
    }
    pair.send(A, late, "too late");
    pair.run_for(Duration::from_millis(100));
    pair.connect();
    pair.run();
    let incoming: Vec<_> = pair
        .take_events(B)
        .into_iter()
        .filter_map(|event| match event {
            ChannelsEvent::Incoming(id) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(incoming.len(), 2);
    assert_eq!(texts(&pair.recv_all(B, incoming[0])), ["4", "5"]);
    assert_eq!(texts(&pair.recv_all(B, incoming[1])), [""; 0]);
    assert_eq!(pair[A].channels.stats().messages_abandoned, 5);
    assert_eq!(pair[A].channels.options(a), Some(&options));
    let policy = pair[B].channels.options(incoming[0]).map(|options| options.send_policy);
    assert_eq!(policy, Some(SendPolicy::default()), "the peer is not told");
}

#[test]
fn j14_text_binary_and_empty_messages_arrive_as_what_they_are() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let messages =
        [Message::from("hé"), Message::from(vec![0]), Message::from(""), Message::from(vec![]), Message::from("\0")];
    for message in &messages {
        pair.send(A, a, message.clone());
    }
    pair.run();
    assert_eq!(pair.recv_all(B, b), messages);
    assert_eq!(pair[B].channels.stats().bytes_received, 3 + 1 + 1);
}

#[test]
fn j17_too_large_is_an_error_of_the_call_and_the_channel_lives_on() {
    let mut pair = Pair::connected_with(Setup::default().channels(|config| config.peer_message_size_max = 10));
    let (a, b) = pair.channel();
    assert_eq!(pair.try_send(A, a, "12345678901"), Err(ChannelSendError::TooLarge { len: 11, max: 10 }));
    pair.send(A, a, "1234567890");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, b)), ["1234567890"]);
    assert_eq!(pair.buffered_amount(A, a), 0);
}

#[test]
fn a_limit_of_zero_is_none_and_then_the_association_has_the_last_word() {
    let setup = Setup::default().channels(|config| config.peer_message_size_max = 0);
    let mut pair = Pair::connected_with(setup.sctp(|config| config.send_message_size_max = 100));
    let (a, _) = pair.channel();
    let error = ChannelSendError::TooLarge { len: 101, max: 100 };
    assert_eq!(pair.try_send(A, a, vec![0; 101]), Err(error));
    let options = ChannelOptions::new("l".repeat(100));
    assert_eq!(pair.try_open(A, options), Err(OpenError::TooLarge { len: 112, max: 100 }));
    assert_eq!(pair[A].channels.len(), 1, "nothing is left of it");
}

#[test]
fn negotiated_channels_exchange_no_dcep_and_may_have_any_id() {
    let mut pair = Pair::connected();
    pair.log = Some(Vec::new());
    for id in [0, 1, 500, 65_534] {
        let a = pair.open(A, negotiated(id));
        let b = pair.open(B, negotiated(id));
        assert_eq!(pair.take_events(A), [ChannelsEvent::Open(a)]);
        pair.send(A, a, "to B");
        pair.send(B, b, "to A");
        pair.run();
        assert_eq!(texts(&pair.recv_all(B, b)), ["to B"]);
        assert_eq!(texts(&pair.recv_all(A, a)), ["to A"]);
        pair.clear_events();
    }
    let in_band = pair.open(A, ChannelOptions::new("in band"));
    assert_eq!(pair.stream(A, in_band), 2, "0 is taken");
    let log = pair.log.take().unwrap();
    assert_eq!(log.iter().flat_map(Packet::data).filter(|data| data.1 == 50).count(), 1);
}

#[test]
fn negotiated_channels_made_before_the_association_is_up_work() {
    let mut pair = Pair::new(Setup::default());
    let (a, b) = (pair.open(A, negotiated(3)), pair.open(B, negotiated(3)));
    pair.send(A, a, "early");
    pair.connect();
    pair.run();
    assert_eq!(pair.take_events(B), [ChannelsEvent::Connected, ChannelsEvent::Open(b), ChannelsEvent::Readable(b)]);
    assert_eq!(texts(&pair.recv_all(B, b)), ["early"]);
}

#[test]
fn j13_ids_that_do_not_exist_or_are_taken_are_refused() {
    let setup = Setup::default().sctp(|config| (config.inbound_streams, config.outbound_streams) = (6, 10));
    let mut pair = Pair::connected_with(setup);
    for id in [6, 9, 10, 65_535] {
        assert_eq!(pair.try_open(A, negotiated(id)), Err(OpenError::InvalidId { id, streams: 6 }));
    }
    let (a, _) = (pair.open(A, negotiated(4)), pair.open(A, ChannelOptions::new("0")));
    assert_eq!(pair.try_open(A, negotiated(4)), Err(OpenError::IdInUse(4)));
    assert_eq!(pair.try_open(A, negotiated(0)), Err(OpenError::IdInUse(0)));
    let last = pair.open(A, ChannelOptions::new("2"));
    assert_eq!(pair.stream(A, last), 2);
    assert_eq!(pair.try_open(A, ChannelOptions::new("none")), Err(OpenError::NoFreeId));
    assert_eq!(pair.state(A, a), Some(ReadyState::Open));
}

#[test]
fn j13_channels_beyond_the_streams_that_the_handshake_leaves_end_with_an_error() {
    let mut setup = Setup::default();
    setup.sctp[1].inbound_streams = 3;
    let mut pair = Pair::new(setup);
    let ids = [0, 1, 2].map(|_| pair.open(A, ChannelOptions::new("x")));
    pair.send(A, ids[2], "never sent");
    pair.connect();
    pair.run();
    let error = ChannelError::NoSuchStream { stream: 4, streams: 3 };
    let events = [
        ChannelsEvent::Connected,
        ChannelsEvent::Open(ids[0]),
        ChannelsEvent::Open(ids[1]),
        ChannelsEvent::Closed(ids[2], Some(error)),
    ];
    assert_eq!(pair.take_events(A), events);
    assert_eq!(pair[B].channels.len(), 2);
    // The peer is asked for another one, and refuses.
    let beyond = pair.open(A, ChannelOptions::new("x"));
    pair.run();
    let error = ChannelError::NoSuchStream { stream: 4, streams: 3 };
    assert_eq!(pair.take_events(A), [ChannelsEvent::Closed(beyond, Some(error))]);
}

#[test]
fn j13_the_first_stream_that_the_handshake_does_not_leave_is_the_number_of_streams() {
    for (streams, below, at) in [(4, 2, 4), (5, 3, 5)] {
        let mut setup = Setup::default();
        setup.sctp[1].inbound_streams = streams;
        if at % 2 == 1 {
            setup.roles.reverse();
        }
        let mut pair = Pair::new(setup);
        let lower: Vec<_> = (0..streams / 2).map(|_| pair.open(A, ChannelOptions::new("below"))).collect();
        let first_missing = pair.open(A, ChannelOptions::new("at"));
        assert_eq!(lower.last().map(|id| pair.stream(A, *id)), Some(below));
        assert_eq!(pair.stream(A, first_missing), at);
        let last = pair.open(A, negotiated(streams - 1));
        pair.connect();
        pair.run();
        for id in lower.into_iter().chain([last]) {
            assert_eq!(pair.state(A, id), Some(ReadyState::Open));
        }
        let error = ChannelError::NoSuchStream { stream: streams, streams };
        assert_eq!(pair.closed(A, first_missing), Some(Some(error.clone())));
        let again = pair.open(A, negotiated(streams));
        pair.run();
        assert_eq!(pair.closed(A, again), Some(Some(error.clone())));
        let again = pair.open(A, ChannelOptions::new("at"));
        pair.run();
        assert_eq!(pair.closed(A, again), Some(Some(error)));
    }
}

#[test]
fn readable_comes_once_until_everything_was_read() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.take_events(B);
    let send = |pair: &mut Pair, text: &str| {
        pair.send(A, a, text);
        pair.run();
        pair.take_events(B)
    };
    assert_eq!(send(&mut pair, "one"), [ChannelsEvent::Readable(b)]);
    assert_eq!(send(&mut pair, "two"), [], "one is still unread");
    assert_eq!(pair.recv(B, b).as_ref().and_then(Message::as_text), Some("one"));
    assert_eq!(send(&mut pair, "three"), [], "two is still unread");
    assert_eq!(texts(&pair.recv_all(B, b)), ["two", "three"]);
    assert_eq!(send(&mut pair, "four"), [ChannelsEvent::Readable(b)]);
}

#[test]
fn labels_have_a_limit_of_65535_bytes_and_are_counted_in_bytes_j02() {
    let mut pair = Pair::connected();
    let longest = ChannelOptions::new("l".repeat(65_535)).protocol("é".repeat(32_767));
    let (_, b) = pair.channel_with(longest.clone());
    assert_eq!(pair[B].channels.options(b), Some(&longest));
    let label = ChannelOptions::new("é".repeat(32_768));
    assert_eq!(pair.try_open(A, label), Err(OpenError::LabelTooLong(65_536)));
    let protocol = ChannelOptions::default().protocol("p".repeat(65_536));
    assert_eq!(pair.try_open(A, protocol), Err(OpenError::ProtocolTooLong(65_536)));
}

#[test]
fn a_negotiated_channel_made_late_gets_what_the_peer_sent_before() {
    let mut pair = Pair::connected();
    let a = pair.open(A, negotiated(7));
    pair.send(A, a, "first");
    pair.send(A, a, "second");
    pair.run();
    assert_eq!(pair.take_events(B), [], "nobody has made it yet");
    let b = pair.open(B, negotiated(7));
    assert_eq!(pair.take_events(B), [ChannelsEvent::Open(b), ChannelsEvent::Readable(b)]);
    pair.send(A, a, "third");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, b)), ["first", "second", "third"]);
    assert_eq!(pair[B].channels.stats().drops.total(), 0);
}

#[test]
fn buffered_amount_counts_the_applications_bytes_only_and_low_is_told_once() {
    let mut pair = Pair::new(Setup::default());
    let a = pair.open(A, ChannelOptions::new("a label of some length"));
    assert_eq!(pair.buffered_amount(A, a), 0);
    for message in [vec![0; 1000], vec![], vec![0; 500], vec![]] {
        pair.send(A, a, message);
    }
    assert_eq!(pair.buffered_amount(A, a), 1500);
    pair.connect();
    pair.run();
    assert_eq!(pair.buffered_amount(A, a), 0);
    assert_eq!(pair[A].events, [ChannelsEvent::Connected, ChannelsEvent::Open(a), ChannelsEvent::BufferedAmountLow(a)]);
    pair.send(A, a, "");
    pair.run();
    assert_eq!(pair[A].events.len(), 3, "an empty message was never above the threshold");
}

/// Queues 100 messages on each channel, and returns the messages of the first that have arrived when 90 of the second
/// have: both have some left then, so what arrives at the same instant has been shared, too.
fn share(pair: &mut Pair, from: Side, [light, heavy]: [(ChannelId, ChannelId); 2]) -> usize {
    for index in 0..200 {
        pair.send(from, if index % 2 == 0 { light.0 } else { heavy.0 }, vec![7; 1_000]);
    }
    let (mut lights, mut heavies) = (0, 0);
    pair.run_until(Duration::from_secs(20), |pair| {
        lights += pair.recv_all(from.other(), light.1).len();
        heavies += pair.recv_all(from.other(), heavy.1).len();
        heavies >= 90
    });
    lights
}

#[test]
fn both_ends_send_with_the_priority_of_the_options_rfc8831_6_4() {
    for from in [A, B] {
        for is_negotiated in [false, true] {
            // The packets that leave at once are of this size.
            let mut pair = Pair::connected_with(Setup::default().sctp(|config| config.mtu = 1200));
            let channels = [(128, 10), (1_024, 12)].map(|(priority, id)| {
                let options = ChannelOptions::new("").priority(priority);
                let (a, b) = if is_negotiated {
                    let options = options.negotiated(id);
                    (pair.open(A, options.clone()), pair.open(B, options))
                } else {
                    pair.channel_with(options)
                };
                if from == A { (a, b) } else { (b, a) }
            });
            let lights = share(&mut pair, from, channels);
            // An eighth, and what arrives in the same packets.
            assert!((10..=20).contains(&lights), "{from:?}, negotiated {is_negotiated}: {lights}");
        }
    }
}

#[test]
fn a_priority_that_is_changed_counts_at_this_end_and_not_at_the_other() {
    let mut pair = Pair::connected();
    let [light, heavy] = [(); 2].map(|()| pair.channel());
    let end = &mut pair[A];
    end.channels.set_priority(&mut end.association, light.0, 128);
    end.channels.set_priority(&mut end.association, heavy.0, 1_024);
    assert_eq!(end.channels.options(heavy.0).map(|options| options.priority), Some(1_024));
    let lights = share(&mut pair, A, [light, heavy]);
    assert!((10..=20).contains(&lights), "{lights}");
    let lights = share(&mut pair, B, [light, heavy].map(|(a, b)| (b, a)));
    assert!((85..=95).contains(&lights), "{lights}");
    // The next channel with the id starts with its own.
    pair.close(A, heavy.0);
    pair.run();
    let end = &mut pair[A];
    end.channels.set_priority(&mut end.association, heavy.0, 65_535);
    assert_eq!(end.channels.options(heavy.0).map(|options| options.priority), Some(1_024), "it is closed");
}

/// An application that accepts channels one after the other counts on it.
#[test]
fn channels_are_announced_in_the_order_of_opening_whatever_their_priorities() {
    for is_connected in [false, true] {
        let mut pair = if is_connected { Pair::connected() } else { Pair::new(Setup::default()) };
        let names = ["a channel with a long name", "b", "", "and again"];
        for (name, priority) in names.into_iter().zip([1, 256, 1_024, 512]) {
            let id = pair.open(A, ChannelOptions::new(name).priority(priority));
            pair.send(A, id, vec![7; 10_000]);
        }
        if !is_connected {
            pair.connect();
        }
        pair.run();
        let incoming = pair.take_events(B).into_iter().filter_map(|event| match event {
            ChannelsEvent::Incoming(id) => Some(id),
            _ => None,
        });
        let incoming: Vec<_> = incoming.collect();
        let labels: Vec<_> = incoming.iter().map(|id| pair[B].channels.options(*id).unwrap().label.clone()).collect();
        assert_eq!(labels, names);
    }
}

#[test]
fn a_channel_that_was_never_told_of_leaves_no_priority_behind() {
    let mut pair = Pair::new(Setup::default());
    let before = pair[A].association.memory_charged();
    let a = pair.open(A, ChannelOptions::new("x").priority(1_024));
    pair.close(A, a);
    assert_eq!(pair[A].association.memory_charged(), before);
}

#[test]
fn the_threshold_may_be_raised_and_starts_at_zero_on_the_next_channel() {
    let mut pair = Pair::connected();
    let (a, _) = pair.channel();
    let end = &mut pair[A];
    end.channels.set_buffered_amount_low_threshold(&mut end.association, a, 50_000);
    pair.send(A, a, vec![0; 100_000]);
    pair.run_until(Duration::from_secs(5), |pair| pair[A].events.contains(&ChannelsEvent::BufferedAmountLow(a)));
    assert!(pair.buffered_amount(A, a) > 0, "it is told above zero");
    pair.run();
    assert_eq!(pair[A].events, [ChannelsEvent::BufferedAmountLow(a)]);
    pair.close(A, a);
    pair.run();
    let next = pair.open(A, negotiated(pair.stream(A, a)));
    pair.clear_events();
    pair.send(A, next, vec![0; 100_000]);
    pair.run_until(Duration::from_secs(5), |pair| pair[A].events.contains(&ChannelsEvent::BufferedAmountLow(next)));
    assert_eq!(pair.buffered_amount(A, next), 0);
}

#[test]
fn a_full_buffer_refuses_and_says_when_there_is_room() {
    let setup = Setup::default().sctp(|config| (config.send_buffer, config.stream_send_buffer) = (20_000, 20_000));
    let mut pair = Pair::connected_with(setup);
    let (a, b) = pair.channel();
    let (other, _) = pair.channel();
    pair.clear_events();
    pair.network(|packet| if packet.has_data() { Fate::Drop } else { Fate::Deliver });
    let mut accepted = 0;
    let error = loop {
        match pair.try_send(A, a, vec![0; 1000]) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, ChannelSendError::Full);
    assert_eq!(pair.try_send(A, other, "x"), Err(ChannelSendError::Full));
    pair.heal();
    pair.run();
    for id in [a, other] {
        assert_eq!(pair[A].events.iter().filter(|event| **event == ChannelsEvent::Writable(id)).count(), 1);
        pair.send(A, id, "room");
    }
    pair.run();
    assert_eq!(pair.recv_all(B, b).len(), accepted + 1);
}

#[test]
fn a_channel_opened_on_a_full_buffer_opens_when_there_is_room() {
    let setup = Setup::default().sctp(|config| (config.send_buffer, config.stream_send_buffer) = (20_000, 20_000));
    let mut pair = Pair::connected_with(setup);
    let (a, _) = pair.channel();
    pair.clear_events();
    pair.network(|packet| if packet.has_data() { Fate::Drop } else { Fate::Deliver });
    while pair.try_send(A, a, vec![0; 1000]).is_ok() {}
    let late = [0, 1, 2].map(|_| pair.open(A, ChannelOptions::new("late")));
    assert_eq!(pair.state(A, late[0]), Some(ReadyState::Connecting));
    assert_eq!(pair.try_send(A, late[0], "x"), Err(ChannelSendError::Full), "nothing overtakes DATA_CHANNEL_OPEN");
    pair.close(A, late[1]);
    assert_eq!(pair.closed(A, late[1]), Some(None), "nothing of it was sent");
    pair.heal();
    pair.run();
    assert!(
        pair[A].events.contains(&ChannelsEvent::Open(late[0]))
            && pair[A].events.contains(&ChannelsEvent::Open(late[2]))
    );
    assert!(!pair[A].events.contains(&ChannelsEvent::Open(late[1])));
    assert!(pair[A].events.contains(&ChannelsEvent::Writable(late[0])));
    pair.send(A, late[0], "now");
    pair.run();
    assert_eq!(pair[B].channels.len(), 3);
}

#[test]
fn readable_is_told_when_there_was_nothing_before() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    pair.clear_events();
    pair.send(A, a, "1");
    pair.send(A, a, "2");
    pair.run();
    assert_eq!(pair.take_events(B), [ChannelsEvent::Readable(b)]);
    assert_eq!(pair[B].channels.unread(b), 2);
    pair.recv_all(B, b);
    pair.send(A, a, "3");
    pair.run();
    assert_eq!(pair.take_events(B), [ChannelsEvent::Readable(b)]);
}

#[test]
fn a_reader_that_stops_closes_the_window_and_reading_opens_it() {
    let mut pair = Pair::connected_with(Setup::default().sctp(|config| config.receive_window = 100_000));
    let (a, b) = pair.channel();
    for _ in 0..300 {
        pair.send(A, a, vec![7; 1000]);
    }
    pair.run();
    let unread = pair[B].channels.unread(b);
    assert!((20..120).contains(&unread), "{unread} messages of 1000 bytes in a window of 100,000");
    let mut received = 0;
    pair.run_until(Duration::from_secs(60), |pair| {
        received += pair.recv_all(B, b).len();
        received == 300
    });
}

#[test]
fn both_ends_dialling_at_once_is_no_problem() {
    let mut pair = Pair::new(Setup::default());
    let (a, b) = (pair.open(A, ChannelOptions::new("a")), pair.open(B, ChannelOptions::new("b")));
    let now = pair.now;
    pair[B].association.connect(now);
    pair.turn(B);
    pair.connect();
    pair.run();
    assert_eq!([pair.state(A, a), pair.state(B, b)], [Some(ReadyState::Open); 2]);
    assert_eq!([pair[A].channels.len(), pair[B].channels.len()], [2, 2]);
    assert_eq!([pair[A].channels.role(), pair[B].channels.role()], [Role::Client, Role::Server]);
}

#[test]
fn the_handshake_may_lose_and_repeat_packets_without_harm_to_what_waits() {
    let mut pair = Pair::new(Setup::default());
    let a = pair.open(A, ChannelOptions::new("x"));
    pair.send(A, a, "waits");
    let mut seen = 0;
    pair.network(move |packet| {
        seen += 1;
        match (seen % 3, packet.has(COOKIE_ECHO)) {
            (1, _) => Fate::Drop,
            (_, true) => Fate::Duplicate,
            _ => Fate::Deliver,
        }
    });
    pair.connect();
    pair.run_for(Duration::from_secs(60));
    let b = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, b)), ["waits"]);
    assert_eq!(pair[A].events.iter().filter(|event| **event == ChannelsEvent::Open(a)).count(), 1);
}

/// Both ends have dialled, and both believe to be the client. One takes the other role when it learns that.
#[test]
fn channels_that_wait_move_to_the_ids_of_the_role_that_their_end_takes() {
    let mut pair = Pair::new(Setup { roles: [Role::Client; 2], ..Setup::default() });
    let agreed = pair.open(B, negotiated(1));
    let waiting: Vec<_> = ["first", "second", "closing"]
        .map(|label| {
            let id = pair.open(B, ChannelOptions::new(label));
            pair.send(B, id, label);
            pair.send(B, id, "and more");
            id
        })
        .into();
    let gone = pair.open(B, ChannelOptions::new("gone"));
    pair.forget(B, gone);
    pair.close(B, waiting[2]);
    assert_eq!(waiting.iter().map(|id| pair.stream(B, *id)).collect::<Vec<_>>(), [0, 2, 4]);
    let end = &mut pair[B];
    end.channels.set_role(&mut end.association, Role::Server);
    // 1 is taken by the channel that both ends know of.
    assert_eq!(waiting.iter().map(|id| pair.stream(B, *id)).collect::<Vec<_>>(), [3, 5, 7]);
    assert_eq!((pair.stream(B, agreed), pair[B].channels.role()), (1, Role::Server));
    assert_eq!(pair.buffered_amount(B, waiting[0]), "first".len() + "and more".len());

    let near = pair.open(A, ChannelOptions::new("near"));
    pair.send(A, near, "near");
    let agreed_at_a = pair.open(A, negotiated(1));
    pair.send(A, agreed_at_a, "agreed");
    pair.connect();
    pair.run();
    let incoming: Vec<_> = pair[A]
        .events
        .iter()
        .filter_map(|event| if let ChannelsEvent::Incoming(id) = event { Some(*id) } else { None })
        .collect();
    assert_eq!(incoming.len(), 3);
    for (id, label) in incoming.iter().zip(["first", "second", "closing"]) {
        assert_eq!(pair[A].channels.options(*id).map(|options| &*options.label), Some(label));
        assert_eq!(texts(&pair.recv_all(A, *id)), [label, "and more"]);
    }
    assert_eq!(pair.closed(B, waiting[2]), Some(None));
    let at_b = pair.incoming(B);
    assert_eq!(texts(&pair.recv_all(B, at_b)), ["near"]);
    assert_eq!(texts(&pair.recv_all(B, agreed)), ["agreed"]);
    // Too late, and without effect.
    let end = &mut pair[B];
    end.channels.set_role(&mut end.association, Role::Client);
    assert_eq!(pair[B].channels.role(), Role::Server);
    let next = pair.open(B, ChannelOptions::new("next"));
    assert_eq!(pair.stream(B, next) % 2, 1);
}
