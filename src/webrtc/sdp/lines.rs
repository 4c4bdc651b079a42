//! Lines with their numbers, cut into sections.
//!
//! The order that RFC 8866 §5 demands is not enforced: each line is found by its type and name, so the order carries no
//! meaning here, and pages that edit descriptions often break it.

use super::LEN_MAX;
use super::error::{SdpError, SdpProblem};

/// The types of line that RFC 8866 §5 defines.
const LINE_TYPES: &str = "vosiuepcbtrzkam";

/// One line, without its end and without spaces before the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) kind: char,
    pub(super) value: &'a str,
}

/// The lines of the session, or of one section with its `m=` line first.
#[derive(Debug, Default)]
pub(super) struct Block<'a>(Vec<Line<'a>>);

impl<'a> Block<'a> {
    /// Returns the number of the first line, which errors about missing lines report.
    pub(super) fn number(&self) -> usize {
        self.0.first().map_or(1, |line| line.number)
    }

    /// Returns the value of the block's first line, which is `m=` for a section.
    pub(super) fn head(&self) -> &'a str {
        self.0.first().map_or("", |line| line.value)
    }

    /// Returns the value of the first line of this type.
    pub(super) fn line(&self, kind: char) -> Option<&'a str> {
        self.0.iter().find(|line| line.kind == kind).map(|line| line.value)
    }

    /// Returns each `a=` line with this name: its number, and the text behind the colon.
    pub(super) fn attributes(&self, name: &'static str) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        let attributes = self.0.iter().filter(|line| line.kind == 'a');
        attributes.filter_map(move |line| {
            let (found, value) = line.value.split_once(':').unwrap_or((line.value, ""));
            (found == name).then_some((line.number, value))
        })
    }

    /// Returns the `a=` line with this name, if there is one. It may be repeated, but not with another value.
    pub(super) fn attribute(&self, name: &'static str) -> Result<Option<(usize, &'a str)>, SdpError> {
        let mut found = self.attributes(name);
        let Some(first) = found.next() else { return Ok(None) };
        let other = found.find(|(_, value)| *value != first.1);
        other.map_or(Ok(Some(first)), |(number, _)| Err(SdpError::new(number, SdpProblem::Twice(name))))
    }
}

/// A whole description: the session's lines, and the sections'.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub(super) session: Block<'a>,
    pub(super) sections: Vec<Block<'a>>,
    /// The number of the last line.
    pub(super) last: usize,
    /// Lines that were skipped because their type is unknown.
    pub(super) ignored: Vec<SdpError>,
}

impl<'a> Blocks<'a> {
    /// Cuts a text into lines, which end with CR LF or LF, and the lines into blocks. Blank lines at the end are
    /// skipped.
    pub(super) fn read(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > LEN_MAX {
            return Err(SdpError::new(1, SdpProblem::TooLong));
        }
        let mut blocks = Self { session: Block::default(), sections: Vec::new(), last: 1, ignored: Vec::new() };
        for (number, line) in (1..).zip(text.trim_ascii_end().split('\n')) {
            let line = read_line(number, line)?;
            blocks.last = number;
            if line.kind == 'm' {
                blocks.sections.push(Block(vec![line]));
            } else if LINE_TYPES.contains(line.kind) {
                blocks.sections.last_mut().unwrap_or(&mut blocks.session).0.push(line);
            } else {
                // RFC 8866 §5 leaves the choice between ignoring and rejecting.
                blocks.ignored.push(SdpError::new(number, SdpProblem::UnknownLine(line.kind)));
            }
        }
        blocks.check_version()?;
        Ok(blocks)
    }

    /// Checks that the version comes first. The other lines that RFC 8866 §5 demands of a session are not needed.
    fn check_version(&self) -> Result<(), SdpError> {
        let problem = match self.session.0.first() {
            Some(Line { number: 1, kind: 'v', value: "0" }) => return Ok(()),
            Some(Line { number: 1, kind: 'v', .. }) => SdpProblem::Version,
            _ => SdpProblem::MissingVersion,
        };
        Err(SdpError::new(1, problem))
    }
}

fn read_line(number: usize, line: &str) -> Result<Line<'_>, SdpError> {
    let mut characters = line.trim_end_matches(['\r', ' ', '\t']).chars();
    let (kind, equals, value) = (characters.next(), characters.next(), characters.as_str());
    match kind {
        Some(kind) if kind.is_ascii_lowercase() && equals == Some('=') && !value.contains(['\0', '\r']) => {
            Ok(Line { number, kind, value })
        }
        _ => Err(SdpError::new(number, SdpProblem::NotALine)),
    }
}
