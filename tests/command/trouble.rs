//! `narrowboat send` and `narrowboat receive` when something goes wrong: one sentence, a status, and never a part of a
//! file under the name of the whole.

use std::net::UdpSocket;
use std::time::Duration;

use narrowboat::{Association, ChannelOptions, DataChannel, Endpoint, Message};

use crate::process::{Directory, Ended, Process, noise};

/// Long enough that something can happen in the middle of it.
pub(crate) const LONG: usize = 200 << 20;

pub(crate) fn receiver(into: &Directory) -> (Process, String) {
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"]);
    let address = receiver.address();
    (receiver, address)
}

/// Waits until a part of a file is in the directory.
pub(crate) fn begun(into: &Directory) {
    let is_begun = || into.names().iter().any(|name| into.join(name).metadata().is_ok_and(|file| file.len() > 1 << 20));
    while !is_begun() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_sender_that_is_killed_leaves_no_file_and_the_receiver_says_so() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("half.bin", &noise(LONG));
    let (receiver, address) = receiver(&into);
    let mut sender = Process::start(&["send", &path, &address]);
    begun(&into);
    sender.kill();
    let ended = receiver.end();
    assert!(ended.fails().contains("the file did not arrive whole"), "{:?}", ended.said);
    assert!(into.names().is_empty(), "{:?}", into.names());
}

#[test]
fn a_receiver_that_is_killed_leaves_no_file_under_its_name_and_the_sender_says_so() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("half.bin", &noise(LONG));
    let (mut receiver, address) = receiver(&into);
    let sender = Process::start(&["send", &path, &address]);
    begun(&into);
    receiver.kill();
    let ended = sender.end();
    assert!(ended.fails().contains("the file was not sent whole"), "{:?}", ended.said);
    assert!(!into.join("half.bin").exists());
}

#[test]
fn a_file_that_cannot_be_written_is_refused_and_the_sender_is_told_why() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("large.bin", &noise(LONG));
    let arguments = ["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"];
    let mut receiver = Process::start_with_small_files(1024, &arguments);
    let address = receiver.address();
    let sent = Process::start(&["send", &path, &address]).end();
    let received = receiver.end();
    let why = received.fails();
    assert!(why.contains("cannot write the file"), "{why}");
    assert!(sent.fails().contains(why), "{:?} does not say {why}", sent.said);
    assert!(!sent.fails().contains(into.path()), "the sender need not know where files go here: {:?}", sent.said);
    assert!(into.names().is_empty(), "{:?}", into.names());
}

#[test]
fn what_cannot_work_is_said_before_anything_is_done() {
    let (from, into) = (Directory::new(), Directory::new());
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = from.file("file", b"x");
    let missing = from.join("missing");
    let (missing, into) = (missing.to_str().unwrap(), into.path());
    // The arguments, the word that the error must name, and the advice that it must give.
    let cases: [(&[&str], &str, &str); 21] = [
        (&["send", missing, "127.0.0.1:9"], missing, "see that it is there and that this user may read it"),
        (&["send", from.path(), "127.0.0.1:9"], from.path(), "pack it into one first"),
        (&["send", &file, "127.0.0.1"], "\"127.0.0.1\"", "write an IP address and a port"),
        (&["send", &file, "no.such.host.invalid:9"], "\"no.such.host.invalid:9\"", "write an IP address and a port"),
        (&["send", &file, "https://example.com"], "\"https://example.com\"", "or a ticket"),
        // The broadcast address: the system lets only programs send to it that have asked for that.
        (
            &["send", &file, "255.255.255.255:9"],
            "no route to 255.255.255.255:9",
            "check the address and this machine's",
        ),
        (&["receive", "--listen", &taken, "--into", into], &taken, "is in use: stop the program that has it"),
        (&["receive", "--listen", "192.0.2.1:0", "--into", into], "192.0.2.1:0", "use one that is"),
        (&["receive", "--listen", "127.0.0.1:0", "--into", missing], missing, "is not a directory: make it first"),
        (&["receive", "--listen", "127.0.0.1:0", "--into", "/proc"], "/proc", "choose another directory"),
        (&["echo", "--listen", "boat"], "\"boat\"", "write an IP address and a port"),
        (&["echo", "--listen", "127.0.0.1:0", "--identity", &file], &file, "move it away to have a new one made"),
        (&["echo", "--listen", "127.0.0.1:0", "--identity", "/no/id"], "/no/id", "its folder must exist"),
        (&["connect", "127.0.0.1"], "\"127.0.0.1\"", "write an IP address and a port"),
        (&["send", "/dev/null", "127.0.0.1:9"], "/dev/null", "is not a file: copy what comes out"),
        (&["send", &file, "[fe80::1]:9"], "[fe80::1]:9", "name the interface too, like [fe80::1%eth0]:9"),
        (&["send", &file, "[fe80::1%nolink]:9"], "\"nolink\" is not an interface", "use one of"),
        (&["connect", "2001:db8::1"], "\"2001:db8::1\"", "write [2001:db8::1]:4433"),
        (&["echo", "--listen", "[fe80::1%nolink]:9"], "\"nolink\" is not an interface", "use one of"),
        (&["receive", "--listen", "127.0.0.1:0", "--into", into, "--token", "ahoy 4711"], "a token", "--identity FILE"),
        (&["send", &file, "127.0.0.1:9", "--token", "ahoy 4711"], "the token is not sent", "use a ticket"),
    ];
    for (arguments, named, advice) in cases {
        let ended = Process::start(arguments).end();
        let complaint = ended.fails();
        assert!(complaint.contains(named) && complaint.contains(advice), "{arguments:?}: {complaint}");
        assert_eq!(ended.said.len(), 1, "one sentence: {:?}", ended.said);
        assert!(!complaint.ends_with('.') && !complaint.contains(". "), "one sentence: {complaint}");
    }
}

