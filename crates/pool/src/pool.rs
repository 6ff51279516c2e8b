//! The pool: versions that are in use, each with an isolate when it is needed.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::{Either, ready};
use papaya::HashMap;
use skep_assets::{Answer, AssetHash, Contents, Encoding, Reading, Script, Server, Site};
use skep_exchange::{Failure, Request, Response};
use skep_isolate::{CacheStore, Code, MemoryCache, Options, Rates, Slot, Witness};
use skep_meter::{Event, Kind, Meter, Tally};
use skep_observe::Observer;
use skep_store::{Files, LoadError, VersionRecord};
use skep_worker::{Compatibility, CompatibilityDate, Outcome, Used, Version};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bindings::Bindings;
use crate::directory::{Directory, Found, Worker};
use crate::gates::Gates;
use crate::keep_alive::IdleTimes;
use crate::places::{Place, Places};
use crate::source::{Reader, Source, SourceError};
use crate::supply::{Capacity, Isolates, WorkerSupply};

/// Responses that one Worker's `caches` may keep, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Contents of static assets that are kept in memory, in bytes.
const ASSET_BYTES: u64 = 64 * 1024 * 1024;
/// A version that was not asked for in this time was idle.
const PAUSE: u64 = 1000;

/// Who sees logs and events of a version of a Worker.
pub type Observers = Box<dyn Fn(&Worker, Uuid) -> Arc<dyn Observer> + Send + Sync>;

/// What isolates are given that is not their version's own.
pub struct Environment {
    /// The data directory, whose files are read.
    pub data_dir: PathBuf,
    /// Where versions run that may not run here.
    pub places: Arc<Places>,
    /// Told what runs at each moment.
    pub witness: Arc<dyn Witness>,
    /// Where the source is asked, and nobody's request is held up.
    pub runtime: Handle,
    /// The client behind `fetch()` and `WebSocket`.
    pub outbound: skep_outbound::Client,
    /// Asked once for each version that is loaded.
    pub observer: Observers,
    /// Where is counted what versions use.
    pub meter: Arc<Meter>,
    /// How many isolates there may be.
    pub capacity: Capacity,
}

/// A version that is in use.
pub struct Loaded {
    /// Its Worker.
    pub(crate) worker: Uuid,
    /// Whose it is.
    pub(crate) account: Arc<str>,
    /// The Worker's name.
    pub(crate) name: Arc<str>,
    /// Where requests go that its code answers. Nothing when it is assets only.
    pub(crate) slot: Option<Arc<Slot>>,
    /// Its static assets.
    site: Option<Arc<Site>>,
    /// What it has used.
    tally: Arc<Tally>,
    /// Milliseconds from the pool's start to its last use.
    pub(crate) used: AtomicU64,
}

impl Loaded {
    fn slot(&self) -> Result<&Arc<Slot>, String> {
        self.slot.as_ref().ok_or_else(|| "the Worker has static assets only, and no handlers".to_owned())
    }
}

/// When a Worker was visited.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// How long it was idle between its visits.
    pub(crate) idle: IdleTimes,
    /// Its last visit, in milliseconds from the pool's start, once nothing of it is loaded any more.
    pub(crate) last: Option<u64>,
}

/// Versions that are in use.
pub struct Pool {
    pub(crate) directory: Arc<Directory>,
    source: Arc<dyn Source>,
    files: Reader,
    pub(crate) environment: Environment,
    pub(crate) versions: HashMap<Uuid, Arc<Loaded>>,
    pub(crate) isolates: Arc<Isolates>,
    /// How long the Workers that were visited were idle between their visits.
    pub(crate) visits: HashMap<Uuid, Mutex<Visits>>,
    /// Locks of versions that are being loaded, so that each is loaded once.
    loading: Mutex<std::collections::HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
    pub(crate) caches: HashMap<Uuid, Arc<MemoryCache>>,
    assets: Server,
    rates: Rates,
    gates: Gates,
    /// The pool itself, for what isolates hold of it.
    own: Weak<Self>,
    begun: Instant,
}

impl Pool {
    /// A pool without versions.
    pub fn new(directory: Arc<Directory>, source: Arc<dyn Source>, environment: Environment) -> Arc<Self> {
        let files = Reader::of(&environment.data_dir);
        let isolates = Isolates::new(environment.capacity, environment.runtime.clone());
        let contents =
            StoredContents { source: Arc::clone(&source), files: files.clone(), runtime: environment.runtime.clone() };
        Arc::new_cyclic(|own| Self {
            directory,
            source,
            files,
            environment,
            versions: HashMap::new(),
            isolates,
            visits: HashMap::new(),
            loading: Mutex::default(),
            caches: HashMap::new(),
            assets: Server::new(Arc::new(contents), ASSET_BYTES),
            rates: Rates::default(),
            gates: Gates::default(),
            own: Weak::clone(own),
            begun: Instant::now(),
        })
    }

