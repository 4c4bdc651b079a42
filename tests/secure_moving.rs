//! A client whose own address changes, as from Wi-Fi to mobile: in a network namespace of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod namespace;
mod secure;

use std::time::{Duration, Instant};

use namespace::{ip, is_outside};
use narrowboat::{Endpoint, Identity, Ticket};
use secure::{Pair, transfer, within};

const SERVER: &str = "10.77.0.100";

/// Datagrams to the server leave from this address.
fn leave_from(address: &str) {
    ip(&format!("route replace local {SERVER} dev lo table local proto kernel scope host src {address}"));
}

#[test]
fn a_client_whose_address_changes_in_mid_transfer_goes_on() {
    if is_outside("a_client_whose_address_changes_in_mid_transfer_goes_on") {
        return;
    }
    ip("link set lo up");
    ip(&format!("addr add {SERVER}/32 dev lo"));
    ip("addr add 10.77.0.1/32 dev lo");
    leave_from("10.77.0.1");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bind = |address| {
            Endpoint::builder().bind(address).identity(Identity::generate().unwrap()).accept_direct().build().unwrap()
        };
        let (client, server) = (bind("0.0.0.0:0".to_owned()), bind(format!("{SERVER}:0")));
        let ticket = Ticket::new([server.local_address()], server.identity().unwrap().fingerprint()).unwrap();
        let pair = Pair::by(client, server, &ticket).await;
        assert_eq!(pair.b.remote_address().ip().to_string(), "10.77.0.1");
        let (up, up_far) = pair.channel("up").await;
        within(60, transfer(&up, &up_far, 1 << 20, 64 << 10)).await;

        ip("addr add 10.77.0.2/32 dev lo");
        ip("addr del 10.77.0.1/32 dev lo");
        leave_from("10.77.0.2");
        let moved = Instant::now();
        within(60, transfer(&up, &up_far, 4 << 20, 64 << 10)).await;
        assert!(moved.elapsed() < Duration::from_secs(10), "it took {:?}", moved.elapsed());
        within(10, async {
            while pair.b.remote_address().ip().to_string() != "10.77.0.2" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(pair.a.network_error(), None, "the system takes its datagrams again");
        within(30, up.close()).await.unwrap();
    });
}
