//! Tickets: the data that a client needs to connect without signalling, in two spellings.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Fingerprint, FingerprintError};

/// Prefix of a ticket's own spelling.
const SCHEME: &str = "narrowboat://";

/// Addresses that a ticket may have, at most; a client tries them all.
const ADDRESSES_MAX: usize = 8;

/// Addresses and certificate hash of a service: all that a page or a Rust client needs to connect to it.
///
/// A ticket is not a secret, but it must come from a trusted source: the certificate's hash in it proves that the
/// service is the right one. A ticket does not say who may connect.
///
/// There are two spellings, and [`FromStr`] reads both:
///
/// ```
/// use narrowboat::Ticket;
///
/// let hash = "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";
/// let ticket: Ticket = format!("narrowboat://192.0.2.1:4433,[2001:db8::1]:4433/{hash}").parse()?;
/// let multiaddrs: Vec<String> = ticket.multiaddrs().collect();
/// assert_eq!(multiaddrs[0], format!("/ip4/192.0.2.1/udp/4433/webrtc-direct/certhash/{hash}"));
/// assert_eq!(multiaddrs[1].parse::<Ticket>()?.addresses(), &ticket.addresses()[1..]);
/// # Ok::<_, narrowboat::error::TicketError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    addresses: Vec<SocketAddr>,
    fingerprint: Fingerprint,
}

/// Reason why a text is not a [`Ticket`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Neither of the two spellings.
    #[error(
        "not a ticket: it begins with \"narrowboat://\", or is a multiaddress that begins with \"/ip4/\" or \"/ip6/\" and \
         has \"/webrtc-direct/\" in it"
    )]
    Spelling,
    /// There is no certificate hash.
    #[error("the ticket has no certificate hash: it ends with \"/\" and 47 characters that begin with \"uEi\"")]
    NoFingerprint,
    /// The certificate hash is wrong.
    #[error("the ticket's certificate hash is wrong: {0}")]
    Fingerprint(#[from] FingerprintError),
    /// There is no address.
    #[error("the ticket has no address: name at least one, like 192.0.2.1:4433")]
    NoAddress,
    /// One of the addresses is not an address.
    #[error("{0:?} is not an IP address and port: write it like 192.0.2.1:4433 or [2001:db8::1]:4433")]
    Address(String),
    /// Nobody can be reached at one of the addresses.
    #[error("nobody can be reached at {0}: name an address and port that a service listens on")]
    Unreachable(SocketAddr),
    /// An address occurs twice.
    #[error("the ticket names {0} twice: name it once")]
    Twice(SocketAddr),
    /// There are too many addresses.
    #[error("the ticket has more than {ADDRESSES_MAX} addresses: leave some out")]
    TooManyAddresses,
    /// A multiaddress with a part that does not belong to a multiaddress for direct mode.
    #[error("the multiaddress has {found:?} where {expected} belongs")]
    Multiaddr {
        /// The part that was found; empty if the text ends too early.
        found: String,
        /// The part that was expected.
        expected: &'static str,
    },
}

