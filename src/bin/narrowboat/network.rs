//! Endpoints of the command: plain UDP for addresses, DTLS for identities and tickets.

use std::error::Error;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use narrowboat::error::{BindError, CloseReason, SignalError, TransportFailure};
use narrowboat::{Association, Config, Endpoint, EndpointBuilder, Identity};

use crate::address::{self, CommandTarget};
use crate::arguments::Listen;
use crate::file::joined;
use crate::{Failure, report};

/// Longest time that a peer may take to answer the handshake.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time that a peer may take to end the association.
pub(crate) const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

/// The process's endpoint, for the last words of one that is interrupted.
static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();

/// Waits for peers, and tells the user where: `what` is what it does for them, like "receiving". A peer
/// may have so many channels.
pub(crate) async fn listen(arguments: &Listen, channels_max: usize, what: &str) -> Result<Endpoint, Failure> {
    let mut builder = builder().max_channels(channels_max).bind(address::local(&arguments.listen)?);
    if let Some(path) = arguments.identity.clone() {
        // It may be a pipe, which has to be waited for.
        let identity = tokio::task::spawn_blocking(move || Ok(Identity::load_or_create(path)?));
        builder = builder.identity(joined(identity.await)?).accept_direct();
    } else {
        builder = builder.accept_plain();
    }
    for address in &arguments.advertise {
        builder = builder.advertise(*address);
    }
    let endpoint = build(builder).map_err(|error| match error {
        BindError::Address(why) => format!(
            "{:?} is not an address to listen on ({why}): write an IP address and a port, like 0.0.0.0:4433",
            arguments.listen
        )
        .into(),
        error => Failure::from(error),
    })?;
    let address = endpoint.local_address();
    if arguments.identity.is_none() {
        report::print(&format!("{what} on {address} {NOT_ENCRYPTED}; --identity FILE encrypts"));
        return Ok(endpoint);
    }
    let ticket = endpoint.ticket().map_err(no_ticket)?;
    report::print(&format!("{what} on {address} (encrypted), for those who have this ticket:"));
    report::flush();
    // The one line of the output, so that a script needs no search for it. Nobody need read it.
    let _ = writeln!(io::stdout(), "{ticket}");
    Ok(endpoint)
}

/// Warning about a transfer over plain UDP.
const NOT_ENCRYPTED: &str = "(not encrypted: anyone who sees the packets can read and change them)";

/// Opens an association to an address, from whichever version of IP it is, or to who has a ticket's certificate.
pub(crate) async fn dial(target: &CommandTarget) -> Result<Association, Failure> {
    let ticket = match target {
        CommandTarget::Ticket(ticket) => Some(ticket),
        CommandTarget::Address(_) => None,
    };
    let identity = ticket.map(|_| Identity::generate()).transpose()?;
    let bind = |address| {
        let builder = builder().bind(address);
        build(match &identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        })
    };
    // A system without IPv6 has no [::].
    let endpoint = bind("[::]:0").or_else(|_| bind("0.0.0.0:0"))?;
    let connect = async {
        match target {
            CommandTarget::Ticket(ticket) => endpoint.connect(ticket).await,
            CommandTarget::Address(address) => endpoint.connect(address.as_str()).await,
        }
    };
    let association = match tokio::time::timeout(CONNECT_TIME_MAX, connect).await {
        Ok(association) => association?,
        Err(_) => return Err(no_answer(target)),
    };
    let security = if ticket.is_some() { "(encrypted)" } else { NOT_ENCRYPTED };
    report::print(&format!("connected to {} {security}", association.remote_address()));
    Ok(association)
}

/// Says goodbye, so that the peer hears it before the process is gone.
pub(crate) async fn hang_up(association: &Association) {
    let _ = tokio::time::timeout(GOODBYE_TIME_MAX, association.shutdown()).await;
}

/// Tells all peers why nothing more will come.
pub(crate) async fn abort(reason: &str) {
    if let Some(endpoint) = ENDPOINT.get() {
        endpoint.abort(reason);
        let _ = tokio::time::timeout(GOODBYE_TIME_MAX, endpoint.wait_idle()).await;
    }
}

/// Returns an endpoint builder with limits for a person who waits: a peer that has vanished is given up after half a
/// minute.
fn builder() -> EndpointBuilder {
    let mut config = Config::default();
    config.association.idle_timeout = Duration::from_secs(30);
    config.association.heartbeat_interval = Some(Duration::from_secs(5));
    Endpoint::builder().config(config)
}

fn build(builder: EndpointBuilder) -> Result<Endpoint, BindError> {
    let endpoint = builder.build()?;
    let _ = ENDPOINT.set(endpoint.clone());
    Ok(endpoint)
}

fn no_answer(target: &CommandTarget) -> Failure {
    let ticket = match target {
        CommandTarget::Ticket(ticket) => ticket,
        CommandTarget::Address(address) => {
            return format!(
                "{address} does not answer: check that narrowboat listens there, that firewalls let UDP through to that \
                 port, and, if it was started with --identity, use the ticket that it prints"
            )
            .into();
        }
    };
    let addresses: Vec<String> = ticket.addresses().iter().map(ToString::to_string).collect();
    format!(
        "{} does not answer: check that narrowboat listens there with --identity, and that firewalls let UDP through to \
         that port",
        addresses.join(" or ")
    )
    .into()
}

/// Returns the reason why a channel or an association ended, as the middle of a sentence. The error texts of the
/// library advise programs, and are made of several others.
pub(crate) fn why(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source().filter(|_| !cause.is::<CloseReason>()) {
        cause = deeper;
    }
    match cause.downcast_ref::<CloseReason>() {
        Some(CloseReason::PeerAbort { text, .. }) if !text.is_empty() => format!("the other end said {text:?}"),
        Some(CloseReason::PeerAbort { .. }) => "the other end broke the connection off".to_owned(),
        Some(CloseReason::PeerUnreachable | CloseReason::Transport(TransportFailure::ConsentExpired)) => {
            "the other end does not answer any more".to_owned()
        }
        Some(CloseReason::Transport(TransportFailure::ConsentRevoked)) => "the other end was started again".to_owned(),
        Some(CloseReason::Shutdown | CloseReason::Transport(TransportFailure::ClosedByPeer)) => {
            "the other end closed the connection".to_owned()
        }
        _ => cause.to_string(),
    }
}

/// Explains a missing ticket in the words of the command, not of the library.
fn no_ticket(error: SignalError) -> Failure {
    match error {
        SignalError::NoAddress | SignalError::Interfaces(_) => {
            "this machine does not say at which address others find it: say it with --advertise ADDRESS:PORT".into()
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use narrowboat::error::{ChannelError, SendError};

    use super::*;

    #[test]
    fn a_cause_is_told_once_and_without_advice() {
        let send = |reason| SendError::Failed(ChannelError::Association(reason));
        let aborted = |text: &str| CloseReason::PeerAbort { cause: None, text: text.to_owned() };
        for (error, expected) in [
            (send(CloseReason::PeerUnreachable), "the other end does not answer any more"),
            (send(CloseReason::Transport(TransportFailure::ConsentExpired)), "the other end does not answer any more"),
            (send(aborted("interrupted")), "the other end said \"interrupted\""),
            (send(aborted("")), "the other end broke the connection off"),
            (send(CloseReason::Shutdown), "the other end closed the connection"),
            (SendError::Failed(ChannelError::BadText), "the peer sent a text that is not UTF-8"),
        ] {
            assert_eq!(why(&error), expected);
        }
    }
}
