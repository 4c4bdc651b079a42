//! Packets without a checksum over DTLS (RFC 9653).

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{self, ChunkType, Init};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CookieKeys, ExtensionsInUse, PacketDropReason, SignalledInit,
    State, StreamId, Valid,
};
use pair::{MS, Packet, Pair, Verdict};

fn config(zero_checksum: bool) -> AssociationConfig {
    AssociationConfig { zero_checksum, ..AssociationConfig::default() }
}

fn over_dtls(pair: &Pair, zero_checksum: bool, seed: u8) -> Association {
    let keys = CookieKeys::new(pair.start, [seed; 32]);
    Association::new_over_dtls(Valid::new(config(zero_checksum)).unwrap(), keys, &[], [seed; 32])
}

/// A pair over DTLS of which these ends want no checksums.
fn pair_over_dtls(enabled: [bool; 2]) -> Pair {
    let mut pair = Pair::new();
    pair.ends = [over_dtls(&pair, enabled[0], 1), over_dtls(&pair, enabled[1], 2)];
    pair
}

fn connected(enabled: [bool; 2]) -> Pair {
    let mut pair = pair_over_dtls(enabled);
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    assert_eq!(pair.ends.each_ref().map(Association::state), [State::Established; 2]);
    pair
}

/// Messages in both directions, enough for packets of all lengths and for lone SACKs.
fn exchange(pair: &mut Pair) {
    for end in 0..2 {
        for message in [&b"short"[..], &[7; 30_000]] {
            pair.send(end, StreamId(4), Bytes::from_static(message));
        }
    }
    pair.run_for(Duration::from_secs(2));
    for end in 0..2 {
        assert_eq!(pair.received[end].len(), 2, "messages to end {end}");
        pair.received[end].clear();
    }
    let dropped: u64 = pair.ends.iter().map(|end| end.stats().drops.count(PacketDropReason::BadChecksum)).sum();
    assert_eq!(dropped, 0);
}

fn is_zero(packet: &Packet) -> bool {
    let is_zero = wire::has_zero_checksum(&packet.bytes);
    assert!(is_zero != wire::is_checksum_valid(&packet.bytes), "{packet:?}");
    is_zero
}

fn offer_in(packet: &Packet) -> Option<u32> {
    Init::decode(&packet.bytes[16..]).unwrap().zero_checksum
}

#[test]
fn statistics_name_the_extensions_in_use_from_the_handshake_on() {
    for enabled in [[true, true], [true, false], [false, true], [false, false]] {
        let mut pair = pair_over_dtls(enabled);
        for end in 0..2 {
            assert_eq!(pair.ends[end].stats().extensions, ExtensionsInUse::default(), "before the handshake");
        }
        pair.ends[0].connect(pair.now);
        pair.run_for(100 * MS);
        for end in 0..2 {
            let extensions = pair.ends[end].stats().extensions;
            assert!(extensions.message_interleaving && extensions.partial_reliability && extensions.stream_reset);
            // An end that wants checksums sends and accepts no packets without.
            assert_eq!(extensions.zero_checksum_sent, enabled[0] && enabled[1], "{enabled:?}, end {end}");
            assert_eq!(extensions.zero_checksum_accepted, enabled[end], "{enabled:?}, end {end}");
        }
    }
    type Refuse = fn(&mut AssociationConfig);
    let refusals: [(Refuse, [bool; 3]); 3] = [
        (|config| config.message_interleaving = false, [false, true, true]),
        (|config| config.partial_reliability = false, [false, false, true]),
        (|config| config.stream_reset = false, [true, true, false]),
    ];
    for (refuse, expected) in refusals {
        let mut config = AssociationConfig::default();
        refuse(&mut config);
        let mut pair = Pair::with_configs([config, AssociationConfig::default()], 1);
        pair.connect();
        for end in &pair.ends {
            let extensions = end.stats().extensions;
            let found = [extensions.message_interleaving, extensions.partial_reliability, extensions.stream_reset];
            assert_eq!(found, expected);
            assert!(!extensions.zero_checksum_sent && !extensions.zero_checksum_accepted, "over plain UDP");
        }
    }
}

