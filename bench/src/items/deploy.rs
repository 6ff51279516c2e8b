//! Deploys: how soon a new version answers, and what a client sees meanwhile.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{Client, get_from};
use crate::platform::Platform;
use crate::promise::{DEPLOY, DEPLOY_LOST, DEPLOY_WRONG};
use crate::report::Section;
use crate::statistics::{median, percentile};
use crate::table::{Table, optional};

/// The Worker that is deployed again and again.
const WORKER: &str = "deployed";
/// Connections that ask all the time.
const CONNECTIONS: usize = 8;
/// Between two requests of one of them: the load leaves the machine room to deploy.
const PAUSE: Duration = Duration::from_millis(2);
/// Under load, after so many deploys comes a rollback.
const ROLLBACK_EVERY: usize = 4;
/// How long the new answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client may be answered when: one entry for each change of what is live.
#[derive(Default)]
struct Changes(Mutex<Vec<Change>>);

struct Change {
    version: u64,
    /// When it was asked for: from then on it may be live.
    sent: Instant,
    /// When it was acknowledged: from then on nothing older is.
    acknowledged: Option<Instant>,
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Milliseconds of each answered request.
    times: Vec<f64>,
    lost: usize,
    /// Answers of a version that was not live while the request was under way.
    wrong: usize,
}

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "deploy")?;
    let mut platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
    let deploys = bench.plan.repetitions * 10;
    let mut version = 0;
    let quiet = quiet(&mut platform, deploys, &mut version)?;
    let (seen, busy) = under_load(&mut platform, deploys, &mut version)?;
    let rollbacks = deploys / ROLLBACK_EVERY;

    let mut table = Table::new(&["", "deploys", "p50 ms", "p99 ms", "most ms"]);
    let mut row = |name: &str, times: &[f64]| {
        let of = |share| optional(percentile(times.iter().copied(), share));
        table.row([name.to_owned(), times.len().to_string(), of(0.5), of(0.99), of(1.0)]);
    };
    row("from the acknowledgement to the first answer", &quiet.answered);
    row("from the upload to the acknowledgement", &quiet.acknowledged);
    row("the same under load", &busy);
    row("a request under load", &seen.times);
    let notes = vec![format!(
        "Under load: {deploys} deploys and {rollbacks} rollbacks, {} requests, {} lost, {} answers of a version that was not live. \
         Median of a request: {} ms.",
        seen.times.len(),
        seen.lost,
        seen.wrong,
        optional(median(seen.times.iter().copied())),
    )];
    let p99 = percentile(quiet.answered.iter().copied(), 0.99).map(|value| DEPLOY.measured(value));
    let clients = [DEPLOY_LOST.measured(seen.lost as f64), DEPLOY_WRONG.measured(seen.wrong as f64)];
    Ok(Section {
        title: format!("deploy: milliseconds until a new version answers, {deploys} deploys"),
        method: format!(
            "`skep serve` on all cores; uploads as wrangler sends them. Each version answers with its own number. First \
             without load. Then {CONNECTIONS} connections ask with {PAUSE:?} between two requests, while versions are \
             deployed, and after every {ROLLBACK_EVERY} deploys one is rolled back: a request that begins after an \
             acknowledgement is never answered by an older version."
        ),
        table,
        findings: p99.into_iter().chain(clients).collect(),
        notes,
    })
}

/// The script of a version.
fn script(version: u64) -> String {
    format!("export default {{ fetch: () => new Response(\"{version}\") }};")
}

