//! Isolates for those who need one: spare ones that wait, and how many there may be.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use skep_isolate::{Options, Permit, Spare, Start, StartError, Supply, Taking};
use skep_meter::{Kind, Tally};
use skep_worker::Limits;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::pool::Pool;

/// Cold starts are counted over this time, to know how many spare isolates are wanted.
const WINDOW: Duration = Duration::from_secs(10);
/// Spare isolates at most, in multiples of the least.
const MOST_SPARES: usize = 8;
/// How long making a spare isolate takes about: as many must be there as are needed meanwhile.
const MAKING: Duration = Duration::from_millis(20);

/// How many isolates there may be.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Of one Worker's version.
    pub per_worker: usize,
    /// Of one account.
    pub per_account: usize,
    /// Memory for all of them together, in bytes.
    pub memory: u64,
    /// How long an isolate stays of which nobody knows when it will be asked for again.
    pub keep_alive: Duration,
    /// Spare isolates that are kept ready; more while many are needed. None: isolates are made when they are needed.
    pub spares: usize,
}

/// The memory of an isolate that does nothing, in bytes.
pub(crate) const ISOLATE: u64 = 3 * 1024 * 1024;

/// What was started, since the pool began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// Versions that had no isolate.
    pub cold: u64,
    /// More isolates of versions that had one.
    pub more: u64,
    /// What the cold ones took together.
    pub cold_time: Duration,
}

/// Events that had to wait for an isolate, since the pool began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// How many.
    pub events: u64,
    /// How long, together.
    pub waited: Duration,
}

/// The isolates of a pool, counted, and those that wait.
pub(crate) struct Isolates {
    capacity: Capacity,
    cores: usize,
    runtime: Handle,
    counts: Mutex<Counts>,
    spares: Mutex<VecDeque<Spare>>,
    /// Who makes an isolate holds one: more at once than there are cores would all be done later.
    making: Arc<Semaphore>,
    started: Arc<Notify>,
    recent: Mutex<VecDeque<Instant>>,
    cold: AtomicU64,
    more: AtomicU64,
    cold_nanos: AtomicU64,
    wanted: AtomicUsize,
    busy_nanos: AtomicU64,
    waited: AtomicU64,
    waited_nanos: AtomicU64,
}

#[derive(Default)]
struct Counts {
    all: usize,
    /// How many there were when [`Isolates::fewer`] was asked last.
    seen: usize,
    accounts: HashMap<Arc<str>, usize>,
}

impl Isolates {
    pub(crate) fn new(capacity: Capacity, runtime: Handle) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let isolates = Arc::new(Self {
            capacity,
            cores,
            runtime,
            counts: Mutex::default(),
            spares: Mutex::default(),
            making: Arc::new(Semaphore::new(cores)),
            started: Arc::default(),
            recent: Mutex::default(),
            cold: AtomicU64::new(0),
            more: AtomicU64::new(0),
            cold_nanos: AtomicU64::new(0),
            wanted: AtomicUsize::new(capacity.spares),
            busy_nanos: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            waited_nanos: AtomicU64::new(0),
        });
        if capacity.spares > 0 {
            isolates.runtime.spawn(refill(Arc::downgrade(&isolates)));
        }
        isolates
    }

    /// Whether isolates have ended since this was asked last, and no others have come in their place.
    pub(crate) fn fewer(&self) -> bool {
        let mut counts = lock(&self.counts);
        let all = counts.all;
        std::mem::replace(&mut counts.seen, all) > all
    }

    /// How many isolates there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.counts).all
    }

    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    pub(crate) fn starts(&self) -> Starts {
        Starts {
            cold: self.cold.load(Ordering::Relaxed),
            more: self.more.load(Ordering::Relaxed),
            cold_time: Duration::from_nanos(self.cold_nanos.load(Ordering::Relaxed)),
        }
    }

    /// Time that isolates were busy.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed))
    }

    /// Isolates were busy for this long.
    pub(crate) fn add_busy(&self, busy: Duration) {
        self.busy_nanos.fetch_add(nanoseconds(busy), Ordering::Relaxed);
    }

    /// Events that had to wait.
    pub(crate) fn line(&self) -> Waited {
        Waited {
            events: self.waited.load(Ordering::Relaxed),
            waited: Duration::from_nanos(self.waited_nanos.load(Ordering::Relaxed)),
        }
    }

    /// Whether an account has as many isolates as it may.
    pub(crate) fn is_full(&self, account: &Arc<str>) -> bool {
        lock(&self.counts).accounts.get(account).is_some_and(|count| *count >= self.capacity.per_account)
    }

    /// How many spare isolates there are.
    pub(crate) fn spares(&self) -> usize {
        lock(&self.spares).len()
    }

    /// Lets go of the spare isolates: memory is short.
    pub(crate) fn drop_spares(&self) {
        lock(&self.spares).clear();
    }

    /// Counts one more isolate of an account, if there may be one.
    fn admit(self: &Arc<Self>, account: &Arc<str>, have: usize, serving: usize) -> Option<Permit> {
        // More threads than cores make nobody faster; those that hold the others up leave theirs to the next.
        if have > 0 && (serving >= self.cores || have >= self.capacity.per_worker) {
            return None;
        }
        let mut counts = lock(&self.counts);
        let most = usize::try_from(self.capacity.memory / ISOLATE).unwrap_or(usize::MAX);
        let of_account = counts.accounts.get(account).copied().unwrap_or(0);
        if counts.all >= most || of_account >= self.capacity.per_account {
            return None;
        }
        counts.all += 1;
        *counts.accounts.entry(Arc::clone(account)).or_default() += 1;
        Some(Box::new(Counted { isolates: Arc::clone(self), account: Arc::clone(account) }))
    }

    /// Begins to make an isolate while nobody knows yet what for, if there is no spare one and making it keeps nobody waiting.
    pub(crate) fn ahead(&self) -> Option<Spare> {
        if self.spares() > 0 {
            return None;
        }
        let making = Arc::clone(&self.making).try_acquire_owned().ok()?;
        Spare::start(Limits::default().memory, Some(Box::new(making))).ok()
    }

    /// Has the next one who needs an isolate find this one.
    pub(crate) fn offer(&self, spare: Spare) {
        lock(&self.spares).push_front(spare);
    }

    async fn take(&self, options: &Options) -> Result<Spare, StartError> {
        let spare = {
            let mut spares = lock(&self.spares);
            let place = spares.iter().position(|spare| spare.fits(options));
            place.and_then(|place| spares.remove(place))
        };
        {
            let mut recent = lock(&self.recent);
            recent.push_back(Instant::now());
            while recent.front().is_some_and(|at| at.elapsed() > WINDOW) {
                recent.pop_front();
            }
            let while_making = recent.len() as f64 * MAKING.as_secs_f64() / WINDOW.as_secs_f64();
            let wanted = self.capacity.spares + while_making.ceil() as usize;
            self.wanted.store(wanted.min(self.capacity.spares * MOST_SPARES), Ordering::Relaxed);
        }
        match spare {
            Some(spare) => Ok(spare),
            None => Spare::start_for(options, self.making().await),
        }
    }

    /// The right to make an isolate.
    async fn making(&self) -> Option<Permit> {
        // Nobody closes it.
        let making = Arc::clone(&self.making).acquire_owned().await.ok()?;
        Some(Box::new(making))
    }
}

