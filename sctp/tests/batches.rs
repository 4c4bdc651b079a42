//! A socket reads datagrams one by one or many at a time. A peer sees the same answers to the same datagrams, whichever
//! it is (RFC 9260 §6.2, §6.7).
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::Random;
use narrowboat_sctp::testing::wire::{self, ChunkType, ForwardTsn, PacketHeader, ReconfigWriter, ResetResult, Sack};
use narrowboat_sctp::{AssociationStats, RequestSn, Ssn, State, StreamId, Tsn};

use crate::victim::{
    PEER_TSN, PORT, Victim, chunk, chunks_of, cookie_echo, data, data_chunk, init, kinds, packet, packet_with,
    peer_init, raw, sack,
};

const BATCHES: [usize; 6] = [1, 2, 3, 16, 64, 128];

/// Hands in the datagrams and polls after every `batch` of them. Nothing is read meanwhile, so that `a_rwnd` is alike.
fn answers(victim: &mut Victim, datagrams: &[Bytes], batch: usize) -> Vec<Bytes> {
    let mut packets = Vec::new();
    for datagrams in datagrams.chunks(batch) {
        for datagram in datagrams {
            victim.association.handle_datagram(victim.now, datagram.clone());
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = victim.association.poll_transmit(victim.now, 54, &mut buffer) {
            assert_eq!(transmit.len, buffer.len());
            packets.extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
            buffer.clear();
        }
    }
    packets
}

/// Runs the same datagrams in batches of every size. Returns what a batch of one gets, and the association after it.
#[track_caller]
fn check(state: State, make: impl Fn(&mut Victim) -> Vec<Bytes>) -> (Vec<Bytes>, Victim) {
    let run = |batch| {
        let mut victim = Victim::in_state(state);
        let datagrams = make(&mut victim);
        (answers(&mut victim, &datagrams, batch), victim)
    };
    let (expected, first) = run(1);
    for batch in BATCHES {
        let (packets, victim) = run(batch);
        let seen: Vec<_> = packets.iter().map(|packet| kinds(&chunks_of(packet))).collect();
        let wanted: Vec<_> = expected.iter().map(|packet| kinds(&chunks_of(packet))).collect();
        assert_eq!(seen, wanted, "batches of {batch}");
        assert_eq!(packets, expected, "batches of {batch}");
        assert_eq!(standing(&victim), standing(&first), "batches of {batch}");
    }
    (expected, first)
}

/// The state, the counters, and the time to the next deadline.
fn standing(victim: &Victim) -> (State, AssociationStats, Option<Duration>) {
    let deadline = victim.association.poll_timeout().map(|deadline| deadline.duration_since(victim.now));
    (victim.association.state(), victim.association.stats(), deadline)
}

/// SACKs among the packets.
fn sacks(packets: &[Bytes]) -> usize {
    packets.iter().flat_map(chunks_of).filter(|chunk| chunk.kind == ChunkType::SACK).count()
}

#[test]
fn data_in_order_gets_a_sack_for_every_second_packet() {
    let (packets, _) = check(State::Established, |victim| {
        (0..256).map(|number| packet(victim.tag, &[data(number, b"in order")])).collect()
    });
    // The first 16 packets are acknowledged one by one.
    assert_eq!(packets.len(), 16 + (256 - 16) / 2);
    assert_eq!(sacks(&packets), packets.len());
}

#[test]
fn every_packet_behind_a_gap_gets_a_sack() {
    let lost = 20;
    let (packets, _) = check(State::Established, |victim| {
        let all = (0..200).filter(|number| *number != lost).chain([lost]);
        all.map(|number| packet(victim.tag, &[data(number, b"with a gap")])).collect()
    });
    // Up to the loss: 16, then one for two. From then on one for each, and one for the packet that closes the gap.
    assert_eq!(sacks(&packets), 16 + 2 + 179 + 1);
    let misses = |packet: &Bytes| {
        let chunks = chunks_of(packet);
        let sack = Sack::decode(&chunks.first().unwrap().value).unwrap();
        sack.cumulative_tsn_ack == Tsn(PEER_TSN + lost - 1) && sack.gap_blocks().count() == 1
    };
    assert_eq!(packets.iter().filter(|packet| misses(packet)).count(), 179, "a sender counts them (§7.2.4)");
}

#[test]
fn random_losses_repetitions_and_order_are_answered_alike() {
    for seed in 1..=4u64 {
        let mut numbers = Random(seed);
        let mut random = move |bound| numbers.below(bound);
        let mut numbers: Vec<u32> = (0..300).filter(|_| random(10) > 0).collect();
        for _ in 0..60 {
            let (a, b) = (random(270), random(270));
            let (a, b) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
            match random(2) {
                0 => numbers.swap(a.min(200), b.min(200)),
                _ => numbers.insert(a.min(200), numbers[b.min(200)]),
            }
        }
        check(State::Established, |victim| {
            numbers.iter().map(|number| packet(victim.tag, &[data(*number, b"random")])).collect()
        });
    }
}

fn reset_request(number: u32, last_tsn: u32, streams: &[u16]) -> Vec<u8> {
    chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        let last_request = RequestSn(0);
        writer.push_outgoing_reset(
            RequestSn(number),
            last_request,
            Tsn(last_tsn),
            streams.iter().copied().map(StreamId),
        );
        writer.finish();
    })
}

