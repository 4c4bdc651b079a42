//! A relay between the browsers and the endpoint that drops a share of the endpoint's datagrams: loss to play with,
//! where there is none.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;

/// Browsers at the same time; more are not relayed.
const FLOWS_MAX: usize = 256;
/// Limit on the flows from one address, so that one host does not keep all others out. A page that is loaded again has
/// another port.
const FLOWS_PER_ADDRESS_MAX: usize = 32;
/// A browser that has sent nothing for so long is gone: while it is there, it asks for consent every few seconds.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The relay's public end.
pub(crate) struct Relay {
    public: UdpSocket,
    /// Address of browsers as the endpoint sees it, and as it tells them. Firefox accepts no loopback address there.
    inside: IpAddr,
    /// By the browser's address.
    flows: Mutex<HashMap<SocketAddr, Arc<Flow>>>,
}

/// One browser, and the socket that stands for it at the endpoint.
struct Flow {
    socket: UdpSocket,
    /// Share of datagrams that are dropped, as the bits of an `f64`.
    loss: AtomicU64,
}

impl Relay {
    /// Listens on all addresses, on any free port.
    pub(crate) async fn bind(inside: IpAddr) -> io::Result<Arc<Self>> {
        let public = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        Ok(Arc::new(Self { public, inside, flows: Mutex::default() }))
    }

    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.public.local_addr()?.port())
    }

    /// Sets the share that is lost on the way to the browser whose association has this remote address.
    pub(crate) fn set_loss(&self, association: SocketAddr, share: f64) {
        #[expect(clippy::iter_over_hash_type, reason = "flows do not depend on each other")]
        for flow in self.flows.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if flow.socket.local_addr().is_ok_and(|address| address.port() == association.port()) {
                flow.loss.store(share.to_bits(), Ordering::Relaxed);
            }
        }
    }

    /// Returns the address of the browser whose association has this remote address, which is the relay's own.
    pub(crate) fn browser(&self, association: SocketAddr) -> SocketAddr {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |flow: &Flow| flow.socket.local_addr().is_ok_and(|address| address.port() == association.port());
        flows.iter().find(|(_, flow)| is_of(flow)).map_or(association, |(browser, _)| *browser)
    }

    /// Relays to and from the endpoint at this address, until the process ends.
    pub(crate) async fn run(self: Arc<Self>, endpoint: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            // A datagram that could not be delivered is reported here; the next one is waiting all the same.
            let Ok((len, browser)) = self.public.recv_from(&mut buffer).await else { continue };
            if let Some(flow) = self.flow(browser, endpoint).await {
                let _ = flow.socket.send(buffer.get(..len).unwrap_or_default()).await;
            }
        }
    }

    async fn flow(self: &Arc<Self>, browser: SocketAddr, endpoint: SocketAddr) -> Option<Arc<Flow>> {
        {
            let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
            match flows.get(&browser) {
                Some(flow) => return Some(Arc::clone(flow)),
                None if flows.len() >= FLOWS_MAX => return None,
                None => {
                    let of_address = flows.keys().filter(|other| other.ip() == browser.ip()).count();
                    if of_address >= FLOWS_PER_ADDRESS_MAX {
                        return None;
                    }
                }
            }
        }
        let socket = UdpSocket::bind((self.inside, 0)).await.ok()?;
        socket.connect(endpoint).await.ok()?;
        let flow = Arc::new(Flow { socket, loss: AtomicU64::new(0) });
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(browser, Arc::clone(&flow));
        tokio::spawn(Arc::clone(self).relay_back(browser, Arc::clone(&flow)));
        Some(flow)
    }

    /// Relays the endpoint's datagrams, except for the lost ones.
    async fn relay_back(self: Arc<Self>, browser: SocketAddr, flow: Arc<Flow>) {
        let mut buffer = vec![0; 65_536];
        while let Ok(received) = tokio::time::timeout(IDLE_MAX, flow.socket.recv(&mut buffer)).await {
            let Ok(len) = received else { continue };
            if rand::random::<f64>() >= f64::from_bits(flow.loss.load(Ordering::Relaxed)) {
                let _ = self.public.send_to(buffer.get(..len).unwrap_or_default(), browser).await;
            }
        }
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).remove(&browser);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn l03_one_address_does_not_keep_others_out() {
        let relay = Relay::bind(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let endpoint = SocketAddr::from(([127, 0, 0, 1], 9));
        for port in 1..=1_000 {
            let flow = relay.flow(SocketAddr::from(([192, 0, 2, 1], port)), endpoint).await;
            assert_eq!(flow.is_some(), usize::from(port) <= FLOWS_PER_ADDRESS_MAX, "{port}");
        }
        assert!(relay.flow(SocketAddr::from(([192, 0, 2, 2], 1)), endpoint).await.is_some());
        assert!(relay.flow(SocketAddr::from(([192, 0, 2, 1], 1)), endpoint).await.is_some(), "it was there before");
    }
}
