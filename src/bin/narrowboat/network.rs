//! How the command gets to the network: plain UDP for addresses, DTLS for identities and tickets.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use narrowboat::error::{BindError, SignalError, TicketError};
use narrowboat::{Association, Config, Endpoint, EndpointBuilder, Identity, Ticket};

use crate::arguments::Listen;
use crate::{Failure, report};

/// How long a peer may take to answer the handshake.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take to say goodbye.
pub(crate) const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

/// The process's endpoint, for the last words of one that is interrupted.
static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();

/// Waits for peers, and tells whoever started the command where: `what` is what it does for them, like "receiving".
pub(crate) fn listen(arguments: &Listen, what: &str) -> Result<Endpoint, Failure> {
    let mut builder = builder(true).bind(&arguments.listen);
    if let Some(path) = &arguments.identity {
        builder = builder.identity(Identity::load_or_create(path)?);
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
    // The one line of the output, so that a script needs no search for it. Nobody need read it.
    let _ = writeln!(io::stdout(), "{ticket}");
    Ok(endpoint)
}

/// What there is to say of a transfer over plain UDP.
const NOT_ENCRYPTED: &str = "(not encrypted: whoever sees the packets can read and change them)";

/// Opens an association to an address, from whichever version of IP it is, or to who has a ticket's certificate.
pub(crate) async fn dial(target: &str) -> Result<Association, Failure> {
    let ticket = match target.trim().parse::<Ticket>() {
        Ok(ticket) => Some(ticket),
        // Not meant to be one.
        Err(TicketError::Spelling) => None,
        Err(error) => return Err(format!("{target} is not a whole ticket: {error}").into()),
    };
    let identity = ticket.as_ref().map(|_| Identity::generate()).transpose()?;
    let bind = |address| {
        let builder = builder(false).bind(address);
        build(match &identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        })
    };
    // A system without IPv6 has no [::].
    let endpoint = bind("[::]:0").or_else(|_| bind("0.0.0.0:0"))?;
    let connect = async {
        match &ticket {
            Some(ticket) => endpoint.connect(ticket).await,
            None => endpoint.connect(target).await,
        }
    };
    let association = match tokio::time::timeout(CONNECT_TIME_MAX, connect).await {
        Ok(association) => association?,
        Err(_) => return Err(no_answer(target, ticket.as_ref())),
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

/// Limits for a person who waits: a peer that has vanished is given up after about half a minute.
fn builder(accept: bool) -> EndpointBuilder {
    let mut config = Config { accept, ..Config::default() };
    config.association.association_max_retransmits = 6;
    config.association.heartbeat_interval = Some(Duration::from_secs(5));
    Endpoint::builder().config(config)
}

fn build(builder: EndpointBuilder) -> Result<Endpoint, BindError> {
    let endpoint = builder.build()?;
    let _ = ENDPOINT.set(endpoint.clone());
    Ok(endpoint)
}

fn no_answer(target: &str, ticket: Option<&Ticket>) -> Failure {
    let Some(ticket) = ticket else {
        return format!(
            "{target} does not answer: check that narrowboat listens there, that firewalls let UDP through to that port, \
             and, if it was started with --identity, use the ticket that it prints"
        )
        .into();
    };
    let addresses: Vec<String> = ticket.addresses().iter().map(ToString::to_string).collect();
    format!(
        "{} does not answer: check that narrowboat listens there with --identity, and that firewalls let UDP through to \
         that port",
        addresses.join(" or ")
    )
    .into()
}

/// In the words of the command, not of the library.
fn no_ticket(error: SignalError) -> Failure {
    match error {
        SignalError::NoAddress | SignalError::Interfaces(_) => {
            "this machine does not say at which address others find it: say it with --advertise ADDRESS:PORT".into()
        }
        error => error.into(),
    }
}
