//! Peers of all kinds from their first datagram to packets in both directions, on a virtual clock and without sockets.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::*;
use crate::net::{Answers, Input, Route};
use crate::webrtc::direct::Prefixes;
use crate::webrtc::direct_listener::DirectListener;
use crate::webrtc::dtls::Versions;
use crate::webrtc::dtls::tests::link::{ACTIVE, PASSIVE, expecting, parameters};
use crate::webrtc::ice::CONSENT_TIMEOUT;
use crate::webrtc::stats::SecureCounters;
use crate::webrtc::{DatagramSizes, Reachability};

/// Time of a datagram on its way.
const DELAY: Duration = Duration::from_millis(10);

/// An endpoint without sockets, tasks and locks.
struct Node {
    address: SocketAddr,
    server: Server,
    listener: DirectListener,
    sessions: BTreeMap<AssociationHandle, SecureSession>,
    connected: Vec<AssociationHandle>,
    accepted: Vec<AssociationHandle>,
    packets: Vec<Bytes>,
    effects: BatchEffects,
    outgoing: Vec<(Route, Vec<u8>)>,
}

impl Node {
    /// Creates a node with the identity `index`. It accepts peers without signalling.
    fn new(now: Instant, index: usize, versions: Versions, peers_max: usize) -> Self {
        let seed = [u8::try_from(index).expect("a small number"); 32];
        let context = Arc::new(Context {
            parameters: parameters(index, versions),
            prefixes: Prefixes::default(),
            counters: Arc::new(SecureCounters::default()),
            consent_timeout: CONSENT_TIMEOUT,
            sizes: DatagramSizes { first: 1172, max: 2048 },
            reachability: Reachability::new(now, &seed),
        });
        let limits = PeerLimits { peers_max, direct_per_address_max: 100, memory: MemoryBudget::new(1 << 30) };
        let host = u8::try_from(index + 1).expect("a small number");
        Self {
            address: SocketAddr::from(([192, 0, 2, host], 4433)),
            server: Server::new(Arc::clone(&context), limits, seed),
            listener: DirectListener::new(now, context, 7),
            sessions: BTreeMap::new(),
            connected: Vec::new(),
            accepted: Vec::new(),
            packets: Vec::new(),
            effects: BatchEffects::default(),
            outgoing: Vec::new(),
        }
    }

    fn handle(&mut self, now: Instant, remote: SocketAddr, bytes: Vec<u8>) {
        let datagram = Datagram { route: Route { remote, local: None }, bytes: Bytes::from(bytes) };
        match self.server.handle_datagram(now, datagram) {
            RouteTarget::Peer(handle, input) => self.receive(now, handle, Some(input)),
            RouteTarget::PeerOrNewcomer(handle, datagram) => {
                self.receive(now, handle, Some(Input::new(datagram.clone())));
                if let Some(stranger) = self.listener.newcomer(datagram) {
                    self.handle_stranger(now, &stranger);
                }
            }
            RouteTarget::Stranger(stranger) => self.handle_stranger(now, &stranger),
            RouteTarget::Nobody => {}
        }
        for datagram in std::mem::take(&mut self.effects.crossed) {
            let stranger = self.server.crossed(datagram);
            self.handle_stranger(now, &stranger);
        }
        let accepted = &mut self.accepted;
        self.server.apply(now, &mut self.effects, |handle| accepted.push(handle));
        self.server.router.check_consistency();
        let outgoing = &mut self.outgoing;
        self.effects.answers.drain(|route, answer| outgoing.push((route, answer.to_vec())));
    }

