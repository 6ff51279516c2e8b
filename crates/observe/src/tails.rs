//! Live tails: where those who watch a Worker meet its events.
//!
//! An event costs nothing more as long as nobody watches its Worker or keeps its events. When somebody does, the record comes through a
//! bounded queue; a thread of its own filters it, writes it as JSON once, and hands it to each viewer's connection and to who keeps
//! events. A viewer that reads too slowly, or more than can be gathered, misses events, and is told how many.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use skep_exchange::{Message, WebSocketSender};
use uuid::Uuid;

use crate::{EventRecord, Filters, Level, Source, is_failure, trace};

/// Events that may wait for the thread that writes them.
const MOST_WAITING: usize = 1024;
/// Bytes that may wait for one viewer.
const MOST_UNREAD: usize = 1024 * 1024;
/// How many may watch a Worker at once.
/// <https://developers.cloudflare.com/workers/observability/logs/real-time-logs/#limits>
const MOST_VIEWERS: usize = 10;
/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(6 * 3600);
/// How long a session waits for its viewer.
const GRACE: Duration = Duration::from_secs(60);
/// How often a viewer is told at most that it misses events.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// The close code of a session that ended as it should. RFC 6455, section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

/// Why a session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Enough others watch.
    #[error("{MOST_VIEWERS} sessions watch this Worker already: end one of them first")]
    TooMany,
    /// There is none, it is over, or somebody else is connected to it.
    #[error("this session does not exist, is over, or is in use: start another one")]
    Gone,
}

/// All live tails. Cheap to clone.
#[derive(Clone)]
pub struct Tails(Arc<Inner>);

/// Told which Workers are watched: by the account, the name, and whether anybody does.
type Listener = Box<dyn Fn(&str, &str, bool) + Send + Sync>;

/// Gets every event that was gathered, on the thread that writes them.
type Keeper = Box<dyn Fn(&Told<'_>) + Send + Sync>;

struct Inner {
    queue: SyncSender<Work>,
    listener: OnceLock<Listener>,
    keeper: Arc<OnceLock<Keeper>>,
    /// Those that are in use: by a version that is loaded, or by who watches.
    channels: Mutex<HashMap<String, Weak<Channel>>>,
    sessions: Mutex<HashMap<Uuid, Session>>,
}

/// What the thread has to do that writes events.
enum Work {
    Event(Box<Seen>),
    /// To say that it came so far.
    Tell(SyncSender<()>),
}

/// An event of a Worker that is watched.
struct Seen {
    channel: Arc<Channel>,
    source: Source,
    record: EventRecord,
}

/// An event that was gathered.
pub struct Told<'e> {
    /// The account's id.
    pub account: &'e str,
    /// Which run of which Worker.
    pub source: &'e Source,
    /// The event.
    pub record: &'e EventRecord,
    text: OnceCell<String>,
}

impl Told<'_> {
    /// The event as JSON, as `wrangler tail` gets it: written when it is asked for first.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| trace::event(self.source, self.record))
    }

    /// What it was about, for people: a URL without what is likely a secret, a cron expression, a queue or a method.
    pub fn what(&self) -> Option<String> {
        trace::what_for(&self.record.trigger)
    }

    /// For a tail handler: `{ item, unredacted }` as JSON, the same event and what was left out of its request.
    /// <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#getunredacted>
    pub fn with_secrets(&self) -> String {
        trace::with_secrets(self.text(), self.record)
    }
}

/// One Worker's events.
pub struct Channel {
    tails: Weak<Inner>,
    queue: SyncSender<Work>,
    account: Box<str>,
    worker: Box<str>,
    count: AtomicUsize,
    viewers: Mutex<Vec<Viewer>>,
    /// Events that found no room in the queue.
    missed: AtomicU64,
    /// Those of them that failed.
    missed_failures: AtomicU64,
}

struct Session {
    channel: Arc<Channel>,
    key: String,
    filters: Filters,
    made: Instant,
    expires: SystemTime,
    connected: bool,
}

struct Viewer {
    session: Uuid,
    filters: Filters,
    sender: WebSocketSender,
    /// Events that it has missed and was not told of.
    dropped: u64,
    /// When it was told last.
    told: Option<Instant>,
}

/// A viewer's connection. The session is over when this is dropped.
pub struct Connection {
    tails: Tails,
    session: Uuid,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let session = lock(&self.tails.0.sessions).remove(&self.session);
        if let Some(session) = session {
            session.channel.leave(self.session);
        }
    }
}

