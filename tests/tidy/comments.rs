//! Comments: each file states its purpose, documentation opens with its subject, and that of a function with a verb.

use crate::source::{Findings, everything};

/// Words that open a noun clause. The first words of a comment name the thing, or say what a function does.
const CLAUSE_OPENINGS: [&str; 9] = ["What", "Whether", "Who", "Whom", "Whose", "How", "Why", "Where", "When"];

/// Words with which no paragraph of any comment opens.
const NEVER_OPENINGS: [&str; 3] = ["What", "Whoever", "Whatever"];

/// Documentation comments that open with such a word, by folder. A number may only be lowered.
const CLAUSES_MAX: [(&str, usize); 7] =
    [("sctp/", 0), ("dcep/", 0), ("src/", 0), ("tests/", 0), ("benches/", 0), ("examples/", 0), ("fuzz/", 0)];

/// Columns of a comment line, as rustfmt.toml has them for code. A row of a table cannot be wrapped.
const COLUMNS_MAX: usize = 120;

/// Documentation of functions that does not open with a verb in the third person, by folder; see [`without_verb`]. A
/// number may only be lowered.
const WITHOUT_VERB_MAX: [(&str, usize); 3] = [("sctp/src/", 0), ("dcep/src/", 0), ("src/", 0)];

/// Words that end like a verb in the third person and are none, or say nothing about a function.
const NO_VERBS: [&str; 26] = [
    "Addresses",
    "As",
    "Bytes",
    "Channels",
    "Chunks",
    "Datagrams",
    "Does",
    "Fragments",
    "Has",
    "Ids",
    "Is",
    "Its",
    "Keys",
    "Lines",
    "Messages",
    "Numbers",
    "Packets",
    "Parameters",
    "Peers",
    "Steps",
    "Streams",
    "Tests",
    "This",
    "Timers",
    "Times",
    "Values",
];

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

#[test]
fn documentation_of_functions_opens_with_a_verb() {
    let mut findings = Findings::default();
    for (folder, max) in WITHOUT_VERB_MAX {
        let sources = everything().into_iter().filter(|source| source.name.starts_with(folder));
        let places: Vec<String> = sources
            .flat_map(|source| {
                without_verb(&source.text).into_iter().map(move |line| format!("{}:{line}", source.name))
            })
            .collect();
        findings.check(
            places.len() <= max,
            format!("{folder}: {} functions are documented without a verb, at most {max}: {places:?}", places.len()),
        );
    }
    findings.are_none();
}

#[test]
fn comments_are_wrapped() {
    let mut findings = Findings::default();
    for source in everything() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let is_table = ["/// |", "//! |"].iter().any(|row| line.trim_start().starts_with(row));
            let is_comment = line.trim_start().starts_with("//") && !is_table;
            findings.check(
                !is_comment || line.chars().count() <= COLUMNS_MAX,
                format!("{}:{number} has more than {COLUMNS_MAX} columns", source.name),
            );
        }
    }
    findings.are_none();
}

/// Returns the lines at which the documentation of a function opens with another word than a verb in the third person
/// ("Returns", "Sends") or "True". That of a test states the rule that the test holds, so it is left out.
fn without_verb(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut opening, mut is_test, mut is_inside) = (None, false, false);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("///") {
            if !is_inside {
                let word = comment.split_whitespace().next().unwrap_or_default();
                opening = Some((number, word.trim_end_matches([',', ':']).to_owned()));
                is_test = false;
            }
            is_inside = true;
            continue;
        }
        is_inside = false;
        is_test |= ["#[test]", "#[tokio::test"].iter().any(|test| line.starts_with(test));
        let is_function =
            line.split("fn ").next().is_some_and(|before| before.len() < line.len() && is_qualifiers(before));
        if let Some((number, _)) = opening.as_ref().filter(|(_, word)| is_function && !is_test && !is_verb(word)) {
            found.push(*number);
        }
        // Attributes and comments may stand between the documentation and its function.
        if !line.starts_with("#[") && !line.starts_with("//") {
            opening = None;
        }
    }
    found
}

fn is_qualifiers(words: &str) -> bool {
    words
        .split_whitespace()
        .all(|word| word.starts_with("pub") || word.ends_with(')') || ["const", "async"].contains(&word))
}

fn is_verb(word: &str) -> bool {
    let is_word = word.starts_with(char::is_uppercase) && word.chars().skip(1).all(char::is_lowercase);
    word == "True" || is_word && word.ends_with('s') && !NO_VERBS.contains(&word)
}

#[test]
fn a_verb_is_found_and_a_noun_is_not() {
    let text = "/// Returns it.\nfn a() {}\n\n/// The number.\n#[must_use]\npub(crate) async fn b() {}\n\n/// The rule.\n#[test]\nfn c() {}\n";
    assert_eq!(without_verb(text), [4]);
    let text = "    /// Bytes sent.\n    // Why.\n    const fn a() {}\n    /// True if so.\n    fn b() {}\n    /// The field.\n    b: fn(),\n";
    assert_eq!(without_verb(text), [1]);
}

/// Returns the lines at which a documentation comment, or a paragraph of any comment, opens with a noun clause.
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