    fn receive(&mut self, now: Instant, handle: AssociationHandle, input: Option<Input>) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        let progress = session.receive(now, input.into_iter(), &mut self.packets, &mut self.effects);
        assert_eq!(progress.failure, None);
        if progress.is_connected {
            self.effects.connected.push(handle);
            self.connected.push(handle);
        }
    }

    fn handle_stranger(&mut self, now: Instant, stranger: &Stranger) {
        let Some(admitted) = self.listener.handle(now, stranger, &mut self.effects.answers) else { return };
        match self.server.on_admitted(now, admitted) {
            NewPeer::Session(session) => {
                let handle = session.handle;
                self.sessions.insert(handle, *session);
                self.receive(now, handle, None);
            }
            NewPeer::Dialled(handle, admitted) => {
                let session = self.sessions.get_mut(&handle).expect("it dials");
                let remote = admitted.route.remote;
                session.adopt(now, admitted.route, admitted.dtls).expect("the peer that is dialled");
                self.server.on_adopted(now, handle, remote);
                self.receive(now, handle, None);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut answers = Answers::default();
        self.listener.handle_timeout(now, &mut answers);
        self.outgoing.extend(answers.take());
        for session in self.sessions.values_mut() {
            let (progress, _) = session.turn(now, &mut self.outgoing);
            assert_eq!(progress.failure, None);
        }
    }

    fn dial(&mut self, now: Instant, peer: &Self, expected: ExpectedPeer) -> AssociationHandle {
        let credentials = ClientCredentials::generate(self.server.rng());
        let session = self.server.dial(now, &[peer.address], credentials, expected).expect("room");
        self.enter(session)
    }

    fn enter(&mut self, session: SecureSession) -> AssociationHandle {
        let handle = session.handle;
        self.sessions.insert(handle, session);
        handle
    }

    /// Sends a packet on the only session.
    fn send(&mut self, packet: &[u8]) {
        let session = self.sessions.values_mut().next().expect("a session");
        let mut record = Vec::new();
        let route = session.seal(packet, packet.len(), &mut record).expect("a connection").route;
        self.outgoing.push((route, record));
    }
}

/// Two nodes, and the datagrams between them.
struct Network {
    now: Instant,
    nodes: [Node; 2],
}

impl Network {
    /// Creates two nodes. The first one has these versions of DTLS, the second one has both and this room for peers.
    fn new(versions: Versions, peers_max: usize) -> Self {
        let now = Instant::now();
        let (near, far) = (Node::new(now, ACTIVE, versions, 10), Node::new(now, PASSIVE, Versions::Both, peers_max));
        Self { now, nodes: [near, far] }
    }

    /// Delivers the datagrams of both nodes, and all that are sent because of them at once.
    fn step(&mut self) {
        let now = self.now;
        let mut sent = VecDeque::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.handle_timeout(now);
            sent.extend(node.outgoing.drain(..).map(|sent| (index, sent)));
        }
        self.now += DELAY;
        for (from, (route, bytes)) in sent {
            let source = self.nodes[from].address;
            let to = self.nodes.iter_mut().find(|node| node.address == route.remote).expect("a node");
            to.handle(self.now, source, bytes);
        }
    }

    /// Runs until both nodes are connected. Returns the number of steps.
    fn connect(&mut self, steps_max: usize) -> usize {
        for steps in 1..=steps_max {
            self.step();
            if self.nodes.iter().all(|node| node.connected.len() == 1) {
                return steps;
            }
        }
        panic!("not connected after {steps_max} steps");
    }

    /// Sends a packet in each direction.
    fn exchange(&mut self) {
        self.nodes[0].send(b"there");
        self.nodes[1].send(b"back");
        for _ in 0..3 {
            self.step();
        }
        assert_eq!((&self.nodes[1].packets, &self.nodes[0].packets), (&vec!["there".into()], &vec!["back".into()]));
    }
}

/// Returns the outcome for a record from the first node at the second one.
fn record(network: &mut Network) -> RouteTarget {
    let route = Route { remote: network.nodes[0].address, local: None };
    let record = Bytes::from_static(&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7]);
    network.nodes[1].server.handle_datagram(network.now, Datagram { route, bytes: record })
}

#[test]
fn a_peer_with_a_ticket_becomes_a_session_of_both_ends() {
    for versions in [Versions::Both, Versions::Only12] {
        let mut network = Network::new(versions, 10);
        let [near, far] = &mut network.nodes;
        let handle = near.dial(network.now, far, expecting(PASSIVE));
        let steps = network.connect(8);
        let [near, far] = &network.nodes;
        assert_eq!(near.connected, [handle], "{versions:?}");
        let session = far.sessions.values().next().expect("a session");
        assert_eq!((session.remote(), far.sessions.len()), (Some(near.address), 1));
        assert!(session.security().is_some() && far.accepted.is_empty(), "{versions:?}: accepted at once");
        assert!(far.listener.poll_timeout().is_none(), "{versions:?}: the listener keeps nothing after {steps} steps");
        network.exchange();
        assert!(matches!(record(&mut network), RouteTarget::Peer(known, _) if known == network.nodes[1].connected[0]));
        let known = network.nodes[1].connected[0];
        network.nodes[1].server.remove(known);
        assert!(matches!(record(&mut network), RouteTarget::Stranger(_)), "{versions:?}: its peer is unknown again");
    }
}

