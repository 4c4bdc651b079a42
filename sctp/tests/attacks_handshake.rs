//! INIT, INIT ACK, COOKIE ACK, and both ends at once (RFC 9260 §5). Each test bears the id of its row in the list of
//! attacks; cookies are in `attacks_cookies`.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;
mod victim;

use std::net::SocketAddr;
use std::time::Duration;

use narrowboat_sctp::testing::wire::{ChunkType, Extensions, Init, PacketHeader, T_BIT};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, DatagramEvent, EndpointConfig, PacketDropReason, SendOptions,
    State, StreamId, Violation,
};
use pair::{Pair, Verdict};
use victim::service::Service;
use victim::{
    MS, PEER_COOKIE, PEER_TAG, PORT, SECOND, Sent, Victim, chunk, cookie_echo, data, init, kinds, packet, packet_with,
    peer_init, peer_init_with, raw,
};

fn stranger() -> SocketAddr {
    "192.0.2.7:9899".parse().unwrap()
}

fn init_ack(ack: &Init<'_>) -> Vec<u8> {
    chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))
}

#[test]
fn b01_an_init_with_a_tag_or_beside_another_chunk() {
    let (init, other) = (init(&peer_init()), raw(ChunkType::PAD, 0, &[0; 4]));
    let cases: [(&str, u32, &[Vec<u8>], PacketDropReason); 4] = [
        ("a tag", 1, std::slice::from_ref(&init), PacketDropReason::WrongTag),
        ("another chunk behind it", 0, &[init.clone(), other.clone()], PacketDropReason::UnexpectedChunk),
        ("itself behind it", 0, &[init.clone(), init.clone()], PacketDropReason::UnexpectedChunk),
        ("another chunk before it", 0, &[other.clone(), init.clone()], PacketDropReason::OutOfTheBlue),
    ];
    for (what, tag, chunks, reason) in cases {
        Service::new().assert_drops(stranger(), packet(tag, chunks), reason, what);
        for state in State::ALL {
            let what = format!("{what} in {state:?}");
            Victim::in_state(state).assert_drops(packet(tag, chunks), PacketDropReason::WrongTag, &what);
        }
    }
    for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
        let mut victim = Victim::in_state(state);
        let datagram = packet(victim.tag, &[other.clone(), init.clone()]);
        victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("with a good tag in {state:?}"));
    }
}

#[test]
fn b02_an_init_whose_initiate_tag_is_zero() {
    let datagram = packet(0, &[init(&peer_init_with(|init| init.initiate_tag = 0))]);
    Service::new().assert_drops(stranger(), datagram.clone(), PacketDropReason::Malformed, "an endpoint");
    for state in State::ALL.into_iter().filter(|state| *state != State::ShutdownAckSent) {
        Victim::in_state(state).assert_drops(datagram.clone(), PacketDropReason::Malformed, &format!("{state:?}"));
    }
}

