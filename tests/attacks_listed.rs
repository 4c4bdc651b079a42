//! Every row of `attacks.toml` has a test named after it, or a reason why not; every line of `complaints.toml` names a
//! test.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "this is how a test fails, also outside of its function")]

mod listed;

use std::collections::{BTreeMap, BTreeSet};

use listed::tests;

#[test]
fn every_attack_has_a_test_or_a_reason() {
    let rows = rows();
    let tests = tests_by_id();
    let missing: Vec<&String> = rows
        .iter()
        .filter(|(id, row)| !row.contains_key("not_applicable") && !tests.contains_key(*id))
        .map(|(id, _)| id)
        .collect();
    assert!(
        missing.is_empty(),
        "{} of {} rows of tests/attacks.toml have no test: {missing:?}",
        missing.len(),
        rows.len()
    );
}

#[test]
fn no_row_has_both_a_test_and_a_reason_to_have_none() {
    let (rows, tests) = (rows(), tests_by_id());
    let both: Vec<&String> = rows
        .iter()
        .filter(|(id, row)| row.contains_key("not_applicable") && tests.contains_key(*id))
        .map(|(id, _)| id)
        .collect();
    assert!(both.is_empty(), "not applicable, but there are tests: {both:?}");
}

#[test]
fn every_row_is_complete_and_the_ids_have_no_gaps() {
    let rows = rows();
    for (id, row) in &rows {
        for field in ["input", "outcome", "section"] {
            assert!(row.get(field).is_some_and(|text| !text.is_empty()), "{id} lacks {field}");
        }
        assert!(row["section"].starts_with("RFC "), "{id} cites {}", row["section"]);
    }
    let sections: BTreeSet<&str> = rows.keys().map(|id| &id[..1]).collect();
    assert_eq!(sections.into_iter().collect::<String>(), "ABCDEFGHIJKL");
    for (id, before) in rows.keys().skip(1).zip(rows.keys()) {
        let next: u32 = before[1..].parse::<u32>().expect("a number") + 1;
        assert!(id.ends_with("01") || *id == format!("{}{next:02}", &before[..1]), "{id} follows {before}");
    }
}

/// The file, read by the few rules that it keeps: `[id]` lines and `name = "text"` lines.
fn rows() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = include_str!("attacks.toml");
    let mut rows: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut id = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            id = header.trim_end_matches(']').to_owned();
            assert!(rows.insert(id.clone(), BTreeMap::new()).is_none(), "{id} is listed twice");
        } else {
            let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("not a field: {line}"));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.unwrap_or_else(|| panic!("not a string: {line}"));
            let row = rows.get_mut(&id).unwrap_or_else(|| panic!("a field before the first row: {line}"));
            assert!(row.insert(name.to_owned(), value.to_owned()).is_none(), "{id} has {name} twice");
        }
    }
    rows
}

/// The rows that a test's name begins with: `b10_b11_bound_to_port_and_address` proves two.
fn ids(name: &str) -> impl Iterator<Item = String> {
    let is_id = |word: &&str| match word.as_bytes() {
        [letter, digits @ ..] => {
            letter.is_ascii_lowercase() && digits.len() == 2 && digits.iter().all(u8::is_ascii_digit)
        }
        [] => false,
    };
    name.split('_').take_while(is_id).map(str::to_uppercase)
}

#[test]
fn ids_are_what_a_name_begins_with() {
    assert!(ids("b10_b11_a_cookie_is_bound").eq(["B10", "B11"]));
    assert_eq!(ids("the_a01_row").count() + ids("a1_x").count() + ids("a011_x").count(), 0);
}

#[test]
fn every_complaint_has_its_test() {
    let tests: BTreeSet<String> = tests().into_iter().collect();
    let rows = include_str!("complaints.toml").lines().filter_map(|line| line.split_once(" = "));
    let rows: Vec<(&str, &str)> = rows.map(|(complaint, test)| (complaint, test.trim_matches('"'))).collect();
    assert!(rows.len() > 30, "only {} complaints", rows.len());
    let missing: Vec<_> = rows.iter().filter(|(_, test)| !tests.contains(*test)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

/// Tests by the rows that their names begin with.
fn tests_by_id() -> BTreeMap<String, Vec<String>> {
    let mut by_id: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in tests() {
        for id in ids(&test) {
            by_id.entry(id).or_default().push(test.clone());
        }
    }
    by_id
}
