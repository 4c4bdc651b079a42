//! Sizes of packets over real sockets: interfaces of several sizes in network namespaces, and a relay that drops what
//! is too large.
#![cfg(target_os = "linux")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod namespace;
mod secure;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use namespace::{ip, is_outside};
use narrowboat::{Association, Config, DataChannel, DtlsVersion, Endpoint, Ticket};
use secure::relay::Relay;
use secure::{builder, pattern, soon, transfer, within};

/// Plain UDP, then DTLS by version; bytes by which a datagram is longer than its packet.
const CARRIERS: [(Option<DtlsVersion>, usize); 3] =
    [(None, 0), (Some(DtlsVersion::Dtls12), 37), (Some(DtlsVersion::Dtls13), 22)];

/// Two endpoints with one association, plain or over DTLS, and a channel, seen from both.
struct Link {
    _endpoints: [Endpoint; 2],
    a: Association,
    _b: Association,
    near: DataChannel,
    far: DataChannel,
}

impl Link {
    async fn new(carrier: Option<DtlsVersion>, config: Config) -> Self {
        if let Some(version) = carrier {
            let bind = || builder().only_dtls(version).config(config.clone()).build().unwrap();
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

    /// Sends until packets have this size.
    async fn grow_to(&self, mtu: usize) {
        while self.a.stats().mtu != mtu {
            transfer(&self.near, &self.far, 1 << 20, 64 << 10).await;
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// RFC 8831 §5: 1,200 bytes at IP before the path is known, DTLS included.
#[test]
fn the_first_packets_and_records_take_1200_bytes_at_ip() {
    run(async {
        for (carrier, overhead) in CARRIERS {
            let link = Link::new(carrier, Config::default()).await;
            assert_eq!(link.a.stats().mtu, (1200 - 28 - overhead) & !3, "{carrier:?}");
        }
    });
}

/// The refusal of a datagram (EMSGSIZE) is a hint about one interface, and another one may come.
#[test]
fn a_datagram_that_the_interface_refuses_ends_no_association() {
    if is_outside("a_datagram_that_the_interface_refuses_ends_no_association") {
        return;
    }
    run(async {
        for (carrier, _) in CARRIERS {
            ip("link set lo up mtu 1500");
            let mut config = Config::default();
            config.association.mtu = 1400;
            config.association.path_mtu_discovery = false;
            let link = Link::new(carrier, config).await;
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

/// The largest packets that a search finds where IP packets of `mtu` bytes pass.
fn found(mtu: usize, overhead: usize, max: usize) -> usize {
    (mtu.min(65_535) - 28 - overhead).min(max) & !3
}

/// Probes above the size of the interface are refused, and end nothing. Batches are of the size that was found.
#[test]
fn the_search_finds_what_the_interface_takes() {
    if is_outside("the_search_finds_what_the_interface_takes") {
        return;
    }
    run(async {
        ip("link set lo up");
        for mtu in [1280, 1500, 9000, 65_536] {
            ip(&format!("link set lo mtu {mtu}"));
            for (carrier, overhead) in CARRIERS {
                for dtls_mtu_max in [2048, 16_421] {
                    let max = match carrier {
                        None => 65_484,
                        Some(_) => (dtls_mtu_max - overhead).min(16_384),
                    };
                    let config = Config { dtls_mtu_max, ..Config::default() };
                    let link = Link::new(carrier, config).await;
                    within(30, link.grow_to(found(mtu, overhead, max))).await;
                    within(60, transfer(&link.near, &link.far, 8 << 20, 64 << 10)).await;
                    let stats = link.a.stats();
                    let name = format!("{carrier:?}, {mtu} bytes at IP, {dtls_mtu_max} with a record: {stats:?}");
                    assert_eq!(stats.mtu, found(mtu, overhead, max), "{name}");
                    assert_eq!(link.a.network_error(), None, "{name}");
                    if carrier.is_none() {
                        break;
                    }
                }
            }
        }
    });
}

/// The interface refuses what it has taken so far: larger packets than those to start with become smaller, at once.
#[test]
fn an_interface_that_takes_less_in_mid_transfer_is_followed() {
    if is_outside("an_interface_that_takes_less_in_mid_transfer_is_followed") {
        return;
    }
    run(async {
        for (carrier, overhead) in CARRIERS {
            let mut config = Config::default();
            config.association.mtu_min = Some(800);
            ip("link set lo up mtu 1500");
            let link = Link::new(carrier, config).await;
            within(30, link.grow_to(found(1500, overhead, 65_484))).await;
            for mtu in [1280, 1200, 900] {
                ip(&format!("link set lo mtu {mtu}"));
                within(60, transfer(&link.near, &link.far, 8 << 20, 64 << 10)).await;
                let stats = link.a.stats();
                assert!(stats.mtu + overhead + 28 <= mtu, "{carrier:?}, {mtu} bytes at IP: {stats:?}");
                assert_eq!(link.a.network_error(), None, "{carrier:?}");
            }
        }
    });
}

/// A network that carries only smaller datagrams from some time on, without a word. The rate that is left of a link is
/// measured in virtual time, by `sctp/tests/path_mtu.rs`.
#[test]
fn a_black_hole_in_mid_transfer_over_dtls_is_left_within_five_seconds() {
    run(async {
        for (version, overhead) in [(DtlsVersion::Dtls12, 37), (DtlsVersion::Dtls13, 22)] {
            let server = builder().build().unwrap();
            let relay = Relay::to(server.local_address()).await;
            let limit = Arc::new(AtomicUsize::new(1500));
            let carried = Arc::clone(&limit);
            relay.rule(move |_, datagram| datagram.len() + 28 <= carried.load(Ordering::Relaxed));
            let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
            let client = builder().only_dtls(version).build().unwrap();
            let pair = secure::Pair::by(client, server, &ticket).await;
            let (near, far) = pair.channel("narrowing").await;
            let received = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&received);
            let reading = tokio::spawn(async move {
                while let Some(Ok(message)) = far.recv().await {
                    counted.fetch_add(message.as_bytes().len(), Ordering::Relaxed);
                }
            });
            let sending = tokio::spawn(async move { while near.send(pattern(16 << 10, 7)).await.is_ok() {} });
            let pause = || tokio::time::sleep(Duration::from_millis(5));
            within(30, async {
                while pair.a.stats().mtu != found(1500, overhead, 65_484) {
                    pause().await;
                }
            })
            .await;
            for mtu in [1280, 1200] {
                limit.store(mtu, Ordering::Relaxed);
                within(5, async {
                    while pair.a.stats().mtu + overhead + 28 > mtu {
                        pause().await;
                    }
                    let before = received.load(Ordering::Relaxed);
                    while received.load(Ordering::Relaxed) < before + (1 << 20) {
                        pause().await;
                    }
                })
                .await;
            }
            reading.abort();
            sending.abort();
        }
    });
}