impl Tails {
    /// Starts the thread that writes events.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start() -> io::Result<Self> {
        let (queue, events) = sync_channel(MOST_WAITING);
        let keeper = Arc::<OnceLock<Keeper>>::default();
        let keeping = Arc::clone(&keeper);
        std::thread::Builder::new().name("skep-tail".to_owned()).spawn(move || write(&events, &keeping))?;
        let inner =
            Inner { queue, listener: OnceLock::new(), keeper, channels: Mutex::default(), sessions: Mutex::default() };
        Ok(Self(Arc::new(inner)))
    }

    /// Calls a function when somebody begins to watch a Worker, before anything is sent to him, and when nobody does any more. Only the
    /// first function is called. It must not block.
    pub fn on_watched(&self, listener: impl Fn(&str, &str, bool) + Send + Sync + 'static) {
        drop(self.0.listener.set(Box::new(listener)));
    }

    /// Calls a function with every event that was gathered, also where nobody watches. Only the first function is called; events wait for
    /// it.
    pub fn on_event(&self, keeper: impl Fn(&Told<'_>) + Send + Sync + 'static) {
        drop(self.0.keeper.set(Box::new(keeper)));
    }

    /// Waits until every event that was sent before went to who gets it. Blocks.
    pub fn flush(&self) {
        let (done, told) = sync_channel(1);
        if self.0.queue.send(Work::Tell(done)).is_ok() {
            // The thread lives as long as somebody can send.
            let _ = told.recv();
        }
    }

    /// The Workers that are watched, by their accounts and names.
    pub fn watched(&self) -> Vec<(String, String)> {
        let channels = lock(&self.0.channels);
        let watched = channels.values().filter_map(Weak::upgrade).filter(|channel| channel.is_watched());
        watched.map(|channel| (channel.account.to_string(), channel.worker.to_string())).collect()
    }

    /// Where a Worker's events go.
    pub fn channel(&self, account: &str, worker: &str) -> Arc<Channel> {
        let mut channels = lock(&self.0.channels);
        let key = key(account, worker);
        if let Some(channel) = channels.get(&key).and_then(Weak::upgrade) {
            return channel;
        }
        channels.retain(|_, channel| channel.strong_count() > 0);
        let channel = Arc::new(Channel {
            tails: Arc::downgrade(&self.0),
            queue: self.0.queue.clone(),
            account: account.into(),
            worker: worker.into(),
            count: AtomicUsize::new(0),
            viewers: Mutex::default(),
            missed: AtomicU64::new(0),
            missed_failures: AtomicU64::new(0),
        });
        channels.insert(key, Arc::downgrade(&channel));
        channel
    }

    /// Makes a session, which nobody can guess. Gives its id and its end.
    ///
    /// # Errors
    /// When enough others watch the Worker.
    pub fn create(&self, account: &str, worker: &str, filters: Filters) -> Result<(Uuid, SystemTime), Refused> {
        self.sweep();
        let (channel, key) = (self.channel(account, worker), key(account, worker));
        let mut sessions = lock(&self.0.sessions);
        if sessions.values().filter(|session| session.key == key).count() >= MOST_VIEWERS {
            return Err(Refused::TooMany);
        }
        let (id, expires) = (Uuid::new_v4(), SystemTime::now() + LIFE);
        sessions.insert(id, Session { channel, key, filters, made: Instant::now(), expires, connected: false });
        Ok((id, expires))
    }

    /// The sessions that watch a Worker, and their ends.
    pub fn list(&self, account: &str, worker: &str) -> Vec<(Uuid, SystemTime)> {
        self.sweep();
        let key = key(account, worker);
        let sessions = lock(&self.0.sessions);
        sessions.iter().filter(|(_, session)| session.key == key).map(|(id, session)| (*id, session.expires)).collect()
    }

    /// Sends a session's events to a viewer from now on.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn connect(&self, session: Uuid, sender: WebSocketSender) -> Result<Connection, Refused> {
        self.sweep();
        let mut sessions = lock(&self.0.sessions);
        let found = sessions.get_mut(&session).filter(|session| !session.connected).ok_or(Refused::Gone)?;
        found.connected = true;
        let viewer = Viewer { session, filters: found.filters.clone(), sender, dropped: 0, told: None };
        let mut viewers = lock(&found.channel.viewers);
        viewers.push(viewer);
        found.channel.counted(viewers.len());
        drop(viewers);
        Ok(Connection { tails: self.clone(), session })
    }

    /// Ends a session of a Worker. Gives whether there was one.
    pub fn end(&self, account: &str, worker: &str, session: Uuid) -> bool {
        let key = key(account, worker);
        let mut sessions = lock(&self.0.sessions);
        if sessions.get(&session).is_none_or(|session| session.key != key) {
            return false;
        }
        let ended = sessions.remove(&session);
        drop(sessions);
        if let Some(ended) = ended {
            ended.channel.leave(session);
        }
        true
    }

    /// Says something to everybody who watches a Worker.
    pub fn say(&self, account: &str, worker: &str, level: Level, message: &str) {
        let channel = self.channel(account, worker);
        let notice = trace::notice(&channel.worker, level, message);
        for viewer in lock(&channel.viewers).iter_mut() {
            viewer.send(|| notice.clone());
        }
    }

    /// Ends sessions that are over. For calling now and then.
    pub fn sweep(&self) {
        let over = |session: &Session| match session.connected {
            true => session.made.elapsed() > LIFE,
            false => session.made.elapsed() > GRACE,
        };
        let ended: Vec<(Uuid, Session)> = lock(&self.0.sessions).extract_if(|_, session| over(session)).collect();
        for (id, session) in ended {
            session.channel.leave(id);
        }
    }
}

