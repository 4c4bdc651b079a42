//! Changes that a batch of datagrams has made outside of its associations, to be acted on when no lock is held.

use std::net::SocketAddr;

use narrowboat_sctp::AssociationHandle;

use super::{Answers, Datagram, TransportFailure};

/// Answers to send, and changes to report to the router and the accept queue.
#[derive(Debug, Default)]
pub(crate) struct BatchEffects {
    pub(crate) answers: Answers,
    /// Peers, and addresses at which a valid check has come; an address that had to make room for each.
    pub(crate) learned: Vec<ValidatedAddress>,
    /// Peers without signalling, and the fragments that their checks name.
    pub(crate) named: Vec<(AssociationHandle, UfragClaim)>,
    /// Datagrams of peers that this end dials, and that have dialled it at the same time.
    pub(crate) crossed: Vec<Datagram>,
    /// Peers whose secure handshake is done.
    pub(crate) connected: Vec<AssociationHandle>,
}

impl BatchEffects {
    /// Drops all but the answers.
    pub(crate) fn forget(&mut self) {
        self.learned.clear();
        self.named.clear();
        self.connected.clear();
    }
}

/// A user fragment of this end that a peer without signalling has chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UfragClaim {
    /// A check from the peer's address names this fragment, beside others; one had to make room for it.
    Claimed { ufrag: String, dropped: Option<String> },
    /// The peer has shown that this is its choice; there are no others.
    Confirmed { ufrag: String },
}

/// A valid check has come from an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValidatedAddress {
    pub(crate) handle: AssociationHandle,
    pub(crate) address: SocketAddr,
    pub(crate) evicted: Option<SocketAddr>,
}

/// Changes that an input or a timer has made.
#[derive(Debug, Default)]
pub(crate) struct SessionProgress {
    /// True if the handshake is done: packets may be sent.
    pub(crate) is_connected: bool,
    /// True if the peer is to be asked whether it receives at the address that it has nominated.
    pub(crate) wants_probe: bool,
    /// Reason of the end.
    pub(crate) failure: Option<TransportFailure>,
}
