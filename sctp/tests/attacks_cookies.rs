//! State Cookies: forged, stolen, late, replayed, and what a handshake costs who answers it (RFC 9260 §5.1.3, §5.1.5,
//! §5.2.4). Each test bears the id of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::net::SocketAddr;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{Cause, Causes, ChunkType, DataChunk, Extensions, Init, PacketHeader};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, DatagramEvent, EndpointConfig, PacketDropReason, Ppid,
    SendOptions, Ssn, State, StreamId, Tsn,
};
use victim::service::{Offer, Service};
use victim::{
    MS, PEER_COOKIE, PEER_TAG, PORT, SECOND, Victim, chunk, cookie_echo, data, data_chunk, error, init, kinds, packet,
    packet_with, peer_init, peer_init_with, raw,
};

fn stranger() -> SocketAddr {
    "192.0.2.7:9899".parse().unwrap()
}

fn echo_with_data(offer: &Offer) -> [Vec<u8>; 2] {
    [cookie_echo(&offer.cookie), data(0, b"beside the cookie")]
}

#[test]
fn b06_a_flood_of_inits_keeps_no_memory_and_harms_nobody() {
    let mut service = Service::new();
    let (handle, offer) = service.establish(stranger());
    let datagram = packet(0, &[init(&peer_init())]);
    let mut answer = Vec::with_capacity(2000);
    let mut answered = 0;
    // A first clone is what makes `Bytes` count its owners, which takes memory.
    let owned_twice = datagram.clone();
    let kept = allocation_counter::measure(|| {
        for n in 0..1_000_000_u32 {
            // A million in a second, each from another invented address.
            if n % 1000 == 0 {
                service.now += MS;
            }
            let [a, b, c, _] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            answer.clear();
            let from = SocketAddr::from(([100, a, b, c], 9899));
            match service.endpoint.handle_datagram(service.now, from, datagram.clone(), &mut answer) {
                DatagramEvent::Answer => answered += 1,
                DatagramEvent::Dropped => assert!(answer.is_empty()),
                other => panic!("{other:?}"),
            }
        }
    });
    drop(owned_twice);
    assert_eq!(kept.bytes_current, 0, "nothing is kept of any of them");
    assert_eq!(service.endpoint.len(), 1);
    let rate = EndpointConfig::default().inits_per_second_max;
    assert!((1..=2 * rate).contains(&answered), "{answered} answers in a second, at most {rate} wanted");
    assert_eq!(service.endpoint.drops().count(PacketDropReason::LimitReached), u64::from(1_000_000 - answered));
    // The limit is for strangers: who is connected is heard as ever, in the same millisecond.
    for number in 0..100 {
        let sent = service.send(stranger(), offer.tag, &[data(number, b"x")]);
        assert_eq!(service.events.pop().map(|(at, _)| at), Some(handle), "{sent:?}");
    }
}

#[test]
fn b06_an_init_that_is_answered_keeps_no_memory() {
    let mut service = Service::with_config(EndpointConfig { inits_per_second_max: u32::MAX, ..Default::default() });
    // The table of the limit has a fixed size and comes with the first answer.
    service.offer(stranger());
    let datagram = packet(0, &[init(&peer_init())]);
    let owned_twice = datagram.clone();
    let mut answer = Vec::with_capacity(2000);
    let kept = allocation_counter::measure(|| {
        for n in 0..10_000_u16 {
            answer.clear();
            let from = SocketAddr::from((stranger().ip(), n + 1));
            let event = service.endpoint.handle_datagram(service.now, from, datagram.clone(), &mut answer);
            assert!(matches!(event, DatagramEvent::Answer), "{event:?}");
        }
    });
    drop(owned_twice);
    assert_eq!(kept.bytes_current, 0);
    assert!(kept.bytes_max < 1024, "{} bytes at a time", kept.bytes_max);
}