type Change = fn(&mut Init<'static>);

/// Changes of an INIT that RFC 9260 §3.3.2 and §3.3.3 forbid, by name.
const FORBIDDEN: [(&str, Change); 5] = [
    ("a_rwnd 0", |init| init.a_rwnd = 0),
    ("a_rwnd 1499", |init| init.a_rwnd = 1499),
    ("no outbound streams", |init| init.outbound_streams = 0),
    ("no inbound streams", |init| init.inbound_streams = 0),
    ("no streams at all", |init| (init.outbound_streams, init.inbound_streams) = (0, 0)),
];

#[test]
fn b03_an_init_with_a_tiny_window_or_without_streams() {
    for (what, change) in FORBIDDEN {
        let stillborn = peer_init_with(|init| {
            init.initiate_tag = 0x0BAD;
            change(init);
        });
        let mut service = Service::new();
        let sent = service.send(stranger(), 0, &[init(&stillborn)]);
        assert_eq!((kinds(&sent), sent[0].tag, sent[0].flags), (vec![ChunkType::ABORT], 0x0BAD, 0), "{what}");
        assert_eq!(sent[0].causes(), [7], "{what}");
        assert!(service.endpoint.is_empty());
        for state in State::ALL.into_iter().filter(|state| *state != State::ShutdownAckSent) {
            let mut victim = Victim::in_state(state);
            let (timeout, streams) = (victim.association.poll_timeout(), victim.association.outbound_streams());
            let sent = victim.deliver(packet(0, &[init(&stillborn)]));
            assert_eq!((kinds(&sent), sent[0].tag), (vec![ChunkType::ABORT], 0x0BAD), "{what} in {state:?}");
            assert_eq!(victim.association.state(), state, "{what}");
            assert_eq!(victim.association.poll_timeout(), timeout, "{what} in {state:?}");
            assert_eq!(victim.association.outbound_streams(), streams, "{what} in {state:?}");
            assert_eq!((victim.drops(PacketDropReason::Malformed), victim.events.len()), (1, 0), "{what} in {state:?}");
        }
    }
    let least = peer_init_with(|init| (init.a_rwnd, init.outbound_streams, init.inbound_streams) = (1500, 1, 1));
    assert_eq!(kinds(&Service::new().send(stranger(), 0, &[init(&least)])), [ChunkType::INIT_ACK]);
}

/// An INIT with these parameters behind what it has.
fn init_with(parameters: &[u8]) -> Vec<u8> {
    chunk(|out| peer_init().encode(ChunkType::INIT, parameters, out))
}

#[test]
fn b04_an_init_with_a_host_name() {
    let host_name = [&[0, 11, 0, 15][..], b"example.org\0"].concat();
    let sent = Service::new().send(stranger(), 0, &[init_with(&host_name)]);
    assert_eq!((kinds(&sent), sent[0].tag, sent[0].causes()), (vec![ChunkType::ABORT], PEER_TAG, vec![5]));
    for state in State::ALL.into_iter().filter(|state| *state != State::ShutdownAckSent) {
        let mut victim = Victim::in_state(state);
        let sent = victim.deliver(packet(0, &[init_with(&host_name)]));
        assert_eq!((kinds(&sent), sent[0].causes()), (vec![ChunkType::ABORT], vec![5]), "{state:?}");
        assert_eq!(victim.association.state(), state);
    }
    let ack = chunk(|out| {
        peer_init_with(|init| init.cookie = Some(PEER_COOKIE)).encode(ChunkType::INIT_ACK, &host_name, out);
    });
    let mut victim = Victim::in_state(State::CookieWait);
    let sent = victim.send(&[ack]);
    assert_eq!((kinds(&sent), sent[0].causes()), (vec![ChunkType::ABORT], vec![5]));
    assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::HostNameAddress)));
}

#[test]
fn b05_an_init_that_lists_addresses_of_others() {
    let ipv4 = [0, 5, 0, 8, 203, 0, 113, 9];
    let ipv6 = [&[0, 6, 0, 20][..], &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]].concat();
    let addresses = [ipv4.repeat(20), ipv6.repeat(10)].concat();
    let mut service = Service::new();
    let answers = service.deliver(stranger(), packet(0, &[init_with(&addresses)]));
    assert_eq!(answers.len(), 1, "the one answer goes back to where the INIT came from");
    let sent = victim::chunks_of(&answers[0]);
    let ack = Init::decode(&sent[0].value).unwrap();
    assert_eq!(ack.unrecognized().count(), 0, "addresses are known, and ignored");
    let (tag, cookie) = (ack.initiate_tag, ack.cookie.unwrap().to_vec());
    service.send(stranger(), tag, &[cookie_echo(&cookie)]);
    let handle = *service.associations.keys().next().unwrap();
    // HEARTBEATs and time-outs until it is given up: all of them for the address that it was made with.
    let sent = service.pass(600 * SECOND);
    assert!(sent.len() > 5 && sent.iter().all(|(to, _)| *to == handle), "{}", sent.len());
    assert!(service.endpoint.is_empty());
}

#[test]
fn b07_an_init_ack_asks_for_no_more_streams_than_the_init_takes() {
    for (outbound, inbound) in [(1, 1), (10, 7), (7, 10), (u16::MAX, u16::MAX)] {
        let peer = peer_init_with(|init| (init.outbound_streams, init.inbound_streams) = (outbound, inbound));
        let sent = Service::new().send(stranger(), 0, &[init(&peer)]);
        let ack = Init::decode(&sent[0].value).unwrap();
        assert_eq!((sent[0].kind, ack.outbound_streams), (ChunkType::INIT_ACK, inbound), "RFC 9260 §3.3.3");
    }
}

