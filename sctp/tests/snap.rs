//! Associations whose INITs travel with the signalling (draft-hancke-tsvwg-snap-00), and associations that both ends
//! begin at once, which is how browsers do it otherwise.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{self, ChunkType, Chunks, Init};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, SignalledInit, SignalledInitError, State, StreamId,
};
use pair::{MS, Pair, Verdict};

/// `a=sctp-init:AQAAHphHk4kAUAAA/////yqjr1fAAAAEgAgABoLA`, as Chromium 156 has offered it.
const OF_CHROMIUM: &str = "0100001e9847938900500000ffffffff2aa3af57c000000480080006 82c0";

/// The first packet of the association that came of it: the browser opens channel `c0`.
const FIRST_OF_CHROMIUM: &str =
    "13881388d15ab46c845d096f0003001e2aa3af57000000000000003203000100000000000002000063300000";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

fn signalled(pair: &Pair) -> [SignalledInit; 2] {
    pair.ends.each_ref().map(|end| SignalledInit::parse(&end.signalled_init().unwrap()).unwrap())
}

/// A pair that is established without a packet.
fn snapped(config: AssociationConfig) -> Pair {
    let mut pair = Pair::with_config(config);
    let inits = signalled(&pair);
    for end in 0..2 {
        pair.ends[end].connect_as_signalled(pair.now, &inits[1 - end]).unwrap();
    }
    pair
}

#[test]
fn both_ends_are_established_without_a_packet_and_the_first_one_carries_data() {
    let mut pair = snapped(AssociationConfig::default());
    assert_eq!(pair.ends.each_ref().map(|end| end.state()), [State::Established; 2]);
    pair.flush();
    assert!(pair.trace.is_empty(), "{:?}", pair.trace);
    assert!(pair.events.iter().all(|events| matches!(events[..], [AssociationEvent::Connected])), "{:?}", pair.events);
    pair.send(0, StreamId(0), "there");
    pair.send(1, StreamId(1), "back");
    assert!(pair.trace.iter().all(|packet| packet.kinds() == [pair.data_kind()]));
    pair.run_for(11 * MS);
    assert_eq!(pair.received[1][0].2, "there");
    assert_eq!(pair.received[0][0].2, "back");
    pair.run_for(Duration::from_secs(5));
    let unknown: u64 = pair.ends.iter().map(|end| end.stats().drops.total()).sum();
    assert_eq!(unknown, 0, "tags and TSNs are what was told");
}

#[test]
fn what_was_told_is_what_counts_streams_extensions_and_window() {
    let small = AssociationConfig {
        outbound_streams: 7,
        inbound_streams: 3,
        stream_reset: false,
        ..AssociationConfig::default()
    };
    let mut pair = Pair::with_configs([AssociationConfig::default(), small], 1);
    let inits = signalled(&pair);
    for end in 0..2 {
        pair.ends[end].connect_as_signalled(pair.now, &inits[1 - end]).unwrap();
    }
    assert_eq!((pair.ends[0].outbound_streams(), pair.ends[0].inbound_streams()), (3, 7));
    assert_eq!((pair.ends[1].outbound_streams(), pair.ends[1].inbound_streams()), (7, 3));
    assert!(pair.ends.iter().all(|end| !end.peer_supports_stream_reset() && end.peer_supports_partial_reliability()));
}

#[test]
fn resets_shutdowns_and_losses_are_as_after_a_handshake() {
    for lost in 0..6 {
        let mut pair = snapped(AssociationConfig::default());
        let mut count = 0;
        pair.rule = Box::new(move |_| {
            count += 1;
            if count - 1 == lost { Verdict::Drop } else { Verdict::Pass }
        });
        let message = Bytes::from(vec![5; 20_000]);
        pair.send(0, StreamId(4), message.clone());
        pair.run_until(Duration::from_secs(20), |pair| !pair.received[1].is_empty());
        assert_eq!(pair.received[1][0].2, message);
        let now = pair.now;
        pair.ends[0].reset_streams(now, &[StreamId(4)]).unwrap();
        pair.run_until(Duration::from_secs(20), |pair| {
            pair.events[1].iter().any(|event| matches!(event, AssociationEvent::IncomingStreamsReset(_)))
        });
        let now = pair.now;
        pair.ends[1].shutdown(now);
        pair.run_until(Duration::from_secs(60), |pair| pair.ends.iter().all(|end| end.is_over()));
        for events in &pair.events {
            assert!(matches!(events.last(), Some(AssociationEvent::Closed(CloseReason::Shutdown))), "{events:?}");
        }
    }
}

#[test]
fn an_init_that_was_told_but_not_answered_is_the_init_of_a_handshake() {
    let mut pair = Pair::new();
    let told = pair.ends[0].signalled_init().unwrap();
    pair.flush();
    assert!(pair.trace.is_empty() && pair.ends[0].state() == State::Closed && pair.ends[0].poll_timeout().is_none());
    assert_eq!(pair.ends[0].signalled_init().unwrap(), told, "it stays the same");
    pair.ends[0].connect(pair.now);
    assert_eq!(pair.ends[0].signalled_init(), None);
    pair.run_for(100 * MS);
    let sent = pair.sent(0, ChunkType::INIT)[0];
    assert_eq!(&sent.bytes[12..12 + told.len()], &told[..]);
    assert_eq!(pair.ends[1].state(), State::Established);
}