#[test]
fn b08_a_cookie_flipped_cut_extended_empty_or_huge_takes_its_data_with_it() {
    let mut service = Service::new();
    let offer = service.offer(stranger());
    let whole = &offer.cookie;
    let mut forgeries: Vec<Vec<u8>> = Vec::new();
    for bit in 0..whole.len() * 8 {
        let mut forged = whole.clone();
        forged[bit / 8] ^= 0x80 >> (bit % 8);
        forgeries.push(forged);
    }
    forgeries.extend((0..whole.len()).map(|len| whole[..len].to_vec()));
    forgeries.extend([1, 4, 56, 60_000].map(|extra| [&whole[..], &vec![0; extra]].concat()));
    forgeries.push([&whole[..], whole].concat());
    for forged in forgeries {
        let what = format!("{} bytes", forged.len());
        let datagram = packet(offer.tag, &[cookie_echo(&forged), data(0, b"beside it")]);
        service.assert_drops(stranger(), datagram, PacketDropReason::BadCookie, &what);
    }
    // Nor does an association that exists take what stands beside a cookie that is not its own.
    for state in State::ALL {
        let mut victim = Victim::in_state(state);
        for forged in [&whole[..], &[], &[7; 56], &[7; 60_000]] {
            let datagram = packet(victim.tag, &[cookie_echo(forged), data(0, b"beside it")]);
            victim.assert_drops(datagram, PacketDropReason::BadCookie, &format!("{} bytes in {state:?}", forged.len()));
        }
    }
    // The one that was not touched is still good.
    let sent = service.send(stranger(), offer.tag, &echo_with_data(&offer));
    assert_eq!(kinds(&sent), [ChunkType::COOKIE_ACK, ChunkType::SACK]);
}

#[test]
fn b09_what_a_cookie_grants_was_signed() {
    let modest = peer_init_with(|init| {
        (init.outbound_streams, init.inbound_streams) = (3, 4);
        init.extensions = Extensions::NONE;
    });
    let mut service = Service::new();
    let offer = service.offer_for(stranger(), &modest);
    // Somewhere in the cookie are the streams and extensions; whatever byte is raised, it does not pass.
    for at in 0..offer.cookie.len() {
        let mut forged = offer.cookie.clone();
        forged[at] = 0xFF;
        if forged != offer.cookie {
            let datagram = packet(offer.tag, &[cookie_echo(&forged)]);
            service.assert_drops(stranger(), datagram, PacketDropReason::BadCookie, &format!("byte {at}"));
        }
    }
    service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)]);
    let association = service.associations.values_mut().next().unwrap();
    assert_eq!((association.outbound_streams(), association.inbound_streams()), (4, 3));
    assert!(!association.peer_supports_stream_reset() && !association.peer_supports_partial_reliability());
}

#[test]
fn b10_b11_a_cookie_under_other_ports_or_from_elsewhere() {
    let mut service = Service::new();
    let offer = service.offer(stranger());
    for elsewhere in ["192.0.2.7:9898", "192.0.2.8:9899", "[2001:db8::7]:9899", "[::ffff:c000:208]:9899"] {
        let datagram = packet(offer.tag, &[cookie_echo(&offer.cookie)]);
        service.assert_drops(elsewhere.parse().unwrap(), datagram, PacketDropReason::BadCookie, elsewhere);
    }
    for (source_port, reason) in [(PORT + 1, PacketDropReason::BadCookie), (1, PacketDropReason::BadCookie)] {
        let header = PacketHeader { source_port, destination_port: PORT, verification_tag: offer.tag };
        let datagram = packet_with(header, &[cookie_echo(&offer.cookie)]);
        service.assert_drops(stranger(), datagram, reason, &format!("SCTP port {source_port}"));
    }
    assert!(service.endpoint.is_empty());
}

