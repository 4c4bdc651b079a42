//! Rules of RFC 9260 that no attack and no transfer of the other tests would miss. `CONFORMANCE.md` names each.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use narrowboat_sctp::testing::wire::{self, ChunkType as C, Init, T_BIT};
use narrowboat_sctp::{AssociationConfig, AssociationEvent, Ppid, SendMessageError, SendOptions, State, StreamId, Tsn};
use victim::service::Service;
use victim::{
    PEER_COOKIE, PEER_TAG, PEER_TSN, SECOND, Sent, Victim, chunk, chunks_of, cookie_echo, data, init, kinds,
    one_of_each, packet, peer_init, peer_init_with, raw, sack, shutdown,
};

/// Fields of a DATA chunk as the receiver reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fields {
    flags: u8,
    tsn: u32,
    stream: u16,
    ssn: u16,
    len: usize,
}

fn fields(sent: &[Sent]) -> Vec<Fields> {
    let of = |chunk: &Sent| Fields {
        flags: chunk.flags,
        tsn: u32::from_be_bytes(chunk.value[..4].try_into().unwrap()),
        stream: u16::from_be_bytes([chunk.value[4], chunk.value[5]]),
        ssn: u16::from_be_bytes([chunk.value[6], chunk.value[7]]),
        len: chunk.value.len() - 12,
    };
    sent.iter().filter(|chunk| chunk.kind == C::DATA).map(of).collect()
}

