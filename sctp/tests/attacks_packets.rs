//! Malformed packets, as an association and an endpoint meet them. Each test bears the id of its row in the list of
//! attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::net::SocketAddr;

use narrowboat_sctp::testing::wire::{self, Cause, ChunkType, Chunks, Init, PacketHeader, ParameterType, Parameters};
use narrowboat_sctp::{AssociationConfig, CloseReason, PacketDropReason, State, Violation};
use victim::cost::steps;
use victim::service::Service;
use victim::{
    PEER_TAG, PORT, Victim, chunk, data, data_chunk, init, kinds, one_of_each, packet, packet_with, peer_init,
    peer_init_with, raw,
};

fn stranger() -> SocketAddr {
    "192.0.2.7:9899".parse().unwrap()
}

#[test]
fn a01_a_datagram_without_a_header_or_without_a_chunk() {
    let (mut victim, mut service) = (Victim::in_state(State::Established), Service::new());
    let whole = packet(victim.tag, &[data(0, b"x")]);
    for len in 0..16 {
        victim.assert_drops(whole.slice(..len), PacketDropReason::BadPacket, &format!("{len} bytes"));
        service.assert_drops(stranger(), whole.slice(..len), PacketDropReason::BadPacket, &format!("{len} bytes"));
    }
    victim.deliver(whole);
    assert_eq!(victim.messages(), [b"x"]);
}

#[test]
fn a02_a_packet_with_any_one_bit_flipped() {
    let (mut victim, mut service) = (Victim::in_state(State::Established), Service::new());
    let packets = [packet(victim.tag, &[data(0, b"all bits count")]), packet(0, &[init(&peer_init())])];
    for whole in packets {
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let reason = if bit < 32 { PacketDropReason::WrongPorts } else { PacketDropReason::BadChecksum };
            victim.assert_drops(flipped.clone().into(), reason, &format!("bit {bit}"));
            // To an endpoint, another source port is another peer.
            let reason =
                if (16..32).contains(&bit) { PacketDropReason::WrongPorts } else { PacketDropReason::BadChecksum };
            service.assert_drops(stranger(), flipped.into(), reason, &format!("bit {bit}"));
        }
    }
}

#[test]
fn a03_a_checksum_of_zero_that_nobody_negotiated() {
    for state in State::ALL {
        let mut victim = Victim::in_state(state);
        let mut datagram = packet(victim.tag, &[data(0, b"x")]).to_vec();
        datagram[8..12].fill(0);
        victim.assert_drops(datagram.into(), PacketDropReason::BadChecksum, &format!("{state:?}"));
    }
    let mut datagram = packet(0, &[init(&peer_init())]).to_vec();
    datagram[8..12].fill(0);
    Service::new().assert_drops(stranger(), datagram.into(), PacketDropReason::BadChecksum, "INIT");
}

#[test]
fn a07_each_chunk_one_byte_short_and_one_byte_long() {
    for state in State::ALL {
        let names: Vec<_> = one_of_each(&Victim::in_state(state)).into_iter().map(|(kind, _)| kind).collect();
        for (index, kind) in names.into_iter().enumerate() {
            for change in [-1, 1] {
                let mut victim = Victim::in_state(state);
                let mut bytes = one_of_each(&victim).swap_remove(index).1;
                let len = u16::from_be_bytes([bytes[2], bytes[3]]).checked_add_signed(change).unwrap();
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes.resize(wire::padded(len.max(4).into()), 0);
                let tag = if kind == ChunkType::INIT { 0 } else { victim.tag };
                let sent = victim.deliver(packet(tag, &[bytes]));
                // The change ends the association at most, and an event says so once.
                let what = format!("{kind:?} {change:+} in {state:?}");
                assert_eq!(victim.association.is_over(), victim.closed().is_some(), "{what}");
                assert!(sent.len() <= 2, "{what}: {sent:?}");
                // A chunk with an impossible length is dropped; a header of three bytes takes its packet with it.
                let is_rigid = !matches!(
                    kind,
                    ChunkType::DATA | ChunkType::I_DATA | ChunkType::I_FORWARD_TSN | ChunkType::COOKIE_ECHO
                );
                if change < 0 && is_rigid && len > 4 {
                    assert!(!victim.association.is_over(), "{what}");
                    assert_eq!(victim.association.state(), state, "{what}");
                }
                if len < 4 && state != State::Closed {
                    assert_eq!((victim.drops(PacketDropReason::BadChunkLength), &sent[..]), (1, &[][..]), "{what}");
                }
            }
        }
    }
}

