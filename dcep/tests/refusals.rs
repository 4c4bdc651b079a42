//! Channels that exist at one end only for a while: refused, half opened, or opened while the id is being reset. Both
//! ends end them, or neither does (RFC 8832 §6).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::cell::Cell;
use std::time::Duration;

use narrowboat_dcep::{ChannelError, ChannelOptions, ChannelsEvent, ReadyState};
use pair::packet::{RE_CONFIG, SACK};
use pair::{A, B, Fate, Packet, Pair, Setup, Side, texts};

/// Steps of the opener after its OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    Waits,
    Sends,
    Closes,
    SendsAndCloses,
    SendsAndForgets,
}

/// Packets that the network loses.
#[derive(Clone, Copy, Debug)]
enum Lost {
    Nothing,
    FirstData(Side),
    First(Side, u8),
    All(Side, Duration),
}

fn is_lost(lost: Lost, packet: &Packet, once: &Cell<bool>) -> bool {
    match lost {
        Lost::Nothing => false,
        Lost::FirstData(side) => packet.from == side && packet.has_data() && !once.replace(true),
        Lost::First(side, kind) => packet.from == side && packet.has(kind) && !once.replace(true),
        Lost::All(side, _) => packet.from == side,
    }
}

const FAULTS: [Lost; 11] = [
    Lost::Nothing,
    Lost::FirstData(A),
    Lost::FirstData(B),
    Lost::First(A, SACK),
    Lost::First(B, SACK),
    Lost::First(A, RE_CONFIG),
    Lost::First(B, RE_CONFIG),
    Lost::All(A, Duration::from_secs(25)),
    Lost::All(A, Duration::from_secs(40)),
    Lost::All(B, Duration::from_secs(25)),
    Lost::All(B, Duration::from_secs(40)),
];

const OPENERS: [Opener; 5] =
    [Opener::Waits, Opener::Sends, Opener::Closes, Opener::SendsAndCloses, Opener::SendsAndForgets];

/// A opens a channel under this fault and does what the opener does; then time passes and the network heals.
fn open(pair: &mut Pair, opener: Opener, lost: Lost, label: &str) -> narrowboat_dcep::ChannelId {
    let once = Cell::new(false);
    pair.network(move |packet| if is_lost(lost, packet, &once) { Fate::Drop } else { Fate::Deliver });
    let id = pair.open(A, ChannelOptions::new(label));
    if !matches!(opener, Opener::Waits | Opener::Closes) {
        pair.send(A, id, "is anybody there?");
    }
    match opener {
        Opener::Waits | Opener::Sends => {}
        Opener::Closes | Opener::SendsAndCloses => pair.close(A, id),
        Opener::SendsAndForgets => pair.forget(A, id),
    }
    if let Lost::All(_, time) = lost {
        pair.run_for(time);
        pair.heal();
    }
    pair.run_for(Duration::from_secs(20));
    id
}

#[test]
fn a_refused_channel_ends_with_an_error_whatever_its_opener_did_meanwhile() {
    for lost in FAULTS {
        for opener in OPENERS {
            for (label, limit) in [("", "channels"), ("a label that is too long", "labels")] {
                let mut setup = Setup::default();
                setup.channels[1].channels_max = if limit == "channels" { 1 } else { 100 };
                setup.channels[1].peer_label_bytes_max = 10;
                let mut pair = Pair::connected_with(setup);
                let (first, there) = pair.channel_with(ChannelOptions::new("first"));
                pair.clear_events();
                let id = open(&mut pair, opener, lost, label);
                let case = format!("{lost:?}, {opener:?}, {limit}");
                // After 30 s the opener asks for the reset itself. If it has sent nothing, it does not matter who
                // began.
                let is_late = matches!((lost, opener), (Lost::All(..), Opener::Closes));
                let closed = pair.closed(A, id);
                let is_refused = closed == Some(Some(ChannelError::Refused));
                assert!(is_refused || is_late && closed == Some(None), "{case}: {closed:?}");
                assert!(!pair[B].events.iter().any(|event| matches!(event, ChannelsEvent::Incoming(_))), "{case}");
                assert_eq!([A, B].map(|side| pair[side].channels.streams_in_use()), [1, 1], "{case}");
                // The other channel has not noticed, and the id serves again.
                pair.send(A, first, "well");
                pair.run();
                assert_eq!(texts(&pair.recv_all(B, there)), ["well"], "{case}");
            }
        }
    }
}

#[test]
fn an_accepted_channel_is_open_or_closed_at_both_ends() {
    for lost in FAULTS {
        for opener in OPENERS {
            let mut pair = Pair::connected();
            let id = open(&mut pair, opener, lost, "x");
            let case = format!("{lost:?}, {opener:?}");
            let there = pair.incoming(B);
            if matches!(opener, Opener::Waits | Opener::Sends) {
                assert_eq!([pair.state(A, id), pair.state(B, there)], [Some(ReadyState::Open); 2], "{case}");
                pair.close(B, there);
                pair.run();
            }
            assert_eq!([pair.closed(A, id), pair.closed(B, there)], [Some(None), Some(None)], "{case}");
            let sent = !matches!(opener, Opener::Waits | Opener::Closes);
            assert_eq!(pair.recv_all(B, there).len(), usize::from(sent), "{case}");
            pair.forget_all(&[(A, id), (B, there)]);
            pair.assert_nothing_left();
        }
    }
}

/// B opens its next channel on an id as soon as it is free there, which A learns later.
#[test]
fn an_open_during_the_reset_of_the_same_id_makes_a_channel_at_both_ends_or_at_none() {
    for lost in FAULTS {
        let setup = Setup::default().sctp(|config| (config.inbound_streams, config.outbound_streams) = (2, 2));
        let mut pair = Pair::connected_with(setup);
        let (first, there) = pair.channel();
        let once = Cell::new(false);
        pair.network(move |packet| if is_lost(lost, packet, &once) { Fate::Drop } else { Fate::Deliver });
        pair.close(B, there);
        let is_free = |pair: &mut Pair| pair.try_open(A, ChannelOptions::new("next")).is_ok();
        if let Lost::All(_, time) = lost {
            pair.run_for(time);
            pair.heal();
        }
        pair.run_until(Duration::from_secs(60), is_free);
        pair.run_for(Duration::from_secs(20));
        assert_eq!([pair.closed(A, first), pair.closed(B, there)], [Some(None), Some(None)], "{lost:?}");
        let next = pair.incoming(B);
        pair.send(B, next, "well");
        pair.run();
        let opened = pair[A].events.iter().rev().find_map(|event| match event {
            ChannelsEvent::Open(id) => Some(*id),
            _ => None,
        });
        assert_eq!(opened.map(|id| texts(&pair.recv_all(A, id)) == ["well"]), Some(true), "{lost:?}");
    }
}
