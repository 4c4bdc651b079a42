//! The transport of one association with the router above it, a clock and datagrams made by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::{Ecn, TransportFailure};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Context, Secure};
use crate::endpoint::Findings;
use crate::socket::{Datagram, Route};
use crate::webrtc::Reachability;
use crate::webrtc::direct::{ClientCredentials, Prefixes};
use crate::webrtc::dtls::Versions;
use crate::webrtc::dtls::tests::link::{PASSIVE, connected, parameters};
use crate::webrtc::ice::ControllingAgent;
use crate::webrtc::router::{Destination, Router};
use crate::webrtc::stats::SecureCounters;
use crate::webrtc::stun::{Class, Message};

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 4000);
const MOVED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5000);

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 200], 443))
}

fn context(now: Instant) -> Arc<Context> {
    Arc::new(Context {
        parameters: parameters(PASSIVE, Versions::Both),
        prefixes: Prefixes::default(),
        counters: Arc::new(SecureCounters::default()),
        reachability: Reachability::new(now, &[3; 32]),
    })
}

fn datagram(remote: SocketAddr, bytes: &[u8]) -> Datagram {
    Datagram { route: Route { remote, local: None }, ecn: Ecn::NotCe, bytes: Bytes::copy_from_slice(bytes) }
}

/// A server whose only peer has come without signalling, from [`CLIENT`], and has finished its handshake.
struct Server {
    now: Instant,
    router: Router,
    secure: Secure,
    failure: Option<TransportFailure>,
}

impl Server {
    fn new() -> Self {
        let now = Instant::now();
        let mut router = Router::new(Arc::new(SecureCounters::default()));
        let handle = router.insert_direct(now, CLIENT);
        let route = Route { remote: CLIENT, local: None };
        let secure = Secure::direct(now, handle, context(now), route, Box::new(connected(Versions::Both)));
        Self { now, router, secure, failure: None }
    }

    /// What an endpoint does with a datagram. Returns the answers that go back to its source, and true if it was for the
    /// association.
    fn handle(&mut self, source: SocketAddr, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut findings = Findings::default();
        let Destination::Peer(_, input) = self.router.route(self.now, datagram(source, bytes)) else {
            return (Vec::new(), false);
        };
        let progress = self.secure.receive(self.now, std::iter::once(input), &mut Vec::new(), &mut findings);
        self.failure = self.failure.take().or(progress.failure);
        for learned in findings.learned.drain(..) {
            self.router.learn(self.now, learned.handle, learned.address, learned.evicted);
        }
        for (handle, naming) in findings.named.drain(..) {
            self.router.name(handle, naming);
        }
        let answers = findings.answers.take();
        assert!(answers.iter().all(|(route, _)| route.remote == source), "answers go back to the source");
        (answers.into_iter().map(|(_, answer)| answer).collect(), true)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let (progress, _) = self.secure.turn(self.now, &mut Vec::new());
        self.failure = self.failure.take().or(progress.failure);
    }
}

/// A client that checks with credentials of its own.
struct Client {
    agent: ControllingAgent,
}

impl Client {
    fn new(now: Instant, seed: u64) -> Self {
        let ClientCredentials { local, remote } = ClientCredentials::generate(&mut StdRng::seed_from_u64(seed));
        let agent = ControllingAgent::new(now, local, remote, &[server_address()], [1; 32]);
        Self { agent }
    }

    fn check(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.agent.poll_transmit(now, &mut out).map(|_| out)
    }

    /// Takes what the server sends; returns the answers to its questions.
    fn handle(&mut self, now: Instant, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for bytes in datagrams {
            let message = Message::parse(bytes).expect("a message");
            if message.class == Class::Request {
                let mut answer = Vec::new();
                self.agent.handle_request(server_address(), &message, &mut answer).expect("a right question");
                answers.push(answer);
            } else {
                self.agent.handle_response(now, server_address(), &message).expect("a right answer");
            }
        }
        answers
    }
}

