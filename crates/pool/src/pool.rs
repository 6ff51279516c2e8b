//! The pool: versions that are in use, each with an isolate when it is needed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use papaya::HashMap;
use skep_assets::{Answer, AssetHash, Contents, Encoding, Reading, Script, Server, Site};
use skep_exchange::{Failure, Request, Response};
use skep_isolate::{CacheStore, Code, MemoryCache, Options, Rates, Slot};
use skep_observe::Observer;
use skep_store::{LoadError, Store, StoreError, VersionRecord};
use skep_worker::{Compatibility, CompatibilityDate, Version};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bindings::Bindings;
use crate::directory::{Directory, Found, Worker};

/// Responses that one Worker's `caches` may keep, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Contents of static assets that are kept in memory, in bytes.
const ASSET_BYTES: u64 = 64 * 1024 * 1024;
/// How long a version stays loaded that nobody asks for.
const IDLE: Duration = Duration::from_secs(600);
/// The same of one that is not deployed any more, or never was: it may be asked for at an address of its own.
const REPLACED: Duration = Duration::from_secs(10);

/// Who sees logs and events of a version of a Worker.
pub type Observers = Box<dyn Fn(&Worker, Uuid) -> Arc<dyn Observer> + Send + Sync>;

/// What isolates are given that is not their version's own.
pub struct Environment {
    /// Where the store is asked, and nobody's request is held up.
    pub runtime: Handle,
    /// The client behind `fetch()` and `WebSocket`.
    pub outbound: skep_outbound::Client,
    /// Asked once for each version that is loaded.
    pub observer: Observers,
}

/// A version that is in use.
pub struct Loaded {
    /// Its Worker.
    worker: Uuid,
    /// Where requests go that its code answers. Nothing when it is assets only.
    pub(crate) slot: Option<Arc<Slot>>,
    /// Its static assets.
    site: Option<Arc<Site>>,
    /// Milliseconds from the pool's start to its last use.
    used: AtomicU64,
}

/// Versions that are in use.
pub struct Pool {
    directory: Arc<Directory>,
    store: Store,
    environment: Environment,
    versions: HashMap<Uuid, Arc<Loaded>>,
    /// Locks of versions that are being loaded, so that each is loaded once.
    loading: Mutex<std::collections::HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
    caches: HashMap<Uuid, Arc<MemoryCache>>,
    assets: Server,
    rates: Rates,
    /// The pool itself, for what isolates hold of it.
    own: Weak<Self>,
    begun: Instant,
}

impl Pool {
    /// A pool without versions.
    pub fn new(directory: Arc<Directory>, store: Store, environment: Environment) -> Arc<Self> {
        let contents = StoredContents { store: store.clone(), runtime: environment.runtime.clone() };
        Arc::new_cyclic(|own| Self {
            directory,
            store,
            environment,
            versions: HashMap::new(),
            loading: Mutex::default(),
            caches: HashMap::new(),
            assets: Server::new(Arc::new(contents), ASSET_BYTES),
            rates: Rates::default(),
            own: Weak::clone(own),
            begun: Instant::now(),
        })
    }

