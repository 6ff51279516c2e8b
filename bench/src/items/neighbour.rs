//! Neighbours: what one account's Worker feels while another account's Worker attacks, and whether attacks are told by name.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Bench;
use crate::client::{AskError, Client};
use crate::items::hello::CONNECTIONS;
use crate::load::Load;
use crate::platform::{Account, Platform};
use crate::promise::{
    NEIGHBOUR_LOG, NEIGHBOUR_LOOP, NEIGHBOUR_LOST, NEIGHBOUR_MEMORY, NEIGHBOUR_STREAMS, NEIGHBOUR_THROW,
    NEIGHBOUR_UNNAMED, Promise,
};
use crate::report::Section;
use crate::statistics::{median, percentile};
use crate::steady::{Steady, Taken};
use crate::table::{Table, number, optional};
use crate::tail::Tail;

/// The part of what one core can serve that the victim is asked for.
const PART: f64 = 1.0 / 3.0;
/// Attacks under way at once.
const AT_ONCE: usize = 4;
/// Attacks of each kind whose name is looked for.
const NAMED: usize = 100;
/// The share of a p99 by which the load generator itself may be late before a reader is warned.
const MUCH: f64 = 0.3;
/// The row of what busy cores cost without any attack.
const FLOOR: &str = "busy cores";
const VICTIM: &str = "victim";
const VICTIM_SCRIPT: &str = "export default { fetch(request) {
    const list = [];
    for (let number = 0; number < 20; number++) list.push({ number, name: `item ${number}`, even: number % 2 === 0 });
    return Response.json(list);
} };";
/// What an attacker answers at `/calm`: the way to it is warm then.
const CALM: &str = "/calm";

/// An attack, which is the name of its Worker.
struct Attack {
    name: &'static str,
    /// What its handler does.
    handler: &'static str,
    /// Its limit of CPU time in milliseconds, if it is not the default: so that loops come to an end.
    cpu_ms: Option<u32>,
    /// How it ends.
    end: End,
    promise: Promise,
}

/// How an attack ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is stopped: the client is told this error, and who watches this outcome.
    Stopped(u16, &'static str),
    /// It stays within the limits, and is answered.
    Answered,
}

const ATTACKS: [Attack; 5] = [
    Attack {
        name: "loop",
        handler: "while (true) {}",
        cpu_ms: Some(200),
        end: End::Stopped(1102, "exceededCpu"),
        promise: NEIGHBOUR_LOOP,
    },
    Attack {
        name: "memory",
        handler: "const all = []; while (true) all.push(new Array(100_000).fill(0));",
        cpu_ms: None,
        end: End::Stopped(1102, "exceededMemory"),
        promise: NEIGHBOUR_MEMORY,
    },
    Attack {
        name: "streams",
        handler: "kept = []; for (let made = 0; made < 5_000; made++) kept.push(new ReadableStream({ pull() {} }), new TransformStream());",
        cpu_ms: None,
        end: End::Answered,
        promise: NEIGHBOUR_STREAMS,
    },
    Attack {
        name: "throw",
        handler: "throw new Error('x'.repeat(1_000_000));",
        cpu_ms: None,
        end: End::Stopped(1101, "exception"),
        promise: NEIGHBOUR_THROW,
    },
    Attack {
        name: "log",
        handler: "for (let line = 0; line < 10_000; line++) console.log('line', line);",
        cpu_ms: None,
        end: End::Answered,
        promise: NEIGHBOUR_LOG,
    },
];