#[test]
fn b07_an_init_ack_is_one_packet_of_at_most_three_times_the_init() {
    let parameters: [(&str, Vec<u8>); 7] = [
        ("none", vec![]),
        ("unknown, reported", [0xC0, 0x42, 0, 4].to_vec()),
        ("unknown, reported, many", [0xC0, 0x42, 0, 4].repeat(300)),
        ("unknown, long", [&[0xC0, 0x42, 0x0F, 0xA4][..], &[0; 4000]].concat()),
        ("unknown, ends the chunk", [0x7F, 0x42, 0, 4].repeat(3)),
        ("cookie preservative", vec![0, 9, 0, 8, 0, 0, 0xFF, 0xFF]),
        ("addresses", [0, 5, 0, 8, 203, 0, 113, 9].repeat(50)),
    ];
    for extensions in [Extensions::NONE, peer_init().extensions] {
        for (what, parameters) in &parameters {
            let asking = peer_init_with(|init| init.extensions = extensions);
            let datagram = packet(0, &[chunk(|out| asking.encode(ChunkType::INIT, parameters, out))]);
            let answers = Service::new().deliver(stranger(), datagram.clone());
            assert_eq!(answers.len(), 1, "{what}");
            let (asked, answered) = (datagram.len(), answers[0].len());
            assert!(
                answered <= 3 * asked && answered <= AssociationConfig::default().mtu,
                "{what}: {asked} B to {answered} B"
            );
        }
    }
}

/// Drops, delays or repeats the first eight packets, by the bits of `mask`; the ends dial `apart` from each other.
fn collide(mask: u8, apart: Duration, verdict: Verdict) -> Pair {
    let mut pair = Pair::new();
    let mut number = 0;
    pair.rule = Box::new(move |_| {
        number += 1;
        if number <= 8 && mask >> (number - 1) & 1 == 1 { verdict } else { Verdict::Pass }
    });
    pair.ends[0].connect(pair.now);
    pair.run_for(apart);
    // The second end may have become part of the first one's association already; dialling then does nothing.
    pair.ends[1].connect(pair.now);
    for (end, payload) in [(0, "from 0"), (1, "from 1")] {
        let (now, ppid) = (pair.now, narrowboat_sctp::Ppid(53));
        pair.ends[end].send(now, StreamId(1), ppid, payload.into(), SendOptions::default()).unwrap();
    }
    pair
}

#[test]
fn b19_both_ends_dial_at_once_in_every_order_and_with_every_loss() {
    let verdicts = [
        Verdict::Drop,
        Verdict::Delay(25 * MS),
        Verdict::Delay(1300 * MS),
        Verdict::Repeat(7 * MS),
        Verdict::Repeat(1200 * MS),
    ];
    for verdict in verdicts {
        for apart in [0, 3, 12, 25] {
            for mask in 0..=u8::MAX {
                let mut pair = collide(mask, apart * MS, verdict);
                pair.run_for(60 * SECOND);
                let what = format!("{verdict:?} {mask:#010b}, {apart} ms apart");
                for end in 0..2 {
                    assert_eq!(pair.ends[end].state(), State::Established, "{what}");
                    let ups =
                        pair.events[end].iter().filter(|event| matches!(event, AssociationEvent::Connected)).count();
                    assert_eq!(ups, 1, "{what}: {:?}", pair.events[end]);
                    let restarts =
                        pair.events[end].iter().filter(|event| matches!(event, AssociationEvent::Restarted)).count();
                    assert_eq!(restarts, 0, "{what}");
                    let received: Vec<_> = pair.received[end].iter().map(|(_, _, payload)| &payload[..]).collect();
                    assert_eq!(received, [format!("from {}", 1 - end).as_bytes()], "{what}");
                }
                // Before the first INIT is there, each end has begun, and knows it of the other. Exactly one gives way.
                if apart < 10 {
                    let losers = pair.ends.iter().filter(|end| end.has_lost_collision()).count();
                    assert_eq!(losers, 1, "{what}");
                }
            }
        }
    }
}

