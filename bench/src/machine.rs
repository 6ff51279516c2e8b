//! The machine that everything runs on: what it is, which cores there are, who uses them. Linux tells in `/proc`.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::processes::family;

/// Processor time is counted in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Where servers run, and where the load comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// All that this process may use, as `taskset` writes them.
    pub(crate) all: String,
    /// The one for servers.
    pub(crate) server: usize,
    /// The one for the load generator: another one, if there is another one.
    pub(crate) load: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn allowed() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0").trim();
        let mut cores = numbers(list).into_iter();
        let server = cores.next().unwrap_or_default();
        Ok(Self { all: list.to_owned(), server, load: cores.next().unwrap_or(server) })
    }

    /// Those that the load generator leaves to servers, as `taskset` writes them; all, if there is one only.
    pub(crate) fn beside_load(&self) -> String {
        let others: Vec<String> =
            numbers(&self.all).into_iter().filter(|core| *core != self.load).map(|core| core.to_string()).collect();
        if others.is_empty() { self.all.clone() } else { others.join(",") }
    }

    /// How many servers may use that are not kept to one.
    pub(crate) fn count(&self) -> usize {
        numbers(&self.all).len()
    }

    /// Keeps this process on the load's core.
    pub(crate) fn keep_to_load(&self) -> io::Result<()> {
        let mut command = Command::new("taskset");
        command.args(["--all-tasks", "--cpu-list", "--pid", &self.load.to_string(), &std::process::id().to_string()]);
        let status = command.stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("taskset failed ({status})"))) }
    }
}

/// The numbers of a list such as `0-2,5`.
fn numbers(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// What the machine is, for a reader who has another one: the processor, the cores, the memory, the system.
pub(crate) fn describe(cores: &Cores) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let count = cores.count();
    let kilobytes = read("/proc/meminfo").lines().find_map(|line| kilobytes(line, "MemTotal:")).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {count} cores, {} GiB of memory, Linux {}", kilobytes.div_ceil(1 << 20), kernel.trim())
}

/// The kilobytes of a line that begins with this key.
fn kilobytes(line: &str, key: &str) -> Option<u64> {
    line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A process's memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Pages in memory; those shared with other processes count in full.
    pub(crate) resident: u64,
    /// The same, with shared pages divided between those who share them.
    pub(crate) proportional: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let value = |key| text.lines().find_map(|line| kilobytes(line, key)).unwrap_or_default() * 1024;
        Ok(Self { resident: value("Rss:"), proportional: value("Pss:") })
    }

    /// Of a process and all that descend from it.
    pub(crate) fn of_family(process: u32) -> io::Result<Self> {
        let mut sum = Self { resident: 0, proportional: 0 };
        for member in family(process) {
            let memory = Self::of(member)?;
            sum.resident += memory.resident;
            sum.proportional += memory.proportional;
        }
        Ok(sum)
    }

    /// From now on [`Memory::most_resident`] counts anew.
    pub(crate) fn forget_most(process: u32) -> io::Result<()> {
        fs::write(format!("/proc/{process}/clear_refs"), "5")
    }

    /// The most bytes that were in memory at once.
    pub(crate) fn most_resident(process: u32) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(text.lines().find_map(|line| kilobytes(line, "VmHWM:")).unwrap_or_default() * 1024)
    }
}

/// Processor time while a server is measured.
pub(crate) struct Meter {
    process: u32,
    cores: Cores,
    begun: Instant,
    server: Duration,
    own: Duration,
    busy: Duration,
}

/// What was spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Time that passed.
    pub(crate) wall: Duration,
    /// Processor time of the server, all its threads and processes.
    pub(crate) server: Duration,
    /// Processor time of the load generator.
    pub(crate) own: Duration,
    /// Processor time of other programs on the two cores.
    pub(crate) others: Duration,
}

// === impl Meter ===

impl Meter {
    pub(crate) fn start(process: u32, cores: &Cores) -> io::Result<Self> {
        Ok(Self {
            process,
            cores: cores.clone(),
            begun: Instant::now(),
            server: server_time(process)?,
            own: processor_time(std::process::id())?,
            busy: busy_time(cores)?,
        })
    }

    pub(crate) fn stop(self) -> io::Result<Spent> {
        let wall = self.begun.elapsed();
        let server = server_time(self.process)?.saturating_sub(self.server);
        let own = processor_time(std::process::id())?.saturating_sub(self.own);
        let busy = busy_time(&self.cores)?.saturating_sub(self.busy);
        Ok(Spent { wall, server, own, others: busy.saturating_sub(server + own) })
    }
}

/// What a process and all that descend from it have used so far. Those that have ended do not count.
fn server_time(process: u32) -> io::Result<Duration> {
    let others = family(process).into_iter().skip(1).filter_map(|member| processor_time(member).ok());
    Ok(processor_time(process)? + others.sum::<Duration>())
}

/// User and system time of a process, all its threads: fields 14 and 15 of its `stat`.
fn processor_time(process: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(TICK * ticks_of_process(&stat))
}

fn ticks_of_process(stat: &str) -> u32 {
    // The second field is a name in brackets that may hold anything.
    let rest = stat.rsplit_once(')').map_or(stat, |(_, rest)| rest);
    rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum()
}

/// The time in which the server's and the load's core did something, for whomever.
fn busy_time(cores: &Cores) -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let mut numbers = vec![cores.server, cores.load];
    numbers.dedup();
    Ok(TICK * numbers.iter().map(|&core| ticks_of_core(&stat, core)).sum::<u32>())
}

fn ticks_of_core(stat: &str, core: usize) -> u32 {
    let name = format!("cpu{core} ");
    let fields = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let idle = |field: &usize| matches!(field, 3 | 4);
    let fields = fields.split_whitespace().take(8).enumerate().filter(|(field, _)| !idle(field));
    fields.filter_map(|(_, ticks)| ticks.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Cores, kilobytes, numbers, ticks_of_core, ticks_of_process};

    #[test]
    fn lists_of_cores() {
        assert_eq!(numbers("0"), [0]);
        assert_eq!(numbers("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(numbers(""), [0; 0]);
    }

    #[test]
    fn the_cores_beside_the_load() {
        let check = |all: &str, load, expect: &str| {
            assert_eq!(Cores { all: all.to_owned(), server: 0, load }.beside_load(), expect);
        };
        check("0-3", 1, "0,2,3");
        check("0,1", 1, "0");
        check("0", 0, "0");
    }

    #[test]
    fn what_proc_says() {
        assert_eq!(kilobytes("Pss:                5 kB", "Pss:"), Some(5));
        assert_eq!(kilobytes("Pss_Anon:           5 kB", "Pss:"), None);
        assert_eq!(ticks_of_process("1 (a b) c) S 2 3 4 5 6 7 8 9 10 11 120 34 0 0 20"), 154);
        let stat = "cpu  9 9 9 9\ncpu1 1 2 4 1000 1000 8 16 32 64 128\n";
        assert_eq!(ticks_of_core(stat, 1), 63);
        assert_eq!(ticks_of_core(stat, 0), 0);
    }
}
