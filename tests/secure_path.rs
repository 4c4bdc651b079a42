//! Faults of the network below an association over DTLS, and the end of associations there.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod secure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use narrowboat::error::{CloseReason, ConnectError, TransportFailure};
use narrowboat::{Association, Config, DtlsVersion, Endpoint, Identity, Ticket};
use secure::relay::{Direction, Relay};
use secure::{Pair, bind, builder, soon, transfer, within};
use tokio::time::Instant;

/// A pair whose datagrams go through a relay. Without signalling the server learns the user name of the client's checks
/// from the check that follows the handshake, so this waits until the client has answered the server's question about
/// it.
async fn relayed() -> (Pair, Relay) {
    let server = bind();
    let relay = Relay::to(server.local_address()).await;
    let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
    let has_answered = Arc::new(AtomicBool::new(false));
    let answered = Arc::clone(&has_answered);
    relay.rule(move |direction, datagram| {
        if direction == Direction::ToServer && datagram.starts_with(&[1, 1]) {
            answered.store(true, Ordering::Relaxed);
        }
        true
    });
    let pair = Pair::by(bind(), server, &ticket).await;
    soon(async {
        while !has_answered.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    (pair, relay)
}

#[tokio::test(start_paused = true)]
async fn k01_k11_a_nat_that_gives_another_port_in_mid_transfer_loses_nothing() {
    let (pair, relay) = relayed().await;
    let (up, up_far) = pair.channel("up").await;
    let (down_far, down) = pair.channel("down").await;
    assert_eq!(pair.b.remote_address(), relay.outer());
    // A message of 64 KiB takes some 60 datagrams, and each transfer has 128 messages.
    let begun = relay.passed();
    let moves = async {
        while relay.passed() < begun + 2000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        relay.rebind().await;
    };
    within(120, async {
        tokio::join!(transfer(&up, &up_far, 8 << 20, 64 << 10), transfer(&down, &down_far, 8 << 20, 64 << 10), moves)
    })
    .await;
    // Idle or not, the next check brings the new address.
    within(30, async {
        while pair.b.remote_address() != relay.outer() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    soon(up.close()).await.unwrap();
}

/// The last flight of the handshake is lost once, so that the check which follows it comes first.
#[tokio::test(start_paused = true)]
async fn k01_a_nat_that_rebinds_right_after_a_reordered_handshake_is_followed() {
    let server = bind();
    let relay = Relay::to(server.local_address()).await;
    let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
    let has_answered = Arc::new(AtomicBool::new(false));
    let (mut is_held, answered) = (false, Arc::clone(&has_answered));
    relay.rule(move |direction, datagram| {
        if direction == Direction::ToServer && datagram.starts_with(&[1, 1]) {
            answered.store(true, Ordering::Relaxed);
        }
        // The first datagram with an encrypted record (RFC 9147 §4): the client's last flight.
        let is_last_flight = direction == Direction::ToServer && datagram[0] >> 5 == 1;
        is_held || !std::mem::replace(&mut is_held, is_last_flight) && !is_last_flight
    });
    let pair = Pair::by(bind(), server, &ticket).await;
    let (near, far) = pair.channel("moving").await;
    near.send("here").await.unwrap();
    soon(far.recv()).await.unwrap().unwrap();
    // Only a check that is sent at once, and not the next one four seconds later, tells the server the user fragment of
    // the client's checks. The client answers the server's question about it.
    within(3, async {
        while !has_answered.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    relay.rebind().await;
    within(30, async {
        while pair.b.remote_address() != relay.outer() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    soon(transfer(&near, &far, 1 << 20, 64 << 10)).await;
}

/// A path of 1,200 bytes with IPv6 below: the configured size bounds the handshake, in either role and version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configured_size_of_datagrams_holds_for_the_handshake_too() {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
        let mut config = narrowboat::Config::default();
        config.association.mtu = 1152;
        // A probe would be larger.
        config.association.path_mtu_discovery = false;
        let narrow = || builder().only_dtls(version).config(config.clone());
        let server = narrow().build().unwrap();
        let relay = Relay::to(server.local_address()).await;
        let longest = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&longest);
        relay.rule(move |_, datagram| {
            seen.fetch_max(datagram.len(), Ordering::Relaxed);
            datagram.len() <= 1172
        });
        let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
        let pair = Pair::by(narrow().build().unwrap(), server, &ticket).await;
        let (near, far) = pair.channel("narrow").await;
        soon(transfer(&near, &far, 1 << 20, 64 << 10)).await;
        let longest = longest.load(Ordering::Relaxed);
        assert!((1000..=1152).contains(&longest), "{longest} bytes");
    }
}

/// After the cut no datagram arrives, so virtual time passes as fast as the timers of both ends fire.
#[tokio::test]
async fn k05_a_peer_that_is_not_heard_of_for_thirty_seconds_is_given_up_with_a_reason() {
    let (pair, relay) = relayed().await;
    let (near, far) = pair.channel("quiet").await;
    near.send("before").await.unwrap();
    soon(far.recv()).await.unwrap().unwrap();
    relay.cut(true);
    tokio::time::pause();
    let since = Instant::now();
    let (a, b) = within(60, async { tokio::join!(pair.a.closed(), pair.b.closed()) }).await;
    let expired = CloseReason::Transport(TransportFailure::ConsentExpired);
    assert_eq!((a, b), (expired.clone(), expired));
    let after = since.elapsed();
    assert!((20..=31).contains(&after.as_secs()), "consent expires 30 s after the last check: {after:?}");
    soon(async { tokio::join!(pair.client.wait_idle(), pair.server.wait_idle()) }).await;
    // RFC 7675 §5.1: nothing is sent without consent.
    let sent = || [&pair.client, &pair.server].map(|end| end.stats().socket.datagrams_sent);
    let before = sent();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(sent(), before);
}

/// Ten seconds, the least that may be configured, instead of thirty, and of more than a minute over plain UDP.
#[tokio::test]
async fn k05_consent_timeout_is_kept_by_both_ends_over_dtls_and_over_plain_udp() {
    let config = || Config { consent_timeout: Some(Duration::from_secs(10)), ..Config::default() };
    let vanish = async |relay: &Relay, a: &Association, b: &Association| {
        let channel = soon(a.open_channel("quiet")).await.unwrap();
        let far = soon(b.accept_channel()).await.unwrap();
        channel.send("before").await.unwrap();
        soon(far.recv()).await.unwrap().unwrap();
        relay.cut(true);
        tokio::time::pause();
        let since = Instant::now();
        let reasons = within(60, async { tokio::join!(a.closed(), b.closed()) }).await;
        tokio::time::resume();
        (reasons, since.elapsed())
    };
    let secure = async {
        let server = builder().config(config()).build().unwrap();
        let relay = Relay::to(server.local_address()).await;
        let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
        let pair = Pair::by(builder().config(config()).build().unwrap(), server, &ticket).await;
        vanish(&relay, &pair.a, &pair.b).await
    };
    let plain = async {
        let bind = || Endpoint::builder().bind("127.0.0.1:0").config(config()).accept_plain().build().unwrap();
        let (client, server) = (bind(), bind());
        let relay = Relay::to(server.local_address()).await;
        let (a, incoming) = soon(async { tokio::join!(client.connect(relay.address), server.accept()) }).await;
        let (a, b) = (a.unwrap(), incoming.unwrap().await.unwrap());
        vanish(&relay, &a, &b).await
    };
    let (secure, secure_after) = secure.await;
    let (plain, plain_after) = plain.await;
    let expired = CloseReason::Transport(TransportFailure::ConsentExpired);
    assert_eq!(secure, (expired.clone(), expired));
    assert_eq!(plain, (CloseReason::PeerUnreachable, CloseReason::PeerUnreachable));
    // With the defaults it takes at least twenty seconds, and sixty.
    assert!(secure_after > Duration::from_secs(3) && secure_after < Duration::from_secs(20), "{secure_after:?}");
    assert!(plain_after > Duration::from_secs(9) && plain_after < Duration::from_secs(30), "{plain_after:?}");
}

/// The next check of consent would come four to six seconds after the last one.
#[tokio::test(start_paused = true)]
async fn k11_a_client_checks_its_path_when_two_time_outs_went_unanswered() {
    let (pair, relay) = relayed().await;
    let (near, _far) = pair.channel("unanswered").await;
    let (sender, mut checks) = tokio::sync::mpsc::unbounded_channel();
    let is_cut = Arc::new(AtomicBool::new(false));
    let cuts = Arc::clone(&is_cut);
    relay.rule(move |direction, datagram| {
        let is_check = datagram.starts_with(&[0, 1]);
        if is_check && direction == Direction::ToServer {
            let _ = sender.send(Instant::now());
        }
        // Checks and their answers, whose first byte is 0 or 1, pass.
        datagram[0] < 2 || !cuts.load(Ordering::Relaxed)
    });
    // Until the checks that follow the handshake are over.
    let mut last = soon(checks.recv()).await.unwrap();
    let last = soon(async {
        loop {
            let next = checks.recv().await.unwrap();
            if next - std::mem::replace(&mut last, next) > Duration::from_secs(3) {
                break next;
            }
        }
    })
    .await;
    is_cut.store(true, Ordering::Relaxed);
    near.send("unanswered").await.unwrap();
    let next = soon(checks.recv()).await.unwrap();
    assert!(pair.a.stats().t3_expirations >= 2);
    assert!(next - last < Duration::from_millis(3900), "{:?}", next - last);
}

/// Without signalling a check is answered from its contents, and so are checks of an association that the service had
/// before it was started again. The peer's records show that the association is gone, and then its consent is revoked.
#[tokio::test(start_paused = true)]
async fn k05_a_peer_notices_that_its_service_was_started_again_and_comes_back_from_the_same_port() {
    let identity = Identity::generate().unwrap();
    let server = builder().identity(identity.clone()).build().unwrap();
    let address = server.local_address();
    let relay = Relay::to(address).await;
    let ticket = Ticket::new([relay.address], identity.fingerprint()).unwrap();
    let pair = Pair::by(bind(), server, &ticket).await;
    let (near, far) = pair.channel("old").await;
    let Pair { client, server, a, b } = pair;
    // The relay is cut, so the peer does not receive the ABORT.
    relay.cut(true);
    server.abort("killed");
    soon(server.wait_idle()).await;
    drop((server, b, far));
    let server = soon(async {
        loop {
            let again = Endpoint::builder().bind(address).identity(identity.clone()).accept_direct().build();
            if let Ok(server) = again {
                break server;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    relay.cut(false);
    near.send("is anyone there?").await.unwrap();
    let reason = within(29, a.closed()).await;
    assert_eq!(reason, CloseReason::Transport(TransportFailure::ConsentRevoked));
    let stats = server.stats().secure;
    assert!(stats.consents_revoked >= 3 && stats.stray_dtls >= 1, "{stats:?}");
    soon(client.wait_idle()).await;
    let pair = Pair::by(client, server, &ticket).await;
    let (near, far) = pair.channel("new").await;
    soon(transfer(&near, &far, 1 << 20, 64 << 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn associations_end_alike_whichever_end_and_however_it_ends_them() {
    for from_client in [true, false] {
        let pair = Pair::new().await;
        let (near, far) = pair.channel("drained").await;
        near.send("kept").await.unwrap();
        let (this, other): (&Association, &Association) =
            if from_client { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
        let (shutdown, received) = soon(async { tokio::join!(this.shutdown(), far.recv()) }).await;
        assert_eq!(shutdown, Ok(()));
        assert_eq!(received.unwrap().unwrap().as_text(), Some("kept"));
        assert_eq!(soon(other.closed()).await, CloseReason::Shutdown);
        soon(async { tokio::join!(pair.client.wait_idle(), pair.server.wait_idle()) }).await;

        let pair = Pair::new().await;
        let (this, other) = if from_client { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
        this.abort("enough");
        let reason = soon(other.closed()).await;
        assert!(matches!(&reason, CloseReason::PeerAbort { text, .. } if text == "enough"), "{reason}");
        soon(async { tokio::join!(pair.client.wait_idle(), pair.server.wait_idle()) }).await;
    }
    let pair = Pair::new().await;
    let both = soon(async { tokio::join!(pair.a.shutdown(), pair.b.shutdown()) }).await;
    assert_eq!(both, (Ok(()), Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_share_one_port_and_one_client_socket_has_many_servers() {
    let server = bind();
    let ticket = server.ticket().unwrap();
    let serve = async {
        let mut echoes = Vec::new();
        for _ in 0..50 {
            let association = server.accept().await.unwrap().await.unwrap();
            echoes.push(tokio::spawn(async move {
                let channel = association.accept_channel().await.unwrap();
                let message = channel.recv().await.unwrap().unwrap();
                channel.send(message).await.unwrap();
                association.closed().await
            }));
        }
        echoes
    };
    let visit = |number: u32| {
        let ticket = ticket.clone();
        tokio::spawn(async move {
            let client = bind();
            let association = client.connect(&ticket).await.unwrap();
            let channel = association.create_channel("echo").unwrap();
            channel.send(number.to_string()).await.unwrap();
            let echo = channel.recv().await.unwrap().unwrap();
            assert_eq!(echo.as_text(), Some(number.to_string().as_str()));
            association.shutdown().await.unwrap();
        })
    };
    let visits: Vec<_> = (0..50).map(visit).collect();
    let echoes = within(120, serve).await;
    for visit in visits {
        within(60, visit).await.unwrap();
    }
    for echo in echoes {
        assert_eq!(within(60, echo).await.unwrap(), CloseReason::Shutdown);
    }
    soon(server.wait_idle()).await;

    let servers: Vec<Endpoint> = (0..10).map(|_| bind()).collect();
    for other in &servers {
        let ticket = other.ticket().unwrap();
        let (association, incoming) = soon(async { tokio::join!(server.connect(&ticket), other.accept()) }).await;
        association.unwrap().abort("done");
        drop(incoming);
    }
    soon(server.wait_idle()).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_at_the_ticket_is_one_clear_sentence() {
    let (client, nobody) = (bind(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let ticket = Ticket::new([nobody.local_addr().unwrap()], client.identity().unwrap().fingerprint()).unwrap();
    let error = within(60, client.connect(&ticket)).await.unwrap_err();
    let ConnectError::Closed { reason, .. } = &error else { panic!("{error}") };
    assert_eq!(*reason, CloseReason::Transport(TransportFailure::NoAnswer));
    assert!(error.to_string().contains("drops UDP"), "{error}");
}
