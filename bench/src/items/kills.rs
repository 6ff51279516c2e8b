//! What clients see while the runtime process is killed again and again: who was under way in it gets an error, nobody else
//! notices more than a wait.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{AskError, Client};
use crate::items::hello::BODY;
use crate::machine::Memory;
use crate::platform::Platform;
use crate::processes;
use crate::promise::{KILLS_ANSWER, KILLS_CLOSED, KILLS_LOST, KILLS_MEMORY};
use crate::report::Section;
use crate::statistics::{median, percentile};
use crate::table::{Table, number, optional};

const WORKER: &str = "hello";
/// Between two kills.
const PERIOD: Duration = Duration::from_secs(1);
/// Kills after which memory is read for the first time.
const FIRST: usize = 5;
/// Connections that ask much, and those that ask little: how many, and how often each asks.
const BUSY: Kind = Kind { connections: 16, period: Duration::from_millis(8) };
const IDLE: Kind = Kind { connections: 16, period: Duration::from_millis(2500) };

#[derive(Clone, Copy)]
struct Kind {
    connections: usize,
    period: Duration,
}

/// The end of a runtime process came between these.
#[derive(Clone, Copy)]
struct Kill {
    before: Instant,
    after: Instant,
}

#[derive(Clone, Copy)]
struct Asked {
    begun: Instant,
    ended: Instant,
    good: bool,
}

/// What one connection's client saw.
#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    /// How often its connection was closed while nothing was under way on it.
    closed: usize,
}

/// What became of a kill.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Aftermath {
    /// Requests that were under way.
    under_way: usize,
    /// Of those, how many failed.
    failed: usize,
    /// Milliseconds until the first good answer to a request that began afterwards.
    answered: Option<f64>,
}

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "kills")?;
    let mut platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
    let process = platform.server.process();
    let script = std::fs::read_to_string(bench.source.join("workers/hello/index.js"))?;
    platform.deploy(WORKER, &script)?;
    let address = platform.server.address;
    if Client::connect(address)?.ask(&Platform::request(WORKER, "/"))? != BODY {
        return Err("the Worker answers something else".into());
    }
    if processes::runtime(process).is_none() {
        return Err("skep serve has no runtime process".into());
    }
    let number_of_kills = bench.plan.repetitions * 3;
    let done = AtomicBool::new(false);
    let (killed, seen) = std::thread::scope(|scope| {
        let clients: Vec<_> = [BUSY, IDLE]
            .into_iter()
            .flat_map(|kind| (0..kind.connections).map(move |number| (kind, number)))
            .map(|(kind, number)| {
                let done = &done;
                scope.spawn(move || ask_all_the_time(address, kind, number, done))
            })
            .collect();
        let killed = kill_all_the_time(process, number_of_kills);
        done.store(true, Ordering::Relaxed);
        let seen: Vec<Seen> = clients.into_iter().filter_map(|client| client.join().ok()).collect();
        (killed, seen)
    });
    let (kills, memory) = killed?;
    Ok(section(&kills, memory, &seen))
}

