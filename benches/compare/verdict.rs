//! Promises of this project, and verdicts on them.

use std::fmt;

/// One promise.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    text: String,
    holds: bool,
    limit: String,
}

impl Verdict {
    /// Creates a verdict from the result, whether the result is good, and the limit asked for.
    pub(crate) fn new(text: impl Into<String>, holds: bool, limit: impl Into<String>) -> Self {
        Self { text: text.into(), holds, limit: limit.into() }
    }

    /// Returns `true` if the result is good.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds { "holds" } else { "FAILS" };
        write!(f, "{word}  {} (must be: {})", self.text, self.limit)
    }
}