    /// Says where a version runs from now on. If that is not here, what it is handling is finished.
    pub fn place(&self, version: Uuid, place: Place) {
        let here = place == Place::Here;
        self.environment.places.set(version, place);
        if !here {
            self.versions.pin().remove(&version);
        }
    }

    /// Where versions run that may not run here.
    pub fn places(&self) -> &Places {
        &self.environment.places
    }

    /// Accounts and Workers that have used what they may use.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The directory of Workers.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// A version that is in use already.
    pub fn loaded(&self, version: Uuid) -> Option<Arc<Loaded>> {
        let loaded = self.versions.pin().get(&version).cloned()?;
        let now = self.now();
        let before = loaded.used.load(Ordering::Relaxed);
        if now != before {
            loaded.used.store(now, Ordering::Relaxed);
            if now - before.min(now) > PAUSE {
                self.was_idle(loaded.worker, Duration::from_millis(now - before));
            }
        }
        Some(loaded)
    }

    /// A Worker is visited again after this time.
    fn was_idle(&self, worker: Uuid, idle: Duration) {
        self.with_visits(worker, |visits| visits.idle.record(idle));
    }

    /// A Worker is visited whose last visit was so long ago that nothing of it is loaded any more.
    fn was_away(&self, worker: Uuid) {
        let now = self.now();
        self.with_visits(worker, |visits| {
            if let Some(last) = visits.last.take() {
                visits.idle.record(Duration::from_millis(now.saturating_sub(last)));
            }
        });
    }