#[test]
fn over_dtls_all_packets_but_those_of_the_handshake_have_no_checksum() {
    let mut pair = connected([true, true]);
    exchange(&mut pair);
    assert!(pair.ends.iter().all(Association::sends_zero_checksum));
    let (handshake, rest): (Vec<_>, Vec<_>) = pair.trace.iter().partition(|packet| {
        [ChunkType::INIT, ChunkType::INIT_ACK, ChunkType::COOKIE_ECHO].contains(&packet.kinds()[0])
    });
    assert_eq!(handshake.len(), 3);
    assert!(handshake.iter().all(|packet| !is_zero(packet)), "RFC 9653 §5.2 rules 1 and 2");
    assert!(handshake[..2].iter().all(|packet| offer_in(packet) == Some(1)));
    assert!(rest.len() > 60 && rest.iter().all(|packet| is_zero(packet)));
}

#[test]
fn an_end_that_announces_nothing_gets_checksums_and_takes_no_packet_without() {
    for quiet in [0, 1] {
        let mut pair = connected([quiet == 1, quiet == 0]);
        exchange(&mut pair);
        assert!(!pair.ends.iter().any(Association::sends_zero_checksum));
        assert!(!pair.trace.iter().any(is_zero));
        let offers: Vec<_> = pair.trace[..2].iter().map(offer_in).collect();
        assert_eq!(offers, if quiet == 0 { [None, Some(1)] } else { [Some(1), None] });
        // The announcement of one end is for its own direction. The other end could leave out checksums.
        for end in 0..2 {
            pair.send(1 - end, StreamId(4), "once more");
            let mut packet = pair.trace.last().unwrap().bytes.to_vec();
            packet[8..12].fill(0);
            pair.ends[end].handle_datagram(pair.now, packet.into());
            pair.take_events(end);
            let stats = pair.ends[end].stats();
            let (received, dropped) = (pair.received[end].len(), stats.drops.count(PacketDropReason::BadChecksum));
            assert_eq!((received, dropped), if end == quiet { (0, 1) } else { (1, 0) }, "end {end}, quiet {quiet}");
        }
    }
}

#[test]
fn nothing_is_announced_over_udp_whatever_the_configuration() {
    let mut pair = Pair::with_config(config(true));
    pair.ends[0] = over_dtls(&pair, true, 1);
    pair.ends[0].connect(pair.now);
    pair.run_for(100 * MS);
    exchange(&mut pair);
    assert_eq!(offer_in(&pair.trace[1]), None);
    assert!(!pair.trace.iter().any(is_zero));
}

#[test]
fn a21_a_checksum_that_is_wrong_and_not_zero_is_dropped_over_dtls_too() {
    let mut pair = connected([true, true]);
    pair.send(0, StreamId(4), "intact");
    let sent = pair.trace.last().unwrap().bytes.to_vec();
    for at in 8..12 {
        let mut packet = sent.clone();
        packet[at] ^= 1;
        pair.ends[1].handle_datagram(pair.now, packet.into());
    }
    assert_eq!(pair.ends[1].stats().drops.count(PacketDropReason::BadChecksum), 4);
    // A valid one is taken as before (§5.3).
    let mut packet = sent;
    wire::seal(&mut packet);
    pair.ends[1].handle_datagram(pair.now, packet.into());
    pair.take_events(1);
    assert_eq!(pair.received[1][0].2, "intact");
}

#[test]
fn no_packet_without_a_checksum_is_taken_before_this_end_has_announced_it() {
    let pair = pair_over_dtls([true, true]);
    let mut end = over_dtls(&pair, true, 3);
    let mut connecting = over_dtls(&pair, true, 4);
    connecting.connect(pair.now);
    let mut packet = Vec::new();
    assert!(connecting.poll_transmit(pair.now, 1, &mut packet).is_some(), "INIT");
    let (sealed, mut unsealed) = (Bytes::from(packet.clone()), packet);
    unsealed[8..12].fill(0);
    let unsealed = Bytes::from(unsealed);
    end.handle_datagram(pair.now, unsealed.clone());
    assert_eq!(end.stats().drops.count(PacketDropReason::BadChecksum), 1);
    let mut answer = Vec::new();
    assert!(end.poll_transmit(pair.now, 1, &mut answer).is_none());
    end.handle_datagram(pair.now, sealed);
    assert!(end.poll_transmit(pair.now, 1, &mut answer).is_some(), "INIT ACK, which announces it");
    end.handle_datagram(pair.now, unsealed);
    assert!(end.poll_transmit(pair.now, 1, &mut answer).is_some());
    assert_eq!(end.stats().drops.count(PacketDropReason::BadChecksum), 1);
}

