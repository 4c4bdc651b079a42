//! `narrowboat echo` and `narrowboat connect`: a channel on the terminal.

use std::time::Duration;

use narrowboat::{Endpoint, Message, Reliability};

use crate::process::{Process, noise};

fn echo() -> (Process, String) {
    let mut echo = Process::start(&["echo", "--listen", "127.0.0.1:0"]);
    let address = echo.address();
    (echo, address)
}

#[test]
fn lines_come_back_as_they_were_typed() {
    let (mut echo, address) = echo();
    let mut connect = Process::start(&["connect", &address, "--label", "a chat\u{7}"]);
    let lines = format!("one\n\nthree ü 🚤\n{}\n", "long ".repeat(50_000));
    connect.write(lines.as_bytes());
    connect.end_input();
    assert_eq!(String::from_utf8(connect.end().succeeds().output).unwrap(), lines);
    assert!(echo.says("opened").contains("\"a chat\u{fffd}\""), "the label, without what rings the bell");
    echo.says("closed after 4 messages");
}

#[test]
fn bytes_come_back_as_they_were_written() {
    let (_echo, address) = echo();
    let mut connect = Process::start(&["connect", &address, "--bytes"]);
    let bytes = noise(3_000_000);
    connect.write(&bytes);
    connect.end_input();
    assert!(connect.end().succeeds().output == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_options_are_those_of_the_channel() {
    let cases: [(&[&str], bool, Reliability); 4] = [
        (&[], true, Reliability::Reliable),
        (&["--unordered"], false, Reliability::Reliable),
        (&["--unordered", "--max-retransmits", "0"], false, Reliability::MaxRetransmits(0)),
        (&["--max-packet-life-time", "250"], true, Reliability::MaxLifetime(Duration::from_millis(250))),
    ];
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let address = server.local_address().to_string();
    for (options, ordered, reliability) in cases {
        let arguments = [&["connect", &address, "--label", "l", "--protocol", "p"][..], options].concat();
        let mut connect = Process::start(&arguments);
        let association = server.accept().await.unwrap().await.unwrap();
        let channel = association.accept_channel().await.unwrap();
        assert_eq!((channel.label(), channel.protocol()), ("l", "p"));
        assert_eq!((channel.ordered(), channel.reliability()), (ordered, reliability));
        connect.write(b"typed\n");
        assert_eq!(channel.recv().await.unwrap().unwrap(), Message::from("typed"));
        channel.send("answered").await.unwrap();
        channel.close().await.unwrap();
        assert_eq!(connect.end().succeeds().output, b"answered\n", "the other end may end it");
        association.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_vanishes_is_an_error_that_says_why() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let connect = Process::start(&["connect", &server.local_address().to_string()]);
    let association = server.accept().await.unwrap().await.unwrap();
    let _channel = association.accept_channel().await.unwrap();
    association.abort("the boat sank");
    assert!(connect.end().fails().contains("the boat sank"));
}
