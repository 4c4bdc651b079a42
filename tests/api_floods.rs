//! Strangers who flood the socket of a plain endpoint.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod api;
#[path = "floods_table/packets.rs"]
mod packets;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::{Pair, numbered, soon};
use narrowboat::Endpoint;

/// Sends a datagram again and again until told to stop, some 5,000 a second from addresses of 127.77.0.0/24 in turn.
fn flood(sources: u8, datagram: Vec<u8>, target: SocketAddr, is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let sources: Vec<UdpSocket> =
        (1..=sources).map(|host| UdpSocket::bind(SocketAddr::from(([127, 77, 0, host], 0))).expect("a port")).collect();
    std::thread::spawn(move || {
        for (number, source) in sources.iter().cycle().enumerate() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let _ = source.send_to(&datagram, target);
            if number % 10 == 9 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    })
}

/// The limits are the defaults, except for lower rates, so that the flood reaches them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b06_c05_plain_newcomers_get_in_while_a_flood_lasts() {
    let floods = [
        ("INITs from one address", packets::init(), 1),
        ("INITs from many", packets::init(), 200),
        ("packets out of the blue from one address", packets::out_of_the_blue(), 1),
        ("packets out of the blue from many", packets::out_of_the_blue(), 200),
    ];
    for (name, datagram, sources) in floods {
        let config = narrowboat::Config {
            inits_per_second_max: 2000,
            out_of_the_blue_per_second_max: 200,
            ..narrowboat::Config::default()
        };
        let pair = soon(Pair::with(config)).await;
        let (near, far) = soon(pair.channel("survivor")).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let target = pair.server.local_address();
        let flood = flood(sources, datagram, target, Arc::clone(&is_over));
        let before = pair.server.stats();
        // The rates' limits are used up.
        soon(async {
            while pair.server.stats().socket.datagrams_received < before.socket.datagrams_received + 3000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for number in 1..=10 {
            let client = Endpoint::bind(SocketAddr::from(([127, 99, 0, number], 0))).unwrap();
            let both = async { tokio::join!(client.connect(target), pair.server.accept()) };
            let Ok((association, incoming)) = tokio::time::timeout(Duration::from_secs(5), both).await else {
                panic!("{name}: newcomer {number} is not in after five seconds: {:?}", pair.server.stats())
            };
            let _accepted = incoming.unwrap().await.unwrap();
            association.unwrap().abort("only a visit");
            near.send(numbered(number.into(), 100)).await.unwrap();
            assert_eq!(soon(far.recv()).await.unwrap().unwrap().as_bytes(), numbered(number.into(), 100), "{name}");
        }
        is_over.store(true, Ordering::Relaxed);
        flood.join().unwrap();
        assert!(pair.server.stats().associations <= 11, "{name}: nothing is kept of a flood");
    }
}
