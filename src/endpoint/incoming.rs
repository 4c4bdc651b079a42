//! An association that a peer has made, before the application has taken it.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::association::{Association, Shared};
use crate::error::ConnectError;

/// An association that a peer has made; awaited, it is an [`Association`]. Dropping it refuses it.
#[derive(Debug)]
pub struct Incoming {
    association: Option<Association>,
    shared: Arc<Shared>,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { association: Some(Association::new(Arc::clone(&shared))), shared }
    }

    /// The peer's address and port. The handshake has shown that the peer receives there.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.remote_address()
    }

    /// Ends the association with an ABORT.
    pub fn refuse(self) {
        drop(self);
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
    association.connected().await?;
    Ok(association)
}

/// An association that is being taken; see [`Incoming`].
///
/// # Cancel safety
///
/// Dropping it ends the association.
pub struct Accepting(Pin<Box<dyn Future<Output = Result<Association, ConnectError>> + Send>>);

impl Future for Accepting {
    type Output = Result<Association, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accepting")
    }
}