/// Milliseconds of deploys that nothing disturbs.
#[derive(Default)]
struct Quiet {
    acknowledged: Vec<f64>,
    answered: Vec<f64>,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn quiet(platform: &mut Platform, deploys: usize, version: &mut u64) -> Result<Quiet, Box<dyn Error>> {
    let mut quiet = Quiet::default();
    let mut client = Client::connect(platform.server.address)?;
    let request = Platform::request(WORKER, "/");
    for _ in 0..deploys {
        *version += 1;
        let begun = Instant::now();
        platform.deploy(WORKER, &script(*version))?;
        quiet.acknowledged.push(milliseconds(begun));
        let acknowledged = Instant::now();
        while client.ask(&request)? != version.to_string().as_bytes() {
            if acknowledged.elapsed() > PATIENCE {
                return Err(format!("version {version} was not live in {PATIENCE:?}").into());
            }
        }
        quiet.answered.push(milliseconds(acknowledged));
    }
    Ok(quiet)
}

/// Deploys and rolls back while clients ask. Also gives milliseconds from each upload to its acknowledgement.
fn under_load(platform: &mut Platform, deploys: usize, version: &mut u64) -> Result<(Seen, Vec<f64>), Box<dyn Error>> {
    let changes = Changes::default();
    let change = |version: u64, make: &mut dyn FnMut() -> Result<String, Box<dyn Error>>| {
        changes.begin(version);
        let begun = Instant::now();
        let made = make()?;
        changes.acknowledged();
        Ok::<_, Box<dyn Error>>((made, milliseconds(begun)))
    };
    *version += 1;
    let mut before = (*version, change(*version, &mut || platform.deploy(WORKER, &script(*version)))?.0);
    let address = platform.server.address;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(|| ask_all_the_time(address, &changes, &done))).collect();
        let mut times = Vec::new();
        let mut made = Ok(());
        for number in 1..=deploys {
            *version += 1;
            let deployed = change(*version, &mut || platform.deploy(WORKER, &script(*version)));
            let rolled_back = deployed.and_then(|(id, time)| {
                times.push(time);
                if number % ROLLBACK_EVERY == 0 {
                    change(before.0, &mut || platform.roll_back(WORKER, &before.1).map(|()| String::new()))?;
                }
                before = (*version, id);
                Ok(())
            });
            if rolled_back.is_err() {
                made = rolled_back;
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in clients {
            let seen = client.join().map_err(|_| "a client failed")?;
            all.times.extend(seen.times);
            all.lost += seen.lost;
            all.wrong += seen.wrong;
        }
        made.map(|()| (all, times))
    })
}

/// One client of the load.
fn ask_all_the_time(address: SocketAddr, changes: &Changes, done: &AtomicBool) -> Seen {
    let request = get_from(&Platform::host(WORKER), "/");
    let mut seen = Seen::default();
    let mut client = None;
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = match &mut client {
            Some(client) => Client::ask(client, &request).ok(),
            None => Client::connect(address).ok().and_then(|new| client.insert(new).ask(&request).ok()),
        };
        match answer {
            Some(answer) => {
                seen.times.push(milliseconds(begun));
                let version = std::str::from_utf8(&answer).ok().and_then(|text| text.parse().ok());
                if !version.is_some_and(|version| changes.may_answer(version, begun)) {
                    seen.wrong += 1;
                }
            }
            None => {
                seen.lost += 1;
                client = None;
            }
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

impl Changes {
    fn begin(&self, version: u64) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        changes.push(Change { version, sent: Instant::now(), acknowledged: None });
    }

    fn acknowledged(&self) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = changes.last_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// Whether a version may answer a request that began then and is answered now.
    fn may_answer(&self, version: u64, begun: Instant) -> bool {
        let changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes.iter().rev() {
            if change.version == version && change.sent <= Instant::now() {
                return true;
            }
            // Who began after this was acknowledged gets it, or what came later.
            if change.acknowledged.is_some_and(|acknowledged| acknowledged <= begun) {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Changes;

    #[test]
    fn an_answer_is_of_a_version_that_was_live_meanwhile() {
        let changes = Changes::default();
        let before = Instant::now();
        changes.begin(1);
        assert!(changes.may_answer(1, before), "it may be live before it is acknowledged");
        changes.acknowledged();
        let between = Instant::now();
        changes.begin(2);
        assert!(changes.may_answer(1, between) && changes.may_answer(2, between));
        assert!(!changes.may_answer(3, before), "it was never live");
        changes.acknowledged();
        assert!(changes.may_answer(1, between), "the request began while it was live");
        let after = Instant::now();
        assert!(!changes.may_answer(1, after) && changes.may_answer(2, after));
    }
}
