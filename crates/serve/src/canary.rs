//! The canary: a tiny Worker of the platform's own, which answers as long as requests can be answered at all.
//!
//! It goes the way of every request: over the link to a runtime, its dispatch, the pool, an isolate, and back. It is in no database and belongs to no
//! account, so that it is in no list and on no bill and nobody can watch it; it has no address, so that no client can name it. Runtimes are told of it
//! beside the Workers that there are ([`change`]), and get its version from here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::Uri;
use skep_exchange::{Body, Request};
use skep_link::{ForVersion, wire};
use skep_store::{
    Annotations, Change, Content, FileHash, Hold, LiveWorker, ModuleKind, Observability, Share, Store, StoreResult,
    StoredModule, VersionRecord,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::runtimes::Runtimes;

/// Its name. No account has it.
const NAME: &str = "canary";
const WORKER: Uuid = Uuid::from_u128(0x5ce9_0000_0000_8000_8000_0000_0000_0001);
const VERSION: Uuid = Uuid::from_u128(0x5ce9_0000_0000_8000_8000_0000_0000_0002);
/// Its code: it answers what it is asked, so that no answer is one of another time.
const SOURCE: &str = "export default { fetch: (request) => new Response(new URL(request.url).search.slice(1)) };";
const MODULE: &str = "canary.js";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1024;

/// The canary.
pub(crate) struct Canary {
    store: Store,
    /// Keeps its file, to which no row refers.
    hold: Hold,
    file: OnceCell<FileHash>,
}

/// What runtimes are told of it.
pub(crate) fn change() -> Change {
    Change::Worker(Box::new(LiveWorker {
        account_id: String::new(),
        subdomain: String::new(),
        id: WORKER,
        name: NAME.to_owned(),
        workers_dev: false,
        previews: false,
        deployment: vec![Share { version_id: VERSION, percentage: 100.0 }],
        routes: Vec::new(),
        domains: Vec::new(),
        crons: Vec::new(),
        observability: Observability::default(),
    }))
}

impl Canary {
    pub(crate) fn new(store: Store) -> Self {
        Self { hold: store.hold(), store, file: OnceCell::new() }
    }

    async fn file(&self) -> StoreResult<&FileHash> {
        let write = || self.store.with_hold(&self.hold, |hold| hold.write(SOURCE.as_bytes()));
        self.file.get_or_try_init(write).await
    }

    /// Its version, if it is the one that is asked for.
    pub(crate) async fn version(&self, worker: Uuid, version: Uuid) -> Option<Result<wire::Opened, String>> {
        if (worker, version) != (WORKER, VERSION) {
            return None;
        }
        let opened = async {
            let file = self.file().await.map_err(|error| error.to_string())?;
            let record = serde_json::to_string(&record(file.clone())).map_err(|error| error.to_string())?;
            Ok(wire::Opened { record, secrets: HashMap::new() })
        };
        Some(opened.await)
    }

    /// Has a runtime run it. Gives how long that took.
    ///
    /// # Errors
    /// What went wrong, as a sentence without its end.
    pub(crate) async fn run(&self, runtimes: &Runtimes) -> Result<Duration, String> {
        let begun = Instant::now();
        match tokio::time::timeout(PATIENCE, ask(runtimes)).await {
            Ok(answered) => answered.map(|()| begun.elapsed()),
            Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        }
    }
}

async fn ask(runtimes: &Runtimes) -> Result<(), String> {
    let runtime = runtimes.current().await.ok_or("there is no process that runs Workers")?;
    let wanted = Uuid::new_v4().simple().to_string();
    let mut request = Request::new(Body::empty());
    let uri = format!("http://{NAME}.invalid/?{wanted}");
    *request.uri_mut() = uri.parse::<Uri>().map_err(|error| error.to_string())?;
    request.extensions_mut().insert(ForVersion { worker: WORKER, version: VERSION });
    let response = runtime.requests().forward(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect(LONGEST).await.map_err(|error| error.to_string())?;
    if !status.is_success() || body != wanted.as_bytes() {
        return Err(format!("it answered with the status {} and not with what it was asked", status.as_u16()));
    }
    Ok(())
}

/// The version, whose module is in a file.
fn record(file: FileHash) -> VersionRecord {
    VersionRecord {
        id: VERSION,
        worker_id: WORKER,
        number: 1,
        created_on: 0,
        author: "skep".to_owned(),
        source: "skep".to_owned(),
        annotations: Annotations::default(),
        content: Content {
            main: MODULE.to_owned(),
            service_worker: false,
            modules: vec![StoredModule {
                name: MODULE.to_owned(),
                kind: ModuleKind::Script,
                file,
                source_map: None,
                code: None,
            }],
            compatibility_date: None,
            compatibility_flags: Vec::new(),
            cpu_ms: None,
            handlers: vec!["fetch".to_owned()],
            startup_time_ms: 0,
            assets: None,
            other: serde_json::Map::new(),
        },
        bindings: Vec::new(),
    }
}
