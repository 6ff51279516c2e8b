//! The disk under `skep serve` takes nothing more, for a while: requests are answered, the operator is told, and when there is room everything goes on
//! by itself and has been counted.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::status::{listen, ready, told};
use crate::support::{Answer, PATIENCE, Person, Platform, body, command, fetch, free_port, get, try_fetch};

const WORKER: &str = "export default { fetch: () => new Response('hello') };";
/// Requests that are answered while the disk is full, at least, and for how long it is.
const MEANWHILE: u64 = 200;
const FULL: Duration = Duration::from_secs(3);
/// Between two requests.
const BETWEEN: Duration = Duration::from_millis(2);

/// How a disk becomes full.
enum Disk {
    /// A small file system in memory, in namespaces of the platform's own: a file fills it.
    Small { filler: PathBuf },
    /// The platform may write no file larger than nothing (`RLIMIT_FSIZE`). Needs no privilege: works wherever these tests do.
    Limited { process: u32 },
}

impl Disk {
    async fn fill(&self) {
        match self {
            Self::Small { filler } => {
                let mut file = fs::File::create(filler).expect("a file");
                while file.write_all(&[46; 4096]).is_ok() {}
            }
            Self::Limited { process } => limit(*process, "0:unlimited").await,
        }
    }

    async fn make_room(&self) {
        match self {
            Self::Small { filler } => fs::remove_file(filler).expect("removed"),
            Self::Limited { process } => limit(*process, "unlimited:unlimited").await,
        }
    }
}

async fn limit(process: u32, size: &str) {
    let process = process.to_string();
    let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={size}")]).status().await;
    assert!(limited.expect("util-linux is there").success());
}

/// A platform that is watched.
struct Watched {
    platform: Platform,
    alerts: mpsc::Receiver<String>,
    metrics: String,
}

impl Watched {
    /// Starts `skep serve` by a shell's script, which gets it as its arguments, and `data` as `$0`. `folder` says where the data directory is seen,
    /// for a process.
    async fn start(before: &[&str], script: &str, data: &Path, folder: impl FnOnce(u32) -> PathBuf) -> Self {
        let here = Arc::new(TempDir::new().expect("a folder"));
        let (settings, alerts) = listen().await;
        let config = here.path().join("skep.toml");
        fs::write(&config, format!("alert_window_seconds = 10\n{settings}")).expect("written");
        let metrics = format!("127.0.0.1:{}", free_port().await);
        let more = ["--config", config.to_str().expect("a path"), "--listen-metrics", &metrics];
        let skep = command(here.path(), &Platform::arguments(&data.join("data"), &more));
        let mut shell = Command::new(before[0]);
        shell.args(&before[1..]).args(["sh", "-c", script]).arg(data);
        shell.arg(skep.as_std().get_program()).args(skep.as_std().get_args());
        shell.current_dir(here.path()).kill_on_drop(true);
        let platform = Platform::spawn(here, shell, folder).await;
        platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
        Self { platform, alerts, metrics }
    }

    /// What a metric of the platform is.
    async fn metric(&self, name: &str) -> f64 {
        let told = fetch(&self.metrics, get("/metrics")).await.text;
        let of = |line: &str| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok();
        told.lines().filter_map(of).sum()
    }
}

