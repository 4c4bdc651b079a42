//! Permission to send, and limits on the amount.

use crate::process::{Directory, Ended, Process};

/// A receiver with an identity and these arguments, and its ticket.
fn receiver(into: &Directory, home: &Directory, arguments: &[&str]) -> (Process, String) {
    let identity = home.join("identity.pem");
    let fixed = ["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--identity", identity.to_str().unwrap()];
    let mut receiver = Process::start(&[&fixed[..], arguments].concat());
    let ticket = receiver.ticket();
    (receiver, ticket)
}

fn complaint(ended: &Ended) -> &str {
    ended.fails().strip_prefix("the receiver does not have the file: ").unwrap_or_default()
}

#[test]
fn l05_only_a_sender_with_the_token_may_send() {
    let (home, into) = (Directory::new(), Directory::new());
    let path = home.file("postcard", b"wish you were here");
    let (mut receiver, ticket) = receiver(&into, &home, &["--token", "ahoy 4711 ü", "--once"]);
    let ended = Process::start(&["send", &path, &ticket]).end();
    assert!(complaint(&ended).contains("use --token"), "{:?}", ended.said);
    for wrong in ["ahoy 4712 ü", "ahoy 4711", "ahoy 4711 ü "] {
        let ended = Process::start(&["send", &path, &ticket, "--token", wrong]).end();
        assert!(complaint(&ended).contains("the token is wrong"), "{:?}", ended.said);
    }
    assert!(receiver.runs() && into.names().is_empty(), "{:?}", into.names());
    // The environment has it too, where other users of the machine do not see it.
    Process::start_with(("NARROWBOAT_TOKEN", "ahoy 4711 ü"), &["send", &path, &ticket]).end().succeeds();
    let received = receiver.end().succeeds();
    assert_eq!(into.names(), ["postcard"]);
    assert!(!received.said.iter().any(|line| line.contains("4711")), "{:?}", received.said);
}

#[test]
fn a_token_that_nobody_asks_for_does_no_harm() {
    let (home, into) = (Directory::new(), Directory::new());
    let path = home.file("postcard", b"wish you were here");
    let (mut receiver, ticket) = receiver(&into, &home, &["--once"]);
    receiver.says("anyone who can reach the port may send files, of any size: --max-size SIZE");
    Process::start(&["send", &path, &ticket, "--token", "ahoy 4711"]).end().succeeds();
    receiver.end().succeeds();
    assert_eq!(into.names(), ["postcard"]);
}

#[test]
fn l06_a_file_above_the_limit_is_refused_before_it_is_sent() {
    let (home, into) = (Directory::new(), Directory::new());
    let (mut receiver, ticket) = receiver(&into, &home, &["--max-size", "2k"]);
    let ended = Process::start(&["send", &home.file("large", &[1; 2049]), &ticket]).end();
    assert_eq!(complaint(&ended), "a file of 2049 bytes is above the limit of 2048 (2.00 KiB): send a smaller one");
    assert!(into.names().is_empty(), "{:?}", into.names());
    Process::start(&["send", &home.file("fits", &[1; 2048]), &ticket]).end().succeeds();
    assert!(receiver.runs());
    assert_eq!(into.names(), ["fits"]);
}
