//! A link between two ends on a clock of its own, which does to datagrams what a test asks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::parameters::Limits;
use super::super::{Dtls, DtlsEvent, DtlsParameters, ExpectedPeer, SetupRole, Versions};
use super::identity::identity;
use dimpl::ConfigBuilder;
use sha2::{Digest, Sha256};

use crate::webrtc::CertificateHash;

/// Delay of a datagram.
const DELAY: Duration = Duration::from_millis(10);

/// Virtual time after which a test has hung.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const PASSIVE: usize = 0;
pub(crate) const ACTIVE: usize = 1;

pub(crate) fn parameters(index: usize, versions: Versions) -> Arc<DtlsParameters> {
    adjusted(index, versions, |builder| builder)
}

pub(crate) fn adjusted(
    index: usize,
    versions: Versions,
    adjust: impl Fn(ConfigBuilder) -> ConfigBuilder,
) -> Arc<DtlsParameters> {
    let identity = identity(index);
    Arc::new(DtlsParameters::adjusted(&identity.certificate, &identity.private_key, versions, adjust).unwrap())
}

/// Returns the parameters of an end that ends its associations early.
pub(super) fn limited(index: usize, random_nonces_max: u64, key_changes_max: u32) -> Arc<DtlsParameters> {
    let mut parameters = DtlsParameters::clone(&parameters(index, Versions::Both));
    parameters.limits = Limits { random_nonces_max, key_changes_max };
    Arc::new(parameters)
}

pub(crate) fn fingerprint(index: usize) -> [u8; 32] {
    Sha256::digest(identity(index).certificate).into()
}

pub(crate) fn expecting(index: usize) -> ExpectedPeer {
    ExpectedPeer::Fingerprints([[0; 32], fingerprint(index)].map(CertificateHash::Sha256).to_vec())
}

/// Returns the passive end of a handshake that is done, with a client of these versions.
pub(crate) fn connected(versions: Versions) -> Dtls {
    connected_to(parameters(ACTIVE, versions))
}

/// Returns the passive end of a handshake that is done, with a client of these parameters.
pub(crate) fn connected_to(client: Arc<DtlsParameters>) -> Dtls {
    let parameters = [parameters(PASSIVE, Versions::Both), client];
    let mut link = Link::with(&parameters, ExpectedPeer::Anyone, expecting(PASSIVE), false);
    link.connect();
    let [passive, _] = link.ends;
    passive
}

/// Datagrams that arrive for one that the end with this index sends: none, the same one, or several.
pub(super) type Fate = Box<dyn FnMut(usize, &[u8]) -> Vec<Vec<u8>>>;

pub(super) struct Link {
    pub(super) ends: [Dtls; 2],
    pub(super) now: Instant,
    /// (arrival, to, datagram)
    queue: VecDeque<(Instant, usize, Vec<u8>)>,
    pub(super) fate: Fate,
    /// All events that came, in order.
    pub(super) events: [Vec<DtlsEvent>; 2],
    /// Datagrams that each end has sent.
    pub(super) sent: [Vec<Vec<u8>>; 2],
}

impl Link {
    /// Creates two ends that expect each other's certificate.
    pub(super) fn new(passive: Versions, active: Versions) -> Self {
        let parameters = [parameters(PASSIVE, passive), parameters(ACTIVE, active)];
        Self::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false)
    }

    pub(super) fn with(
        parameters: &[Arc<DtlsParameters>; 2],
        passive_expects: ExpectedPeer,
        active_expects: ExpectedPeer,
        asks_for_cookie: bool,
    ) -> Self {
        let now = Instant::now();
        let ends = [
            Dtls::new(now, parameters[PASSIVE].clone(), SetupRole::Passive, passive_expects, asks_for_cookie),
            Dtls::new(now, parameters[ACTIVE].clone(), SetupRole::Active, active_expects, false),
        ];
        let fate: Fate = Box::new(|_, datagram| vec![datagram.to_vec()]);
        let (events, sent) = ([vec![], vec![]], [vec![], vec![]]);
        Self { ends, now, queue: VecDeque::new(), fate, events, sent }
    }

    /// Takes out what the ends have to say.
    pub(super) fn flush(&mut self) {
        for from in [PASSIVE, ACTIVE] {
            while let Some(event) = self.ends[from].poll_event() {
                self.events[from].push(event);
            }
            while let Some(datagram) = self.ends[from].poll_transmit() {
                self.put(from, datagram);
            }
        }
    }

    /// Puts a datagram on its way.
    pub(super) fn put(&mut self, from: usize, datagram: Vec<u8>) {
        for datagram in (self.fate)(from, &datagram) {
            self.queue.push_back((self.now + DELAY, 1 - from, datagram));
        }
        self.sent[from].push(datagram);
    }

    /// Sends a packet as an application does.
    pub(super) fn send(&mut self, from: usize, packet: &[u8]) {
        let mut datagram = Vec::new();
        self.ends[from].send(packet, &mut datagram).unwrap();
        self.put(from, datagram);
    }

    /// Advances to the next event. Returns true if there was anything to do.
    pub(super) fn step(&mut self) -> bool {
        self.flush();
        let arrival = self.queue.iter().map(|(at, ..)| *at).min();
        let deadlines = self.ends.iter().filter_map(Dtls::poll_timeout).min();
        let Some(next) = arrival.into_iter().chain(deadlines).min() else { return false };
        self.now = self.now.max(next);
        for index in 0..2 {
            if self.ends[index].poll_timeout().is_some_and(|at| at <= self.now) {
                self.ends[index].handle_timeout(self.now);
            }
        }
        for (at, to, datagram) in std::mem::take(&mut self.queue) {
            if at <= self.now {
                self.ends[to].handle_datagram(self.now, &datagram);
                self.flush();
            } else {
                self.queue.push_back((at, to, datagram));
            }
        }
        self.flush();
        true
    }

    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let start = self.now;
        while !done(self) {
            if !self.step() || self.now - start > PATIENCE {
                return done(self);
            }
        }
        true
    }

    /// Runs until nothing moves.
    pub(super) fn run(&mut self) {
        self.run_until(|_| false);
    }

    pub(super) fn connect(&mut self) {
        let is_up = |link: &Self| link.ends.iter().all(|end| end.version().is_some());
        assert!(self.run_until(is_up), "not connected: {:?}", self.events);
        self.run();
    }

    pub(super) fn packets(&self, at: usize) -> Vec<Vec<u8>> {
        let packet = |event: &DtlsEvent| match event {
            DtlsEvent::Packet(packet) => Some(packet.to_vec()),
            _ => None,
        };
        self.events[at].iter().filter_map(packet).collect()
    }
}