#[test]
fn a09_an_unknown_chunk_of_each_class_first_in_the_middle_and_last() {
    // By the two high bits: whether what follows still counts, and whether the peer hears of it.
    for (kind, goes_on, reports) in [(0x3F, false, false), (0x7E, false, true), (0xBF, true, false), (0xFE, true, true)]
    {
        for position in 0..3 {
            let mut victim = Victim::in_state(State::Established);
            let unknown = raw(ChunkType(kind), 0x55, b"who knows");
            let mut chunks = vec![data(0, b"first"), data(1, b"second")];
            chunks.insert(position, unknown.clone());
            let sent = victim.send(&chunks);
            let expected: &[&[u8]] = &[b"first", b"second"];
            let count = if goes_on { 2 } else { position };
            assert_eq!(victim.messages(), expected[..count], "type {kind} at {position}");
            assert_eq!(victim.drops(PacketDropReason::UnknownChunk), 1);
            let errors: Vec<_> = sent.iter().filter(|chunk| chunk.kind == ChunkType::ERROR).collect();
            assert_eq!(errors.len(), usize::from(reports), "type {kind} at {position}");
            for error in errors {
                let causes: Vec<_> = wire::Causes::new(&error.value).map(Result::unwrap).collect();
                assert_eq!(causes, [Cause::UnrecognizedChunk(&unknown[..13])], "the chunk without its padding");
            }
            assert_eq!(victim.association.state(), State::Established);
        }
    }
}

#[test]
fn a10_an_unknown_parameter_of_each_class_and_two_hundred_of_them() {
    let with = |parameters: &[u8]| {
        let plain = peer_init_with(|init| init.extensions = wire::Extensions::NONE);
        chunk(|out| plain.encode(ChunkType::INIT, parameters, out))
    };
    let forward_tsn = [0xC0, 0, 0, 4];
    for (kind, goes_on, reports) in [(0x3F, false, false), (0x7E, false, true), (0xBF, true, false), (0xFE, true, true)]
    {
        let parameter = [kind, 0x42, 0, 7, 1, 2, 3, 0];
        let sent = Service::new().send(stranger(), 0, &[with(&[&parameter[..], &forward_tsn].concat())]);
        let ack = Init::decode(&sent[0].value).unwrap();
        assert_eq!(ack.extensions.contains(wire::Extensions::FORWARD_TSN), goes_on, "type {kind}");
        let reported: Vec<_> = Parameters::new(&sent[0].value[16..])
            .map(Result::unwrap)
            .filter(|parameter| parameter.kind == ParameterType::UNRECOGNIZED)
            .map(|parameter| parameter.value.to_vec())
            .collect();
        assert_eq!(reported, vec![parameter[..7].to_vec(); usize::from(reports)], "type {kind}");
    }
    let many = [0xFE, 0x42, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16].repeat(200);
    let answers = Service::new().deliver(stranger(), packet(0, &[with(&many)]));
    assert_eq!(answers.len(), 1);
    assert!(answers[0].len() <= AssociationConfig::default().mtu, "{} bytes", answers[0].len());
    let ack = Chunks::new(&answers[0]).next().unwrap().unwrap();
    let ack = Init::decode(ack.value_in(&answers[0])).unwrap();
    assert!(ack.cookie.is_some(), "what does not fit is left out, the cookie is not");
}

#[test]
fn a11_something_to_be_sent_back_that_is_larger_than_a_packet() {
    let mut victim = Victim::in_state(State::Established);
    let info = [&[0, 1, 0xEA, 0x64], &vec![7; 60_000][..]].concat();
    let sent = victim.send(&[raw(ChunkType::HEARTBEAT, 0, &info)]);
    assert_eq!(sent, [], "no HEARTBEAT ACK is better than half of one");
    assert_eq!(victim.drops(PacketDropReason::AnswerLimit), 1);
    let unknown = raw(ChunkType(0xFE), 0, &[7; 60_000]);
    victim.association.handle_datagram(victim.now, packet(victim.tag, &[unknown]));
    let packets = victim.poll_packets();
    assert_eq!(packets.len(), 1);
    assert!(packets[0].len() <= AssociationConfig::default().mtu);
    assert_eq!(victim::chunks_of(&packets[0])[0].causes(), [6]);
    assert_eq!(victim.association.state(), State::Established);
}

#[test]
fn a12_a_packet_of_very_many_chunks() {
    let floods = [
        ("unknown, to be reported", raw(ChunkType(0xFE), 0, &[])),
        ("unknown, to be skipped", raw(ChunkType(0xBE), 0, &[])),
        ("HEARTBEAT", raw(ChunkType::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4])),
        ("COOKIE ACK", raw(ChunkType::COOKIE_ACK, 0, &[])),
        ("INIT ACK", raw(ChunkType::INIT_ACK, 0, &[0; 16])),
        ("a reset request", {
            raw(ChunkType::RE_CONFIG, 0, &[0, 13, 0, 16, 0, 0, 3, 0xE8, 0, 0, 0, 0, 0, 0, 3, 0xE7])
        }),
    ];
    for (name, one) in floods {
        let mut victim = Victim::in_state(State::Established);
        // Something in front, so that no chunk is taken for the only one.
        let mut chunks = vec![raw(ChunkType::PAD, 0, &[])];
        chunks.resize(1 + 65_000 / one.len(), one);
        victim.association.handle_datagram(victim.now, packet(victim.tag, &chunks));
        let packets = victim.poll_packets();
        assert!(packets.len() <= 1, "{name}: {} packets", packets.len());
        assert!(packets.iter().all(|packet| packet.len() <= AssociationConfig::default().mtu), "{name}");
        assert_eq!(victim.association.state(), State::Established, "{name}");
    }
    let mut victim = Victim::in_state(State::Established);
    let one = victim::shutdown(narrowboat_sctp::Tsn(victim.tsn.0.wrapping_sub(1)));
    let sent = victim.send(&vec![one; 8000]);
    assert_eq!(kinds(&sent), [ChunkType::SHUTDOWN_ACK], "the first one counts");
}

