//! Every failure that a user can cause is one sentence that names what failed and says what to do.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;

use std::error::Error as StdError;
use std::net::{SocketAddr, UdpSocket};

use api::{Pair, small, soon};
use narrowboat::error::{BindError, ConnectError, TicketError};
use narrowboat::{ChannelOptions, Config, Endpoint, Error, Fingerprint, Identity, Ticket};

const HASH: &str = "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";

/// Errors that were really provoked, and the words that each sentence must hold: what failed, and what to do.
#[derive(Default)]
struct Failures(Vec<(Error, Vec<String>)>);

impl Failures {
    fn add(&mut self, error: impl Into<Error>, words: &[&str]) {
        self.0.push((error.into(), words.iter().map(|word| (*word).to_owned()).collect()));
    }

    fn are_for_people(self) {
        for (error, words) in self.0 {
            let sentence = error.to_string();
            for word in words {
                assert!(sentence.contains(&word), "{sentence:?} does not say {word:?}");
            }
            is_one_sentence(&sentence);
            // The cause repeats all that the sentence says of it: a reader who follows the chain loses nothing.
            let mut source = error.source();
            while let Some(cause) = source {
                assert!(sentence.contains(&cause.to_string()), "{sentence:?} leaves out its cause {cause}");
                source = cause.source();
            }
        }
    }
}

fn is_one_sentence(sentence: &str) {
    assert!(!sentence.contains('\n') && !sentence.ends_with('.') && !sentence.contains(". "), "{sentence:?}");
    assert!(sentence.contains([':', ',', '(']), "what to do is missing: {sentence:?}");
    assert!(!sentence.contains("Some(") && !sentence.contains(" { ") && !sentence.contains("Err("), "{sentence:?}");
}

fn bind() -> Endpoint {
    Endpoint::bind("127.0.0.1:0").unwrap()
}

fn secure() -> Endpoint {
    Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate().unwrap()).accept_direct().build().unwrap()
}

fn ticket(address: SocketAddr, fingerprint: Fingerprint) -> Ticket {
    Ticket::new([address], fingerprint).unwrap()
}

/// A port where nobody answers, as behind a firewall.
fn silent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn what_cannot_be_bound() {
    let mut failures = Failures::default();
    let (_taken, address) = silent();
    failures.add(Endpoint::bind(address).unwrap_err(), &[&address.to_string(), "is in use", "choose another port"]);
    failures.add(Endpoint::bind("192.0.2.1:0").unwrap_err(), &["192.0.2.1:0", "not an address of this machine", "use"]);
    failures.add(Endpoint::bind("boat").unwrap_err(), &["which address to listen on", "like 0.0.0.0:4433"]);
    let outside = std::thread::spawn(|| Endpoint::bind("127.0.0.1:0").unwrap_err()).join().unwrap();
    failures.add(outside, &["no tokio runtime", "call this from within one"]);
    failures.are_for_people();
}

#[tokio::test]
async fn limits_out_of_range() {
    let mut failures = Failures::default();
    type Spoil = fn(&mut Config);
    let rows: [(Spoil, &[&str]); 5] = [
        (|config| config.association.mtu = 100, &["mtu is 100", "must be 576 to 65487"]),
        (|config| config.association.receive_window = 1, &["receive_window is 1", "must be"]),
        (|config| config.channels.channels_max = 0, &["channels_max is 0", "must be"]),
        (|config| config.associations_max = 0, &["associations_max is 0", "must be 1 or more"]),
        (|config| config.socket_receive_buffer = 7, &["socket_receive_buffer is 7", "must be 64 KiB to 1 GiB"]),
    ];
    for (spoil, words) in rows {
        let mut config = Config::default();
        spoil(&mut config);
        failures.add(Endpoint::builder().config(config).build().unwrap_err(), words);
    }
    failures.are_for_people();
}

