//! Uninvited peers: they hold up no sender, and do not end a program that waits for one.

use std::time::Duration;

use narrowboat::{Association, ChannelOptions, DataChannel, Endpoint, Message};

use crate::process::{Directory, Process};
use crate::trouble::forge;

const PROTOCOL: &str = "narrowboat.file.v1";

/// Opens as many channels as files, each with these messages, and leaves them alone.
async fn occupy(from: &str, address: &str, count: usize, first: &[&str]) -> (Endpoint, Association, Vec<DataChannel>) {
    let endpoint = Endpoint::bind(from).unwrap();
    let association = endpoint.connect(address).await.unwrap();
    let mut channels = Vec::new();
    for _ in 0..count {
        let channel = association.open_channel(ChannelOptions::new("silent").protocol(PROTOCOL)).await.unwrap();
        for message in first {
            channel.send(*message).await.unwrap();
        }
        channels.push(channel);
    }
    (endpoint, association, channels)
}

async fn text(channel: &DataChannel) -> String {
    let message = tokio::time::timeout(Duration::from_secs(60), channel.recv()).await.unwrap().unwrap().unwrap();
    message.as_text().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l03_silent_channels_hold_up_nobody_and_are_closed() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("postcard", b"wish you were here");
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path()]);
    let address = receiver.address();
    let (_endpoint, _association, channels) = occupy("127.0.0.1:0", &address, 200, &[]).await;
    tokio::task::spawn_blocking(move || Process::start(&["send", &path, &address]).end().succeeds()).await.unwrap();
    assert_eq!(into.names(), ["postcard"]);
    for channel in channels {
        assert_eq!(text(&channel).await, "error no file was named for 10 seconds\n");
    }
}

/// The sender that does it has used its own turns up; others have theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg(target_os = "linux")]
async fn l03_files_that_do_not_go_on_hold_up_no_other_sender() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("postcard", b"wish you were here");
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path()]);
    let address = receiver.address();
    let (_endpoint, _association, _channels) = occupy("127.0.0.2:0", &address, 64, &["size 1000\nname never\n"]).await;
    // All turns that it gets are taken: that many files are begun.
    while into.names().len() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::task::spawn_blocking(move || Process::start(&["send", &path, &address]).end().succeeds()).await.unwrap();
    let names = into.names();
    assert!(names.contains(&"postcard".to_owned()), "{names:?}");
    assert_eq!(names.len(), 9, "no more than eight files of one sender are open: {names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l04_a_receiver_of_one_file_waits_for_the_file() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("postcard", b"wish you were here");
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"]);
    let address = receiver.address();
    // One that names no file, one that speaks another protocol, one that leaves without a word.
    let (_endpoint, _association, channel, answer) = forge(&address, &[Message::from("hello\n")]).await;
    let answer = answer.unwrap();
    assert_eq!(answer.as_text().unwrap(), "error the first message does not say which file it is\n");
    channel.close().await.unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(&*address).await.unwrap();
    let channel = association.open_channel("chat").await.unwrap();
    assert!(text(&channel).await.contains("use narrowboat send"));
    channel.close().await.unwrap();
    let channel = association.open_channel(ChannelOptions::new("left").protocol(PROTOCOL)).await.unwrap();
    channel.close().await.unwrap();
    association.abort("never mind");
    receiver.says("the sender closed the channel");
    assert!(receiver.runs());
    let sent = tokio::task::spawn_blocking(move || Process::start(&["send", &path, &address]).end());
    sent.await.unwrap().succeeds();
    receiver.end().succeeds();
    assert_eq!(into.names(), ["postcard"]);
}

/// An association on which nothing happens is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l03_a_sender_that_sends_nothing_is_disconnected_and_told_why() {
    let into = Directory::new();
    let arguments = ["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--idle-timeout", "1"];
    let mut receiver = Process::start(&arguments);
    let address = receiver.address();
    let closed = async |association: &Association| {
        let reason = tokio::time::timeout(Duration::from_secs(30), association.closed()).await.unwrap();
        assert!(reason.to_string().ends_with("nothing was sent for 1 s: connect again to send"), "{reason}");
    };
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(&*address).await.unwrap();
    closed(&association).await;
    // So is one that has sent something that is not a file.
    let association = endpoint.connect(&*address).await.unwrap();
    let channel = association.open_channel("chat").await.unwrap();
    assert!(text(&channel).await.contains("use narrowboat send"));
    channel.close().await.unwrap();
    closed(&association).await;
    assert!(receiver.runs());
}
