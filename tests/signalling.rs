//! Offers and answers by HTTP: what each kind of request is answered with.
#![cfg(feature = "axum")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use narrowboat::{Endpoint, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EJ/U\r\n\
a=ice-pwd:6vVQ0Sf26fAsetCtwoo+QJrd\r\na=fingerprint:sha-256 CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:\
EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

async fn request(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
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
