//! How an endpoint is made.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use narrowboat_sctp::Valid;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::runtime::Handle;

#[cfg(feature = "webrtc")]
use super::secure::SecurePart;
use super::table::EndpointShared;
use super::{Endpoint, receive_loop};
use crate::config::Config;
use crate::error::BindError;
use crate::socket::Socket;
#[cfg(feature = "webrtc")]
use crate::webrtc::{DtlsVersion, Identity, direct::Prefixes, dtls::Versions};

/// Makes an [`Endpoint`]: an address, and limits of one's own where the default does not do.
///
/// ```no_run
/// # use narrowboat::Endpoint;
/// let endpoint = Endpoint::builder().bind("0.0.0.0:4433").max_message_size(256 << 10).build()?;
/// # Ok::<_, narrowboat::error::BindError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is bound before `build`"]
pub struct EndpointBuilder {
    addresses: io::Result<Vec<SocketAddr>>,
    config: Config,
    ways: Ways,
    #[cfg(feature = "webrtc")]
    secure: SecureOptions,
}

/// The ways in that are open without a description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    pub(crate) plain: bool,
    #[cfg(feature = "webrtc")]
    pub(crate) direct: bool,
}

/// What only an endpoint with an identity needs.
#[cfg(feature = "webrtc")]
#[derive(Debug, Default)]
struct SecureOptions {
    identity: Option<Identity>,
    advertised: Vec<SocketAddr>,
    prefixes: Prefixes,
    versions: Versions,
}

impl Default for EndpointBuilder {
    /// Any free port of every IPv4 address.
    fn default() -> Self {
        Self {
            addresses: Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]),
            config: Config::default(),
            ways: Ways::default(),
            #[cfg(feature = "webrtc")]
            secure: SecureOptions::default(),
        }
    }
}

impl EndpointBuilder {
    /// Where to listen: an address and port of this machine; 0.0.0.0 is all of its IPv4 addresses, `[::]` is all of its
    /// addresses. Port 0 is any free one. Of several addresses of a name, the first one that can be bound.
    pub fn bind(mut self, address: impl ToSocketAddrs) -> Self {
        self.addresses = address.to_socket_addrs().map(Iterator::collect);
        self
    }

    /// Replaces every limit.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Accepts peers over plain UDP: whoever reaches the port. Only of an endpoint without an identity. Without this call
    /// such an endpoint only connects.
    pub fn accept_plain(mut self) -> Self {
        self.ways.plain = true;
        self
    }

    /// Accepts peers that come with the endpoint's [ticket](Endpoint::ticket), without signalling: whoever reaches the port
    /// and has seen the ticket or an answer of the endpoint, which both name its certificate. Only of an endpoint with an
    /// [`identity`](Self::identity).
    ///
    /// Without this call, peers come only by [`Endpoint::answer`] and [`Endpoint::offer`], so that whoever is in front of
    /// these decides who comes. [`Incoming::way`](crate::Incoming::way) tells which way a peer has come.
    #[cfg(feature = "webrtc")]
    pub fn accept_direct(mut self) -> Self {
        self.ways.direct = true;
        self
    }

