//! Layers, and the words that a layer must not know.

use std::fs;

use crate::source::{Findings, before_unit_tests, is_in_room, product, product_without_tests, root, without_comments};

/// Words that a layer without I/O does not say.
const IO: [&str; 10] = [
    "tokio",
    "quinn_udp",
    "UdpSocket",
    "std::thread",
    "std::fs",
    "if_addrs",
    "SysRng",
    "Mutex",
    "Instant::now",
    "SystemTime",
];

/// `src` knows `dcep` and `sctp`, `dcep` knows `sctp`, and neither of those two knows an operating system.
#[test]
fn nothing_points_back_up() {
    let mut findings = Findings::default();
    for source in product_without_tests() {
        let code = without_comments(&before_unit_tests(&source.text));
        let layer = source.name.split('/').next().expect("a first part");
        let mut banned: Vec<&str> = Vec::new();
        if layer == "sctp" {
            banned.extend(["narrowboat_dcep", "DATA_CHANNEL", "narrowboat::"]);
        }
        if layer == "sctp" || layer == "dcep" {
            banned.extend(IO);
            // Addresses are the endpoint's: an association over DTLS has none.
            if !source.name.starts_with("sctp/src/endpoint/") && source.name != "sctp/src/cookie.rs" {
                banned.extend(["std::net", "SocketAddr", "IpAddr"]);
            }
        }
        // Only tests and fuzzers compile that file.
        let is_webrtc = source.name.starts_with("src/webrtc/") && source.name != "src/webrtc/fuzzing.rs";
        if is_webrtc || source.name.starts_with("src/net/") {
            banned.extend(IO);
        }
        for word in banned {
            findings
                .check(!code.contains(word), format!("{} says `{word}`, which its layer must not know", source.name));
        }
    }
    for manifest in ["sctp/Cargo.toml", "dcep/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).expect("a manifest");
        for word in ["tokio", "socket2", "quinn", "mio"] {
            findings.check(!text.contains(word), format!("{manifest} depends on {word}"));
        }
    }
    findings.are_none();
}

/// All packets of an association pass one room of `src`, in both directions. After a panic another room writes the last
/// packet, and that room passes it on.
#[test]
fn packets_of_an_association_pass_one_room() {
    let mut findings = Findings::default();
    let mut places = 0;
    for source in product_without_tests() {
        let code = without_comments(&before_unit_tests(&source.text));
        let is_above = source.name.starts_with("src/") && !source.name.contains("/fuzzing/");
        for call in ["sctp.handle_datagram(", "sctp.poll_transmit(", "sctp.validate_path("] {
            let is_used = is_above && code.contains(call);
            let is_last = source.name == "src/association/failure.rs" && call == "sctp.poll_transmit(";
            let is_room = source.name == "src/association/packets.rs";
            places += usize::from(is_used && is_room);
            findings.check(!is_used || is_room || is_last, format!("{} calls `{call}…)`", source.name));
        }
    }
    assert_eq!(places, 3, "the packets pass another room by now");
    findings.are_none();
}

/// Inside `sctp`, the rooms are strangers to one another: the association passes values between them. One of these
/// values has a type that belongs to a room: the retransmission time-out is the path's, and sending is told it.
#[test]
fn the_rooms_of_sctp_do_not_see_each_other() {
    let mut findings = Findings::default();
    let rooms = ["send", "recv", "reset", "path", "endpoint"];
    for source in product() {
        let Some(room) = rooms.iter().find(|room| is_in_room(&source.name, room)) else { continue };
        let code = without_comments(&before_unit_tests(&source.text));
        for other in rooms.iter().filter(|other| *other != room && (*room, **other) != ("send", "path")) {
            findings
                .check(!code.contains(&format!("crate::{other}::")), format!("{} looks into `{other}`", source.name));
        }
        let knows_association = code.contains("crate::association");
        findings.check(*room == "endpoint" || !knows_association, format!("{} looks into `association`", source.name));
    }
    findings.are_none();
}
