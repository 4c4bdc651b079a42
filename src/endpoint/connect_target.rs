//! Targets of outgoing connections.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::secure::SecureTarget;

/// Target of [`Endpoint::connect`](crate::Endpoint::connect): an address and port, for plain UDP, or a [`Ticket`], for
/// DTLS with a certificate that is verified. A text may be either: `"192.0.2.1:4433"`, `"example.com:4433"`,
/// `"narrowboat://192.0.2.1:4433/uEi…"`.
///
/// This trait is sealed: it has no methods of its own to call or to implement.
///
#[cfg_attr(feature = "webrtc", doc = " [`Ticket`]: crate::Ticket")]
#[cfg_attr(not(feature = "webrtc"), doc = " [`Ticket`]: crate#features")]
pub trait Target: sealed::Sealed {}

impl<T: sealed::Sealed> Target for T {}

/// A target after conversion: addresses, a name, or a peer with a certificate.
#[expect(unnameable_types, reason = "only this crate makes targets")]
#[derive(Clone, Debug)]
pub enum ConnectTarget {
    /// One of these addresses.
    Addresses(Vec<SocketAddr>),
    /// One of the addresses of this name and port.
    Name(String),
    /// A peer that is known by its certificate.
    Secure(SecureTarget),
}

pub(crate) mod sealed {
    use super::ConnectTarget;

    #[expect(unnameable_types, reason = "only this crate makes targets")]
    pub trait Sealed: Send {
        fn destination(self) -> ConnectTarget;
    }
}

use sealed::Sealed;

impl Sealed for &str {
    fn destination(self) -> ConnectTarget {
        if let Ok(address) = self.parse() {
            return ConnectTarget::Addresses(vec![address]);
        }
        SecureTarget::parse(self).map_or_else(|| ConnectTarget::Name(self.to_owned()), ConnectTarget::Secure)
    }
}

impl Sealed for &String {
    fn destination(self) -> ConnectTarget {
        self.as_str().destination()
    }
}

impl Sealed for String {
    fn destination(self) -> ConnectTarget {
        self.as_str().destination()
    }
}

impl Sealed for (&str, u16) {
    fn destination(self) -> ConnectTarget {
        let (host, port) = self;
        match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::from((ip, port)).destination(),
            Err(_) => ConnectTarget::Name(format!("{host}:{port}")),
        }
    }
}

impl Sealed for SocketAddr {
    fn destination(self) -> ConnectTarget {
        ConnectTarget::Addresses(vec![self])
    }
}

impl Sealed for &[SocketAddr] {
    fn destination(self) -> ConnectTarget {
        ConnectTarget::Addresses(self.to_vec())
    }
}

macro_rules! addresses {
    ($($kind:ty),*) => {$(
        impl Sealed for $kind {
            fn destination(self) -> ConnectTarget {
                SocketAddr::from(self).destination()
            }
        }
    )*};
}

addresses!(SocketAddrV4, SocketAddrV6, (IpAddr, u16), (std::net::Ipv4Addr, u16), (std::net::Ipv6Addr, u16));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_an_address_or_a_name() {
        assert!(matches!("[::1]:7".destination(), ConnectTarget::Addresses(addresses) if addresses.len() == 1));
        assert!(matches!(("127.0.0.1", 7).destination(), ConnectTarget::Addresses(_)));
        assert!(matches!("localhost:7".destination(), ConnectTarget::Name(name) if name == "localhost:7"));
        assert!(matches!(("localhost", 7).destination(), ConnectTarget::Name(name) if name == "localhost:7"));
    }
}
