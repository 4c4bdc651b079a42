//! The handle of an endpoint.

mod accept_queue;
mod batch;
mod builder;
mod connect;
mod connect_target;
mod contained;
#[cfg(test)]
mod fault;
mod incoming;
mod port_check;
mod receive_loop;
mod routes;
#[cfg(feature = "webrtc")]
mod secure;
#[cfg(not(feature = "webrtc"))]
#[path = "no_secure.rs"]
mod secure;
mod seed;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use narrowboat_sctp::PacketDrops;

pub use builder::EndpointBuilder;
use connect_target::ConnectTarget;
pub use connect_target::Target;
pub use incoming::{Accepting, Incoming, WayIn};
#[cfg(feature = "axum")]
pub(crate) use secure::AnsweredOffer;
#[cfg(feature = "webrtc")]
pub use secure::{Answer, DtlsRole, Offer};
use shared::EndpointShared;

use crate::error::{BindError, ConnectError};
use crate::handle::Association;
pub use crate::socket::SocketStats;
use crate::waiters::WaiterKey;

/// One UDP socket, and every association on it: those that it dials, and those that peers open to it (RFC 6951).
///
/// A clone is another handle of the same endpoint. Associations go on when the last handle is dropped, but no more can
/// be accepted; the port is free again when they have ended too.
///
/// All tasks of an endpoint run in the tokio runtime in which it was created. Before the runtime ends, a program awaits
/// what is to be delivered: [`DataChannel::close`](crate::DataChannel::close), [`Association::shutdown`], or
/// [`close`](Self::close) and [`wait_idle`](Self::wait_idle). Associations that are left get an ABORT, so that their
/// peers do not wait, and a warning is logged; calls on their handles then end with an error.
pub struct Endpoint {
    core: Arc<EndpointShared>,
}

