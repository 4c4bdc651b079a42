//! The tables of rooms in `ARCHITECTURE.md` against the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::{Findings, root};

/// Folders that have a table.
const TABLES: [&str; 4] = ["sctp", "dcep", "src", "src/webrtc"];

/// Modules that are not rooms.
const NO_ROOMS: [&str; 7] = ["lib", "mod", "main", "bin", "tests", "testing", "fuzzing"];

#[test]
fn the_tables_of_rooms_are_those_of_the_tree() {
    let mut findings = Findings::default();
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let tables = tables(&text);
    for folder in TABLES {
        findings.check(tables.contains_key(folder), format!("ARCHITECTURE.md has no \"## Rooms of `{folder}`\""));
    }
    for (folder, listed) in &tables {
        let rooms = rooms(folder);
        for room in listed.difference(&rooms) {
            findings.check(false, format!("ARCHITECTURE.md: {folder} has no room `{room}`"));
        }
        for room in rooms.difference(listed) {
            findings.check(false, format!("ARCHITECTURE.md does not list `{room}` among the rooms of `{folder}`"));
        }
    }
    findings.are_none();
}

/// The modules in a folder, which is a crate's or one inside of it.
fn rooms(folder: &str) -> BTreeSet<String> {
    let source = root().join(folder).join("src");
    let path = if source.is_dir() { source } else { root().join(folder) };
    let name = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
    let names = fs::read_dir(path).expect("a folder").map(|entry| name(&entry.expect("an entry").path()));
    names.filter(|name| !NO_ROOMS.contains(&name.as_str())).collect()
}

/// Rooms by folder: the names in the first column of each table below a heading of the kind "Rooms of `folder`".
fn tables(text: &str) -> BTreeMap<&str, BTreeSet<String>> {
    let mut tables: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut folder = None;
    for line in text.lines() {
        if line.starts_with('#') {
            folder = line.split_once(" Rooms of `").map(|(_, rest)| rest.trim_end_matches('`'));
        }
        let Some(table) = folder.map(|folder| tables.entry(folder).or_default()) else { continue };
        let column = line.strip_prefix("| `").and_then(|line| line.split(" |").next()).unwrap_or_default();
        let names = column.split(',').map(|name| name.trim().trim_matches('`').trim_end_matches('/').to_owned());
        table.extend(names.filter(|name| !name.is_empty()));
    }
    tables
}

#[test]
fn rooms_are_read_from_the_first_column() {
    let text = "## Rooms of `a`\n\n| room | owns |\n| --- | --- |\n| `b/`, `c` | the `d` |\n\n## Else\n\n| `e` | f |\n";
    assert_eq!(tables(text), BTreeMap::from([("a", BTreeSet::from(["b".to_owned(), "c".to_owned()]))]));
}
