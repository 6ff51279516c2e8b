//! 100,000 Workers that nobody visits: what they cost when the platform starts, and in memory.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use skep_store::{Actor, Annotations, Content, MasterKeys, ModuleKind, NewVersion, Store, StoredModule, Upload};

use crate::Bench;
use crate::client::{Client, get_from};
use crate::machine::Memory;
use crate::platform::Platform;
use crate::promise::{WORKERS_MEMORY, WORKERS_START};
use crate::report::Section;
use crate::statistics::median;
use crate::table::{Table, number};

const WORKERS: usize = 100_000;
/// Workers in a transaction.
const BATCH: usize = 1_000;
/// Starts of which the median counts.
const STARTS: usize = 3;
/// How long the platform is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "workers-100k")?;
    let (empty, empty_start, account) = {
        let (platform, start) = start(bench, &data)?;
        (memory(&platform)?, start, platform.account)
    };
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load(&data, &account))?;
    eprintln!("workers-100k: {WORKERS} Workers were made in {:?}", begun.elapsed());
    let mut starts = Vec::new();
    let mut memories = Vec::new();
    for _ in 0..STARTS {
        let (platform, seconds) = start(bench, &data)?;
        starts.push(seconds);
        memories.push(memory(&platform)?.proportional as f64);
        let last = get_from(&Platform::host(&name(WORKERS - 1)), "/");
        let body = Client::connect(platform.server.address)?.ask(&last)?;
        if body != b"hi" {
            return Err("a Worker gives another answer".into());
        }
    }
    let (seconds, full) = (median(starts).unwrap_or_default(), median(memories).unwrap_or_default());
    let each = (full - empty.proportional as f64) / WORKERS as f64;
    let mut table = Table::new(&["Workers", "seconds to ready", "PSS in MB", "bytes for each Worker"]);
    let megabytes = |bytes: f64| number(bytes / 1e6);
    table.row(["0".to_owned(), number(empty_start), megabytes(empty.proportional as f64), String::new()]);
    table.row([WORKERS.to_string(), number(seconds), megabytes(full), number(each)]);
    Ok(Section {
        title: format!("workers-100k: `skep serve` with {WORKERS} Workers that nobody visits"),
        method: format!(
            "Each is deployed, with a version of its own, and was written by the store's API. From the command to the \
             answer of `/readyz`, on all cores, median of {STARTS}. Memory after {SETTLE:?}; then one of the Workers is asked."
        ),
        table,
        findings: vec![WORKERS_START.measured(seconds), WORKERS_MEMORY.measured(each)],
        notes: Vec::new(),
    })
}

/// Starts the platform and waits until it is ready. Also gives how many seconds that took.
fn start(bench: &Bench, data: &Path) -> Result<(Platform, f64), Box<dyn Error>> {
    let begun = Instant::now();
    let platform = Platform::start(bench, data, &bench.cores.all, &[])?;
    Client::connect(platform.server.address)?.ask(&get_from("localhost", "/readyz"))?;
    Ok((platform, begun.elapsed().as_secs_f64()))
}

fn memory(platform: &Platform) -> Result<Memory, Box<dyn Error>> {
    std::thread::sleep(SETTLE);
    Ok(Memory::of_family(platform.server.process())?)
}

fn name(number: usize) -> String {
    format!("worker-{number}")
}

/// Deploys the Workers into a data directory that no platform uses.
async fn load(data: &Path, account: &str) -> Result<(), Box<dyn Error>> {
    let key = fs::read_to_string(data.join("master-key"))?;
    let store = Store::open(data, MasterKeys::parse([key.as_str()])?).await?;
    let hold = store.hold();
    let file = hold.write(b"export default { fetch: () => new Response(\"hi\") };")?;
    let module =
        StoredModule { name: "index.js".to_owned(), kind: ModuleKind::Script, file, source_map: None, code: None };
    let content = Content {
        main: module.name.clone(),
        service_worker: false,
        modules: vec![module],
        compatibility_date: Some("2026-10-06".to_owned()),
        compatibility_flags: Vec::new(),
        cpu_ms: None,
        handlers: vec!["fetch".to_owned()],
        startup_time_ms: 1,
        assets: None,
        other: serde_json::Map::new(),
    };
    let upload = |number| Upload {
        worker: name(number),
        version: NewVersion {
            content: content.clone(),
            bindings: Vec::new(),
            keep_bindings: Vec::new(),
            annotations: Annotations::default(),
        },
        deploy: Some(Annotations::default()),
    };
    let actor = Actor::platform(account, "bench");
    for first in (0..WORKERS).step_by(BATCH) {
        store.commit_versions(&actor, (first..first + BATCH).map(upload).collect()).await?;
    }
    Ok(())
}
