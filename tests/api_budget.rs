//! `memory_max` is used up: newcomers are refused with one sentence, associations that live go on, and the memory is
//! there again when they have ended.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod api;

use std::time::Duration;

use api::{numbered, soon};
use narrowboat::error::{CloseReason, ConnectError};
use narrowboat::{Association, Config, DataChannel, Endpoint, EndpointBuilder};

/// The least that may be configured: some forty idle associations.
const MEMORY_MAX: usize = 1 << 20;

/// More associations than fit.
const TOO_MANY: usize = MEMORY_MAX / (24 << 10) + 1;

fn builder(memory_max: usize) -> EndpointBuilder {
    Endpoint::builder().bind("127.0.0.1:0").config(Config { memory_max, ..Config::default() })
}

fn plain(memory_max: usize) -> Endpoint {
    builder(memory_max).accept_plain().build().unwrap()
}

/// A message each way, on a channel of its own.
async fn goes_on(near: &Association, far: &Association) {
    let channel = near.create_channel("goes on").unwrap();
    let other: DataChannel = soon(far.accept_channel()).await.unwrap();
    soon(channel.send(numbered(1, 1000))).await.unwrap();
    assert_eq!(soon(other.recv()).await.unwrap().unwrap().as_bytes().len(), 1000);
    soon(other.send("back")).await.unwrap();
    assert_eq!(soon(channel.recv()).await.unwrap().unwrap().as_text(), Some("back"));
    soon(channel.close()).await.unwrap();
}

#[tokio::test]
async fn a_service_without_memory_refuses_newcomers_over_plain_udp_and_takes_them_again() {
    let (server, client) = (plain(MEMORY_MAX), plain(usize::MAX));
    let address = server.local_address();
    let mut ends = Vec::new();
    let mut clients = Vec::new();
    let refused = loop {
        assert!(ends.len() < TOO_MANY, "nobody was refused");
        let newcomer = plain(usize::MAX);
        let connected = soon(newcomer.connect(address)).await;
        clients.push(newcomer);
        match connected {
            Ok(near) => ends.push((near, soon(server.accept()).await.unwrap().await.unwrap())),
            Err(error) => break error,
        }
    };
    assert!(ends.len() > TOO_MANY / 2, "{} fitted", ends.len());
    let ConnectError::Closed { reason: CloseReason::PeerAbort { cause, .. }, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(*cause, Some(4), "Out of Resource (RFC 9260 §3.3.10.4)");
    // The service cannot dial, either.
    let error = server.dial(client.local_address()).unwrap_err();
    assert!(matches!(error, ConnectError::OutOfMemory), "{error}");
    let sentence =
        "the endpoint's associations hold as much memory as they may: read what has arrived, or raise memory_max";
    assert_eq!(error.to_string(), sentence);
    assert_eq!(server.stats().associations, ends.len());
    for (near, far) in &ends {
        goes_on(near, far).await;
    }
    assert!(soon(client.connect(address)).await.is_err(), "nobody has ended");
    for (near, far) in ends.drain(..3) {
        soon(near.shutdown()).await.unwrap();
        soon(far.closed()).await;
    }
    // The memory comes back with the association, a moment after its end.
    let newcomer = soon(async {
        loop {
            match client.connect(address).await {
                Ok(near) => break near,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    let far = soon(server.accept()).await.unwrap().await.unwrap();
    goes_on(&newcomer, &far).await;
}

/// Unread messages use up the memory as idle associations do. They close windows, and end no association.
#[tokio::test]
async fn unread_messages_use_the_memory_up_and_reading_them_gives_it_back() {
    let (server, first, second) = (plain(MEMORY_MAX), plain(usize::MAX), plain(usize::MAX));
    let mut ends = Vec::new();
    for client in [&first, &second] {
        let near = soon(client.connect(server.local_address())).await.unwrap();
        let far = soon(server.accept()).await.unwrap().await.unwrap();
        let channel = near.create_channel("unread").unwrap();
        let unread = soon(far.accept_channel()).await.unwrap();
        ends.push((near, far, channel, unread));
    }
    // Each fills its send buffer until the service takes nothing more.
    for (near, _, channel, _) in &ends {
        soon(async {
            loop {
                while channel.try_send(numbered(7, 1000)).is_ok() {}
                if near.stats().peer_rwnd == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    let newcomer = plain(usize::MAX);
    let refused = soon(newcomer.connect(server.local_address())).await;
    let error = server.dial(newcomer.local_address());
    match (&refused, &error) {
        (Err(ConnectError::Closed { .. }), Err(ConnectError::OutOfMemory)) => {}
        other => panic!("{other:?}"),
    }
    for (near, far, channel, unread) in &ends {
        let sent = tokio::spawn({
            let channel = channel.clone();
            async move { channel.close().await }
        });
        soon(async { while unread.recv().await.is_some() {} }).await;
        soon(sent).await.unwrap().unwrap();
        assert_eq!(far.stats().messages_received, near.stats().messages_sent, "nothing was lost");
        goes_on(near, far).await;
    }
    let near = soon(async {
        loop {
            match newcomer.connect(server.local_address()).await {
                Ok(near) => break near,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    goes_on(&near, &soon(server.accept()).await.unwrap().await.unwrap()).await;
}

#[cfg(feature = "webrtc")]
mod secure {
    use narrowboat::Identity;
    use narrowboat::error::SignalError;

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EJ/U\r\n\
a=ice-pwd:6vVQ0Sf26fAsetCtwoo+QJrd\r\na=fingerprint:sha-256 CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:\
EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n";

    fn bind(memory_max: usize) -> Endpoint {
        builder(memory_max).identity(Identity::generate().unwrap()).accept_direct().build().unwrap()
    }

    /// A newcomer is refused at once, and gets in once there is memory.
    #[tokio::test]
    async fn a_service_without_memory_refuses_offers_tickets_and_hellos_and_takes_them_again() {
        let (server, client, newcomer) = (bind(MEMORY_MAX), bind(usize::MAX), bind(usize::MAX));
        let ticket = server.ticket().unwrap();
        let (near, incoming) = soon(async { tokio::join!(client.connect(&ticket), server.accept()) }).await;
        let (near, far) = (near.unwrap(), incoming.unwrap().await.unwrap());
        let mut answered = Vec::new();
        let error = loop {
            assert!(answered.len() < TOO_MANY, "no offer was refused");
            match server.answer(OFFER) {
                Ok(answer) => answered.push(answer.association),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SignalError::OutOfMemory), "{error}");
        let sentence = "the endpoint's associations hold as much memory as they may";
        assert!(error.to_string().starts_with(sentence), "{error}");
        assert!(matches!(server.offer(), Err(SignalError::OutOfMemory)));
        let error = server.dial(newcomer.ticket().unwrap()).unwrap_err();
        assert!(matches!(error, ConnectError::OutOfMemory), "{error}");

        let error = soon(newcomer.connect(&ticket)).await.unwrap_err();
        assert!(error.to_string().contains("no room for another peer"), "{error}");
        assert_eq!(server.stats().associations, 1 + answered.len());
        goes_on(&near, &far).await;

        answered.drain(..2).for_each(|association| association.abort("enough"));
        let connected = soon(async {
            loop {
                match newcomer.connect(&ticket).await {
                    Ok(connected) => break connected,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await;
        goes_on(&connected, &soon(server.accept()).await.unwrap().await.unwrap()).await;
        goes_on(&near, &far).await;
    }
}
