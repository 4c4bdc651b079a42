//! The program that is flooded: it takes everybody and reads all that they send.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use narrowboat::{Endpoint, Identity};

use crate::Result;

/// Prints where it is, twice: for those who connect and for those who flood. Then answers each line with the number of
/// bytes that it has received in messages, until its input ends.
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
