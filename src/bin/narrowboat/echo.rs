//! `narrowboat echo`.

use narrowboat::{DataChannel, Incoming};

use crate::arguments::Echo;
use crate::text::printable;
use crate::{Failure, network, report};

/// Channels of a peer.
const CHANNELS_MAX: usize = 4_096;

pub(crate) async fn run(arguments: Echo) -> Result<(), Failure> {
    let endpoint = network::listen(&arguments.listen, CHANNELS_MAX, "echoing").await?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(serve(incoming));
    }
    Ok(())
}

async fn serve(incoming: Incoming) {
    let peer = incoming.remote_address();
    let association = match incoming.await {
        Ok(association) => association,
        Err(error) => return report::print(&format!("{peer}: {error}")),
    };
    report::print(&format!("{peer}: connected"));
    while let Some(channel) = association.accept_channel().await {
        tokio::spawn(async move {
            let name = format!("{peer}: channel {} \"{}\"", channel.id(), printable(channel.label()));
            report::print(&format!("{name} opened"));
            match echo(&channel).await {
                Ok(count) => report::print(&format!("{name} closed after {count} messages")),
                Err(failure) => report::print(&format!("{name} ended: {failure}")),
            }
        });
    }
    report::print(&format!("{peer}: {}", association.closed().await));
}

/// Sends back what arrives, until the peer closes. The next message is not read before the last one has found room to
/// be sent, so a peer that does not read is not read from either.
async fn echo(channel: &DataChannel) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(message) = channel.recv().await {
        if channel.send(message?).await.is_err() {
            // It closes, and nobody waits for the answer; `recv` says whether it failed.
            continue;
        }
        count += 1;
    }
    Ok(count)
}
