//! Finds the sites at which `tests/mutants` changes the code, and prints each as a line of JSON:
//!
//! `{"file": …, "line": …, "name": …, "range": [from, to], "pieces": […]}`
//!
//! The pieces replace the bytes of the range. A piece is a text, `null` for the question "is this mutant chosen?", or
//! two numbers, for the bytes of the source between them. Code of tests, constants and formatting is left alone.
#![expect(clippy::print_stdout, reason = "the sites are what this is run for")]
#![expect(clippy::expect_used, reason = "a tool ends by panicking")]

mod finder;
mod site;

use finder::Finder;
use site::Site;
use syn::visit::Visit;

fn main() {
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        for site in sites(&text) {
            println!("{}", site.to_json(&file, &text));
        }
    }
}

/// All sites of a source, those in the bodies of its macros included.
fn sites(text: &str) -> Vec<Site> {
    let mut finder = Finder::default();
    finder.visit_file(&syn::parse_file(text).expect("source that compiles"));
    for body in std::mem::take(&mut finder.macro_bodies) {
        // Variables of the macro become names of the same length, so that positions stay as they are.
        let Some(inside) = text.get(body.clone()) else { continue };
        let Ok(parsed) = syn::parse_file(&without_variables(inside)) else { continue };
        let mut inner = Finder { offset: body.start, ..Finder::default() };
        inner.visit_file(&parsed);
        finder.sites.append(&mut inner.sites);
    }
    finder.sites
}

/// Replaces `$name` by `Xname`, and repetitions such as `$(#[$doc])*` by spaces.
fn without_variables(text: &str) -> String {
    let mut plain = text.to_owned();
    while let Some((at, len)) = plain.find("$(").and_then(|at| Some((at, plain.get(at..)?.find(")*")? + 2))) {
        plain.replace_range(at..at + len, &" ".repeat(len));
    }
    plain.replace('$', "X")
}
