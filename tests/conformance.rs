//! Each row of `CONFORMANCE.md` has a state: a deviation has a reason, each rule that applies has tests, and each test
//! exists.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod listed;

use std::collections::BTreeSet;

/// A row of a table, and the line that it stands in.
struct Row<'a> {
    line: usize,
    rule: &'a str,
    state: &'a str,
    tests: Vec<&'a str>,
}

/// Reads the rows of all tables of this shape: section, rule, state, tests.
fn rows(page: &str) -> Vec<Row<'_>> {
    let rows = page.lines().enumerate().filter_map(|(at, line)| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split(" | ").map(str::trim).collect();
        let [section, rule, state, tests] = cells[..] else { return None };
        let is_row = !section.starts_with("---") && state != "state";
        let tests = tests.split('`').skip(1).step_by(2).collect();
        is_row.then_some(Row { line: at + 1, rule, state, tests })
    });
    rows.collect()
}

/// Returns what is wrong with a row, if the tree has these tests.
fn finding(row: &Row<'_>, tests: &BTreeSet<String>) -> Option<String> {
    let reason = |state: &str| row.state.strip_prefix(state).map(|reason| reason.trim().len() > 10);
    let has_tests = !row.tests.is_empty();
    let has_state = match row.state {
        "met" => has_tests,
        _ => {
            reason("deviates:").map(|has_reason| has_reason && has_tests).or_else(|| reason("not applicable:"))
                == Some(true)
        }
    };
    if !has_state {
        return Some(format!("line {}: \"{}\" has no state with a reason, or no test", row.line, row.rule));
    }
    let missing: Vec<&&str> = row.tests.iter().filter(|test| !tests.contains(**test)).collect();
    (!missing.is_empty()).then(|| format!("line {}: no such test: {missing:?}", row.line))
}

#[test]
fn each_row_of_the_conformance_table_has_a_state_and_tests_that_exist() {
    let page = include_str!("../CONFORMANCE.md");
    let (rows, tests) = (rows(page), listed::tests().into_iter().collect());
    let lines = page.lines().filter(|line| line.starts_with('|')).count();
    let heads = page.lines().filter(|line| line.starts_with("| ---")).count() * 2;
    assert_eq!(rows.len(), lines - heads, "a row has not four cells");
    let findings: Vec<String> = rows.iter().filter_map(|row| finding(row, &tests)).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn a_row_of_the_conformance_table_without_a_state_a_reason_or_a_test_is_found() {
    let tests = BTreeSet::from(["a_test".to_owned()]);
    for (row, is_right) in [
        ("| 1 | rule | met | `a_test` |", true),
        ("| 1 | rule | deviates: because of a reason | `a_test` |", true),
        ("| 1 | rule | not applicable: there is no such thing | |", true),
        ("| 1 | rule | met | |", false),
        ("| 1 | rule | met | `another_test` |", false),
        ("| 1 | rule | deviates: | `a_test` |", false),
        ("| 1 | rule | deviates: because of a reason | |", false),
        ("| 1 | rule | planned | `a_test` |", false),
    ] {
        let rows = rows(row);
        assert_eq!(rows.len(), 1, "{row}");
        assert_eq!(finding(&rows[0], &tests).is_none(), is_right, "{row}");
    }
}
