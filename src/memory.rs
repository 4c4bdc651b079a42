//! Size of the machine's memory.

use std::fs;
use std::sync::OnceLock;

/// The share of the machine's memory that the associations of an endpoint may use by default.
const SHARE: usize = 4;

/// Memory that an endpoint may use if the system does not report the size of the machine's memory.
const UNKNOWN_MACHINE: usize = 1 << 30;

/// Returns a quarter of the memory that this process may use, or 1 GiB where the system does not tell. The system is
/// asked once.
pub(crate) fn default_memory_max() -> usize {
    static SHARE_OF_MACHINE: OnceLock<usize> = OnceLock::new();
    *SHARE_OF_MACHINE.get_or_init(|| {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
        // A container may have less (cgroup version 2); "max" is no limit.
        let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
        [machine, container].into_iter().flatten().min().map_or(UNKNOWN_MACHINE, |bytes| bytes / SHARE)
    })
}

/// Returns the bytes that the line `MemTotal:` of `/proc/meminfo` reports.
fn total_of(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_and_anything_else_is_not() {
        let text = "MemTotal:       16384256 kB\nMemFree:         1 kB\n";
        assert_eq!(total_of(text), Some(16_384_256 << 10));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert_eq!(total_of("MemTotal: 1 MB\n"), None);
        assert!(default_memory_max() >= 16 << 20);
    }
}
