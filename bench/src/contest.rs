//! Servers that are measured in turns: once in each round, in each round in another order, so that what else the machine
//! does meets them all alike.

use std::time::Duration;

use crate::Bench;
use crate::client::AskError;
use crate::machine::Spent;
use crate::server::{Program, Runtime, Server, StartError};
use crate::statistics::{median, range};
use crate::table::{number, optional};

/// The share of the two cores that other programs may use before a reader is warned.
const MUCH: f64 = 0.1;

/// What was measured of one server.
pub(crate) struct Entry {
    pub(crate) runtime: Runtime,
    pub(crate) samples: Vec<Sample>,
}

/// One turn of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What counts: requests per second, megabytes per second, or the median latency in microseconds.
    pub(crate) value: f64,
    /// The 99th percentile of a latency in microseconds.
    pub(crate) high: f64,
    /// What was done in this turn: requests, or megabytes.
    pub(crate) work: f64,
    pub(crate) spent: Spent,
}

/// A server of a contest, and what it is asked.
pub(crate) struct Turn<'a> {
    pub(crate) server: Server,
    pub(crate) request: &'a [u8],
}

/// Starts these programs with a Worker, for turns in which each is asked the same. A peer that does not start is left out, with
/// a note.
///
/// # Errors
/// When Skep, or the floor, does not start.
pub(crate) fn start<'a>(
    bench: &Bench,
    programs: &[&Program],
    worker: &str,
    request: &'a [u8],
) -> Result<(Vec<Turn<'a>>, Vec<String>), StartError> {
    let (mut turns, mut notes) = (Vec::new(), Vec::new());
    for program in programs {
        match bench.start(program, worker) {
            Ok(server) => turns.push(Turn { server, request }),
            Err(error) if program.runtime.is_peer() => notes.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok((turns, notes))
}

/// What a contest found, and what there is to say about servers that could not take part.
pub(crate) struct Contest {
    /// The one that the others are compared with.
    ours: Runtime,
    pub(crate) entries: Vec<Entry>,
    pub(crate) notes: Vec<String>,
}

// === impl Contest ===

impl Contest {
    /// Starts these programs with a Worker and measures them for a benchmark of this name. A peer that fails is left out,
    /// with a note.
    ///
    /// # Errors
    /// When Skep, or the floor, cannot be measured.
    pub(crate) fn run(
        bench: &Bench,
        programs: &[&Program],
        name: &str,
        worker: &str,
        mut measure: impl FnMut(&Server) -> Result<Sample, AskError>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (turns, notes) = start(bench, programs, worker, b"")?;
        let mut contest = Self::of(bench, Runtime::Skep, name, &turns, |server, _| measure(server))?;
        contest.notes.splice(..0, notes);
        Ok(contest)
    }

    /// Measures servers that run. The first argument of `measure` is the server, the second what it is asked.
    ///
    /// # Errors
    /// When one that is no peer cannot be measured.
    pub(crate) fn of(
        bench: &Bench,
        ours: Runtime,
        name: &str,
        turns: &[Turn<'_>],
        mut measure: impl FnMut(&Server, &[u8]) -> Result<Sample, AskError>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut notes = Vec::new();
        let mut running: Vec<(&Turn<'_>, Vec<Sample>)> = turns.iter().map(|turn| (turn, Vec::new())).collect();
        for round in 0..bench.plan.rounds {
            for number in order(running.len(), round) {
                let (Turn { server, request }, samples) = &mut running[number];
                match measure(server, request) {
                    Ok(sample) => {
                        eprintln!("{name}, round {}: {} {}", round + 1, server.name, self::number(sample.value));
                        samples.push(sample);
                    }
                    Err(error) if server.runtime.is_peer() => notes.push(format!("{}: {error}", server.name)),
                    Err(error) => return Err(format!("{}: {error}", server.name).into()),
                }
            }
        }
        let entries =
            running.into_iter().map(|(turn, samples)| Entry { runtime: turn.server.runtime, samples }).collect();
        Ok(Self { ours, entries, notes })
    }

    /// The median of a server's values.
    pub(crate) fn value(&self, runtime: Runtime) -> Option<f64> {
        self.entries.iter().find(|entry| entry.runtime == runtime)?.value()
    }

    /// Skep's median over a server's.
    fn ratio(&self, server: Runtime, median: impl Fn(&Entry) -> Option<f64>) -> Option<f64> {
        let of = |runtime| median(self.entries.iter().find(|entry| entry.runtime == runtime)?);
        Some(of(self.ours)? / of(server)?)
    }

    /// Skep's median over a server's, of the values or of the work for processor time, whichever is less.
    pub(crate) fn least_ratio(&self, server: Runtime) -> Option<f64> {
        Some(self.ratio(server, Entry::value)?.min(self.ratio(server, Entry::efficiency)?))
    }

    /// Skep's medians over a server's, for a table.
    pub(crate) fn ratios(&self, server: Runtime) -> [String; 2] {
        let ratios = [self.ratio(server, Entry::value), self.ratio(server, Entry::efficiency)];
        let shown = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", number(ratio)));
        if server == self.ours { [const { String::new() }; 2] } else { ratios.map(shown) }
    }

    /// What a reader has to know about the numbers.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = self.notes.clone();
        let held_back = |entry: &&Entry| {
            entry.share(|spent| spent.own) > Some(0.95) && entry.share(|spent| spent.server) < Some(0.9)
        };
        let names = self.entries.iter().filter(held_back).map(|entry| entry.runtime.name());
        remarks.extend(names.map(|name| format!("{name} was held back by the load generator: it can do more.")));
        let others = self.entries.iter().filter_map(|entry| entry.share(|spent| spent.others / 2)).fold(0.0, f64::max);
        if others > MUCH {
            let percent = others * 100.0;
            remarks.push(format!(
                "Other programs used up to {percent:.0} % of the two cores: measure again when it is quiet."
            ));
        }
        remarks
    }
}

// === impl Entry ===

impl Entry {
    /// The median of the values.
    pub(crate) fn value(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.value))
    }

    /// The least and the most, for a table.
    pub(crate) fn range(&self) -> String {
        let range = range(self.samples.iter().map(|sample| sample.value));
        range.map_or_else(|| "–".to_owned(), |(least, most)| format!("{}–{}", number(least), number(most)))
    }

    /// The server's processor time in microseconds for a request or a megabyte.
    pub(crate) fn processor(&self) -> String {
        let micros = |sample: &Sample| sample.spent.server.as_secs_f64() * 1e6 / sample.work.max(1.0);
        optional(median(self.samples.iter().map(micros)))
    }

    /// The work done in a second of the server's processor time.
    fn efficiency(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.work / sample.spent.server.as_secs_f64().max(1e-3)))
    }

    /// What share of the time this was: all of a core is 1.
    fn share(&self, time: impl Fn(&Spent) -> Duration) -> Option<f64> {
        let share = |sample: &Sample| time(&sample.spent).as_secs_f64() / sample.spent.wall.as_secs_f64();
        median(self.samples.iter().map(share))
    }

    /// How busy the server was, the load generator, and all other programs on the two cores, for a table.
    pub(crate) fn shares(&self) -> [String; 3] {
        let percent =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0));
        [
            percent(self.share(|spent| spent.server)),
            percent(self.share(|spent| spent.own)),
            percent(self.share(|spent| spent.others / 2)),
        ]
    }
}

/// The order of a round's turns.
pub(crate) fn order(servers: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..servers).map(move |turn| (turn + round) % servers)
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn every_server_is_first_once() {
        let orders: Vec<Vec<usize>> = (0..3).map(|round| order(3, round).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(order(0, 1).count(), 0);
    }
}
