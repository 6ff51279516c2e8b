//! Memory before and after a load.

use std::error::Error;
use std::time::Duration;

use crate::Bench;
use crate::client::{Client, get};
use crate::items::hello::{BODY, CONNECTIONS};
use crate::load::Load;
use crate::machine::Memory;
use crate::report::Section;
use crate::server::Program;
use crate::table::{Table, number};

/// How long a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);
const MEGABYTE: f64 = 1e6;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let mut table = Table::new(&["server", "idle PSS", "idle RSS", "PSS after load", "RSS after load"]);
    let mut notes = Vec::new();
    for program in bench.contestants_and_floor() {
        match measure(bench, program) {
            Ok([idle, loaded]) => {
                eprintln!("memory: {} {}", program.runtime.name(), megabytes(idle.proportional));
                let bytes = [idle.proportional, idle.resident, loaded.proportional, loaded.resident];
                table.row(std::iter::once(program.runtime.name().to_owned()).chain(bytes.map(megabytes)));
            }
            Err(error) if program.runtime.is_peer() => notes.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(Section {
        title: "memory: megabytes of the process with the Worker of hello".to_owned(),
        method: format!(
            "Idle: after one answer and {SETTLE:?}. Then {:?} of load on {CONNECTIONS} connections and {SETTLE:?} of \
             rest. PSS counts a share of shared pages, RSS all of them.",
            bench.plan.turn
        ),
        table,
        findings: Vec::new(),
        notes,
    })
}

/// Memory before and after.
fn measure(bench: &Bench, program: &Program) -> Result<[Memory; 2], Box<dyn Error>> {
    let server = bench.start(program, "hello")?;
    let request = get("/");
    Client::connect(server.address)?.ask(&request)?;
    std::thread::sleep(SETTLE);
    let idle = Memory::of(server.process())?;
    Load { address: server.address, connections: CONNECTIONS, request: &request, body: BODY }.run(bench.plan.turn)?;
    std::thread::sleep(SETTLE);
    Ok([idle, Memory::of(server.process())?])
}

fn megabytes(bytes: u64) -> String {
    number(bytes as f64 / MEGABYTE)
}
