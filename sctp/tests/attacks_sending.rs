//! Attacks of a peer, or of a bad network, on the sender (RFC 9260 §6, §7, §8). Each test bears the id of its row in
//! the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;
mod victim;

use std::collections::BTreeSet;

use bytes::Bytes;
use narrowboat_sctp::testing::Random;
use narrowboat_sctp::testing::wire::{ChunkType, ChunkType as C};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, PacketDropReason, Ppid, Reliability, SendMessageError,
    SendOptions, State, StreamId, Tsn, Violation,
};
use pair::{Pair, Verdict};
use victim::cost::steps;
use victim::{MS, SECOND, Sent, Victim, kinds, packet, raw, sack};

/// An established association with this many one-byte chunks on their way.
fn with_outstanding(count: usize) -> Victim {
    let mut victim = Victim::in_state(State::Established);
    send_many(&mut victim, count);
    victim
}

fn send_many(victim: &mut Victim, count: usize) {
    let sent: usize =
        (0..count).map(|_| victim.message(StreamId(1), b"x").iter().filter(|sent| sent.kind == C::DATA).count()).sum();
    assert_eq!(sent, count, "the windows have room for so many");
    victim.events.clear();
}

fn tsn(victim: &Victim, offset: u32) -> Tsn {
    Tsn(victim.tsn.0.wrapping_add(offset))
}

/// The Cumulative TSN Ack before anything was sent.
fn nothing_acked(victim: &Victim) -> Tsn {
    tsn(victim, u32::MAX)
}

#[test]
fn e01_a_sack_for_what_was_never_sent() {
    for (sent, acked) in [(0, 0), (0, 1), (3, 3), (3, 4), (3, 1000), (3, 1 << 30), (3, (1 << 31) - 2)] {
        let mut victim = with_outstanding(sent);
        let answer = victim.send(&[sack(tsn(&victim, acked), 1 << 20, &[])]);
        assert_eq!((kinds(&answer), answer[0].causes()), (vec![C::ABORT], vec![13]), "{sent} sent, {acked} acked");
        assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::AckOfUnsentTsn)));
        assert_eq!(victim.association.stats().flight_size, 0);
    }
}

#[test]
fn e02_a_gap_block_beyond_what_was_sent() {
    for blocks in [&[(2, 11)][..], &[(2, 2), (11, 11)], &[(2, 65_535)], &[(65_535, 65_535)], &[(20_000, 40_000)]] {
        let mut victim = with_outstanding(10);
        let datagram = packet(victim.tag, &[sack(nothing_acked(&victim), 1 << 20, blocks)]);
        victim.assert_drops(datagram, PacketDropReason::BadSack, &format!("{blocks:?}"));
    }
    let mut victim = with_outstanding(10);
    let sent = victim.send(&[sack(nothing_acked(&victim), 1 << 20, &[(2, 10)])]);
    assert_eq!(
        (kinds(&sent), victim.drops(PacketDropReason::BadSack)),
        (vec![C::DATA], 0),
        "the last one sent is no offence"
    );
}

#[test]
fn e03_a_cumulative_tsn_ack_that_goes_back() {
    let mut victim = with_outstanding(10);
    victim.send(&[sack(tsn(&victim, 5), 1 << 20, &[])]);
    for back in [1, 2, 6, 7, 1000, 1 << 30, (1 << 31) - 1] {
        let datagram = packet(victim.tag, &[sack(tsn(&victim, 5_u32.wrapping_sub(back)), 7, &[(1, 1)])]);
        victim.assert_drops(datagram, PacketDropReason::BadSack, &format!("{back} back"));
    }
}