impl Ticket {
    /// Creates a ticket for a service with this certificate, at these addresses. Clients prefer the first one.
    ///
    /// # Errors
    ///
    /// There is no address, there are more than 8, one occurs twice, or nobody can be reached at one (port 0, 0.0.0.0,
    /// multicast).
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, fingerprint: Fingerprint) -> Result<Self, TicketError> {
        let mut checked: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
                return Err(TicketError::Unreachable(address));
            }
            if checked.contains(&address) {
                return Err(TicketError::Twice(address));
            }
            if checked.len() >= ADDRESSES_MAX {
                return Err(TicketError::TooManyAddresses);
            }
            checked.push(address);
        }
        if checked.is_empty() {
            return Err(TicketError::NoAddress);
        }
        Ok(Self { addresses: checked, fingerprint })
    }

    /// Returns the addresses of the service: at least one, the preferred one first.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the hash of the service's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the ticket as libp2p's multiaddresses, one for each address.
    pub fn multiaddrs(&self) -> impl Iterator<Item = String> + '_ {
        self.addresses.iter().map(|address| {
            let version = if address.is_ipv4() { "ip4" } else { "ip6" };
            let (ip, port, hash) = (address.ip(), address.port(), self.fingerprint.to_certhash());
            format!("/{version}/{ip}/udp/{port}/webrtc-direct/certhash/{hash}")
        })
    }

    fn from_own(text: &str) -> Result<Self, TicketError> {
        let (addresses, hash) = text.split_once('/').ok_or(TicketError::NoFingerprint)?;
        if hash.is_empty() {
            return Err(TicketError::NoFingerprint);
        }
        if addresses.is_empty() {
            return Err(TicketError::NoAddress);
        }
        let fingerprint = hash.parse()?;
        // One more than allowed shows that there are too many, however many there are.
        let addresses = addresses.split(',').take(ADDRESSES_MAX + 1);
        let addresses = addresses.map(|text| text.parse().map_err(|_| TicketError::Address(text.to_owned())));
        Self::new(addresses.collect::<Result<Vec<SocketAddr>, _>>()?, fingerprint)
    }

    /// Parses `/ip4/192.0.2.1/udp/4433/webrtc-direct/certhash/uEi…`, and nothing behind it: a peer id could not be
    /// checked.
    fn from_multiaddr(text: &str) -> Result<Self, TicketError> {
        let mut parts = Parts(text.split('/'));
        let ip = match parts.next() {
            "ip4" => parts.read("an IPv4 address", |text| text.parse().ok().map(IpAddr::V4))?,
            "ip6" => parts.read("an IPv6 address", |text| text.parse().ok().map(IpAddr::V6))?,
            found => return Err(TicketError::Multiaddr { found: found.to_owned(), expected: "ip4 or ip6" }),
        };
        parts.word("udp")?;
        let port = parts.read("a port", |text| text.parse().ok().filter(|_| !text.starts_with('+')))?;
        parts.word("webrtc-direct")?;
        parts.word("certhash")?;
        let hash = parts.next();
        if hash.is_empty() {
            return Err(TicketError::NoFingerprint);
        }
        if let Some(found) = parts.0.next() {
            return Err(TicketError::Multiaddr { found: found.to_owned(), expected: "the end" });
        }
        Self::new([SocketAddr::new(ip, port)], hash.parse()?)
    }
}

/// Parts between the slashes of a multiaddress; empty once the multiaddress has ended.
struct Parts<'a>(std::str::Split<'a, char>);

impl<'a> Parts<'a> {
    fn next(&mut self) -> &'a str {
        self.0.next().unwrap_or_default()
    }

    fn read<T>(&mut self, expected: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, TicketError> {
        let found = self.next();
        read(found).ok_or_else(|| TicketError::Multiaddr { found: found.to_owned(), expected })
    }

    fn word(&mut self, expected: &'static str) -> Result<(), TicketError> {
        self.read(expected, |found| (found == expected).then_some(()))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix(SCHEME) {
            Self::from_own(rest)
        } else if let Some(rest) = text.strip_prefix('/') {
            Self::from_multiaddr(rest)
        } else {
            Err(TicketError::Spelling)
        }
    }
}

