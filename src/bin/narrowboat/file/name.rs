//! Names of files that a peer has chosen.

use super::text::is_printable;

/// Longest name that most file systems allow, less the room that a number takes.
const NAME_SIZE_MAX: usize = 240;

/// Returns a name made of `name` that stays in its directory, does not hide, and is allowed on every system.
pub(crate) fn safe_name(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars() {
        let is_special = !is_printable(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
        let c = if is_special { '_' } else { c };
        if safe.len() + c.len_utf8() > NAME_SIZE_MAX {
            break;
        }
        safe.push(c);
    }
    // Windows drops these, and so makes another name of it.
    let kept = safe.trim_end_matches(['.', ' ']).len();
    safe.truncate(kept);
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")));
    if safe.is_empty() || safe.starts_with('.') || is_device {
        safe.insert(0, '_');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        for (name, safe) in [
            ("boat.jpg", "boat.jpg"),
            ("größe 1.tar.gz", "größe 1.tar.gz"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("C:\\boot.ini", "C__boot.ini"),
            ("..", "_"),
            ("", "_"),
            (".ssh", "_.ssh"),
            ("a\n\u{1b}[2J", "a__[2J"),
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
            ("nul.txt", "_nul.txt"),
            ("dots...", "dots"),
        ] {
            assert_eq!(safe_name(name), safe);
        }
        let long = safe_name(&"ü".repeat(65_535));
        assert_eq!(long.len(), NAME_SIZE_MAX);
    }
}
