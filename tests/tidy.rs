//! What keeps the code readable, and what a compiler does not check: the size of files, who may know whom, and a public
//! surface without rules of the protocol. `ARCHITECTURE.md` says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a product file, its unit tests included. A file that wants more has two subjects.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function in `association/mod.rs`: enough to pass values between two rooms, not enough for a rule.
const SURFACE_FUNCTION_LINES_MAX: usize = 20;

#[test]
fn no_product_file_is_long() {
    let mut findings = Findings::default();
    for source in product() {
        let lines = source.text.lines().count();
        findings.check(
            lines <= FILE_LINES_MAX,
            format!("{} has {lines} lines; the limit is {FILE_LINES_MAX}", source.name),
        );
    }
    findings.are_none();
}

/// `association/mod.rs` is the list of what an association can do. It holds no rule of the protocol, which means here:
/// it knows no chunk, parameter or cause, changes no state, and has no function that is long enough to decide much.
#[test]
fn the_surface_of_an_association_holds_no_protocol_rule() {
    let mut findings = Findings::default();
    let text = fs::read_to_string(root().join("sctp/src/association/mod.rs")).expect("the surface");
    let code = without_comments(&before_unit_tests(&text));
    for (word, reason) in [
        ("Chunk::", "chunks are handled in input.rs and its siblings"),
        ("ChunkType", "chunks are handled in input.rs and its siblings"),
        ("Param::", "parameters are handled where their chunk is"),
        ("Cause::", "causes are chosen where the error is found"),
        ("wire::", "bytes are read in input.rs and written in output.rs"),
        ("state = State::", "states change in the chapter that says so"),
        ("State::CookieWait =>", "what depends on the state is decided in its chapter"),
        ("State::Established =>", "what depends on the state is decided in its chapter"),
    ] {
        findings.check(!code.contains(word), format!("association/mod.rs says `{word}`: {reason}"));
    }
    for (name, lines) in functions(&code) {
        assert!(
            lines <= SURFACE_FUNCTION_LINES_MAX,
            "association/mod.rs: `{name}` has {lines} lines: move it to its chapter"
        );
    }
    findings.are_none();
}

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
            banned.extend(["tokio", "quinn_udp", "UdpSocket", "std::thread", "Mutex", "Instant::now", "SystemTime"]);
            // Addresses are the endpoint's: an association over DTLS has none.
            if !source.name.starts_with("sctp/src/endpoint/") && source.name != "sctp/src/cookie.rs" {
                banned.extend(["std::net", "SocketAddr", "IpAddr"]);
            }
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

/// Inside `sctp`, the rooms are strangers to one another: the association passes values between them. One of these values
/// has a type that belongs to a room: the retransmission time-out is the path's, and sending is told it.
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

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Findings::default();
    for source in everything().into_iter().filter(|source| source.name != "tests/tidy.rs") {
        for (number, line) in (1..).zip(source.text.lines()) {
            for word in ["todo!", "unimplemented!", "FIXME", "XXX", "TODO", "#[ignore", "dbg!("] {
                findings.check(!line.contains(word), format!("{}:{number} says `{word}`", source.name));
            }
            let code = line.split("//").next().unwrap_or_default().replace("unsafe_code", "");
            findings.check(!code.contains("unsafe"), format!("{}:{number} is unsafe", source.name));
        }
    }
    findings.are_none();
}

#[test]
fn product_code_does_not_unwrap() {
    let mut findings = Findings::default();
    for source in product_without_tests() {
        for (number, line) in (1..).zip(without_comments(&before_unit_tests(&source.text)).lines()) {
            findings.check(!line.contains(".unwrap()"), format!("{}:{number} unwraps", source.name));
        }
    }
    findings.are_none();
}

#[test]
fn names_say_what_a_thing_is() {
    let mut findings = Findings::default();
    for source in product() {
        let stem = Path::new(&source.name).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        for word in ["manager", "helper", "utils", "util", "common", "handler", "misc"] {
            findings.check(stem != word, format!("{} says nothing about what is in it", source.name));
        }
        // What a trait demands, its own crate has named.
        let mut is_of_trait = false;
        for (number, line) in (1..).zip(without_comments(&source.text).lines()) {
            is_of_trait = (is_of_trait || (line.starts_with("impl") && line.contains(" for "))) && line != "}";
            findings.check(
                is_of_trait || !line.contains("fn get_"),
                format!("{}:{number}: a getter is named after what it gets", source.name),
            );
        }
    }
    findings.are_none();
}

/// Type names that two crates have, and the reason.
const SHARED_NAMES: [(&str, &str); 2] = [
    (
        "Association",
        "the handle of narrowboat and the state machine of sctp that it wraps, as in quinn and quinn-proto",
    ),
    ("Endpoint", "as Association"),
];

