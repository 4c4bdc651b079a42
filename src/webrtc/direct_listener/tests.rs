//! Tests of the direct listener.

mod flood;

use std::time::Duration;

use super::*;
use crate::webrtc::dtls::Versions;
use crate::webrtc::dtls::tests::link::{ACTIVE, parameters};
use crate::webrtc::session::tests::context;
use crate::webrtc::stun::{StunWriter, TransactionId, Username};

#[test]
fn k04_few_checks_of_a_flood_are_verified_and_newcomers_are_answered() {
    let start = Instant::now();
    let context = context(start);
    let mut direct_listener = DirectListener::new(start, Arc::clone(&context), 7);
    let server = "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd";
    let mut check = Vec::new();
    let writer = StunWriter::new(&mut check, Class::Request, TransactionId([5; 12]));
    writer.username(Username { to: server, from: "EJ/U" }).priority(1).finish(Some(&Key::new(server)));
    let bytes = bytes::Bytes::from(check);
    let mut answers = Answers::default();
    let mut is_answered = |now, address: [u8; 4]| {
        let route = Route { remote: SocketAddr::from((address, 4000)), local: None };
        let datagram = Datagram { route, bytes: bytes.clone() };
        let stranger = Stranger { datagram, is_contested: false, has_room: true };
        assert!(direct_listener.handle(now, &stranger, &mut answers).is_none());
        !std::mem::take(&mut answers).take().is_empty()
    };
    let (mut flood, mut inside) = (0, [false; 200]);
    for n in 0..80_000_u32 {
        // 20,000 a second from 250 hosts. A newcomer each 10 ms checks every 500 ms until it is answered.
        let now = start + Duration::from_secs(1) * n / 20_000;
        let host = u8::try_from(n % 250).unwrap();
        flood += u32::from(is_answered(now, [203, 0, 113, host]));
        for begun in [0, 10_000, 20_000, 30_000].iter().filter_map(|ago| n.checked_sub(*ago)) {
            let newcomer = usize::try_from(begun / 200).unwrap();
            if begun % 200 == 0 && inside.get(newcomer) == Some(&false) {
                inside[newcomer] = is_answered(now, [198, 18, 1, u8::try_from(newcomer).unwrap()]);
            }
        }
    }
    let inside = inside.into_iter().filter(|is_in| *is_in).count();
    assert!(flood <= 4 * (5000 + 250 * 20), "{flood} of 80,000 checks were verified");
    assert!(inside >= 198, "{inside} of 200 newcomers were answered");
}

/// A service on all addresses would answer from another one than the peer has asked, where a firewall stops it.
#[test]
fn a_flight_that_is_repeated_leaves_from_the_address_that_the_peer_uses() {
    let mut now = Instant::now();
    let context = context(now);
    let mut direct_listener = DirectListener::new(now, context, 7);
    let mut client =
        Dtls::new(now, parameters(ACTIVE, Versions::Only12), SetupRole::Active, ExpectedPeer::Anyone, false);
    let (remote, local) = (SocketAddr::from(([192, 0, 2, 1], 4000)), Some([192, 0, 2, 200].into()));
    let route = Route { remote, local };
    let mut answers = Answers::default();
    let mut flights = 0;
    for _ in 0..200 {
        // The client hears the first answer, which may ask for a cookie, and nothing of what is repeated.
        while let Some(bytes) = client.poll_transmit().filter(|_| flights < 2) {
            let datagram = Datagram { route, bytes: bytes.into() };
            let stranger = Stranger { datagram, is_contested: false, has_room: true };
            assert!(direct_listener.handle(now, &stranger, &mut answers).is_none());
        }
        now += Duration::from_millis(50);
        direct_listener.handle_timeout(now, &mut answers);
        for (route, answer) in std::mem::take(&mut answers).take() {
            assert_eq!((route.remote, route.local), (remote, local));
            flights += 1;
            if flights < 2 {
                client.handle_datagram(now, &answer);
            }
        }
    }
    assert!(flights > 2, "{flights} flights: nothing was repeated");
}
