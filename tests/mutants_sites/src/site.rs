//! A site, and how it is written out.

use std::fmt::Write as _;
use std::ops::Range;

/// A part of the text that replaces a site.
pub(crate) enum Piece {
    Text(&'static str),
    /// The question whether this mutant is chosen.
    IsChosen,
    Source(Range<usize>),
}

/// A place in the source, and the text with which it behaves in two ways.
pub(crate) struct Site {
    /// The kind of change.
    pub(crate) name: String,
    pub(crate) range: Range<usize>,
    pub(crate) pieces: Vec<Piece>,
}

impl Site {
    pub(crate) fn to_json(&self, file: &str, text: &str) -> String {
        let before = text.get(..self.range.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let pair = |range: &Range<usize>| format!("[{}, {}]", range.start, range.end);
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => format!("\"{text}\""),
            Piece::IsChosen => "null".to_owned(),
            Piece::Source(range) => pair(range),
        });
        let pieces: Vec<String> = pieces.collect();
        let mut json = String::new();
        write!(json, "{{\"file\": \"{file}\", \"line\": {line}, \"name\": \"{}\", ", self.name).ok();
        write!(json, "\"range\": {}, ", pair(&self.range)).ok();
        write!(json, "\"pieces\": [{}]}}", pieces.join(", ")).ok();
        json
    }
}