#[test]
fn e04_gap_blocks_that_cannot_be() {
    let bad: [&[(u16, u16)]; 10] = [
        &[(0, 0)],
        &[(0, 3)],
        &[(3, 2)],
        &[(5, 3)],
        &[(2, 4), (3, 5)],
        &[(2, 4), (4, 5)],
        &[(5, 6), (2, 3)],
        &[(2, 3), (2, 3)],
        &[(65_535, 0)],
        &[(2, 3), (65_535, 65_534)],
    ];
    for blocks in bad {
        let mut victim = with_outstanding(10);
        let datagram = packet(victim.tag, &[sack(nothing_acked(&victim), 1 << 20, blocks)]);
        victim.assert_drops(datagram, PacketDropReason::BadSack, &format!("{blocks:?}"));
    }
}

/// An association whose congestion window has room for many chunks of a byte.
fn with_window_for(count: usize) -> Victim {
    let config = AssociationConfig {
        mtu: 60_000,
        // Of which a third may be used while nothing is outstanding.
        send_buffer: 192 << 20,
        stream_send_buffer: 64 << 20,
        ..AssociationConfig::default()
    };
    let mut victim = Victim::with_config(State::Established, config);
    let mut acked = 0;
    while victim.association.stats().cwnd < 24 * count + 60_000 {
        let sent = victim.message(StreamId(1), &vec![7; 3_000_000]);
        let mut count = sent.iter().filter(|sent| sent.kind == C::DATA).count();
        while count > 0 {
            acked += count;
            let before = Tsn(victim.tsn.0.wrapping_add(u32::try_from(acked).unwrap()).wrapping_sub(1));
            victim.now += MS;
            let sent = victim.send(&[sack(before, 1 << 30, &[])]);
            count = sent.iter().filter(|sent| sent.kind == C::DATA).count();
        }
    }
    victim.tsn = Tsn(victim.tsn.0.wrapping_add(u32::try_from(acked).unwrap()));
    victim
}

/// Many chunks outstanding.
fn with_very_many(count: usize) -> Victim {
    let mut victim = with_window_for(count);
    for _ in 0..count {
        victim
            .association
            .send(victim.now, StreamId(1), Ppid(53), Bytes::from_static(b"x"), SendOptions::default())
            .unwrap();
    }
    let mut sent = victim.poll();
    while sent.iter().filter(|sent| sent.kind == C::DATA).count() < count {
        let more = victim.pass(10 * MS);
        assert!(!more.is_empty(), "{} of {count} left", sent.len());
        sent.extend(more);
    }
    victim
}

#[test]
fn e05_sacks_of_thousands_of_blocks_cost_in_proportion() {
    let of = |blocks: u16| {
        let mut victim = with_very_many(2 * usize::from(blocks) + 2);
        let every_other: Vec<(u16, u16)> = (1..=blocks).map(|block| (2 * block, 2 * block)).collect();
        let datagram = packet(victim.tag, &[sack(nothing_acked(&victim), 1 << 30, &every_other)]);
        assert!(blocks < 5000 || datagram.len() > 4 * 5000);
        // A new SACK costs once; after that it is the same again, a thousand times a second.
        victim.deliver(datagram.clone());
        assert_eq!(victim.drops(PacketDropReason::BadSack), 0);
        let cost = steps(|| victim.association.handle_datagram(victim.now, datagram.clone()));
        assert_eq!(victim.association.state(), State::Established);
        cost
    };
    let (few, many) = (of(800), of(12_800));
    assert_eq!(few > 0, cfg!(debug_assertions));
    assert!(many <= 17 * few, "{many} steps for sixteen times as much as takes {few}");
}

#[test]
fn e06_a_receiver_that_takes_back_what_it_reported() {
    let mut victim = with_outstanding(6);
    victim.send(&[sack(nothing_acked(&victim), 1 << 20, &[(3, 6)])]);
    // It has lost all that it had stored; from now on only what is acknowledged cumulatively counts.
    let mut sent = victim.send(&[sack(tsn(&victim, 1), 1 << 20, &[])]);
    sent.extend(victim.pass(5 * SECOND));
    for offset in 2..6 {
        let wanted = tsn(&victim, offset).0.to_be_bytes();
        let times = sent.iter().filter(|sent| sent.kind == C::DATA && sent.value[..4] == wanted).count();
        assert!(times > 0, "chunk {offset} is not sent again");
    }
    victim.send(&[sack(tsn(&victim, 5), 1 << 20, &[])]);
    assert_eq!(victim.association.stats().flight_size, 0);
    assert_eq!(victim.association.state(), State::Established);
}