    pub(crate) fn with_visits<T>(&self, worker: Uuid, with: impl FnOnce(&mut Visits) -> T) -> T {
        let all = self.visits.pin();
        let visits = all.get_or_insert_with(worker, Mutex::default);
        with(&mut visits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A version, loaded if it is not in use.
    ///
    /// # Errors
    /// When it cannot be loaded: what a client gets instead of a response.
    pub async fn load(&self, worker: &Arc<Worker>, version: Uuid) -> Result<Arc<Loaded>, Failure> {
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        if let Some(refusal) = self.environment.places.refusal(version, &worker.name) {
            return Err(refusal);
        }
        let stopping = || Failure::unusable("The platform is stopping");
        let (pool, worker) = (self.own.upgrade().ok_or_else(stopping)?, Arc::clone(worker));
        let loading = self.environment.runtime.spawn(async move { pool.load_here(&worker, version).await });
        match loading.await {
            Ok(loaded) => loaded.map_err(|error| Failure::unusable(error.to_string())),
            Err(_) => Err(stopping()),
        }
    }

    /// Loads a version and starts its isolate, so that its first request need not wait. What goes wrong is told to who asks.
    pub async fn prepare(&self, worker: Uuid, version: Uuid) {
        let Some(worker) = self.directory.worker(worker) else { return };
        if let Ok(loaded) = self.load(&worker, version).await
            && let Some(slot) = &loaded.slot
        {
            // It was started once before it was taken, and is started again by the request that needs it.
            drop(slot.isolate().await);
        }
    }

    async fn load_here(&self, worker: &Worker, version: Uuid) -> Result<Arc<Loaded>, SourceError> {
        let lock = self.lock(version);
        let _loading = lock.lock().await;
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        // It is being made while the source is asked.
        let ahead = self.isolates.ahead();
        let opened = self.source.version(worker.id, version).await?.ok_or_else(gone)?;
        let site = self.site(&opened.record).await?.map(Arc::new);
        let account: Arc<str> = (&*worker.account_id).into();
        let tally = self.environment.meter.tally(&account, &worker.name, opened.record.id);
        let slot = if opened.record.content.main.is_empty() {
            None
        } else {
            let (id, name) = (opened.record.id, worker.name.clone());
            let read = move |files: &Files| -> Result<_, LoadError> {
                let (modules, code) = (files.modules(&opened.record)?, files.code(&opened.record));
                Ok((opened.describe(&name, modules)?, code))
            };
            let (version, code) = self.files.read(read).await?;
            let code = Code::Use(Arc::new(code));
            let options = Options { code, ..self.options(worker, id, version, site.clone()) };
            let supply = WorkerSupply {
                isolates: Arc::clone(&self.isolates),
                pool: Weak::clone(&self.own),
                account: Arc::clone(&account),
                version: id,
                tally: Arc::clone(&tally),
            };
            if let Some(ahead) = ahead.filter(|ahead| ahead.fits(&options)) {
                self.isolates.offer(ahead);
            }
            let slot = Slot::scaled(options, Arc::new(supply));
            // Who asked will need one, and need not come back first.
            slot.grow();
            Some(slot)
        };
        let loaded = Arc::new(Loaded {
            worker: worker.id,
            account,
            name: Arc::clone(&worker.name),
            slot,
            site,
            tally,
            used: AtomicU64::new(self.now()),
        });
        self.versions.pin().insert(version, Arc::clone(&loaded));
        self.was_away(worker.id);
        Ok(loaded)
    }

    fn lock(&self, version: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = loading.get(&version).and_then(Weak::upgrade) {
            return lock;
        }
        loading.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        loading.insert(version, Arc::downgrade(&lock));
        lock
    }

    /// What an isolate of a Worker is started with.
    fn options(&self, worker: &Worker, id: Uuid, version: Version, site: Option<Arc<Site>>) -> Options {
        let bindings = Bindings {
            pool: Weak::clone(&self.own),
            account: (&*worker.account_id).into(),
            site,
            assets: self.assets.clone(),
        };
        let cache =
            Arc::clone(self.caches.pin().get_or_insert_with(worker.id, || Arc::new(MemoryCache::new(CACHE_BYTES))));
        Options {
            version: Arc::new(version),
            outbound: self.environment.outbound.clone(),
            cache: cache as Arc<dyn CacheStore>,
            services: Arc::new(bindings),
            observer: (self.environment.observer)(worker, id),
            colors: false,
            inspector: false,
            code: Code::Compile,
            witness: Arc::clone(&self.environment.witness),
        }
    }

    /// A version's static assets, ready to answer.
    async fn site(&self, record: &VersionRecord) -> Result<Option<Site>, SourceError> {
        let Some(assets) = record.content.assets.clone() else { return Ok(None) };
        let manifest = self.files.read(move |files| files.read(&assets.manifest)).await?;
        let invalid = |error: serde_json::Error| SourceError(format!("the static assets cannot be read: {error}"));
        let manifest = serde_json::from_slice(&manifest).map_err(invalid)?;
        let config = serde_json::from_value(assets.config).map_err(invalid)?;
        let date = record.content.compatibility_date.as_deref().and_then(|date| date.parse().ok());
        let compatibility =
            Compatibility::new(date.unwrap_or(CompatibilityDate::FIRST), record.content.compatibility_flags.clone())
                .map_err(|error| SourceError(error.to_string()))?;
        let script = if record.content.main.is_empty() { Script::None } else { Script::With(&compatibility) };
        // Lines that are wrong were reported when they were uploaded, and are left out.
        Ok(Some(Site::new(manifest, &config, script).0))
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Answers a request with a version: with one of its static assets, or with its code.
    pub fn answer(
        &self,
        loaded: &Loaded,
        request: Request,
    ) -> Answered<impl Future<Output = Result<Response, Failure>> + Send + use<>> {
        let answer = loaded.site.as_ref().map(|site| self.assets.answer(site, &request));
        let rare = |answering: Rare| Answered::Later(Either::Right(answering));
        // An async block would have room for what it waits for twice.
        match answer {
            Some(Answer::Response(response)) => {
                count_asset(&loaded.tally, &response, Instant::now());
                Answered::Here(response)
            }
            Some(Answer::Pending(pending)) => {
                let (tally, begun) = (Arc::clone(&loaded.tally), Instant::now());
                rare(Box::pin(async move {
                    let response = pending.response().await.map_err(|error| stored(&error))?;
                    count_asset(&tally, &response, begun);
                    Ok(response)
                }))
            }
            Some(Answer::Worker(_)) | None => match (&loaded.slot, self.admit(loaded)) {
                (_, Err(refused)) => rare(Box::pin(ready(Err(refused)))),
                (Some(slot), Ok(())) => Answered::Later(Either::Left(Arc::clone(slot).fetch(request))),
                (None, Ok(())) => {
                    let nobody = "The Worker has static assets only, and no code that could answer";
                    rare(Box::pin(ready(Err(Failure::unusable(nobody)))))
                }
            },
        }
    }

    /// Lets a Worker's code run, if its account and it may use more.
    pub(crate) fn admit(&self, loaded: &Loaded) -> Result<(), Failure> {
        self.gates.pass(&loaded.account, &loaded.name)
    }

    /// The newest version that answers at an address of its own. Nothing if there is none, and for an address of a Worker.
    ///
    /// # Errors
    /// When the source fails.
    pub async fn previewed(&self, found: &Found) -> Result<Option<Uuid>, SourceError> {
        self.source.preview(found).await
    }

    /// Hands a cron trigger to the version of a Worker that has the largest share. `due` is in milliseconds since 1970.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn scheduled(&self, worker: &Arc<Worker>, cron: &str, due: i64) -> Result<(), String> {
        let loaded = self.largest(worker).await?;
        loaded.slot()?.scheduled(cron, due).await.map_err(|failure| failure.to_string())?;
        Ok(())
    }

    /// Hands events of other Workers, a JSON list, to the version of a Worker that has the largest share. `of` are the names of those
    /// Workers, in the same order.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn tail(&self, worker: &Arc<Worker>, events: &str, of: &[String]) -> Result<(), String> {
        let loaded = self.largest(worker).await?;
        loaded.slot()?.tail(events, of).await.map_err(|failure| failure.to_string())?;
        Ok(())
    }

    /// The version of a Worker that has the largest share, if it may handle an event.
    async fn largest(&self, worker: &Arc<Worker>) -> Result<Arc<Loaded>, String> {
        let largest = worker.deployment().iter().max_by(|one, other| one.percentage.total_cmp(&other.percentage));
        let version = largest.ok_or("nothing is deployed")?.version_id;
        let loaded = self.load(worker, version).await.map_err(|error| error.to_string())?;
        loaded.slot()?;
        self.admit(&loaded).map_err(|refused| refused.message)?;
        Ok(loaded)
    }

    /// Lets go of every version and waits until their isolates have finished what is open, `waitUntil()` included; `grace` at
    /// most. Gives whether all have.
    pub async fn close(&self, grace: Duration) -> bool {
        let mut closing = JoinSet::new();
        {
            let versions = self.versions.pin();
            for slot in versions.values().filter_map(|loaded| loaded.slot.clone()) {
                closing.spawn(async move { slot.close().await });
            }
            versions.clear();
        }
        let all = async { while closing.join_next().await.is_some() {} };
        tokio::time::timeout(grace, all).await.is_ok()
    }

    /// How many versions are in use.
    pub fn len(&self) -> usize {
        self.versions.pin().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn gone() -> SourceError {
    SourceError("the version is gone: the Worker was deleted, or deployed anew".to_owned())
}

/// The answer to a request.
pub enum Answered<F> {
    /// It is here: a static asset that is in memory.
    Here(Response),
    /// It has begun, and is waited for.
    Later(F),
}

impl<F: Future<Output = Result<Response, Failure>>> Answered<F> {
    /// The response, waited for if it must be.
    ///
    /// # Errors
    /// What the client gets instead of a response.
    pub async fn response(self) -> Result<Response, Failure> {
        match self {
            Self::Here(response) => Ok(response),
            Self::Later(answering) => answering.await,
        }
    }
}

/// An answer that is not of the Worker's code.
type Rare = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send>>;

/// A static asset answers.
fn count_asset(tally: &Tally, response: &Response, begun: Instant) {
    tally.count(&Event {
        kind: Kind::Asset,
        outcome: Outcome::Ok,
        used: Used {
            wall: begun.elapsed(),
            bytes_out: http_body::Body::size_hint(response.body()).exact().unwrap_or(0),
            ..Used::default()
        },
        counted: None,
        server_error: response.status().is_server_error(),
    });
}

/// A static asset that cannot be read.
pub(crate) fn stored(error: &std::io::Error) -> Failure {
    Failure::unusable(format!("a static asset cannot be read: {error}"))
}

/// Contents of static assets, as the files have them.
struct StoredContents {
    source: Arc<dyn Source>,
    files: Reader,
    runtime: Handle,
}

impl Contents for StoredContents {
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_> {
        let (source, files) = (Arc::clone(&self.source), self.files.clone());
        let reading = self.runtime.spawn(async move {
            let Some(file) = source.asset(hash.to_string(), encoding.name().to_owned()).await? else { return Ok(None) };
            files.read(move |files| files.read(&file)).await.map(Some)
        });
        Box::pin(async move {
            let read: Result<_, SourceError> = reading.await.map_err(std::io::Error::other)?;
            read.map_err(std::io::Error::other)
        })
    }
}
