//! Room on the disk, and how much of it a file may take.

use std::path::Path;

use crate::Failure;

/// Share of a disk that stays free, and the most that this may be: the rest of the system needs room too.
const RESERVE_SHARE: u64 = 20;
const RESERVE_MAX: u64 = 1 << 30;

/// Checks that the disk of `directory` has room for `size` more bytes, beside a reserve: 5 % of it, or 1 GiB if that is
/// less. A disk that does not say how much room it has is trusted.
pub(crate) fn check_room(directory: &Path, size: u64) -> Result<(), Failure> {
    match fs4::statvfs(directory) {
        Ok(disk) if !has_room(size, disk.available_space(), disk.total_space()) => {
            Err("the disk has no room for the file: make room and try again".into())
        }
        _ => Ok(()),
    }
}

/// Reads a number of bytes, or of KiB, MiB, GiB or TiB: "1500", "2k", "500M", "2 GiB".
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let upper = text.trim().to_ascii_uppercase();
    let number = upper.strip_suffix("IB").unwrap_or(&upper);
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((number.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((number, 0));
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn has_room(size: u64, available: u64, total: u64) -> bool {
    let reserve = (total / RESERVE_SHARE).min(RESERVE_MAX);
    total == 0 || size.checked_add(reserve).is_some_and(|needed| needed <= available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_stays_free() {
        let gib = 1_u64 << 30;
        for (size, available, total, expected) in [
            (0, 5, 100, true),
            (1, 5, 100, false),
            (0, 4, 100, false),
            (95, 100, 100, true),
            (96, 100, 100, false),
            (9 * gib, 10 * gib, 1_000 * gib, true),
            (9 * gib + 1, 10 * gib, 1_000 * gib, false),
            (u64::MAX, u64::MAX, u64::MAX, false),
            // It does not say.
            (u64::MAX, 0, 0, true),
        ] {
            assert_eq!(has_room(size, available, total), expected, "{size} of {available} of {total}");
        }
    }

    #[test]
    fn no_disk_has_room_for_all_that_can_be_announced() {
        let failure = check_room(&std::env::temp_dir(), u64::MAX).unwrap_err().to_string();
        assert_eq!(failure, "the disk has no room for the file: make room and try again");
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1_500),
            ("2k", 2 << 10),
            ("500M", 500 << 20),
            ("2 GiB", 2 << 30),
            ("1T", 1 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "2X", "16777216T", "18446744073709551616", "iB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