impl Channel {
    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// An event of the Worker is over. Does not block: when too many wait, this one is left out and counted.
    pub fn send(self: &Arc<Self>, source: &Source, record: EventRecord) {
        let failed = is_failure(&record.trigger, record.outcome);
        let seen = Seen { channel: Arc::clone(self), source: source.clone(), record };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Work::Event(Box::new(seen))) {
            self.missed(1, failed.into());
        }
    }

    /// Events of the Worker were left out before they came here, and so many of them had failed.
    pub fn missed(&self, count: u64, failures: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
        self.missed_failures.fetch_add(failures, Ordering::Relaxed);
    }

    /// There are so many viewers now. Called by who holds their lock, so that the listener is told in order.
    fn counted(&self, viewers: usize) {
        let before = self.count.swap(viewers, Ordering::Relaxed);
        if (before > 0) != (viewers > 0)
            && let Some(tails) = self.tails.upgrade()
            && let Some(listener) = tails.listener.get()
        {
            listener(&self.account, &self.worker, viewers > 0);
        }
    }

    fn leave(&self, session: Uuid) {
        let mut viewers = lock(&self.viewers);
        let Some(index) = viewers.iter().position(|viewer| viewer.session == session) else { return };
        let viewer = viewers.swap_remove(index);
        self.counted(viewers.len());
        // Whoever is gone already need not be told.
        let _ = viewer.sender.send(Message::Close { code: NORMAL_CLOSURE, reason: "the session is over".to_owned() });
    }
}

impl Viewer {
    /// Sends an event, or counts it if too many are unread: then it is not written either.
    fn send(&mut self, event: impl FnOnce() -> String) {
        if self.sender.buffered() > MOST_UNREAD {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0
            && self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN)
            && self.sender.send(Message::Text(trace::overload(self.dropped))).is_ok()
        {
            (self.dropped, self.told) = (0, Some(Instant::now()));
        }
        if self.sender.send(Message::Text(event())).is_err() {
            self.dropped += 1;
        }
    }
}

/// The thread that writes events, until nobody can send any.
fn write(work: &Receiver<Work>, keeper: &OnceLock<Keeper>) {
    while let Ok(work) = work.recv() {
        let Seen { channel, source, record } = match work {
            Work::Event(seen) => *seen,
            Work::Tell(done) => {
                // Whoever asked may have given up.
                let _ = done.send(());
                continue;
            }
        };
        let missed = channel.missed.swap(0, Ordering::Relaxed);
        let missed_failures = channel.missed_failures.swap(0, Ordering::Relaxed);
        let told = Told { account: &channel.account, source: &source, record: &record, text: OnceCell::new() };
        for viewer in lock(&channel.viewers).iter_mut() {
            if viewer.filters.admit(&source, &record) {
                viewer.send(|| told.text().to_owned());
            }
            viewer.dropped += if viewer.filters.only_failures() { missed_failures } else { missed };
        }
        if let Some(keeper) = keeper.get() {
            keeper(&told);
        }
    }
}

fn key(account: &str, worker: &str) -> String {
    format!("{account}/{worker}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
