//! The end of an association, and its new beginning: shutdown, abort, a peer that dies, a peer that comes back.

use std::time::{Duration, Instant};

use narrowboat_sctp::{AssociationConfig, AssociationEvent, CloseReason, SendOptions, State};

use crate::ours::Ours;
use crate::pair::{BINARY, Dialler, Pair};
use crate::peer::{Peer, free_udp_port};

#[test]
fn our_shutdown_delivers_what_was_accepted() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.send(1, 20_000, 50, 0, SendOptions::default());
        pair.ours.association().shutdown(Instant::now());
        pair.until("both ends have shut down", |p| p.ours.closed.is_some() && p.peer.said("shut"));
        assert_eq!(pair.ours.closed, Some(CloseReason::Shutdown));
        assert!(pair.peer.said("peer-shutdown"), "{:?}", pair.peer.reports);
        pair.peer_has(1, 20_000, 50, 0, "o");
    }
}

#[test]
fn the_peers_shutdown_delivers_what_both_ends_accepted() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.send(1, 20_000, 20, 0, SendOptions::default());
        pair.peer.tell(&format!("send 2 {BINARY} o 20000 50 0"));
        pair.peer.tell("shutdown");
        pair.until("both ends have shut down", |p| p.ours.closed.is_some() && p.peer.said("closed"));
        assert_eq!(pair.ours.closed, Some(CloseReason::Shutdown));
        pair.we_have(2, 20_000, 50, 0, false);
        pair.peer_has(1, 20_000, 20, 0, "o");
    }
}

#[test]
fn both_ends_shut_down_at_once() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.peer.tell("shutdown");
        pair.ours.association().shutdown(Instant::now());
        pair.until("both ends have shut down", |p| p.ours.closed.is_some() && p.peer.said("closed"));
        assert_eq!(pair.ours.closed, Some(CloseReason::Shutdown));
        assert!(!pair.peer.said("lost"), "{:?}", pair.peer.reports);
    }
}

#[test]
fn our_abort_reaches_the_peer() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.ours.association().abort("that is enough");
        pair.until("both ends know", |p| p.ours.closed.is_some() && p.peer.said("lost"));
        assert_eq!(pair.ours.closed, Some(CloseReason::LocalAbort));
        // RFC 9260 §3.3.10.12: User-Initiated Abort.
        assert!(pair.peer.said("lost 12"), "{:?}", pair.peer.reports);
    }
}

#[test]
fn the_peers_abort_reaches_us_with_its_reason() {
    for dialler in Dialler::EITHER {
        let mut pair = Pair::new(dialler);
        pair.peer.tell("abort had enough of this");
        pair.until("we know", |p| p.ours.closed.is_some());
        let reason = CloseReason::PeerAbort { cause: Some(12), text: "had enough of this".into() };
        assert_eq!(pair.ours.closed, Some(reason));
    }
}

#[test]
fn both_ends_dialling_at_once_make_one_association() {
    for _ in 0..5 {
        let port = free_udp_port();
        let mut ours = Ours::new(AssociationConfig::default(), 0);
        let peer = Peer::connect(port, ours.port(), &[]);
        ours.connect(port);
        let mut pair = Pair { ours, peer };
        pair.until("both ends are established", |p| p.ours.is_established() && p.peer.said("up"));
        pair.send(1, 2_000, 3, 0, SendOptions::default());
        pair.peer.tell(&format!("send 2 {BINARY} o 2000 3 0"));
        pair.peer_has(1, 2_000, 3, 0, "o");
        pair.we_have(2, 2_000, 3, 0, false);
        assert_eq!(pair.peer.times("up"), 1, "{:?}", pair.peer.reports);
        assert_eq!(pair.ours.times(|e| matches!(e, AssociationEvent::Connected)), 1, "{:?}", pair.ours.events);
    }
}