#[test]
fn only_an_end_that_has_begun_can_lose_a_collision() {
    for end in 0..2 {
        let mut pair = Pair::new();
        pair.ends[end].connect(pair.now);
        pair.run_for(SECOND);
        assert_eq!(
            pair.ends.each_ref().map(|end| (end.state(), end.has_lost_collision())),
            [(State::Established, false); 2]
        );
    }
}

/// An echo service sends back whatever comes: an end that took its own INIT for the peer's would connect to itself.
#[test]
fn b29_an_end_that_dials_an_echo_service_does_not_connect_to_itself() {
    let mut pair = Pair::new();
    pair.ends[0].connect(pair.now);
    let end = &mut pair.ends[0];
    let (mut now, mut sent) = (pair.now, 0);
    while end.state() != State::Closed {
        let mut packet = Vec::new();
        while end.poll_transmit(now, 1, &mut packet).is_some() {
            sent += 1;
            end.handle_datagram(now, std::mem::take(&mut packet).into());
        }
        while let Some(event) = end.poll_event() {
            assert!(!matches!(event, AssociationEvent::Connected), "connected to itself");
        }
        if let Some(deadline) = end.poll_timeout() {
            now = deadline;
            end.handle_timeout(now);
        }
    }
    assert_eq!(sent, 1 + u64::from(AssociationConfig::default().init_max_retransmits));
    assert_eq!(end.stats().drops.count(PacketDropReason::UnexpectedChunk), sent, "each comes back and is dropped");
}

#[test]
fn b22_an_init_in_each_state_from_the_peers_port_and_from_another() {
    for state in State::ALL {
        for tag in [PEER_TAG, 0x0AB1_E123] {
            let mut victim = Victim::in_state(state);
            let before = victim.standing();
            let sent = victim.deliver(packet(0, &[init(&peer_init_with(|init| init.initiate_tag = tag))]));
            let expected = if state == State::ShutdownAckSent { ChunkType::SHUTDOWN_ACK } else { ChunkType::INIT_ACK };
            assert_eq!(kinds(&sent), [expected], "{state:?}");
            assert_eq!(victim.association.state(), state);
            assert_eq!(victim.association.poll_timeout(), Victim::timeout(&before), "{state:?}");
            assert!(victim.events.is_empty());
            if expected == ChunkType::INIT_ACK {
                assert_eq!(sent[0].tag, tag);
                let ack = Init::decode(&sent[0].value).unwrap();
                // §5.2.1, §5.2.2: the tag of a handshake under way is kept, that of an association is never told.
                let keeps = matches!(state, State::CookieWait | State::CookieEchoed);
                assert_eq!(ack.initiate_tag == victim.tag, keeps, "{state:?}");
            }
        }
    }
    // From another UDP port it is another peer, and the association hears nothing of it.
    let mut service = Service::new();
    let (handle, offer) = service.establish(stranger());
    let before = service.associations[&handle].stats();
    for port in [1, 9898, 9900] {
        let elsewhere = SocketAddr::new(stranger().ip(), port);
        let sent = service.send(elsewhere, 0, &[init(&peer_init())]);
        assert_eq!(kinds(&sent), [ChunkType::INIT_ACK]);
    }
    assert_eq!(service.associations[&handle].stats(), before);
    assert_eq!(service.endpoint.remote_address(handle), Some(stranger()));
    let sent = service.send(stranger(), offer.tag, &[data(0, b"still here")]);
    assert_eq!(kinds(&sent), [ChunkType::SACK]);
}

