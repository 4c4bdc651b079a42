//! Routing of datagrams to associations.

use std::time::Instant;

use narrowboat_sctp::{AssociationHandle, DatagramEvent, Endpoint, PacketDrops};

use super::secure::{self, SecureRouter};
use crate::net::{Answers, Datagram, Input, Route, Stranger};

/// Finds the association of a datagram, at a cost that does not depend on how many there are.
#[derive(Debug)]
pub(crate) enum DatagramRouter {
    /// SCTP packets in UDP datagrams as they are (RFC 6951).
    Plain(Box<Endpoint>),
    /// STUN and DTLS (RFC 8261); nothing that is in the clear.
    Secure(Box<SecureRouter>),
}

/// Result of routing a datagram.
#[derive(Debug)]
pub(crate) enum RouteResult {
    /// It is for this association.
    Existing(AssociationHandle, Input),
    /// It has made a new association, which has taken it in.
    New(AssociationHandle, Box<narrowboat_sctp::Association>, Route),
    /// It is this association's, or a newcomer's who has got its address: both get it.
    ExistingOrNewcomer(AssociationHandle, Datagram),
    /// It may be a new peer's, which has to prove itself first.
    Stranger(Stranger),
    /// Nothing more: it was answered, or dropped and counted.
    Done,
}

impl DatagramRouter {
    /// Routes a datagram.
    pub(crate) fn route(&mut self, now: Instant, datagram: Datagram, answers: &mut Answers) -> RouteResult {
        match self {
            Self::Plain(endpoint) => route_plain(endpoint, now, datagram, answers),
            Self::Secure(router) => secure::route(router, now, datagram),
        }
    }

    /// Takes no more associations of peers. Over DTLS the direct listener is told with each datagram.
    pub(crate) fn stop_accepting(&mut self) {
        match self {
            Self::Plain(endpoint) => endpoint.stop_accepting(),
            Self::Secure(_) => {}
        }
    }

    /// Forgets an association that is over.
    pub(crate) fn remove(&mut self, handle: AssociationHandle) {
        match self {
            Self::Plain(endpoint) => endpoint.remove(handle),
            Self::Secure(router) => router.remove(handle),
        }
    }

    /// Returns the counters of datagrams that were dropped before they reached an association.
    pub(crate) fn drops(&self) -> PacketDrops {
        match self {
            Self::Plain(endpoint) => endpoint.drops().clone(),
            Self::Secure(_) => PacketDrops::default(),
        }
    }
}

fn route_plain(endpoint: &mut Endpoint, now: Instant, datagram: Datagram, answers: &mut Answers) -> RouteResult {
    let Datagram { route, bytes } = datagram;
    match endpoint.handle_datagram(now, route.remote, bytes, answers.buffer()) {
        DatagramEvent::Existing(handle, bytes) => RouteResult::Existing(handle, Input::new(Datagram { route, bytes })),
        DatagramEvent::New(handle, association) => RouteResult::New(handle, association, route),
        DatagramEvent::Answer => {
            answers.push(route);
            RouteResult::Done
        }
        DatagramEvent::Dropped => RouteResult::Done,
    }
}