#[test]
fn e22_more_ordered_messages_of_a_stream_than_there_are_sequence_numbers() {
    const OUTSTANDING_MAX: usize = 32_768;
    let mut victim = with_window_for(80_000);
    let send = |victim: &mut Victim, stream, unordered| {
        let options = SendOptions { unordered, ..SendOptions::default() };
        victim.association.send(victim.now, stream, Ppid(53), Bytes::from_static(b"x"), options).unwrap();
    };
    (0..70_000).for_each(|_| send(&mut victim, StreamId(2), false));
    // By TSN, for some are repeated.
    let mut seen = BTreeSet::new();
    let mut of = |sent: &[Sent], stream: u8| {
        let chunks = sent.iter().filter(|sent| sent.kind == C::DATA && sent.value[4..6] == [0, stream]);
        chunks.filter(|sent| seen.insert(sent.value[..4].to_vec())).count()
    };
    let leave = |victim: &mut Victim| -> Vec<Sent> {
        let mut sent = victim.poll();
        (0..20).for_each(|_| sent.extend(victim.pass(MS)));
        sent
    };
    let sent = leave(&mut victim);
    assert_eq!(of(&sent, 2), OUTSTANDING_MAX, "RFC 9260 §6.1");
    // Other streams, and unordered messages of another, go on.
    (0..100).for_each(|_| send(&mut victim, StreamId(3), false));
    (0..100).for_each(|_| send(&mut victim, StreamId(4), true));
    let sent = leave(&mut victim);
    assert_eq!([of(&sent, 2), of(&sent, 3), of(&sent, 4)], [0, 100, 100]);
    // All of the first half but one is there, then all of it.
    let half = u32::try_from(OUTSTANDING_MAX / 2).unwrap();
    victim.association.handle_datagram(victim.now, packet(victim.tag, &[sack(tsn(&victim, half - 2), 1 << 30, &[])]));
    let sent = leave(&mut victim);
    assert_eq!(of(&sent, 2), 0, "the first of the next half would be the 32,769th");
    victim.association.handle_datagram(victim.now, packet(victim.tag, &[sack(tsn(&victim, half - 1), 1 << 30, &[])]));
    let sent = leave(&mut victim);
    assert_eq!(of(&sent, 2), OUTSTANDING_MAX / 2);
}

/// Each pair of SACKs reports all but the first, then takes it back: 88 bytes.
#[test]
fn e06_taking_back_a_large_window_again_and_again_costs_no_more_than_what_was_acknowledged() {
    const OUTSTANDING: u32 = 12_000;
    const ROUNDS: u32 = 150;
    let mut victim = with_very_many(OUTSTANDING as usize);
    let cost = steps(|| {
        for round in 0..ROUNDS {
            let last = u16::try_from(OUTSTANDING - 2 * round).unwrap();
            let report = sack(tsn(&victim, (2 * round).wrapping_sub(1)), 0, &[(2, last)]);
            let take_back = sack(tsn(&victim, 2 * round + 1), 0, &[]);
            for value in [report, take_back] {
                victim.association.handle_datagram(victim.now, packet(victim.tag, &[value]));
            }
        }
    });
    assert_eq!((victim.association.state(), victim.drops(PacketDropReason::BadSack)), (State::Established, 0));
    assert_eq!(cost > 0, cfg!(debug_assertions));
    assert!(cost < 200_000, "{cost} steps for {ROUNDS} times");
}

fn draw(random: &mut Random, below: u32) -> u32 {
    u32::try_from(random.below(u64::from(below))).unwrap()
}