impl Endpoint {
    /// Creates an endpoint on this address with the default configuration, for plain UDP. The endpoint connects, and
    /// accepts every peer that reaches the port ([`EndpointBuilder::accept_plain`]). Port 0 is any free port.
    ///
    /// A host name is looked up, which blocks the thread; an IP address is not.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the call is made outside of a tokio runtime.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self, BindError> {
        Self::builder().bind(address).accept_plain().build()
    }

    /// Returns a builder, for an endpoint with other limits. The endpoint accepts no peers unless the builder opens a
    /// way in.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    /// Opens an association to a peer, and returns it at once: channels can be opened on it, and their messages are
    /// sent as soon as the peer has answered. [`Association::connected`] waits for that. Of several addresses, plain
    /// UDP uses the first one, and DTLS the first one that answers. Only [`connect`](Self::connect) looks up names.
    ///
    /// # Errors
    ///
    /// The address cannot be reached from this socket or has an association already; the target does not fit the
    /// endpoint, see [`connect`](Self::connect); or the endpoint is closed or full.
    pub fn dial(&self, target: impl Target) -> Result<Association, ConnectError> {
        match target.destination() {
            ConnectTarget::Addresses(addresses) => {
                let address = addresses.first().ok_or(ConnectError::NoAddress)?;
                self.dial_address(*address)
            }
            ConnectTarget::Name(target) => {
                let source =
                    std::io::Error::new(std::io::ErrorKind::InvalidInput, "names are looked up by connect only");
                Err(ConnectError::Address { target, source })
            }
            ConnectTarget::Secure(target) => self.dial_secure(target),
        }
    }

    /// Opens an association to a peer, and waits until it is established.
    ///
    /// With a [`Ticket`], or the text of one, the association is established over DTLS with a peer that has the
    /// ticket's certificate, at the first of the ticket's addresses that answers; the endpoint must have an
    /// [`identity`]. With an address and port the association is established over plain UDP, which neither encrypts nor
    /// authenticates; the endpoint must have no identity. Of several addresses, the first one that answers is used: the
    /// next one is tried after 250 ms, or when one has failed (RFC 8305 §5).
    ///
    /// Both ends may dial each other at the same time. The result is one association, which both calls return, and
    /// which neither end accepts. If the peer's association came first, this call fails with
    /// [`ConnectError::AlreadyConnected`], and [`accept`](Self::accept) returns that association. All this needs two
    /// ends that know each other by the same addresses.
    ///
    /// If nobody listens at an address, the call fails after about a second, provided that the host sends an ICMP error
    /// and no firewall drops it. A peer that does not answer is given up after
    /// [`init_max_retransmits`](narrowboat_sctp::AssociationConfig::init_max_retransmits) retransmissions, about a
    /// minute by default, or after 40 seconds over DTLS; `tokio::time::timeout` gives up earlier.
    ///
    /// # Errors
    ///
    /// The text is not an address or ticket; the address cannot be reached from this socket, has an association
    /// already, does not answer, or refuses; the peer has another certificate; the target does not fit the endpoint; or
    /// the endpoint is closed or full.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the association is given up.
    ///
    #[cfg_attr(feature = "webrtc", doc = " [`Ticket`]: crate::Ticket\n [`identity`]: EndpointBuilder::identity")]
    #[cfg_attr(not(feature = "webrtc"), doc = " [`Ticket`]: crate#features\n [`identity`]: crate#features")]
    pub async fn connect(&self, target: impl Target) -> Result<Association, ConnectError> {
        let addresses = match target.destination() {
            ConnectTarget::Addresses(addresses) => addresses,
            ConnectTarget::Name(name) => connect::look_up(name).await?,
            ConnectTarget::Secure(target) => {
                let association = self.dial_secure(target)?;
                association.connected().await?;
                return Ok(association);
            }
        };
        self.connect_any(addresses).await
    }

    /// Waits for an association that a peer opens. Returns `None` when the endpoint is closed, its runtime has ended,
    /// or its socket cannot be used any more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no association was accepted. Several tasks may wait; each
    /// association goes to one of them.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut waiter = EndpointWaitFuture { core: &self.core, key: WaiterKey::default() };
        poll_fn(|cx| waiter.core.poll_incoming(cx, &mut waiter.key)).await
    }

    /// Returns the address that the socket is bound to, with the port that it got.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.core.socket.local_address()
    }

    /// Stops accepting and opening associations, and ends the existing ones gracefully, in the background;
    /// [`wait_idle`](Self::wait_idle) waits for that.
    pub fn close(&self) {
        self.core.close();
    }

    /// Stops accepting and opening associations, and ends the existing ones at once: see [`Association::abort`].
    pub fn abort(&self, reason: &str) {
        self.core.abort(reason);
    }

    /// Waits until there is no association left. Each has then sent its peer everything that it had to send.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn wait_idle(&self) {
        let mut waiter = EndpointWaitFuture { core: &self.core, key: WaiterKey::default() };
        poll_fn(|cx| waiter.core.poll_idle(cx, &mut waiter.key)).await;
    }

    /// Returns statistics of the endpoint since its creation.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.core.stats()
    }
}

/// The endpoint's address and the number of its associations.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("local_address", &self.local_address())
            .field("associations", &self.core.stats().associations)
            .finish_non_exhaustive()
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

/// Statistics of an endpoint since its creation, and its present number of associations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Present associations, including those that are being opened or ended.
    pub associations: usize,
    /// Associations of peers that were refused, because the accept queue was full or the endpoint closed.
    pub refused: u64,
    /// Datagrams that were dropped before they reached an association, by reason.
    pub drops: PacketDrops,
    /// Datagrams that were answered or dropped before they reached an association over DTLS, by reason.
    #[cfg(feature = "webrtc")]
    pub secure: crate::SecureStats,
    /// Datagrams and bytes, and what the system refused.
    pub socket: SocketStats,
}

struct EndpointWaitFuture<'a> {
    core: &'a EndpointShared,
    key: WaiterKey,
}

impl Drop for EndpointWaitFuture<'_> {
    fn drop(&mut self) {
        self.core.unregister(&self.key);
    }
}

#[cfg(test)]
mod tests;