fn section(kills: &[Kill], memory: [u64; 2], seen: &[Seen]) -> Section {
    let asked: Vec<Asked> = seen.iter().flat_map(|seen| &seen.asked).copied().collect();
    let (aftermaths, lost) = judge(kills, &asked);
    let closed: usize = seen.iter().map(|seen| seen.closed).sum();
    let growth = (memory[1] as f64 - memory[0] as f64) / f64::from(1 << 20);
    let mut table = Table::new(&["", "median", "most", "in all"]);
    let mut row = |name: &str, values: Vec<f64>| {
        let sum = values.iter().sum::<f64>();
        let [middle, most] = [0.5, 1.0].map(|share| optional(percentile(values.iter().copied(), share)));
        table.row([name.to_owned(), middle, most, number(sum)]);
    };
    row("requests under way", aftermaths.iter().map(|kill| kill.under_way as f64).collect());
    row("of these failed", aftermaths.iter().map(|kill| kill.failed as f64).collect());
    let answered: Vec<f64> = aftermaths.iter().filter_map(|kill| kill.answered).collect();
    row("milliseconds until the next answer", answered.clone());
    let unanswered = aftermaths.len() - answered.len();
    let most = if unanswered > 0 { Some(f64::INFINITY) } else { percentile(answered.iter().copied(), 1.0) };
    let times = asked.iter().map(|asked| (asked.ended - asked.begun).as_secs_f64() * 1e3);
    let findings = [
        most.map(|most| KILLS_ANSWER.measured(most)),
        Some(KILLS_LOST.measured(lost as f64)),
        Some(KILLS_CLOSED.measured(closed as f64)),
        Some(KILLS_MEMORY.measured(growth)),
    ];
    Section {
        title: format!("kills: SIGKILL of the runtime process, {} times", kills.len()),
        method: format!(
            "`skep serve` on all cores. {} connections ask {:?} after their last request, {} others {:?} after it; the runtime process is \
             killed every {PERIOD:?}. Under way: sent before the kill and not wholly answered. The next answer: to a request that began \
             after the kill, on whichever connection. The platform's memory (PSS of the first process) after {FIRST} kills and at the end.",
            BUSY.connections, BUSY.period, IDLE.connections, IDLE.period,
        ),
        table,
        findings: findings.into_iter().flatten().collect(),
        notes: vec![format!(
            "{} requests, of which {} failed, {lost} without having been under way at a kill; {closed} connections were closed though \
             nothing was under way on them; {unanswered} kills had no answer after them. Median of a request: {} ms, most {} ms. Memory \
             {} MB after {FIRST} kills, {} MB at the end.",
            asked.len(),
            asked.iter().filter(|asked| !asked.good).count(),
            optional(median(times.clone())),
            optional(percentile(times, 1.0)),
            number(memory[0] as f64 / 1e6),
            number(memory[1] as f64 / 1e6),
        )],
    }
}

/// What became of each kill, and how many requests failed that were not under way at one.
fn judge(kills: &[Kill], asked: &[Asked]) -> (Vec<Aftermath>, usize) {
    let was_hit = |asked: &Asked, kill: &Kill| asked.begun <= kill.after && asked.ended >= kill.before;
    let aftermath = |kill: &Kill| {
        let hit = || asked.iter().filter(|asked| was_hit(asked, kill));
        let next = asked.iter().filter(|asked| asked.good && asked.begun > kill.after).map(|asked| asked.ended).min();
        Aftermath {
            under_way: hit().count(),
            failed: hit().filter(|asked| !asked.good).count(),
            answered: next.map(|ended| (ended - kill.before).as_secs_f64() * 1e3),
        }
    };
    let failed = asked.iter().filter(|asked| !asked.good);
    let lost = failed.filter(|asked| !kills.iter().any(|kill| was_hit(asked, kill))).count();
    (kills.iter().map(aftermath).collect(), lost)
}

/// Kills the runtime process once in each period. Gives when, and the memory of its parent after the first kills and after
/// the last.
fn kill_all_the_time(process: u32, number_of_kills: usize) -> Result<(Vec<Kill>, [u64; 2]), Box<dyn Error>> {
    let memory = || -> io::Result<u64> { Ok(Memory::of(process)?.proportional) };
    let mut kills = Vec::new();
    let mut first = None;
    let mut last = None;
    let begin = Instant::now();
    for number in 1..=number_of_kills {
        wait_until(begin + PERIOD * number as u32);
        if kills.len() == FIRST {
            first = Some(memory()?);
        }
        let runtime = processes::next_runtime(process, last)?;
        let before = Instant::now();
        processes::kill(runtime)?;
        kills.push(Kill { before, after: Instant::now() });
        last = Some(runtime);
    }
    wait_until(Instant::now() + PERIOD);
    processes::next_runtime(process, last)?;
    let end = memory()?;
    Ok((kills, [first.unwrap_or(end), end]))
}