#[test]
fn e07_reports_of_loss_for_what_was_acknowledged_or_given_up() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let mut victim = Victim::in_state(State::Established);
        let (mut sent, mut acked) = (0_u32, 0_u32);
        for _ in 0..400 {
            let limits = [
                Reliability::Reliable,
                Reliability::MaxRetransmits(0),
                Reliability::MaxRetransmits(1),
                Reliability::MaxLifetime(5 * MS),
            ];
            let options = SendOptions {
                reliability: limits[random.index(4)],
                unordered: draw(&mut random, 2) == 0,
                ..SendOptions::default()
            };
            let stream = u16::try_from(random.below(3)).unwrap();
            let len = [1, 30, 1100, 3000][random.index(4)];
            let _ = victim.association.send(victim.now, StreamId(stream), Ppid(53), vec![7; len].into(), options);
            let mut out = victim.poll();
            out.extend(victim.pass(draw(&mut random, 40) * MS));
            for chunk in out.iter().filter(|chunk| chunk.kind == C::DATA) {
                let number = u32::from_be_bytes(chunk.value[..4].try_into().unwrap()).wrapping_sub(victim.tsn.0);
                sent = sent.max(number + 1);
            }
            // A SACK of any shape: back, the same, or on; with gaps that come and go.
            let to = (acked + draw(&mut random, 4)).min(sent);
            let mut blocks: Vec<(u16, u16)> = Vec::new();
            let mut at = 2 + draw(&mut random, 3);
            while to + at + 1 < sent && blocks.len() < 4 {
                let end = at + draw(&mut random, (sent - to - at).min(4));
                blocks.push((u16::try_from(at).unwrap(), u16::try_from(end).unwrap()));
                at = end + 2 + draw(&mut random, 3);
            }
            let a_rwnd = [0, 1500, 1 << 20][random.index(3)];
            victim.send(&[sack(tsn(&victim, to.wrapping_sub(1)), a_rwnd, &blocks)]);
            acked = acked.max(to);
            assert!(!victim.association.is_over(), "seed {seed}: {:?}", victim.events.last());
        }
        // In the end the peer has it all, and nothing hangs on. (Every step was followed by a recount.)
        let mut out = Vec::new();
        for _ in 0..200 {
            out.extend(victim.pass(300 * MS));
            for chunk in out.iter().filter(|chunk| matches!(chunk.kind, C::DATA | C::FORWARD_TSN)) {
                let last = u32::from_be_bytes(chunk.value[..4].try_into().unwrap()).wrapping_sub(victim.tsn.0);
                sent = sent.max(last + 1);
            }
            out = victim.send(&[sack(tsn(&victim, sent.wrapping_sub(1)), 1 << 20, &[])]);
        }
        let stats = victim.association.stats();
        assert_eq!((stats.flight_size, stats.buffered_amount), (0, 0), "seed {seed}");
    }
}

#[test]
fn e08_a_window_that_shrinks_below_what_is_in_flight() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(1), &[7; 4000]);
    let flight = victim.association.stats().flight_size;
    for a_rwnd in [0, 1, 1000, u32::try_from(flight / 2).unwrap()] {
        victim.send(&[sack(nothing_acked(&victim), a_rwnd, &[])]);
        assert_eq!(victim.association.stats().peer_rwnd, 0, "{a_rwnd}");
    }
    assert_eq!(victim.association.state(), State::Established);
}

#[test]
fn e09_a_closed_window_is_probed_ever_more_rarely_for_an_hour() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(1), b"x");
    victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
    victim.association.send(victim.now, StreamId(1), Ppid(53), vec![7; 3000].into(), SendOptions::default()).unwrap();
    let mut probes = victim.poll().len();
    let mut times = Vec::new();
    for _ in 0..36_000 {
        let sent = victim.pass(100 * MS);
        if sent.iter().any(|sent| sent.kind == C::DATA) {
            probes += 1;
            times.push(victim.now);
            // The receiver has no room: it drops the probe, and says so.
            victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
        }
    }
    assert_eq!(victim.association.state(), State::Established, "an hour later: {:?}", victim.events);
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest >= AssociationConfig::default().rto_max, "probes come every {longest:?}");
    assert!((300..800).contains(&probes), "{probes} probes in an hour");
    // The window opens, and all of it leaves.
    let sent = victim.send(&[sack(tsn(&victim, 0), 1 << 20, &[])]);
    let later = victim.pass(SECOND);
    assert!(sent.iter().chain(&later).filter(|sent| sent.kind == C::DATA).count() >= 2);
}

