//! One node: an endpoint with its associations, or one association without an endpoint.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use narrowboat_dcep::{ChannelsConfig, Role};
use narrowboat_sctp::{Association, AssociationHandle, CookieKeys, DatagramEvent, Endpoint, EndpointConfig};

use crate::alloc::Gauge;
use crate::app::App;
use crate::clock::{Clock, Nanos, START};
use crate::network::NodeId;
use crate::observer::Observer;
use crate::options::{Options, Topology};
use crate::packet::{Packet, kind};
use crate::prng::Prng;
use crate::session::Session;
use crate::stack::Stack;
use crate::trace::Trace;
use crate::wrap;

/// Rate limits of an endpoint: INITs, and packets out of the blue.
const RATE_TABLES: usize = 2;

/// Bytes of the table of a limit of 1,000 a second.
const RATE_TABLE_BYTES_MAX: i64 = 8_000;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) gauge: Gauge,
    /// Tables of the endpoint's rate limits that have come with a first answer.
    rate_tables: usize,
    /// By the peer's node.
    pub(crate) sessions: BTreeMap<NodeId, Session>,
    pub(crate) observers: BTreeMap<NodeId, Observer>,
    /// Time at which the node reads the datagrams that have arrived, if any have.
    pub(crate) reads_at: Option<Nanos>,
    clock: Clock,
    prng: Prng,
    trace: Trace,
}

/// Result of routing a datagram that a node was given.
#[derive(Debug)]
pub(crate) enum Routed {
    /// Belongs to the session with that peer, which is not behind an endpoint.
    Bare,
    /// Belongs to the session with that peer.
    Existing(Bytes),
    /// The session with that peer was made of it.
    New,
    /// Answered without an association.
    Answer(Vec<u8>),
    Nothing,
}

impl Node {
    pub(crate) fn new(id: NodeId, options: &Options, clock: Clock, now: Nanos, mut prng: Prng, trace: Trace) -> Self {
        let gauge = Gauge::default();
        let endpoint = matches!(options.topology, Topology::Endpoints { .. }).then(|| {
            let seed = if options.near_wrap && now == START { wrap::endpoint_seed(id) } else { prng.seed() };
            let is_service = id == 0;
            gauge.charge(|| {
                let config = EndpointConfig {
                    association: options.valid_config_of(id),
                    accept: is_service,
                    associations_max: if is_service { options.associations_max } else { 10 },
                    associations_per_address_max: 10,
                    inits_per_second_max: if is_service { options.inits_per_second_max } else { 1_000 },
                    out_of_the_blue_per_second_max: 1_000,
                    ..EndpointConfig::default()
                };
                Endpoint::new(clock.instant(now), config, seed)
            })
        });
        let (sessions, observers) = Default::default();
        Self { id, endpoint, gauge, rate_tables: 0, sessions, observers, reads_at: None, clock, prng, trace }
    }

    /// A bare association, dialling or waiting.
    pub(crate) fn start_bare(&mut self, now: Nanos, peer: NodeId, options: &Options, dial: bool) {
        let (keys, mut seed) = (self.prng.seed(), self.prng.seed());
        if options.near_wrap {
            seed = wrap::association_seed(self.id);
        }
        let instant = self.clock.instant(now);
        let new = if options.over_dtls { Association::new_over_dtls } else { Association::new };
        let association =
            self.gauge.charge(|| new(options.valid_config_of(self.id), CookieKeys::new(instant, keys), &[], seed));
        self.adopt(now, peer, association, None, options);
        if dial && let Some(session) = self.sessions.get_mut(&peer) {
            session.stack.connect(now);
        }
    }

    /// Dials through the endpoint.
    pub(crate) fn dial(&mut self, now: Nanos, peer: NodeId, options: &Options) {
        let instant = self.clock.instant(now);
        let endpoint = self.endpoint.as_mut().expect("dials through an endpoint");
        let dialled = self.gauge.charge(|| endpoint.connect(instant, address(peer)));
        let (handle, association) = dialled.unwrap_or_else(|error| panic!("I36: {error}"));
        self.adopt(now, peer, association, Some(handle), options);
    }

