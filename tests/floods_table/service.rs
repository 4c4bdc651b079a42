//! The program that is flooded: it takes everybody and reads all that they send.

use std::io::{BufRead, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use narrowboat::{Endpoint, Identity};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::Result;

/// Bytes that the system joins at most, for one buffer of a batch.
const JOINED_MAX: usize = 65_535;

/// Prints three lines: how to connect, the address of the endpoint, and the address of a socket whose datagrams are
/// received and dropped. Then answers each line with the number of bytes received in messages, until its input ends.
pub(crate) fn run(is_secure: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let builder = Endpoint::builder().bind("127.0.0.1:0");
    let endpoint = match is_secure {
        true => builder.identity(Identity::generate()?).accept_direct().build()?,
        false => builder.accept_plain().build()?,
    };
    let address = endpoint.local_address();
    match is_secure {
        true => println!("{}", endpoint.ticket()?),
        false => println!("{address}"),
    }
    println!("{address}");
    println!("{}", drop_all()?);
    let received = Arc::new(AtomicU64::new(0));
    runtime.spawn(accept(endpoint, Arc::clone(&received)));
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", received.load(Ordering::Relaxed));
    }
    Ok(())
}

async fn accept(endpoint: Endpoint, received: Arc<AtomicU64>) {
    while let Some(incoming) = endpoint.accept().await {
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let Ok(association) = incoming.await else { return };
            while let Some(channel) = association.accept_channel().await {
                while let Some(Ok(message)) = channel.recv().await {
                    received.fetch_add(message.len() as u64, Ordering::Relaxed);
                }
            }
        });
    }
}

/// Binds a socket, receives from it as an endpoint does, and drops all datagrams. Returns its address. No endpoint can
/// spend less on a datagram.
fn drop_all() -> Result<SocketAddr> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let address = socket.local_addr()?;
    let socket = UdpSocket::from_std(socket)?;
    tokio::spawn(async move {
        let mut memory = vec![0; JOINED_MAX * BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        while socket.readable().await.is_ok() {
            let mut chunks = memory.chunks_exact_mut(JOINED_MAX);
            let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let received = socket.try_io(Interest::READABLE, || {
                let count = state.recv(UdpSockRef::from(&socket), &mut buffers, &mut metas)?;
                // The socket is empty after less than a batch; as in the endpoint, no call is spent on that.
                if count < BATCH_SIZE { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            drop(received);
        }
    });
    Ok(address)
}