#[test]
fn b12_a_cookie_that_is_too_old() {
    let lifetime = AssociationConfig::default().cookie_lifetime;
    let mut service = Service::new();
    let offer = service.offer(stranger());
    service.now += lifetime + 5 * MS;
    for _ in 0..3 {
        let sent = service.send(stranger(), offer.tag, &echo_with_data(&offer));
        assert_eq!((kinds(&sent), sent[0].tag), (vec![ChunkType::ERROR], PEER_TAG));
        let causes: Vec<_> = Causes::new(&sent[0].value).map(Result::unwrap).collect();
        assert_eq!(causes, [Cause::StaleCookie(5000)], "microseconds since it went stale");
        assert!(service.endpoint.is_empty());
    }
    assert_eq!(service.endpoint.drops().count(PacketDropReason::StaleCookie), 3);
    let mut service = Service::new();
    let offer = service.offer(stranger());
    service.now += lifetime;
    let sent = service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)]);
    assert_eq!(kinds(&sent), [ChunkType::COOKIE_ACK], "at the very end of its life");
}

#[test]
fn b13_a_stale_cookie_error_brings_a_few_new_inits_and_loses_nothing() {
    let stale = error(&[Cause::StaleCookie(1_000_000)]);
    let mut victim = Victim::in_state(State::CookieEchoed);
    victim.association.send(victim.now, StreamId(1), Ppid(53), "waits".into(), SendOptions::default()).unwrap();
    let ack = |tag| {
        let ack = peer_init_with(|init| (init.initiate_tag, init.cookie) = (tag, Some(PEER_COOKIE)));
        chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))
    };
    for round in 0..3 {
        assert_eq!(kinds(&victim.send(std::slice::from_ref(&stale))), [ChunkType::INIT], "round {round}");
        assert_eq!(victim.association.state(), State::CookieWait);
        assert_eq!(kinds(&victim.send(&[ack(PEER_TAG + 1 + round)])), [ChunkType::COOKIE_ECHO]);
    }
    let sent = victim.send(&[raw(ChunkType::COOKIE_ACK, 0, &[])]);
    assert_eq!((kinds(&sent), sent[0].tag), (vec![ChunkType::DATA], PEER_TAG + 3), "the message is sent after all");
    assert!(matches!(victim.events[0], AssociationEvent::Connected));

    let mut victim = Victim::in_state(State::CookieEchoed);
    for _ in 0..AssociationConfig::default().init_max_retransmits {
        victim.send(std::slice::from_ref(&stale));
        victim.send(&[ack(PEER_TAG)]);
    }
    assert_eq!(victim.send(std::slice::from_ref(&stale)), [], "Max.Init.Retransmits is the limit");
    assert_eq!(victim.closed(), Some(CloseReason::HandshakeTimedOut));

    for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
        let mut victim = Victim::in_state(state);
        let forged = packet(victim.tag.wrapping_add(1), std::slice::from_ref(&stale));
        victim.assert_drops(forged, PacketDropReason::WrongTag, &format!("forged in {state:?}"));
        if state != State::CookieEchoed {
            let late = packet(victim.tag, std::slice::from_ref(&stale));
            victim.assert_drops(late, PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
        }
    }
}

#[test]
fn b14_a_valid_cookie_once_more_while_established() {
    let mut service = Service::new();
    let (handle, offer) = service.establish(stranger());
    service.send(stranger(), offer.tag, &[data(0, b"first")]);
    let (now, ppid) = (service.now, Ppid(53));
    let association = service.associations.get_mut(&handle).unwrap();
    association.send(now, StreamId(1), ppid, "under way".into(), SendOptions::default()).unwrap();
    assert_eq!(service.poll().len(), 1);
    service.poll();
    service.events.clear();
    let before = service.associations[&handle].stats();
    let timeout = service.associations[&handle].poll_timeout();
    for _ in 0..10 {
        let sent = service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)]);
        assert_eq!(kinds(&sent), [ChunkType::COOKIE_ACK]);
    }
    let after = service.associations[&handle].stats();
    for (name, before, after) in [
        ("cwnd", before.cwnd, after.cwnd),
        ("flight", before.flight_size, after.flight_size),
        ("window", before.peer_rwnd, after.peer_rwnd),
        ("buffered", before.buffered_amount, after.buffered_amount),
    ] {
        assert_eq!(before, after, "{name}");
    }
    assert_eq!(service.associations[&handle].poll_timeout(), timeout);
    assert!(service.events.is_empty(), "{:?}", service.events);
    // Numbers go on where they were, for what comes (beside the cookie, too) and for what goes.
    service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie), data(0, b"again"), data(1, b"second")]);
    let received: Vec<_> = service.events.drain(..).collect();
    assert!(
        matches!(&received[..], [(_, AssociationEvent::Message(message))] if message.payload.len() == 6),
        "{received:?}"
    );
    let sent = service.pass(SECOND);
    assert!(!sent.is_empty(), "what was under way is repeated");
    assert_eq!(service.endpoint.len(), 1);
}

