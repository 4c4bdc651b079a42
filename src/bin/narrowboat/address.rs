//! Addresses and tickets, as people write them.

use std::net::Ipv6Addr;

use narrowboat::Ticket;
use narrowboat::error::TicketError;

use crate::Failure;

/// Beginning of a ticket.
const SCHEME: &str = "narrowboat://";

/// Peer to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommandTarget {
    /// The peer that has the ticket's certificate.
    Ticket(Ticket),
    /// An address or name, and a port.
    Address(String),
}

impl CommandTarget {
    /// Reads what was typed. Quotes around it, spaces and line breaks in a ticket, and capitals in "narrowboat" do not
    /// matter.
    pub(crate) fn read(typed: &str) -> Result<Self, Failure> {
        let text = unquoted(typed);
        let is_ticket = text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let ticket = match text.get(SCHEME.len()..).filter(|_| is_ticket) {
            Some(rest) => format!("{SCHEME}{}", rest.split_whitespace().collect::<String>()),
            None => text.to_owned(),
        };
        match ticket.parse::<Ticket>() {
            Ok(ticket) => Ok(Self::Ticket(ticket)),
            // Not meant to be one.
            Err(TicketError::Spelling) if !text.contains("/uEi") => Ok(Self::Address(scoped(text)?)),
            Err(TicketError::Fingerprint(_))
                if !text.contains("/uEi") && text.to_ascii_lowercase().contains("/uei") =>
            {
                Err(format!("{text} has lost its capitals, which matter in a ticket: copy it as it was printed").into())
            }
            Err(error) => Err(format!("{text} is not a whole ticket: {error}").into()),
        }
    }
}

/// Returns an address to listen on, with the number of its interface instead of the name.
pub(crate) fn local(typed: &str) -> Result<String, Failure> {
    scoped(unquoted(typed))
}

/// Returns the text without spaces and quotes around it.
fn unquoted(typed: &str) -> &str {
    let quotes = [('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('“', '”'), ('‘', '’'), ('„', '“'), ('«', '»')];
    let text = typed.trim();
    let inner = quotes.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
    inner.map_or(text, str::trim)
}

/// Replaces the name of an interface by its number. The system knows interfaces by numbers, and a link-local address is
/// of no use without one (RFC 4007 §11).
fn scoped(text: &str) -> Result<String, Failure> {
    let Some((inside, port)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) else {
        let address = text.split_once('%').map_or(text, |(address, _)| address);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Err(format!(
                "{text:?} does not show where the address ends and the port begins: write [{}]:4433",
                text.trim_end_matches(':')
            )
            .into()),
            Err(_) => Ok(text.to_owned()),
        };
    };
    let (address, zone) = match inside.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (inside, None),
    };
    let Ok(address) = address.parse::<Ipv6Addr>() else { return Ok(text.to_owned()) };
    match zone {
        None if address.is_unicast_link_local() => Err(format!(
            "{text:?} is an address that each link has its own of: name the interface too, like [{address}%eth0]{port}"
        )
        .into()),
        None => Ok(text.to_owned()),
        Some(zone) if zone.bytes().all(|byte| byte.is_ascii_digit()) => Ok(text.to_owned()),
        Some(zone) => Ok(format!("[{address}%{}]{port}", interface(zone)?)),
    }
}

/// Returns the number of an interface of this machine.
fn interface(name: &str) -> Result<u32, Failure> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    if let Some(index) = interfaces.iter().find_map(|interface| interface.index.filter(|_| interface.name == name)) {
        return Ok(index);
    }
    let mut names: Vec<_> = interfaces.into_iter().map(|interface| interface.name).collect();
    names.sort();
    names.dedup();
    Err(format!("{name:?} is not an interface of this machine that has an address: use one of {}", names.join(", "))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &str =
        "narrowboat://192.0.2.1:4433,[2001:db8::1]:4433/uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";

    fn address(typed: &str) -> Result<String, String> {
        match CommandTarget::read(typed) {
            Ok(CommandTarget::Address(address)) => Ok(address),
            Ok(CommandTarget::Ticket(_)) => Err("a ticket".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn a_ticket_is_read_however_it_was_copied() {
        let ticket = CommandTarget::Ticket(TICKET.parse().unwrap());
        let multiaddr = TICKET.parse::<Ticket>().unwrap().multiaddrs().next().unwrap();
        let (start, end) = TICKET.split_at(40);
        for typed in [
            TICKET,
            &format!(" {TICKET}\n"),
            &format!("\"{TICKET}\""),
            &format!("“{TICKET}”"),
            &format!("' {TICKET} '"),
            &format!("<{TICKET}>"),
            &format!("{start}\n  {end}"),
            &TICKET.replace("narrowboat", "Narrowboat"),
            &TICKET.replace("narrowboat", "NARROWBOAT"),
        ] {
            assert_eq!(CommandTarget::read(typed).unwrap(), ticket, "{typed:?}");
        }
        assert!(matches!(CommandTarget::read(&format!("'{multiaddr}'")), Ok(CommandTarget::Ticket(_))));
    }

    #[test]
    fn a_ticket_that_is_none_says_what_is_wrong() {
        for (typed, expected) in [
            (TICKET.to_uppercase(), "has lost its capitals"),
            (TICKET.to_lowercase(), "has lost its capitals"),
            (TICKET.replace("narrowboat://", ""), "it begins with \"narrowboat://\""),
            (TICKET.replace("/uEi", "/xEi"), "the ticket's certificate hash is wrong"),
        ] {
            let failure = CommandTarget::read(&typed).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    }

    #[test]
    fn an_address_keeps_its_interface() {
        for (typed, expected) in [
            ("192.0.2.1:4433", "192.0.2.1:4433"),
            ("'example.com:4433'", "example.com:4433"),
            ("[2001:db8::1]:4433", "[2001:db8::1]:4433"),
            ("[fe80::1%4]:4433", "[fe80::1%4]:4433"),
            ("192.0.2.1", "192.0.2.1"),
            ("[boat]:1", "[boat]:1"),
            ("", ""),
        ] {
            assert_eq!(address(typed).as_deref(), Ok(expected));
        }
        let interfaces = if_addrs::get_if_addrs().unwrap();
        let own = interfaces.iter().find(|interface| interface.index.is_some()).unwrap();
        let expected = format!("[fe80::1%{}]:4433", own.index.unwrap());
        assert_eq!(address(&format!("[fe80::1%{}]:4433", own.name)), Ok(expected));
    }

    #[test]
    fn an_address_that_nobody_could_reach_says_why() {
        for (typed, expected) in [
            ("[fe80::1]:4433", "name the interface too, like [fe80::1%eth0]:4433"),
            ("[fe80::1%no-such-link]:4433", "\"no-such-link\" is not an interface of this machine"),
            ("fe80::1%eth0", "write [fe80::1%eth0]:4433"),
            ("::1:4433", "does not show where the address ends"),
            ("2001:db8::1", "write [2001:db8::1]:4433"),
        ] {
            let failure = address(typed).unwrap_err();
            assert!(failure.contains(expected), "{typed}: {failure}");
        }
    }
}
