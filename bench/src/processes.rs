//! Processes and their children: a server may be more than one. Linux tells in `/proc`.

use std::error::Error;
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the command line of the process that runs Workers has in it.
const RUNTIME: &str = "runtime";
/// How long there may be none.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for it.
const GLANCE: Duration = Duration::from_millis(1);

/// The children of a process: `/proc/PID/task/TID/children` of each of its threads (proc_tid_children(5)). None of a process
/// that has ended.
pub(crate) fn children(process: u32) -> Vec<u32> {
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

/// The child that has a word in its command line.
pub(crate) fn child_with(process: u32, word: &str) -> Option<u32> {
    children(process).into_iter().find(|child| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| String::from_utf8_lossy(argument).contains(word))
    })
}

/// Ends a process at once, with SIGKILL. It must be one that this program's own servers started.
pub(crate) fn kill(process: u32) -> io::Result<()> {
    // The shell's own `kill`: there may be no program of that name.
    let mut command = Command::new("sh");
    command.args(["-c", "kill -KILL \"$0\"", &process.to_string()]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("process {process} cannot be killed"))) }
}

/// The process of a platform that runs Workers.
pub(crate) fn runtime(process: u32) -> Option<u32> {
    child_with(process, RUNTIME)
}

/// The runtime process that is not the last one: waits until there is one.
pub(crate) fn next_runtime(process: u32, last: Option<u32>) -> Result<u32, Box<dyn Error>> {
    let begun = Instant::now();
    loop {
        match runtime(process) {
            Some(runtime) if Some(runtime) != last => return Ok(runtime),
            _ if begun.elapsed() > PATIENCE => {
                return Err(format!("there was no new runtime process for {PATIENCE:?}").into());
            }
            _ => std::thread::sleep(GLANCE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{child_with, children, family, kill, numbers};

    #[test]
    fn lists_of_processes() {
        assert_eq!(numbers("12 34 \n"), [12, 34]);
        assert_eq!(numbers(""), [0; 0]);
    }

    #[test]
    fn a_child_is_found_and_killed() {
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("1234.5").spawn().unwrap();
        assert!(children(own).contains(&child.id()));
        assert!(family(own).starts_with(&[own]) && family(own).contains(&child.id()));
        assert_eq!(child_with(own, "no such word"), None);
        // The child is still this program until it has become the other one.
        while child_with(own, "1234.5").is_none() {}
        assert_eq!(child_with(own, "1234.5"), Some(child.id()));
        kill(child.id()).unwrap();
        assert!(!child.wait().unwrap().success());
        assert_eq!(children(child.id()), [0; 0]);
    }
}
