//! What is billed while processes are killed, against what clients counted; and how soon a spend cap holds.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Bench;
use crate::client::{AskError, Client};
use crate::items::hello::BODY;
use crate::platform::{Account, Platform};
use crate::processes;
use crate::promise::{BILLED_MISSING, BILLED_TWICE, CAP_HOLDS, CAP_LIFTED};
use crate::report::Section;
use crate::table::{Table, number};

/// Workers, and accounts that they belong to.
const WORKERS: usize = 50;
const ACCOUNTS: usize = 3;
/// Kills of the supervisor, and kills of the runtime before each.
const SUPERVISORS: u64 = 5;
const RUNTIMES: u64 = 4;
/// Connections that ask one request after the other.
const CONNECTIONS: usize = 16;
/// What a process had counted in so much time before it was killed need not be billed.
const MAY_BE_MISSING: Duration = Duration::from_secs(1);
/// Between two looks at what was served.
const GLANCE: Duration = Duration::from_millis(10);

/// Requests each second while a spend cap is reached.
const CAP_RATE: f64 = 10_000.0;
/// A request costs a tenth of a cent: the cap is reached with the 30,000th.
const CAP_PLAN: &str =
    "name = \"bench\"\ntitle = \"Bench\"\nbase = \"0\"\n[requests]\nincluded = 0\nprice_per_million = \"1000\"\n";
const CAP: &str = "30.00";
const CAP_REQUESTS: usize = 30_000;

/// What clients saw together.
#[derive(Default)]
struct Seen {
    sent: AtomicU64,
    served: AtomicU64,
    done: AtomicBool,
}

impl Seen {
    fn served(&self) -> u64 {
        self.served.load(Ordering::Acquire)
    }
}

/// A Worker, and whose it is.
type Requests = Vec<Vec<u8>>;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let all = bench.plan.billed;
    let data = Platform::new_data(bench, "billing")?;
    let script = fs::read_to_string(bench.source.join("workers/hello/index.js"))?;
    let mut platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
    let requests = deploy(&mut platform, &script)?;
    let seen = Seen::default();
    let mut may_be_missing = 0;
    for phase in 1..=SUPERVISORS {
        seen.done.store(false, Ordering::Release);
        let until = all * phase / SUPERVISORS;
        may_be_missing += std::thread::scope(|scope| -> Result<u64, String> {
            for connection in 0..CONNECTIONS {
                let (seen, requests, address) = (&seen, &requests, platform.server.address);
                scope.spawn(move || ask_all_the_time(address, requests, connection, seen));
            }
            let missing = kill_until(&platform, &seen, until);
            seen.done.store(true, Ordering::Release);
            missing.map_err(|error| error.to_string())
        })?;
        eprintln!("billing, phase {phase} of {SUPERVISORS}: {} served", seen.served());
        drop(platform);
        platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
    }
    let account = platform.account.clone();
    let usage = platform.get(&format!("/skep/v1/accounts/{account}/usage/all?by=kind"))?;
    let billed = usage["result"]["total"]["requests"].as_u64().ok_or("the usage has no requests")?;
    let verification = platform.get(&format!("/skep/v1/accounts/{account}/usage/verification"))?;
    let damages = verification["result"]["damages"].as_array().map_or(usize::MAX, Vec::len);
    drop(platform);
    let (sent, served) = (seen.sent.load(Ordering::Acquire), seen.served());
    let missing = served.saturating_sub(billed);
    let twice = billed.saturating_sub(served) + damages as u64;
    let cap = cap(bench, &script)?;

    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: f64| table.row([name.to_owned(), number(value)]);
    row("requests sent", sent as f64);
    row("served, as clients counted", served as f64);
    row("billed", billed as f64);
    row("not billed", missing as f64);
    row("served in the last second before each kill", may_be_missing as f64);
    row("damages that `skep usage verify` finds", damages as f64);
    row("spend cap: requests per second until it is reached", cap.rate);
    row("spend cap: seconds from the request that reaches it to the last answer", cap.holds);
    row("spend cap: requests served beyond it", cap.beyond as f64);
    row("spend cap: milliseconds from raising it to the next answer", cap.lifted);
    Ok(Section {
        title: format!("billing: {all} requests to {WORKERS} Workers of {ACCOUNTS} accounts, processes killed"),
        method: format!(
            "`skep serve` on all cores; {CONNECTIONS} connections ask one request after the other. The runtime process is killed (SIGKILL) {} \
             times and the supervisor {SUPERVISORS} times, all in equal parts of the requests. Then the account of the first Worker is asked {CAP_RATE} \
             times a second, with a spend cap that the {CAP_REQUESTS}th request reaches.",
            SUPERVISORS * RUNTIMES
        ),
        table,
        findings: vec![
            BILLED_TWICE.measured(twice as f64),
            BILLED_MISSING.measured(missing as f64 / may_be_missing.max(1) as f64),
            CAP_HOLDS.measured(cap.holds),
            CAP_LIFTED.measured(cap.lifted),
        ],
        notes: Vec::new(),
    })
}

/// Deploys all Workers. Gives the request of each.
fn deploy(platform: &mut Platform, script: &str) -> Result<Requests, Box<dyn Error>> {
    let accounts: Vec<Account> =
        (1..ACCOUNTS).map(|number| platform.new_account(&format!("account-{number}"))).collect::<Result<_, _>>()?;
    let mut requests = Vec::new();
    for number in 0..WORKERS {
        let worker = format!("worker-{number}");
        requests.push(match number.checked_rem(ACCOUNTS).and_then(|account| account.checked_sub(1)) {
            Some(account) => {
                platform.deploy_for(&accounts[account], &worker, script, None)?;
                accounts[account].request(&worker, "/")
            }
            None => {
                platform.deploy(&worker, script)?;
                Platform::request(&worker, "/")
            }
        });
    }
    Ok(requests)
}

