//! A hostile peer with which interleaving was agreed upon (RFC 8260). Each test bears the id of its row in the list of
//! attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "numbers are small; a test may panic")]

mod victim;

use narrowboat_sctp::testing::Random;
use narrowboat_sctp::testing::wire::{
    ChunkType as C, ForwardTsn, IDataChunk, IForwardTsn, ReconfigWriter, SkippedMessage,
};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, Fsn, Mid, Ppid, RequestSn, StreamId, Tsn, Violation,
};
use victim::{PEER_TSN, Sent, Victim, chunk, data, kinds, raw};

/// Returns an I-DATA chunk, `number` chunks after the first TSN; `flags` are of the letters B, E, U.
fn i_data(number: u32, stream: u16, mid: u32, fsn: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let header = IDataChunk {
        tsn: Tsn(PEER_TSN.wrapping_add(number)),
        stream: StreamId(stream),
        mid: Mid(mid),
        ppid: Ppid(53),
        fsn: Fsn(fsn),
        unordered: flags.contains('U'),
        beginning: flags.contains('B'),
        ending: flags.contains('E'),
        immediate: false,
    };
    chunk(|out| header.encode(payload, out))
}

fn i_forward_tsn(number: u32, skipped: &[(u16, bool, u32)]) -> Vec<u8> {
    let entry = |&(stream, unordered, mid)| SkippedMessage { stream: StreamId(stream), unordered, mid: Mid(mid) };
    chunk(|out| IForwardTsn::encode(Tsn(PEER_TSN.wrapping_add(number)), skipped.iter().map(entry), out))
}

fn assert_aborted(victim: &Victim, sent: &[Sent], violation: Violation, cause: u16) {
    assert_eq!((kinds(sent), sent[0].causes()), (vec![C::ABORT], vec![cause]));
    assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(violation)));
}

#[test]
fn d11_f07_data_and_forward_tsn_where_i_data_was_agreed_upon() {
    let forward = chunk(|out| ForwardTsn::encode(Tsn(PEER_TSN), std::iter::empty(), out));
    for unwanted in [data(0, b"never"), forward] {
        let mut victim = Victim::interleaving(&AssociationConfig::default());
        victim.send(&[i_data(0, 1, 0, 0, "BE", b"x")]);
        assert_eq!(victim.messages(), [b"x"]);
        // The TSN is known already, and that excuses nothing.
        let sent = victim.send(&[unwanted]);
        assert_aborted(&victim, &sent, Violation::NotNegotiated, 13);
    }
}

#[test]
fn fragments_of_two_messages_and_a_skip_arrive_in_one_packet() {
    let mut victim = Victim::interleaving(&AssociationConfig::default());
    let sent = victim.send(&[
        i_data(0, 1, 0, 0, "B", b"one "),
        i_data(1, 2, 0, 0, "B", b"given up"),
        i_data(2, 1, 0, 1, "E", b"whole"),
        i_data(4, 2, 1, 0, "BE", b"next"),
        i_forward_tsn(3, &[(2, false, 0)]),
    ]);
    assert_eq!(victim.messages(), [&b"one whole"[..], b"next"]);
    assert_eq!(kinds(&sent), [C::SACK]);
}

#[test]
fn a_short_i_data_chunk_and_one_without_data_end_the_association() {
    let mut victim = Victim::interleaving(&AssociationConfig::default());
    let sent = victim.send(&[raw(C::I_DATA, 3, &[0; 15])]);
    assert_aborted(&victim, &sent, Violation::Malformed, 13);
    let mut victim = Victim::interleaving(&AssociationConfig::default());
    let sent = victim.send(&[i_data(0, 1, 0, 0, "BE", b"")]);
    assert_aborted(&victim, &sent, Violation::NoUserData(Tsn(PEER_TSN)), 9);
}