    /// The directory of Workers.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// A version that is in use already.
    pub fn loaded(&self, version: Uuid) -> Option<Arc<Loaded>> {
        let loaded = self.versions.pin().get(&version).cloned()?;
        loaded.used.store(self.now(), Ordering::Relaxed);
        Some(loaded)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A version, loaded from the store if it is not in use.
    ///
    /// # Errors
    /// When it cannot be loaded: what a client gets instead of a response.
    pub async fn load(&self, worker: &Arc<Worker>, version: Uuid) -> Result<Arc<Loaded>, Failure> {
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
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

    async fn load_here(&self, worker: &Worker, version: Uuid) -> Result<Arc<Loaded>, LoadError> {
        let lock = self.lock(version);
        let _loading = lock.lock().await;
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        let record = self.store.version(worker.id, version).await?.ok_or_else(gone)?;
        let site = self.site(&record).await?.map(Arc::new);
        let slot = if record.content.main.is_empty() {
            None
        } else {
            let version = self.store.load_version(&worker.name, &record).await?;
            let code = Code::Use(Arc::new(self.store.load_code(&record).await));
            let options = Options { code, ..self.options(worker, record.id, version, site.clone()) };
            Some(Slot::new(options))
        };
        let loaded = Arc::new(Loaded { worker: worker.id, slot, site, used: AtomicU64::new(self.now()) });
        self.versions.pin().insert(version, Arc::clone(&loaded));
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
        }
    }

    /// A version's static assets, ready to answer.
    async fn site(&self, record: &VersionRecord) -> Result<Option<Site>, LoadError> {
        let Some(assets) = record.content.assets.clone() else { return Ok(None) };
        let manifest = self.store.with_files(move |files| files.read(&assets.manifest)).await?;
        let invalid =
            |error: serde_json::Error| LoadError::Invalid(format!("the static assets cannot be read: {error}"));
        let manifest = serde_json::from_slice(&manifest).map_err(invalid)?;
        let config = serde_json::from_value(assets.config).map_err(invalid)?;
        let date = record.content.compatibility_date.as_deref().and_then(|date| date.parse().ok());
        let compatibility =
            Compatibility::new(date.unwrap_or(CompatibilityDate::FIRST), record.content.compatibility_flags.clone())
                .map_err(|error| LoadError::Invalid(error.to_string()))?;
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
        let begun = match answer {
            Some(Answer::Response(response)) => return Answered::Here(response),
            Some(Answer::Pending(pending)) => Begun::Reading(Box::new(pending)),
            Some(Answer::Worker(_)) | None => match &loaded.slot {
                Some(slot) => Begun::Fetching(Arc::clone(slot).fetch(request)),
                None => Begun::Nobody,
            },
        };
        Answered::Later(async move {
            match begun {
                Begun::Fetching(fetching) => fetching.await,
                Begun::Reading(pending) => pending.response().await.map_err(|error| stored(&error)),
                Begun::Nobody => {
                    Err(Failure::unusable("The Worker has static assets only, and no code that could answer"))
                }
            }
        })
    }

    /// The newest version that answers at an address of its own. Nothing if there is none, and for an address of a Worker.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn previewed(&self, found: &Found) -> Result<Option<Uuid>, StoreError> {
        match found {
            Found::Worker(_) => Ok(None),
            Found::Preview(worker, digits) => self.store.version_by_prefix(worker.id, &format!("{digits:08x}")).await,
            Found::Alias(worker, alias) => self.store.version_by_alias(worker.id, alias).await,
        }
    }

    /// Hands a cron trigger to the version of a Worker that has the largest share. `due` is in milliseconds since 1970.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn scheduled(&self, worker: &Arc<Worker>, cron: &str, due: i64) -> Result<(), String> {
        let largest = worker.deployment().iter().max_by(|one, other| one.percentage.total_cmp(&other.percentage));
        let version = largest.ok_or("nothing is deployed")?.version_id;
        let loaded = self.load(worker, version).await.map_err(|error| error.to_string())?;
        let slot = loaded.slot.as_ref().ok_or("the Worker has static assets only, and no scheduled handler")?;
        slot.scheduled(cron, due).await.map_err(|failure| failure.to_string())?;
        Ok(())
    }

    /// Lets go of versions that nobody has asked for in a while, sooner if they are not deployed any more. For calling now and
    /// then. What they are handling they finish.
    pub fn sweep(&self) {
        let now = self.now();
        self.versions.pin().retain(|version, loaded| {
            let worker = self.directory.worker(loaded.worker);
            let is_live =
                worker.is_some_and(|worker| worker.deployment().iter().any(|share| share.version_id == *version));
            let idle = if is_live { IDLE } else { REPLACED };
            Duration::from_millis(now.saturating_sub(loaded.used.load(Ordering::Relaxed))) < idle
        });
        self.caches.pin().retain(|worker, _| self.directory.worker(*worker).is_some());
        self.rates.sweep();
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

fn gone() -> LoadError {
    StoreError::NotFound("the version is gone: the Worker was deleted, or deployed anew".to_owned()).into()
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

/// An answer that has begun.
enum Begun<F> {
    Fetching(F),
    Reading(Box<skep_assets::Pending>),
    Nobody,
}

/// A static asset that cannot be read.
pub(crate) fn stored(error: &std::io::Error) -> Failure {
    Failure::unusable(format!("a static asset cannot be read: {error}"))
}

/// Contents of static assets, as the store has them.
struct StoredContents {
    store: Store,
    runtime: Handle,
}

impl Contents for StoredContents {
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_> {
        let store = self.store.clone();
        let reading = self.runtime.spawn(async move {
            let Some(file) = store.asset_file(&hash.to_string(), encoding.name()).await? else { return Ok(None) };
            store.with_files(move |files| files.read(&file)).await.map(Some)
        });
        Box::pin(async move {
            let read: Result<_, StoreError> = reading.await.map_err(std::io::Error::other)?;
            read.map_err(std::io::Error::other)
        })
    }
}
