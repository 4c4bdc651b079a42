//! Methods of the builder for endpoints with an identity.

use std::net::SocketAddr;

use crate::endpoint::builder::EndpointBuilder;
use crate::webrtc::{DtlsVersion, Identity, dtls::Versions};

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
