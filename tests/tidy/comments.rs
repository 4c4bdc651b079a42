//! Comments: each file states its purpose, and documentation opens with its subject.

use crate::source::{Findings, everything};

/// Words that open a noun clause. The first words of a comment name the thing, or say what a function does.
const CLAUSE_OPENINGS: [&str; 9] = ["What", "Whether", "Who", "Whom", "Whose", "How", "Why", "Where", "When"];

/// Words with which no paragraph of any comment opens.
const NEVER_OPENINGS: [&str; 3] = ["What", "Whoever", "Whatever"];

/// Documentation comments that open with such a word, by folder. A number may only be lowered.
const CLAUSES_MAX: [(&str, usize); 7] =
    [("sctp/", 0), ("dcep/", 0), ("src/", 0), ("tests/", 0), ("benches/", 0), ("examples/", 0), ("fuzz/", 0)];

#[test]
fn every_file_begins_with_its_subject() {
    let mut findings = Findings::default();
    for source in everything() {
        findings.check(source.text.starts_with("//! "), format!("{} does not begin with `//! `", source.name));
    }
    findings.are_none();
}

#[test]
fn documentation_opens_with_its_subject() {
    let mut findings = Findings::default();
    let mut total = 0;
    for (folder, max) in CLAUSES_MAX {
        let sources = everything().into_iter().filter(|source| source.name.starts_with(folder));
        let places: Vec<String> = sources
            .flat_map(|source| clauses(&source.text).into_iter().map(move |line| format!("{}:{line}", source.name)))
            .collect();
        total += places.len();
        println!("{folder}: {} of at most {max}", places.len());
        findings.check(
            places.len() <= max,
            format!("{folder}: {} comments open with a noun clause, at most {max}: {places:?}", places.len()),
        );
    }
    let everywhere: usize = everything().iter().map(|source| clauses(&source.text).len()).sum();
    assert_eq!(total, everywhere, "a folder is missing in the list");
    findings.are_none();
}

/// Lines at which a documentation comment, or a paragraph of any comment, opens with a noun clause.
fn clauses(text: &str) -> Vec<usize> {
    let (mut is_inside, mut is_inside_text) = (false, false);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let first = comment.and_then(|comment| comment.split_whitespace().next()).unwrap_or_default();
        let plain = line.strip_prefix("//").filter(|_| comment.is_none());
        let first_of_plain = plain.and_then(|comment| comment.split_whitespace().next()).unwrap_or_default();
        let is_clause = (!is_inside && CLAUSE_OPENINGS.contains(&first))
            || (!is_inside_text && [first, first_of_plain].iter().any(|word| NEVER_OPENINGS.contains(word)));
        if is_clause {
            found.push(number);
        }
        is_inside = comment.is_some();
        is_inside_text = comment.or(plain).is_some_and(|comment| !comment.trim().is_empty());
    }
    found
}

#[test]
fn only_the_first_line_of_a_paragraph_counts() {
    let text =
        "/// What it is.\nfn a() {}\n\n/// Returns it\n/// When it is there.\nfn b() {}\n    //! Whether it is.\n";
    assert_eq!(clauses(text), [1, 7]);
    let text =
        "/// Returns it.\n///\n/// What is left\n/// What else.\nfn a() {\n    // Whoever asks\n    // What for\n}\n";
    assert_eq!(clauses(text), [3, 6]);
}
