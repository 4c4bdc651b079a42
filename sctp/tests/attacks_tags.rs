//! Verification Tags, and packets that belong to no association (RFC 9260 §8.4, §8.5). Each test bears the id of its
//! row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::net::SocketAddr;

use narrowboat_sctp::testing::Random;
use narrowboat_sctp::testing::wire::{self, Cause, ChunkType, PacketHeader, T_BIT};
use narrowboat_sctp::{CloseReason, EndpointConfig, PacketDropReason, State};
use victim::service::Service;
use victim::{
    PEER_COOKIE, PEER_TAG, PORT, SECOND, Victim, chunk, cookie_echo, data, error, init, kinds, one_of_each, packet,
    packet_with, peer_init, peer_init_with, raw,
};

/// Verification Tag that belongs to no end in these tests.
const WRONG: u32 = 0xBAD0_7A67;

fn stranger() -> SocketAddr {
    "192.0.2.7:9899".parse().unwrap()
}

#[test]
fn c01_every_chunk_with_a_wrong_tag_in_every_state() {
    for state in State::ALL {
        let types = one_of_each(&Victim::in_state(state)).into_iter().map(|(kind, _)| kind);
        for (index, kind) in types.enumerate() {
            let mut victim = Victim::in_state(state);
            let bytes = one_of_each(&victim).swap_remove(index).1;
            let what = format!("{kind:?} in {state:?}");
            let datagram = packet(WRONG, &[bytes]);
            let is_in_handshake = matches!(state, State::CookieWait | State::CookieEchoed);
            if kind == ChunkType::SHUTDOWN_ACK && is_in_handshake {
                // §8.5.1 E: belongs to an association that has been forgotten here, and is answered for it.
                let before = victim.standing();
                let sent = victim.deliver(datagram);
                assert_eq!(kinds(&sent), [ChunkType::SHUTDOWN_COMPLETE], "{what}");
                assert_eq!((sent[0].tag, sent[0].flags), (WRONG, T_BIT), "{what}");
                assert_eq!(victim.association.state(), state);
                assert_eq!(victim.association.poll_timeout(), Victim::timeout(&before), "{what}");
                continue;
            }
            let reason =
                if kind == ChunkType::COOKIE_ECHO { PacketDropReason::BadCookie } else { PacketDropReason::WrongTag };
            victim.assert_drops(datagram, reason, &what);
        }
    }
    // The ninth state: the association is over, and a packet with a wrong tag is as good as one with the right tag.
    for (index, kind) in one_of_each(&Victim::over()).into_iter().map(|(kind, _)| kind).enumerate() {
        let mut victim = Victim::over();
        let bytes = one_of_each(&victim).swap_remove(index).1;
        let sent = victim.deliver(packet(WRONG, &[bytes]));
        let expected: &[ChunkType] = match kind {
            ChunkType::INIT
            | ChunkType::INIT_ACK
            | ChunkType::COOKIE_ECHO
            | ChunkType::COOKIE_ACK
            | ChunkType::ABORT
            | ChunkType::SHUTDOWN_COMPLETE => &[],
            ChunkType::SHUTDOWN_ACK => &[ChunkType::SHUTDOWN_COMPLETE],
            _ => &[ChunkType::ABORT],
        };
        assert_eq!(kinds(&sent), expected, "{kind:?}");
        assert!(sent.iter().all(|chunk| (chunk.tag, chunk.flags) == (WRONG, T_BIT)), "{kind:?}: {sent:?}");
        assert_eq!(victim.events.len(), 0);
        assert_eq!(victim.drops(PacketDropReason::Closed), 1);
    }
}

#[test]
fn c01_the_tag_of_an_init_is_zero_and_of_nothing_else() {
    for state in State::ALL {
        for (kind, bytes) in one_of_each(&Victim::in_state(state)) {
            if kind == ChunkType::INIT {
                continue;
            }
            let mut victim = Victim::in_state(state);
            let is_in_handshake = matches!(state, State::CookieWait | State::CookieEchoed);
            let reason = match kind {
                ChunkType::COOKIE_ECHO => PacketDropReason::BadCookie,
                // Without a tag there is nothing to reflect either.
                ChunkType::SHUTDOWN_ACK if is_in_handshake => PacketDropReason::OutOfTheBlue,
                _ => PacketDropReason::WrongTag,
            };
            victim.assert_drops(packet(0, &[bytes]), reason, &format!("{kind:?} in {state:?}"));
        }
    }
}

