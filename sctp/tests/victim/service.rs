//! An endpoint under attack: what strangers send to its socket, and what it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType, Init};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig,
    PacketDropReason, Valid,
};

use super::{Sent, chunks_of, cookie_echo, init, packet, peer_init};

/// An endpoint with its associations.
pub(crate) struct Service {
    pub(crate) endpoint: Endpoint,
    pub(crate) associations: BTreeMap<AssociationHandle, Association>,
    pub(crate) now: Instant,
    /// By association, without the messages' contents.
    pub(crate) events: Vec<(AssociationHandle, AssociationEvent)>,
}

/// Contents of an INIT ACK.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    pub(crate) tag: u32,
    pub(crate) cookie: Vec<u8>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with_config(EndpointConfig::default())
    }

    pub(crate) fn with_config(config: EndpointConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the test moves")]
        let now = Instant::now();
        Self::seeded(now, config, [3; 32])
    }

    /// After a restart nothing is as it was, the keys included.
    pub(crate) fn with_seed(seed: [u8; 32]) -> Self {
        let Self { now, .. } = Self::new();
        Self::seeded(now, EndpointConfig::default(), seed)
    }

    fn seeded(now: Instant, config: EndpointConfig, seed: [u8; 32]) -> Self {
        let endpoint = Endpoint::new(now, config, seed);
        Self { endpoint, associations: BTreeMap::new(), now, events: Vec::new() }
    }

    pub(crate) fn with_association_config(config: AssociationConfig) -> Self {
        Self::with_config(EndpointConfig { association: Valid::new(config).unwrap(), ..EndpointConfig::default() })
    }

    /// Hands in a datagram. Returns the packets that go back to where it came from.
    pub(crate) fn deliver(&mut self, from: SocketAddr, datagram: Bytes) -> Vec<Bytes> {
        let mut answer = Vec::new();
        let handle = match self.endpoint.handle_datagram(self.now, from, datagram, &mut answer) {
            DatagramEvent::Answer => return vec![answer.into()],
            DatagramEvent::Dropped => {
                assert!(answer.is_empty());
                return Vec::new();
            }
            DatagramEvent::Existing(handle, datagram) => {
                let association = self.associations.get_mut(&handle).expect("the endpoint knows its associations");
                association.handle_datagram(self.now, datagram);
                handle
            }
            DatagramEvent::New(handle, association) => {
                assert!(self.associations.insert(handle, *association).is_none());
                handle
            }
        };
        let packets = self.poll_one(handle);
        // A recount of very many would take most of a test's time.
        if self.endpoint.len() < 100 {
            self.endpoint.check_consistency();
        }
        packets
    }

    pub(crate) fn send(&mut self, from: SocketAddr, tag: u32, chunks: &[Vec<u8>]) -> Vec<Sent> {
        self.deliver(from, packet(tag, chunks)).iter().flat_map(chunks_of).collect()
    }

    /// Hands in a datagram that must be dropped by the endpoint for this reason.
    #[track_caller]
    pub(crate) fn assert_drops(&mut self, from: SocketAddr, datagram: Bytes, reason: PacketDropReason, what: &str) {
        let before = (self.endpoint.drops().count(reason), self.endpoint.drops().total(), self.endpoint.len());
        let mut answer = Vec::new();
        let event = self.endpoint.handle_datagram(self.now, from, datagram, &mut answer);
        assert!(matches!(event, DatagramEvent::Dropped), "{what}: {event:?}");
        assert_eq!(answer, [], "{what}");
        let after = (self.endpoint.drops().count(reason), self.endpoint.drops().total(), self.endpoint.len());
        assert_eq!(after, (before.0 + 1, before.1 + 1, before.2), "{what}: {:?}", self.endpoint.drops());
    }

    /// Takes events and packets of an association; if it is over, it is removed.
    pub(crate) fn poll_one(&mut self, handle: AssociationHandle) -> Vec<Bytes> {
        let association = self.associations.get_mut(&handle).expect("an association");
        while let Some(event) = association.poll_event() {
            self.events.push((handle, event));
        }
        let (mut packets, mut buffer) = (Vec::new(), Vec::new());
        while let Some(transmit) = association.poll_transmit(self.now, 64, &mut buffer) {
            packets.extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
            buffer.clear();
        }
        if association.is_over() {
            self.associations.remove(&handle);
            self.endpoint.remove(handle);
        }
        packets
    }

    /// The same of all associations.
    pub(crate) fn poll(&mut self) -> Vec<(AssociationHandle, Bytes)> {
        let handles: Vec<_> = self.associations.keys().copied().collect();
        let with_handle = |handle| self.poll_one(handle).into_iter().map(move |packet| (handle, packet));
        handles.into_iter().flat_map(with_handle).collect()
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<(AssociationHandle, Bytes)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(deadline) = self.associations.values().filter_map(Association::poll_timeout).min()
            && deadline <= end
        {
            self.now = self.now.max(deadline);
            for association in self.associations.values_mut() {
                association.handle_timeout(self.now);
            }
            sent.extend(self.poll());
        }
        self.now = end;
        sent
    }

    /// Asks for a cookie.
    pub(crate) fn offer(&mut self, from: SocketAddr) -> Offer {
        self.offer_for(from, &peer_init())
    }

    pub(crate) fn offer_for(&mut self, from: SocketAddr, peer: &Init<'_>) -> Offer {
        let sent = self.send(from, 0, &[init(peer)]);
        let [answer] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((answer.kind, answer.tag), (ChunkType::INIT_ACK, peer.initiate_tag));
        let ack = Init::decode(&answer.value).expect("an INIT ACK");
        Offer { tag: ack.initiate_tag, cookie: ack.cookie.expect("a cookie").to_vec() }
    }

    /// The whole handshake.
    pub(crate) fn establish(&mut self, from: SocketAddr) -> (AssociationHandle, Offer) {
        let before = self.endpoint.len();
        let offer = self.offer(from);
        let sent = self.send(from, offer.tag, &[cookie_echo(&offer.cookie)]);
        assert_eq!(super::kinds(&sent), [ChunkType::COOKIE_ACK]);
        assert_eq!(self.endpoint.len(), before + 1);
        let (handle, event) = self.events.pop().expect("an event");
        assert!(matches!(event, AssociationEvent::Connected), "{event:?}");
        (handle, offer)
    }
}