/// What became of attacks.
#[derive(Clone, Copy, Default)]
struct Attacked {
    /// They ended as they should.
    right: usize,
    /// They ended in another way.
    wrong: usize,
}

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "neighbour")?;
    let cores = bench.cores.beside_load();
    let mut platform = Platform::start(bench, &data, &cores, &[])?;
    let attacker = platform.new_account("attacker")?;
    platform.deploy(VICTIM, VICTIM_SCRIPT)?;
    for attack in &ATTACKS {
        platform.deploy_for(&attacker, attack.name, &attack.script(), attack.cpu_ms)?;
    }
    let address = platform.server.address;
    let request = Platform::request(VICTIM, "/");
    let body = Client::connect(address)?.ask(&request)?;
    let load = Load { address, connections: CONNECTIONS, request: &request, body: &body };
    load.run(bench.plan.turn)?;
    let most = load.run(bench.plan.turn)? as f64 / bench.plan.turn.as_secs_f64();
    let rate = (most / (cores.split(',').count().max(1) as f64) * PART).floor().max(1.0);
    let victim = Steady { address, connections: CONNECTIONS, request: &request, body: &body, rate };
    // The window of a full run is 5 s.
    let window = bench.plan.turn * 5 / 3;

    let mut table = Table::new(&[
        "attack",
        "p50 ms quiet",
        "attacked",
        "p99 ms quiet",
        "attacked",
        "ratio",
        "sent late ms",
        "failed",
        "attacks/s",
        "as expected",
        "named",
    ]);
    let (mut findings, mut notes, mut lost, mut unnamed) = (Vec::new(), Vec::new(), 0, 0);
    let floor = floor(bench, &cores, &victim, window)?;
    table.row([
        FLOOR.to_owned(),
        optional(middle(&floor.quiet)),
        optional(middle(&floor.attacked)),
        optional(high(&floor.quiet)),
        optional(high(&floor.attacked)),
        optional(high(&floor.quiet).zip(high(&floor.attacked)).map(|(quiet, busy)| busy / quiet)),
        optional(median(floor.attacked.iter().filter_map(|taken| p99(&taken.late)))),
        floor.attacked.iter().map(|taken| taken.failed).sum::<usize>().to_string(),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
    ]);
    for attack in &ATTACKS {
        let pairs = pairs(bench, attack, &attacker, &victim, window)?;
        let named = named(bench, &platform, &attacker, attack)?;
        let [quiet, attacked] = [&pairs.quiet, &pairs.attacked].map(|windows| high(windows));
        let ratio = quiet.zip(attacked).map(|(quiet, attacked)| attacked / quiet);
        findings.extend(ratio.map(|ratio| attack.promise.measured(ratio)));
        let late = median(pairs.quiet.iter().chain(&pairs.attacked).filter_map(|taken| p99(&taken.late)));
        if late.zip(quiet).is_some_and(|(late, quiet)| late > quiet * MUCH) {
            notes.push(format!(
                "{}: other programs had the load generator's core, the latencies are its own. Measure again when it is quiet.",
                attack.name
            ));
        }
        let failed: usize = pairs.quiet.iter().chain(&pairs.attacked).map(|taken| taken.failed).sum();
        lost += failed;
        unnamed += named.map_or(0, |named| NAMED - named);
        let Attacked { right, wrong } = pairs.attacks;
        let seconds = window.as_secs_f64() * pairs.attacked.len() as f64;
        table.row([
            attack.name.to_owned(),
            optional(middle(&pairs.quiet)),
            optional(middle(&pairs.attacked)),
            optional(quiet),
            optional(attacked),
            optional(ratio),
            optional(late),
            failed.to_string(),
            number((right + wrong) as f64 / seconds),
            format!("{right} of {}", right + wrong),
            named.map_or_else(|| "–".to_owned(), |named| format!("{named} of {NAMED}")),
        ]);
    }
    findings.extend([NEIGHBOUR_LOST.measured(lost as f64), NEIGHBOUR_UNNAMED.measured(unnamed as f64)]);
    Ok(Section {
        title: format!(
            "neighbour: a Worker's latency while another account's Worker attacks, {rate} requests per second"
        ),
        method: format!(
            "`skep serve` on all cores but the load's. One account's Worker answers with JSON of 20 objects and is asked at a third of what one \
             core served of it ({} requests per second), each request when it is due (open loop). Windows of {window:?} without and with an \
             attack take turns, {} of each; the attack is another account's Worker, {AT_ONCE} requests at once, all the time. The ratio is \
             that of the medians of the windows' p99. *Named*: of {NAMED} attacks, one after the other, those of which the client was \
             told the error's number and `skep tail` the outcome. *{FLOOR}*: instead of an attack, a program of the lowest priority (`SCHED_IDLE`) \
             that has the cores as long as nobody else wants them; what that does to a request is the machine's doing. *Sent late*: p99 of what the load generator itself was late by.",
            number(most),
            bench.plan.rounds,
        ),
        table,
        findings,
        notes,
    })
}

/// The median of the windows' medians.
fn middle(windows: &[Taken]) -> Option<f64> {
    median(windows.iter().filter_map(|taken| median(taken.times.iter().copied())))
}

/// The median of the windows' 99th percentiles.
fn high(windows: &[Taken]) -> Option<f64> {
    median(windows.iter().filter_map(|taken| p99(&taken.times)))
}

/// What the victim's windows and the attacks were.
#[derive(Default)]
struct Pairs {
    quiet: Vec<Taken>,
    attacked: Vec<Taken>,
    attacks: Attacked,
}

/// Windows without and with an attack.
fn pairs(
    bench: &Bench,
    attack: &Attack,
    attacker: &Account,
    victim: &Steady<'_>,
    window: Duration,
) -> Result<Pairs, Box<dyn Error>> {
    let request = attacker.request(attack.name, "/");
    in_turns(bench, attack.name, victim, window, || {
        let done = AtomicBool::new(false);
        let (taken, attacks) = std::thread::scope(|scope| {
            let attacking: Vec<_> = (0..AT_ONCE)
                .map(|_| scope.spawn(|| attack_until(victim.address, &request, attack.end, &done)))
                .collect();
            let taken = victim.run(window);
            done.store(true, Ordering::Relaxed);
            let attacks: io::Result<Vec<Attacked>> =
                attacking.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Ok(Attacked::default()))).collect();
            (taken, attacks)
        });
        let mut all = Attacked::default();
        for Attacked { right, wrong } in attacks? {
            all.right += right;
            all.wrong += wrong;
        }
        Ok((taken?, all))
    })
}

