//! Offers and answers by HTTP: the response to each kind of request.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use narrowboat::{Endpoint, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EJ/U\r\n\
a=ice-pwd:6vVQ0Sf26fAsetCtwoo+QJrd\r\na=fingerprint:sha-256 CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:\
EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

async fn request(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    request_from("127.0.0.1", address, method, path, kind, body).await
}

async fn request_from(
    client: &str,
    address: SocketAddr,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> (u16, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(client.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response)
}

#[tokio::test]
async fn an_offer_is_answered_with_201_and_a_place_to_end_it_and_all_else_with_one_sentence() {
    let identity = Identity::generate().unwrap();
    let endpoint = Endpoint::builder().bind("127.0.0.1:0").identity(identity).build().unwrap();
    let app = axum::Router::new().nest("/channels", narrowboat::signalling(endpoint.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let (status, response) = request(address, "POST", "/channels", "application/sdp", OFFER).await;
    assert_eq!(status, 201, "{response}");
    assert!(response.to_lowercase().contains("content-type: application/sdp"), "{response}");
    let answer = response.split("\r\n\r\n").nth(1).unwrap();
    let port = format!("127.0.0.1 {} typ host", endpoint.local_address().port());
    assert!(answer.starts_with("v=0\r\n") && answer.contains("a=setup:passive") && answer.contains(&port), "{answer}");
    assert_eq!(endpoint.stats().associations, 1);

    let location = response.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(location.starts_with("/channels/") && location.len() == "/channels/".len() + 32, "{location}");
    assert_eq!(request(address, "DELETE", location, "text/plain", "").await.0, 200);
    assert_eq!(request(address, "DELETE", location, "text/plain", "").await.0, 404);
    endpoint.wait_idle().await;

    assert_eq!(request(address, "POST", "/channels", "text/plain", OFFER).await.0, 415);
    let (status, response) = request(address, "POST", "/channels", "application/sdp", "v=0\r\nnonsense\r\n").await;
    assert_eq!(status, 400, "{response}");
    assert!(response.contains("line 2"), "{response}");
    assert_eq!(endpoint.stats().associations, 0);
}

/// The offer of a peer connection whose session is known by its `o=` line.
fn offer_of_a_session(ufrag: &str, version: u32) -> String {
    OFFER.replace("o=- 1 2 ", &format!("o=- 3710104770252722952 {version} ")).replace("EJ/U", ufrag)
}

/// The lines of an answer that name the association, and the version of its session.
fn names(answer: &str) -> (Vec<String>, u64) {
    let names = ["a=ice-ufrag:", "a=ice-pwd:", "a=setup:"];
    let is_name = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<String> = answer.lines().filter(is_name).map(str::to_owned).collect();
    let mut origin = answer.lines().find(|line| line.starts_with("o=")).unwrap().split(' ').skip(1);
    lines.push(origin.next().unwrap().to_owned());
    (lines, origin.next().unwrap().parse().unwrap())
}

fn endpoint() -> Endpoint {
    Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate().unwrap()).build().unwrap()
}

#[tokio::test]
async fn another_offer_that_changes_nothing_is_for_the_same_association() {
    let endpoint = endpoint();
    let first = endpoint.answer(&offer_of_a_session("EJ/U", 2)).unwrap();
    let (said, version) = names(&first.sdp);
    assert!(first.is_new && version == 1, "{}", first.sdp);
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n";
    for (offer, expected) in [
        (offer_of_a_session("EJ/U", 2), 2),
        (offer_of_a_session("EJ/U", 3) + video, 3),
        (offer_of_a_session("EJ/U", 3).replace("a=setup:actpass", "a=setup:active"), 4),
    ] {
        let again = endpoint.answer(&offer).unwrap();
        assert_eq!((names(&again.sdp), again.is_new), ((said.clone(), expected), false), "{}", again.sdp);
        assert_eq!(again.sdp.contains("m=video 0 "), offer.contains("m=video"), "{}", again.sdp);
    }
    assert_eq!(endpoint.stats().associations, 1);
    // The association lives as long as any of its handles.
    let again = endpoint.answer(&offer_of_a_session("EJ/U", 4)).unwrap();
    drop(first);
    assert!(again.association.create_channel("x").is_ok());
    again.association.abort("enough");
    endpoint.wait_idle().await;
    // It was never connected, so nothing of the peer depends on it.
    assert!(endpoint.answer(&offer_of_a_session("EJ/U", 5)).unwrap().is_new);
}

#[tokio::test]
async fn offers_of_other_sessions_begin_associations_of_their_own() {
    let endpoint = endpoint();
    let first = endpoint.answer(&offer_of_a_session("EJ/U", 2)).unwrap();
    let another_certificate = offer_of_a_session("EJ/U", 2).replace("CF:D4", "CF:D5");
    // Before the handshake is done, nothing depends on the association that was answered first.
    let restarted = offer_of_a_session("EJ/V", 3);
    // An `o=` number that anybody may have written identifies no session.
    for offer in [another_certificate, restarted, OFFER.to_owned(), OFFER.to_owned()] {
        let other = endpoint.answer(&offer).unwrap();
        assert!(other.is_new && names(&other.sdp).0 != names(&first.sdp).0, "{offer}");
    }
}

#[tokio::test]
async fn another_offer_by_http_is_answered_with_200_and_the_same_place() {
    let endpoint = endpoint();
    let app = axum::Router::new().nest("/channels", narrowboat::signalling(endpoint.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let location = |response: &str| {
        let location = response.lines().find_map(|line| line.strip_prefix("location: ").map(str::to_owned));
        location.unwrap()
    };
    let (status, first) =
        request(address, "POST", "/channels", "application/sdp", &offer_of_a_session("EJ/U", 2)).await;
    assert_eq!(status, 201, "{first}");
    for version in 3..6 {
        let offer = offer_of_a_session("EJ/U", version);
        let (status, again) = request(address, "POST", "/channels", "application/sdp", &offer).await;
        assert_eq!((status, location(&again)), (200, location(&first)), "{again}");
    }
    assert_eq!(endpoint.stats().associations, 1);
    assert_eq!(request(address, "DELETE", &location(&first), "text/plain", "").await.0, 200);
    endpoint.wait_idle().await;
}

#[tokio::test]
async fn what_is_not_needed_in_an_offer_is_counted_and_refuses_nothing() {
    let endpoint = endpoint();
    let offer = OFFER.replace("a=mid:0", "a=mid:0\r\na=sctp-init:AQAAHg==\r\nx=y").replace("t=0 0\r\n", "");
    let answer = endpoint.answer(&offer).unwrap();
    assert!(!answer.sdp.contains("sctp-init"), "{}", answer.sdp);
    assert_eq!(endpoint.stats().secure.ignored_in_descriptions, 2);
}

/// Serves the routes, with the addresses of clients or without.
async fn serve(endpoint: &Endpoint, tells_addresses: bool) -> SocketAddr {
    let app = axum::Router::new().nest("/channels", narrowboat::signalling(endpoint.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match tells_addresses {
        true => {
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        false => {
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
    }
    address
}

#[tokio::test]
async fn k18_a_client_that_posts_offers_without_end_pushes_out_its_own_if_addresses_are_known() {
    for tells_addresses in [true, false] {
        let endpoint = endpoint();
        let address = serve(&endpoint, tells_addresses).await;
        let (status, first) = request_from("127.0.0.2", address, "POST", "/channels", "application/sdp", OFFER).await;
        assert_eq!(status, 201, "{first}");
        let location = first.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        for number in 0..1030 {
            let (status, response) =
                request_from("127.0.0.3", address, "POST", "/channels", "application/sdp", OFFER).await;
            assert_eq!(status, 201, "{number}: {response}");
        }
        // Those that were pushed out have ended.
        let has_ended = async {
            while endpoint.stats().associations > 1024 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), has_ended).await.unwrap();
        let status = request(address, "DELETE", location, "text/plain", "").await.0;
        assert_eq!(status, if tells_addresses { 200 } else { 404 }, "{tells_addresses}");
    }
}
