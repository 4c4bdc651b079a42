//! The transport of one association with the router above it, a clock and datagrams made by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::TransportFailure;
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Context, DatagramSizes, SecureSession};
use crate::net::{BatchEffects, Datagram, Input, Route, RouteTarget};
use crate::webrtc::Reachability;
use crate::webrtc::direct::{ClientCredentials, Prefixes};
use crate::webrtc::dtls::tests::link::{ACTIVE, PASSIVE, connected, parameters};
use crate::webrtc::dtls::{Dtls, ExpectedPeer, SetupRole, Versions};
use crate::webrtc::ice::{ControllingAgent, Credentials};
use crate::webrtc::reachability::ProofSubject;
use crate::webrtc::router::SecureRouter;
use crate::webrtc::stats::SecureCounters;
use crate::webrtc::stun::{Class, Key, StunMessage, StunWriter, TransactionId, Username};

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 4000);
const MOVED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5000);

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 200], 443))
}

/// Returns the context of sessions that await a hello.
pub(crate) fn context(now: Instant) -> Arc<Context> {
    Arc::new(Context {
        parameters: parameters(PASSIVE, Versions::Both),
        prefixes: Prefixes::default(),
        counters: Arc::new(SecureCounters::default()),
        consent_timeout: crate::webrtc::ice::CONSENT_TIMEOUT,
        sizes: DatagramSizes { first: 1172, max: 2048 },
        reachability: Reachability::new(now, &[3; 32]),
    })
}

fn datagram(remote: SocketAddr, bytes: &[u8]) -> Datagram {
    Datagram { route: Route { remote, local: None }, bytes: Bytes::copy_from_slice(bytes) }
}

/// A server whose only peer has come without signalling, from [`CLIENT`], and has finished its handshake.
struct Server {
    now: Instant,
    router: SecureRouter,
    session: SecureSession,
    failure: Option<TransportFailure>,
}

impl Server {
    fn new() -> Self {
        let now = Instant::now();
        let mut router = SecureRouter::new(Arc::new(SecureCounters::default()), Reachability::new(now, &[3; 32]));
        let handle = router.insert_direct(now, CLIENT);
        let route = Route { remote: CLIENT, local: None };
        let session = SecureSession::direct(now, handle, context(now), route, Box::new(connected(Versions::Both)));
        Self { now, router, session, failure: None }
    }