#[test]
fn b23_an_init_ack_that_cannot_be_or_comes_at_the_wrong_time() {
    let with_cookie = |change: Change| {
        peer_init_with(|init| {
            init.cookie = Some(PEER_COOKIE);
            change(init);
        })
    };
    let failed = Some(CloseReason::PeerViolation(Violation::BadHandshake));
    let abort = |ack: &Init<'_>| -> (Sent, Victim) {
        let mut victim = Victim::in_state(State::CookieWait);
        let mut sent = victim.send(&[init_ack(ack)]);
        assert_eq!(kinds(&sent), [ChunkType::ABORT]);
        (sent.remove(0), victim)
    };
    for (what, change) in FORBIDDEN {
        let (sent, victim) = abort(&with_cookie(change));
        assert_eq!((sent.tag, sent.flags, sent.causes()), (PEER_TAG, 0, vec![7]), "{what}");
        assert_eq!(victim.closed(), failed, "{what}");
    }
    let (sent, victim) = abort(&peer_init());
    assert_eq!((sent.tag, sent.causes()), (PEER_TAG, vec![2]), "no cookie");
    assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::MissingCookie)));
    // A peer without a tag is told by the tag that it used itself.
    let (sent, victim) = abort(&with_cookie(|init| init.initiate_tag = 0));
    assert_eq!((sent.tag, sent.flags), (victim.tag, T_BIT));
    assert_eq!(victim.closed(), failed);

    for state in State::ALL.into_iter().filter(|state| !matches!(state, State::CookieWait | State::Closed)) {
        let mut victim = Victim::in_state(state);
        let datagram = packet(victim.tag, &[init_ack(&with_cookie(|_| {}))]);
        victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
    }
    let mut victim = Victim::in_state(State::CookieWait);
    let datagram = packet(victim.tag, &[raw(ChunkType::INIT_ACK, 0, &[0; 15])]);
    victim.assert_drops(datagram, PacketDropReason::Malformed, "cut");
    let datagram = packet(victim.tag, &[init_ack(&with_cookie(|_| {})), raw(ChunkType::PAD, 0, &[])]);
    victim.assert_drops(datagram, PacketDropReason::WrongTag, "bundled");
}

#[test]
fn b25_cookie_ack_twice_and_at_the_wrong_time() {
    let ack = raw(ChunkType::COOKIE_ACK, 0, &[]);
    for state in State::ALL.into_iter().filter(|state| !matches!(state, State::CookieEchoed | State::Closed)) {
        let mut victim = Victim::in_state(state);
        let datagram = packet(victim.tag, std::slice::from_ref(&ack));
        victim.assert_drops(datagram.clone(), PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
        victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("{state:?} again"));
    }
    let mut victim = Victim::in_state(State::CookieEchoed);
    victim.send(&[ack.clone(), ack]);
    assert!(matches!(victim.events[..], [AssociationEvent::Connected]), "{:?}", victim.events);
    assert_eq!(victim.drops(PacketDropReason::UnexpectedChunk), 1);
}

#[test]
fn lost_inits_do_not_make_a_lost_cookie_wait_longer() {
    let mut victim = Victim::in_state(State::CookieWait);
    assert_eq!(kinds(&victim.pass(8 * SECOND)), [ChunkType::INIT; 3], "after 1, 3 and 7 s");
    let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
    let sent = victim.send(&[chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))]);
    assert_eq!(kinds(&sent), [ChunkType::COOKIE_ECHO]);
    assert_eq!(victim.association.stats().srtt, None, "which INIT was answered?");
    assert_eq!(kinds(&victim.pass(SECOND)), [ChunkType::COOKIE_ECHO], "after one initial RTO, not after 8 s");
}

#[test]
fn b27_a_handshake_that_nobody_answers() {
    for (state, repeated) in [(State::CookieWait, ChunkType::INIT), (State::CookieEchoed, ChunkType::COOKIE_ECHO)] {
        let mut victim = Victim::in_state(state);
        victim
            .association
            .send(victim.now, StreamId(1), narrowboat_sctp::Ppid(53), "never".into(), SendOptions::default())
            .unwrap();
        let sent = victim.pass(600 * SECOND);
        let mut expected = vec![repeated; 8];
        // Before the INIT ACK the peer's tag is not known, so there is nobody to tell.
        expected.extend((state == State::CookieEchoed).then_some(ChunkType::ABORT));
        assert_eq!(kinds(&sent), expected, "Max.Init.Retransmits");
        assert_eq!(victim.closed(), Some(CloseReason::HandshakeTimedOut));
        assert_eq!(victim.association.poll_timeout(), None);
        assert_eq!(victim.association.stats().buffered_amount, 0);

        // The application lets go in the middle: the peer is told as far as there is one, and nothing runs on.
        let mut victim = Victim::in_state(state);
        victim.association.abort("changed my mind");
        let sent = victim.poll();
        let expected: &[ChunkType] = if state == State::CookieWait { &[] } else { &[ChunkType::ABORT] };
        assert_eq!(kinds(&sent), expected);
        assert_eq!(victim.closed(), Some(CloseReason::LocalAbort));
        assert_eq!((victim.association.poll_timeout(), victim.pass(600 * SECOND)), (None, vec![]));

        let mut victim = Victim::in_state(state);
        victim.association.shutdown(victim.now);
        assert_eq!(kinds(&victim.poll()), expected);
        assert_eq!(victim.closed(), Some(CloseReason::Shutdown));
        assert_eq!(victim.association.poll_timeout(), None);
    }
}

