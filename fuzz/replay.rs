//! Replays the corpus of a fuzz target without a fuzzer. Each test file includes it by its path.
#![allow(dead_code, reason = "not every test file has scripts")]

use std::path::{Path, PathBuf};

/// Limits of the corpus of a target in the repository.
const FILES_MAX: usize = 200;
const FILE_BYTES_MAX: u64 = 4096;

/// Files of a target's corpus, in order.
pub(crate) fn corpus(target: &str) -> Vec<PathBuf> {
    // `fuzz` is beside the package, or in it.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = [package.join("fuzz/corpus"), package.join("../fuzz/corpus")].into_iter().find(|path| path.exists());
    let folder = folder.expect("the folder of corpora").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let large = files.iter().find(|file| file.metadata().is_ok_and(|file| file.len() > FILE_BYTES_MAX));
    assert!(large.is_none() && files.len() <= FILES_MAX, "minimise {target}: {} files, {large:?}", files.len());
    files
}

/// Runs a target's entry function on every file of its corpus; at least `files_min` of them.
pub(crate) fn replay(target: &str, files_min: usize, entry: fn(&[u8])) {
    let files = corpus(target);
    assert!(files.len() >= files_min, "only {} files in the corpus of {target}", files.len());
    for file in files {
        let bytes = std::fs::read(&file).expect("a file that was listed");
        let result = std::panic::catch_unwind(|| entry(&bytes));
        assert!(result.is_ok(), "{} fails: see the panic above", file.display());
    }
}
