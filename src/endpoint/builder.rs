//! Configuration and creation of an endpoint.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use narrowboat_sctp::Valid;
use tokio::runtime::Handle;
use tracing::Instrument;

use super::incoming::Ways;
use super::secure::SecureOptions;
use super::shared::EndpointShared;
use super::{Endpoint, receive_loop};
use crate::config::Config;
use crate::error::BindError;
use crate::socket::Socket;

/// Configures and creates an [`Endpoint`].
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
    pub(super) ways: Ways,
    pub(super) secure: SecureOptions,
}

impl Default for EndpointBuilder {
    /// Creates a builder for any free port of every IPv4 address.
    fn default() -> Self {
        Self {
            addresses: Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]),
            config: Config::default(),
            ways: Ways::default(),
            secure: SecureOptions::default(),
        }
    }
}

impl EndpointBuilder {
    /// Sets the address to listen on: an address and port of this machine. 0.0.0.0 is all of its IPv4 addresses, `[::]`
    /// is all of its addresses, and port 0 is any free port. If a name has several addresses, the first one that can be
    /// bound is used.
    pub fn bind(mut self, address: impl ToSocketAddrs) -> Self {
        self.addresses = address.to_socket_addrs().map(Iterator::collect);
        self
    }

    /// Replaces every limit.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Accepts every peer that reaches the port over plain UDP. For an endpoint without an identity only. Without this
    /// call such an endpoint only connects.
    pub fn accept_plain(mut self) -> Self {
        self.ways.plain = true;
        self
    }

    /// Sets the largest message, in both directions; see
    /// [`message_size_max`](narrowboat_dcep::ChannelsConfig::message_size_max) and
    /// [`peer_message_size_max`](narrowboat_dcep::ChannelsConfig::peer_message_size_max).
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config.channels.message_size_max = bytes;
        self.config.channels.peer_message_size_max = bytes;
        self
    }

    /// Sets the largest number of associations at the same time; see [`Config::associations_max`].
    pub fn max_associations(mut self, count: usize) -> Self {
        self.config.associations_max = count;
        self
    }

    /// Sets the largest number of channels of one association at the same time; see
    /// [`channels_max`](narrowboat_dcep::ChannelsConfig::channels_max).
    pub fn max_channels(mut self, count: usize) -> Self {
        self.config.channels.channels_max = count;
        self
    }

    /// Sets the number of bytes that a peer may have unread here; see
    /// [`receive_window`](narrowboat_sctp::AssociationConfig::receive_window).
    pub fn receive_window(mut self, bytes: u32) -> Self {
        self.config.association.receive_window = bytes;
        self
    }

    /// Sets the time after which a peer that answers nothing is given up, idle or not; 1 s to 24 h, 60 s by default.
    /// Over DTLS a peer is also given up when its consent ends (RFC 7675 §5.1): after this time, but 30 s at most and
    /// 10 s at least. See [`idle_timeout`](narrowboat_sctp::AssociationConfig::idle_timeout) for what counts as an
    /// answer, and [`consent_timeout`](Config::consent_timeout) for consent.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.association.idle_timeout = timeout;
        self
    }

    /// Sets the number of bytes that all associations together may hold; see [`Config::memory_max`].
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.config.memory_max = bytes;
        self
    }

    /// Binds the socket and starts the endpoint.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, a limit is out of range, or the call is made outside of a tokio runtime.
    pub fn build(mut self) -> Result<Endpoint, BindError> {
        let config = Valid::new(std::mem::take(&mut self.config))?;
        self.secure.check(self.ways)?;
        let addresses = std::mem::replace(&mut self.addresses, Ok(Vec::new())).map_err(BindError::Address)?;
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let mut failure = BindError::Address(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match Socket::bind(address, config.socket_receive_buffer, config.socket_send_buffer) {
                Ok(socket) => {
                    let core = self.core(socket, config, runtime.clone())?;
                    runtime.spawn(receive_loop::run(Arc::clone(&core)).instrument(core.span.clone()));
                    tracing::info!(
                        local_address = %core.socket.local_address(),
                        is_secure = core.secure.is_some(),
                        "endpoint bound"
                    );
                    return Ok(Endpoint { core });
                }
                Err(error) => failure = BindError::from_io(address, error),
            }
        }
        Err(failure)
    }

    fn core(self, socket: Socket, config: Valid<Config>, runtime: Handle) -> Result<Arc<EndpointShared>, BindError> {
        let secure = self.secure.part(self.ways, &config)?;
        EndpointShared::new(socket, config, self.ways, runtime, secure).map(Arc::new)
    }
}