/// `narrowboat://192.0.2.1:4433,[2001:db8::1]:4433/uEi…`
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        for (index, address) in self.addresses.iter().enumerate() {
            let before = if index > 0 { "," } else { "" };
            write!(f, "{before}{address}")?;
        }
        write!(f, "/{}", self.fingerprint.to_certhash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";

    fn fingerprint() -> Fingerprint {
        HASH.parse().expect("a fingerprint")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn both_spellings_are_written_and_read() {
        let addresses = ["192.0.2.1:4433", "127.0.0.1:4433", "[2001:db8::1]:65535"].map(address);
        let ticket = Ticket::new(addresses, fingerprint()).expect("a ticket");
        let text = format!("narrowboat://192.0.2.1:4433,127.0.0.1:4433,[2001:db8::1]:65535/{HASH}");
        assert_eq!(ticket.to_string(), text);
        assert_eq!(text.parse(), Ok(ticket.clone()));
        for (multiaddr, address) in ticket.multiaddrs().zip(addresses) {
            assert_eq!(multiaddr.parse(), Ticket::new([address], fingerprint()), "{multiaddr}");
        }
        let last = format!("/ip6/2001:db8::1/udp/65535/webrtc-direct/certhash/{HASH}");
        assert_eq!(ticket.multiaddrs().last(), Some(last));
    }

    #[test]
    fn a_wrong_ticket_is_refused_with_what_is_wrong() {
        let many: Vec<String> = (1..=9).map(|port| format!("192.0.2.1:{port}")).collect();
        let many = many.join(",");
        let wrong = |text: &str| TicketError::Address(text.to_owned());
        let multiaddr =
            |found: &str, expected: &'static str| TicketError::Multiaddr { found: found.to_owned(), expected };
        for (text, error) in [
            ("", TicketError::Spelling),
            ("http://192.0.2.1:4433/HASH", TicketError::Spelling),
            ("192.0.2.1:4433/HASH", TicketError::Spelling),
            (" narrowboat://192.0.2.1:4433/HASH", TicketError::Spelling),
            ("narrowboat://", TicketError::NoFingerprint),
            ("narrowboat://192.0.2.1:4433", TicketError::NoFingerprint),
            ("narrowboat://192.0.2.1:4433/", TicketError::NoFingerprint),
            ("narrowboat:///HASH", TicketError::NoAddress),
            ("narrowboat://192.0.2.1/HASH", wrong("192.0.2.1")),
            ("narrowboat://192.0.2.1:4433,/HASH", wrong("")),
            ("narrowboat://192.0.2.1:4433, 192.0.2.2:4433/HASH", wrong(" 192.0.2.2:4433")),
            ("narrowboat://2001:db8::1:4433/HASH", wrong("2001:db8::1:4433")),
            ("narrowboat://example.com:4433/HASH", wrong("example.com:4433")),
            ("narrowboat://192.0.2.1:70000/HASH", wrong("192.0.2.1:70000")),
            ("narrowboat://192.0.2.1:0/HASH", TicketError::Unreachable(address("192.0.2.1:0"))),
            ("narrowboat://0.0.0.0:4433/HASH", TicketError::Unreachable(address("0.0.0.0:4433"))),
            ("narrowboat://[::]:4433/HASH", TicketError::Unreachable(address("[::]:4433"))),
            ("narrowboat://224.0.0.1:1/HASH", TicketError::Unreachable(address("224.0.0.1:1"))),
            ("narrowboat://192.0.2.1:1,192.0.2.1:1/HASH", TicketError::Twice(address("192.0.2.1:1"))),
            ("narrowboat://MANY/HASH", TicketError::TooManyAddresses),
            ("narrowboat://192.0.2.1:4433/HASH/", FingerprintError::Certhash.into()),
            ("narrowboat://192.0.2.1:4433/certhash", FingerprintError::Spelling.into()),
            ("/", multiaddr("", "ip4 or ip6")),
            ("/dns4/example.com/udp/4433/webrtc-direct/certhash/HASH", multiaddr("dns4", "ip4 or ip6")),
            ("/ip4/2001:db8::1/udp/4433/webrtc-direct/certhash/HASH", multiaddr("2001:db8::1", "an IPv4 address")),
            ("/ip6/192.0.2.1/udp/4433/webrtc-direct/certhash/HASH", multiaddr("192.0.2.1", "an IPv6 address")),
            ("/ip4/192.0.2.1/tcp/4433/webrtc-direct/certhash/HASH", multiaddr("tcp", "udp")),
            ("/ip4/192.0.2.1/udp/port/webrtc-direct/certhash/HASH", multiaddr("port", "a port")),
            ("/ip4/192.0.2.1/udp/+1/webrtc-direct/certhash/HASH", multiaddr("+1", "a port")),
            ("/ip4/192.0.2.1/udp/4433/quic-v1/certhash/HASH", multiaddr("quic-v1", "webrtc-direct")),
            ("/ip4/192.0.2.1/udp/4433/webrtc-direct", multiaddr("", "certhash")),
            ("/ip4/192.0.2.1/udp/4433/webrtc-direct/certhash/", TicketError::NoFingerprint),
            ("/ip4/192.0.2.1/udp/4433/webrtc-direct/certhash", TicketError::NoFingerprint),
            ("/ip4/192.0.2.1/udp/4433/webrtc-direct/certhash/HASH/p2p/12D3", multiaddr("p2p", "the end")),
            ("/ip4/192.0.2.1/udp/0/webrtc-direct/certhash/HASH", TicketError::Unreachable(address("192.0.2.1:0"))),
        ] {
            let text = text.replace("HASH", HASH).replace("MANY", &many);
            assert_eq!(text.parse::<Ticket>(), Err(error), "{text}");
        }
    }

    #[test]
    fn damaged_tickets_never_panic() {
        let ticket = format!("narrowboat://192.0.2.1:4433,[2001:db8::1]:4433/{HASH}");
        for at in 0..ticket.len() {
            for byte in [b'/', b':', b',', b'[', b'0', b'u', 0, b' '] {
                let mut damaged = ticket.clone().into_bytes();
                damaged[at] = byte;
                String::from_utf8(damaged).expect("ASCII").parse::<Ticket>().ok();
            }
            ticket[..at].parse::<Ticket>().ok();
            ticket[at..].parse::<Ticket>().ok();
        }
    }
}
