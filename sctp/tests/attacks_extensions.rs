//! Data where it has no business, chunks that were not agreed upon or are not known, and partial reliability. Each test
//! bears the id of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod pair;
mod victim;

use std::time::Duration;

use narrowboat_sctp::testing::wire::{ChunkType, ChunkType as C, Extensions, Init};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, PacketDropReason, Reliability, SendOptions, State, StreamId,
    Violation,
};
use pair::{Pair, Verdict};
use victim::{MS, SECOND, Victim, data, kinds, one_of_each, packet, raw, sack};

const I_DATA: &[u8] = &[0, 0, 3, 0xE8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53, b'x'];
const NEXT_TSN: &[u8] = &[0, 0, 3, 0xE8];

/// States in which data is accepted (RFC 9260 §6, §9.2).
const RECEIVING: [State; 3] = [State::Established, State::ShutdownPending, State::ShutdownSent];

#[test]
fn d11_f07_i_data_and_i_forward_tsn_that_were_not_agreed_upon() {
    for (kind, value) in [(C::I_DATA, I_DATA), (C::I_FORWARD_TSN, NEXT_TSN)] {
        for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
            let mut victim = Victim::in_state(state);
            let what = format!("{kind:?} in {state:?}");
            if !RECEIVING.contains(&state) {
                let datagram = packet(victim.tag, &[raw(kind, 3, value)]);
                victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &what);
                continue;
            }
            let sent = victim.send(&[raw(kind, 3, value), data(0, b"never")]);
            assert_eq!((kinds(&sent), sent[0].causes()), (vec![C::ABORT], vec![13]), "{what}");
            assert_eq!(victim.messages(), Vec::<Vec<u8>>::new(), "{what}");
            assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::NotNegotiated)), "{what}");
        }
    }
    // That they are not agreed upon is because the peer has not offered them. This end offers both, or neither.
    for message_interleaving in [true, false] {
        let mut victim = Victim::new(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
        victim.association.connect(victim.now);
        let own = Init::decode(&victim.poll()[0].value).unwrap().extensions;
        assert_eq!(own.contains(Extensions::I_DATA), message_interleaving);
        assert_eq!(own.contains(Extensions::I_FORWARD_TSN), message_interleaving);
    }
    assert!(!Victim::in_state(State::Established).association.peer_supports_message_interleaving());
}

#[test]
fn d15_data_in_each_state() {
    for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
        let mut victim = Victim::in_state(state);
        if RECEIVING.contains(&state) {
            let sent = victim.send(&[data(0, b"x")]);
            assert_eq!(victim.messages(), [b"x"], "{state:?}");
            // §9.2: in SHUTDOWN-SENT every packet with DATA is answered with SACK and SHUTDOWN.
            let expected: &[ChunkType] =
                if state == State::ShutdownSent { &[C::SACK, C::SHUTDOWN] } else { &[C::SACK] };
            assert_eq!(kinds(&sent), expected, "{state:?}");
        } else {
            let datagram = packet(victim.tag, &[data(0, b"x")]);
            victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
        }
    }
    let mut victim = Victim::over();
    assert_eq!(kinds(&victim.send(&[data(0, b"x")])), [C::ABORT], "after the end it is out of the blue");
    assert!(victim.events.is_empty());
}

#[test]
fn f01_forward_tsn_that_was_not_agreed_upon() {
    let config = AssociationConfig { partial_reliability: false, ..AssociationConfig::default() };
    let mut victim = Victim::with_config(State::Established, config);
    let forward = raw(C::FORWARD_TSN, 0, NEXT_TSN);
    let sent = victim.send(&[forward, data(0, b"still expected")]);
    // RFC 3758 §3.3.1: as if it were not known, and its type says skip and report.
    assert_eq!((kinds(&sent), sent[0].causes()), (vec![C::ERROR, C::SACK], vec![6]));
    assert_eq!(victim.messages(), [b"still expected"]);
    assert_eq!(victim.drops(PacketDropReason::UnknownChunk), 1);
}

#[test]
fn f09_every_message_given_up_and_every_forward_tsn_lost() {
    for message_interleaving in [false, true] {
        give_up_every_message(message_interleaving);
    }
}