/// An isolate that is counted as long as this lives.
struct Counted {
    isolates: Arc<Isolates>,
    account: Arc<str>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.isolates.counts);
        counts.all -= 1;
        if let Some(count) = counts.accounts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.accounts.remove(&self.account);
            }
        }
    }
}

/// Keeps as many spare isolates as are wanted, one after the other. It looks again after each start that took one, and not during it:
/// two that are made at once hold each other up.
async fn refill(isolates: Weak<Isolates>) {
    let memory = Limits::default().memory;
    loop {
        let Some(own) = isolates.upgrade() else { return };
        let started = Arc::clone(&own.started);
        if own.spares() >= own.wanted.load(Ordering::Relaxed) {
            drop(own);
            started.notified().await;
            continue;
        }
        match Spare::start(memory, own.making().await) {
            Ok(mut spare) => {
                spare.made().await;
                lock(&own.spares).push_back(spare);
            }
            // There is no room for a thread: those who need one will say so.
            Err(_) => {
                drop(own);
                started.notified().await;
            }
        }
    }
}

/// What the slots of one Worker's versions get their isolates from.
pub(crate) struct WorkerSupply {
    pub(crate) isolates: Arc<Isolates>,
    pub(crate) pool: Weak<Pool>,
    pub(crate) account: Arc<str>,
    pub(crate) version: Uuid,
    pub(crate) tally: Arc<Tally>,
}

impl Supply for WorkerSupply {
    fn admit(&self, _: &Options, have: usize, serving: usize) -> Option<Permit> {
        self.isolates.admit(&self.account, have, serving).or_else(|| {
            // The first isolate of a Worker is worth more than one that nobody asks for.
            let pool = self.pool.upgrade().filter(|_| have == 0)?;
            pool.make_room(self.version, &self.account);
            self.isolates.admit(&self.account, have, serving)
        })
    }

    fn take(&self, options: &Options) -> Taking {
        let (isolates, options) = (Arc::clone(&self.isolates), options.clone());
        Box::pin(async move { isolates.take(&options).await })
    }

    fn started(&self, Start { took, first, succeeded }: Start) {
        let isolates = &self.isolates;
        match (succeeded, first) {
            (false, _) => {}
            (true, true) => {
                self.tally.count_cold_start(Kind::Fetch);
                isolates.cold.fetch_add(1, Ordering::Relaxed);
                isolates.cold_nanos.fetch_add(nanoseconds(took), Ordering::Relaxed);
            }
            (true, false) => {
                isolates.more.fetch_add(1, Ordering::Relaxed);
            }
        }
        isolates.started.notify_one();
    }

    fn waited(&self, waited: Duration) {
        self.isolates.waited.fetch_add(1, Ordering::Relaxed);
        self.isolates.waited_nanos.fetch_add(nanoseconds(waited), Ordering::Relaxed);
    }

    fn runtime(&self) -> &Handle {
        &self.isolates.runtime
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
