//! The way of a peer without signalling from its first check to a session, on a virtual clock and without sockets.

use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::net::Route;
use crate::webrtc::direct::{ClientCredentials, Prefixes};
use crate::webrtc::dtls::tests::link::{ACTIVE, PASSIVE, parameters};
use crate::webrtc::dtls::{Dtls, ExpectedPeer, SetupRole, Versions};
use crate::webrtc::ice::{CONSENT_TIMEOUT, ControllingAgent};
use crate::webrtc::stats::SecureCounters;
use crate::webrtc::stun::{Class, StunMessage};
use crate::webrtc::{Reachability, RouteTarget};

fn client_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 200], 443))
}

fn datagram(bytes: &[u8]) -> Datagram {
    let route = Route { remote: client_address(), local: None };
    Datagram { route, bytes: Bytes::copy_from_slice(bytes) }
}

/// A server and a client, with a link of one step between them.
struct Link {
    now: Instant,
    router: SecureRouter,
    server: Server,
    has_room: bool,
    agent: ControllingAgent,
    dtls: Option<Dtls>,
    versions: Versions,
}

impl Link {
    fn new(versions: Versions, has_room: bool) -> Self {
        let now = Instant::now();
        let context = Arc::new(Context {
            parameters: parameters(PASSIVE, Versions::Both),
            prefixes: Prefixes::default(),
            counters: Arc::new(SecureCounters::default()),
            consent_timeout: CONSENT_TIMEOUT,
            reachability: Reachability::new(now, &[3; 32]),
        });
        let router = SecureRouter::new(Arc::clone(&context.counters), context.reachability.clone());
        let server = Server::new(now, context, 7);
        let ClientCredentials { local, remote } = ClientCredentials::generate(&mut StdRng::seed_from_u64(1));
        let agent = ControllingAgent::new(now, local, remote, &[server_address()], CONSENT_TIMEOUT, [1; 32]);
        Self { now, router, server, has_room, agent, dtls: None, versions }
    }

    /// Runs one round trip of ten milliseconds.
    fn step(&mut self) {
        let mut sent = Vec::new();
        let mut check = Vec::new();
        while self.agent.poll_transmit(self.now, &mut check).is_some() {
            sent.push(std::mem::take(&mut check));
        }
        if self.agent.selected().is_some() {
            let (now, parameters) = (self.now, parameters(ACTIVE, self.versions));
            let begin = || Dtls::new(now, parameters, SetupRole::Active, ExpectedPeer::Anyone, false);
            let dtls = self.dtls.get_or_insert_with(begin);
            sent.extend(std::iter::from_fn(|| dtls.poll_transmit()));
        }
        let mut answers = Answers::default();
        for bytes in sent {
            // The rest of a flight whose first datagram has ended the handshake is the new peer's.
            if let RouteTarget::Stranger(stranger) = self.router.route(self.now, datagram(&bytes)) {
                let stranger = Stranger { has_room: self.has_room, ..stranger };
                self.server.handle_stranger(self.now, &mut self.router, &stranger, &mut answers);
            }
        }
        self.now += Duration::from_millis(10);
        self.server.handle_timeout(self.now, &mut answers);
        for (route, bytes) in answers.take() {
            assert_eq!(route.remote, client_address());
            match (&mut self.dtls, StunMessage::parse(&bytes)) {
                (_, Ok(message)) if message.class == Class::Request => {
                    panic!("nobody claims the address, so that nothing is asked")
                }
                // Without room the check is refused.
                (_, Ok(message)) => drop(self.agent.handle_response(self.now, server_address(), &message)),
                (Some(dtls), Err(_)) => dtls.handle_datagram(self.now, &bytes),
                (None, Err(_)) => panic!("a record for nobody"),
            }
        }
    }
}

#[test]
fn a_first_check_and_a_handshake_make_a_session_that_the_router_knows() {
    for (versions, round_trips) in [(Versions::Both, 4), (Versions::Only12, 4)] {
        let mut link = Link::new(versions, true);
        let mut steps = 0;
        let event = loop {
            link.step();
            steps += 1;
            if let Some(event) = link.server.poll_event() {
                break event;
            }
            assert!(steps < round_trips, "{versions:?}: no session after {steps} round trips");
        };
        let ServerEvent::NewPeer(session) = event else { panic!("{event:?}") };
        assert_eq!(session.remote(), Some(client_address()));
        assert!(session.security().is_some(), "its handshake is done");
        let record = [23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7];
        let target = link.router.route(link.now, datagram(&record));
        assert!(matches!(target, RouteTarget::Peer(handle, _) if handle == session.handle), "{target:?}");
        assert!(link.server.poll_event().is_none() && link.server.poll_timeout().is_none(), "nothing is left of it");
    }
}

#[test]
fn nobody_becomes_a_session_where_there_is_no_room() {
    let mut link = Link::new(Versions::Both, false);
    for _ in 0..100 {
        link.step();
    }
    assert!(link.server.poll_event().is_none());
    assert_eq!(link.router.len(), 0);
}
