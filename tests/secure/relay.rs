//! A network between two sockets, in user space: it may drop, count, and come from another port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Forwards between one client, which sends to [`address`](Self::address), and a server, which sees the relay as a NAT.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

type Rule = Box<dyn FnMut(Direction, &[u8]) -> bool + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    ToServer,
    ToClient,
}

struct Shared {
    inner: UdpSocket,
    server: SocketAddr,
    client: Mutex<Option<SocketAddr>>,
    outer: Mutex<Arc<UdpSocket>>,
    is_cut: AtomicBool,
    passed: AtomicU64,
    markers: AtomicU64,
    rule: Mutex<Rule>,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Self {
        let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let outer = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let shared = Arc::new(Shared {
            inner,
            server,
            client: Mutex::default(),
            outer: Mutex::new(Arc::clone(&outer)),
            is_cut: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            markers: AtomicU64::new(0),
            rule: Mutex::new(Box::new(|_, _| true)),
        });
        let relay = Self { address, shared: Arc::clone(&shared), tasks: Mutex::default() };
        let forward = tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let Ok((len, from)) = shared.inner.recv_from(&mut buffer).await else { continue };
                // A check of the port comes from a socket of its own, which is not the client.
                if shared.is_marker(&buffer[..len]) || buffer[..len].starts_with(&BINDING_INDICATION) {
                    continue;
                }
                *shared.client.lock().unwrap() = Some(from);
                if shared.passes(Direction::ToServer, &buffer[..len]) {
                    let outer = Arc::clone(&shared.outer.lock().unwrap());
                    let _ = outer.send_to(&buffer[..len], shared.server).await;
                }
            }
        });
        relay.tasks.lock().unwrap().push(forward);
        relay.listen(outer);
        relay
    }

    /// Says which datagrams pass from now on.
    pub fn rule(&self, rule: impl FnMut(Direction, &[u8]) -> bool + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Sets the client that receives datagrams for it before it has sent anything.
    pub fn set_client(&self, client: SocketAddr) {
        *self.shared.client.lock().unwrap() = Some(client);
    }

    /// Nothing passes any more, or everything again.
    pub fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// Waits until all that either end has sent so far has passed or been dropped.
    pub async fn settle(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let before = self.shared.markers.load(Ordering::Relaxed);
        for address in [self.address, self.outer()] {
            socket.send_to(MARKER, address).await.unwrap();
        }
        while self.shared.markers.load(Ordering::Relaxed) < before + 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Datagrams that have passed so far.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// The address that the server sees.
    pub fn outer(&self) -> SocketAddr {
        self.shared.outer.lock().unwrap().local_addr().unwrap()
    }

    /// A NAT that has lost its binding: new datagrams come from another port, and datagrams to the old port are lost.
    pub async fn rebind(&self) {
        let outer = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        *self.shared.outer.lock().unwrap() = Arc::clone(&outer);
        self.tasks.lock().unwrap().pop().unwrap().abort();
        self.listen(outer);
    }

    fn listen(&self, outer: Arc<UdpSocket>) {
        let shared = Arc::clone(&self.shared);
        self.tasks.lock().unwrap().push(tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let Ok((len, from)) = outer.recv_from(&mut buffer).await else { continue };
                if shared.is_marker(&buffer[..len]) {
                    continue;
                }
                let client = *shared.client.lock().unwrap();
                if let Some(client) = client.filter(|_| from == shared.server)
                    && shared.passes(Direction::ToClient, &buffer[..len])
                {
                    let _ = shared.inner.send_to(&buffer[..len], client).await;
                }
            }
        }));
    }
}

/// Message type of the STUN message that asks whether a port is closed (RFC 8489 §5).
const BINDING_INDICATION: [u8; 2] = [0, 0x11];

/// A datagram that is the relay's own.
const MARKER: &[u8] = b"all before this has been read";

impl Shared {
    fn is_marker(&self, datagram: &[u8]) -> bool {
        self.markers.fetch_add(u64::from(datagram == MARKER), Ordering::Relaxed);
        datagram == MARKER
    }

    fn passes(&self, direction: Direction, datagram: &[u8]) -> bool {
        let passes = !self.is_cut.load(Ordering::Relaxed) && (self.rule.lock().unwrap())(direction, datagram);
        self.passed.fetch_add(u64::from(passes), Ordering::Relaxed);
        passes
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.lock().unwrap().iter().for_each(JoinHandle::abort);
    }
}
