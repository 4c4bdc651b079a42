//! Finds out that nobody listens where this end connects to.
//!
//! A host answers a datagram to a closed port with an ICMP error. Systems report the error to a socket that is
//! connected to the port, and the endpoint's socket is connected to nobody. Linux would queue the errors of such a
//! socket, too (`IP_RECVERR`), but a call that sends to one peer then fails because of another, and tokio takes a
//! socket with a queued error for one that can always be written to. So a socket of its own asks, which costs an
//! association nothing once it is established, and works on every system.
//!
//! An ICMP error is a hint: anybody can forge one who knows both ports (RFC 8085 §5.2). It ends an attempt to connect
//! that nobody has answered, and never an association.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::association::{PROGRESS, Shared, WaitFuture};

/// Time before the first question, and between the first two: most peers have answered by then and are not asked. It
/// doubles from then on.
const PAUSE_INITIAL: Duration = Duration::from_millis(500);

/// Questions sent to a peer at most. The last question is four seconds old when the socket is closed.
const QUESTIONS_MAX: u32 = 4;

/// Sockets that ask at the same time, of one endpoint. Other attempts wait for one, so that who dials thousands of
/// peers that are gone has files left to open.
const SOCKETS_MAX: usize = 64;

/// ICMP errors in a row that end an attempt. One may be about a service that is just being started again.
const REFUSALS_MAX: u32 = 2;

/// A STUN Binding Indication (RFC 8489 §5): nobody answers it, and an endpoint with an identity expects such a thing.
const QUESTION: [u8; 20] = [0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

type Check = Pin<Box<dyn Future<Output = SocketAddr> + Send>>;

/// Checks of ports, of one endpoint.
#[derive(Debug)]
pub(super) struct PortChecks {
    sockets: Arc<Semaphore>,
}

impl Default for PortChecks {
    fn default() -> Self {
        Self { sockets: Arc::new(Semaphore::new(SOCKETS_MAX)) }
    }
}

impl PortChecks {
    /// Ends an attempt to connect from `local` when the system says that nobody listens at any of `remotes`.
    pub(super) fn start(&self, runtime: &Handle, local: SocketAddr, shared: &Arc<Shared>, remotes: &[SocketAddr]) {
        let check = |remote: &SocketAddr| Box::pin(find_closed(Arc::clone(&self.sockets), local, *remote)) as Check;
        runtime.spawn(run(Arc::clone(shared), remotes.iter().map(check).collect()));
    }
}

/// Runs until the association is established or has ended.
async fn run(shared: Arc<Shared>, mut checks: Vec<Check>) {
    let mut waiter = WaitFuture::new(&shared, PROGRESS);
    let mut is_settled = pin!(waiter.wait(|inner, _| match inner.life.was_connected() || inner.life.is_closed() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }));
    poll_fn(|cx| {
        if is_settled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        checks.retain_mut(|check| match check.as_mut().poll(cx) {
            Poll::Ready(remote) => {
                shared.on_port_closed(remote);
                false
            }
            Poll::Pending => true,
        });
        Poll::Pending
    })
    .await;
}

/// Returns the address when nobody listens there; never otherwise.
async fn find_closed(sockets: Arc<Semaphore>, local: SocketAddr, remote: SocketAddr) -> SocketAddr {
    if !is_closed(&sockets, local, remote).await.unwrap_or(false) {
        // The time-out of the handshake says that nobody answers.
        std::future::pending::<()>().await;
    }
    remote
}

/// Returns true if enough questions in a row were refused.
///
/// # Errors
///
/// The system gives no socket that could ask.
async fn is_closed(sockets: &Semaphore, local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    let mut pause = PAUSE_INITIAL;
    tokio::time::sleep(pause).await;
    let _permit = sockets.acquire().await.map_err(io::Error::other)?;
    let socket = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).await?;
    socket.connect(remote).await?;
    let mut refusals = 0;
    for _ in 0..QUESTIONS_MAX {
        let asked_at = tokio::time::Instant::now();
        refusals = if is_refused(&socket, pause).await { refusals + 1 } else { 0 };
        if refusals >= REFUSALS_MAX {
            return Ok(true);
        }
        tokio::time::sleep_until(asked_at + pause).await;
        pause *= 2;
    }
    Ok(false)
}

/// Asks once, and waits this long for an error.
async fn is_refused(socket: &UdpSocket, patience: Duration) -> bool {
    let error = match socket.send(&QUESTION).await {
        Ok(_) => tokio::time::timeout(patience, next_error(socket)).await.ok(),
        Err(error) => Some(error),
    };
    matches!(error.map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset))
}

/// Waits for what the system has to say about a datagram that was sent.
async fn next_error(socket: &UdpSocket) -> io::Error {
    let taken =
        socket.async_io(Interest::ERROR, || socket.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into()));
    taken.await.unwrap_or_else(|error| error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::Endpoint;

    /// Anybody can forge the ICMP error that says so.
    #[tokio::test]
    async fn c09_a_port_that_is_said_to_be_closed_ends_no_association() {
        let bind = || Endpoint::bind("127.0.0.1:0").unwrap();
        let (client, server) = (bind(), bind());
        let accepted = async { server.accept().await.unwrap().await.unwrap() };
        let (near, far) = tokio::join!(client.connect(server.local_address()), accepted);
        let near = near.unwrap();
        for shared in client.core.routes().associations() {
            shared.on_port_closed(server.local_address());
        }
        let channel = near.create_channel("goes on").unwrap();
        let taken = tokio::time::timeout(Duration::from_secs(20), far.accept_channel()).await;
        assert_eq!(taken.unwrap().unwrap().label(), channel.label());
    }
}