#[test]
fn c02_of_the_tags_of_an_abort_two_forms_are_believed_and_a_million_others_are_not() {
    let abort = |flags| raw(ChunkType::ABORT, flags, &[]);
    for state in State::ALL.into_iter().filter(|state| !matches!(state, State::Closed | State::CookieWait)) {
        let tag = Victim::in_state(state).tag;
        for (verification_tag, flags) in [(PEER_TAG, 0), (tag, T_BIT), (0, 0), (0, T_BIT)] {
            let what = format!("tag {verification_tag:#x}, flags {flags} in {state:?}");
            Victim::in_state(state).assert_drops(
                packet(verification_tag, &[abort(flags)]),
                PacketDropReason::WrongTag,
                &what,
            );
        }
        for (verification_tag, flags) in [(tag, 0), (PEER_TAG, T_BIT)] {
            let mut victim = Victim::in_state(state);
            assert_eq!(victim.deliver(packet(verification_tag, &[abort(flags)])), []);
            let reason = match state {
                // All is acknowledged at both ends, and the peer has forgotten the association.
                State::ShutdownAckSent if flags == T_BIT => CloseReason::Shutdown,
                _ => CloseReason::PeerAbort { cause: None, text: String::new() },
            };
            assert_eq!(victim.closed(), Some(reason), "flags {flags} in {state:?}");
        }
    }
    // In COOKIE-WAIT the peer has no tag yet, which is not tag 0.
    Victim::in_state(State::CookieWait).assert_drops(
        packet(0, &[abort(T_BIT)]),
        PacketDropReason::WrongTag,
        "no tag yet",
    );

    let mut victim = Victim::in_state(State::Established);
    let mut random = Random(1);
    let mut datagram = [packet(0, &[abort(0)]).to_vec(), packet(0, &[abort(T_BIT)]).to_vec()];
    for round in 0..1_000_000 {
        let tag = random.u32();
        let datagram = &mut datagram[round % 2];
        datagram[4..8].copy_from_slice(&tag.to_be_bytes());
        datagram[8..12].fill(0);
        wire::seal(datagram);
        assert!(![victim.tag, PEER_TAG].contains(&tag), "the sequence is fixed, and has neither");
        let copy = bytes::Bytes::copy_from_slice(datagram);
        victim.association.handle_datagram(victim.now, copy);
    }
    assert_eq!(victim.drops(PacketDropReason::WrongTag), 1_000_000);
    assert_eq!(victim.association.state(), State::Established);
    assert_eq!((victim.poll(), victim.events.len()), (vec![], 0));
}

#[test]
fn c03_last_words_out_of_the_blue_get_no_answer() {
    let silent = [
        ("ABORT", raw(ChunkType::ABORT, 0, &[])),
        ("ABORT, reflected", raw(ChunkType::ABORT, T_BIT, &[])),
        ("SHUTDOWN COMPLETE", raw(ChunkType::SHUTDOWN_COMPLETE, 0, &[])),
        ("SHUTDOWN COMPLETE, reflected", raw(ChunkType::SHUTDOWN_COMPLETE, T_BIT, &[])),
        ("COOKIE ACK", raw(ChunkType::COOKIE_ACK, 0, &[])),
        ("Stale Cookie", error(&[Cause::StaleCookie(5)])),
        ("Stale Cookie behind another cause", error(&[Cause::OutOfResource, Cause::StaleCookie(5)])),
        (
            "INIT ACK",
            chunk(|out| {
                peer_init_with(|init| init.cookie = Some(PEER_COOKIE)).encode(ChunkType::INIT_ACK, &[], out);
            }),
        ),
    ];
    for (what, bytes) in silent {
        Service::new().assert_drops(
            stranger(),
            packet(WRONG, std::slice::from_ref(&bytes)),
            PacketDropReason::OutOfTheBlue,
            what,
        );
        let behind = packet(WRONG, &[data(0, b"x"), bytes]);
        Service::new().assert_drops(stranger(), behind, PacketDropReason::OutOfTheBlue, what);
    }
    // Rule 1: whatever comes from where no single host is.
    for address in ["224.0.0.1:9", "255.255.255.255:9", "0.0.0.0:9", "192.0.2.1:0", "[ff02::1]:9", "[::]:9"] {
        for (tag, bytes) in [(WRONG, data(0, b"x")), (0, init(&peer_init())), (WRONG, cookie_echo(PEER_COOKIE))] {
            let datagram = packet(tag, &[bytes]);
            Service::new().assert_drops(address.parse().unwrap(), datagram, PacketDropReason::OutOfTheBlue, address);
        }
    }
}

#[test]
fn c04_shutdown_ack_out_of_the_blue_is_completed() {
    for chunks in [
        vec![raw(ChunkType::SHUTDOWN_ACK, 0, &[])],
        vec![raw(ChunkType::SHUTDOWN_ACK, 0, &[]), error(&[Cause::CookieWhileShuttingDown])],
    ] {
        let mut service = Service::new();
        let sent = service.send(stranger(), WRONG, &chunks);
        assert_eq!(kinds(&sent), [ChunkType::SHUTDOWN_COMPLETE]);
        assert_eq!((sent[0].tag, sent[0].flags), (WRONG, T_BIT));
        assert_eq!(service.endpoint.drops().count(PacketDropReason::OutOfTheBlue), 1);
        assert!(service.endpoint.is_empty());
    }
}