#[tokio::test]
async fn whom_nobody_can_connect_to() {
    let mut failures = Failures::default();
    let (plain, secure, server) = (bind(), secure(), bind());
    let address = server.local_address();
    failures.add(plain.connect("boat").await.unwrap_err(), &["\"boat\"", "like 192.0.2.1:4433", "or a ticket"]);
    failures.add(plain.connect("boat.invalid:9").await.unwrap_err(), &["\"boat.invalid:9\"", "write an IP address"]);
    failures.add(plain.dial("boat.invalid:9").unwrap_err(), &["\"boat.invalid:9\"", "looked up by connect only"]);
    failures.add(plain.connect(&[] as &[SocketAddr]).await.unwrap_err(), &["no address", "name at least one"]);
    failures
        .add(plain.connect("[2001:db8::1]:9").await.unwrap_err(), &["[2001:db8::1]:9", "bind the endpoint to [::]:0"]);
    // Reserved, so that the system has no way there (RFC 1112 §4); a socket on loopback has none to anywhere else.
    failures
        .add(soon(plain.connect("240.0.0.1:9")).await.unwrap_err(), &["no route to 240.0.0.1:9", "check the address"]);
    failures.add(secure.connect(address).await.unwrap_err(), &[&address.to_string(), "with a ticket"]);
    let other = ticket(address, Identity::generate().unwrap().fingerprint());
    failures.add(plain.connect(other).await.unwrap_err(), &["no identity", "Endpoint::builder().identity"]);
    for (text, words) in [
        (format!("narrowboat://192.0.2.1/{HASH}"), ["\"192.0.2.1\" is not an IP address and port", "write it like"]),
        ("narrowboat://192.0.2.1:9".to_owned(), ["no certificate hash", "it ends with"]),
        (format!("narrowboat://192.0.2.1:9/{}", &HASH[..30]), ["certificate hash is wrong", "begins with \"uEi\""]),
        (format!("/ip4/192.0.2.1/tcp/9/webrtc-direct/certhash/{HASH}"), ["has \"tcp\"", "where udp belongs"]),
    ] {
        failures.add(secure.connect(&text).await.unwrap_err(), &words);
        failures.add(secure.dial(&text).unwrap_err(), &words);
    }
    failures.add("http://boat".parse::<Ticket>().unwrap_err(), &["not a ticket", "it begins with \"narrowboat://\""]);

    let _first = plain.connect(address).await.unwrap();
    failures.add(plain.connect(address).await.unwrap_err(), &[&address.to_string(), "open another channel on it"]);
    let one = Endpoint::builder().bind("127.0.0.1:0").max_associations(1).build().unwrap();
    let _only = one.connect(address).await.unwrap();
    let third = bind();
    failures.add(one.connect(third.local_address()).await.unwrap_err(), &["as its configuration allows", "close one"]);
    plain.close();
    failures.add(plain.connect(third.local_address()).await.unwrap_err(), &["endpoint is closed", "make another one"]);
    failures.are_for_people();
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_as_when_udp_is_blocked() {
    let mut failures = Failures::default();
    let (_silent, address) = silent();
    let words = ["no association with", &address.to_string(), "does not answer", "port", "firewall", "UDP"];
    let by_ticket = secure().connect(ticket(address, HASH.parse().unwrap())).await;
    failures.add(by_ticket.unwrap_err(), &words);
    let words = ["no association with", &address.to_string(), "did not answer", "port", "firewall", "UDP"];
    failures.add(bind().connect(address).await.unwrap_err(), &words);
    failures.are_for_people();
}

#[tokio::test]
async fn the_wrong_certificate() {
    let mut failures = Failures::default();
    let (client, server) = (secure(), secure());
    let address = server.local_address();
    let wrong = ticket(address, HASH.parse().unwrap());
    let words = [&address.to_string(), "certificate is not the one", "get its current ticket"];
    failures.add(soon(client.connect(wrong)).await.unwrap_err(), &words);
    failures.are_for_people();
}

/// Returns the answer of another end to an offer, in the words of a full ICE agent.
fn answer_to(offer: &str, without_init: bool) -> String {
    let is_kept = |line: &&str| *line != "a=ice-lite" && !(without_init && line.starts_with("a=sctp-init:"));
    let lines: Vec<&str> = offer.lines().filter(is_kept).collect();
    let answer = secure().answer(&lines.join("\r\n")).unwrap();
    answer.sdp.lines().filter(is_kept).map(|line| format!("{line}\r\n")).collect()
}

#[tokio::test]
async fn an_offer_carries_an_init_and_an_answer_with_an_unusable_one_is_refused() {
    let mut failures = Failures::default();
    let endpoint = secure();
    let offers: Vec<_> = (0..5).map(|_| endpoint.offer().unwrap()).collect();
    let init_of = |sdp: &str| sdp.lines().find_map(|line| line.strip_prefix("a=sctp-init:").map(str::to_owned));
    let inits: Vec<_> = offers.iter().map(|offer| init_of(offer.sdp()).expect("an INIT in each offer")).collect();
    assert!(inits.windows(2).all(|pair| pair[0] != pair[1]), "each with a tag of its own");
    for (at, offer) in offers.into_iter().enumerate() {
        let answer = answer_to(offer.sdp(), at == 1);
        let init = init_of(&answer);
        assert_eq!(init.is_some(), at != 1, "an answer has an INIT if the offer has one");
        let init = init.unwrap_or_default();
        let (answer, words) = match at {
            0 | 1 => {
                offer.accept_answer(&answer).unwrap();
                continue;
            }
            2 => (answer.replace(&init, "{\"chunk\":1}"), "INIT chunk in base64"),
            3 => (answer.replace(&init, "AQAAHg=="), "so the answer cannot be used"),
            // Another chunk.
            _ => (answer.replace(&init, &format!("Ag{}", &init[2..])), "so the answer cannot be used"),
        };
        failures.add(offer.accept_answer(&answer).unwrap_err(), &[words]);
    }
    failures.are_for_people();
}

#[tokio::test]
async fn descriptions_name_their_line() {
    let mut failures = Failures::default();
    let endpoint = secure();
    let offer = endpoint.offer().unwrap();
    // Our offer equals the one of a browser, except for `setup`, which is right already, and for the line that declares
    // ICE lite.
    let good: Vec<String> = offer.sdp().lines().filter(|line| *line != "a=ice-lite").map(str::to_owned).collect();
    endpoint.answer(&good.join("\r\n")).unwrap();
    for (from, to, advice) in [
        ("v=0", "{\"type\":\"offer\"}", "as it is, not JSON"),
        ("v=", "v=1", "begins with \"v=0\""),
        ("m=", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "create a data channel before the offer is made"),
        ("a=ice-pwd", "a=ice-pwd:short", "22 to 256 characters"),
        ("a=fingerprint", "a=fingerprint:sha-256 AB:CD", "write 64 hexadecimal digits"),
        ("a=fingerprint", "a=fingerprint:md5 AB", "add one"),
        ("a=setup", "a=setup:maybe", "actpass, active or passive"),
        ("a=sctp-port", "a=sctp-port:0", "a number from 1 to 65535"),
        ("a=max-message-size", "a=max-message-size:much", "a number of bytes"),
    ] {
        let at = good.iter().position(|line| line.starts_with(from)).unwrap_or_else(|| panic!("no {from} in {good:?}"));
        let mut bad = good.clone();
        to.clone_into(&mut bad[at]);
        let answer = endpoint.answer(&bad.join("\r\n"));
        let error = answer.err().unwrap_or_else(|| panic!("{to} is answered"));
        failures.add(error, &[advice, " of the SDP: ", "line "]);
    }
    let error = endpoint.answer("v=0\r\nnonsense\r\n").unwrap_err();
    failures.add(error, &["line 2 of the SDP: ", "a letter, \"=\" and a value"]);
    failures.add(bind().answer(&good.join("\r\n")).unwrap_err(), &["no identity", "give it one"]);
    failures.add(bind().ticket().unwrap_err(), &["no identity", "give it one"]);
    endpoint.close();
    failures.add(endpoint.answer(&good.join("\r\n")).unwrap_err(), &["endpoint is closed", "make another one"]);
    failures.are_for_people();
}

#[tokio::test]
async fn channels_that_cannot_be_opened() {
    let mut failures = Failures::default();
    let mut config = Config::default();
    config.channels.channels_max = 2;
    let pair = Pair::with(config).await;
    let long = "x".repeat(65_536);
    let open = |options: ChannelOptions| pair.a.create_channel(options).unwrap_err();
    failures.add(open(ChannelOptions::new(&long)), &["label has 65536 bytes", "65535 is the limit", "shorten it"]);
    failures.add(open(ChannelOptions::new("").protocol(&long)), &["protocol has 65536 bytes", "shorten it"]);
    failures.add(open(ChannelOptions::new("").negotiated(65_535)), &["stream 65535 does not exist", "choose an id"]);
    let _first = pair.a.create_channel(ChannelOptions::new("").negotiated(7)).unwrap();
    failures.add(open(ChannelOptions::new("").negotiated(7)), &["stream 7 is in use", "choose another id"]);
    let _second = pair.a.create_channel("").unwrap();
    failures.add(open(ChannelOptions::new("")), &["has 2 channels", "close one first, or raise channels_max"]);
    pair.client.close();
    failures.add(open(ChannelOptions::new("")), &["shutting down or closed", "connect again"]);
    failures.are_for_people();
}

#[tokio::test]
async fn messages_that_cannot_be_sent() {
    let mut failures = Failures::default();
    let mut config = small();
    config.channels.peer_message_size_max = 1000;
    let pair = Pair::with(config).await;
    let (near, _far) = pair.channel("").await;
    let error = near.send(vec![0; 1001]).await.unwrap_err();
    failures.add(error, &["1001 bytes", "limit of 1000", "send it in smaller ones"]);
    let full = loop {
        if let Err(error) = near.try_send(vec![0; 1000]) {
            break error;
        }
    };
    assert!(full.to_string().contains("the send buffer is full: wait for room with send"), "{full}");
    is_one_sentence(&full.to_string());
    drop(near.close());
    failures.add(near.send("late").await.unwrap_err(), &["the channel is closing", "open another one"]);

    let pair = Pair::new().await;
    let (near, far) = pair.channel("").await;
    pair.b.abort("the boat sank");
    let error = soon(near.recv()).await.unwrap().unwrap_err();
    failures.add(error, &["the peer aborted the association", "the boat sank"]);
    failures.add(soon(near.send("late")).await.unwrap_err(), &["the channel failed", "the boat sank"]);
    drop(far);
    failures.are_for_people();
}

#[tokio::test]
async fn identities_that_are_none() {
    let mut failures = Failures::default();
    let directory = std::env::temp_dir().join(format!("narrowboat-errors-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = |name: &str| directory.join(name);
    std::fs::write(path("text"), "holiday").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    let named = |name: &str| path(name).display().to_string();
    let load = |name: &str| Identity::load_or_create(path(name)).unwrap_err();
    failures.add(load("text"), &[&named("text"), "BEGIN PRIVATE KEY", "correct it, or move it away"]);
    failures.add(load("no/folder"), &[&named("no/folder"), "its folder must exist"]);
    failures.add(load("folder"), &[&named("folder"), "must be a file"]);
    failures
        .add("AB:CD".parse::<Fingerprint>().unwrap_err(), &["not a certificate hash", "write 64 hexadecimal digits"]);
    std::fs::remove_dir_all(&directory).unwrap();
    failures.are_for_people();
}

/// A caller that wants to do something else about it than to say it finds the kind in the type.
#[tokio::test]
async fn kinds_are_in_the_types_as_well() {
    let (_taken, address) = silent();
    assert!(matches!(Endpoint::bind(address), Err(BindError::PortTaken(port)) if port == address));
    let error = secure().dial("narrowboat://192.0.2.1:9").unwrap_err();
    assert!(matches!(error, ConnectError::Ticket(TicketError::NoFingerprint)));
}