    fn adopt(
        &mut self,
        now: Nanos,
        peer: NodeId,
        association: Association,
        handle: Option<AssociationHandle>,
        options: &Options,
    ) {
        let takes_other = options.manner_of(self.id).is_some_and(|manner| manner.takes_our_parity);
        let is_client = (self.id > 0) != takes_other;
        let role = if is_client { Role::Client } else { Role::Server };
        let channels = ChannelsConfig {
            channels_max: options.channels_max,
            peer_message_size_max: options.message_size_max,
            message_size_max: options.message_size_max,
            close_timeout: options.close_timeout,
            ..ChannelsConfig::default()
        };
        let stack = Stack::new(association, channels, role, self.clock, self.gauge.clone());
        let pair = (self.id.min(peer), self.id.max(peer));
        let app_options = options.app[self.id.min(1)].clone();
        let few = options.streams_are_few() || options.channels_are_few();
        let lenient = options.hostile || options.resets_may_fail() || few;
        let prng = self.prng.fork();
        let mut app =
            App::new(self.id.min(1), pair, app_options, options.message_size_max, lenient, prng, self.trace.clone());
        if now < START + options.chaos {
            app.start(now);
        }
        let observer = self.observers.entry(peer).or_insert_with(|| Observer::new(options.hostile));
        observer.on_new_association();
        let before = self.sessions.insert(peer, Session::new(stack, app, handle, is_client, self.id));
        assert!(before.is_none(), "I27: two associations with node {peer}");
    }

    /// Finds the recipient of a datagram.
    pub(crate) fn route(&mut self, now: Nanos, from: NodeId, packet: &Bytes, options: &Options) -> Routed {
        let Some(endpoint) = &mut self.endpoint else {
            return if self.sessions.contains_key(&from) { Routed::Bare } else { Routed::Nothing };
        };
        let instant = self.clock.instant(now);
        let mut answer = Vec::with_capacity(65_536);
        let before = self.gauge.held().bytes;
        let routed = self
            .gauge
            .charge(|| endpoint.handle_datagram(instant, address(from), Bytes::copy_from_slice(packet), &mut answer));
        match routed {
            DatagramEvent::Existing(handle, datagram) => {
                let session = self.sessions.get(&from);
                let known = session.and_then(|session| session.handle);
                assert_eq!(known, Some(handle), "I36: a datagram from node {from} was given to another association");
                Routed::Existing(datagram)
            }
            DatagramEvent::New(handle, association) => {
                assert!(
                    Packet::parse(packet).is_ok_and(|p| p.has(kind::COOKIE_ECHO)),
                    "I24: an association without cookie"
                );
                let association = self.gauge.charge(|| *association);
                self.adopt(now, from, association, Some(handle), options);
                Routed::New
            }
            DatagramEvent::Answer => {
                self.check_stateless(before);
                assert!(!answer.is_empty(), "I05: an empty answer");
                assert!(answer.len() <= 3 * packet.len(), "I05: {} bytes answer {}", answer.len(), packet.len());
                Routed::Answer(answer)
            }
            DatagramEvent::Dropped => {
                self.check_stateless(before);
                assert!(answer.is_empty(), "I05: an answer beside a drop");
                Routed::Nothing
            }
        }
    }

    /// I24: an answer without an association keeps nothing. The first INIT and the first other packet that is answered
    /// bring the table of their rate limit along.
    fn check_stateless(&mut self, before: i64) {
        let kept = self.gauge.held().bytes - before;
        let is_table = kept > 0 && kept <= RATE_TABLE_BYTES_MAX && self.rate_tables < RATE_TABLES;
        assert!(kept <= 0 || is_table, "I24: {kept} bytes are kept for a peer without association");
        self.rate_tables += usize::from(is_table);
    }

    /// Bytes of the tables of rate limits, at most.
    pub(crate) fn rate_table_bytes(&self) -> i64 {
        self.rate_tables as i64 * RATE_TABLE_BYTES_MAX
    }

    /// The association with this peer has ended, and its channels have been read.
    pub(crate) fn retire(&mut self, peer: NodeId) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        if let (Some(endpoint), Some(handle)) = (&mut self.endpoint, session.handle) {
            self.gauge.charge(|| endpoint.remove(handle));
        }
        session.stack.dispose();
    }

    /// The process dies, with all that it knew.
    pub(crate) fn kill(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.stack.dispose();
        }
        let endpoint = self.endpoint.take();
        self.gauge.charge(|| drop(endpoint));
        self.observers.clear();
        let held = self.gauge.held().bytes;
        assert_eq!(held, 0, "I43: node {} has leaked {held} bytes", self.id);
    }

    /// I36: the endpoint knows live associations only.
    pub(crate) fn check(&self, options: &Options) {
        if let Some(endpoint) = &self.endpoint {
            let max = if self.id == 0 { options.associations_max } else { 10 };
            assert!(endpoint.len() <= max, "I36: {} associations, where {max} are allowed", endpoint.len());
            endpoint.check_consistency();
            assert_eq!(endpoint.len(), self.sessions.len(), "I36: the endpoint counts other associations");
            assert_eq!(endpoint.is_empty(), self.sessions.is_empty());
            for (&peer, session) in &self.sessions {
                let remote = session.handle.and_then(|handle| endpoint.remote_address(handle));
                assert_eq!(remote, Some(address(peer)), "I36: an association has another peer");
            }
        }
    }
}

pub(crate) fn address(node: NodeId) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, node as u8), 9899))
}
