//! Messages of every kind, both ways, with each end as the one that dials.

use narrowboat_sctp::{AssociationConfig, Reliability, SendOptions};

use crate::pair::{BINARY, Dialler, Pair};
use crate::peer::{hash, pattern};

const UNORDERED: SendOptions = SendOptions {
    unordered: true,
    reliability: Reliability::Reliable,
    acknowledge_immediately: false,
    exceeds_limits: false,
    ignores_policy: false,
};

#[test]
fn both_ends_agree_on_streams_and_extensions() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::with(
            dialler,
            AssociationConfig { outbound_streams: 100, ..AssociationConfig::default() },
            &["streams=300"],
        );
        assert_eq!(pair.ours.association().outbound_streams(), 100, "{dialler:?}");
        assert_eq!(pair.ours.association().inbound_streams(), 300, "{dialler:?}");
        assert!(pair.ours.association().peer_supports_stream_reset());
        assert!(pair.ours.association().peer_supports_partial_reliability());
        assert!(pair.peer.said("up 300 100"), "{:?}", pair.peer.reports);
    }
}

#[test]
fn messages_around_every_packet_boundary_arrive_whole() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        let sizes =
            [1, 2, 3, 4, 5, 1_100, 1_150, 1_170, 1_171, 1_172, 1_173, 1_200, 2_343, 2_344, 2_345, 65_535, 65_536];
        for (index, len) in (0..).zip(sizes) {
            pair.send(7, len, 1, index, SendOptions::default());
            pair.peer_has(7, len, 1, index, "o");
            pair.send(8, len, 1, index, UNORDERED);
            pair.peer_has(8, len, 1, index, "u");
            pair.peer.tell(&format!("send 9 {BINARY} o {len} 1 {index}"));
            pair.we_have(9, len, 1, index, false);
            pair.peer.tell(&format!("send 10 {BINARY} u {len} 1 {index}"));
            pair.we_have(10, len, 1, index, true);
        }
    }
}

#[test]
fn a_message_keeps_its_ppid_and_its_bytes() {
    let mut pair = Pair::with(Dialler::Ours, AssociationConfig::default(), &["echo=1"]);
    for ppid in [0, 50, 51, 57, 0x0102_0304, u32::MAX] {
        pair.ours.send(3, ppid, b"there and back");
        pair.until("the echo", |p| !p.ours.messages.is_empty());
        let echo = pair.ours.messages.pop_front().expect("just seen");
        assert_eq!((echo.stream, echo.ppid, &echo.bytes[..]), (3, ppid, &b"there and back"[..]));
    }
}

#[test]
fn messages_of_mebibytes_arrive_in_one_piece() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        let len = 3 * (1 << 20) + 1;
        pair.send(1, len, 2, 0, SendOptions::default());
        pair.peer.tell(&format!("send 1 {BINARY} o {len} 2 5"));
        pair.peer_has(1, len, 2, 0, "o");
        pair.we_have(1, len, 2, 5, false);
        pair.send(2, len, 1, 9, UNORDERED);
        pair.peer_has(2, len, 1, 9, "u");
    }
}

#[test]
fn ordered_streams_keep_their_order_side_by_side() {
    let mut pair = Pair::new(Dialler::Usrsctp);
    for index in 0..100 {
        for stream in 0..10 {
            pair.send(stream, 700, 1, index, SendOptions::default());
        }
    }
    for stream in 0..10 {
        pair.peer.tell(&format!("send {stream} {BINARY} o 700 100 1000"));
    }
    for stream in 0..10 {
        pair.peer_has(stream, 700, 100, 0, "o");
        pair.we_have(stream, 700, 100, 1000, false);
    }
}

#[test]
fn bulk_flows_both_ways_at_once() {
    let mut pair = Pair::with(Dialler::Ours, AssociationConfig::default(), &["quiet=1"]);
    let (len, count) = (16_384, 1024);
    pair.peer.tell(&format!("send 4 {BINARY} o {len} {count} 0"));
    pair.send(4, len, count, 0, SendOptions::default());
    pair.we_have(4, len, count, 0, false);
    until_total(&mut pair, u64::from(count));
    let sum = (0..count).fold(0_u64, |sum, index| sum.wrapping_add(hash(&pattern(4, index, len))));
    let bytes = u64::from(count) * len as u64;
    assert!(pair.peer.said(&format!("total {count} {bytes} {sum:016x}")), "{:?}", pair.peer.reports.last());
}

