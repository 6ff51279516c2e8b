//! What this process uses of the machine.

use std::fs;

/// The memory that this process has, in bytes. Zero where the system does not say.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // proc_pid_status(5): in KiB.
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn linux_says_what_there_is() {
        assert!(super::memory() > 1 << 20);
    }
}
