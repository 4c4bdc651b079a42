//! Fields of structs: state is split into owners with a few fields each.

use std::collections::BTreeSet;

use crate::source::{Findings, before_unit_tests, product_without_tests, without_comments};

/// Fields of a struct. One that wants more has several rules to keep, and wants owners for them.
const FIELDS_MAX: usize = 8;

/// Structs that have more, and why. A number may only be lowered.
const LARGE: [(&str, &str, usize, &str); 26] = [
    // Values that are read as a whole: settings, counters, and what lies in a message.
    ("sctp/src/config.rs", "AssociationConfig", 33, "settings"),
    ("src/config.rs", "Config", 12, "settings"),
    ("src/bin/narrowboat/arguments.rs", "Connect", 9, "options of a command"),
    ("sctp/src/stats.rs", "AssociationStats", 28, "counters"),
    ("dcep/src/stats.rs", "ChannelsStats", 12, "counters"),
    ("sctp/src/cookie.rs", "Cookie", 10, "contents of a State Cookie"),
    ("sctp/src/wire/i_data.rs", "IDataChunk", 9, "fields of a chunk"),
    ("sctp/src/wire/init.rs", "Init", 14, "fields and parameters of a chunk"),
    ("src/webrtc/stun/message.rs", "StunMessage", 12, "attributes of a message"),
    ("sctp/src/send/congestion/mod.rs", "Acked", 9, "results of one SACK, for the controllers"),
    ("src/association/fuzzing/model.rs", "EndModel", 11, "a model of the tests"),
    // State whose fields one rule needs together.
    ("sctp/src/association/control_queue.rs", "ControlQueue", 10, "one field for each control chunk"),
    ("sctp/src/association/handshake.rs", "Handshake", 10, "one step of RFC 9260 §5.1 reads most of them"),
    ("sctp/src/recv/window.rs", "ReceiveWindow", 10, "one formula: the window that is advertised"),
    ("sctp/src/reset/own_requests.rs", "Request", 13, "one request, and the answers to it"),
    ("sctp/src/send/outstanding.rs", "Chunk", 11, "one cache line of the ring of outstanding chunks"),
    ("src/webrtc/ice/controlling.rs", "Consent", 10, "one state machine: checks until consent expires"),
    ("src/webrtc/dtls/client_flight.rs", "ClientFlight", 10, "one flight, until its signature fits"),
    // Coordinators, whose fields are owners that pass values through them.
    ("sctp/src/association/mod.rs", "Association", 21, "owners of RFC 9260's chapters, and their results"),
    ("dcep/src/channels/mod.rs", "DataChannels", 9, "owners, and the counter of recounts in debug builds"),
    ("src/endpoint/shared.rs", "EndpointShared", 15, "values fixed at the start, and owners with locks of their own"),
    ("src/webrtc/admission/mod.rs", "PendingHandshakes", 12, "owners: chains, shares, quota, load"),
    ("src/webrtc/router.rs", "SecureRouter", 9, "indices of one table"),
    ("src/webrtc/session/state.rs", "SessionState", 12, "ICE, DTLS, and the values that pass between"),
    ("src/webrtc/dtls/attempt.rs", "HandshakeAttempt", 13, "one attempt at a handshake, in two versions"),
    ("src/webrtc/dtls/mod.rs", "Dtls", 23, "attempts, hellos and records, and the rules between them"),
];

#[test]
fn structs_have_few_fields() {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    for source in product_without_tests() {
        for (name, count) in structs(&without_comments(&before_unit_tests(&source.text))) {
            let exception = LARGE.iter().position(|(file, listed, ..)| (*file, *listed) == (&source.name, &name));
            let max = exception.and_then(|at| LARGE.get(at)).map_or(FIELDS_MAX, |(_, _, max, _)| *max);
            used.extend(exception.filter(|_| count > FIELDS_MAX));
            findings.check(count <= max, format!("{}: `{name}` has {count} fields; the limit is {max}", source.name));
        }
    }
    for (at, (file, name, ..)) in LARGE.iter().enumerate() {
        findings.check(used.contains(&at), format!("{file}: `{name}` has few fields by now, so take it off the list"));
    }
    findings.are_none();
}

/// Structs with named fields, and their number of fields. rustfmt puts the brace that ends a struct below its keyword.
fn structs(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let declaration = line.trim_start();
        let indent = &line[..line.len() - declaration.len()];
        let Some((before, after)) = declaration.split_once("struct ") else { continue };
        if !["", "pub ", "pub(crate) ", "pub(super) "].contains(&before) {
            continue;
        }
        let name: String = after.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        // The brace may follow a `where` clause; a struct without fields ends by a semicolon.
        let header = lines.iter().skip(start).position(|line| line.ends_with('{') || line.ends_with(';')).unwrap_or(0);
        if !lines[start + header].ends_with('{') {
            continue;
        }
        let fields = lines.iter().skip(start + header + 1).take_while(|line| **line != format!("{indent}}}"));
        let is_field = |line: &&&str| {
            let field = line.strip_prefix(indent).and_then(|line| line.strip_prefix("    ")).unwrap_or_default();
            field.starts_with(|letter: char| letter.is_ascii_lowercase()) && field.contains(": ")
        };
        found.push((name, fields.filter(is_field).count()));
    }
    found
}

#[test]
fn fields_are_counted_in_each_struct() {
    let code = "pub(crate) struct A<T>\nwhere\n    T: Copy,\n{\n    pub(crate) a: T,\n    #[cfg(test)]\n    b: Vec<\n        u8,\n    >,\n}\n\nstruct B(u8);\n\nfn f() {\n    struct C {\n        d: u8,\n    }\n}\n";
    assert_eq!(structs(code), [("A".to_owned(), 2), ("C".to_owned(), 1)]);
}
