//! Sizes of files and functions.

use crate::source::{Findings, before_unit_tests, product, product_without_tests, without_comments};

/// Lines of a product file, its unit tests included. A file that wants more has two subjects.
const FILE_LINES_MAX: usize = 500;

/// Lines of code of a product file: without comments, blank lines and unit tests.
const CODE_LINES_MAX: usize = 400;

/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 60;

/// Files that are longer, their lines of code, and why. A number may only be lowered.
const LONG_FILES: [(&str, usize, &str); 0] = [];

/// Functions that are longer, their lines, and why. A number may only be lowered.
const LONG_FUNCTIONS: [(&str, &str, usize, &str); 0] = [];

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

#[test]
fn files_and_functions_are_short() {
    let mut findings = Findings::default();
    let mut long = Vec::new();
    for source in product_without_tests() {
        let code = without_comments(&before_unit_tests(&source.text));
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        let name = &source.name;
        let limit = LONG_FILES.iter().find(|(file, ..)| file == name).map_or(CODE_LINES_MAX, |(_, max, _)| *max);
        findings.check(lines <= limit, format!("{name} has {lines} lines of code; the limit is {limit}"));
        if lines > CODE_LINES_MAX {
            long.push((name.clone(), String::new()));
        }
        for (function, lines) in functions(&code).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            let limit = LONG_FUNCTIONS.iter().find(|(file, listed, ..)| (*file, *listed) == (name, &function));
            long.push((name.clone(), function.clone()));
            findings.check(
                limit.is_some_and(|(_, _, max, _)| lines <= *max),
                format!("{name}: `{function}` has {lines} lines; the limit is {FUNCTION_LINES_MAX}"),
            );
        }
    }
    let listed = LONG_FILES.iter().map(|(file, ..)| (*file, ""));
    for (file, function) in listed.chain(LONG_FUNCTIONS.iter().map(|(file, function, ..)| (*file, *function))) {
        let is_long = long.contains(&(file.to_owned(), function.to_owned()));
        findings.check(is_long, format!("{file} {function}: short by now, so take it off the list"));
    }
    findings.are_none();
}

/// Functions by name, with the lines from the signature to the closing brace, which rustfmt puts below its `fn`.
pub(crate) fn functions(code: &str) -> Vec<(String, usize)> {
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

pub(crate) fn is_qualifier(word: &str) -> bool {
    ["", "pub", "pub(crate)", "pub(super)", "const", "async"].contains(&word)
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let code = "impl A {\n    pub fn one(&self) -> u8 {\n        1\n    }\n\n    pub(crate) const fn two() { }\n}\n";
    assert_eq!(functions(code), [("one".to_owned(), 3), ("two".to_owned(), 1)]);
}