#[test]
fn b15_a_valid_cookie_once_more_after_the_end() {
    let mut service = Service::new();
    let (_, offer) = service.establish(stranger());
    service.send(stranger(), offer.tag, &[raw(ChunkType::ABORT, 0, &[])]);
    assert!(service.endpoint.is_empty());
    let datagram = packet(offer.tag, &[cookie_echo(&offer.cookie)]);
    for _ in 0..100 {
        let answers = service.deliver(stranger(), datagram.clone());
        let bytes: usize = answers.iter().map(Bytes::len).sum();
        assert!(bytes <= datagram.len(), "{bytes} bytes for {}", datagram.len());
        assert_eq!(service.endpoint.len(), 1);
    }
    let ups = service.events.iter().filter(|(_, event)| matches!(event, AssociationEvent::Connected)).count();
    assert_eq!(ups, 1, "one association, however often");
    // Nobody is there, so it ends by itself.
    let sent = service.pass(300 * SECOND);
    assert!(service.endpoint.is_empty(), "still there after five minutes");
    let bytes: usize = sent.iter().map(|(_, packet)| packet.len()).sum();
    assert!(bytes < 1000, "{bytes} bytes to somebody who did not ask");
    // And by then the cookie is worth nothing any more.
    assert_eq!(kinds(&service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)])), [ChunkType::ERROR]);
}

#[test]
fn b16_a_request_for_a_cookie_that_lives_for_years() {
    for milliseconds in [0, 60_000, u32::MAX] {
        let mut service = Service::new();
        let asking = peer_init_with(|init| init.cookie_preservative = Some(milliseconds));
        let offer = service.offer_for(stranger(), &asking);
        service.now += AssociationConfig::default().cookie_lifetime + MS;
        let sent = service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)]);
        assert_eq!((kinds(&sent), sent[0].causes()), (vec![ChunkType::ERROR], vec![3]), "{milliseconds} ms");
    }
}

#[test]
fn b17_keys_rotate_between_init_ack_and_cookie_echo() {
    let lifetime = AssociationConfig::default().cookie_lifetime;
    for made_at in [SECOND, lifetime - MS, lifetime, 3 * lifetime - MS] {
        let mut service = Service::new();
        service.now += made_at;
        let offer = service.offer(stranger());
        service.now += lifetime - MS;
        let sent = service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie)]);
        assert_eq!(kinds(&sent), [ChunkType::COOKIE_ACK], "made at {made_at:?}");
    }
}

#[test]
fn b18_a_cookie_from_before_a_restart() {
    let mut before = Service::new();
    let offer = before.offer(stranger());
    let mut after = Service::with_seed([4; 32]);
    let datagram = packet(offer.tag, &echo_with_data(&offer));
    after.assert_drops(stranger(), datagram, PacketDropReason::BadCookie, "another process's cookie");
    // T1-cookie gives up in the end; T1-init with a new INIT is what its peer's next attempt is.
    after.establish(stranger());
}

/// An INIT of the peer, answered; its cookie is not echoed yet.
fn offer_from(victim: &mut Victim, peer: &Init<'_>) -> Offer {
    let sent = victim.deliver(packet(0, &[init(peer)]));
    assert_eq!(kinds(&sent), [ChunkType::INIT_ACK]);
    let ack = Init::decode(&sent[0].value).unwrap();
    Offer { tag: ack.initiate_tag, cookie: ack.cookie.unwrap().to_vec() }
}

