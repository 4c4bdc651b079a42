//! Datagrams from strangers to a port that others are connected to: counted, answered with little, and without effect.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod secure;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use narrowboat::{Endpoint, Identity};
use secure::hello::{halved, recorded_hello};
use secure::stun::{forged_check, signed_check};
use secure::{Pair, bind, soon, transfer, within};

/// The first half of a ClientHello of 1,400 bytes, as a browser with a post-quantum key share sends it.
fn half_hello() -> Vec<u8> {
    let mut record = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(712u16.to_be_bytes());
    record.extend([1, 0, 5, 120, 0, 0, 0, 0, 0, 0, 2, 188]);
    record.resize(13 + 712, 7);
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k04_k09_k10_k13_floods_of_checks_hellos_and_garbage_are_counted_and_harm_nobody() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("survivor").await;
    let address = pair.server.local_address();
    let before = pair.server.stats();
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_over);
    let flood = tokio::task::spawn_blocking(move || {
        let strangers: Vec<UdpSocket> = (0..200).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
        let direct = forged_check("narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa:bbbb");
        let unknown = forged_check("AbCdEfGh:bbbb");
        let mut damaged = direct.clone();
        damaged[30] ^= 1;
        let hello = half_hello();
        let record = [23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7];
        let datagrams: [&[u8]; 6] = [&direct, &unknown, &damaged, &hello, &record, &[200, 1, 2, 3]];
        let mut rounds = 0;
        for datagram in datagrams.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for stranger in &strangers {
                let _ = stranger.send_to(datagram, address);
            }
            rounds += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        // Answers to forged checks are errors, and at most one and a half times as long.
        let mut answers = 0;
        for stranger in &strangers {
            stranger.set_nonblocking(true).expect("a socket");
            let mut answer = [0; 2048];
            while let Ok(len) = stranger.recv(&mut answer) {
                answers += 1;
                assert_eq!(&answer[..2], [1, 0x11], "an error response");
                assert!(len * 2 <= direct.len().min(unknown.len()) * 3, "{len} bytes");
            }
        }
        (rounds, answers)
    });
    // Meanwhile connected peers go on.
    soon(transfer(&near, &far, 4 << 20, 64 << 10)).await;
    // The flood lasts until some of each kind were counted and thousands have come in, however slow the machine is.
    let counted = || {
        let (old, new) = (&before.secure, pair.server.stats().secure);
        [
            new.checks_refused - old.checks_refused,
            new.bad_stun - old.bad_stun,
            new.stray_dtls - old.stray_dtls,
            new.unknown_protocol - old.unknown_protocol,
        ]
    };
    let received = || pair.server.stats().socket.datagrams_received - before.socket.datagrams_received;
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while counted().contains(&0) || received() < 10_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?} of each kind were counted, {} received", counted(), received());
    is_over.store(true, Ordering::Relaxed);
    let (rounds, answers) = soon(flood).await.unwrap();
    assert!(answers > 0, "{rounds} rounds");
    let after = pair.server.stats();
    let new = after.secure;
    assert!(new.checks_refused >= answers, "{} refused, {answers} answered", new.checks_refused);
    assert_eq!(after.associations, 1);

    // Nobody was let in, and a newcomer is let in now.
    let late = bind();
    let ticket = pair.server.ticket().unwrap();
    let (association, incoming) = soon(async { tokio::join!(late.connect(&ticket), pair.server.accept()) }).await;
    association.unwrap().abort("only a visit");
    drop(incoming);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k06_a_hello_from_an_address_without_a_check_does_not_reach_an_expected_peer() {
    let hello = recorded_hello().await;
    let server = Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate().unwrap()).build().unwrap();
    // As a full agent would offer.
    let offer = bind().offer().unwrap().sdp().replace("a=ice-lite\r\n", "");
    let answer = server.answer(&offer).unwrap();
    let [stranger, peer] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for _ in 0..3 {
        stranger.send_to(&hello, server.local_address()).unwrap();
    }
    stranger.send_to(&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7], server.local_address()).unwrap();
    soon(async {
        while server.stats().secure.unwanted_hellos + server.stats().secure.stray_dtls < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let stats = server.stats();
    assert_eq!((stats.secure.unwanted_hellos, stats.secure.stray_dtls), (3, 1));
    assert_eq!((stats.associations, stats.socket.datagrams_sent), (1, 0), "the expected one, and no answer");
    // The same hello reaches it from the address that its peer has checked from.
    let value = |sdp: &str, name: &str| {
        let line = sdp.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.expect("an attribute of the description")
    };
    let username = format!("{}:{}", value(&answer.sdp, "a=ice-ufrag:"), value(&offer, "a=ice-ufrag:"));
    let check = signed_check(&username, &value(&answer.sdp, "a=ice-pwd:"));
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = server.local_address();
    let first_bytes = tokio::task::spawn_blocking(move || {
        [check, hello].map(|datagram| {
            peer.send_to(&datagram, address).unwrap();
            let mut received = [0; 2048];
            peer.recv(&mut received).unwrap();
            (received[0], received[1])
        })
    });
    let [checked, greeted] = soon(first_bytes).await.unwrap();
    assert_eq!(checked, (1, 1), "a success response (RFC 8489 §5)");
    assert_eq!(greeted, (22, 254), "the server's flight of the handshake (RFC 9147 §4)");
    answer.association.abort("only a visit");
    soon(server.wait_idle()).await;
}

/// Sends a datagram again and again until told to stop, from these sockets in turn. Returns how many were sent.
fn flood(
    sources: Vec<UdpSocket>,
    datagram: Vec<u8>,
    target: std::net::SocketAddr,
    is_over: Arc<AtomicBool>,
) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut sent = 0;
        for source in sources.iter().cycle() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            sent += u64::from(source.send_to(&datagram, target).is_ok());
            // Some 5,000 a second.
            if sent % 10 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        sent
    })
}

