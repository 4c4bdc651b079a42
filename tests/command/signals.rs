//! Signals: both ends hear the reason at once, and nothing is left.

use std::fs::File;
use std::process::Command;

use crate::process::{Directory, Process, noise};
use crate::trouble::{LONG, begun, receiver};

/// Names and numbers of signals that end a command.
const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("HUP", 1)];

/// Interrupts one end in the middle of a file, with each signal: the other end is told at once, and nothing is left.
fn interrupt_in_the_middle(is_sender: bool) {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("half.bin", &noise(LONG));
    for (name, number) in SIGNALS {
        let (receiver, address) = receiver(&into);
        let sender = Process::start(&["send", &path, &address]);
        begun(&into);
        let (interrupted, other) = if is_sender { (sender, receiver) } else { (receiver, sender) };
        interrupted.signal(name);
        interrupted.end().is_interrupted(number);
        let ended = other.end();
        assert!(ended.fails().contains("interrupted"), "{:?}", ended.said);
        assert!(into.names().is_empty(), "{:?}", into.names());
    }
}

#[test]
fn a_sender_that_is_interrupted_tells_the_receiver_at_once() {
    interrupt_in_the_middle(true);
}

#[test]
fn a_receiver_that_is_interrupted_tells_the_sender_at_once_and_leaves_nothing() {
    interrupt_in_the_middle(false);
}

#[test]
fn a_receiver_that_was_started_to_outlive_its_terminal_does() {
    let (from, into) = (Directory::new(), Directory::new());
    let arguments = ["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"];
    let mut receiver = Process::start_with_nohup(&arguments);
    let address = receiver.address();
    receiver.signal("HUP");
    Process::start(&["send", &from.file("postcard", b"still there?"), &address]).end().succeeds();
    receiver.end().succeeds();
    assert_eq!(into.read("postcard"), b"still there?");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let from = Directory::new();
    let pipe = from.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let ended = Process::start(&["send", pipe, "127.0.0.1:9"]).end();
    assert!(ended.fails().contains("is not a file"), "{:?}", ended.said);
}

#[test]
fn a_key_that_never_comes_does_not_keep_the_process() {
    let from = Directory::new();
    let pipe = from.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let echo = Process::start(&["echo", "--listen", "127.0.0.1:0", "--identity", pipe.to_str().unwrap()]);
    // Returns when the process has opened the other end.
    let _silent = File::options().write(true).open(&pipe).unwrap();
    echo.interrupt();
    echo.end().is_interrupted(2);
}

#[test]
fn what_a_killed_receiver_has_left_is_removed_by_the_next_one_and_nothing_else() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("half.bin", &noise(LONG));
    let (mut killed, address) = receiver(&into);
    let _sender = Process::start(&["send", &path, &address]);
    begun(&into);
    killed.kill();
    killed.end();
    let left = into.names();
    assert_eq!(left.len(), 1, "{left:?}");

    // A second receiver is in the middle of a file while a third one starts.
    let (second, address) = receiver(&into);
    assert!(!into.names().contains(&left[0]), "{:?}", into.names());
    let sender = Process::start(&["send", &path, &address]);
    begun(&into);
    let (_third, _) = receiver(&into);
    sender.end().succeeds();
    second.end().succeeds();
    assert_eq!(into.names(), ["half.bin"]);
}