#[test]
fn c05_anything_else_out_of_the_blue_is_aborted_back_to_where_it_came_from_within_a_rate() {
    let out_of_the_blue_per_second_max = 100;
    for (kind, bytes) in one_of_each(&Victim::in_state(State::Established)) {
        if matches!(
            kind,
            ChunkType::INIT
                | ChunkType::INIT_ACK
                | ChunkType::COOKIE_ECHO
                | ChunkType::COOKIE_ACK
                | ChunkType::ABORT
                | ChunkType::SHUTDOWN_ACK
                | ChunkType::SHUTDOWN_COMPLETE
        ) {
            continue;
        }
        let mut service = Service::with_config(EndpointConfig { out_of_the_blue_per_second_max, ..Default::default() });
        let header = PacketHeader { source_port: 7, destination_port: PORT, verification_tag: WRONG };
        let datagram = packet_with(header, &[bytes]);
        let answers = service.deliver(stranger(), datagram.clone());
        let back = PacketHeader { source_port: PORT, destination_port: 7, verification_tag: WRONG };
        assert_eq!(PacketHeader::decode(&answers[0]), Ok(back), "{kind:?}");
        let sent = victim::chunks_of(&answers[0]);
        assert_eq!((kinds(&sent), sent[0].flags), (vec![ChunkType::ABORT], T_BIT), "{kind:?}");
        assert!(answers[0].len() <= datagram.len(), "{kind:?}: the answer is larger");

        let answered = (0..1000).filter(|_| !service.deliver(stranger(), datagram.clone()).is_empty()).count();
        assert!((1..100).contains(&answered), "{kind:?}: {answered}");
        assert_eq!(service.endpoint.drops().count(PacketDropReason::LimitReached), 1000 - answered as u64);
        service.pass(SECOND);
        assert_eq!(service.deliver(stranger(), datagram).len(), 1, "{kind:?} a second later");
    }
}

#[test]
fn c06_shutdown_complete_where_nothing_is_being_shut_down() {
    for state in State::ALL {
        for flags in [0, T_BIT] {
            let mut victim = Victim::in_state(state);
            let tag = if flags == 0 { victim.tag } else { PEER_TAG };
            let datagram = packet(tag, &[raw(ChunkType::SHUTDOWN_COMPLETE, flags, &[])]);
            let what = format!("flags {flags} in {state:?}");
            match state {
                State::ShutdownAckSent => {
                    assert_eq!(victim.deliver(datagram), [], "{what}");
                    assert_eq!(victim.closed(), Some(CloseReason::Shutdown), "{what}");
                }
                // They have not named a tag yet that could be right.
                State::Closed => victim.assert_drops(datagram, PacketDropReason::WrongTag, &what),
                State::CookieWait if flags == T_BIT => victim.assert_drops(datagram, PacketDropReason::WrongTag, &what),
                _ => victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &what),
            }
        }
    }
}

#[test]
fn c07_two_ends_that_know_nothing_of_each_other_fall_silent_at_once() {
    let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:9899".parse().unwrap(), "192.0.2.2:9899".parse().unwrap());
    for (kind, bytes) in one_of_each(&Victim::in_state(State::Established)) {
        let mut services = [Service::new(), Service::new()];
        let tag = if kind == ChunkType::INIT { 0 } else { WRONG };
        let (mut to, mut packets) = (0, vec![packet(tag, &[bytes])]);
        let mut answers = 0;
        while !packets.is_empty() {
            let from = [b, a][to];
            packets = packets.into_iter().flat_map(|packet| services[to].deliver(from, packet)).collect();
            answers += packets.len();
            to = 1 - to;
            assert!(answers <= 1, "{kind:?}: they keep each other busy");
        }
    }
    // An ABORT is never answered, in whatever state it ends an association.
    for state in State::ALL {
        let mut victim = Victim::in_state(state);
        assert_eq!(victim.send(&[raw(ChunkType::ABORT, 0, &[]), data(0, b"x")]), [], "{state:?}");
        assert_eq!(victim.pass(100 * SECOND).iter().filter(|sent| sent.kind == ChunkType::ABORT).count(), 0);
    }
}

#[test]
fn c08_init_ack_and_cookie_ack_with_the_tag_of_an_association_that_is_dead() {
    let old = Victim::over().tag;
    let ack = chunk(|out| peer_init_with(|init| init.cookie = Some(PEER_COOKIE)).encode(ChunkType::INIT_ACK, &[], out));
    for state in [State::CookieWait, State::CookieEchoed, State::Established] {
        // Another seed would give another tag; the pair of these is that of two lives of one host.
        let mut victim = Victim::in_state(state);
        let dead = old.wrapping_add(1);
        assert_ne!(victim.tag, dead);
        victim.assert_drops(packet(dead, std::slice::from_ref(&ack)), PacketDropReason::WrongTag, "INIT ACK");
        victim.assert_drops(
            packet(dead, &[raw(ChunkType::COOKIE_ACK, 0, &[])]),
            PacketDropReason::WrongTag,
            "COOKIE ACK",
        );
    }
    let mut service = Service::new();
    let (handle, offer) = service.establish(stranger());
    service.send(stranger(), offer.tag, &[raw(ChunkType::ABORT, 0, &[])]);
    assert!(service.endpoint.is_empty() && !service.associations.contains_key(&handle));
    for bytes in [ack, raw(ChunkType::COOKIE_ACK, 0, &[])] {
        service.assert_drops(stranger(), packet(offer.tag, &[bytes]), PacketDropReason::OutOfTheBlue, "after the end");
    }
}