fn reborn(tag: u32) -> Init<'static> {
    peer_init_with(|init| (init.initiate_tag, init.initial_tsn) = (tag, Tsn(9)))
}

#[test]
fn b20_a_peer_that_lost_its_state_dials_again() {
    for state in State::ALL.into_iter().filter(|state| state.is_up() && *state != State::ShutdownAckSent) {
        let mut victim = Victim::in_state(state);
        for number in 0..4 {
            victim.send(&[data(number, b"before")]);
        }
        victim.events.clear();
        let other = offer_from(&mut victim, &reborn(0x0DD));
        let offer = offer_from(&mut victim, &reborn(0xBEE));
        let sent = victim.deliver(packet(offer.tag, &[cookie_echo(&offer.cookie)]));
        assert_eq!((sent[0].kind, sent[0].tag), (ChunkType::COOKIE_ACK, 0xBEE), "{state:?}");
        let restarts = victim.events.iter().filter(|event| matches!(event, AssociationEvent::Restarted)).count();
        assert_eq!(restarts, 1, "{state:?}: {:?}", victim.events);
        assert_eq!(victim.association.state(), State::Established);
        let stats = victim.association.stats();
        let fresh = Victim::in_state(State::CookieWait).association.stats();
        assert_eq!((stats.cwnd, stats.rto, stats.srtt), (fresh.cwnd, fresh.rto, None), "{state:?}");
        assert_eq!((stats.flight_size, stats.buffered_amount), (0, 0), "{state:?}");

        // The new life has new tags and begins at its own TSNs and at SSN 0.
        victim.tag = offer.tag;
        victim.events.clear();
        let at_nine = chunk(|out| DataChunk { tsn: Tsn(9), ..data_chunk(0, Ssn(0)) }.encode(b"after", out));
        let sent = victim.send(&[at_nine]);
        assert_eq!(sent[0].kind, ChunkType::SACK, "{state:?}");
        assert_eq!(victim.messages(), [b"after"], "{state:?}");

        // Tie-tags of the life before are wrong in this one.
        let standing = victim.standing();
        let late = packet(other.tag, &[cookie_echo(&other.cookie)]);
        assert_eq!((victim.deliver(late), victim.drops(PacketDropReason::BadCookie)), (vec![], 1), "{state:?}");
        assert_eq!(victim.standing(), standing, "{state:?}");
    }
}

#[test]
fn b20_a_restart_while_shutting_down_is_refused() {
    let mut victim = Victim::in_state(State::Established);
    let offer = offer_from(&mut victim, &reborn(0xBEE));
    let before = Tsn(victim.tsn.0.wrapping_sub(1));
    victim.send(&[victim::shutdown(before)]);
    assert_eq!(victim.association.state(), State::ShutdownAckSent);
    let sent = victim.deliver(packet(offer.tag, &[cookie_echo(&offer.cookie)]));
    assert_eq!(kinds(&sent), [ChunkType::SHUTDOWN_ACK, ChunkType::ERROR]);
    assert_eq!(sent[1].causes(), [10]);
    assert_eq!(victim.association.state(), State::ShutdownAckSent);
}

