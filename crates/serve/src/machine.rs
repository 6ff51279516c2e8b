//! What the machine has.

use std::fs;

/// The part of the machine's memory that isolates may have, if nobody says how much: three quarters.
const PART: (u64, u64) = (3, 4);
/// What is taken for the machine's memory where it does not say: 1 GiB.
const UNKNOWN: u64 = 1 << 30;

/// The memory that isolates may have, in bytes, if nobody says: a part of the machine's, or of what its control group may have.
pub(crate) fn most_memory() -> u64 {
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemTotal:"));
    let all = match (group, machine) {
        (Some(group), Some(machine)) => group.min(machine),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => UNKNOWN,
    };
    all / PART.1 * PART.0
}

/// A line of `proc(5)` that is in KiB, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn linux_says_what_there_is() {
        assert_eq!(super::kib("MemFree: 1 kB\nMemTotal:       2048 kB\n", "MemTotal:"), Some(2 << 20));
        assert!(super::most_memory() > 1 << 20);
    }
}