#[test]
fn e10_a_closed_window_without_a_sack_ends_the_association() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(1), b"x");
    victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
    victim.message(StreamId(1), b"a probe");
    let sent = victim.pass(600 * SECOND);
    assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable));
    let repeats = sent.iter().filter(|sent| sent.kind == C::DATA).count();
    assert!(repeats >= 8, "{repeats} probes in the time for which a peer may be silent");
}

#[test]
fn e11_a_window_that_opens_byte_by_byte() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(1), b"x");
    victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
    let mut sent = victim.message(StreamId(1), &[7; 20_000]);
    for a_rwnd in 0..3000 {
        sent.extend(victim.send(&[sack(tsn(&victim, 0), a_rwnd, &[])]));
    }
    let sizes: Vec<usize> = sent.iter().filter(|sent| sent.kind == C::DATA).map(|sent| sent.value.len() - 12).collect();
    assert!(!sizes.is_empty(), "the probe, and what the window has room for");
    assert!(sizes.iter().all(|size| *size > 1000), "silly small chunks: {sizes:?}");
}

#[test]
fn e13_acknowledgements_in_slices_and_the_same_one_many_times() {
    let growth = |slices: u32, repeats: usize| {
        let mut victim = Victim::in_state(State::Established);
        victim
            .association
            .send(victim.now, StreamId(1), Ppid(53), vec![7; 100_000].into(), SendOptions::default())
            .unwrap();
        let count = u32::try_from(kinds(&victim.poll()).len()).unwrap();
        let before = victim.association.stats().cwnd;
        for slice in 1..=slices {
            let acked = count * slice / slices;
            for _ in 0..repeats {
                victim.association.handle_datagram(
                    victim.now,
                    packet(victim.tag, &[sack(tsn(&victim, acked.wrapping_sub(1)), 1 << 20, &[])]),
                );
            }
        }
        (victim.association.stats().cwnd - before, count)
    };
    let (once, count) = growth(1, 1);
    assert!(once > 0 && once <= count as usize * 1200);
    for (slices, repeats) in [(count, 1), (count, 100), (1, 1000)] {
        let (grown, _) = growth(slices, repeats);
        assert!(grown <= count as usize * 1200, "{slices} slices, {repeats} times: {grown} for {count} packets");
        assert!(repeats == 1 || growth(slices, 1).0 == grown, "the same one again earns nothing");
    }
}

/// Sends some messages over a link that loses what the rule says, by the time in milliseconds and the packet's length.
fn under(messages: u8, mut rule: impl FnMut(u64, usize) -> bool + 'static) -> Pair {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.rule = Box::new(move |packet| {
        let is_lost = rule(u64::try_from(packet.at.as_millis()).unwrap(), packet.bytes.len());
        if is_lost { Verdict::Drop } else { Verdict::Pass }
    });
    for number in 0..messages {
        pair.send(0, StreamId(1), vec![number; 5000]);
    }
    pair
}

#[test]
fn e14_losses_of_half_of_all_for_seconds_and_for_ever() {
    let mut random = Random(7);
    let mut pair = under(12, move |_, _| draw(&mut random, 2) == 0);
    pair.run_until(300 * SECOND, |pair| pair.received[1].len() == 12);

    let mut pair = under(60, |at, _| (150..10_150).contains(&at));
    pair.run_until(30 * SECOND, |pair| pair.received[1].len() == 60);
    assert!(pair.elapsed() < 25 * SECOND, "an outage of 10 s is over within one RTO.Max: {:?}", pair.elapsed());

    // For ever, and for all packets that are larger than a path that nobody announced: an error, in bounded time.
    for rule in [(|_, _| true) as fn(u64, usize) -> bool, |_, len| len > 1000] {
        let mut pair = under(60, rule);
        pair.run_for(300 * SECOND);
        let closed = pair.events[0]
            .iter()
            .filter(|event| matches!(event, AssociationEvent::Closed(CloseReason::PeerUnreachable)));
        assert_eq!(closed.count(), 1, "{:?}", pair.events[0].last());
        let refused = pair.ends[0].send(pair.now, StreamId(1), Ppid(53), "more".into(), SendOptions::default());
        assert_eq!(refused, Err(SendMessageError::Closed));
    }
}

