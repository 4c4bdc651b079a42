//! Checks of properties that keep the code readable and that a compiler does not see: imports, sizes, names, comments,
//! and the tables of `ARCHITECTURE.md`, which gives the reasons.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod comments;
mod events;
mod fields;
mod imports;
mod layers;
mod map;
mod names;
mod sizes;
mod source;

use std::fs;

use sizes::functions;
use source::{Findings, before_unit_tests, everything, files, product_without_tests, root, without_comments};

/// Lines of a function in `association/mod.rs`: enough to pass values between two rooms, not enough for a rule.
const SURFACE_FUNCTION_LINES_MAX: usize = 20;

/// `association/mod.rs` lists the operations of an association. It holds no rule of the protocol, which means here: it
/// knows no chunk, parameter or cause, changes no state, and has no function that is long enough to decide much.
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

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Findings::default();
    for source in everything().into_iter().filter(|source| source.name != "tests/tidy/main.rs") {
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