#[test]
fn a_peer_that_was_answered_connects_and_is_accepted_when_it_has() {
    for is_described_late in [false, true] {
        let mut network = Network::new(Versions::Both, 10);
        let now = network.now;
        let [near, far] = &mut network.nodes;
        // The peer's credentials are in its description.
        let credentials = ClientCredentials::generate(near.server.rng());
        let cause = if is_described_late { ExpectedFor::Offer } else { ExpectedFor::Answer(None) };
        let ExpectedSession { mut session, local, displaced } = far.server.expect(now, CONSENT_TIMEOUT, cause).unwrap();
        assert_eq!(displaced, None);
        let handle = session.handle;
        let describe = |session: &mut SecureSession, now| {
            session.describe(now, SetupRole::Passive, expecting(ACTIVE), credentials.local.clone());
        };
        if !is_described_late {
            describe(&mut session, now);
            far.server.accept_when_connected(handle);
        }
        far.enter(session);
        let both = ClientCredentials { local: credentials.local.clone(), remote: local.credentials };
        let dialled = near.server.dial(now, &[far.address], both, expecting(PASSIVE)).expect("room");
        near.enter(dialled);
        if is_described_late {
            (0..5).for_each(|_| network.step());
            assert!(network.nodes[1].connected.is_empty(), "the description is missing");
            let now = network.now;
            describe(network.nodes[1].sessions.get_mut(&handle).expect("a session"), now);
        }
        assert_eq!(network.nodes[1].server.pending(), 1);
        network.connect(200);
        let far = &network.nodes[1];
        assert_eq!((&far.connected, far.server.pending()), (&vec![handle], 0));
        assert_eq!(far.accepted, if is_described_late { vec![] } else { vec![handle] });
        network.exchange();
    }
}

#[test]
fn two_servers_that_dial_each_other_have_one_connection() {
    let mut network = Network::new(Versions::Both, 10);
    let now = network.now;
    let [near, far] = &mut network.nodes;
    let handles = [near.dial(now, far, expecting(PASSIVE)), far.dial(now, near, expecting(ACTIVE))];
    network.connect(400);
    for (node, handle) in network.nodes.iter().zip(handles) {
        assert_eq!((&node.connected, node.sessions.len()), (&vec![handle], 1), "nobody else has come");
    }
    network.exchange();
}

#[test]
fn a_server_without_room_begins_no_association_of_any_kind() {
    let mut network = Network::new(Versions::Both, 0);
    let now = network.now;
    let [near, far] = &mut network.nodes;
    let credentials = || ClientCredentials::generate(&mut StdRng::from_seed([5; 32]));
    let full = RoomRefusal::TooManyPeers;
    let dialled = far.server.dial(now, &[near.address], credentials(), ExpectedPeer::Anyone);
    assert_eq!(dialled.err(), Some(DialRefusal::NoRoom(full)));
    let expected = far.server.expect(now, CONSENT_TIMEOUT, ExpectedFor::Offer);
    assert_eq!(expected.err(), Some(ExpectRefusal::NoRoom(full)));
    let agent = near.dial(now, far, expecting(PASSIVE));
    let mut peer = near.sessions.remove(&agent).expect("a session");
    let mut sent = Vec::new();
    for _ in 0..100 {
        let _ = peer.turn(network.now, &mut sent);
        for (_, bytes) in sent.drain(..) {
            let source = network.nodes[0].address;
            network.nodes[1].handle(network.now, source, bytes);
        }
        network.now += DELAY;
    }
    let far = &mut network.nodes[1];
    assert!(far.sessions.is_empty() && far.server.router.len() == 0);
    assert!(!far.outgoing.is_empty(), "the checks are refused, not ignored");
    let stopped = Node::new(now, ACTIVE, Versions::Both, 10);
    let mut server = stopped.server;
    server.stop_accepting();
    let dialled = server.dial(now, &[far.address], credentials(), ExpectedPeer::Anyone);
    assert_eq!(dialled.err(), Some(DialRefusal::NoRoom(RoomRefusal::Closed)));
}

#[test]
fn a_connected_address_is_not_dialled_again() {
    let mut network = Network::new(Versions::Both, 10);
    let now = network.now;
    let [near, far] = &mut network.nodes;
    near.dial(now, far, expecting(PASSIVE));
    let again = ClientCredentials::generate(near.server.rng());
    let dialled = near.server.dial(now, &[far.address], again, expecting(PASSIVE));
    assert_eq!(dialled.err(), Some(DialRefusal::AddressTaken(far.address)));
}