#[test]
fn b21_a_late_cookie_and_every_row_that_the_table_does_not_have() {
    // A cookie that the endpoint gave before it dialled the same peer itself; then that handshake is done (C).
    let mut service = Service::new();
    let late = service.offer(stranger());
    let (handle, mut association) = service.endpoint.connect(service.now, stranger()).unwrap();
    let mut buffer = Vec::new();
    assert!(association.poll_transmit(service.now, 1, &mut buffer).is_some());
    service.associations.insert(handle, association);
    let first = victim::chunks_of(&buffer.into()).remove(0);
    let tag = Init::decode(&first.value).unwrap().initiate_tag;
    let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
    let steps: [(&str, Option<Vec<u8>>); 3] = [
        ("in COOKIE-WAIT", None),
        ("in COOKIE-ECHOED", Some(chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out)))),
        ("in ESTABLISHED", Some(raw(ChunkType::COOKIE_ACK, 0, &[]))),
    ];
    for (what, step) in steps {
        if let Some(step) = step {
            service.send(stranger(), tag, &[step]);
        }
        let standing = |service: &Service| {
            let association = &service.associations[&handle];
            (association.state(), association.poll_timeout(), association.stats().packets_sent)
        };
        let (before, dropped) = (standing(&service), service.associations[&handle].stats().drops);
        assert_eq!(service.send(stranger(), late.tag, &echo_with_data(&late)), [], "{what}");
        assert_eq!(standing(&service), before, "{what}: and the timers run on");
        let drops = service.associations[&handle].stats().drops;
        assert_eq!(drops.count(PacketDropReason::BadCookie), dropped.count(PacketDropReason::BadCookie) + 1, "{what}");
    }

    // Rows that Table 12 leaves out: tags that are both unknown, with Tie-Tags that are none (M) or not ours (the next
    // life's).
    let mut victim = Victim::in_state(State::Established);
    let stolen = offer_from(&mut victim, &reborn(0xBEE));
    let mut victim = Victim::in_state(State::Established);
    let mut twin = Victim::with_seed(State::Established, [9; 32]);
    let of_twin = offer_from(&mut twin, &reborn(0xBEE));
    victim.assert_drops(
        packet(of_twin.tag, &[cookie_echo(&of_twin.cookie)]),
        PacketDropReason::BadCookie,
        "tie-tags of another",
    );
    // The same seed makes the same Tie-Tags, which shows that it is they that decide.
    assert_eq!(victim.deliver(packet(stolen.tag, &[cookie_echo(&stolen.cookie)]))[0].kind, ChunkType::COOKIE_ACK);
}

#[test]
fn b26_65_535_streams_in_both_directions_cost_nothing_until_they_are_used() {
    let all = peer_init_with(|init| (init.outbound_streams, init.inbound_streams) = (u16::MAX, u16::MAX));
    let of = |peer: &Init<'static>| {
        let mut service = Service::new();
        let offer = service.offer_for(stranger(), peer);
        let datagram = packet(offer.tag, &[cookie_echo(&offer.cookie)]);
        let (mut association, mut answer) = (None, Vec::with_capacity(2000));
        let kept = allocation_counter::measure(|| {
            let event = service.endpoint.handle_datagram(service.now, stranger(), datagram, &mut answer);
            let DatagramEvent::New(_, mut new) = event else { panic!("{event:?}") };
            assert!(matches!(new.poll_event(), Some(AssociationEvent::Connected)));
            let ack = new.poll_transmit(service.now, 1, &mut answer).unwrap();
            assert_eq!(ack.len, answer.len());
            association = Some(new);
        });
        let association = association.unwrap();
        (kept.bytes_current, association.outbound_streams(), association.inbound_streams())
    };
    let (many, outbound, inbound) = of(&all);
    let (one, ..) = of(&peer_init_with(|init| (init.outbound_streams, init.inbound_streams) = (1, 1)));
    assert_eq!((outbound, inbound), (u16::MAX, u16::MAX));
    assert_eq!(many, one, "bytes of an association");
    assert!(many < 16 << 10, "{many} bytes of an idle association");
}

#[test]
fn b27_a_handshake_given_up_leaves_no_memory() {
    for state in [State::CookieWait, State::CookieEchoed] {
        let mut left = 0;
        let kept = allocation_counter::measure(|| {
            let mut victim = Victim::in_state(state);
            victim
                .association
                .send(victim.now, StreamId(1), Ppid(53), vec![7; 100_000].into(), SendOptions::default())
                .unwrap();
            victim.pass(600 * SECOND);
            assert!(victim.association.is_over());
            drop(victim);
            left += 1;
        });
        assert_eq!((kept.bytes_current, left), (0, 1), "{state:?}");
    }
}
