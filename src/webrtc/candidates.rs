//! The addresses at which peers may find this end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Addresses that peers are told at most. A machine has more only if containers or tunnels have given it some.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// The addresses of a socket that is bound to `bound`: that one, or those of every interface that is up if it is bound to all
/// of them. Loopback comes last: a peer on the same machine may use it, and a user's Firefox never does.
pub(crate) fn local_addresses(bound: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    if !bound.ip().is_unspecified() {
        return Ok(vec![bound]);
    }
    let ips = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
    Ok(select(bound, ips.collect()))
}

/// Those of the interfaces' addresses that a peer could use, best first.
fn select(bound: SocketAddr, mut ips: Vec<IpAddr>) -> Vec<SocketAddr> {
    // A socket on [::] takes IPv4 too.
    ips.retain(|ip| is_reachable(*ip) && (bound.is_ipv6() || ip.is_ipv4()));
    ips.sort_by_key(|ip| (rank(*ip), *ip));
    ips.dedup();
    let port = bound.port();
    let mut addresses: Vec<SocketAddr> = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    if addresses.len() > ADDRESSES_MAX {
        // Loopback is the one address that a page on this machine surely reaches.
        let loopback = addresses.iter().position(|address| address.ip() == Ipv4Addr::LOCALHOST);
        if let Some(index) = loopback.filter(|index| *index >= ADDRESSES_MAX) {
            addresses.swap(index, ADDRESSES_MAX - 1);
        }
        addresses.truncate(ADDRESSES_MAX);
    }
    addresses
}

/// A link-local IPv6 address means nothing without the interface, which only this machine can name.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// IPv4 before IPv6, because more networks have it; addresses that were made up for want of DHCP, then loopback, last.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => 3,
        IpAddr::V6(ip) if ip.is_loopback() => 4,
        IpAddr::V4(ip) if ip.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(bound: &str, ips: &[&str]) -> Vec<String> {
        let ips = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
        select(bound.parse().expect("an address"), ips).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lan_addresses_come_first_and_loopback_last() {
        let ips =
            ["::1", "127.0.0.1", "fe80::1", "169.254.1.1", "2001:db8::1", "192.168.1.7", "192.168.1.7", "224.0.0.1"];
        let v4 = ["192.168.1.7:9", "169.254.1.1:9", "127.0.0.1:9"];
        assert_eq!(selected("0.0.0.0:9", &ips), v4);
        assert_eq!(
            selected("[::]:9", &ips),
            ["192.168.1.7:9", "[2001:db8::1]:9", "169.254.1.1:9", "127.0.0.1:9", "[::1]:9"]
        );
    }

    #[test]
    fn of_too_many_addresses_loopback_stays() {
        let many: Vec<String> = (1..=20).map(|n| format!("10.0.0.{n}")).chain(["127.0.0.1".to_owned()]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let selected = selected("0.0.0.0:9", &many);
        assert_eq!((selected.len(), selected.last().map(String::as_str)), (ADDRESSES_MAX, Some("127.0.0.1:9")));
    }

    #[test]
    fn a_socket_on_one_address_has_that_one() {
        let bound = SocketAddr::from(([192, 0, 2, 1], 7));
        assert_eq!(local_addresses(bound).expect("no system call"), [bound]);
    }

    #[test]
    fn this_machine_can_be_reached_by_itself() {
        let addresses = local_addresses(SocketAddr::from(([0, 0, 0, 0], 7))).expect("the interfaces");
        assert!(addresses.contains(&SocketAddr::from(([127, 0, 0, 1], 7))), "{addresses:?}");
    }
}