#[test]
fn d19_messages_begun_without_end_are_bounded_and_end_the_association() {
    let config = AssociationConfig {
        receive_window: 64 << 10,
        receive_message_size_max: 64 << 10,
        ..AssociationConfig::default()
    };
    let mut victim = Victim::interleaving(&config);
    // 64 messages of the largest size and half of that, as the documentation of the limit says.
    let chunks_max = 64 * (96 << 10) / (1 + 352);
    let mut number = 0;
    let sent = loop {
        let chunks: Vec<_> = (number..number + 40).map(|n| i_data(n, 1, n, 0, "BU", b"x")).collect();
        number += 40;
        let sent = victim.send(&chunks);
        if victim.association.is_over() {
            break sent;
        }
    };
    assert_aborted(&victim, &sent, Violation::PartialMessagesTooLarge, 4);
    assert!((chunks_max..chunks_max + 100).contains(&number), "{number} of {chunks_max}");
}

/// No more messages can be skipped than TSNs, and none that were delivered.
#[test]
fn d21_i_forward_tsn_with_entries_that_cannot_be_moves_no_stream() {
    let mut victim = Victim::interleaving(&AssociationConfig::default());
    victim.send(&[i_data(0, 1, 0, 0, "BE", b"first")]);
    let mut entries = vec![(1, false, 1), (1, false, 0), (1, true, u32::MAX), (2, false, 1 << 30), (3, true, 1 << 31)];
    entries.extend((10..90).map(|stream| (stream, false, 5)));
    entries.push((u16::MAX, false, 0));
    victim.send(&[i_forward_tsn(1, &entries)]);
    victim.send(&[
        i_data(2, 1, 2, 0, "BE", b"third"),
        i_data(3, 2, 0, 0, "BE", b"of another stream"),
        i_data(4, 3, 0, 0, "BEU", b"unordered"),
        i_data(5, 89, 0, 0, "BE", b"of the last stream"),
    ]);
    let expected = [&b"first"[..], b"third", b"of another stream", b"unordered", b"of the last stream"];
    assert_eq!(victim.messages(), expected);
}

/// In debug builds, the association recounts what it holds as it goes on.
#[test]
fn d12_i_data_near_what_is_expected_breaks_nothing() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let mut victim =
            Victim::interleaving(&AssociationConfig { receive_window: 8192, ..AssociationConfig::default() });
        let mut next = 0u32;
        for _ in 0..150 {
            let near = |random: &mut Random| (random.below(12) as u32).wrapping_sub(2);
            let number = if random.percent(50) { next } else { next.wrapping_add(near(&mut random)) };
            let stream = random.below(3) as u16;
            let sent = match random.below(20) {
                0 | 1 => {
                    let entries = [(stream, random.percent(50), near(&mut random))];
                    victim.send(&[i_forward_tsn(number, &entries)])
                }
                2 => victim.send(&[chunk(|out| {
                    let mut writer = ReconfigWriter::begin(out);
                    let (request, last) = (RequestSn(PEER_TSN + random.below(3) as u32), PEER_TSN.wrapping_add(number));
                    writer.push_outgoing_reset(request, RequestSn(0), Tsn(last), [StreamId(stream)].into_iter());
                    writer.finish();
                })]),
                _ => {
                    next += u32::from(number == next);
                    let flags = ["BE", "B", "", "E", "BEU", "BU", "U", "EU"][random.below(8) as usize];
                    let fsn = if flags.contains('B') { 0 } else { 1 + random.below(3) as u32 };
                    let payload = vec![7; 1 + random.below(900) as usize];
                    victim.send(&[i_data(number, stream, random.below(4) as u32, fsn, flags, &payload)])
                }
            };
            assert!(sent.iter().all(|sent| sent.value.len() < 1200));
            if victim.association.is_over() {
                break;
            }
            if random.percent(70) {
                victim.messages();
            }
        }
        let is_closed = |event: &AssociationEvent| matches!(event, AssociationEvent::Closed(_));
        assert_eq!(victim.association.is_over(), victim.events.iter().any(is_closed));
    }
}
