//! Processes and their children: a server may be more than one. Linux tells in `/proc`.

use std::fs;

/// The children of a process: `/proc/PID/task/TID/children` of each of its threads (proc_tid_children(5)). None of a process
/// that has ended.
fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// A process and all that descend from it.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(children(member));
        next += 1;
    }
    family
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{family, numbers};

    #[test]
    fn lists_of_processes() {
        assert_eq!(numbers("12 34 \n"), [12, 34]);
        assert_eq!(numbers(""), [0; 0]);
    }

    #[test]
    fn a_child_is_of_the_family() {
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("1234.5").spawn().unwrap();
        assert!(family(own).starts_with(&[own]) && family(own).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
