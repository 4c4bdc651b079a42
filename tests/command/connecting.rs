//! `narrowboat echo` and `narrowboat connect`: a channel on the terminal.

use std::time::Duration;

use narrowboat::{Association, ByteStream, DataChannel, Endpoint, Message, Reliability};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// `connect --bytes` to an end of the test.
async fn connect_bytes(server: &Endpoint, options: &[&str]) -> (Process, Association, DataChannel) {
    let address = server.local_address().to_string();
    let connect = Process::start(&[&["connect", &address, "--bytes"][..], options].concat());
    let association = server.accept().await.unwrap().await.unwrap();
    let channel = association.accept_channel().await.unwrap();
    (connect, association, channel)
}

async fn end(connect: Process) -> crate::process::Ended {
    tokio::task::spawn_blocking(|| connect.end()).await.unwrap()
}

/// The answer begins after the end of the request, and later than any time-out of silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_that_ends_gets_its_answer_however_late_it_is() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let (mut connect, _association, channel) = connect_bytes(&server, &[]).await;
    let mut stream = channel.into_byte_stream();
    assert!(stream.has_half_close());
    connect.write(b"request");
    connect.end_input();
    let mut request = Vec::new();
    stream.read_to_end(&mut request).await.unwrap();
    assert_eq!(request, b"request");
    // A channel without half close is closed after a second of silence.
    let closed = tokio::time::timeout(Duration::from_millis(1_500), stream.channel().closed()).await;
    assert!(closed.is_err(), "{closed:?}");
    let answer = noise(300_000);
    stream.write_all(&answer).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(end(connect).await.succeeds().output == answer);
}

/// The peer ends its direction first, and the input goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn input_is_sent_after_the_peer_has_ended_its_direction() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let (mut connect, _association, channel) = connect_bytes(&server, &[]).await;
    let mut stream = channel.into_byte_stream();
    stream.write_all(b"go").await.unwrap();
    stream.shutdown().await.unwrap();
    connect.write(b"one");
    let mut start = [0; 3];
    stream.read_exact(&mut start).await.unwrap();
    connect.write(b"two");
    connect.end_input();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!((&start, &rest[..]), (b"one", &b"two"[..]));
    assert_eq!(end(connect).await.succeeds().output, b"go");
}

/// The input has not ended, but nobody reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_drops_the_stream_ends_the_command() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    for has_input in [false, true] {
        let (mut connect, _association, channel) = connect_bytes(&server, &[]).await;
        let mut stream = channel.into_byte_stream();
        stream.write_all(b"answer").await.unwrap();
        if has_input {
            connect.write(b"unread");
            // It has arrived, and stays unread.
            let mut first = [0; 1];
            stream.read_exact(&mut first).await.unwrap();
        }
        drop(stream);
        let ended = end(connect).await;
        if has_input {
            assert!(ended.fails().contains("before it had read all"), "{:?}", ended.said);
        } else {
            ended.succeeds();
        }
    }
}

/// An end that does not know the protocol: it gets an empty message, and closes the channel or says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_end_without_half_close_is_waited_for_unless_the_command_may_linger_only() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    for (options, has_half_close) in
        [(&[][..], true), (&["--linger", "0.1"], true), (&["--protocol", ""], false), (&["--unordered"], false)]
    {
        let (mut connect, _association, channel) = connect_bytes(&server, options).await;
        assert_eq!(channel.protocol() == ByteStream::PROTOCOL, has_half_close, "{options:?}");
        connect.write(b"bytes");
        connect.end_input();
        assert_eq!(channel.recv().await.unwrap().unwrap(), Message::from(b"bytes".to_vec()));
        channel.send(b"back".to_vec()).await.unwrap();
        if has_half_close {
            let empty = channel.recv().await.unwrap().unwrap();
            assert!(empty.as_bytes().is_empty(), "{options:?}: {empty:?}");
        }
        if options.is_empty() {
            // It closes the channel in the middle of the stream, as far as the command can know.
            channel.close().await.unwrap();
            let ended = end(connect).await;
            assert!(ended.fails().contains("in the middle of the byte stream"), "{:?}", ended.said);
            assert_eq!(ended.output, b"back");
        } else {
            while let Some(message) = channel.recv().await {
                assert!(message.unwrap().as_text().is_some_and(|text| text.starts_with("stop ")), "{options:?}");
            }
            assert_eq!(end(connect).await.succeeds().output, b"back", "{options:?}");
        }
    }
}
