//! The table: one row a measurement, one column a stack.

use std::fmt::Write;

use narrowboat_peers::Stack;

use crate::measure::Summary;

/// One field of the table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Measured several times.
    Measured {
        /// The result.
        summary: Summary,
        /// Decimals to show.
        decimals: usize,
        /// Something that the reader must know about it.
        note: Option<String>,
    },
    /// Anything else.
    Plain {
        /// The text to show.
        text: String,
        /// Something that the reader must know about it.
        note: Option<String>,
    },
    /// The error.
    Failed(String),
}

impl Cell {
    /// Sums measurements up.
    pub(crate) fn measured(values: impl IntoIterator<Item = f64>, decimals: usize, note: Option<String>) -> Self {
        match Summary::of(values) {
            Some(summary) => Self::Measured { summary, decimals, note },
            None => Self::Failed("nothing was measured".into()),
        }
    }

    /// Text as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::Plain { text: text.into(), note: None }
    }

    fn show(&self) -> (String, Option<&str>) {
        match self {
            Self::Measured { summary: Summary { median, spread }, decimals, note } => {
                let percent = spread * 100.0;
                (format!("{median:.decimals$} ±{percent:.0}%"), note.as_deref())
            }
            Self::Plain { text, note } => (text.clone(), note.as_deref()),
            Self::Failed(reason) => ("FAILED".into(), Some(reason)),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The quantity that was measured.
    pub(crate) title: String,
    /// Unit of every figure in the row.
    pub(crate) unit: &'static str,
    /// One for each stack of the table.
    pub(crate) cells: Vec<Cell>,
    /// This project's figure to that of [`MEASURE`], pair by pair of the same round. Less is better.
    pub(crate) ratio: Option<Summary>,
}

/// The stack that this project has to be at least as cheap as: the fastest of the others.
pub(crate) const MEASURE: Stack = Stack::RtcSctp;

/// All lines.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    stacks: Vec<Stack>,
    rows: Vec<Row>,
}

impl Table {
    /// A table with a column for each stack.
    pub(crate) fn new(stacks: &[Stack]) -> Self {
        Self { stacks: stacks.to_vec(), rows: Vec::new() }
    }

    /// Adds lines.
    pub(crate) fn extend(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    /// The table as text, notes below.
    pub(crate) fn render(&self) -> String {
        let mut notes: Vec<String> = Vec::new();
        let has_ratio = self.rows.iter().any(|row| row.ratio.is_some());
        let mut lines = vec![vec!["both ends on one core; median ± half the range".to_owned(), "unit".to_owned()]];
        lines[0].extend(self.stacks.iter().map(ToString::to_string));
        lines[0].extend(has_ratio.then(|| format!("ours : {MEASURE}")));
        for row in &self.rows {
            let mut line = vec![row.title.clone(), row.unit.to_owned()];
            for (stack, cell) in self.stacks.iter().zip(&row.cells) {
                let (mut text, note) = cell.show();
                if let Some(note) = note {
                    let note = format!("{stack}: {note}");
                    let number = notes.iter().position(|other| *other == note).unwrap_or_else(|| {
                        notes.push(note);
                        notes.len() - 1
                    });
                    let _ = write!(text, " [{}]", number + 1);
                }
                line.push(text);
            }
            if has_ratio {
                line.push(row.ratio.map_or_else(String::new, |Summary { median, spread }| {
                    format!("{median:.2} ±{:.0}%", spread * 100.0)
                }));
            }
            lines.push(line);
        }
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut out = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (column, (text, width)) in line.iter().zip(&widths).enumerate() {
                let _ = if column < 2 { write!(out, "{text:<width$}  ") } else { write!(out, "{text:>width$}  ") };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
            if number == 0 {
                let rule = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
                let _ = writeln!(out, "{}", "-".repeat(rule));
            }
        }
        for (number, note) in notes.iter().enumerate() {
            let _ = writeln!(out, "[{}] {note}", number + 1);
        }
        out
    }
}
