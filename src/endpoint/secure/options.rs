//! Options of the builder for endpoints with an identity.

use std::net::SocketAddr;

use super::SecurePart;
use crate::config::Config;
use crate::endpoint::builder::{EndpointBuilder, Ways};
use crate::error::BindError;
use crate::webrtc::{DtlsVersion, Identity, direct::Prefixes, dtls::Versions};

/// Options that only an endpoint with an identity needs.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct SecureOptions {
    identity: Option<Identity>,
    advertised: Vec<SocketAddr>,
    prefixes: Prefixes,
    versions: Versions,
}

impl SecureOptions {
    /// Checks that the ways in fit the identity, or that there is none.
    pub(in crate::endpoint) fn check(&self, ways: Ways) -> Result<(), BindError> {
        match (&self.identity, ways) {
            (Some(_), Ways { plain: true, .. }) => Err(BindError::PlainWithIdentity),
            (None, Ways { direct: true, .. }) => Err(BindError::IdentityNeeded),
            _ => Ok(()),
        }
    }

    /// Makes the secure part of an endpoint; `None` without an identity.
    pub(in crate::endpoint) fn part(self, ways: Ways, config: &Config) -> Result<Option<SecurePart>, BindError> {
        let Self { identity, advertised, mut prefixes, versions } = self;
        let Some(identity) = identity else { return Ok(None) };
        prefixes.is_closed = !ways.direct;
        SecurePart::new(identity, advertised, prefixes, versions, config).map(Some)
    }
}

impl EndpointBuilder {
    /// Accepts peers without signalling: all peers that reach the port and have seen the endpoint's
    /// [ticket](crate::Endpoint::ticket) or an answer of the endpoint, which both name its certificate. Needs an
    /// [`identity`](Self::identity).
    ///
    /// Without this call, peers connect only by [`answer`](crate::Endpoint::answer) and
    /// [`offer`](crate::Endpoint::offer), so that the service in front of these decides who connects.
    /// [`Incoming::way`](crate::Incoming::way) returns the way in which a peer has connected.
    pub fn accept_direct(mut self) -> Self {
        self.ways.direct = true;
        self
    }

    /// Sets the key and certificate of the endpoint. The endpoint then speaks DTLS with every peer, browsers among them
    /// (RFC 8261), and accepts nothing in the clear: packets that anyone can forge must not reach a port that others
    /// trust. Without an identity, the default, the endpoint speaks SCTP over plain UDP (RFC 6951), which neither
    /// encrypts nor authenticates.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.secure.identity = Some(identity);
        self
    }

    /// Tells peers that the endpoint is at this address and port, instead of at those of this machine's interfaces: for
    /// a server behind a NAT or in a container, whose public address no interface has. May be called several times. Has
    /// no effect without an [`identity`](Self::identity).
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.secure.advertised.push(address);
        self
    }

    /// Accepts also peers that connect without signalling as libp2p's `webrtc-direct` does (version 2), beside
    /// [`accept_direct`](Self::accept_direct). Default false: only peers that connect as the
    /// [ticket](crate::Endpoint::ticket) describes.
    pub fn accept_libp2p(mut self, accept: bool) -> Self {
        self.secure.prefixes.libp2p = accept;
        self
    }

    /// Restricts the endpoint to this version of DTLS. Default: 1.3 with peers that support it, else 1.2. For tests,
    /// and for networks in which 1.3 does not get through.
    pub fn only_dtls(mut self, version: DtlsVersion) -> Self {
        self.secure.versions = match version {
            DtlsVersion::Dtls12 => Versions::Only12,
            DtlsVersion::Dtls13 => Versions::Only13,
        };
        self
    }
}