#[test]
fn e15_a_flood_of_heartbeats() {
    let heartbeat = |info: &[u8]| {
        let len = u16::try_from(info.len() + 4).unwrap();
        raw(C::HEARTBEAT, 0, &[&[0, 1][..], &len.to_be_bytes(), info].concat())
    };
    let mut victim = Victim::in_state(State::Established);
    for round in 0..100_u8 {
        let flood: Vec<Vec<u8>> = (0..90).map(|number| heartbeat(&[round, number, 0, 0])).collect();
        let sent = victim.send(&flood);
        assert_eq!(kinds(&sent), [C::HEARTBEAT_ACK], "one answer a packet");
        assert_eq!(sent[0].value[..], [0, 1, 0, 8, round, 89, 0, 0], "to the last one, word for word");
    }
    assert_eq!(victim.drops(PacketDropReason::AnswerLimit), 8900);
    // As large as fits, and larger.
    let fits = AssociationConfig::default().mtu - 12 - 4 - 4;
    for (len, answers) in [(fits - 52, 1), (fits + 1, 0), (60_000, 0)] {
        let sent = victim.send(&[heartbeat(&vec![7; len])]);
        assert_eq!(sent.len(), answers, "{len} bytes");
    }
}

#[test]
fn e16_heartbeat_acks_forged_cut_and_old() {
    let mut victim = Victim::in_state(State::Established);
    let before = victim.association.stats().srtt.unwrap();
    let mut asked = Vec::new();
    while asked.is_empty() {
        asked = victim.pass(MS);
    }
    assert_eq!(kinds(&asked), [C::HEARTBEAT]);
    victim.now += 200 * MS;
    let right = asked[0].value.clone();
    let mut forged = right.to_vec();
    forged[8] ^= 1;
    let timeout = victim.association.poll_timeout();
    for (what, value) in [
        ("another nonce", &forged[..]),
        ("cut", &right[..8]),
        ("no information", &[0, 1, 0, 4]),
        ("longer", &[&[0, 1, 0, 16][..], &right[4..], &[0; 4]].concat()),
        ("empty", &[]),
    ] {
        let datagram = packet(victim.tag, &[raw(C::HEARTBEAT_ACK, 0, value)]);
        victim.assert_drops(datagram, PacketDropReason::BadHeartbeatAck, what);
        assert_eq!(victim.association.poll_timeout(), timeout, "{what}");
        assert_eq!(victim.association.stats().srtt, Some(before), "{what}");
    }
    victim.now += 40 * MS;
    assert_eq!(victim.send(&[raw(C::HEARTBEAT_ACK, 0, &right)]), []);
    let srtt = victim.association.stats().srtt.unwrap();
    assert!(srtt.abs_diff(before * 7 / 8 + 240 * MS / 8) <= MS / 8, "asked 240 ms ago: {srtt:?}");
    let datagram = packet(victim.tag, &[raw(C::HEARTBEAT_ACK, 0, &right)]);
    victim.assert_drops(datagram, PacketDropReason::BadHeartbeatAck, "the right one once more");

    // A peer that answers each HEARTBEAT wrongly is as good as none.
    let mut victim = Victim::in_state(State::Established);
    for _ in 0..100 {
        if victim.pass(10 * SECOND).iter().any(|sent: &Sent| sent.kind == C::HEARTBEAT) {
            victim.send(&[raw(C::HEARTBEAT_ACK, 0, &forged)]);
        }
    }
    assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable));
}

