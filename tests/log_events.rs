//! Spans and events of the log, over real sockets on loopback. Names and fields are those of the crate's documentation.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api;
mod log;

use std::time::Duration;

use api::{Pair, soon};
use log::{Log, is_of, runtime};
use narrowboat::{Config, Endpoint};
use tracing::Level;

#[test]
fn an_association_and_a_channel_are_reported_from_beginning_to_end() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let pair = Pair::new().await;
        let (client, server) = (pair.client.local_address().to_string(), pair.server.local_address().to_string());
        let bound = log.find("endpoint bound", |event| event.field("local_address") == client).await;
        assert_eq!((bound.level, bound.field("is_secure")), (Level::INFO, "false"));

        for (end, peer, role) in [(&pair.client, &server, "Client"), (&pair.server, &client, "Server")] {
            let established = log.find("association established", is_of(end)).await;
            assert_eq!(established.level, Level::INFO);
            assert_eq!(established.span_names(), ["endpoint", "association"]);
            for (name, value) in [("association", "0"), ("remote_address", peer), ("role", role)] {
                assert_eq!(established.field(name), value);
                assert_eq!(established.span_field("association", name), value);
            }
        }

        let (near, far) = pair.channel("news").await;
        for (end, opened) in [(&pair.client, &near), (&pair.server, &far)] {
            let event = log.find("channel opened", is_of(end)).await;
            assert_eq!((event.level, event.field("stream_id"), event.field("label")), (Level::DEBUG, "0", "news"));
            assert_eq!(event.span_names(), ["endpoint", "association", "channel"]);
            assert_eq!((event.span_field("channel", "id"), event.span_field("channel", "label")), ("0", "news"));
            assert_eq!(opened.label(), "news");
        }
        soon(near.close()).await.unwrap();
        soon(far.closed()).await.unwrap();
        for end in [&pair.client, &pair.server] {
            let closed = log.find("channel closed", is_of(end)).await;
            assert_eq!((closed.level, closed.fields.get("error")), (Level::DEBUG, None));
            assert_eq!(closed.span_field("channel", "label"), "news");
        }

        soon(pair.a.shutdown()).await.unwrap();
        soon(pair.b.closed()).await;
        for end in [&pair.client, &pair.server] {
            let ended = log.find("association ended", is_of(end)).await;
            assert_eq!((ended.level, ended.field("association")), (Level::INFO, "0"));
            assert_eq!(
                (ended.field("was_established"), ended.field("reason")),
                ("true", "the association was shut down")
            );
        }
        drop(pair);
        for address in [client, server] {
            let closed = log.find("endpoint closed", |event| event.field("local_address") == address).await;
            assert_eq!(closed.level, Level::INFO);
        }
    });
}

#[test]
fn a_refused_peer_is_reported_at_both_ends() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let (client, server) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
        let association = client.dial(server.local_address()).unwrap();
        soon(server.accept()).await.unwrap().refuse();
        soon(association.closed()).await;
        let ended = log.find("association ended", is_of(&client)).await;
        assert_eq!((ended.level, ended.field("reason")), (Level::INFO, "the peer aborted the association: refused"));
        let ended = log.find("association ended", is_of(&server)).await;
        assert_eq!(ended.field("reason"), "the association was aborted locally");
        assert_eq!(ended.field("remote_address"), client.local_address().to_string());
    });
}

#[test]
fn a_full_accept_queue_warns_once_and_counts_the_rest() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let config = Config { accept_queue_max: 1, ..Config::default() };
        let server = Endpoint::builder().bind("127.0.0.1:0").config(config).accept_plain().build().unwrap();
        let client = || Endpoint::bind("127.0.0.1:0").unwrap();
        let clients: Vec<_> = (0..4).map(|_| client()).collect();
        let mut associations = Vec::new();
        for client in &clients {
            let association = client.dial(server.local_address()).unwrap();
            let refused = associations.len() as u64;
            soon(async {
                while server.stats().refused < refused {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            if refused == 0 {
                soon(association.connected()).await.unwrap();
            }
            associations.push(association);
        }
        let refused = "association refused";
        while log.all(refused).len() < 3 {
            log.first(refused).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let warnings = log.all("the accept queue is full: associations of peers are refused");
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert_eq!((warning.level, warning.field("suppressed")), (Level::WARN, "0"));
        assert_eq!(warning.field("local_address"), server.local_address().to_string());
    });
}

#[test]
fn a_peer_that_does_not_answer_is_reported() {
    let (log, _guard) = Log::install(Level::INFO);
    runtime().block_on(async {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.association.init_max_retransmits = 1;
        (config.association.rto_min, config.association.rto_initial) =
            (Duration::from_millis(10), Duration::from_millis(10));
        let client = Endpoint::builder().bind("127.0.0.1:0").config(config).build().unwrap();
        soon(client.connect(silent.local_addr().unwrap())).await.unwrap_err();
        let ended = log.first("association ended").await;
        assert_eq!(ended.field("was_established"), "false");
        assert_eq!(ended.field("remote_address"), silent.local_addr().unwrap().to_string());
        assert!(ended.field("reason").starts_with("the peer did not answer the handshake"), "{ended:?}");
        assert!(log.all("association established").is_empty());
    });
}

/// At INFO there are no spans, and packets and messages emit no event.
#[test]
fn messages_cost_no_event_and_no_span_at_the_level_of_a_service() {
    let (log, _guard) = Log::install(Level::INFO);
    runtime().block_on(async {
        let pair = Pair::new().await;
        let (near, far) = pair.channel("news").await;
        while log.all("association established").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        log.clear();
        for _ in 0..1000 {
            near.send("hello").await.unwrap();
            soon(far.recv()).await.unwrap().unwrap();
        }
        assert_eq!((log.span_count(), log.events().len()), (0, 0));
    });
}
