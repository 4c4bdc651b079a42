//! Routing by source address and by user name.

use bytes::Bytes;

use super::datagrams::NEWCOMER_KEPT_FOR;
use super::*;
use crate::net::{Datagram, Route, RouteTarget};
use crate::webrtc::direct::DirectName;
use crate::webrtc::reachability::ProofSubject;
use crate::webrtc::stun::{Class, Key, StunMessage, StunWriter, TransactionId, Username};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn datagram(port: u16, bytes: &[u8]) -> Datagram {
    let route = Route { remote: address(port), local: None };
    Datagram { route, bytes: Bytes::copy_from_slice(bytes) }
}

fn check(port: u16, ufrag: &str) -> Datagram {
    let mut bytes = Vec::new();
    let username = Username { to: ufrag, from: "theirs" };
    let writer = StunWriter::new(&mut bytes, Class::Request, TransactionId([7; 12])).username(username);
    writer.finish(Some(&Key::new("a password of some length")));
    datagram(port, &bytes)
}

fn record(port: u16) -> Datagram {
    datagram(port, &[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7])
}

fn hello(port: u16) -> Datagram {
    datagram(port, &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
}

fn peer(destination: &RouteTarget) -> Option<u64> {
    match destination {
        RouteTarget::Peer(handle, _) | RouteTarget::PeerOrNewcomer(handle, _) => Some(handle.0),
        RouteTarget::Stranger(_) | RouteTarget::Nobody => None,
    }
}

fn router() -> SecureRouter {
    SecureRouter::new(Arc::new(SecureCounters::default()), Reachability::new(Instant::now(), &[3; 32]))
}

#[test]
fn checks_find_their_peer_by_name_and_records_by_address_until_it_is_gone() {
    let (mut router, now) = (router(), Instant::now());
    let handle = router.insert_signalled("ours");
    assert_eq!(peer(&router.route(now, check(1, "ours"))), Some(handle.0));
    assert!(matches!(router.route(now, record(1)), RouteTarget::Stranger(_)), "no check has come from there");
    router.learn(now, handle, address(1), None);
    router.learn(now, handle, address(2), Some(address(1)));
    assert!(matches!(router.route(now, record(1)), RouteTarget::Stranger(_)), "it had to make room");
    assert_eq!(peer(&router.route(now, record(2))), Some(handle.0));
    assert!(matches!(router.route(now, check(2, "else")), RouteTarget::Stranger(_)));
    assert_eq!((router.pending(), router.len()), (1, 1));
    router.on_connected(handle);
    router.on_connected(handle);
    router.check_consistency();
    router.remove(handle);
    router.check_consistency();
    assert!(matches!(router.route(now, record(2)), RouteTarget::Stranger(_)));
    assert_eq!((router.pending(), router.len(), router.by_ufrag.len()), (0, 0, 0));
}

#[test]
fn an_address_stays_with_the_peer_that_checks_from_it_and_goes_to_another_when_it_stops() {
    let (mut router, start) = (router(), Instant::now());
    let (one, two) = (router.insert_signalled("ours"), router.insert_signalled("mine"));
    router.learn(start, one, address(1), None);
    let later = start + Duration::from_secs(12);
    let _ = router.route(later, check(1, "ours"));
    router.learn(later + Duration::from_secs(12), two, address(1), None);
    assert_eq!(peer(&router.route(later, record(1))), Some(one.0));
    assert_eq!(router.counters.stats().address_conflicts, 1);
    router.learn(later + ADDRESS_KEPT_FOR, two, address(1), None);
    assert_eq!(peer(&router.route(later, record(1))), Some(two.0));
    router.check_consistency();
    router.remove(one);
    assert_eq!(peer(&router.route(later, record(1))), Some(two.0));
}

#[test]
fn a_hello_from_where_a_peer_without_signalling_was_may_be_another_peers() {
    let (mut router, now) = (router(), Instant::now());
    let old = router.insert_direct(now, address(1));
    // A handshake in the clear, in the epoch of DTLS 1.2, and in that of 1.3.
    let flights: [&[u8]; 3] = [&[22, 254, 253, 0, 0, 0], &[22, 254, 253, 0, 1, 0], &[0x2e, 1, 2, 3]];
    let is_for_both = |router: &mut SecureRouter, flight| matches!(router.route(now, datagram(1, flight)), RouteTarget::PeerOrNewcomer(handle, _) if handle == old);
    assert!(flights.iter().all(|flight| !is_for_both(&mut router, flight)), "nobody else has begun");
    assert!(matches!(router.route(now, hello(1)), RouteTarget::Stranger(_)));
    assert!(flights.iter().all(|flight| is_for_both(&mut router, flight)));
    assert!(matches!(router.route(now, record(1)), RouteTarget::Peer(..)), "a newcomer has no data to send yet");
    assert!(matches!(router.route(now, datagram(1, &[0x2f, 1, 2])), RouteTarget::Peer(..)), "nor in DTLS 1.3");
    let unnamed = router.route(now, check(1, "narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(peer(&unnamed), Some(old.0), "its first check says what it is called");
    router.name(old, UfragClaim::Confirmed { ufrag: "narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa".into() });
    assert_eq!(peer(&router.route(now, check(9, "narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa"))), Some(old.0));
    let new = router.insert_direct(now, address(1));
    assert_eq!(peer(&router.route(now, record(1))), Some(new.0));
    assert_eq!(router.count_at(address(1).ip()), 2);
    router.check_consistency();
    for handle in [old, new, new] {
        router.remove(handle);
        router.check_consistency();
    }
    assert_eq!(router.count_at(address(1).ip()), 0);
}

#[test]
fn k18_a_peer_with_signalling_that_checks_from_elsewhere_takes_no_hello_of_a_newcomer_there() {
    let (mut router, now) = (router(), Instant::now());
    let handle = router.insert_signalled("ours");
    router.learn(now, handle, address(1), None);
    assert_eq!(peer(&router.route(now, hello(1))), Some(handle.0), "it has yet to begin");
    router.on_connected(handle);
    router.learn(now, handle, address(2), None);
    assert!(matches!(router.route(now, hello(2)), RouteTarget::Stranger(_)));
    assert_eq!(peer(&router.route(now, record(1))), Some(handle.0));
    let newcomer = router.insert_direct(now, address(2));
    assert_eq!(peer(&router.route(now, record(2))), Some(newcomer.0));
    router.learn(now, handle, address(2), None);
    assert_eq!(peer(&router.route(now, record(2))), Some(newcomer.0), "and keeps its address");
    router.check_consistency();
}

#[test]
fn k18_answers_that_lead_to_nothing_make_room_the_oldest_without_a_check_first() {
    let (mut router, now) = (router(), Instant::now());
    let offered = router.insert_signalled("offered");
    let handles: Vec<_> = (0..5).map(|n| router.insert_answered(&format!("peer{n}"), None)).collect();
    router.learn(now, handles[0], address(1), None);
    router.on_connected(handles[1]);
    router.remove(handles[2]);
    assert_eq!(router.displaceable(None), Some(handles[3]));
    router.remove(handles[3]);
    router.remove(handles[4]);
    assert_eq!(router.displaceable(None), Some(handles[0]), "one that has checked, if there is no other");
    router.remove(handles[0]);
    assert_eq!(router.displaceable(None), None, "not what was offered");
    assert_eq!(router.pending(), 1);
    router.remove(offered);
    for n in 0..100_000 {
        let handle = router.insert_answered(&format!("more{n}"), None);
        router.remove(handle);
    }
    assert_eq!(router.answered.iter().count(), 0, "those that have gone are not kept");
    router.check_consistency();
}

#[test]
fn k18_a_client_that_asks_for_answers_without_end_pushes_out_its_own() {
    let (mut router, now) = (router(), Instant::now());
    let source = |host: u8| Some(Source::of_ip(IpAddr::from([192, 0, 2, host])));
    let insert =
        |router: &mut SecureRouter, host, n: usize| router.insert_answered(&format!("{host}/{n}"), source(host));
    let before: Vec<_> = (2..10).map(|host| insert(&mut router, host, 0)).collect();
    // A peer gains nothing by checking: the sender of an offer can check.
    let flood: Vec<_> = (0..20).map(|n| insert(&mut router, 1, n)).collect();
    for (port, handle) in (1..).zip(&flood[..18]) {
        router.learn(now, *handle, address(port), None);
    }
    assert_eq!(router.displaceable(source(1)), Some(flood[0]), "a newer one without a check is not looked for far");
    for n in 20..5_000 {
        let displaced = router.displaceable(source(1)).expect("one that was answered");
        assert!(!before.contains(&displaced), "{n}");
        router.remove(displaced);
        let handle = insert(&mut router, 1, n);
        router.learn(now, handle, address(u16::try_from(n + 1).expect("a port")), None);
    }
    router.check_consistency();
    // A client that comes later takes a place of the flood, and so does one whose source is not known.
    for newcomer in [source(200), None] {
        let displaced = router.displaceable(newcomer).expect("one that was answered");
        assert!(!before.contains(&displaced), "{newcomer:?}");
    }
    // The oldest of the flood have gone first.
    assert!(flood.iter().all(|handle| !router.peers.contains_key(handle)));
    for host in 2..10 {
        assert_eq!(router.displaceable(source(host)).map(|handle| before.contains(&handle)), Some(false));
    }
    router.on_connected(before[0]);
    router.check_consistency();
}

#[test]
fn k18_of_clients_that_have_as_many_answers_the_one_that_asks_for_another_makes_room() {
    let (mut router, now) = (router(), Instant::now());
    let source = |host: u8| Some(Source::of_ip(IpAddr::from([192, 0, 2, host])));
    let [one, two, three] = [1, 2, 3].map(|host: u8| router.insert_answered(&format!("peer{host}"), source(host)));
    assert_eq!(router.displaceable(source(2)), Some(two));
    router.learn(now, one, address(1), None);
    assert_eq!(router.displaceable(source(4)), Some(two), "the oldest without a check");
    router.on_connected(two);
    assert_eq!(router.displaceable(source(2)), Some(three));
    router.check_consistency();
}

#[test]
fn whom_this_end_asks_is_known_by_address_and_by_nobody_else() {
    let (mut router, now) = (router(), Instant::now());
    let handle = router.insert_asked(now, &[address(1), address(2)], "mine").expect("nobody is there");
    assert_eq!(router.insert_asked(now, &[address(3), address(2)], "other"), Err(address(2)));
    assert_eq!(peer(&router.route(now, hello(1))), Some(handle.0), "only strangers begin");
    assert_eq!(peer(&router.route(now, check(1, "mine"))), Some(handle.0), "it may ask in return");
    router.check_consistency();
}

/// Returns a response from `port` to a question about `subject`.
fn answer(router: &SecureRouter, now: Instant, port: u16, subject: ProofSubject<'_>) -> Datagram {
    let mut question = Vec::new();
    let name = DirectName { server: "ours", client_ufrag: "theirs", client_pwd: "a password of some length" };
    router.reachability.ask(now, address(port), &name, subject, &mut question);
    let id = StunMessage::parse(&question).expect("a message").transaction_id;
    let mut bytes = Vec::new();
    StunWriter::new(&mut bytes, Class::Success, id).finish(None);
    datagram(port, &bytes)
}

fn is_contested(destination: &RouteTarget) -> bool {
    match destination {
        RouteTarget::Peer(_, input) => input.is_contested,
        RouteTarget::Stranger(stranger) => stranger.is_contested,
        RouteTarget::PeerOrNewcomer(..) | RouteTarget::Nobody => false,
    }
}

#[test]
fn k22_a_contested_address_is_that_peers_which_answers_a_question_there() {
    for is_connected in [false, true] {
        let (mut router, now) = (router(), Instant::now());
        let forger = router.insert_signalled("forger");
        router.learn(now, forger, address(1), None);
        if is_connected {
            router.on_connected(forger);
        }
        let honest = router.insert_signalled("honest");
        assert!(is_contested(&router.route(now, check(1, "honest"))), "it is asked whether it is there");
        assert!(!is_contested(&router.route(now, check(2, "honest"))), "nobody else is there");
        router.learn(now, honest, address(1), None);
        let elsewhere = answer(&router, now, 2, ProofSubject::Peer(honest));
        for wrong in [ProofSubject::Peer(forger), ProofSubject::Peer(AssociationHandle(77)), ProofSubject::Ufrag("x")] {
            let wrong = answer(&router, now, 1, wrong);
            let _ = router.route(now, wrong);
        }
        let mut forged = answer(&router, now, 2, ProofSubject::Peer(honest));
        forged.route.remote = address(1);
        for datagram in [elsewhere, forged] {
            let _ = router.route(now, datagram);
            assert_eq!(peer(&router.route(now, record(1))), Some(forger.0));
        }
        let proof = answer(&router, now, 1, ProofSubject::Peer(honest));
        assert!(matches!(router.route(now, proof), RouteTarget::Nobody));
        assert_eq!(peer(&router.route(now, hello(1))), Some(honest.0));
        router.learn(now, forger, address(1), None);
        assert!(is_contested(&router.route(now, check(1, "forger"))));
        assert_eq!(peer(&router.route(now, hello(1))), Some(honest.0), "more forged checks change nothing");
        router.check_consistency();
    }
}

#[test]
fn k22_a_claimed_address_is_a_newcomers_who_answers_a_question_there() {
    let (mut router, now) = (router(), Instant::now());
    let forger = router.insert_signalled("forger");
    router.learn(now, forger, address(1), None);
    assert!(is_contested(&router.route(now, check(1, "narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa"))));
    assert_eq!(peer(&router.route(now, hello(1))), Some(forger.0), "nobody else has shown to be there");
    let proof = answer(&router, now, 1, ProofSubject::Address);
    assert!(is_contested(&router.route(now, proof)), "the direct listener sees it, too");
    for datagram in [hello(1), record(1), hello(1)] {
        assert!(matches!(router.route(now, datagram), RouteTarget::Stranger(_)));
        assert_eq!(peer(&router.route(now, check(1, "forger"))), Some(forger.0));
        router.learn(now, forger, address(1), None);
    }
    assert_eq!(peer(&router.route(now + NEWCOMER_KEPT_FOR, hello(1))), Some(forger.0));
    let newcomer = router.insert_direct(now, address(1));
    router.learn(now, forger, address(1), None);
    assert_eq!(peer(&router.route(now, check(1, "forger"))), Some(newcomer.0));
    router.check_consistency();
}

#[test]
fn k22_a_claimed_address_can_be_asked() {
    let (mut router, now) = (router(), Instant::now());
    let forger = router.insert_signalled("forger");
    router.learn(now, forger, address(1), None);
    let asked = router.insert_asked(now, &[address(1)], "mine").expect("nobody is connected there");
    router.learn(now, forger, address(1), None);
    assert_eq!(peer(&router.route(now, hello(1))), Some(asked.0));
    assert!(!is_contested(&router.route(now, check(1, "forger"))));
    router.check_consistency();
}

#[test]
fn a_question_finds_its_peer_after_four_billion_others() {
    let mut router = router();
    for first in [0, u64::from(u32::MAX) - 1, (9 << 32) - 1] {
        router.next = first;
        let [older, newer] = ["older", "newer"].map(|ufrag| router.insert_signalled(ufrag));
        for handle in [older, newer] {
            let now = Instant::now();
            let question = answer(&router, now, 1, ProofSubject::Peer(handle));
            let id = StunMessage::parse(&question.bytes).expect("a message").transaction_id;
            assert_eq!(router.peer_of(id), Some(handle));
            router.remove(handle);
        }
    }
}
