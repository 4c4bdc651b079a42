//! Spans and events of the log, over real sockets on loopback. Names and fields are those of the crate's documentation.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api;
mod log;

use api::{Pair, soon};
use log::{Log, LoggedEvent};
use narrowboat::Endpoint;
use tokio::runtime::{Builder, Runtime};
use tracing::Level;

/// All tasks run on the thread of the test, which the log listens to.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// True if the event belongs to an association of this endpoint.
fn is_of(endpoint: &Endpoint) -> impl Fn(&LoggedEvent) -> bool {
    let address = endpoint.local_address().to_string();
    move |event| event.spans.iter().any(|span| span.fields.get("local_address") == Some(&address))
}

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
