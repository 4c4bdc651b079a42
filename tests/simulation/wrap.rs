//! Seeds whose first TSNs, and with them the first numbers of stream reset requests, lie just before the wrap. Found by
//! trying; the test below says when they are to be looked for again.

use crate::network::NodeId;

/// Seeds of an association without an endpoint.
const ASSOCIATIONS: [u64; 2] = [23_051_818, 45_566_357];
/// Seed of an endpoint: its first INIT ACK has such a TSN.
const SERVICE: u64 = 4_556_624;
/// Seeds of an endpoint: the first INIT of its own has such a TSN.
const CLIENTS: [u64; 3] = [22_522_721, 15_806_153, 80_988_425];

/// Returns the seed of an association without an endpoint.
pub(crate) fn association_seed(node: NodeId) -> [u8; 32] {
    seed(ASSOCIATIONS[node.min(1)])
}

/// Returns the seed of an endpoint: node 0 waits, the others dial.
pub(crate) fn endpoint_seed(node: NodeId) -> [u8; 32] {
    seed(node.checked_sub(1).map_or(SERVICE, |client| CLIENTS[client % CLIENTS.len()]))
}

fn seed(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

#[test]
fn first_tsns_lie_just_before_the_wrap() {
    use bytes::Bytes;
    use narrowboat_sctp::{Association, CookieKeys, Endpoint, EndpointConfig, Valid};

    use crate::clock::Clock;
    use crate::node::address;
    use crate::packet::Packet;

    let now = Clock::new().instant(0);
    let tsn = |packet: &[u8]| Packet::parse(packet).unwrap().chunks[0].init().unwrap().tsn;
    let init = |association: &mut Association| {
        let mut packet = Vec::new();
        let _ = association.poll_transmit(now, 1, &mut packet).expect("an INIT");
        packet
    };
    let mut tsns = Vec::new();
    for node in 0..ASSOCIATIONS.len() {
        let keys = CookieKeys::new(now, [0; 32]);
        let mut association = Association::new(Valid::default(), keys, &[], association_seed(node));
        association.connect(now);
        tsns.push(tsn(&init(&mut association)));
    }
    let endpoint = |node| Endpoint::new(now, EndpointConfig::default(), endpoint_seed(node));
    for node in 1..=CLIENTS.len() {
        let (_, mut association) = endpoint(node).connect(now, address(0)).unwrap();
        let init = init(&mut association);
        let mut answer = Vec::new();
        let _ = endpoint(0).handle_datagram(now, address(node), Bytes::copy_from_slice(&init), &mut answer);
        tsns.extend([tsn(&init), tsn(&answer)]);
    }
    assert!(tsns.iter().all(|tsn| *tsn > u32::MAX - 400), "{tsns:?}");
}
