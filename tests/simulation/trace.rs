//! Trace of a run: a hash that two runs of one seed must share, and, in a replay, the lines behind it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use narrowboat_sctp::testing::Random;

use crate::clock::Nanos;

/// Lines that a failure shows.
const LINES_MAX: usize = 60;

/// Level of detail of the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verbosity {
    /// The hash only: fast.
    Hash,
    /// The last lines are kept for a failure.
    Tail,
    /// Every line goes to standard error at once.
    All,
}

#[derive(Clone, Debug)]
pub(crate) struct Trace {
    verbosity: Verbosity,
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    hash: u64,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, inner: Rc::default() }
    }

    /// Adds an occurrence: `what` it was and its numbers go into the hash, `words` only into a replay.
    pub(crate) fn note(&self, now: Nanos, numbers: &[u64], words: impl FnOnce() -> String) {
        let mut inner = self.inner.borrow_mut();
        for number in std::iter::once(&now).chain(numbers) {
            inner.hash = mix(inner.hash ^ number);
        }
        if self.verbosity == Verbosity::Hash {
            return;
        }
        let line = format!("{:>14.6} ms  {}", now as f64 / 1e6, words());
        if self.verbosity == Verbosity::All {
            eprintln!("{line}");
        }
        inner.lines.push_back(line);
        if inner.lines.len() > LINES_MAX {
            inner.lines.pop_front();
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.inner.borrow().hash
    }

    pub(crate) fn tail(&self) -> String {
        self.inner.borrow().lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A hash of some bytes, for the trace and for comparing chunks.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash = mix(hash ^ u64::from_le_bytes(word.try_into().unwrap()));
    }
    for &byte in words.remainder() {
        hash = mix(hash ^ u64::from(byte));
    }
    hash
}

fn mix(number: u64) -> u64 {
    Random(number).u64()
}