/// Runs the checks of the client from `source` for a while. Returns how many were made and how many were for the
/// association.
fn run(server: &mut Server, client: &mut Client, source: SocketAddr, seconds: u64, answers: bool) -> (u32, u32) {
    let (mut made, mut taken) = (0, 0);
    for _ in 0..seconds * 10 {
        while let Some(check) = client.check(server.now) {
            let (out, is_taken) = server.handle(source, &check);
            made += 1;
            taken += u32::from(is_taken);
            for answer in client.handle(server.now, &out) {
                if answers {
                    server.handle(source, &answer);
                }
            }
        }
        server.pass(Duration::from_millis(100));
    }
    (made, taken)
}

#[test]
fn k15_checks_forged_in_the_name_of_a_peer_take_nothing_from_its_own() {
    for answers in [true, false] {
        let mut server = Server::new();
        let mut attacker = Client::new(server.now, 66);
        let mut client = Client::new(server.now + Duration::from_secs(2), 1);
        let forged = attacker.check(server.now).expect("a check");
        for _ in 0..3 {
            let (out, _) = server.handle(CLIENT, &forged);
            assert!(out.iter().map(Vec::len).sum::<usize>() <= 3 * forged.len());
        }
        let (made, taken) = run(&mut server, &mut client, CLIENT, 60, answers);
        assert!(made > 10);
        assert_eq!((taken, &server.failure), (made, &None), "answers: {answers}");
        // The peer is followed to another port, and the attacker's name leads nowhere.
        let (made, taken) = run(&mut server, &mut client, MOVED, 40, answers);
        assert_eq!((taken, &server.failure), (made, &None), "answers: {answers}");
        assert_eq!(server.handle(MOVED, &forged).1, !answers, "forgotten once the peer has confirmed its own");
    }
}

#[test]
fn k15_a_flood_of_forged_names_pushes_out_no_peer_that_checks() {
    let mut server = Server::new();
    let mut client = Client::new(server.now, 1);
    for seed in 100..140 {
        let mut attacker = Client::new(server.now, seed);
        let forged = attacker.check(server.now).expect("a check");
        server.handle(CLIENT, &forged);
        let (made, taken) = run(&mut server, &mut client, CLIENT, 1, false);
        assert_eq!(taken, made);
    }
    assert_eq!(server.failure, None);
    let (made, taken) = run(&mut server, &mut client, CLIENT, 10, true);
    assert!(made > 0 && taken == made);
    server.router.check_consistency();
}

#[test]
fn k15_only_who_receives_the_question_confirms_a_name() {
    let mut server = Server::new();
    let mut attacker = Client::new(server.now, 66);
    let forged = attacker.check(server.now).expect("a check");
    let (out, _) = server.handle(CLIENT, &forged);
    let question = out.iter().find(|bytes| bytes[0] == 0).expect("a question");
    // An answer to another transaction, signed with the right password, from the right address.
    let mut other = question.clone();
    other[8] ^= 1;
    let crc = crc32fast::hash(&other[..other.len() - 8]) ^ 0x5354_554E;
    let end = other.len();
    other[end - 4..].copy_from_slice(&crc.to_be_bytes());
    let message = Message::parse(&other).expect("a message");
    let mut answer = Vec::new();
    let ClientCredentials { local, .. } = ClientCredentials::generate(&mut StdRng::seed_from_u64(66));
    let key = crate::webrtc::stun::Key::new(local.pwd());
    crate::webrtc::ice::accept(&message, server_address(), &key, &mut answer);
    server.handle(CLIENT, &answer);
    let mut client = Client::new(server.now, 1);
    let (made, taken) = run(&mut server, &mut client, CLIENT, 40, true);
    assert_eq!((taken, &server.failure), (made, &None));
}

#[test]
fn a_peer_that_never_checks_again_is_given_up_after_thirty_seconds() {
    let mut server = Server::new();
    server.pass(Duration::from_millis(29_999));
    assert_eq!(server.failure, None);
    server.pass(Duration::from_millis(1));
    assert_eq!(server.failure, Some(TransportFailure::ConsentExpired));
}