#[test]
fn a_peer_that_was_killed_is_given_up_and_one_that_never_was_too() {
    let config = AssociationConfig {
        rto_initial: Duration::from_millis(50),
        rto_min: Duration::from_millis(50),
        rto_max: Duration::from_millis(100),
        association_max_retransmits: Some(4),
        init_max_retransmits: 4,
        ..AssociationConfig::default()
    };
    let mut pair = Pair::with(Dialler::Ours, config.clone(), &[]);
    pair.peer.kill();
    pair.send(1, 100, 1, 0, SendOptions::default());
    pair.until("we know that it is gone", |p| p.ours.closed.is_some());
    assert_eq!(pair.ours.closed, Some(CloseReason::PeerUnreachable));

    let mut alone = Ours::new(config, 0);
    alone.connect(free_udp_port());
    while alone.closed.is_none() {
        alone.turn();
    }
    assert_eq!(alone.closed, Some(CloseReason::HandshakeTimedOut));
}

#[test]
fn a_peer_that_was_killed_and_comes_back_restarts_the_association() {
    let port = free_udp_port();
    let ours = Ours::new(AssociationConfig::default(), 0);
    let peer = Peer::connect(port, ours.port(), &[]);
    let mut pair = Pair { ours, peer };
    pair.until("both ends are established", |p| p.ours.is_established() && p.peer.said("up"));
    pair.peer.tell(&format!("send 2 {BINARY} o 2000 3 0"));
    pair.we_have(2, 2_000, 3, 0, false);
    pair.peer.kill();
    pair.peer = Peer::connect(port, pair.ours.port(), &[]);
    pair.until("the restart is known", |p| {
        p.peer.said("up") && p.ours.times(|e| matches!(e, AssociationEvent::Restarted)) == 1
    });
    pair.peer.tell(&format!("send 2 {BINARY} o 2000 3 7"));
    pair.we_have(2, 2_000, 3, 7, false);
    pair.send(2, 2_000, 3, 0, SendOptions::default());
    pair.peer_has(2, 2_000, 3, 0, "o");
    assert_eq!(pair.ours.closed, None);
}

#[test]
fn when_we_come_back_the_peer_restarts_the_association() {
    let port = free_udp_port();
    let mut ours = Ours::new(AssociationConfig::default(), free_udp_port());
    ours.connect(port);
    let mut pair = Pair { peer: Peer::listen(port, &[]), ours };
    pair.until("both ends are established", |p| p.ours.is_established() && p.peer.said("up"));
    pair.send(2, 2_000, 3, 0, SendOptions::default());
    pair.peer_has(2, 2_000, 3, 0, "o");
    let ours = pair.ours.port();
    pair.ours = Ours::new(AssociationConfig::default(), 0);
    pair.ours = Ours::new(AssociationConfig::default(), ours);
    pair.ours.connect(port);
    pair.until("the restart is known", |p| p.ours.is_established() && p.peer.said("restart"));
    pair.send(2, 2_000, 3, 7, SendOptions::default());
    pair.peer_has(2, 2_000, 3, 7, "o");
    assert!(pair.is(State::Established));
}

#[test]
fn a_peer_whose_partner_forgot_everything_is_told_by_an_abort() {
    // RFC 9260 §8.4 (8): an endpoint that knows nothing of an association answers with an ABORT.
    let port = free_udp_port();
    let ours = Ours::new(AssociationConfig::default(), free_udp_port());
    let peer = Peer::connect(port, ours.port(), &[]);
    let mut pair = Pair { ours, peer };
    pair.until("both ends are established", |p| p.ours.is_established() && p.peer.said("up"));
    let ours = pair.ours.port();
    pair.ours = Ours::new(AssociationConfig::default(), 0);
    pair.ours = Ours::new(AssociationConfig::default(), ours);
    pair.peer.tell(&format!("send 2 {BINARY} o 2000 1 0"));
    pair.until("usrsctp was told", |p| p.peer.said("lost"));
}
