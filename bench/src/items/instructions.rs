//! What a request costs in instructions of the processor, which other programs on the machine do not change.
//!
//! Valgrind counts them: the counters of the processor, which `perf` reads, are missing in most virtual machines, and the two
//! do not count the same, as valgrind runs one thread at a time.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Bench;
use crate::client::Client;
use crate::items::hello::BODY;
use crate::platform::Platform;
use crate::processes::family;
use crate::promise::INSTRUCTIONS;
use crate::report::Section;
use crate::statistics::median;
use crate::table::{Table, number};

const WORKER: &str = "hello";
/// Requests before the first that counts: V8 compiles what runs often.
const WARM_UP: usize = 4000;
/// Requests between two counts.
const REQUESTS: usize = 2000;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "instructions")?;
    let counts = data.join("counts");
    fs::create_dir(&counts)?;
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(counts.join("callgrind.%p"));
    // V8 writes code while it runs: all code may change but that of files.
    let mut program = OsString::from("SKEP_RUNTIME_PROGRAM=");
    program.push(&bench.skep.path);
    let options =
        ["valgrind", "-q", "--tool=callgrind", "--smc-check=all-non-file", "--trace-children=yes"].map(OsString::from);
    let options: Vec<OsString> = std::iter::once(program).chain(options).chain([file]).collect();
    let core = bench.cores.server.to_string();
    // Valgrind does for the process what the sandbox forbids.
    let settings = ["--threads", "1", "--sandbox", "false"];
    let mut platform = Platform::start_inside(bench, "env", &options, &data, &core, &settings)?;
    platform.deploy(WORKER, &fs::read_to_string(bench.source.join("workers/hello/index.js"))?)?;
    let process = platform.server.process();
    let mut client = Client::connect(platform.server.address)?;
    ask(&mut client, WARM_UP)?;
    count(process, &counts)?;
    let mut table = Table::new(&["", "processes", "requests", "instructions", "for each"]);
    let mut each = Vec::new();
    for round in 0..bench.plan.rounds {
        ask(&mut client, REQUESTS)?;
        let (processes, instructions) = count(process, &counts)?;
        let of_one = instructions as f64 / REQUESTS as f64;
        eprintln!("instructions, round {}: {}", round + 1, number(of_one));
        let cells = [processes as f64, REQUESTS as f64, instructions as f64, of_one].map(number);
        table.row(std::iter::once(format!("round {}", round + 1)).chain(cells));
        each.push(of_one);
    }
    Ok(Section {
        title: "instructions: of the processor, in user space, for a request".to_owned(),
        method: format!(
            "The request and answer of hello through `skep serve` with one thread for requests, in valgrind (callgrind), one request after \
             the other on one connection; all processes of the platform are counted. After {WARM_UP} requests that do not count, \
             {REQUESTS} in each round; the median counts. It guards against a request that becomes dearer: the promise is what was \
             measured when it was written, and 5 %."
        ),
        table,
        findings: median(each).map(|value| INSTRUCTIONS.measured(value)).into_iter().collect(),
        notes: Vec::new(),
    })
}

fn ask(client: &mut Client, requests: usize) -> Result<(), Box<dyn Error>> {
    let request = Platform::request(WORKER, "/");
    for _ in 0..requests {
        if client.ask(&request)? != BODY {
            return Err("the answer is another one".into());
        }
    }
    Ok(())
}

/// How many processes the platform has, and how many instructions they ran since the last count: each writes a file, and
/// begins at 0 again.
fn count(process: u32, folder: &Path) -> Result<(usize, u64), Box<dyn Error>> {
    let processes = family(process);
    for process in &processes {
        let mut command = Command::new("vgdb");
        command.args([&format!("--pid={process}"), "dump"]);
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("vgdb does not run ({error})"))?;
        if !output.status.success() {
            return Err(format!("vgdb: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    let mut instructions = 0;
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        // Valgrind makes the file of a process's end when it begins; it is empty until then, and must be there.
        let text = fs::read_to_string(&path)?;
        if let Some(counted) = total(&text) {
            instructions += counted;
            fs::remove_file(path)?;
        }
    }
    if instructions == 0 {
        return Err(format!("callgrind wrote no counts to {}", folder.display()).into());
    }
    Ok((processes.len(), instructions))
}

/// The sum in a file of callgrind: <https://valgrind.org/docs/manual/cl-format.html>
fn total(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn totals() {
        assert_eq!(total(""), None);
        assert_eq!(total("events: Ir\nsummary: 12\n\nfn=(1)\n1 12\n\ntotals: 12\n"), Some(12));
    }
}
