//! `narrowboat send` and `narrowboat receive` when all goes well.

use crate::process::{Directory, Process, noise};

/// Sends a file with this name and contents to a receiver of one file.
fn pass(name: &str, contents: &[u8], into: &Directory) {
    let from = Directory::new();
    let path = from.file(name, contents);
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"]);
    let address = receiver.address();
    let sent = Process::start(&["send", &path, &address]).end().succeeds();
    let received = receiver.end().succeeds();
    let hash = |said: &[String]| said.iter().find(|line| line.starts_with("SHA-256")).unwrap().clone();
    assert_eq!(hash(&sent.said), hash(&received.said));
    assert!(sent.output.is_empty() && received.output.is_empty(), "the output is for what is received by `connect`");
}

#[test]
fn a_file_arrives_under_its_name_with_its_bytes() {
    let into = Directory::new();
    let contents = noise(20_000_001);
    pass("holiday.mp4", &contents, &into);
    assert_eq!(into.names(), ["holiday.mp4"]);
    assert!(into.read("holiday.mp4") == contents);
}

#[test]
fn names_with_spaces_and_letters_of_any_language_stay_as_they_are() {
    for name in ["a boat.jpg", "größe 日本語 🚤.txt", "-dash", "no extension", "tab\tless"] {
        let into = Directory::new();
        pass(name, b"contents", &into);
        assert_eq!(into.names(), [name.replace('\t', "_")], "a control character alone is replaced");
    }
}

#[test]
fn an_empty_file_and_one_of_a_byte_arrive_too() {
    for contents in [&b""[..], b"x"] {
        let into = Directory::new();
        pass("small", contents, &into);
        assert_eq!(into.names(), ["small"]);
        assert_eq!(into.read("small"), contents);
    }
}

#[test]
fn a_file_that_exists_is_never_overwritten() {
    let into = Directory::new();
    into.file("boat.jpg", b"first");
    pass("boat.jpg", b"second", &into);
    assert_eq!(into.names(), ["boat-1.jpg", "boat.jpg"]);
    assert_eq!((into.read("boat.jpg"), into.read("boat-1.jpg")), (b"first".to_vec(), b"second".to_vec()));
}

#[test]
fn one_receiver_takes_files_of_many_senders_at_once() {
    let (from, into) = (Directory::new(), Directory::new());
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path()]);
    let address = receiver.address();
    let contents = noise(300_000);
    let senders: Vec<_> = (0..8)
        .map(|n| Process::start(&["send", &from.file(&format!("{n}.bin"), &contents[n * 1000..]), &address]))
        .collect();
    for sender in senders {
        sender.end().succeeds();
    }
    receiver.interrupt();
    receiver.end().is_interrupted(2);
    assert_eq!(into.names(), (0..8).map(|n| format!("{n}.bin")).collect::<Vec<_>>());
    for n in 0..8 {
        assert!(into.read(&format!("{n}.bin")) == contents[n * 1000..]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_says_that_it_is_empty_arrives_with_all_that_is_in_it() {
    let into = Directory::new();
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"]);
    let address = receiver.address();
    Process::start(&["send", "/proc/version", &address]).end().succeeds();
    receiver.end().succeeds();
    assert_eq!(into.read("version"), std::fs::read("/proc/version").unwrap());
}

#[test]
fn a_directory_of_many_files_of_one_name_takes_another() {
    let into = Directory::new();
    into.file("boat.jpg", b"");
    for number in 1..1_000 {
        into.file(&format!("boat-{number}.jpg"), b"");
    }
    pass("boat.jpg", b"one more", &into);
    assert_eq!(into.read("boat-1000.jpg"), b"one more");
}
