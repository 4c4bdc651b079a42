//! Answers that lead to nothing: a client that asks for them without end keeps out nobody.

use std::net::IpAddr;
use std::time::Duration;

use super::ways::{credentials, dial_by_answer, offer};
use crate::endpoint::Endpoint;
use crate::endpoint::tests::soon;
use crate::webrtc::Identity;

fn bind() -> Endpoint {
    let identity = Identity::generate().expect("an identity");
    Endpoint::builder().bind("127.0.0.1:0").identity(identity).build().expect("a port on loopback")
}

fn pending(server: &Endpoint) -> usize {
    server.core.routes().server().map_or(0, |server| server.pending())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k18_a_client_that_asks_for_5000_answers_pushes_out_only_its_own() {
    let (server, flooder) = (bind(), bind());
    let flood = offer(&flooder, &credentials(&flooder));
    let client = |host: u8| IpAddr::from([192, 0, 2, host]);
    // Two that are answered before: one by its address, one whose address is not known.
    let before = [Some(client(1)), None].map(|address| {
        let end = bind();
        let local = credentials(&end);
        let offer = offer(&end, &local);
        let answer = match address {
            Some(address) => server.answer_from(address, &offer),
            None => server.answer(&offer),
        };
        (end, local, answer.expect("an answer"))
    });
    for number in 0..5_000 {
        if let Err(error) = server.answer_for_accept_from(client(66), &flood) {
            panic!("answer {number}: {error}");
        }
    }
    assert_eq!(pending(&server), 1024);
    for (end, local, answer) in before {
        let near = dial_by_answer(&end, local, &answer.sdp, &server);
        soon(async { tokio::join!(near.connected(), answer.association.connected()) }).await.0.expect("connected");
    }
    // Who comes after it gets in, too.
    let end = bind();
    let local = credentials(&end);
    let answer = server.answer_for_accept_from(client(2), &offer(&end, &local)).expect("an answer");
    let near = dial_by_answer(&end, local, &answer, &server);
    let (connected, incoming) = soon(async { tokio::join!(near.connected(), server.accept()) }).await;
    connected.expect("connected");
    assert!(incoming.is_some());
    // The displaced association is over.
    soon(async {
        while server.stats().associations > 1024 + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_whose_answer_had_to_make_room_is_answered_again() {
    let (server, page) = (bind(), bind());
    let offer_of = |session: u32| {
        let offer = offer(&page, &credentials(&page));
        offer.replace("o=- 1 2 ", &format!("o=- {} 2 ", 7_000_000 + session))
    };
    let first = offer_of(0);
    let displaced = server.answer(&first).expect("an answer").association;
    let others: Vec<_> = (1..=1024).map(|session| server.answer(&offer_of(session)).expect("an answer")).collect();
    soon(displaced.closed()).await;
    // Its driver is done, and the endpoint has forgotten the association.
    soon(async {
        while server.stats().associations > others.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let again = server.answer(&first).expect("no connection has ended, because there was none");
    assert!(again.is_new);
}