#[test]
fn b28_an_offer_of_zero_checksums() {
    // 1 is SCTP over DTLS, which plain SCTP is not; nobody knows the others.
    for method in [0, 1, 2, u32::MAX] {
        let asking = peer_init_with(|init| init.zero_checksum = Some(method));
        let mut service = Service::new();
        let sent = service.send(stranger(), 0, &[init(&asking)]);
        let ack = Init::decode(&sent[0].value).unwrap();
        assert_eq!((ack.zero_checksum, ack.unrecognized().count()), (None, 0), "method {method}");
        let answers = service.deliver(stranger(), packet(ack.initiate_tag, &[cookie_echo(ack.cookie.unwrap())]));
        assert!(!narrowboat_sctp::testing::wire::has_zero_checksum(&answers[0]), "method {method}");
        let handle = *service.associations.keys().next().unwrap();
        let mut datagram = packet(ack.initiate_tag, &[data(0, b"x")]).to_vec();
        datagram[8..12].fill(0);
        assert_eq!(service.deliver(stranger(), datagram.into()), Vec::<bytes::Bytes>::new());
        assert_eq!(
            service.associations[&handle].stats().drops.count(PacketDropReason::BadChecksum),
            1,
            "method {method}"
        );
    }
}

#[test]
fn b24_a_cookie_behind_another_chunk() {
    let mut service = Service::new();
    let offer = service.offer(stranger());
    let behind = packet(offer.tag, &[data(0, b"too early"), cookie_echo(&offer.cookie)]);
    service.assert_drops(stranger(), behind, PacketDropReason::OutOfTheBlue, "DATA first");
    let early = service.send(stranger(), offer.tag, &[data(0, b"too early")]);
    assert_eq!(kinds(&early), [ChunkType::ABORT], "DATA before the cookie is out of the blue");
    for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
        let mut victim = Victim::in_state(state);
        let datagram = packet(victim.tag, &[raw(ChunkType::PAD, 0, &[]), cookie_echo(&offer.cookie)]);
        victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
    }
    // The order that the RFC wants: the cookie, then data.
    let sent = service.send(stranger(), offer.tag, &[cookie_echo(&offer.cookie), data(0, b"in time")]);
    assert_eq!(kinds(&sent), [ChunkType::COOKIE_ACK, ChunkType::SACK]);
    let message = service.events.iter().find_map(|(_, event)| match event {
        AssociationEvent::Message(message) => Some(message.payload.clone().into_bytes()),
        _ => None,
    });
    assert_eq!(message.unwrap(), "in time");
}

#[test]
fn b24_an_association_that_was_never_begun_takes_nothing_but_a_handshake() {
    let mut victim = Victim::in_state(State::Closed);
    for (kind, bytes) in victim::one_of_each(&victim) {
        if matches!(kind, ChunkType::INIT | ChunkType::COOKIE_ECHO) {
            continue;
        }
        victim.assert_drops(packet(77, &[bytes]), PacketDropReason::WrongTag, &format!("{kind:?}"));
    }
}

#[test]
fn k03_a_thousand_associations_with_the_same_ports_and_some_with_the_same_tag() {
    let mut service = Service::with_config(EndpointConfig { associations_per_address_max: 2000, ..Default::default() });
    // Behind one address, then each behind its own; every peer calls itself the same.
    let peers: Vec<SocketAddr> = (0..512)
        .flat_map(|n: u16| {
            let [high, low] = n.to_be_bytes();
            [SocketAddr::new(stranger().ip(), 1000 + n), SocketAddr::from(([10, 0, high, low], 9899))]
        })
        .collect();
    let offers: Vec<_> = peers.iter().map(|peer| service.establish(*peer)).collect();
    assert_eq!(service.endpoint.len(), 1024);
    for (index, (peer, (handle, offer))) in peers.iter().zip(&offers).enumerate() {
        let text = format!("message of {index}");
        service.send(*peer, offer.tag, &[data(0, text.as_bytes())]);
        let (at, event) = service.events.pop().unwrap();
        let AssociationEvent::Message(message) = event else { panic!("{event:?}") };
        assert_eq!((at, &message.payload.into_bytes()[..]), (*handle, text.as_bytes()));
        assert!(service.events.is_empty());
        // Its neighbour's tag is not its own.
        let (_, other) = &offers[(index + 1) % 1024];
        assert_eq!(service.send(*peer, other.tag, &[data(1, b"cross-talk")]), []);
        assert!(service.events.is_empty());
    }
}

