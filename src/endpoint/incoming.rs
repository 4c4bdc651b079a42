//! An association that a peer has opened, before the application has accepted it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::association::Shared;
use crate::error::ConnectError;
use crate::handle::Association;

/// An association that a peer has opened. Awaiting it returns the [`Association`]; dropping it refuses the association.
pub struct Incoming {
    association: Option<Association>,
    shared: Arc<Shared>,
    way: WayIn,
}

/// Way in which a peer has connected. A way is open only if the [`EndpointBuilder`](crate::EndpointBuilder) was asked
/// for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WayIn {
    /// Over plain UDP, neither encrypted nor authenticated; see
    /// [`accept_plain`](crate::EndpointBuilder::accept_plain).
    Plain,
    /// With the endpoint's ticket, without signalling: any peer that has seen the hash of its certificate; see
    /// `accept_direct`.
    Direct,
    /// By an offer that this end has answered; see `Endpoint::answer_for_accept` and `signalling`.
    AnsweredOffer,
}

/// The ways in that are open without a description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    pub(crate) plain: bool,
    pub(crate) direct: bool,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>, way: WayIn) -> Self {
        Self { association: Some(Association::new(Arc::clone(&shared))), shared, way }
    }

    /// Returns the way in which the peer has connected.
    #[must_use]
    pub fn way(&self) -> WayIn {
        self.way
    }

    /// Returns the peer's address and port. The handshake has shown that the peer receives there.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.remote_address()
    }

    /// Ends the association with an ABORT.
    pub fn refuse(self) {
        drop(self);
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = self.remote_address();
        f.debug_struct("Incoming").field("remote_address", &remote).field("way", &self.way).finish_non_exhaustive()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(association) = self.association.take() {
            association.abort("refused");
        }
    }
}

impl IntoFuture for Incoming {
    type Output = Result<Association, ConnectError>;
    type IntoFuture = Accepting;

    fn into_future(self) -> Accepting {
        Accepting(Box::pin(accept(self)))
    }
}

async fn accept(mut incoming: Incoming) -> Result<Association, ConnectError> {
    let association = incoming.association.take().ok_or(ConnectError::EndpointClosed)?;
    match association.connected().await {
        // One that has ended since it was established still has what arrived before.
        Err(_) if association.was_connected() => Ok(association),
        outcome => outcome.map(|()| association),
    }
}

/// An association that is being accepted; see [`Incoming`].
///
/// # Cancel safety
///
/// Dropping the future ends the association.
pub struct Accepting(Pin<Box<dyn Future<Output = Result<Association, ConnectError>> + Send>>);

impl Future for Accepting {
    type Output = Result<Association, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Accepting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accepting")
    }
}