fn wait_until(when: Instant) {
    std::thread::sleep(when.saturating_duration_since(Instant::now()));
}

/// One client: a request in each of its periods, on a connection that stays open for as long as the platform leaves it open.
fn ask_all_the_time(address: SocketAddr, kind: Kind, number: usize, done: &AtomicBool) -> Seen {
    let request = Platform::request(WORKER, "/");
    let mut seen = Seen::default();
    let mut client = None;
    // They do not all ask at once.
    let mut due = Instant::now() + kind.period * number as u32 / kind.connections as u32;
    loop {
        while Instant::now() < due && !done.load(Ordering::Relaxed) {
            wait_until(due.min(Instant::now() + BUSY.period));
        }
        if done.load(Ordering::Relaxed) {
            return seen;
        }
        if client.as_ref().is_some_and(|client: &Client| !client.is_open().unwrap_or(false)) {
            seen.closed += 1;
            client = None;
        }
        let begun = Instant::now();
        let answer = match &mut client {
            Some(client) => client.ask(&request),
            None => Client::connect(address).map_err(AskError::from).and_then(|new| client.insert(new).ask(&request)),
        };
        let good = answer.as_ref().is_ok_and(|answer| answer == BODY);
        seen.asked.push(Asked { begun, ended: Instant::now(), good });
        // Whoever says that a request is lost says as well that its connection is over.
        if !good {
            client = None;
        }
        due = begun.max(due) + kind.period;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::{Aftermath, Asked, BUSY, Kill, ask_all_the_time, judge};

    #[test]
    fn a_failure_belongs_to_the_kill_that_it_was_under_way_at() {
        let zero = Instant::now();
        let at = |milliseconds| zero + Duration::from_millis(milliseconds);
        let asked = |begun, ended, good| Asked { begun: at(begun), ended: at(ended), good };
        let kills = [Kill { before: at(100), after: at(102) }, Kill { before: at(200), after: at(202) }];
        let (aftermaths, lost) = judge(
            &kills,
            &[
                asked(90, 99, true),
                asked(95, 101, true),
                asked(99, 103, false),
                // It waited for the next process.
                asked(110, 140, true),
                asked(111, 150, false),
                asked(205, 206, false),
            ],
        );
        let first = Aftermath { under_way: 2, failed: 1, answered: Some(40.0) };
        let second = Aftermath { under_way: 0, failed: 0, answered: None };
        assert_eq!((aftermaths.as_slice(), lost), ([first, second].as_slice(), 2));
    }

    /// A server whose connections serve two requests: the third is answered in this way, then they close.
    fn run(third: &'static str) -> (usize, usize, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let good = "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"message\":\"hi\"}";
                for answer in [good, good, third] {
                    if answer == "close" || !stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let client = scope.spawn(|| ask_all_the_time(address, BUSY, 0, &done));
            std::thread::sleep(Duration::from_millis(200));
            done.store(true, Ordering::Relaxed);
            client.join().unwrap()
        });
        let failed = seen.asked.iter().filter(|asked| !asked.good).count();
        (seen.asked.len(), failed, seen.closed)
    }

    #[test]
    fn what_a_client_sees() {
        let (asked, failed, closed) = run("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"message\":\"hi\"}");
        assert!(asked > 9 && failed == 0 && closed > 2, "{asked} {failed} {closed}");
        let (asked, failed, closed) = run("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
        assert!(asked > 9 && failed > 2 && closed == 0, "{asked} {failed} {closed}");
        let (asked, failed, closed) = run("");
        assert!(asked > 9 && failed > 2 && closed == 0, "{asked} {failed} {closed}");
        let (asked, failed, closed) = run("close");
        assert!(asked > 9 && failed == 0 && closed > 2, "{asked} {failed} {closed}");
    }
}