#[test]
fn b30_only_one_whole_acceptable_init_is_taken() {
    use SignalledInitError as E;
    let good = bytes_of(OF_CHROMIUM);
    let parse = |chunk: &[u8]| SignalledInit::parse(chunk).map(|_| ());
    let with = |at: usize, bytes: &[u8]| {
        let mut chunk = good.clone();
        chunk[at..at + bytes.len()].copy_from_slice(bytes);
        parse(&chunk)
    };
    assert_eq!(parse(&good), Ok(()));
    assert_eq!(parse(&[&good[..], &[0, 0]].concat()), Ok(()), "padded");
    for len in 0..good.len() {
        assert!(parse(&good[..len]).is_err(), "{len} bytes");
    }
    assert_eq!(parse(&[&good[..], &[0]].concat()), Err(E::Malformed));
    assert_eq!(parse(&[&good[..], &[0, 0], &good[..]].concat()), Err(E::Malformed), "two chunks");
    assert_eq!(parse(&vec![1; 100_000]), Err(E::Malformed));
    assert_eq!(with(0, &[2]), Err(E::NotInit(2)));
    assert_eq!(with(4, &[0; 4]), Err(E::Unacceptable), "no tag");
    assert_eq!(with(8, &[0, 0, 5, 219]), Err(E::Unacceptable), "a window of 1,499 bytes");
    assert_eq!(with(12, &[0; 2]), Err(E::Unacceptable), "no outbound streams");
    assert_eq!(with(14, &[0; 2]), Err(E::Unacceptable), "no inbound streams");
    assert_eq!(with(20, &[0, 11]), Err(E::Unacceptable), "a host name");
    assert_eq!(with(22, &[0, 3]), Err(E::Malformed), "a parameter shorter than its header");
}

#[test]
fn an_association_that_has_begun_takes_no_init_from_the_signalling() {
    let peer = SignalledInit::parse(&bytes_of(OF_CHROMIUM)).unwrap();
    let mut pair = snapped(AssociationConfig::default());
    let now = pair.now;
    assert_eq!(pair.ends[0].connect_as_signalled(now, &peer), Err(SignalledInitError::AlreadyBegun));
    pair.send(0, StreamId(0), "as before");
    pair.run_for(100 * MS);
    assert_eq!(pair.received[1][0].2, "as before");

    let mut pair = Pair::new();
    let now = pair.now;
    pair.ends[0].connect(now);
    assert_eq!(pair.ends[0].connect_as_signalled(now, &peer), Err(SignalledInitError::AlreadyBegun));
    pair.run_for(100 * MS);
    assert_eq!(pair.ends[1].state(), State::Established);

    pair.ends[0].abort("over");
    assert_eq!(pair.ends[0].connect_as_signalled(now, &peer), Err(SignalledInitError::AlreadyBegun));
}

#[test]
fn chromium_and_this_end_agree_from_its_offer_and_its_first_packet_is_delivered() {
    let mut pair = Pair::new();
    let ours = pair.ends[0].signalled_init().unwrap();
    let ours = Init::decode(&ours[4..]).unwrap().initiate_tag;
    let peer = SignalledInit::parse(&bytes_of(OF_CHROMIUM)).unwrap();
    pair.ends[0].connect_as_signalled(pair.now, &peer).unwrap();
    assert_eq!((pair.ends[0].outbound_streams(), pair.ends[0].inbound_streams()), (65_535, 65_535));
    assert!(pair.ends[0].peer_supports_stream_reset() && pair.ends[0].peer_supports_partial_reliability());
    // It was sent to another end, which had another tag.
    let mut packet = bytes_of(FIRST_OF_CHROMIUM);
    packet[4..8].copy_from_slice(&ours.to_be_bytes());
    packet[8..12].fill(0);
    wire::seal(&mut packet);
    pair.ends[0].handle_datagram(pair.now, packet.into());
    pair.take_events(0);
    assert_eq!(pair.received[0][0].2, bytes_of("03000100000000000002000063 30"));
    // And it is answered with the tag that the browser has told.
    pair.send(0, StreamId(0), Bytes::from_static(&[2]));
    let answer = &pair.trace[0].bytes;
    assert_eq!(answer[4..8], [0x98, 0x47, 0x93, 0x89]);
    let chunks: Vec<_> = Chunks::new(answer).map(Result::unwrap).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.kind).collect::<Vec<_>>(), [ChunkType::SACK, ChunkType::DATA]);
}

#[test]
fn both_ends_beginning_at_once_make_one_association_whichever_packet_is_lost() {
    for (lost, repeated) in (0..10).flat_map(|lost| [(lost, 99), (99, lost)]) {
        let mut pair = Pair::new();
        let mut count = 0;
        pair.rule = Box::new(move |_| {
            count += 1;
            match count - 1 {
                n if n == lost => Verdict::Drop,
                n if n == repeated => Verdict::Repeat(35 * MS),
                _ => Verdict::Pass,
            }
        });
        let now = pair.now;
        pair.ends[0].connect(now);
        pair.ends[1].connect(now);
        pair.send(0, StreamId(0), "there");
        pair.send(1, StreamId(1), "back");
        pair.run_until(Duration::from_secs(30), |pair| pair.received.iter().all(|received| received.len() == 1));
        pair.run_for(Duration::from_secs(5));
        for end in 0..2 {
            assert_eq!(pair.ends[end].state(), State::Established, "lost {lost}, repeated {repeated}");
            let begun =
                pair.events[end].iter().filter(|event| !matches!(event, AssociationEvent::BufferedAmountLow(_)));
            assert!(matches!(begun.collect::<Vec<_>>()[..], [AssociationEvent::Connected]), "{:?}", pair.events);
        }
    }
}
