//! One meaning a name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::sizes::is_qualifier;
use crate::source::{Findings, before_unit_tests, product, product_without_tests, without_comments};

#[test]
fn names_say_what_a_thing_is() {
    let mut findings = Findings::default();
    for source in product() {
        let stem = Path::new(&source.name).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        for word in ["manager", "helper", "utils", "util", "common", "handler", "misc"] {
            findings.check(stem != word, format!("{} says nothing about what is in it", source.name));
        }
        // Names that a trait demands were chosen by the trait's own crate.
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
const SHARED_NAMES: [(&str, &str); 4] = [
    (
        "Association",
        "the handle of narrowboat and the state machine of sctp that it wraps, as in quinn and quinn-proto",
    ),
    ("ChannelError", "the type of dcep, with narrowboat's error of the transport filled in"),
    ("CloseReason", "as ChannelError, of sctp"),
    ("Endpoint", "as Association"),
];

/// A name has one meaning in a crate, and in the crates above it: see the glossary in `ARCHITECTURE.md`.
#[test]
fn no_type_name_has_two_meanings() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Stand-ins for builds without a feature have the names of the originals.
    for source in product_without_tests().into_iter().filter(|source| !source.name.contains("/no_")) {
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
