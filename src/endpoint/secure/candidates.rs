//! Addresses at which peers can reach this end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Once;

/// Addresses that peers are told at most. A machine has more only if containers or tunnels have given it some.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Name prefixes of the interfaces of containers, virtual machines and tunnels. Few peers reach them.
const VIRTUAL: [&str; 22] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "cni",
    "flannel",
    "cali",
    "tun",
    "tap",
    "utun",
    "lxc",
    "lxd",
    "podman",
    "kube",
    "weave",
    "vmnet",
    "vboxnet",
    "vEthernet",
    "bridge",
    "wg",
    "awdl",
    "llw",
];

/// Documentation addresses (RFC 5737, RFC 3849), which no network has. The system says from which address it would
/// reach them: that of the default route. Nothing is sent.
const ANYWHERE: [(SocketAddr, SocketAddr); 2] = [
    (
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    ),
    (
        SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1)), 9),
    ),
];

/// An address of this machine, and the interface that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Interface {
    name: String,
    ip: IpAddr,
}

/// Returns the addresses of a socket that is bound to `bound`: that one, or those of every interface that is up if it
/// is bound to all of them. The address of the default route comes first, those of containers and tunnels come after
/// all others, and loopback comes last: a peer on the same machine may use it, and a user's Firefox never does. There
/// are [`ADDRESSES_MAX`] at most; the log says so when some are left out.
pub(crate) fn local_addresses(bound: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    if !bound.ip().is_unspecified() {
        return Ok(vec![bound]);
    }
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    let interfaces = interfaces.map(|interface| Interface { ip: interface.ip(), name: interface.name }).collect();
    let (addresses, left_out) = select(bound, interfaces, &default_routes());
    if left_out > 0 {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                left_out,
                "this machine has more addresses than peers are told: name the right ones with `advertise`"
            );
        });
    }
    Ok(addresses)
}

/// Returns the addresses from which this machine reaches everywhere else.
fn default_routes() -> Vec<IpAddr> {
    let route = |(local, remote): (SocketAddr, SocketAddr)| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ANYWHERE.into_iter().filter_map(route).collect()
}

/// Selects the interfaces' addresses that a peer could use, best first. Returns them, and the number of those left out.
fn select(bound: SocketAddr, mut interfaces: Vec<Interface>, default_routes: &[IpAddr]) -> (Vec<SocketAddr>, usize) {
    // A socket on [::] takes IPv4 too.
    interfaces.retain(|interface| is_reachable(interface.ip) && (bound.is_ipv6() || interface.ip.is_ipv4()));
    interfaces.sort_by_key(|interface| {
        let is_default = default_routes.contains(&interface.ip) && !interface.ip.is_loopback();
        let is_virtual = !is_default && VIRTUAL.iter().any(|prefix| interface.name.starts_with(prefix));
        (interface.ip.is_loopback(), is_virtual, !is_default, rank(interface.ip), interface.ip)
    });
    let mut addresses: Vec<SocketAddr> =
        interfaces.iter().map(|interface| SocketAddr::new(interface.ip, bound.port())).collect();
    addresses.dedup();
    let left_out = addresses.len().saturating_sub(ADDRESSES_MAX);
    if left_out > 0 {
        // Loopback is the one address that a page on this machine surely reaches.
        let loopback = addresses.iter().position(|address| address.ip() == Ipv4Addr::LOCALHOST);
        if let Some(index) = loopback.filter(|index| *index >= ADDRESSES_MAX) {
            addresses.swap(index, ADDRESSES_MAX - 1);
        }
        addresses.truncate(ADDRESSES_MAX);
    }
    (addresses, left_out)
}

/// Returns true if a peer can use the address. A link-local IPv6 address means nothing without the interface, which
/// only this machine can name.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// Returns the rank of an address: IPv4 before IPv6, because more networks have it; IPv4 link-local addresses, which
/// are assigned where DHCP is missing, then loopback, come last.
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
        let interfaces: Vec<_> = ips.iter().map(|ip| ("eth0", *ip)).collect();
        of_host(bound, &interfaces, &[]).0
    }

    fn of_host(bound: &str, interfaces: &[(&str, &str)], default_routes: &[&str]) -> (Vec<String>, usize) {
        let parse = |ip: &str| ip.parse().expect("an address");
        let interface = |(name, ip): &(&str, &str)| Interface { name: (*name).to_owned(), ip: parse(ip) };
        let interfaces = interfaces.iter().map(interface).collect();
        let default_routes: Vec<IpAddr> = default_routes.iter().map(|ip| parse(ip)).collect();
        let (addresses, left_out) = select(bound.parse().expect("an address"), interfaces, &default_routes);
        (addresses.iter().map(ToString::to_string).collect(), left_out)
    }

    #[test]
    fn on_a_host_with_bridges_the_default_route_comes_first_and_bridges_after_all_others() {
        let mut host = vec![("lo", "127.0.0.1"), ("docker0", "172.17.0.1")];
        let bridges: Vec<String> = (18..27).map(|n| format!("172.{n}.0.1")).collect();
        host.extend(bridges.iter().map(|ip| ("br-1b2c3d4e5f6a", ip.as_str())));
        host.extend([("eth1", "10.1.2.3"), ("wlan0", "192.168.77.1")]);
        let (addresses, left_out) = of_host("0.0.0.0:9", &host, &["192.168.77.1"]);
        assert_eq!(addresses[..3], ["192.168.77.1:9", "10.1.2.3:9", "172.17.0.1:9"]);
        assert_eq!((addresses.len(), addresses.last().map(String::as_str)), (8, Some("127.0.0.1:9")));
        assert_eq!(left_out, 5);
    }

    #[test]
    fn a_tunnel_is_last_unless_the_default_route_goes_through_it() {
        let host = [("tun0", "10.8.0.2"), ("eth0", "192.168.1.7"), ("lo", "127.0.0.1"), ("eth0", "2001:db8::7")];
        let without = ["192.168.1.7:9", "[2001:db8::7]:9", "10.8.0.2:9", "127.0.0.1:9"];
        assert_eq!(of_host("[::]:9", &host, &["192.168.1.7"]), (without.map(str::to_owned).to_vec(), 0));
        let through = ["10.8.0.2:9", "192.168.1.7:9", "[2001:db8::7]:9", "127.0.0.1:9"];
        assert_eq!(of_host("[::]:9", &host, &["10.8.0.2"]), (through.map(str::to_owned).to_vec(), 0));
        let v6 = ["[2001:db8::7]:9", "192.168.1.7:9", "10.8.0.2:9", "127.0.0.1:9"];
        assert_eq!(of_host("[::]:9", &host, &["2001:db8::7"]).0, v6, "a network that has no other way out");
    }

    #[test]
    fn without_a_default_route_nothing_is_preferred() {
        let host = [("lo", "127.0.0.1"), ("veth9", "10.0.0.1"), ("enp3s0", "192.168.1.7")];
        let expected = ["192.168.1.7:9", "10.0.0.1:9", "127.0.0.1:9"];
        assert_eq!(of_host("0.0.0.0:9", &host, &["127.0.0.1"]).0, expected);
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