    /// Largest message, in both directions; see
    /// [`message_size_max`](narrowboat_dcep::ChannelsConfig::message_size_max) and
    /// [`peer_message_size_max`](narrowboat_dcep::ChannelsConfig::peer_message_size_max).
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config.channels.message_size_max = bytes;
        self.config.channels.peer_message_size_max = bytes;
        self
    }

    /// Associations at the same time; see [`Config::associations_max`].
    pub fn max_associations(mut self, count: usize) -> Self {
        self.config.associations_max = count;
        self
    }

    /// Channels of one association at the same time; see
    /// [`channels_max`](narrowboat_dcep::ChannelsConfig::channels_max).
    pub fn max_channels(mut self, count: usize) -> Self {
        self.config.channels.channels_max = count;
        self
    }

    /// Bytes that a peer may have unread here; see
    /// [`receive_window`](narrowboat_sctp::AssociationConfig::receive_window).
    pub fn receive_window(mut self, bytes: u32) -> Self {
        self.config.association.receive_window = bytes;
        self
    }

    /// Bytes that all associations together may hold; see [`Config::memory_max`].
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.config.memory_max = bytes;
        self
    }

    /// Gives the endpoint a key and a certificate. It then speaks DTLS with every peer, browsers among them (RFC 8261),
    /// and takes nothing in the clear: what anyone could forge must not reach a port that others trust. Without an
    /// identity, the default, it speaks SCTP over plain UDP (RFC 6951), which neither encrypts nor authenticates.
    #[cfg(feature = "webrtc")]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.secure.identity = Some(identity);
        self
    }

    /// Tells peers that the endpoint is at this address and port, instead of at those of this machine's interfaces: for a
    /// server behind a NAT or in a container, whose public address no interface has. May be called several times; of no
    /// effect without an [`identity`](Self::identity).
    #[cfg(feature = "webrtc")]
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.secure.advertised.push(address);
        self
    }

    /// Also takes peers that come without signalling the way that libp2p's `webrtc-direct` does (version 2), beside
    /// [`accept_direct`](Self::accept_direct). Default false: only those that come the way that [`Endpoint::ticket`]
    /// describes.
    #[cfg(feature = "webrtc")]
    pub fn accept_libp2p(mut self, accept: bool) -> Self {
        self.secure.prefixes.libp2p = accept;
        self
    }

    /// Speaks only this version of DTLS. Default: 1.3 with peers that know it, else 1.2. For tests, and for networks
    /// where something between chokes on 1.3.
    #[cfg(feature = "webrtc")]
    pub fn only_dtls(mut self, version: DtlsVersion) -> Self {
        self.secure.versions = match version {
            DtlsVersion::Dtls12 => Versions::Only12,
            DtlsVersion::Dtls13 => Versions::Only13,
        };
        self
    }

    /// Binds the socket and starts the endpoint.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, a limit is out of range, or this is not called from within a tokio runtime.
    pub fn build(mut self) -> Result<Endpoint, BindError> {
        let config = Valid::new(std::mem::take(&mut self.config))?;
        #[cfg(feature = "webrtc")]
        match (&self.secure.identity, self.ways) {
            (Some(_), Ways { plain: true, .. }) => return Err(BindError::PlainWithIdentity),
            (None, Ways { direct: true, .. }) => return Err(BindError::IdentityNeeded),
            _ => {}
        }
        let addresses = std::mem::replace(&mut self.addresses, Ok(Vec::new())).map_err(BindError::Address)?;
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let mut failure = BindError::Address(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match Socket::bind(address, config.socket_receive_buffer, config.socket_send_buffer) {
                Ok(socket) => {
                    let core = self.core(socket, config, runtime.clone())?;
                    runtime.spawn(receive_loop::run(Arc::clone(&core)));
                    return Ok(Endpoint { core });
                }
                Err(error) => failure = BindError::from_io(address, error),
            }
        }
        Err(failure)
    }

    fn core(self, socket: Socket, config: Valid<Config>, runtime: Handle) -> Result<Arc<EndpointShared>, BindError> {
        #[cfg(feature = "webrtc")]
        {
            let SecureOptions { identity, advertised, mut prefixes, versions } = self.secure;
            if let Some(identity) = identity {
                prefixes.is_closed = !self.ways.direct;
                let part = SecurePart::new(identity, advertised, prefixes, versions, &config)?;
                return EndpointShared::secure(socket, config, self.ways, runtime, part);
            }
        }
        EndpointShared::plain(socket, config, self.ways, runtime)
    }
}

/// Everything secret of an endpoint comes from such seeds: cookie keys, verification tags, initial TSNs, passwords.
pub(super) fn draw_seed() -> Result<[u8; 32], BindError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| BindError::Random(io::Error::other(error)))?;
    Ok(seed)
}
