//! Lines with their numbers, in the order that RFC 8866 §5 demands, cut into sections.

use super::LEN_MAX;
use super::error::{SdpError, SdpProblem};

/// The types of line that a session has before its first section, in order. `t`, `r` and `z` may take turns.
const SESSION_ORDER: &str = "vosiuepcbtrzka";

/// The types of line that a section has, in order.
const SECTION_ORDER: &str = "micbka";

/// One line, without its end.
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
    /// Where it begins, for what is missing from it.
    pub(super) fn number(&self) -> usize {
        self.0.first().map_or(1, |line| line.number)
    }

    /// The value of its first line: of `m=`, for a section.
    pub(super) fn head(&self) -> &'a str {
        self.0.first().map_or("", |line| line.value)
    }

    /// Each `a=` line with this name: its number and what follows the colon.
    pub(super) fn attributes(&self, name: &'static str) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        let attributes = self.0.iter().filter(|line| line.kind == 'a');
        attributes.filter_map(move |line| {
            let (found, value) = line.value.split_once(':').unwrap_or((line.value, ""));
            (found == name).then_some((line.number, value))
        })
    }

    /// The one `a=` line with this name, if there is one.
    pub(super) fn attribute(&self, name: &'static str) -> Result<Option<(usize, &'a str)>, SdpError> {
        let mut found = self.attributes(name);
        let first = found.next();
        found.next().map_or(Ok(first), |(number, _)| Err(SdpError::new(number, SdpProblem::Twice(name))))
    }
}

/// A whole description: the session's lines, and the sections'.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub(super) session: Block<'a>,
    pub(super) sections: Vec<Block<'a>>,
    /// The number of the last line.
    pub(super) last: usize,
}

impl<'a> Blocks<'a> {
    /// Cuts a text into lines, which end with CR LF or LF, and the lines into blocks.
    pub(super) fn read(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > LEN_MAX {
            return Err(SdpError::new(1, SdpProblem::TooLong));
        }
        let mut blocks = Self { session: Block::default(), sections: Vec::new(), last: 1 };
        // The last line's end is no line.
        let text = text.strip_suffix('\n').unwrap_or(text);
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = read_line(number, line.strip_suffix('\r').unwrap_or(line))?;
            blocks.last = number;
            if line.kind == 'm' {
                blocks.sections.push(Block(vec![line]));
                continue;
            }
            let (block, order) = match blocks.sections.last_mut() {
                Some(section) => (section, SECTION_ORDER),
                None => (&mut blocks.session, SESSION_ORDER),
            };
            let rank = rank(order, line.kind).ok_or_else(|| SdpError::new(number, SdpProblem::Order(line.kind)))?;
            if block.0.last().and_then(|before| self::rank(order, before.kind)).is_some_and(|before| before > rank) {
                return Err(SdpError::new(number, SdpProblem::Order(line.kind)));
            }
            block.0.push(line);
        }
        blocks.check_session()?;
        Ok(blocks)
    }

    /// Every session has these four, the first three of them at its beginning.
    fn check_session(&self) -> Result<(), SdpError> {
        let mut lines = self.session.0.iter();
        for kind in ['v', 'o', 's'] {
            match lines.next() {
                Some(line) if line.kind != kind => {
                    return Err(SdpError::new(line.number, SdpProblem::MissingLine(kind)));
                }
                Some(line) if kind == 'v' && line.value != "0" => {
                    return Err(SdpError::new(line.number, SdpProblem::Version));
                }
                Some(_) => {}
                None => return Err(SdpError::new(self.last, SdpProblem::MissingLine(kind))),
            }
        }
        if lines.any(|line| line.kind == 't') {
            return Ok(());
        }
        let number = self.sections.first().map_or(self.last, Block::number);
        Err(SdpError::new(number, SdpProblem::MissingLine('t')))
    }
}

fn read_line(number: usize, line: &str) -> Result<Line<'_>, SdpError> {
    let mut characters = line.chars();
    let (kind, equals, value) = (characters.next(), characters.next(), characters.as_str());
    match kind {
        Some(kind) if kind.is_ascii_lowercase() && equals == Some('=') && !value.contains(['\0', '\r']) => {
            Ok(Line { number, kind, value })
        }
        _ => Err(SdpError::new(number, SdpProblem::NotALine)),
    }
}

/// The place of a type of line in its block.
fn rank(order: &str, kind: char) -> Option<usize> {
    let times = order.find('t');
    let rank = order.find(kind)?;
    Some(if matches!(kind, 'r' | 'z') { times.unwrap_or(rank) } else { rank })
}