/// The results among the answers to resets.
fn results(packets: &[Bytes]) -> Vec<ResetResult> {
    let mut results = Vec::new();
    for chunk in packets.iter().flat_map(chunks_of).filter(|chunk| chunk.kind == ChunkType::RE_CONFIG) {
        for parameter in wire::Reconfig::decode(&chunk.value).unwrap().parameters() {
            if let wire::ReconfigParameter::Response { result, .. } = parameter {
                results.push(result);
            }
        }
    }
    results
}

#[test]
fn every_reset_is_answered_though_many_come_in_one_batch() {
    let (packets, _) = check(State::Established, |victim| {
        let mut datagrams = Vec::new();
        for number in 0..40 {
            datagrams.push(packet(victim.tag, &[data(number, b"before the reset")]));
            let streams = [u16::try_from(number).unwrap() + 10];
            datagrams.push(packet(victim.tag, &[reset_request(PEER_TSN + number, PEER_TSN + number, &streams)]));
        }
        datagrams
    });
    assert_eq!(results(&packets), [ResetResult::Performed; 40]);
}

#[test]
fn a_deferred_reset_is_answered_twice_in_any_batch() {
    let (packets, _) = check(State::Established, |victim| {
        let tag = victim.tag;
        let late = packet(tag, &[reset_request(PEER_TSN, PEER_TSN + 2, &[7])]);
        let mut datagrams = vec![packet(tag, &[data(0, b"a")]), late.clone(), late];
        datagrams.extend((1..6).map(|number| packet(tag, &[data(number, b"b")])));
        datagrams
    });
    assert_eq!(results(&packets), [ResetResult::InProgress, ResetResult::InProgress, ResetResult::Performed]);
}

#[test]
fn each_heartbeat_error_init_and_cookie_gets_its_own_answer() {
    let (packets, _) = check(State::Established, |victim| {
        let mut datagrams = Vec::new();
        for number in 0..30u32 {
            let info = [&[0, 1, 0, 8][..], &number.to_be_bytes()].concat();
            datagrams.push(packet(victim.tag, &[raw(ChunkType::HEARTBEAT, 0, &info)]));
            // An unknown chunk that wants a report, a stream that does not exist, and DATA.
            datagrams.push(packet(victim.tag, &[raw(ChunkType(0xC5), 0, &number.to_be_bytes())]));
            let mut bad = data_chunk(2 * number, Ssn(0));
            bad.stream = StreamId(40_000);
            datagrams.push(packet(victim.tag, &[chunk(|out| bad.encode(b"no such stream", out))]));
            let ssn = Ssn(u16::try_from(number).unwrap());
            datagrams.push(packet(victim.tag, &[chunk(|out| data_chunk(2 * number + 1, ssn).encode(b"good", out))]));
            let header = PacketHeader { source_port: PORT, destination_port: PORT, verification_tag: 0 };
            datagrams.push(packet_with(header, &[init(&peer_init())]));
            datagrams.push(packet(victim.tag, &[cookie_echo(b"forged")]));
        }
        datagrams
    });
    let count = |kind| packets.iter().flat_map(chunks_of).filter(|chunk| chunk.kind == kind).count();
    assert_eq!(count(ChunkType::HEARTBEAT_ACK), 30);
    assert_eq!(count(ChunkType::ERROR), 60);
    assert_eq!(count(ChunkType::INIT_ACK), 30);
}