fn give_up_every_message(message_interleaving: bool) {
    let mut pair = Pair::connected(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
    pair.send(0, StreamId(1), "before");
    pair.run_for(SECOND);
    pair.trace.clear();
    pair.rule = Box::new(|packet| {
        let is_lost = packet.from == 0 && (packet.has_user_data() || packet.has_skip());
        if is_lost { Verdict::Drop } else { Verdict::Pass }
    });
    let options = SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() };
    for _ in 0..200 {
        pair.send_with(0, StreamId(1), vec![7; 100], options);
        pair.run_for(20 * MS);
    }
    pair.run_for(10 * SECOND);
    let kind = pair.skip_kind();
    let skips = pair.sent(0, kind);
    assert!((2..60).contains(&skips.len()), "{} FORWARD-TSNs: under T3, which backs off", skips.len());
    let skip = |packet: &&pair::Packet| victim::chunks_of(&packet.bytes).into_iter().find(|sent| sent.kind == kind);
    let one_entry = if message_interleaving { 12 } else { 8 };
    assert!(skips.iter().filter_map(skip).all(|skip| skip.value.len() == one_entry), "one entry for one stream");
    assert_eq!(pair.ends[0].state(), State::Established);
    assert_eq!(pair.received[1].len(), 1);

    pair.rule = Box::new(|_| Verdict::Pass);
    pair.send(0, StreamId(1), "after");
    pair.run_until(60 * SECOND, |pair| pair.received[1].last().is_some_and(|last| last.2 == "after"));
    pair.run_for(SECOND);
    // The message in flight is abandoned, and reported once; the one that waited in the queue arrives.
    let abandoned = pair.abandoned(0);
    assert!(abandoned > 10, "{abandoned} given up");
    assert_eq!(pair.received[1].len(), 1 + (200 - abandoned) + 1);
    let stats = pair.ends[0].stats();
    assert_eq!(
        (stats.flight_size, stats.buffered_amount, stats.abandoned.total().messages()),
        (0, 0, abandoned as u64)
    );
}

fn lifetime(milliseconds: u32) -> SendOptions {
    SendOptions { reliability: Reliability::MaxLifetime(milliseconds * MS), ..SendOptions::default() }
}

fn abandoned(victim: &Victim) -> Vec<usize> {
    let len = |event: &AssociationEvent| match event {
        AssociationEvent::Abandoned { stream: StreamId(1), bytes, .. } => Some(*bytes),
        _ => None,
    };
    victim.events.iter().filter_map(len).collect()
}

#[test]
fn f10_a_lifetime_that_ends_in_the_queue_or_between_two_fragments() {
    // In the queue, behind a closed window, before the first fragment: the time of waiting counts.
    for milliseconds in [0, 1, 500] {
        let mut victim = Victim::in_state(State::Established);
        victim.message(StreamId(9), b"x");
        victim.send(&[sack(victim.tsn, 0, &[])]);
        let mut sent = victim.message(StreamId(9), b"the probe of the closed window");
        sent.extend(victim.message_with(StreamId(1), &[7; 3000], lifetime(milliseconds)));
        victim.now += milliseconds * MS + MS;
        sent.extend(victim.send(&[sack(victim.tsn, 1 << 20, &[])]));
        let of_stream = sent.iter().filter(|sent| sent.kind == C::DATA && sent.value[4..6] == [0, 1]).count();
        assert_eq!(of_stream, 0, "{milliseconds} ms: none of it was sent");
        assert_eq!(abandoned(&victim), [3000], "{milliseconds} ms: whole, once, told once");
        assert_eq!(victim.association.stats().buffered_amount, 0);
    }

    // Between two fragments: what was sent is skipped, what was not is not sent, and the peer never sees a part.
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.bottleneck = Some((100_000, 1 << 20));
    pair.send(0, StreamId(1), "first");
    pair.send_with(0, StreamId(1), vec![7; 200_000], lifetime(300));
    pair.send(0, StreamId(1), "last");
    pair.run_until(60 * SECOND, |pair| pair.received[1].len() == 2);
    pair.run_for(10 * SECOND);
    let received: Vec<_> = pair.received[1].iter().map(|(_, _, payload)| &payload[..]).collect();
    assert_eq!(received, [&b"first"[..], b"last"]);
    let told = pair.events[0]
        .iter()
        .filter(|event| matches!(event, AssociationEvent::Abandoned { stream: StreamId(1), bytes: 200_000, .. }))
        .count();
    assert_eq!(told, 1);
    assert!(pair.ends[0].stats().data_chunks_sent < 150, "{:?}", pair.ends[0].stats());

    // A clock that jumps while it waits.
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(9), b"x");
    victim.send(&[sack(victim.tsn, 0, &[])]);
    victim.message(StreamId(9), b"the probe of the closed window");
    victim.message_with(StreamId(1), &[7; 3000], lifetime(3_599_999));
    victim.now += Duration::from_secs(3600);
    victim.send(&[sack(victim.tsn, 1 << 20, &[])]);
    assert_eq!(abandoned(&victim), [3000]);

    // Time enough: nothing is given up.
    let mut victim = Victim::in_state(State::Established);
    let sent = victim.message_with(StreamId(1), &[7; 3000], lifetime(0));
    assert_eq!(kinds(&sent), [C::DATA; 3], "what leaves at once has not expired");
    victim.send(&[sack(narrowboat_sctp::Tsn(victim.tsn.0.wrapping_add(2)), 1 << 20, &[])]);
    assert_eq!(abandoned(&victim), Vec::<usize>::new());
}

