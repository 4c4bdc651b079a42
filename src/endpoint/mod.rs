//! The handle of an endpoint.

mod answers;
mod builder;
mod incoming;
mod receive;
mod router;
mod table;

use std::future::poll_fn;
use std::net::{SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::sync::Arc;

use narrowboat_sctp::Drops;

pub use builder::EndpointBuilder;
pub use incoming::{Accepting, Incoming};
use table::Core;

use crate::association::Association;
use crate::error::{BindError, ConnectError};
pub use crate::socket::SocketStats;
use crate::waiters::WaiterKey;

/// One UDP socket, and every association on it: those that it dials, and those that peers open to it (RFC 6951).
///
/// A clone is another handle of the same endpoint. Associations go on when the last handle is dropped, but no more can
/// be accepted; the port is free again when they have ended too.
#[derive(Debug)]
pub struct Endpoint {
    core: Arc<Core>,
}

impl Endpoint {
    /// An endpoint on this address with the default configuration. Port 0 takes any free port.
    ///
    /// A host name is looked up, which blocks the thread; an IP address is not.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or this is not called from within a tokio runtime.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self, BindError> {
        Self::builder().bind(address).build()
    }

    /// An endpoint with limits of one's own.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    /// Begins an association with a peer, and returns it at once: channels can be made on it, and what is sent on them
    /// leaves as soon as the peer has answered. [`Association::connected`] waits for that.
    ///
    /// # Errors
    ///
    /// The address cannot be reached from this socket or has an association already; or the endpoint is closed or full.
    pub fn dial(&self, address: SocketAddr) -> Result<Association, ConnectError> {
        let remote = self.reachable(address)?;
        Ok(Association::new(self.core.connect(remote)?))
    }

    /// Opens an association to a peer, and waits until it is established. Of several addresses of a name, the first
    /// one that answers is taken.
    ///
    /// A peer that does not answer is given up after
    /// [`init_max_retransmits`](narrowboat_sctp::Config::init_max_retransmits) repetitions, about a minute by default;
    /// `tokio::time::timeout` gives up earlier.
    ///
    /// # Errors
    ///
    /// The address is no address, cannot be reached from this socket, has an association already, does not answer, or
    /// refuses; or the endpoint is closed or full.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives the association up.
    pub async fn connect(&self, address: impl tokio::net::ToSocketAddrs) -> Result<Association, ConnectError> {
        let mut failure = None;
        for address in tokio::net::lookup_host(address).await.map_err(ConnectError::Address)? {
            match self.connect_to(address).await {
                Ok(association) => return Ok(association),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            ConnectError::Address(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
        }))
    }

    /// Waits for an association that a peer opens. `None` when the endpoint is closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken none. Several tasks may wait; each association goes to one of them.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut waiter = Waiter { core: &self.core, key: WaiterKey::default() };
        poll_fn(|cx| waiter.core.poll_incoming(cx, &mut waiter.key)).await
    }

    /// The address that the socket is bound to, with the port that it got.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.core.socket.local_address()
    }

    /// Accepts and opens no more associations, and ends those that there are gracefully, in the background;
    /// [`wait_idle`](Self::wait_idle) waits for that.
    pub fn close(&self) {
        self.core.close();
    }

    /// Accepts and opens no more associations, and ends those that there are at once: see [`Association::abort`].
    pub fn abort(&self, reason: &str) {
        self.core.abort(reason);
    }

    /// Waits until there is no association, each having told its peer all it had to.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing.
    pub async fn wait_idle(&self) {
        let mut waiter = Waiter { core: &self.core, key: WaiterKey::default() };
        poll_fn(|cx| waiter.core.poll_idle(cx, &mut waiter.key)).await;
    }

    /// What the endpoint has done so far.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.core.stats()
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Association, ConnectError> {
        let association = self.dial(address)?;
        association.connected().await?;
        Ok(association)
    }

    /// The address as this socket writes it: an IPv6 socket reaches IPv4 peers by mapped addresses.
    fn reachable(&self, address: SocketAddr) -> Result<SocketAddr, ConnectError> {
        match (self.local_address(), address) {
            (SocketAddr::V4(_), SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Ok(SocketAddr::from((v4, v6.port()))),
                None => Err(ConnectError::AddressFamily(address)),
            },
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                Ok(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into())
            }
            _ => Ok(address),
        }
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        self.core.hold();
        Self { core: Arc::clone(&self.core) }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.core.release();
    }
}

/// What an endpoint has done so far, and how many associations it has now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Associations now, those being opened or ended included.
    pub associations: usize,
    /// Associations of peers that were refused, because the accept queue was full or the endpoint closed.
    pub refused: u64,
    /// Datagrams that were dropped before they reached an association, by reason.
    pub drops: Drops,
    /// Datagrams and bytes, and what the system refused.
    pub socket: SocketStats,
}

struct Waiter<'a> {
    core: &'a Core,
    key: WaiterKey,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.core.unregister(&self.key);
    }
}