/// The peer acknowledges all DATA, until nothing more leaves. Returns all DATA in order.
fn drain(victim: &mut Victim, first: &[Sent]) -> Vec<Fields> {
    let mut all = fields(first);
    for _ in 0..1_000 {
        let last = all.last().unwrap().tsn;
        victim.now += SECOND / 10;
        let more = fields(&victim.send(&[sack(Tsn(last), 1 << 20, &[])]));
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
    panic!("it does not end");
}

const UNORDERED: u8 = 4;
const BEGINNING: u8 = 2;
const ENDING: u8 = 1;
const IMMEDIATE: u8 = 8;

#[test]
fn fragments_have_one_ssn_consecutive_tsns_and_the_bits_of_their_places_rfc9260_6_9() {
    for unordered in [false, true] {
        let mut victim = Victim::in_state(State::Established);
        let options = SendOptions { unordered, ..SendOptions::default() };
        let sent = victim.message_with(StreamId(7), &[7; 20_000], options);
        let all = drain(&mut victim, &sent);
        assert_eq!(all.iter().map(|data| data.len).sum::<usize>(), 20_000);
        let last = all.len() - 1;
        for (index, data) in all.iter().enumerate() {
            assert_eq!(data.tsn, victim.tsn.0.wrapping_add(u32::try_from(index).unwrap()));
            assert_eq!((data.stream, data.ssn), (7, 0));
            let place = if index == 0 { BEGINNING } else { 0 } | if index == last { ENDING } else { 0 };
            let kind = if unordered { UNORDERED } else { 0 };
            assert_eq!(data.flags & !IMMEDIATE, place | kind, "fragment {index} of {last}");
        }
    }
}

#[test]
fn ssns_begin_with_zero_in_each_stream_and_count_ordered_messages_alone_rfc9260_6_5() {
    let mut victim = Victim::in_state(State::Established);
    let mut next = 0;
    let mut send = |stream: u16, unordered: bool| {
        let options = SendOptions { unordered, ..SendOptions::default() };
        let sent = fields(&victim.message_with(StreamId(stream), b"x", options));
        assert_eq!((sent.len(), sent[0].flags & (BEGINNING | ENDING)), (1, BEGINNING | ENDING), "a whole message");
        assert_eq!(sent[0].tsn, victim.tsn.0.wrapping_add(next));
        next += 1;
        victim.send(&[sack(Tsn(sent[0].tsn), 1 << 20, &[])]);
        sent[0].ssn
    };
    assert_eq!([send(1, false), send(1, false), send(2, false)], [0, 1, 0]);
    send(1, true);
    assert_eq!([send(1, false), send(2, false)], [2, 1], "an unordered message has no number");
    for expected in 3..=65_535 {
        assert_eq!(send(1, false), expected);
    }
    assert_eq!(send(1, false), 0, "after 65,535 comes 0");
}

#[test]
fn data_chunks_of_a_packet_are_in_the_order_of_their_tsns_also_retransmitted_ones_rfc9260_6_10() {
    let mut victim = Victim::in_state(State::Established);
    for index in 0..30_u16 {
        let payload = vec![7; 100].into();
        victim.association.send(victim.now, StreamId(index % 3), Ppid(53), payload, SendOptions::default()).unwrap();
    }
    victim.poll();
    // The first and some others are lost; the rest is reported.
    let before = Tsn(victim.tsn.0.wrapping_sub(1));
    for _ in 0..3 {
        victim.now += SECOND / 20;
        let packet = packet(victim.tag, &[sack(before, 1 << 20, &[(2, 3), (6, 9), (12, 30)])]);
        victim.association.handle_datagram(victim.now, packet);
    }
    let mut seen = 0;
    for bytes in victim.pass_packets(2 * SECOND) {
        let tsns: Vec<u32> =
            fields(&chunks_of(&bytes)).iter().map(|data| data.tsn.wrapping_sub(victim.tsn.0)).collect();
        assert!(tsns.is_sorted(), "{tsns:?}");
        seen += tsns.len();
    }
    assert!(seen >= 6, "{seen} were retransmitted");
}

#[test]
fn the_flags_of_control_chunks_are_zero_when_sent_and_ignored_when_received_rfc9260_3_3() {
    // All bits but those that have a meaning: T of ABORT and SHUTDOWN COMPLETE, and the bits of DATA.
    for state in State::ALL {
        for (index, (kind, _)) in one_of_each(&Victim::in_state(state)).into_iter().enumerate() {
            let meaning = match kind {
                C::DATA => UNORDERED | BEGINNING | ENDING | IMMEDIATE,
                C::I_DATA => 15,
                C::ABORT | C::SHUTDOWN_COMPLETE => T_BIT,
                _ => 0,
            };
            let react = |flags: u8| {
                let mut victim = Victim::in_state(state);
                let mut bytes = one_of_each(&victim).swap_remove(index).1;
                bytes[1] |= flags;
                let tag = if kind == C::INIT { 0 } else { victim.tag };
                let sent = victim.deliver(packet(tag, &[bytes]));
                // An INIT is answered with a tag that is drawn, but from the same seed.
                (sent, victim.association.state(), victim.events.len())
            };
            let (plain, flagged) = (react(0), react(!meaning));
            // An unknown chunk is sent back as it came.
            let came_back = |sent: &[Sent]| sent.iter().any(|chunk| chunk.kind == C::ERROR);
            if !came_back(&plain.0) {
                assert_eq!(plain, flagged, "{kind:?} in {state:?}");
            }
            for chunk in &plain.0 {
                let allowed = if matches!(chunk.kind, C::ABORT | C::SHUTDOWN_COMPLETE) { T_BIT } else { 0 };
                assert!(chunk.kind == C::DATA || chunk.flags & !allowed == 0, "{chunk:?}");
            }
        }
    }
}

#[test]
fn nothing_follows_cookie_echo_until_it_is_answered_and_it_is_first_rfc9260_5_1() {
    let mut victim = Victim::in_state(State::CookieWait);
    for _ in 0..20 {
        let payload = vec![7; 1_000].into();
        victim.association.send(victim.now, StreamId(1), Ppid(53), payload, SendOptions::default()).unwrap();
    }
    assert_eq!(victim.poll(), [], "no data before the handshake");
    let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
    let ack = packet(victim.tag, &[chunk(|out| ack.encode(C::INIT_ACK, &[], out))]);
    victim.association.handle_datagram(victim.now, ack);
    let packets = victim.poll_packets();
    assert_eq!(packets.len(), 1, "one packet until COOKIE ACK");
    let sent = chunks_of(&packets[0]);
    assert_eq!((sent[0].kind, &sent[0].value[..], sent[0].tag), (C::COOKIE_ECHO, PEER_COOKIE, PEER_TAG));
    assert!(sent.iter().skip(1).all(|chunk| chunk.kind == C::DATA), "{:?}", kinds(&sent));
    // T1 repeats it, alone or with data, and first.
    for bytes in victim.pass_packets(5 * SECOND) {
        assert_eq!(chunks_of(&bytes)[0].kind, C::COOKIE_ECHO);
    }
    let sent = victim.send(&[raw(C::COOKIE_ACK, 0, &[])]);
    assert!(!fields(&sent).is_empty(), "the data follows");
}

#[test]
fn data_beside_a_valid_cookie_echo_is_acknowledged_at_once_behind_cookie_ack_rfc9260_5_1_5() {
    let mut victim = Victim::in_state(State::Closed);
    let sent = victim.deliver(packet(0, &[init(&peer_init())]));
    let ack = Init::decode(&sent[0].value).unwrap();
    let (tag, cookie) = (ack.initiate_tag, ack.cookie.unwrap().to_vec());
    let datagram = packet(tag, &[cookie_echo(&cookie), data(0, b"early"), data(1, b"data")]);
    victim.association.handle_datagram(victim.now, datagram);
    let packets = victim.poll_packets();
    let sent = chunks_of(&packets[0]);
    assert_eq!((packets.len(), kinds(&sent)), (1, vec![C::COOKIE_ACK, C::SACK]));
    assert_eq!(sent[1].value[..4], (PEER_TSN + 1).to_be_bytes());
    assert_eq!(victim.messages(), [b"early".to_vec(), b"data".to_vec()]);
}

#[test]
fn unknown_parameters_of_an_init_ack_are_reported_beside_cookie_echo_rfc9260_3_2_2() {
    for (kind, reports) in [(0x7E, true), (0xBF, false), (0xFE, true)] {
        let mut victim = Victim::in_state(State::CookieWait);
        let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
        let unknown = [kind, 0x42, 0, 8, 1, 2, 3, 4];
        let sent = victim.send(&[chunk(|out| ack.encode(C::INIT_ACK, &unknown, out))]);
        if !reports {
            assert_eq!(kinds(&sent), [C::COOKIE_ECHO], "type {kind}");
            continue;
        }
        assert_eq!(kinds(&sent), [C::COOKIE_ECHO, C::ERROR], "type {kind}");
        assert_eq!(sent[1].causes(), [8]);
        assert_eq!(sent[1].value[4..], unknown);
    }
}

#[test]
fn a_cookie_of_any_length_that_fits_a_chunk_comes_back_rfc9260_3_3_3() {
    for len in [4, 1_000, 3_000, 20_000] {
        let mut victim = Victim::in_state(State::CookieWait);
        let cookie = vec![9; len];
        let parameter = [&[0, 7][..], &u16::try_from(len + 4).unwrap().to_be_bytes(), &cookie].concat();
        let mut bytes = chunk(|out| peer_init().encode(C::INIT_ACK, &parameter, out));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let sent = victim.send(&[bytes]);
        assert_eq!((kinds(&sent), sent[0].value.len()), (vec![C::COOKIE_ECHO], len), "{len} bytes");
        assert_eq!(victim.association.state(), State::CookieEchoed);
    }
}

#[test]
fn a_shutdown_takes_no_gap_report_back_rfc9260_3_3_8() {
    let mut victim = Victim::in_state(State::Established);
    for _ in 0..3 {
        victim.message(StreamId(1), b"under way");
    }
    let before = Tsn(victim.tsn.0.wrapping_sub(1));
    victim.send(&[sack(before, 1 << 20, &[(2, 3)])]);
    let flight = victim.association.stats().flight_size;
    victim.send(&[shutdown(before)]);
    assert_eq!(victim.association.stats().flight_size, flight, "what was reported stays reported");
    // Only the first is sent again.
    let tsns: Vec<u32> = fields(&victim.pass(3 * SECOND)).iter().map(|data| data.tsn).collect();
    assert!(!tsns.is_empty() && tsns.iter().all(|tsn| *tsn == victim.tsn.0), "{tsns:?}");
}

#[test]
fn no_message_is_accepted_from_the_beginning_of_a_shutdown_on_rfc9260_9_2() {
    for state in State::ALL {
        let mut victim = Victim::in_state(state);
        let result = victim.association.send(victim.now, StreamId(1), Ppid(53), "x".into(), SendOptions::default());
        let is_down = matches!(
            state,
            State::ShutdownPending | State::ShutdownSent | State::ShutdownReceived | State::ShutdownAckSent
        );
        assert_eq!(result == Err(SendMessageError::Closed), is_down, "{state:?}: {result:?}");
    }
}

#[test]
fn tags_and_first_tsns_are_drawn_and_no_tag_is_zero_rfc9260_5_3_1() {
    let mut tags = std::collections::BTreeSet::new();
    let mut tsns = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let victim = Victim::with_seed(State::CookieWait, [seed; 32]);
        assert_ne!(victim.tag, 0);
        tags.insert(victim.tag);
        tsns.insert(victim.tsn.0);
    }
    assert_eq!((tags.len(), tsns.len()), (100, 100));
    // Each handshake has another tag, though peer and endpoint are the same.
    let mut service = Service::new();
    let mut tag = || {
        let sent = service.send("192.0.2.7:9899".parse().unwrap(), 0, &[init(&peer_init())]);
        Init::decode(&sent[0].value).unwrap().initiate_tag
    };
    assert_ne!(tag(), tag());
}

