//! Connecting over plain UDP: which addresses may be dialled, and in which order.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Endpoint;
use crate::error::ConnectError;
use crate::handle::Association;

/// Time after which the next address is tried beside those that have not answered (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type DialAttempt<'a> = Pin<Box<dyn Future<Output = Result<Association, ConnectError>> + Send + 'a>>;

impl Endpoint {
    /// Connects to the first of these addresses that answers. The others are given up.
    pub(super) async fn connect_any(&self, addresses: Vec<SocketAddr>) -> Result<Association, ConnectError> {
        let mut addresses = addresses.into_iter();
        let mut attempts: Vec<DialAttempt<'_>> = Vec::new();
        let mut first_failure = None;
        loop {
            let next = addresses.next();
            let is_last = next.is_none();
            attempts.extend(next.map(|address| -> DialAttempt<'_> { Box::pin(self.connect_to(address)) }));
            if attempts.is_empty() && is_last {
                return Err(first_failure.unwrap_or(ConnectError::NoAddress));
            }
            match race(&mut attempts, !is_last).await {
                Some(Ok(association)) => return Ok(association),
                Some(Err(error)) => {
                    first_failure.get_or_insert(error);
                }
                None => {}
            }
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Association, ConnectError> {
        let association = self.dial_address(address)?;
        association.connected().await?;
        Ok(association)
    }

    pub(super) fn dial_address(&self, address: SocketAddr) -> Result<Association, ConnectError> {
        let remote = self.reachable(address)?;
        Ok(Association::new(self.core.connect(remote)?))
    }

    /// Returns the address as this socket writes it: an IPv6 socket reaches IPv4 peers by mapped addresses. Fails if no
    /// peer can be reached there.
    pub(super) fn reachable(&self, address: SocketAddr) -> Result<SocketAddr, ConnectError> {
        let ip = address.ip().to_canonical();
        if ip.is_unspecified() {
            return Err(ConnectError::Unspecified(address));
        }
        if address.port() == 0 || ip.is_multicast() {
            return Err(ConnectError::NoPeer(address));
        }
        if let SocketAddr::V6(v6) = address
            && v6.ip().is_unicast_link_local()
            && v6.scope_id() == 0
        {
            return Err(ConnectError::ScopeNeeded(address));
        }
        let local = self.local_address();
        if local.port() == address.port() && self.is_own(address) {
            return Err(ConnectError::Itself(address));
        }
        match (local, address) {
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

    /// True if datagrams to this address, at the endpoint's own port, come back to its socket.
    fn is_own(&self, address: SocketAddr) -> bool {
        let (local, ip) = (self.local_address().ip().to_canonical(), address.ip().to_canonical());
        if !local.is_unspecified() {
            return local == ip;
        }
        // A socket on all addresses of this machine: what another one may bind is among them.
        UdpSocket::bind((address.ip(), 0)).is_ok()
    }
}

/// Waits for an attempt to end; `None` when it is time for the next one.
async fn race(attempts: &mut Vec<DialAttempt<'_>>, has_more: bool) -> Option<Result<Association, ConnectError>> {
    if !has_more {
        return poll_fn(|cx| poll_attempts(attempts, cx).map(Some)).await;
    }
    let mut delay = pin!(tokio::time::sleep(ATTEMPT_DELAY));
    poll_fn(|cx| match poll_attempts(attempts, cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => delay.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Polls the attempts. Ready with the first one that has ended, which is removed.
fn poll_attempts(attempts: &mut Vec<DialAttempt<'_>>, cx: &mut Context<'_>) -> Poll<Result<Association, ConnectError>> {
    for index in 0..attempts.len() {
        if let Some(attempt) = attempts.get_mut(index)
            && let Poll::Ready(outcome) = attempt.as_mut().poll(cx)
        {
            drop(attempts.remove(index));
            return Poll::Ready(outcome);
        }
    }
    Poll::Pending
}

/// Looks up the addresses of a name, at least one.
pub(super) async fn look_up(target: String) -> Result<Vec<SocketAddr>, ConnectError> {
    // The resolver knows the names of interfaces, but not the brackets.
    let scoped = target.strip_prefix('[').and_then(|rest| rest.split_once("]:")).filter(|(ip, _)| ip.contains('%'));
    let found = match scoped.and_then(|(ip, port)| Some((ip.to_owned(), port.parse::<u16>().ok()?))) {
        Some(address) => tokio::net::lookup_host(address).await.map(Vec::from_iter),
        None => tokio::net::lookup_host(&target).await.map(Vec::from_iter),
    };
    let source = match found {
        Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
        Ok(_) => std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"),
        Err(error) => error,
    };
    Err(ConnectError::Address { target, source })
}