#[test]
fn k12_more_peers_than_an_endpoint_or_an_address_may_have() {
    let config = EndpointConfig { associations_max: 10, associations_per_address_max: 4, ..Default::default() };
    let mut service = Service::with_config(config);
    let at = |ip: u8, port| SocketAddr::from(([10, 0, 0, ip], port));
    // A cookie that was good when it was made.
    let early = service.offer(at(1, 99));
    for port in 0..4 {
        service.establish(at(1, 1000 + port));
    }
    let refused = |service: &mut Service, peer| {
        let sent = service.send(peer, 0, &[init(&peer_init())]);
        assert_eq!((kinds(&sent), sent[0].causes()), (vec![ChunkType::ABORT], vec![4]), "{peer}");
    };
    refused(&mut service, at(1, 2000));
    let sent = service.send(at(1, 99), early.tag, &[cookie_echo(&early.cookie)]);
    assert_eq!((kinds(&sent), sent[0].causes(), sent[0].tag), (vec![ChunkType::ABORT], vec![4], PEER_TAG));
    for ip in 2..8 {
        service.establish(at(ip, 1000));
    }
    assert_eq!(service.endpoint.len(), 10);
    refused(&mut service, at(100, 1000));
    assert_eq!(service.endpoint.drops().count(PacketDropReason::LimitReached), 3);
    assert!(service.endpoint.connect(service.now, at(101, 1)).is_err());
    assert_eq!(service.endpoint.len(), 10);
}

#[test]
fn k13_a_flood_of_bad_packets_is_counted_and_keeps_no_memory() {
    let mut service = Service::new();
    let (_, offer) = service.establish(stranger());
    let elsewhere: SocketAddr = "198.51.100.1:1".parse().unwrap();
    let bad: [(SocketAddr, bytes::Bytes); 6] = [
        (elsewhere, bytes::Bytes::from_static(b"short")),
        (
            elsewhere,
            packet_with(
                PacketHeader { source_port: 1, destination_port: PORT + 1, verification_tag: 1 },
                &[data(0, b"x")],
            ),
        ),
        (elsewhere, packet(9, &[raw(ChunkType::ABORT, 0, &[])])),
        (elsewhere, packet(0, &[raw(ChunkType::INIT, 0, &[0; 15])])),
        (elsewhere, packet(9, &[cookie_echo(&[7; 56])])),
        (stranger(), packet(offer.tag.wrapping_add(1), &[data(0, b"x")])),
    ];
    // A first clone is what makes `Bytes` count its owners, which takes memory.
    let owned_twice = bad.clone();
    let (mut answer, mut dropped) = (Vec::with_capacity(2000), 0);
    let kept = allocation_counter::measure(|| {
        for (from, datagram) in bad.iter().cycle().take(60_000) {
            service.now += MS;
            answer.clear();
            match service.endpoint.handle_datagram(service.now, *from, datagram.clone(), &mut answer) {
                DatagramEvent::Existing(handle, datagram) => {
                    let association = service.associations.get_mut(&handle).unwrap();
                    association.handle_datagram(service.now, datagram);
                    assert!(association.poll_transmit(service.now, 1, &mut answer).is_none());
                    assert!(association.poll_event().is_none());
                }
                DatagramEvent::Dropped => dropped += 1,
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(dropped, 50_000);
    assert_eq!(service.endpoint.drops().total(), 50_000, "each is counted");
    assert_eq!(kept.bytes_current, 0, "nothing is kept");
    assert_eq!(kept.count_total, 0, "and nothing is even allocated");
    drop(owned_twice);
    let (_, association) = service.associations.iter().next().unwrap();
    assert_eq!(association.stats().drops.count(PacketDropReason::WrongTag), 10_000);
}