#[test]
fn a_forward_tsn_and_the_end_of_an_association_come_in_their_place() {
    for end in [ChunkType::ABORT, ChunkType::DATA, ChunkType::SHUTDOWN] {
        check(State::Established, |victim| {
            let tag = victim.tag;
            let mut datagrams: Vec<_> = (3..40).map(|number| packet(tag, &[data(number, b"behind a gap")])).collect();
            let skip = |to: u32| {
                chunk(|out| {
                    ForwardTsn::encode(
                        Tsn(PEER_TSN + to),
                        [(StreamId(1), Ssn(u16::try_from(to).unwrap()))].into_iter(),
                        out,
                    );
                })
            };
            datagrams.push(packet(tag, &[skip(0)]));
            datagrams.push(packet(tag, &[skip(2)]));
            let last = match end {
                ChunkType::ABORT => raw(ChunkType::ABORT, 0, &[]),
                // Without user data: a violation.
                ChunkType::DATA => chunk(|out| data_chunk(50, Ssn(50)).encode(b"", out)),
                _ => victim::shutdown(Tsn(victim.tsn.0.wrapping_sub(1))),
            };
            datagrams.push(packet(tag, &[last]));
            datagrams.extend((40..60).map(|number| packet(tag, &[data(number, b"after the end")])));
            datagrams
        });
    }
}

#[test]
fn each_packet_with_data_is_answered_with_sack_and_shutdown() {
    let (packets, _) = check(State::ShutdownSent, |victim| {
        (0..50).map(|number| packet(victim.tag, &[data(number, b"still sending")])).collect()
    });
    let expected = [ChunkType::SACK, ChunkType::SHUTDOWN];
    assert_eq!(packets.iter().filter(|packet| kinds(&chunks_of(packet)) == expected).count(), 50);
}

#[test]
fn the_last_sack_of_a_batch_rides_on_data() {
    let mut victim = Victim::in_state(State::Established);
    let datagrams: Vec<_> = (0..4).map(|number| packet(victim.tag, &[data(number, b"a request")])).collect();
    for datagram in datagrams {
        victim.association.handle_datagram(victim.now, datagram);
    }
    let answer = victim.message(StreamId(1), b"the answer");
    use ChunkType as Is;
    assert_eq!(kinds(&answer), [Is::SACK, Is::SACK, Is::SACK, Is::SACK, Is::DATA]);
}

#[test]
fn answers_that_nobody_polls_are_bounded_and_the_last_state_is_told() {
    let mut victim = Victim::in_state(State::Established);
    // Every second packet is missing: a SACK for each, with ever more blocks.
    for number in (1..4000).step_by(2) {
        let datagram = packet(victim.tag, &[data(number, b"behind a gap")]);
        victim.association.handle_datagram(victim.now, datagram);
    }
    let packets = victim.poll_packets();
    assert!(packets.len() <= 130, "{} packets", packets.len());
    assert!(packets.iter().map(Bytes::len).sum::<usize>() <= 40 << 10);
    let chunks = chunks_of(packets.last().unwrap());
    let last = Sack::decode(&chunks.last().unwrap().value).unwrap();
    assert_eq!(last.gap_blocks().count(), 286, "as many as a packet has room for");
    // Closing all gaps at once is told as well.
    let sent = victim.send(&[sack(Tsn(victim.tsn.0.wrapping_sub(1)), 1 << 20, &[])]);
    assert_eq!(sent, []);
}
