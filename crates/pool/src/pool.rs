//! The pool: versions that are in use, each with an isolate when it is needed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use papaya::HashMap;
use skep_exchange::{Failure, Request, Response};
use skep_isolate::{CacheStore, MemoryCache, Options, Slot};
use skep_observe::Observer;
use skep_store::{LoadError, Store, StoreError};
use skep_worker::Version;
use uuid::Uuid;

use crate::directory::{Directory, Worker};

/// Responses that one Worker's `caches` may keep, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// How long a version stays loaded that nobody asks for.
const IDLE: Duration = Duration::from_secs(600);

/// What isolates are given that is not their version's own.
pub struct Environment {
    /// The client behind `fetch()` and `WebSocket`.
    pub outbound: skep_outbound::Client,
    /// Who sees logs and events of a Worker.
    pub observer: Box<dyn Fn(&Worker) -> Arc<dyn Observer> + Send + Sync>,
}

/// A version that is in use.
pub struct Loaded {
    /// Where requests go that its code answers. Nothing when it is assets only.
    pub slot: Option<Arc<Slot>>,
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
    begun: Instant,
}

impl Pool {
    /// A pool without versions.
    pub fn new(directory: Arc<Directory>, store: Store, environment: Environment) -> Arc<Self> {
        Arc::new(Self {
            directory,
            store,
            environment,
            versions: HashMap::new(),
            loading: Mutex::default(),
            caches: HashMap::new(),
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
    /// When it cannot be loaded.
    pub async fn load(&self, worker: &Worker, version: Uuid) -> Result<Arc<Loaded>, LoadError> {
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        let lock = self.lock(version);
        let _loading = lock.lock().await;
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        let record = self.store.version(worker.id, version).await?.ok_or_else(gone)?;
        let slot = if record.content.main.is_empty() {
            None
        } else {
            let version = self.store.load_version(&worker.name, &record).await?;
            Some(Slot::new(self.options(worker, version)))
        };
        let loaded = Arc::new(Loaded { slot, used: AtomicU64::new(self.now()) });
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
    fn options(&self, worker: &Worker, version: Version) -> Options {
        let cache =
            Arc::clone(self.caches.pin().get_or_insert_with(worker.id, || Arc::new(MemoryCache::new(CACHE_BYTES))));
        Options {
            version: Arc::new(version),
            outbound: self.environment.outbound.clone(),
            cache: cache as Arc<dyn CacheStore>,
            observer: (self.environment.observer)(worker),
            colors: false,
            inspector: false,
        }
    }

    /// The newest version whose id begins with these eight hexadecimal digits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn version_by_digits(&self, worker: &Worker, digits: u32) -> Result<Option<Uuid>, StoreError> {
        self.store.version_by_prefix(worker.id, &format!("{digits:08x}")).await
    }

    /// The newest version with an alias.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn version_by_alias(&self, worker: &Worker, alias: &str) -> Result<Option<Uuid>, StoreError> {
        self.store.version_by_alias(worker.id, alias).await
    }

    /// Hands a cron trigger to the version of a Worker that has the largest share. `due` is in milliseconds since 1970.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn scheduled(&self, worker: &Worker, cron: &str, due: i64) -> Result<(), String> {
        let largest = worker.deployment().iter().max_by(|one, other| one.percentage.total_cmp(&other.percentage));
        let version = largest.ok_or("nothing is deployed")?.version_id;
        let loaded = self.load(worker, version).await.map_err(|error| error.to_string())?;
        let slot = loaded.slot.as_ref().ok_or("the Worker has static assets only, and no scheduled handler")?;
        slot.scheduled(cron, due).await.map_err(|failure| failure.to_string())?;
        Ok(())
    }

    /// Lets go of versions that nobody has asked for in a while, and of those that were deleted. For calling now and then.
    pub fn sweep(&self) {
        let now = self.now();
        let idle = u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX);
        self.versions.pin().retain(|_, loaded| now.saturating_sub(loaded.used.load(Ordering::Relaxed)) < idle);
        self.caches.pin().retain(|worker, _| self.directory.worker(*worker).is_some());
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

impl Loaded {
    /// Hands a request to the version's fetch handler: at once, if there is an isolate.
    ///
    /// # Errors
    /// What the client gets instead of a response.
    pub fn fetch(&self, request: Request) -> impl Future<Output = Result<Response, Failure>> + Send + use<> {
        let fetching = self.slot.as_ref().map(|slot| Arc::clone(slot).fetch(request));
        async move {
            match fetching {
                Some(fetching) => fetching.await,
                None => Err(Failure::unusable("The Worker has static assets only, and no code that could answer")),
            }
        }
    }
}
