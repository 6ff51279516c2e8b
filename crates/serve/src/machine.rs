//! What the machine has.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// Descriptors that a process may have where nobody says how many: what Linux allows if it is not told otherwise (`fs.nr_open`).
const DESCRIPTORS: u64 = 1 << 20;

/// Lets this process, and those that it starts, have as many descriptors as it may: each connection takes one in both. A refusal leaves what
/// there was.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < most) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    }
}

/// A line of `proc(5)` that is in KiB, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_many_descriptors_as_there_may_be() {
        super::raise_descriptors();
        let limit = super::getrlimit(super::Resource::Nofile);
        assert!(
            limit.current.is_none_or(|current| current >= limit.maximum.unwrap_or(super::DESCRIPTORS)),
            "{limit:?}"
        );
    }

    #[test]
    fn linux_says_what_there_is() {
        assert_eq!(super::kib("MemFree: 1 kB\nMemTotal:       2048 kB\n", "MemTotal:"), Some(2 << 20));
        assert!(super::most_memory() > 1 << 20);
    }
}
