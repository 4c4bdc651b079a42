//! Output to standard error that nobody reads, and output that a peer has chosen.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use narrowboat::{Endpoint, Message};

use crate::process::{Directory, Process};
use crate::trouble::{forge, receiver};

/// Text that a terminal acts on: a title, a colour, a right-to-left override, a line that looks like the command's own.
const HARMFUL: &str = "\u{1b}]0;OWNED\u{7}\u{1b}[31mred\u{9b}2J\u{202e}fdp\nnarrowboat: all is well\r";

fn check(said: &[String]) {
    let is_harmful = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!said.iter().any(|line| line.contains(is_harmful)), "{said:?}");
    assert!(!said.iter().any(|line| line.starts_with("narrowboat: all")), "{said:?}");
}

/// A receiver of which nothing was read but the line with its address, and no more is buffered here.
fn receiver_read_up_to_its_address(into: &Directory) -> (Child, BufReader<ChildStderr>, String) {
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_narrowboat"))
        .args(["receive", "--listen", "127.0.0.1:0", "--into", into.path()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::with_capacity(256, receiver.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let address = said.split(" on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (receiver, stderr, address)
}

#[test]
fn l01_a_receiver_that_nobody_listens_to_receives() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("postcard", b"wish you were here");
    let (mut receiver, stderr, address) = receiver_read_up_to_its_address(&into);
    // As `head -1` does: the pipe is closed after a line.
    drop(stderr);
    for _ in 0..3 {
        Process::start(&["send", &path, &address]).end().succeeds();
    }
    assert_eq!(receiver.try_wait().unwrap(), None, "it has ended");
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert_eq!(into.names(), ["postcard", "postcard-1", "postcard-2"]);
}

/// A pipe takes 64 KiB, then a write to it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l01_a_receiver_whose_pipe_is_full_receives() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("postcard", b"wish you were here");
    let (mut receiver, _stderr, address) = receiver_read_up_to_its_address(&into);
    // Each is refused in a line of some 80 bytes.
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(&*address).await.unwrap();
    for _ in 0..2_000 {
        let channel = association.open_channel("chat").await.unwrap();
        assert!(channel.recv().await.unwrap().unwrap().as_text().unwrap().starts_with("error "));
        channel.close().await.unwrap();
    }
    let sent = tokio::task::spawn_blocking(move || Process::start(&["send", &path, &address]).end());
    sent.await.unwrap().succeeds();
    assert_eq!(into.names(), ["postcard"]);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
fn a_sender_that_nobody_listens_to_sends() {
    let (from, into) = (Directory::new(), Directory::new());
    let (receiver, address) = receiver(&into);
    let mut sender = Command::new(env!("CARGO_BIN_EXE_narrowboat"))
        .args(["send", &from.file("postcard", b"wish you were here"), &address])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(sender.stderr.take());
    assert!(sender.wait().unwrap().success());
    receiver.end().succeeds();
    assert_eq!(into.names(), ["postcard"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l02_a_sender_does_not_write_to_the_receivers_terminal() {
    let name = format!("size 0\nname {HARMFUL}\n");
    let hash = format!("sha256 {HARMFUL}\n");
    let empty = "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
    for messages in [[name.as_str(), empty], [name.as_str(), hash.as_str()]] {
        let into = Directory::new();
        let (receiver, address) = receiver(&into);
        let (_endpoint, association, channel, _) = forge(&address, &messages.map(Message::from)).await;
        channel.close().await.unwrap();
        let ended = receiver.end();
        check(&ended.said);
        association.abort(HARMFUL);
    }
    // The reason of a connection that is broken off.
    let into = Directory::new();
    let (receiver, address) = receiver(&into);
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(&*address).await.unwrap();
    let options = narrowboat::ChannelOptions::new(HARMFUL).protocol("narrowboat.file.v1");
    let channel = association.open_channel(options).await.unwrap();
    channel.send("size 9\nname a\n").await.unwrap();
    channel.send(Message::from(b"half".to_vec())).await.unwrap();
    // Until the receiver has opened its file, so that the end counts.
    while into.names().is_empty() {
        tokio::task::yield_now().await;
    }
    association.abort(HARMFUL);
    let ended = receiver.end();
    assert!(ended.fails().contains("the other end said"), "{:?}", ended.said);
    check(&ended.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l02_a_receiver_does_not_write_to_the_senders_terminal() {
    let from = Directory::new();
    let path = from.file("postcard", b"wish you were here");
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    for answer in [format!("error {HARMFUL}\n"), format!("ok {HARMFUL}\n"), HARMFUL.to_owned()] {
        let sender = Process::start(&["send", &path, &server.local_address().to_string()]);
        let association = server.accept().await.unwrap().await.unwrap();
        let channel = association.accept_channel().await.unwrap();
        channel.send(answer).await.unwrap();
        while let Some(Ok(_)) = channel.recv().await {}
        let ended = tokio::task::spawn_blocking(|| sender.end()).await.unwrap();
        ended.fails();
        check(&ended.said);
        association.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l02_a_label_does_not_write_to_the_terminal_of_echo() {
    let mut echo = Process::start(&["echo", "--listen", "127.0.0.1:0"]);
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(&*echo.address()).await.unwrap();
    let channel = association.open_channel(HARMFUL).await.unwrap();
    channel.close().await.unwrap();
    echo.says("closed after 0 messages");
    association.abort(HARMFUL);
    echo.says("the peer aborted");
    check(&echo.said);
}

/// Text that `connect` shows on a terminal is made printable; output to a file or a program is not changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg(target_os = "linux")]
async fn l02_a_message_does_not_act_on_the_terminal_of_connect() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let address = server.local_address().to_string();
    for is_terminal in [true, false] {
        let arguments = ["connect", &address];
        let connect = if is_terminal { Process::start_on_terminal(&arguments) } else { Process::start(&arguments) };
        let association = server.accept().await.unwrap().await.unwrap();
        let channel = association.accept_channel().await.unwrap();
        channel.send(HARMFUL).await.unwrap();
        channel.close().await.unwrap();
        let output = connect.end().succeeds().output;
        let output = String::from_utf8(output).unwrap();
        assert_eq!(output.contains(HARMFUL), !is_terminal, "{output:?}");
        assert_eq!(output.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), !is_terminal, "{output:?}");
        assert!(output.contains("OWNED"), "{output:?}");
        association.closed().await;
    }
}