/// A name has one meaning in a crate, and in the crates above it: see the glossary in `ARCHITECTURE.md`.
#[test]
fn no_type_name_has_two_meanings() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in product_without_tests() {
        for name in type_names(&without_comments(&before_unit_tests(&source.text))) {
            places.entry(name).or_default().push(source.name.clone());
        }
    }
    let mut findings = Findings::default();
    for (name, files) in &places {
        let crates =
            ["sctp/", "dcep/", "src/"].map(|start| files.iter().filter(|file| file.starts_with(start)).count());
        let is_shared = SHARED_NAMES.iter().any(|(shared, _)| shared == name) && crates.iter().all(|count| *count < 2);
        findings.check(files.len() == 1 || is_shared, format!("`{name}` is the name of several types: {files:?}"));
    }
    for (name, _) in SHARED_NAMES {
        findings.check(places.get(name).is_some_and(|files| files.len() == 2), format!("`{name}` needs no exception"));
    }
    assert!(places.len() > 200, "the types are not where they were");
    findings.are_none();
}

/// Names of the types that are defined in this code. Associated types are not among them.
fn type_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in code.lines() {
        let mut words = line.split_whitespace().skip_while(|word| is_qualifier(word));
        let is_definition = match words.next() {
            Some("struct" | "enum" | "trait" | "union") => true,
            Some("type") => !line.starts_with(' '),
            _ => false,
        };
        let name: String = words.next().unwrap_or_default().chars().take_while(|c| c.is_alphanumeric()).collect();
        if is_definition && !name.is_empty() {
            names.push(name);
        }
    }
    names
}

#[test]
fn types_are_found_wherever_they_are_defined() {
    let code = "pub(crate) struct One<T>(T);\n    enum Two {\n\npub trait Three: Send {}\ntype Four = u8;\n    type Five = u8;\n";
    assert_eq!(type_names(code), ["One", "Two", "Three", "Four"]);
}

#[test]
fn every_member_of_the_workspace_keeps_its_lints() {
    let mut findings = Findings::default();
    for manifest in files(root(), "toml").into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(&manifest).expect("a manifest");
        if text.contains("[package]") && !text.contains("cargo-fuzz = true") {
            findings.check(
                text.contains("[lints]\nworkspace = true"),
                format!("{} has lints of its own", manifest.display()),
            );
        }
    }
    findings.are_none();
}

/// What is wrong, all of it, so that one run shows everything that is to be done.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, holds: bool, otherwise: String) {
        if !holds {
            self.0.push(otherwise);
        }
    }

    fn are_none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

struct Source {
    /// The path from the root, with `/`.
    name: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a user of the library runs.
fn product() -> Vec<Source> {
    let layers = ["src/", "sctp/src/", "dcep/src/"];
    everything().into_iter().filter(|source| layers.iter().any(|layer| source.name.starts_with(layer))).collect()
}

/// The same without files that hold only unit tests, or what they share; see also [`before_unit_tests`].
fn product_without_tests() -> Vec<Source> {
    let is_test = |name: &str| name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/testing.rs");
    product().into_iter().filter(|source| !is_test(&source.name)).collect()
}

fn everything() -> Vec<Source> {
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path).expect("a source file"),
    };
    let sources: Vec<Source> = files(root(), "rs").into_iter().map(read).collect();
    assert!(sources.len() > 20, "the sources are not where they were");
    sources
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|of_file| of_file == extension) {
            found.push(path);
        }
    }
    found
}

fn is_in_room(name: &str, room: &str) -> bool {
    name.starts_with(&format!("sctp/src/{room}/")) || name == format!("sctp/src/{room}.rs")
}

/// The text up to the unit tests, which are last in a file.
fn before_unit_tests(text: &str) -> String {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The text without line comments; the lines stay where they are.
fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Functions by name, with the lines from the signature to the closing brace, which rustfmt puts below its `fn`.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(at) = line.find("fn ").filter(|at| line[..*at].trim().split(' ').all(is_qualifier)) else { continue };
        let name = line[at + 3..].split(['(', '<']).next().unwrap_or_default().to_owned();
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines.iter().skip(start).position(|line| {
            line.ends_with('}')
                && line.starts_with(indent)
                && (line.trim_end() == format!("{indent}}}") || (line.contains("fn ") && line.contains('{')))
        });
        found.push((name, end.unwrap_or(usize::MAX - 1) + 1));
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    ["", "pub", "pub(crate)", "pub(super)", "const", "async"].contains(&word)
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let code = "impl A {\n    pub fn one(&self) -> u8 {\n        1\n    }\n\n    pub(crate) const fn two() { }\n}\n";
    assert_eq!(functions(code), [("one".to_owned(), 3), ("two".to_owned(), 1)]);
}
