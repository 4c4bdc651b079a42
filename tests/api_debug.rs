//! `Debug` of an application's values goes into logs: it is short, and has no payload, tag or password in it.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod secure;

use std::fmt::Debug;

use narrowboat::{Endpoint, Identity, Message};
use secure::{Pair, builder, soon};

const SECRET: &str = "SECRET-PAYLOAD";

fn is_short(value: &impl Debug, words: &str) {
    let text = format!("{value:?}");
    assert!(text.len() <= 300, "{} bytes: {text}", text.len());
    for secret in [SECRET, "tag", "tsn", "pwd", "key", "seed", "83, 69, 67"] {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret}: {text}");
    }
    assert!(text.contains(words), "{words}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_logged_of_a_handle_is_long_or_secret() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("logged").await;
    for _ in 0..50 {
        near.send(SECRET).await.unwrap();
        near.send(SECRET.as_bytes().to_vec()).await.unwrap();
    }
    while pair.b.stats().messages_received < 101 {
        tokio::task::yield_now().await;
    }
    is_short(&pair.a, "state: connected");
    is_short(&pair.b, "channels: 1");
    is_short(&pair.client, "Endpoint { local_address: 127.0.0.1:");
    is_short(&far, "DataChannel { label: \"logged\"");
    let (send, receive) = far.clone().split();
    is_short(&send, "logged");
    is_short(&receive, "logged");
    is_short(&far.clone().into_byte_stream(), "ByteStream");
    is_short(&Message::from(SECRET), "Text(14 bytes)");
    is_short(&Message::from(SECRET.as_bytes().to_vec()), "Binary(14 bytes)");
    let config = {
        let mut config = narrowboat::Config::default();
        config.association.stream_send_buffer = 8 << 10;
        config.association.send_buffer = 32 << 10;
        config
    };
    let small = Endpoint::builder().bind("127.0.0.1:0").config(config).build().unwrap();
    let unread = small.dial(pair.server.local_address()).unwrap().create_channel("full").unwrap();
    let full = loop {
        if let Err(error) = unread.try_send(SECRET) {
            break error;
        }
    };
    is_short(&full, "Full(Text(14 bytes))");
    is_short(&pair.server.ticket().unwrap(), "");
    is_short(&Identity::generate().unwrap(), "");
    is_short(&pair.server.offer().unwrap(), "Offer");
    is_short(&near.close(), "Closing");
    is_short(&pair.a.shutdown(), "ShuttingDown");
    let (client, server) = (builder().build().unwrap(), builder().build().unwrap());
    let ticket = server.ticket().unwrap();
    let (_association, incoming) = soon(async { tokio::join!(client.connect(ticket), server.accept()) }).await;
    is_short(&incoming.unwrap(), "way: Direct");
}
