//! The sources, and the findings of a test in them.

use std::fs;
use std::path::{Path, PathBuf};

/// Everything that is wrong, so that one run shows all that is to be done.
#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn check(&mut self, holds: bool, otherwise: String) {
        if !holds {
            self.0.push(otherwise);
        }
    }

    pub(crate) fn are_none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

pub(crate) struct Source {
    /// The path from the root, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code that a user of the library runs.
pub(crate) fn product() -> Vec<Source> {
    let layers = ["src/", "sctp/src/", "dcep/src/"];
    everything().into_iter().filter(|source| layers.iter().any(|layer| source.name.starts_with(layer))).collect()
}

/// The same without files that hold only unit tests or their helpers; see also [`before_unit_tests`].
pub(crate) fn product_without_tests() -> Vec<Source> {
    let is_test = |name: &str| name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/testing.rs");
    product().into_iter().filter(|source| !is_test(&source.name)).collect()
}

pub(crate) fn everything() -> Vec<Source> {
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path).expect("a source file"),
    };
    let sources: Vec<Source> = files(root(), "rs").into_iter().map(read).collect();
    assert!(sources.len() > 20, "the sources are not where they were");
    sources
}

pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|of_file| of_file == extension) {
            found.push(path);
        }
    }
    found
}

pub(crate) fn is_in_room(name: &str, room: &str) -> bool {
    name.starts_with(&format!("sctp/src/{room}/")) || name == format!("sctp/src/{room}.rs")
}

/// The text up to the unit tests, which are last in a file.
pub(crate) fn before_unit_tests(text: &str) -> String {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The text without line comments; the lines stay where they are.
pub(crate) fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}