#[test]
fn a_restart_of_the_peer_decides_anew() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let mut pair = connected([before, true]);
        exchange(&mut pair);
        assert_eq!(pair.ends[1].sends_zero_checksum(), before);
        pair.ends[0] = over_dtls(&pair, after, 9);
        pair.trace.clear();
        pair.ends[0].connect(pair.now);
        pair.run_for(100 * MS);
        assert!(pair.events[1].iter().any(|event| matches!(event, AssociationEvent::Restarted)));
        exchange(&mut pair);
        assert_eq!(pair.ends.each_ref().map(Association::sends_zero_checksum), [after; 2]);
        let is_handshake = |packet: &&Packet| {
            [ChunkType::INIT, ChunkType::INIT_ACK, ChunkType::COOKIE_ECHO].contains(&packet.kinds()[0])
        };
        assert!(pair.trace.iter().filter(is_handshake).all(|packet| !is_zero(packet)));
        let data = |packet: &&Packet| packet.has_user_data();
        assert!(pair.trace.iter().filter(data).all(|packet| is_zero(packet) == after), "{before} {after}");
    }
}

#[test]
fn a_lost_cookie_ack_and_both_ends_at_once_agree_all_the_same() {
    for lost in 0..8 {
        for both in [false, true] {
            let mut pair = pair_over_dtls([true, true]);
            let mut count = 0;
            pair.rule = Box::new(move |_| {
                count += 1;
                if count - 1 == lost { Verdict::Drop } else { Verdict::Pass }
            });
            pair.ends[0].connect(pair.now);
            if both {
                pair.ends[1].connect(pair.now);
            }
            pair.run_for(Duration::from_secs(8));
            exchange(&mut pair);
            assert!(pair.ends.iter().all(Association::sends_zero_checksum), "lost {lost}");
            for packet in &pair.trace {
                assert!(!(packet.has(ChunkType::COOKIE_ECHO) && is_zero(packet)), "{packet:?}");
            }
        }
    }
}

#[test]
fn signalled_inits_announce_it_as_inits_do() {
    for enabled in [[true, true], [true, false], [false, true]] {
        let mut pair = pair_over_dtls(enabled);
        let inits = pair.ends.each_ref().map(|end| SignalledInit::parse(&end.signalled_init().unwrap()).unwrap());
        for end in 0..2 {
            pair.ends[end].connect_as_signalled(pair.now, &inits[1 - end]).unwrap();
        }
        exchange(&mut pair);
        let is_on = enabled == [true, true];
        assert!(pair.trace.iter().all(|packet| is_zero(packet) == is_on));
    }
}

#[test]
fn the_last_packets_of_an_association_have_checksums() {
    for is_abort in [true, false] {
        let mut pair = connected([true, true]);
        pair.trace.clear();
        if is_abort {
            pair.ends[0].abort("over");
        } else {
            pair.ends[0].shutdown(pair.now);
        }
        pair.run_for(Duration::from_secs(2));
        assert!(pair.ends.iter().all(Association::is_over));
        let last = pair.trace.last().unwrap();
        assert_eq!(last.kinds(), [if is_abort { ChunkType::ABORT } else { ChunkType::SHUTDOWN_COMPLETE }]);
        assert!(!is_zero(last), "a reader that has forgotten the association can check it");
    }
}

#[test]
fn other_methods_and_malformed_announcements_are_none() {
    for method in [0, 2, u32::MAX] {
        let pair = pair_over_dtls([true, true]);
        let mut end = over_dtls(&pair, true, 3);
        let told = end.signalled_init().unwrap();
        let mut init = Init::decode(&told[4..]).unwrap();
        init.zero_checksum = Some(method);
        let mut chunk = Vec::new();
        init.encode(ChunkType::INIT, &[], &mut chunk);
        end.connect_as_signalled(pair.now, &SignalledInit::parse(&chunk).unwrap()).unwrap();
        assert!(!end.sends_zero_checksum(), "method {method}");
    }
}