/// Sockets on as many addresses, three on each.
fn hosts(count: u8) -> Vec<UdpSocket> {
    (1..=count)
        .flat_map(|host| [host; 3])
        .map(|host| UdpSocket::bind(std::net::SocketAddr::from(([127, 77, host, 1], 0))).unwrap())
        .collect()
}

/// The limits are the defaults. Newcomers are from another address than the strangers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k06_k09_newcomers_get_in_while_a_flood_of_hellos_lasts() {
    let whole = recorded_hello().await;
    let short = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    let floods = [
        ("14 bytes from one port", short, 1, false),
        ("whole hellos from many ports of one host", whole.clone(), 200, false),
        ("halves from many hosts", halved(&whole), 200, true),
        ("whole hellos from many hosts", whole, 200, true),
    ];
    for (name, datagram, count, is_many) in floods {
        let server = bind();
        let ticket = server.ticket().unwrap();
        let sources = match is_many {
            true => hosts(count),
            false => (0..count).map(|_| UdpSocket::bind("127.66.0.1:0").unwrap()).collect(),
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let flood = flood(sources, datagram, server.local_address(), Arc::clone(&is_over));
        // The table fills and a whole second of the flood's passes.
        within(30, async {
            while server.stats().socket.datagrams_received < 6000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for number in 0..6 {
            let client = bind();
            let both = async { tokio::join!(client.connect(&ticket), server.accept()) };
            let Ok((association, incoming)) = tokio::time::timeout(Duration::from_secs(8), both).await else {
                panic!("{name}: newcomer {number} is not in after eight seconds: {:?}", server.stats().secure)
            };
            let _accepted = incoming.unwrap().await.unwrap();
            association.unwrap().abort("only a visit");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(flood.join().unwrap() >= 6000, "{name}");
    }
}

/// A sender of descriptions can make an endpoint expect peers that never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k18_answers_that_lead_to_nothing_lock_nobody_out() {
    let (server, client) = (bind(), bind());
    // As a full agent would offer.
    let offer = || client.offer().unwrap().sdp().replace("a=ice-lite\r\n", "");
    let first = server.answer(&offer()).unwrap().association;
    for number in 0..1100 {
        if let Err(error) = server.answer_for_accept(&offer()) {
            panic!("answer {number}: {error}");
        }
    }
    // The oldest have made room.
    let reason = soon(first.closed()).await;
    assert_eq!(reason, narrowboat::error::CloseReason::LocalAbort);
    within(30, async {
        while server.stats().associations > 1024 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
