//! Tickets: connections without signalling, of this end and of peers.

use std::net::SocketAddr;
use std::sync::Arc;

use super::candidates;
use super::part::SecurePart;
use super::target::SecureTarget;
use crate::endpoint::Endpoint;
use crate::endpoint::connect_target::{ConnectTarget, sealed::Sealed};
use crate::error::{ConnectError, SignalError};
use crate::handle::Association;
use crate::webrtc::direct::ClientCredentials;
use crate::webrtc::dtls::ExpectedPeer;
use crate::webrtc::{CertificateHash, Identity, Ticket};

impl Sealed for Ticket {
    fn destination(self) -> ConnectTarget {
        ConnectTarget::Secure(SecureTarget::Ticket(self))
    }
}

impl Sealed for &Ticket {
    fn destination(self) -> ConnectTarget {
        ConnectTarget::Secure(SecureTarget::Ticket(self.clone()))
    }
}

impl Endpoint {
    /// Returns the identity by which peers know the endpoint, if it has been given one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.core.secure.as_ref().map(|part| &part.identity)
    }

    /// Returns all that a peer needs to connect to this endpoint without any signalling: its addresses, as
    /// [advertised](crate::EndpointBuilder::advertise) or those of this machine's interfaces, and the hash of its
    /// certificate. The ticket is valid as long as addresses and identity stay the same.
    ///
    /// # Errors
    ///
    /// The endpoint has no identity or does not [accept](crate::EndpointBuilder::accept_direct) peers that connect with
    /// a ticket, or this machine has no address that peers could reach.
    pub fn ticket(&self) -> Result<Ticket, SignalError> {
        let part = self.core.secure.as_ref().ok_or(SignalError::IdentityNeeded)?;
        if !self.core.ways.direct {
            return Err(SignalError::DirectNotAccepted);
        }
        Ticket::new(self.candidates(part)?, part.identity.fingerprint()).map_err(|_| SignalError::NoAddress)
    }

    /// Returns the addresses that peers are told for this endpoint.
    pub(super) fn candidates(&self, part: &SecurePart) -> Result<Vec<SocketAddr>, SignalError> {
        let addresses = if part.advertised.is_empty() {
            candidates::local_addresses(self.local_address()).map_err(SignalError::Interfaces)?
        } else {
            part.advertised.clone()
        };
        if addresses.is_empty() { Err(SignalError::NoAddress) } else { Ok(addresses) }
    }

    pub(in crate::endpoint) fn dial_secure(&self, target: SecureTarget) -> Result<Association, ConnectError> {
        let ticket = match target {
            SecureTarget::Ticket(ticket) => ticket,
            SecureTarget::NoTicket(error) => return Err(error.into()),
        };
        // An address of the other version of IP is no failure, as long as there is one that can be reached.
        let reachable = ticket.addresses().iter().map(|address| self.reachable(*address));
        let addresses: Vec<SocketAddr> = reachable.clone().filter_map(Result::ok).collect();
        if addresses.is_empty() {
            return Err(reachable.into_iter().find_map(Result::err).unwrap_or(ConnectError::NoAddress));
        }
        let credentials = self.core.routes().server().map(|server| ClientCredentials::generate(server.rng()));
        let credentials = credentials.ok_or(ConnectError::IdentityNeeded)?;
        let expected = ExpectedPeer::Fingerprints(vec![CertificateHash::Sha256(ticket.fingerprint().to_bytes())]);
        let shared = self.core.connect_secure(&addresses, credentials, expected)?;
        Ok(Association::new(Arc::clone(&shared)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::TicketError;

    #[test]
    fn a_text_that_begins_like_a_ticket_is_one_or_nobody() {
        let hash = "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";
        let text = format!("narrowboat://192.0.2.1:4433/{hash}");
        assert!(
            matches!(text.as_str().destination(), ConnectTarget::Secure(SecureTarget::Ticket(ticket)) if ticket.to_string() == text)
        );
        let cut = "narrowboat://192.0.2.1:4433".destination();
        assert!(matches!(cut, ConnectTarget::Secure(SecureTarget::NoTicket(TicketError::NoFingerprint))));
    }
}
