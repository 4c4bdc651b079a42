//! Tickets: encrypted transfers to the owner of the certificate, and the output of the command without encryption.

use std::net::{SocketAddr, UdpSocket};

use narrowboat::{Endpoint, Identity, Ticket};

use crate::process::{Directory, Process, noise};

/// A command that listens with the identity in `file`.
fn listen(command: &[&str], address: &str, file: &str) -> (Process, String) {
    let arguments = [command, &["--listen", address, "--identity", file]].concat();
    let mut process = Process::start(&arguments);
    let ticket = process.ticket();
    (process, ticket)
}

#[test]
fn a_file_travels_encrypted_to_who_has_the_tickets_certificate() {
    let (from, into) = (Directory::new(), Directory::new());
    let contents = noise(5_000_001);
    let path = from.file("holiday.mp4", &contents);
    let identity = from.join("identity.pem");
    let identity = identity.to_str().unwrap();
    let (mut receiver, ticket) = listen(&["receive", "--into", into.path(), "--once"], "127.0.0.1:0", identity);
    receiver.says("(encrypted)");
    let sent = Process::start(&["send", &path, &ticket]).end().succeeds();
    let received = receiver.end().succeeds();
    let hash = |said: &[String]| said.iter().find(|line| line.starts_with("SHA-256")).unwrap().clone();
    assert_eq!(hash(&sent.said), hash(&received.said));
    assert!(into.read("holiday.mp4") == contents);
    assert!(sent.said.iter().any(|line| line.contains("(encrypted)")), "{:?}", sent.said);
    assert!(!sent.said.iter().chain(&received.said).any(|line| line.contains("not encrypted")), "{:?}", sent.said);
    assert!(sent.output.is_empty() && received.output.is_empty(), "the ticket is all of the output");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(identity).unwrap());
        assert_eq!(mode & 0o777, 0o600, "the key is for its owner alone");
    }
}

#[test]
fn each_spelling_of_a_ticket_is_taken() {
    let from = Directory::new();
    let (_echo, ticket) = listen(&["echo"], "127.0.0.1:0", from.join("pem").to_str().unwrap());
    let multiaddr = ticket.parse::<Ticket>().unwrap().multiaddrs().next().unwrap();
    for target in [&ticket, &multiaddr, &format!(" {ticket}\n")] {
        let mut connect = Process::start(&["connect", target]);
        connect.write(b"hello\n");
        connect.end_input();
        assert_eq!(connect.end().succeeds().output, b"hello\n", "{target}");
    }
}

#[test]
fn a_ticket_is_good_after_a_restart_with_the_same_file() {
    let from = Directory::new();
    let identity = from.join("identity.pem");
    let identity = identity.to_str().unwrap();
    let (mut first, ticket) = listen(&["echo"], "127.0.0.1:0", identity);
    let address = ticket.parse::<Ticket>().unwrap().addresses()[0].to_string();
    first.kill();
    drop(first);
    let (_second, again) = listen(&["echo"], &address, identity);
    assert_eq!(again, ticket);
    let mut connect = Process::start(&["connect", &ticket]);
    connect.write(b"still there?\n");
    connect.end_input();
    assert_eq!(connect.end().succeeds().output, b"still there?\n");
}

#[test]
fn the_ticket_of_another_certificate_is_refused_in_one_sentence_and_nothing_arrives() {
    let (from, into) = (Directory::new(), Directory::new());
    let path = from.file("secret", b"for somebody else");
    let (_receiver, ticket) =
        listen(&["receive", "--into", into.path()], "127.0.0.1:0", from.join("pem").to_str().unwrap());
    let ticket: Ticket = ticket.parse().unwrap();
    let wrong = Ticket::new(ticket.addresses().to_vec(), Identity::generate().unwrap().fingerprint()).unwrap();
    let ended = Process::start(&["send", &path, &wrong.to_string()]).end();
    let complaint = ended.fails();
    assert!(complaint.contains("certificate is not the one that was asked for"), "{complaint}");
    assert!(complaint.contains("get its current ticket"), "{complaint}");
    assert!(complaint.contains(&ticket.addresses()[0].to_string()), "{complaint}");
    assert_eq!(ended.said.len(), 1, "{:?}", ended.said);
    assert!(into.names().is_empty());
}

