//! An endpoint with few places and many peers, whose packets are lost, repeated, misdirected and made up.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, AssociationHandle, CookieKeys, DatagramEvent, Endpoint,
    EndpointConfig, Ppid, SendOptions, StreamId, Valid,
};

use super::Input;

const PEERS: u8 = 6;
const ASSOCIATIONS_MAX: usize = 3;
const STEPS_MAX: usize = 96;

pub(crate) fn run(script: &[u8]) {
    let mut input = Input::new(script);
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check();
    }
}

/// A peer's end, and the packets between it and the endpoint.
struct Peer {
    association: Association,
    to_endpoint: VecDeque<Bytes>,
    to_peer: VecDeque<Bytes>,
}

struct World {
    now: Instant,
    config: Valid<AssociationConfig>,
    endpoint: Endpoint,
    /// The endpoint's associations, by their handles' order of arrival.
    accepted: Vec<(AssociationHandle, Association)>,
    peers: BTreeMap<u8, Peer>,
}

fn address(peer: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, peer / 2), 1000 + u16::from(peer)))
}

impl World {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the script moves")]
        let now = Instant::now();
        let config = Valid::new(AssociationConfig {
            receive_window: 8192,
            heartbeat_interval: None,
            ..AssociationConfig::default()
        })
        .unwrap();
        let limits = EndpointConfig {
            association: config.clone(),
            associations_max: ASSOCIATIONS_MAX,
            associations_per_address_max: 2,
            ..EndpointConfig::default()
        };
        let endpoint = Endpoint::new(now, limits, [3; 32]);
        Self { now, config, endpoint, accepted: Vec::new(), peers: BTreeMap::new() }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let peer = input.byte() % PEERS;
        match what % 12 {
            // A peer dials, again from nothing if it has dialled before.
            0 => {
                let keys = CookieKeys::new(self.now, [peer; 32]);
                let seed = [input.byte(); 32];
                let mut association = Association::new(self.config.clone(), keys, &[], seed);
                association.connect(self.now);
                let (to_endpoint, to_peer) = Default::default();
                self.peers.insert(peer, Peer { association, to_endpoint, to_peer });
            }
            1..=3 => self.exchange(peer, 1 + what / 64),
            4 => {
                let packet = self.peers.get(&peer).and_then(|peer| peer.to_endpoint.back().cloned());
                // From somebody else's address, or again.
                let from = if input.byte() & 1 == 0 { peer } else { input.byte() % PEERS };
                packet.into_iter().for_each(|packet| self.deliver(from, packet));
            }
            5 => drop(self.peers.get_mut(&peer).map(|peer| (peer.to_endpoint.pop_front(), peer.to_peer.pop_front()))),
            6 => {
                let len = usize::from(input.byte());
                let mut bytes = input.bytes(len).to_vec();
                // Ports are right, and the checksum.
                for (byte, port) in bytes.iter_mut().zip([0x13, 0x88, 0x13, 0x88]) {
                    *byte = port;
                }
                if let Some(checksum) = bytes.get_mut(8..12) {
                    checksum.fill(0);
                    narrowboat_sctp::testing::wire::seal(&mut bytes);
                }
                self.deliver(peer, bytes.into());
            }
            7 => self.pass(Duration::from_millis(u64::from(input.byte()) * 20)),
            8 => {
                let payload = Bytes::from(vec![what; 1 + usize::from(input.byte()) * 8]);
                if let Some(peer) = self.peers.get_mut(&peer) {
                    let options = SendOptions::default();
                    let _ = peer.association.send(self.now, StreamId(u16::from(what / 12)), Ppid(53), payload, options);
                }
            }
            9 => {
                if let Some((_, association)) = self.accepted.get_mut(usize::from(peer)) {
                    association.shutdown(self.now);
                }
            }
            10 => {
                if let Some((_, association)) = self.accepted.get_mut(usize::from(peer)) {
                    association.abort("enough");
                }
            }
            _ => drop(self.peers.remove(&peer)),
        }
        self.poll();
    }

    /// Packets in both directions.
    fn exchange(&mut self, of: u8, rounds: u8) {
        for _ in 0..rounds {
            while let Some(packet) = self.peers.get_mut(&of).and_then(|peer| peer.to_endpoint.pop_front()) {
                self.deliver(of, packet);
            }
            self.poll();
            while let Some(peer) = self.peers.get_mut(&of)
                && let Some(packet) = peer.to_peer.pop_front()
            {
                peer.association.handle_datagram(self.now, packet);
            }
            self.poll();
        }
    }

    fn deliver(&mut self, from: u8, packet: Bytes) {
        let (mut answer, len) = (Vec::new(), packet.len());
        match self.endpoint.handle_datagram(self.now, address(from), packet, &mut answer) {
            DatagramEvent::Existing(handle, datagram) => {
                let found = self.accepted.iter_mut().find(|(of, _)| *of == handle);
                let (_, association) = found.expect("an association that was accepted and not removed");
                association.handle_datagram(self.now, datagram);
            }
            DatagramEvent::New(handle, association) => {
                assert_eq!(self.endpoint.remote_address(handle), Some(address(from)), "of another peer");
                self.accepted.push((handle, *association));
            }
            DatagramEvent::Answer => {
                assert!(!answer.is_empty() && answer.len() <= 3 * len, "{} bytes answer {len}", answer.len());
                let peer = self.peers.get_mut(&from);
                peer.into_iter().for_each(|peer| peer.to_peer.push_back(Bytes::copy_from_slice(&answer)));
            }
            DatagramEvent::Dropped => assert!(answer.is_empty(), "an answer beside a drop"),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let accepted = self.accepted.iter_mut().map(|(_, association)| association);
        for association in accepted.chain(self.peers.values_mut().map(|peer| &mut peer.association)) {
            if association.poll_timeout().is_some_and(|at| at <= self.now) {
                association.handle_timeout(self.now);
                assert!(association.poll_timeout().is_none_or(|at| at > self.now), "a timer must move on");
            }
        }
    }

    fn poll(&mut self) {
        let mut over = Vec::new();
        for (handle, association) in &mut self.accepted {
            let is_over = take_events(association);
            let remote = self.endpoint.remote_address(*handle).expect("it was not removed");
            let peer = self.peers.iter_mut().find(|(peer, _)| address(**peer) == remote);
            let mut unwanted = VecDeque::new();
            let queue = peer.map_or(&mut unwanted, |(_, peer)| &mut peer.to_peer);
            take_packets(self.now, association, queue);
            if is_over || association.is_over() {
                over.push(*handle);
            }
        }
        for handle in over {
            self.endpoint.remove(handle);
            self.accepted.retain(|(of, _)| *of != handle);
        }
        for peer in self.peers.values_mut() {
            take_events(&mut peer.association);
            take_packets(self.now, &mut peer.association, &mut peer.to_endpoint);
        }
    }

    fn check(&self) {
        self.endpoint.check_consistency();
        assert_eq!(self.endpoint.len(), self.accepted.len(), "the endpoint counts others");
        assert!(self.accepted.len() <= ASSOCIATIONS_MAX, "more associations than allowed");
        let remotes = self.accepted.iter().map(|(handle, _)| self.endpoint.remote_address(*handle).unwrap());
        let distinct: std::collections::BTreeSet<SocketAddr> = remotes.collect();
        assert_eq!(distinct.len(), self.accepted.len(), "two associations with one peer");
    }
}

fn take_events(association: &mut Association) -> bool {
    let mut is_over = false;
    while let Some(event) = association.poll_event() {
        match event {
            AssociationEvent::Message(message) => association.release(message.credit),
            AssociationEvent::Closed(_) => is_over = true,
            _ => {}
        }
    }
    is_over
}

fn take_packets(now: Instant, association: &mut Association, queue: &mut VecDeque<Bytes>) {
    let mut buffer = Vec::new();
    while let Some(transmit) = association.poll_transmit(now, 8, &mut buffer) {
        queue.extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
        buffer.clear();
    }
    queue.truncate(50);
}
