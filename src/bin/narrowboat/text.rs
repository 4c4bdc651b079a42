//! Text that is fit to be printed.
//!
//! Peers choose file names, labels and reasons. A terminal acts on the control characters in them, and bidirectional
//! controls make a text look like another one.

/// Longest text that is printed as one, in characters.
const CHARS_MAX: usize = 2_000;

/// True if a terminal shows `c` and does nothing else with it.
pub(crate) fn is_printable(c: char) -> bool {
    // C0, DEL and C1; line and paragraph separators; what changes the direction of the text around it (UAX #9 §2); the
    // deprecated format characters.
    !(c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'))
}

/// Returns `text` as one line: each character that is not printable becomes U+FFFD, and a text of more than 2,000
/// characters is cut.
pub(crate) fn printable(text: &str) -> String {
    let mut chars = text.chars();
    let mut line: String =
        chars.by_ref().take(CHARS_MAX).map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l02_what_a_terminal_acts_on_is_replaced() {
        let harmful = ('\0'..='\u{1f}')
            .chain('\u{7f}'..='\u{9f}')
            .chain("\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".chars())
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}');
        for c in harmful {
            assert_eq!(printable(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
    }

    #[test]
    fn every_language_stays_as_it_is() {
        for text in ["größe 日本語 🚤", "שלום", "مرحبا", "👩\u{200d}🚀", "क्\u{200d}ष", ""] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(printable(&"ü".repeat(2_000)), "ü".repeat(2_000));
        assert_eq!(printable(&"ü".repeat(1_000_000)), "ü".repeat(2_000) + "…");
    }
}
