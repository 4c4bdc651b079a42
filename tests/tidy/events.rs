//! The table of events in `ARCHITECTURE.md` against the `tracing` calls of `sctp` and `dcep`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::source::{Findings, before_unit_tests, product_without_tests, root, without_comments};

/// The levels and fields of the events with one message.
type Events = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

#[test]
fn the_table_of_events_is_that_of_the_tree() {
    let mut findings = Findings::default();
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let section = text.split_once("\n## Events in the log\n").expect("the section").1;
    let section = section.split("\n## ").next().expect("a first part");
    for (layer, heading) in [("sctp/", "| event of `sctp` |"), ("dcep/", "| event of `dcep` |")] {
        let mut found = Events::new();
        for source in product_without_tests().iter().filter(|source| source.name.starts_with(layer)) {
            collect(&without_comments(&before_unit_tests(&source.text)), &mut found);
        }
        assert!(found.len() > 5, "the events of {layer} are not where they were");
        let listed = listed(section.split_once(heading).expect("a table").1);
        // A fault of this program is none of the events that a user reads about.
        found.retain(|_, (levels, _)| !levels.contains("ERROR"));
        for (message, (levels, fields)) in &found {
            let Some((level, text)) = listed.get(message) else {
                findings.check(false, format!("ARCHITECTURE.md does not list the event `{message}` of {layer}"));
                continue;
            };
            findings.check(
                levels.iter().eq([level]),
                format!("ARCHITECTURE.md: `{message}` is at {level}, and at {levels:?} in {layer}"),
            );
            for field in fields {
                let is_listed = text.contains(&format!("`{field}`"));
                findings.check(is_listed, format!("ARCHITECTURE.md: `{message}` has no field `{field}`"));
            }
        }
        // The counter of drops is a macro of `sctp` that `dcep` uses.
        for message in listed.keys().filter(|message| !found.contains_key(*message) && *message != "dropped") {
            findings.check(false, format!("ARCHITECTURE.md lists the event `{message}`, which {layer} does not emit"));
        }
    }
    findings.are_none();
}

/// Returns level and text of the last column of each event in the table that `text` opens with.
fn listed(text: &str) -> BTreeMap<String, (String, String)> {
    let mut events = BTreeMap::new();
    for row in text.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        for message in columns[1].split('`').skip(1).step_by(2) {
            events.insert(message.to_owned(), (columns[2].to_owned(), columns[3].to_owned()));
        }
    }
    events
}

/// Adds the events that are emitted in `code`.
fn collect(code: &str, found: &mut Events) {
    for (at, call) in code.match_indices("tracing::") {
        let rest = &code[at + call.len()..];
        let Some((level, arguments)) = rest.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace"].contains(&level) {
            continue;
        }
        let mut arguments = arguments_of(arguments);
        let message = arguments.pop().expect("a message").trim_matches('"').to_owned();
        let (levels, fields) = found.entry(message).or_default();
        levels.insert(level.to_uppercase());
        let name =
            |argument: String| argument.split('=').next().unwrap_or_default().trim_matches(['?', '%', ' ']).to_owned();
        fields.extend(arguments.into_iter().map(name));
    }
}

/// Returns the arguments of a call, from what follows its opening parenthesis.
fn arguments_of(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut is_text) = (vec![String::new()], 0, false);
    for letter in text.chars() {
        match letter {
            '"' => is_text = !is_text,
            '(' | '[' | '{' if !is_text => depth += 1,
            ')' | ']' | '}' if !is_text && depth == 0 => break,
            ')' | ']' | '}' if !is_text => depth -= 1,
            ',' if !is_text && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().expect("one").push(letter);
    }
    let arguments = arguments.into_iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

#[test]
fn events_are_read_with_level_message_and_fields() {
    let mut found = Events::new();
    collect("tracing::debug!(?a, b = f(x, y), c = %d,\n \"one, (two)\",\n); tracing::field::display(z)", &mut found);
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(found, Events::from([("one, (two)".to_owned(), (set(&["DEBUG"]), set(&["a", "b", "c"])))]));
    let table = listed(" fields |\n| --- |\n| `x`, `y` | TRACE | `a`; `b` |\n\n| `z` | INFO | |");
    assert_eq!(table.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(table["x"], ("TRACE".to_owned(), "`a`; `b`".to_owned()));
}