/// Somebody who comes again and again, and always gets an answer.
struct Visitor {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Visitor {
    fn come(address: String) -> Self {
        let (answered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, told) = (Arc::clone(&answered), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BETWEEN);
            while !told.load(Ordering::Relaxed) {
                ticks.tick().await;
                let request = hyper::Request::get("/").header("host", "hello.dev.localhost");
                let answer = try_fetch(&address, request.body(body("")).expect("a request")).await;
                assert!(matches!(&answer, Some(Answer { text, .. }) if text == "hello"), "{answer:?}");
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { answered, stop, task }
    }

    /// Waits for so many answers more.
    async fn answers(&self, more: u64) {
        let (wanted, deadline) = (self.answered.load(Ordering::Relaxed) + more, Instant::now() + PATIENCE);
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(!self.task.is_finished(), "a request was not answered");
            assert!(Instant::now() < deadline, "requests take too long");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn leave(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("each request was answered");
        self.answered.load(Ordering::Relaxed)
    }
}

/// The disk is full for some seconds under load. Gives the platform as it is then, and how many requests it has answered.
async fn full_for_a_while(mut watched: Watched, disk: Disk) -> (Watched, u64) {
    let person = Person::of(&watched.platform).await;
    let folder = watched.platform.data.path().to_owned();
    let visitor = Visitor::come(watched.platform.address());
    visitor.answers(MEANWHILE).await;
    ready(&watched.metrics, 200).await;

    disk.fill().await;
    let begun = Instant::now();
    watched.platform.output.until("Usage cannot be written down: ").await;
    let said = watched.platform.output.line().await;
    assert!(said.contains("Requests go on") && said.contains("make room on the disk"), "{said}");
    let reason = ready(&watched.metrics, 503).await;
    assert!(reason.starts_with("store: "), "{reason}");
    let status = watched.platform.checked("ledger", false).await;
    assert_eq!(status["status"], "down", "{status}");
    let shown = person.run(&folder, &["status"]).await;
    assert!(shown.code == Some(1) && shown.output.contains("Usage cannot be written down: make room"), "{shown:?}");
    assert!(watched.metric("skep_meter_failing").await > 0.0);
    visitor.answers(MEANWHILE).await;
    // The process that counts goes on meanwhile, and so does what is told of Workers.
    let before = watched.metric("skep_requests_total{").await;
    visitor.answers(MEANWHILE).await;
    let deadline = Instant::now() + PATIENCE;
    while watched.metric("skep_requests_total{").await < before + MEANWHILE as f64 / 2.0 || begun.elapsed() < FULL {
        assert!(Instant::now() < deadline, "metrics stand still at {before}");
        visitor.answers(1).await;
    }

    disk.make_room().await;
    watched.platform.output.until("Usage is written down again: nothing was lost").await;
    ready(&watched.metrics, 200).await;
    watched.platform.checked("ledger", true).await;
    // It could not be told before.
    let alert = told(&mut watched.alerts, "ledger.failing").await;
    assert!(alert.contains("Usage cannot be written down"), "{alert}");
    told(&mut watched.alerts, "ledger.recovered").await;
    // Each event that was answered is billed, and no other one.
    let answered = visitor.leave().await;
    watched.platform.usage_of(answered, "worker").await;
    let path = format!("/skep/v1/accounts/{}/usage/verification", watched.platform.account);
    let verification = watched.platform.own(Method::GET, &path, "").await;
    assert_eq!(verification["result"]["clean"], true, "{verification}");
    assert!(person.does(&folder, &["usage", "verify"]).await.contains("is whole"));
    watched.platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    (watched, answered)
}

#[tokio::test]
async fn a_process_that_can_write_nothing() {
    let data = TempDir::new().expect("a folder");
    let folder = data.path().join("data");
    let script = "trap '' XFSZ; exec \"$@\"";
    let seen = folder.clone();
    let watched = Watched::start(&["env"], script, data.path(), |_| seen).await;
    let disk = Disk::Limited { process: watched.platform.id() };
    let (mut watched, answered) = full_for_a_while(watched, disk).await;
    assert_eq!(watched.platform.stop().await, Some(0));
    // It is all on the disk.
    let verified =
        crate::support::skep(data.path(), &["usage", "verify", "--data-dir", folder.to_str().expect("a path")]).await;
    assert!(verified.code == Some(0) && verified.output.contains("is whole"), "{verified:?}");
    let seen = folder.clone();
    let again = Watched::start(&["env"], script, data.path(), |_| seen).await;
    again.platform.usage_of(answered, "worker").await;
}

#[tokio::test]
async fn a_file_system_that_is_full() {
    let data = TempDir::new().expect("a folder");
    let folder = data.path().join("data");
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let mut may = Command::new(unshare[0]);
    may.args(&unshare[1..]).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(data.path());
    if !may.output().await.is_ok_and(|output| output.status.success()) {
        eprintln!("This system gives nobody a file system of his own: see `a_process_that_can_write_nothing`");
        return;
    }
    let seen = |process: u32| {
        Path::new("/proc").join(process.to_string()).join("root").join(folder.strip_prefix("/").expect("absolute"))
    };
    let script = "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$@\"";
    let watched = Watched::start(&unshare, script, data.path(), seen).await;
    let disk = Disk::Small { filler: seen(watched.platform.id()).join("filler") };
    full_for_a_while(watched, disk).await;
}