#[test]
fn a12_a_packet_costs_in_proportion_to_its_chunks() {
    let kinds = [(ChunkType(0xFE), 4), (ChunkType::HEARTBEAT, 4), (ChunkType::INIT, 4), (ChunkType::SHUTDOWN_ACK, 4)];
    for (kind, len) in kinds {
        let of = |count: usize| {
            let mut victim = Victim::in_state(State::Established);
            let mut chunks = vec![raw(ChunkType::PAD, 0, &[])];
            chunks.resize(1 + count, raw(kind, 0, &vec![0; len - 4]));
            let datagram = packet(victim.tag, &chunks);
            steps(|| victim.association.handle_datagram(victim.now, datagram))
        };
        let (few, many) = (of(1000), of(16_000));
        assert_eq!(few > 0, cfg!(debug_assertions));
        assert!(many <= 17 * few, "{kind:?}: {many} steps for sixteen times as many as take {few}");
    }
}

#[test]
fn a15_data_without_a_payload() {
    for (flags, name) in [(3, "whole"), (2, "first"), (0, "middle"), (1, "last"), (7, "unordered")] {
        let mut victim = Victim::in_state(State::Established);
        let sent = victim.send(&[raw(ChunkType::DATA, flags, &[0, 0, 3, 0xE8, 0, 1, 0, 0, 0, 0, 0, 53])]);
        assert_eq!(kinds(&sent), [ChunkType::ABORT], "{name}");
        assert_eq!(sent[0].tag, PEER_TAG);
        let causes: Vec<_> = wire::Causes::new(&sent[0].value).map(Result::unwrap).collect();
        assert_eq!(causes, [Cause::NoUserData(narrowboat_sctp::Tsn(1000))], "{name}");
        assert_eq!(
            victim.closed(),
            Some(CloseReason::PeerViolation(Violation::NoUserData(narrowboat_sctp::Tsn(1000))))
        );
    }
    let mut victim = Victim::in_state(State::Established);
    let sent = victim.send(&[raw(ChunkType::I_DATA, 3, &[0, 0, 3, 0xE8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53])]);
    assert_eq!(kinds(&sent), [ChunkType::ABORT], "I-DATA");
}

#[test]
fn a16_port_zero_and_ports_of_someone_else() {
    let mut victim = Victim::in_state(State::Established);
    let mut service = Service::new();
    let (peer, _) = service.establish(stranger());
    let answered = service.associations[&peer].stats().packets_received;
    for (source_port, destination_port, reason) in [
        (0, PORT, PacketDropReason::BadPacket),
        (PORT, 0, PacketDropReason::BadPacket),
        (0, 0, PacketDropReason::BadPacket),
        (PORT, PORT + 1, PacketDropReason::WrongPorts),
    ] {
        let header = PacketHeader { source_port, destination_port, verification_tag: victim.tag };
        let datagram = packet_with(header, &[data(0, b"x")]);
        victim.assert_drops(datagram.clone(), reason, &format!("{header:?}"));
        service.assert_drops(stranger(), datagram, reason, &format!("{header:?}"));
    }
    // From another SCTP port of the same address: not that peer's, so out of the blue.
    let header = PacketHeader { source_port: PORT + 1, destination_port: PORT, verification_tag: 77 };
    let datagram = packet_with(header, &[chunk(|out| data_chunk(0, narrowboat_sctp::Ssn(0)).encode(b"x", out))]);
    victim.assert_drops(datagram.clone(), PacketDropReason::WrongPorts, "another source port");
    let answers = service.deliver(stranger(), datagram);
    assert_eq!(victim::chunks_of(&answers[0])[0].kind, ChunkType::ABORT);
    assert_eq!(PacketHeader::decode(&answers[0]).unwrap().destination_port, PORT + 1);
    assert_eq!(service.associations[&peer].stats().packets_received, answered, "its association saw none of it");
}

#[test]
fn k23_large_probes_are_answered_by_small_packets_and_keep_nothing() {
    let mut victim = Victim::in_state(State::Established);
    let charged = victim.association.memory_charged();
    let heartbeat = raw(ChunkType::HEARTBEAT, 0, &[0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]);
    for _ in 0..10_000 {
        let sent =
            victim.send(&[heartbeat.clone(), raw(ChunkType::PAD, 0, &[0; 9000]), raw(ChunkType::PAD, 0, &[0; 9000])]);
        assert_eq!(kinds(&sent), [ChunkType::HEARTBEAT_ACK]);
        assert_eq!(sent[0].value.len(), 12, "nothing of the padding comes back");
    }
    assert_eq!(victim.association.memory_charged(), charged);
}
