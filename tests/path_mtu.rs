//! Sizes of packets over real sockets: interfaces that take less than was sent, in network namespaces.
#![cfg(target_os = "linux")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod namespace;
mod secure;

use std::time::Duration;

use namespace::{ip, is_outside};
use narrowboat::{Association, Config, DataChannel, Endpoint};
use secure::{builder, pattern, soon, transfer, within};

/// Two endpoints with one association, plain or over DTLS, and a channel, seen from both.
struct Link {
    _endpoints: [Endpoint; 2],
    a: Association,
    _b: Association,
    near: DataChannel,
    far: DataChannel,
}

impl Link {
    async fn new(is_secure: bool, config: Config) -> Self {
        if is_secure {
            let bind = || builder().config(config.clone()).build().unwrap();
            let pair = secure::Pair::of(bind(), bind()).await;
            let (near, far) = pair.channel("sized").await;
            return Self { _endpoints: [pair.client, pair.server], a: pair.a, _b: pair.b, near, far };
        }
        let bind = || Endpoint::builder().bind("127.0.0.1:0").config(config.clone()).accept_plain().build().unwrap();
        let (client, server) = (bind(), bind());
        let accepted = async { server.accept().await.unwrap().await.unwrap() };
        let (a, b) = soon(async { tokio::join!(client.connect(server.local_address()), accepted) }).await;
        let a = a.unwrap();
        let near = a.create_channel("sized").unwrap();
        let far = soon(b.accept_channel()).await.unwrap();
        Self { _endpoints: [client, server], a, _b: b, near, far }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// The refusal of a datagram (EMSGSIZE) is a hint about one interface, and another one may come.
#[test]
fn a_datagram_that_the_interface_refuses_ends_no_association() {
    if is_outside("a_datagram_that_the_interface_refuses_ends_no_association") {
        return;
    }
    run(async {
        for is_secure in [false, true] {
            ip("link set lo up mtu 1500");
            let mut config = Config::default();
            config.association.mtu = 1400;
            config.association.path_mtu_discovery = false;
            let link = Link::new(is_secure, config).await;
            soon(transfer(&link.near, &link.far, 1 << 20, 64 << 10)).await;
            ip("link set lo mtu 1350");
            link.near.send(pattern(64 << 10, 7)).await.unwrap();
            within(20, async {
                while link.a.network_error().is_none_or(|error| !error.contains("lower association.mtu")) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            tokio::time::timeout(Duration::from_millis(300), link.a.closed()).await.unwrap_err();
            ip("link set lo mtu 1500");
            let received = within(30, link.far.recv()).await.unwrap().unwrap();
            assert!(received.as_bytes() == pattern(64 << 10, 7));
            within(30, transfer(&link.near, &link.far, 1 << 20, 64 << 10)).await;
            assert_eq!(link.a.network_error(), None, "the system takes its datagrams again");
        }
    });
}