#[test]
fn a_reader_that_stops_closes_the_window_and_loses_nothing() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::with(
            dialler,
            AssociationConfig { receive_window: 1 << 17, ..AssociationConfig::default() },
            &["rwnd=131072"],
        );
        // Theirs stops.
        pair.peer.tell("pause");
        pair.send(1, 10_000, 100, 0, SendOptions::default());
        pair.until("usrsctp's window is all but closed", |p| p.ours.peer_window() < 10_000);
        pair.peer.tell("resume");
        pair.peer_has(1, 10_000, 100, 0, "o");
        // Ours stops.
        pair.ours.stopped_reading = true;
        pair.peer.tell(&format!("send 2 {BINARY} o 10000 100 0"));
        pair.until("our window is full", |p| p.ours.messages.len() >= 8);
        for _ in 0..500 {
            pair.ours.turn();
        }
        assert!(pair.ours.messages.len() <= 14, "{} messages in a window of 128 KiB", pair.ours.messages.len());
        pair.ours.resume_reading();
        pair.we_have(2, 10_000, 100, 0, false);
    }
}

#[test]
fn a_peer_that_announces_every_address_it_has_is_served_at_one() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::with(dialler, AssociationConfig::default(), &["any=1"]);
        pair.send(1, 5_000, 20, 0, SendOptions::default());
        pair.peer_has(1, 5_000, 20, 0, "o");
        pair.peer.tell(&format!("send 1 {BINARY} o 5000 20 0"));
        pair.we_have(1, 5_000, 20, 0, false);
    }
}

#[test]
fn messages_arrive_with_and_without_each_extension_which_both_ends_must_offer() {
    // Message interleaving, partial reliability, stream resets: all of them, and each left out by either end or both.
    const WITHOUT: [&[usize]; 6] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2]];
    for dialler in Dialler::EITHER {
        for (ours, theirs) in WITHOUT.iter().flat_map(|ours| [(*ours, &[][..]), (&[], *ours), (*ours, *ours)]) {
            assert_messages_arrive(dialler, [ours, theirs].map(|without| [0, 1, 2].map(|it| !without.contains(&it))));
        }
    }
}

/// Large messages on two streams at once, which interleave if they may.
fn assert_messages_arrive(dialler: Dialler, [ours, theirs]: [[bool; 3]; 2]) {
    let [message_interleaving, partial_reliability, stream_reset] = ours;
    let config =
        AssociationConfig { message_interleaving, partial_reliability, stream_reset, ..AssociationConfig::default() };
    let names = ["interleaving", "pr", "reset"];
    let settings: Vec<String> = names.iter().zip(theirs).map(|(name, on)| format!("{name}={}", u8::from(on))).collect();
    let mut pair = Pair::with(dialler, config, &settings.iter().map(String::as_str).collect::<Vec<_>>());
    let extensions = pair.ours.association().stats().extensions;
    // We offer no interleaving without partial reliability.
    let interleaves = message_interleaving && partial_reliability && theirs[0];
    assert_eq!(extensions.message_interleaving, interleaves, "{dialler:?} {ours:?} {theirs:?}");
    assert_eq!(extensions.stream_reset, stream_reset && theirs[2], "{dialler:?} {ours:?} {theirs:?}");
    for stream in [1, 3] {
        pair.send(stream, 100_000, 5, 0, SendOptions::default());
        pair.peer.tell(&format!("send {stream} {BINARY} o 100000 5 0"));
    }
    for stream in [1, 3] {
        pair.peer_has(stream, 100_000, 5, 0, "o");
        pair.we_have(stream, 100_000, 5, 0, false);
    }
}

/// Asks the peer for its total until it has that many messages.
pub(crate) fn until_total(pair: &mut Pair, messages: u64) {
    let words = format!("total {messages}");
    loop {
        let asked = pair.peer.times("total");
        pair.peer.tell("total");
        pair.until("usrsctp counts", |p| p.peer.times("total") > asked);
        if pair.peer.said(&words) {
            return;
        }
        pair.ours.turn();
    }
}