#[test]
fn a_peer_that_does_not_answer_is_given_up_with_advice() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = Directory::new();
    let address = silent.local_addr().unwrap().to_string();
    let ended = Process::start(&["send", &from.file("file", b"x"), &address]).end();
    assert!(ended.fails().contains("does not answer: check that narrowboat listens there"), "{:?}", ended.said);
}

/// A sender that speaks the protocol, and sends any text.
pub(crate) async fn forge(
    address: &str,
    messages: &[Message],
) -> (Endpoint, Association, DataChannel, Option<Message>) {
    let endpoint = Endpoint::bind("127.0.0.1:0").unwrap();
    let association = endpoint.connect(address).await.unwrap();
    let channel = association.open_channel(ChannelOptions::new("forged").protocol("narrowboat.file.v1")).await.unwrap();
    for message in messages {
        let _ = channel.send(message.clone()).await;
    }
    let answer = tokio::time::timeout(Duration::from_secs(20), channel.recv()).await.unwrap();
    (endpoint, association, channel, answer.transpose().unwrap())
}

fn refusal(ended: &Ended, answer: Option<&Message>) -> String {
    let why = ended.fails().to_owned();
    assert_eq!(answer.unwrap().as_text().unwrap(), format!("error {why}\n"));
    why
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_name_that_leads_out_of_the_directory_does_not_lead_out() {
    for name in ["../escaped", "/tmp/escaped", "sub/../../escaped", "..", "C:\\escaped", ".ssh"] {
        let (above, empty) =
            (Directory::new(), "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n");
        std::fs::create_dir(above.join("into")).unwrap();
        let into = above.join("into");
        let arguments = ["receive", "--listen", "127.0.0.1:0", "--into", into.to_str().unwrap(), "--once"];
        let mut receiver = Process::start(&arguments);
        let address = receiver.address();
        let header = format!("size 0\nname {name}\n");
        let (_endpoint, _association, channel, answer) = forge(&address, &[header.into(), empty.into()]).await;
        assert!(answer.unwrap().as_text().unwrap().starts_with("ok "));
        channel.close().await.unwrap();
        receiver.end().succeeds();
        assert_eq!(above.names(), ["into"], "{name}");
        let files: Vec<_> = std::fs::read_dir(&into).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 1, "{name}");
        assert!(files[0].file_type().unwrap().is_file() && !files[0].file_name().to_str().unwrap().starts_with('.'));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l06_a_sender_that_breaks_the_protocol_is_refused_and_told_why() {
    let hash = format!("sha256 {}\n", "0".repeat(64));
    let enormous = format!("size {}\nname a\n", u64::MAX);
    let cases: [(&[&str], &[u8], &str); 6] = [
        (&["size 3\nname a\n"], b"four", "larger than the sender had said"),
        (&["size 3\nname a\n", &hash], b"", "shorter than the sender had said"),
        (&["size 4\nname a\n"], b"four then nonsense", "larger"),
        (&["size 0\nname a\n", &hash], b"", "arrived damaged"),
        (&["size 0\nname a\n", "sha256 00\n"], b"", "does not say the SHA-256"),
        (&[&enormous], b"", "no room for the file"),
    ];
    for (texts, bytes, expected) in cases {
        let into = Directory::new();
        let (receiver, address) = receiver(&into);
        let mut messages: Vec<Message> = texts.iter().map(|text| Message::from(*text)).collect();
        if !bytes.is_empty() {
            messages.push(bytes.into());
        }
        let (_endpoint, _association, channel, answer) = forge(&address, &messages).await;
        channel.close().await.unwrap();
        let why = refusal(&receiver.end(), answer.as_ref());
        assert!(why.contains(expected), "{why}");
        assert!(into.names().is_empty(), "{:?}", into.names());
    }
}
