//! Requests per second.

use crate::Bench;
use crate::client::AskError;
use crate::contest::{Contest, Sample};
use crate::load::Load;
use crate::machine::Meter;
use crate::server::Server;
use crate::table::{Table, optional};

/// One turn of a server under load.
pub(crate) fn measure(
    bench: &Bench,
    server: &Server,
    connections: usize,
    request: &[u8],
    body: &[u8],
) -> Result<Sample, AskError> {
    let load = Load { address: server.address, connections, request, body };
    load.run(bench.plan.warm_up)?;
    let meter = Meter::start(server.process(), &bench.cores)?;
    let answers = load.run(bench.plan.turn)?;
    let spent = meter.stop()?;
    let value = answers as f64 / spent.wall.as_secs_f64();
    Ok(Sample { value, high: 0.0, work: answers as f64, spent })
}

/// All servers, with what each had to spend.
pub(crate) fn table(contest: &Contest, value: &str, processor: &str) -> Table {
    let columns = ["server", value, "least–most", processor, "skep is", "per CPU", "server", "load", "others"];
    let mut table = Table::new(&columns);
    for entry in &contest.entries {
        let cells = [entry.runtime.name().to_owned(), optional(entry.value()), entry.range(), entry.processor()];
        table.row(cells.into_iter().chain(contest.ratios(entry.runtime)).chain(entry.shares()));
    }
    table
}