/// Windows without an attack, and with a program of the lowest priority that has the servers' cores as long as nobody else wants them.
/// Nobody can do better than that while the cores are busy: what it costs is the machine's.
fn floor(bench: &Bench, cores: &str, victim: &Steady<'_>, window: Duration) -> Result<Pairs, Box<dyn Error>> {
    in_turns(bench, FLOOR, victim, window, || {
        let seconds = (window.as_secs() + 1).to_string();
        let mut busy = Command::new("taskset")
            .args(["--cpu-list", cores, "chrt", "--idle", "0", "timeout", &seconds, "sh", "-c", "while :; do :; done"])
            .spawn()?;
        let taken = victim.run(window);
        busy.wait()?;
        Ok((taken?, Attacked::default()))
    })
}

/// Windows that are quiet and windows that are not, in turns.
fn in_turns(
    bench: &Bench,
    name: &str,
    victim: &Steady<'_>,
    window: Duration,
    disturbed: impl Fn() -> Result<(Taken, Attacked), Box<dyn Error>>,
) -> Result<Pairs, Box<dyn Error>> {
    let mut pairs = Pairs::default();
    victim.run(bench.plan.warm_up)?;
    for round in 0..bench.plan.rounds {
        pairs.quiet.push(victim.run(window)?);
        let (taken, Attacked { right, wrong }) = disturbed()?;
        pairs.attacked.push(taken);
        pairs.attacks.right += right;
        pairs.attacks.wrong += wrong;
        let shown =
            [&pairs.quiet, &pairs.attacked].map(|windows| optional(windows.last().and_then(|taken| p99(&taken.times))));
        eprintln!("neighbour, {name}, round {}: p99 {} ms, attacked {} ms", round + 1, shown[0], shown[1]);
    }
    Ok(pairs)
}

fn p99(times: &[f64]) -> Option<f64> {
    percentile(times.iter().copied(), 0.99)
}

/// Attacks again and again, until it is told to stop.
fn attack_until(address: SocketAddr, request: &[u8], end: End, done: &AtomicBool) -> io::Result<Attacked> {
    let mut client = Client::connect(address)?;
    let mut attacked = Attacked::default();
    while !done.load(Ordering::Relaxed) {
        let answer = client.ask(request).map(|_| ());
        if end.is(&answer) {
            attacked.right += 1;
        } else {
            attacked.wrong += 1;
            if attacked.wrong == 1 {
                eprintln!("neighbour: an attack ended in another way: {answer:?}");
            }
        }
        if matches!(answer, Err(AskError::Connection(_) | AskError::Response(_))) {
            client = Client::connect(address)?;
        }
    }
    Ok(attacked)
}

/// Of [`NAMED`] attacks, how many both client and tail were told the name of. None of attacks that are not stopped.
fn named(
    bench: &Bench,
    platform: &Platform,
    attacker: &Account,
    attack: &Attack,
) -> Result<Option<usize>, Box<dyn Error>> {
    let End::Stopped(_, outcome) = attack.end else { return Ok(None) };
    let mut client = Client::connect(platform.server.address)?;
    let tail = Tail::start(bench, platform, attacker, attack.name)?;
    let calm = attacker.request(attack.name, CALM);
    let ask_calmly = || {
        client.ask(&calm)?;
        Ok(())
    };
    if tail.wait(1, "ok", ask_calmly)? == 0 {
        return Err(
            format!("skep tail {} shows nothing: see its log in {}", attack.name, bench.output.display()).into()
        );
    }
    let mut told = 0;
    for _ in 0..NAMED {
        told += usize::from(attack.end.is(&client.ask(&attacker.request(attack.name, "/")).map(|_| ())));
    }
    let seen = tail.wait(NAMED, outcome, || Ok(()))?;
    eprintln!("neighbour, {}: the client was told of {told}, the tail of {seen} of {NAMED}", attack.name);
    Ok(Some(told.min(seen)))
}

// === impl Attack ===

impl Attack {
    fn script(&self) -> String {
        format!(
            "let kept = [];\nexport default {{ fetch(request) {{\n  if (request.url.endsWith('{CALM}')) return new Response('calm');\n  \
             {}\n  return new Response('done');\n}} }};\n",
            self.handler
        )
    }
}

// === impl End ===

impl End {
    /// Whether an answer says so.
    fn is(self, answer: &Result<(), AskError>) -> bool {
        match (self, answer) {
            (Self::Stopped(code, _), Err(AskError::Status(_, page))) => page.contains(&format!("Error {code}:")),
            (Self::Answered, Ok(())) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::End;
    use crate::client::AskError;

    #[test]
    fn an_attack_ends_as_it_should() {
        let page = |code| Err(AskError::Status(503, format!("<title>Error {code}: Worker exceeded</title>")));
        let stopped = End::Stopped(1102, "exceededCpu");
        assert!(stopped.is(&page(1102)) && !stopped.is(&page(1101)) && !stopped.is(&Ok(())));
        assert!(End::Answered.is(&Ok(())) && !End::Answered.is(&page(1102)));
    }
}