#[test]
fn a_ticket_that_is_none_is_refused_with_what_is_wrong_with_it() {
    let from = Directory::new();
    let path = from.file("file", b"x");
    let hash = "uEiACx1XgdTUXZaekzVlzjRNfDJFn0G_BesdBfvVaOS-JEw";
    for (target, expected) in [
        ("narrowboat://192.0.2.1:4433".to_owned(), "has no certificate hash"),
        (format!("narrowboat://192.0.2.1:4433/{}", &hash[..40]), "certificate hash is wrong"),
        (format!("narrowboat://192.0.2.1/{hash}"), "is not an IP address and port"),
        (format!("/ip4/192.0.2.1/tcp/4433/webrtc-direct/certhash/{hash}"), "where udp belongs"),
    ] {
        for arguments in [&["send", &path, &target][..], &["connect", &target]] {
            let ended = Process::start(arguments).end();
            assert!(ended.fails().contains(expected), "{:?}", ended.said);
            assert!(ended.fails().contains(&target), "{:?}", ended.said);
            assert_eq!(ended.said.len(), 1, "{:?}", ended.said);
        }
    }
}

#[test]
fn what_is_not_encrypted_is_said_at_both_ends() {
    let (from, into) = (Directory::new(), Directory::new());
    let mut receiver = Process::start(&["receive", "--listen", "127.0.0.1:0", "--into", into.path(), "--once"]);
    let address = receiver.address();
    let sent = Process::start(&["send", &from.file("postcard", b"wish you were here"), &address]).end().succeeds();
    let received = receiver.end().succeeds();
    for said in [&sent.said, &received.said] {
        assert_eq!(said.iter().filter(|line| line.contains("(not encrypted: ")).count(), 1, "{said:?}");
    }
    assert!(received.said[0].ends_with("--identity FILE encrypts"), "{:?}", received.said);
}

#[test]
fn an_address_where_a_ticket_is_needed_and_the_reverse_are_given_up_with_advice() {
    let from = Directory::new();
    let path = from.file("file", b"x");
    let (_secure, ticket) = listen(&["echo"], "127.0.0.1:0", from.join("pem").to_str().unwrap());
    let address = ticket.parse::<Ticket>().unwrap().addresses()[0].to_string();
    let ended = Process::start(&["send", &path, &address]).end();
    assert!(ended.fails().contains("use the ticket that it prints"), "{:?}", ended.said);

    let mut plain = Process::start(&["echo", "--listen", "127.0.0.1:0"]);
    let plain = [plain.address().parse().unwrap()];
    let ticket = Ticket::new(plain, Identity::generate().unwrap().fingerprint()).unwrap().to_string();
    let ended = Process::start(&["send", &path, &ticket]).end();
    assert!(ended.fails().contains("listens there with --identity"), "{:?}", ended.said);
}

#[test]
fn where_others_find_it_goes_into_the_ticket() {
    let from = Directory::new();
    let file = from.join("pem");
    let advertise = ["echo", "--advertise", "203.0.113.7:4433", "--advertise", "[2001:db8::7]:4433"];
    let (_echo, ticket) = listen(&advertise, "127.0.0.1:0", file.to_str().unwrap());
    assert!(ticket.starts_with("narrowboat://203.0.113.7:4433,[2001:db8::7]:4433/uEi"), "{ticket}");
}

#[test]
fn a_file_that_is_no_identity_stays_as_it_is_and_is_named() {
    let from = Directory::new();
    let path = from.file("holiday.mp4", b"no key");
    let ended = Process::start(&["echo", "--listen", "127.0.0.1:0", "--identity", &path]).end();
    assert!(ended.fails().contains(&path), "{:?}", ended.said);
    assert_eq!(ended.said.len(), 1, "{:?}", ended.said);
    assert_eq!(from.read("holiday.mp4"), b"no key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_in_the_clear_is_taken_with_an_identity() {
    let from = Directory::new();
    let (_echo, ticket) = listen(&["echo"], "127.0.0.1:0", from.join("pem").to_str().unwrap());
    let address = ticket.parse::<Ticket>().unwrap().addresses()[0];
    let plain = Endpoint::bind("127.0.0.1:0").unwrap();
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(3), plain.connect(address)).await;
    assert!(outcome.is_err(), "it answered: {outcome:?}");
}

#[test]
fn a_silent_port_is_given_up_with_advice() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let complaint = connect_to(address);
    assert!(complaint.contains(&address.to_string()) && complaint.contains("firewall"), "{complaint}");
}

#[test]
fn a_closed_port_is_told_from_a_silent_one() {
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let complaint = connect_to(address);
    assert!(complaint.contains(&address.to_string()) && complaint.contains("nothing listens there"), "{complaint}");
}

/// Returns the command's error when it fails to connect by a ticket for this address.
fn connect_to(address: SocketAddr) -> String {
    let ticket = Ticket::new([address], Identity::generate().unwrap().fingerprint()).unwrap().to_string();
    Process::start(&["connect", &ticket]).end().fails().to_owned()
}