    /// Handles a datagram as an endpoint does. Returns the answers that go back to its source, and true if the datagram
    /// was for the association.
    fn handle(&mut self, source: SocketAddr, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut effects = BatchEffects::default();
        let RouteTarget::Peer(_, input) = self.router.route(self.now, datagram(source, bytes)) else {
            return (Vec::new(), false);
        };
        let progress = self.session.receive(self.now, std::iter::once(input), &mut Vec::new(), &mut effects);
        self.failure = self.failure.take().or(progress.failure);
        for learned in effects.learned.drain(..) {
            self.router.learn(self.now, learned.handle, learned.address, learned.evicted);
        }
        for (handle, naming) in effects.named.drain(..) {
            self.router.name(handle, naming);
        }
        let answers = effects.answers.take();
        assert!(answers.iter().all(|(route, _)| route.remote == source), "answers go back to the source");
        (answers.into_iter().map(|(_, answer)| answer).collect(), true)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let (progress, _) = self.session.turn(self.now, &mut Vec::new());
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
        let agent = ControllingAgent::new(
            now,
            local,
            remote,
            &[server_address()],
            crate::webrtc::ice::CONSENT_TIMEOUT,
            [1; 32],
        );
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
            let message = StunMessage::parse(bytes).expect("a message");
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
    let message = StunMessage::parse(&other).expect("a message");
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

/// A peer with signalling whose description is here, and that has not come.
struct Signalled {
    now: Instant,
    session: SecureSession,
    is_connected: bool,
    failure: Option<TransportFailure>,
    received: usize,
    sent: usize,
}

impl Signalled {
    fn new(role: SetupRole, expected: ExpectedPeer) -> Self {
        let now = Instant::now();
        let mut router = SecureRouter::new(Arc::new(SecureCounters::default()), Reachability::new(now, &[3; 32]));
        let handle = router.insert_signalled("ours");
        let local = Credentials::new("ours", "ourpasswordourpassword").expect("valid");
        let mut session = SecureSession::lite(now, handle, context(now), local, Duration::from_secs(40));
        let peer = Credentials::new("theirs", "theirpasswordtheirpassword").expect("valid");
        session.describe(now, role, expected, peer);
        Self { now, session, is_connected: false, failure: None, received: 0, sent: 0 }
    }

    /// Takes a datagram in; returns what is sent.
    fn handle(&mut self, input: Input) -> Vec<Vec<u8>> {
        self.received += input.datagram.bytes.len();
        let mut effects = BatchEffects::default();
        let progress = self.session.receive(self.now, std::iter::once(input), &mut Vec::new(), &mut effects);
        self.is_connected |= progress.is_connected;
        self.failure = self.failure.take().or(progress.failure);
        let mut out: Vec<Vec<u8>> = effects.answers.take().into_iter().map(|(_, answer)| answer).collect();
        self.sent += out.iter().map(Vec::len).sum::<usize>();
        out.extend(self.pass(Duration::ZERO));
        out
    }

    fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.now += time;
        let mut outgoing = Vec::new();
        let (progress, _) = self.session.turn(self.now, &mut outgoing);
        self.failure = self.failure.take().or(progress.failure);
        let out: Vec<Vec<u8>> = outgoing.into_iter().map(|(_, datagram)| datagram).collect();
        self.sent += out.iter().map(Vec::len).sum::<usize>();
        out
    }

    fn check(&self) -> Input {
        let mut out = Vec::new();
        let username = Username { to: "ours", from: "theirs" };
        let check = StunWriter::new(&mut out, Class::Request, TransactionId([7; 12])).username(username).priority(1);
        check.controlling(2).use_candidate().finish(Some(&Key::new("ourpasswordourpassword")));
        Input::new(datagram(CLIENT, &out))
    }
}

/// A host that knows the signalled credentials can check, and send a hello, in the name of an address of another.
#[test]
fn k02_an_address_that_never_answered_gets_three_bytes_for_each_of_its_own_whoever_begins() {
    for versions in [Versions::Both, Versions::Only12] {
        let mut peer =
            Dtls::new(Instant::now(), parameters(ACTIVE, versions), SetupRole::Active, ExpectedPeer::Anyone, false);
        let hello = peer.poll_transmit().expect("a hello");
        for (role, checks, hellos) in [
            (SetupRole::Active, 1, 0),
            (SetupRole::Active, 5, 0),
            (SetupRole::Passive, 1, 0),
            (SetupRole::Passive, 1, 1),
            (SetupRole::Passive, 3, 3),
        ] {
            let mut server = Signalled::new(role, ExpectedPeer::Anyone);
            for _ in 0..checks {
                let check = server.check();
                server.handle(check);
            }
            for _ in 0..hellos {
                server.handle(Input::new(datagram(CLIENT, &hello)));
            }
            for _ in 0..700 {
                server.pass(Duration::from_millis(100));
            }
            let (sent, received) = (server.sent, server.received);
            assert!(sent <= 3 * received, "{role:?} {versions:?}: {sent} bytes for {received}");
            assert!(sent > 0 && server.failure.is_some());
        }
    }
}

#[test]
fn k02_an_honest_peer_connects_within_that_limit_whoever_begins() {
    for versions in [Versions::Both, Versions::Only12] {
        for role in [SetupRole::Active, SetupRole::Passive] {
            let mut server = Signalled::new(role, ExpectedPeer::Anyone);
            let other = if role == SetupRole::Active { SetupRole::Passive } else { SetupRole::Active };
            let mut peer = Dtls::new(server.now, parameters(ACTIVE, versions), other, ExpectedPeer::Anyone, false);
            let mut milliseconds = 0;
            while !server.is_connected {
                assert!(milliseconds < 1000, "{role:?} {versions:?}: {:?}", server.failure);
                let mut inputs = Vec::new();
                // As Chromium checks at first.
                if milliseconds % 50 == 0 {
                    inputs.push(server.check());
                }
                if milliseconds > 0 {
                    inputs
                        .extend(std::iter::from_fn(|| peer.poll_transmit()).map(|d| Input::new(datagram(CLIENT, &d))));
                }
                let mut out: Vec<_> = inputs.into_iter().flat_map(|input| server.handle(input)).collect();
                out.extend(server.pass(Duration::from_millis(10)));
                milliseconds += 10;
                for bytes in out.iter().filter(|bytes| bytes[0] >= 20) {
                    peer.handle_datagram(server.now, bytes);
                }
                if peer.poll_timeout().is_some_and(|at| at <= server.now) {
                    peer.handle_timeout(server.now);
                }
            }
        }
    }
}

/// A service on all addresses would answer from another one than the peer has asked, where a firewall stops it.
#[test]
fn flights_leave_from_the_address_that_the_peer_uses_the_repeated_ones_too() {
    let local = Some(std::net::IpAddr::from([192, 0, 2, 200]));
    for role in [SetupRole::Active, SetupRole::Passive] {
        let mut server = Signalled::new(role, ExpectedPeer::Anyone);
        let mut peer =
            Dtls::new(server.now, parameters(ACTIVE, Versions::Both), SetupRole::Active, ExpectedPeer::Anyone, false);
        let mut inputs = vec![server.check()];
        inputs.extend(peer.poll_transmit().map(|hello| Input::new(datagram(CLIENT, &hello))));
        for mut input in inputs {
            input.datagram.route.local = local;
            let progress = server.session.receive(
                server.now,
                std::iter::once(input),
                &mut Vec::new(),
                &mut BatchEffects::default(),
            );
            assert!(progress.failure.is_none());
        }
        let mut outgoing = Vec::new();
        for _ in 0..30 {
            server.now += Duration::from_millis(50);
            server.session.turn(server.now, &mut outgoing);
        }
        let routes: Vec<_> = outgoing.iter().filter(|(_, sent)| sent[0] >= 20).map(|(route, _)| *route).collect();
        assert!(routes.len() > 1, "{role:?}: {} flights, none repeated", routes.len());
        assert!(routes.iter().all(|route| (route.remote, route.local) == (CLIENT, local)), "{role:?}: {routes:?}");
    }
}

#[test]
fn k22_a_contested_check_is_answered_after_a_question_that_only_the_peer_can_read() {
    let mut server = Signalled::new(SetupRole::Passive, ExpectedPeer::Anyone);
    let check = server.check().datagram;
    let out = server.handle(Input { datagram: check.clone(), is_contested: true });
    let [question, answer] = [&out[0], &out[1]].map(|bytes| StunMessage::parse(bytes).expect("a message"));
    assert_eq!((question.class, answer.class), (Class::Request, Class::Success));
    assert_eq!(question.ice_username(), Some(Username { to: "theirs", from: "ours" }));
    assert!(Key::new("theirpasswordtheirpassword").has_signed(&question));
    let reachability = Reachability::new(server.now, &[3; 32]);
    let subject = ProofSubject::Peer(server.session.handle);
    assert!(reachability.is_proof(server.now, CLIENT, subject, question.transaction_id));
    assert!(server.sent <= 3 * check.bytes.len(), "{} bytes for {}", server.sent, check.bytes.len());
    // A check without the right password causes no question.
    let mut wrong = Vec::new();
    let username = Username { to: "ours", from: "theirs" };
    let writer = StunWriter::new(&mut wrong, Class::Request, TransactionId([7; 12])).username(username).priority(1);
    writer.controlling(2).finish(Some(&Key::new("not our password, not at all")));
    let out = server.handle(Input { datagram: datagram(CLIENT, &wrong), is_contested: true });
    assert_eq!(out.len(), 1);
    assert_eq!(StunMessage::parse(&out[0]).expect("a message").class, Class::Error);
}