#[test]
fn streams_are_the_lesser_of_what_one_end_wants_and_the_other_takes_rfc9260_5_1_1() {
    for (ours, theirs, agreed) in [(10, 100, 10), (200, 100, 100)] {
        let config =
            AssociationConfig { outbound_streams: ours, inbound_streams: ours, ..AssociationConfig::default() };
        let victim = Victim::with_config(State::Established, config);
        assert_eq!(peer_init().inbound_streams, theirs);
        let [outbound, inbound] = [victim.association.outbound_streams(), victim.association.inbound_streams()];
        assert_eq!([outbound, inbound], [agreed; 2]);
    }
}

#[test]
fn a_restart_is_told_and_begins_congestion_control_anew_rfc9260_5_2_4() {
    let mut victim = Victim::in_state(State::Established);
    for _ in 0..10 {
        let sent = victim.message(StreamId(1), &[7; 20_000]);
        drain(&mut victim, &sent);
    }
    let grown = victim.association.stats().cwnd;
    let first = Victim::in_state(State::Established).association.stats().cwnd;
    assert!(grown > first, "{grown} of {first}");
    let restarted = peer_init_with(|init| init.initiate_tag = 0x1234_5678);
    let sent = victim.deliver(packet(0, &[init(&restarted)]));
    let ack = Init::decode(&sent[0].value).unwrap();
    let (tag, cookie) = (ack.initiate_tag, ack.cookie.unwrap().to_vec());
    victim.events.clear();
    let sent = victim.deliver(packet(tag, &[cookie_echo(&cookie)]));
    assert_eq!(kinds(&sent)[0], C::COOKIE_ACK);
    assert!(matches!(victim.events[..], [AssociationEvent::Restarted]), "{:?}", victim.events);
    assert_eq!(victim.association.stats().cwnd, first);
    assert!(wire::is_checksum_valid(&packet(tag, &[])));
}

#[test]
fn parameters_of_re_config_that_do_not_go_together_are_reported_rfc6525_3_1() {
    let add = [0, 17, 0, 12, 0, 0, 3, 0xE8, 0, 1, 0, 0];
    let reset = [0, 13, 0, 16, 0, 0, 3, 0xE8, 0, 0, 0, 0, 0, 0, 3, 0xE7];
    for parameters in [[&add[..], &add].concat(), [&add[..], &reset].concat(), [&reset[..], &reset].concat()] {
        let mut victim = Victim::in_state(State::Established);
        let sent = victim.send(&[raw(C::RE_CONFIG, 0, &parameters)]);
        // Protocol Violation.
        assert_eq!((kinds(&sent), sent[0].causes()), (vec![C::ERROR], vec![13]), "{parameters:?}");
        assert_eq!((victim.association.state(), victim.events.len()), (State::Established, 0));
        assert_eq!(victim.association.inbound_streams(), 100, "and none of them is performed");
    }
}