#[test]
fn e17_no_round_trip_time_is_taken_from_what_was_sent_twice() {
    let mut victim = Victim::in_state(State::Established);
    let before = victim.association.stats().srtt.unwrap();
    victim.message(StreamId(1), b"x");
    let again = victim.pass(1100 * MS);
    assert!(kinds(&again).contains(&C::DATA), "T3 has repeated it");
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(&victim, 0), 1 << 20, &[])]);
    assert_eq!(victim.association.stats().srtt, Some(before), "which of the two was acknowledged?");
    victim.message(StreamId(1), b"y");
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(&victim, 1), 1 << 20, &[])]);
    assert_eq!(victim.association.stats().srtt, Some(before * 7 / 8 + 50 * MS / 8));
    // The cookie exchange says nothing either: an INIT or COOKIE ECHO may have been repeated.
    let mut victim = Victim::in_state(State::CookieWait);
    victim.pass(5 * SECOND);
    let ack = victim::chunk(|out| {
        victim::peer_init_with(|init| init.cookie = Some(b"cookie")).encode(ChunkType::INIT_ACK, &[], out);
    });
    victim.send(&[ack]);
    victim.pass(2 * SECOND);
    victim.send(&[raw(C::COOKIE_ACK, 0, &[])]);
    assert_eq!((victim.association.state(), victim.association.stats().srtt), (State::Established, None));
}

#[test]
fn e19_one_stream_that_does_not_move() {
    let config = AssociationConfig { stream_send_buffer: 10_000, send_buffer: 100_000, ..AssociationConfig::default() };
    let mut victim = Victim::with_config(State::Established, config);
    victim.message(StreamId(9), b"x");
    victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
    let send = |victim: &mut Victim, stream| {
        victim.association.send(victim.now, stream, Ppid(53), vec![7; 1000].into(), SendOptions::default())
    };
    let accepted = (0..100).take_while(|_| send(&mut victim, StreamId(1)).is_ok()).count();
    // Each counts with its overhead.
    assert_eq!(accepted, 10_000_usize.div_ceil(1000 + 352));
    assert_eq!(send(&mut victim, StreamId(1)), Err(SendMessageError::Full));
    // The first leaves as the probe of the closed window, a time-out later; another takes its place.
    assert_eq!(kinds(&victim.poll()), []);
    assert_eq!(kinds(&victim.pass(500 * MS)), [C::DATA]);
    assert_eq!([send(&mut victim, StreamId(1)), send(&mut victim, StreamId(1))], [Ok(()), Err(SendMessageError::Full)]);
    victim.events.clear();
    victim.poll();
    let is_writable = |event: &AssociationEvent| matches!(event, AssociationEvent::Writable);
    assert!(!victim.events.iter().any(is_writable), "there is no room on that stream");
    // The message that ends a stream is accepted all the same, and charged.
    let (before, last) =
        (victim.association.memory_charged(), SendOptions { exceeds_limits: true, ..SendOptions::default() });
    assert_eq!(victim.association.send(victim.now, StreamId(1), Ppid(57), vec![0].into(), last), Ok(()));
    assert!(victim.association.memory_charged() > before + 300);
    assert_eq!(send(&mut victim, StreamId(1)), Err(SendMessageError::Full));
    for stream in 2..10 {
        assert_eq!(send(&mut victim, StreamId(stream)), Ok(()), "stream {stream}");
    }
    // All together they have a limit, too, which the streams count against.
    let accepted = (10..1000).take_while(|stream| send(&mut victim, StreamId(*stream)).is_ok()).count();
    let left = 100_000 - 17 * (1000 + 352) - 353 - 9 * 256;
    assert!(
        (left / (1000 + 352 + 256)..).contains(&accepted) && accepted <= left / (1000 + 352 + 256) + 2,
        "{accepted}"
    );
    victim.send(&[sack(tsn(&victim, 0), 1 << 20, &[])]);
    victim.pass(SECOND);
    assert!(victim.events.iter().any(is_writable), "and there is room again");
}