/// Returns whether data behind a chunk is still processed, and whether the chunk is reported to the peer, by the two
/// high bits of its type.
fn classes(kind: ChunkType) -> (bool, bool) {
    (kind.0 & 0x80 != 0, kind.0 & 0x40 != 0)
}

#[test]
fn i01_i02_chunks_of_extensions_that_nobody_speaks() {
    let types = [
        ("ASCONF", C::ASCONF),
        ("ASCONF-ACK", C::ASCONF_ACK),
        ("AUTH", C::AUTH),
        ("NR-SACK", ChunkType(16)),
        ("PKTDROP", ChunkType(0x81)),
        ("ECNE", C::ECNE),
        ("CWR", C::CWR),
    ];
    for (name, kind) in types {
        let (goes_on, reports) = classes(kind);
        for value in [&[][..], &[0, 0, 0, 1], &[0, 0, 0, 1, 0xC0, 1, 0, 8, 0, 0, 0, 2], &[0xFF; 400]] {
            let mut victim = Victim::in_state(State::Established);
            let before = victim.standing();
            let sent = victim.send(&[raw(kind, 0, value)]);
            assert_eq!(kinds(&sent), vec![C::ERROR; usize::from(reports)], "{name}");
            assert_eq!(victim.drops(PacketDropReason::UnknownChunk), 1, "{name}");
            if !reports {
                assert_eq!(victim.standing(), before, "{name}");
            }
            victim.send(&[raw(kind, 0, value), data(0, b"behind it")]);
            assert_eq!(victim.messages().len(), usize::from(goes_on), "{name}");
        }
        // Nor in front of a cookie, where AUTH once crashed a kernel.
        let mut victim = Victim::in_state(State::CookieEchoed);
        victim.send(&[raw(kind, 0, &[0, 0, 0, 1]), raw(C::COOKIE_ACK, 0, &[])]);
        let expected = if goes_on { State::Established } else { State::CookieEchoed };
        assert_eq!(victim.association.state(), expected, "{name}");
    }
    // PAD is known: it is padding.
    let mut victim = Victim::in_state(State::Established);
    victim.send(&[raw(C::PAD, 0, &[7; 900]), data(0, b"behind it")]);
    assert_eq!((victim.messages().len(), victim.association.stats().drops.total()), (1, 0));
}

#[test]
fn i02_none_of_them_is_ever_offered() {
    let mut victim = Victim::new(AssociationConfig::default());
    victim.association.connect(victim.now);
    let init = victim.poll().remove(0);
    let supported = narrowboat_sctp::testing::wire::Parameters::new(&init.value[16..])
        .map(Result::unwrap)
        .find(|parameter| parameter.kind == narrowboat_sctp::testing::wire::ParameterType::SUPPORTED_EXTENSIONS)
        .unwrap();
    let mut offered = supported.value.to_vec();
    offered.sort_unstable();
    assert_eq!(offered, [C::I_DATA.0, C::RE_CONFIG.0, C::FORWARD_TSN.0, C::I_FORWARD_TSN.0]);
    // A peer that offers all of them gets none of them.
    for state in [State::CookieEchoed, State::Established] {
        for (kind, bytes) in one_of_each(&Victim::in_state(state)) {
            if matches!(kind, C::ASCONF | C::ASCONF_ACK | C::AUTH) {
                let mut victim = Victim::in_state(state);
                victim.send(&[bytes]);
                assert_eq!(victim.association.state(), state, "{kind:?}");
            }
        }
    }
}