/// One client: a request to one Worker after the other, on a connection for as long as that is good.
fn ask_all_the_time(address: SocketAddr, requests: &Requests, first: usize, seen: &Seen) {
    let mut client = None;
    for request in requests.iter().cycle().skip(first) {
        if seen.done.load(Ordering::Acquire) {
            return;
        }
        seen.sent.fetch_add(1, Ordering::AcqRel);
        let answer = match &mut client {
            Some(client) => Client::ask(client, request),
            None => Client::connect(address).map_err(AskError::from).and_then(|new| client.insert(new).ask(request)),
        };
        if answer.is_ok_and(|answer| answer == BODY) {
            seen.served.fetch_add(1, Ordering::AcqRel);
        } else {
            client = None;
            std::thread::sleep(GLANCE);
        }
    }
}

/// Kills the runtime in equal parts of what is served until `until`, and then the supervisor. Gives what was served in the last second
/// before each.
fn kill_until(platform: &Platform, seen: &Seen, until: u64) -> Result<u64, Box<dyn Error>> {
    let (begin, process) = (seen.served(), platform.server.process());
    let mut history: VecDeque<(Instant, u64)> = VecDeque::new();
    let (mut missing, mut last) = (0, None);
    for part in 1..=RUNTIMES + 1 {
        let at = begin + (until - begin) * part / (RUNTIMES + 1);
        while seen.served() < at {
            let now = Instant::now();
            history.push_back((now, seen.served()));
            while history.front().is_some_and(|(then, _)| now - *then > MAY_BE_MISSING) {
                history.pop_front();
            }
            std::thread::sleep(GLANCE);
        }
        let victim = if part > RUNTIMES { process } else { processes::next_runtime(process, last)? };
        processes::kill(victim)?;
        last = Some(victim);
        missing += seen.served() - history.front().map_or(begin, |(_, served)| *served);
        history.clear();
    }
    Ok(missing)
}

/// How a spend cap held.
struct Cap {
    /// Answers in a second before it was reached.
    rate: f64,
    /// Seconds from the answer that reached it to the last one.
    holds: f64,
    /// Answers in that time.
    beyond: usize,
    /// Milliseconds from the call that raises it to the next answer.
    lifted: f64,
}

fn cap(bench: &Bench, script: &str) -> Result<Cap, Box<dyn Error>> {
    let data = Platform::new_data(bench, "billing-cap")?;
    let plans = data.join("plans");
    fs::create_dir(&plans)?;
    fs::write(plans.join("bench.toml"), CAP_PLAN)?;
    let plans = plans.to_str().ok_or("the folder's name is no text")?.to_owned();
    let mut platform = Platform::start(bench, &data, &bench.cores.all, &["--plans", &plans, "--plan", "bench"])?;
    platform.deploy("hello", script)?;
    let path = format!("/skep/v1/accounts/{}/billing", platform.account);
    let terms = |cap: &str| json!({ "cap": { "per_month": cap } }).to_string();
    platform.call("PUT", &path, "application/json", terms(CAP).as_bytes())?;
    let (address, done) = (platform.server.address, AtomicBool::new(false));
    let period = Duration::from_secs_f64(CONNECTIONS as f64 / CAP_RATE);
    let mut raised = None;
    let mut answers: Vec<Instant> = std::thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| ask_steadily(address, period, &done))).collect();
        // Well after the cap was reached, it is raised.
        let until = Instant::now() + Duration::from_secs_f64(CAP_REQUESTS as f64 / CAP_RATE) + 3 * MAY_BE_MISSING;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        raised = Some(Instant::now());
        let result = platform.call("PUT", &path, "application/json", terms("1000000").as_bytes());
        std::thread::sleep(MAY_BE_MISSING);
        done.store(true, Ordering::Release);
        let answers = clients.into_iter().flat_map(|client| client.join().unwrap_or_default()).collect();
        result?;
        Ok(answers)
    })?;
    answers.sort_unstable();
    let raised = raised.ok_or("the cap was not raised")?;
    let before = answers.partition_point(|answer| *answer < raised);
    let reached = answers.get(CAP_REQUESTS - 1).filter(|_| before >= CAP_REQUESTS);
    let reached = reached.ok_or_else(|| format!("only {before} requests were served before the cap was raised"))?;
    let next = answers.get(before).ok_or("nothing was served after the cap was raised")?;
    Ok(Cap {
        rate: CAP_REQUESTS as f64 / (*reached - answers[0]).as_secs_f64(),
        holds: (answers[before - 1] - *reached).as_secs_f64(),
        beyond: before - CAP_REQUESTS,
        lifted: (*next - raised).as_secs_f64() * 1e3,
    })
}

/// One client that asks in each period. Gives when its good answers came.
fn ask_steadily(address: SocketAddr, period: Duration, done: &AtomicBool) -> Vec<Instant> {
    let request = Platform::request("hello", "/");
    let (mut client, mut answers, mut due) = (None, Vec::new(), Instant::now());
    while !done.load(Ordering::Acquire) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += period;
        let answer = match &mut client {
            Some(client) => Client::ask(client, &request),
            None => Client::connect(address).map_err(AskError::from).and_then(|new| client.insert(new).ask(&request)),
        };
        match answer {
            Ok(answer) if answer == BODY => answers.push(Instant::now()),
            // Refused, on a connection that goes on.
            Err(AskError::Status(429, _)) => {}
            _ => client = None,
        }
    }
    answers
}

impl Platform {
    fn get(&mut self, path: &str) -> Result<Value, Box<dyn Error>> {
        self.call("GET", path, "application/json", b"")
    }
}
