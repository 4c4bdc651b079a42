//! How an endpoint is made.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::table::Core;
use super::{Endpoint, receive};
use crate::config::Config;
use crate::error::BindError;
use crate::socket::Socket;

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
}

impl Default for EndpointBuilder {
    /// Any free port of every IPv4 address.
    fn default() -> Self {
        Self { addresses: Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]), config: Config::default() }
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

    /// Whether peers may open associations; see [`Config::accept`].
    pub fn accept(mut self, accept: bool) -> Self {
        self.config.accept = accept;
        self
    }

    /// Largest message, in both directions; see
    /// [`message_size_max`](narrowboat_dcep::Config::message_size_max) and
    /// [`peer_message_size_max`](narrowboat_dcep::Config::peer_message_size_max).
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
    /// [`channels_max`](narrowboat_dcep::Config::channels_max).
    pub fn max_channels(mut self, count: usize) -> Self {
        self.config.channels.channels_max = count;
        self
    }

    /// Bytes that a peer may have unread here; see
    /// [`receive_window`](narrowboat_sctp::Config::receive_window).
    pub fn receive_window(mut self, bytes: u32) -> Self {
        self.config.association.receive_window = bytes;
        self
    }

    /// Binds the socket and starts the endpoint.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, a limit is out of range, or this is not called from within a tokio runtime.
    pub fn build(self) -> Result<Endpoint, BindError> {
        let Self { addresses, config } = self;
        config.validate()?;
        let addresses = addresses.map_err(BindError::Address)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let mut failure = BindError::Address(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match Socket::bind(address, config.socket_receive_buffer, config.socket_send_buffer) {
                Ok(socket) => {
                    let core = Core::new(socket, config, runtime.clone())
                        .map_err(|source| BindError::Io { address, source })?;
                    runtime.spawn(receive::receive(std::sync::Arc::clone(&core)));
                    return Ok(Endpoint { core });
                }
                Err(error) => failure = BindError::from_io(address, error),
            }
        }
        Err(failure)
    }
}
