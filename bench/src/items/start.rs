//! From the command to the first answer.

use std::error::Error;
use std::time::Instant;

use crate::Bench;
use crate::client::{Client, get};
use crate::contest::order;
use crate::items::hello::BODY;
use crate::promise::START;
use crate::report::Section;
use crate::server::{Program, Runtime};
use crate::statistics::{median, range};
use crate::table::{Table, number, optional};

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let programs = bench.contestants_and_floor();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); programs.len()];
    let mut notes = Vec::new();
    // The first round only brings the programs into memory.
    for round in 0..=bench.plan.repetitions {
        for index in order(programs.len(), round) {
            match first_answer(bench, programs[index]) {
                Ok(time) if round > 0 => times[index].push(time),
                Ok(_) => {}
                Err(error) if programs[index].runtime.is_peer() => notes.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        eprintln!("start, round {round} of {}", bench.plan.repetitions);
    }
    let medians: Vec<Option<f64>> = times.iter().map(|times| median(times.iter().copied())).collect();
    let mut table = Table::new(&["server", "ms", "least–most", "skep takes"]);
    for ((program, times), &median) in programs.iter().zip(&times).zip(&medians) {
        let range = range(times.iter().copied()).unwrap_or_default();
        let ratio = match (medians[0], median) {
            (Some(skep), Some(median)) if program.runtime != Runtime::Skep => format!("{} ×", number(skep / median)),
            _ => String::new(),
        };
        let range = format!("{}–{}", number(range.0), number(range.1));
        table.row([program.runtime.name().to_owned(), optional(median), range, ratio]);
    }
    Ok(Section {
        title: format!(
            "start: milliseconds from the command to the first answer, median of {}",
            bench.plan.repetitions
        ),
        method: "The Worker of hello, on all cores. `skep dev` also reads the configuration, bundles the project and \
                 watches its files; the peers are given a script."
            .to_owned(),
        table,
        findings: medians[0].map(|value| START.measured(value)).into_iter().collect(),
        notes,
    })
}

/// Starts a server, asks it once and stops it. Gives milliseconds.
fn first_answer(bench: &Bench, program: &Program) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let server = bench.start_on(program, "hello", &bench.source.join("workers/hello"), &bench.cores.all)?;
    let body = Client::connect(server.address)?.ask(&get("/"))?;
    let time = begun.elapsed();
    if body != BODY {
        return Err(format!("{} gives another answer", server.name).into());
    }
    Ok(time.as_secs_f64() * 1e3)
}
