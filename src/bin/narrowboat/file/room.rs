//! Room on the disk.

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
}
