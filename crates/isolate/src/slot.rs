//! The isolates of one version: none until the first event, more while events would wait, and another one after a limit ended one.
//!
//! An event goes to the first isolate that can begin it within [`SOON`]. If none can, the slot asks for one more ([`Supply`]) and,
//! where an event takes long, has those that come wait in a line, so that none is stuck behind a long one while another isolate is
//! free. Events that take no time share the isolates that are there.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::{Failure, Reply, Request, RequestCf, Response};
use skep_observe::{Details, Trigger, Waited};
use skep_web::EventId;
use skep_worker::{Limit, LimitExceeded};
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use crate::line::{Called, Line, Turn};
use crate::queue::now;
use crate::{Entrypoint, Finished, InspectorSession, Isolate, Options, Spare, StartError, unanswered};

/// Tries of a request that found its isolate ended before it looked at it. Being taken back from one that is stuck is no try.
const MOST_TRIES: u32 = 3;
/// An event that would wait longer is a reason for one more isolate.
const SOON: Duration = Duration::from_millis(2);
/// Events that take less do not keep those behind them waiting.
const SHORT: Duration = Duration::from_micros(500);
/// An isolate that has been in a round for longer does not count as one that serves: it is not what the next event waits for.
const HOG: Duration = Duration::from_millis(100);
/// Events that wait in a version's line.
const MOST_IN_LINE: usize = 1000;
/// How long an event may wait in line.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often those in line look for more room, which nobody may have told of.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a version that does not start is left alone after its second failure in a row; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The most of that.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Held as long as an isolate lives, or is being made, by its thread.
pub type Permit = Box<dyn Send>;

/// An isolate that is on its way. An error means that there is no room for a thread.
pub type Taking = Pin<Box<dyn Future<Output = Result<Spare, StartError>> + Send>>;

/// How a start went.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// How long it took.
    pub took: Duration,
    /// Whether it was for a version that had no isolate.
    pub first: bool,
    /// Whether there is an isolate now.
    pub succeeded: bool,
}

/// Who provides isolates for slots.
pub trait Supply: Send + Sync {
    /// Whether a version may have one more isolate, when it has this many, of which so many serve and do not hold up the others. Not
    /// before this is dropped, the isolate is counted. It must not block.
    fn admit(&self, options: &Options, have: usize, serving: usize) -> Option<Permit>;

    /// An isolate without a version, at once if there is a spare one. It need not be made yet.
    fn take(&self, options: &Options) -> Taking;

    /// How a start went, from when it was needed.
    fn started(&self, start: Start);

    /// An event has waited in line for this long: for those who count.
    fn waited(&self, waited: Duration);

    /// Where starts run on, whoever waits for them.
    fn runtime(&self) -> &Handle;
}

/// One version, with the isolates that it needs.
pub struct Slot {
    options: Options,
    isolates: RwLock<Vec<Isolate>>,
    /// Held by who starts the only isolate of a slot without a supply.
    starting: tokio::sync::Mutex<()>,
    scale: Option<Scale>,
}

/// What a slot has that may have more than one isolate.
struct Scale {
    supply: Arc<dyn Supply>,
    line: Arc<Line>,
    growing: AtomicBool,
    /// When growing was refused last, in nanoseconds: it is not asked for at once again.
    refused: AtomicU64,
    failures: Mutex<Failures>,
}

/// Starts that failed in a row.
#[derive(Default)]
struct Failures {
    count: u32,
    last: Option<(StartError, Instant)>,
}

impl Failures {
    /// The last failure, if it is too early to try again.
    fn in_pause(&self) -> Option<StartError> {
        let (error, at) = self.last.as_ref()?;
        (at.elapsed() < pause(self.count)).then(|| error.clone())
    }
}

/// How long a version is left alone that failed to start so many times in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        _ => FIRST_PAUSE.saturating_mul(1 << (failures - 2).min(16)).min(LAST_PAUSE),
    }
}

/// Why an event gets no isolate.
enum NoTurn {
    /// The version cannot be started.
    NotStarted(StartError),
    /// Every isolate that it may have is busy, for too long or for too many.
    Busy(LimitExceeded),
}

impl Slot {
    /// A slot that never has more than one isolate.
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self { options, isolates: RwLock::default(), starting: tokio::sync::Mutex::new(()), scale: None })
    }

    /// A slot that has as many isolates as it needs and its supply allows.
    pub fn scaled(options: Options, supply: Arc<dyn Supply>) -> Arc<Self> {
        Arc::new_cyclic(|own| {
            let line = Arc::new(Line::new(MOST_IN_LINE));
            line.belongs_to(own.clone());
            let scale = Scale {
                supply,
                line,
                growing: AtomicBool::new(false),
                refused: AtomicU64::new(0),
                failures: Mutex::default(),
            };
            Self { options, isolates: RwLock::default(), starting: tokio::sync::Mutex::new(()), scale: Some(scale) }
        })
    }

    fn isolates(&self) -> RwLockReadGuard<'_, Vec<Isolate>> {
        self.isolates.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The isolate that an event goes to now, if there is one that can begin it soon, or soon enough.
    fn choose(&self) -> Option<Isolate> {
        let isolates = self.isolates();
        let Some(scale) = &self.scale else { return isolates.iter().find(|isolate| !isolate.is_over()).cloned() };
        let mut best: Option<(Duration, &Isolate)> = None;
        for isolate in isolates.iter().filter(|isolate| !isolate.is_over()) {
            let Some(wait) = isolate.expected_wait() else { continue };
            if wait <= SOON {
                // Those in line were first.
                return (scale.line.len() == 0).then(|| isolate.clone());
            }
            if best.is_none_or(|(least, _)| wait < least) {
                best = Some((wait, isolate));
            }
        }
        let (wait, isolate) = best?;
        let goes_on = isolate.load().cost() < SHORT && wait < LONGEST_WAIT && scale.line.len() == 0;
        let isolate = goes_on.then(|| isolate.clone());
        drop(isolates);
        self.grow_if_due();
        isolate
    }

    /// The right to send an event, as soon as an isolate can begin it.
    async fn turn(&self) -> Result<Turn, NoTurn> {
        if let Some(isolate) = self.choose() {
            return Ok(Turn::at_once(isolate));
        }
        let Some(scale) = &self.scale else {
            return self.only().await.map(Turn::at_once).map_err(NoTurn::NotStarted);
        };
        let full =
            LimitExceeded { limit: Limit::QueuedRequests, allowed: MOST_IN_LINE as u64, used: MOST_IN_LINE as u64 + 1 };
        let mut called = scale.line.join().ok_or(NoTurn::Busy(full))?;
        let begun = Instant::now();
        // What became free before this joined calls nobody.
        self.grow();
        self.call_free();
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                called = &mut called => return match called {
                    Ok(Called::Turn(turn)) => {
                        scale.supply.waited(begun.elapsed());
                        Ok(turn)
                    }
                    Ok(Called::Failed(error)) => Err(NoTurn::NotStarted(error)),
                    Err(_) => Err(NoTurn::NotStarted(StartError::Thread("the version is being unloaded".to_owned()))),
                },
                _ = looks.tick() => {
                    if begun.elapsed() > LONGEST_WAIT {
                        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                        let (allowed, used) = (milliseconds(LONGEST_WAIT), milliseconds(begun.elapsed()));
                        return Err(NoTurn::Busy(LimitExceeded { limit: Limit::QueueTime, allowed, used }));
                    }
                    self.grow();
                    self.call_free();
                }
            }
        }
    }

    /// Has isolates that have nothing to do call those who wait.
    fn call_free(&self) {
        let Some(scale) = &self.scale else { return };
        for isolate in self.isolates().iter() {
            if scale.line.len() > 0 && !isolate.is_over() && isolate.is_free() {
                scale.line.call(isolate);
            }
        }
    }

    /// As [`Self::grow`], but not at once again after a refusal.
    fn grow_if_due(&self) {
        if let Some(scale) = &self.scale
            && now().saturating_sub(scale.refused.load(Ordering::Relaxed)) > 5_000_000
        {
            self.grow();
        }
    }

    /// Starts one more isolate in the background, if there may be one and none is starting.
    pub fn grow(&self) {
        let Some(scale) = &self.scale else { return };
        if scale.growing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (have, serving) = self.count();
        let failed = scale.failures.lock().unwrap_or_else(PoisonError::into_inner).in_pause();
        let own = scale.line.slot();
        let permit = match (failed, own) {
            (Some(error), _) => {
                if have == 0 {
                    scale.line.fail(&error);
                }
                None
            }
            (None, Some(own)) => scale.supply.admit(&self.options, have, serving).map(|permit| (own, permit)),
            (None, None) => None,
        };
        let Some((own, permit)) = permit else {
            scale.refused.store(now(), Ordering::Relaxed);
            scale.growing.store(false, Ordering::Release);
            return;
        };
        scale.supply.runtime().spawn(async move { own.start_one(permit, have == 0).await });
    }

    /// How many isolates there are, and how many of them serve.
    fn count(&self) -> (usize, usize) {
        let (isolates, now) = (self.isolates(), now());
        let alive = isolates.iter().filter(|isolate| !isolate.is_over());
        let serves = |isolate: &&Isolate| isolate.load().in_round(now).is_none_or(|age| age < HOG);
        (alive.clone().count(), alive.filter(serves).count())
    }

    async fn start_one(&self, permit: Permit, first: bool) {
        let Some(scale) = &self.scale else { return };
        let begun = Instant::now();
        let started = match scale.supply.take(&self.options).await {
            Ok(spare) => spare.claim_for(self.options.clone(), Some(Arc::clone(&scale.line)), Some(permit)).await,
            Err(error) => Err(error),
        };
        scale.supply.started(Start { took: begun.elapsed(), first, succeeded: started.is_ok() });
        match started {
            Ok(isolate) => {
                *scale.failures.lock().unwrap_or_else(PoisonError::into_inner) = Failures::default();
                self.add(isolate.clone());
                scale.line.call(&isolate);
            }
            Err(error) => {
                {
                    let mut failures = scale.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.count += 1;
                    failures.last = Some((error.clone(), Instant::now()));
                }
                if self.count().0 == 0 {
                    scale.line.fail(&error);
                }
            }
        }
        scale.growing.store(false, Ordering::Release);
        if scale.line.len() > 0 {
            self.grow();
        }
    }

    fn add(&self, isolate: Isolate) {
        let mut isolates = self.isolates.write().unwrap_or_else(PoisonError::into_inner);
        isolates.retain(|isolate| !isolate.is_over());
        isolates.push(isolate);
    }

    /// The isolate of a slot without a supply, started if there is none.
    async fn only(&self) -> Result<Isolate, StartError> {
        let _starting = self.starting.lock().await;
        if let Some(isolate) = self.choose() {
            return Ok(isolate);
        }
        let isolate = Isolate::start(self.options.clone()).await?;
        self.add(isolate.clone());
        Ok(isolate)
    }

    /// Starts an isolate if there is none, so that the first event need not wait.
    ///
    /// # Errors
    /// When the version cannot be started.
    pub async fn isolate(&self) -> Result<Isolate, StartError> {
        match self.turn().await {
            Ok(turn) => Ok(turn.send(Isolate::clone)),
            Err(NoTurn::NotStarted(error)) => Err(error),
            Err(NoTurn::Busy(exceeded)) => Err(StartError::Limit(exceeded)),
        }
    }

    /// Hands a request to the version's default fetch handler: at once, if there is an isolate.
    ///
    /// # Errors
    /// What the client gets instead of a response.
    pub fn fetch(self: Arc<Self>, request: Request) -> impl Future<Output = Result<Response, Failure>> + Send {
        // What is rare is boxed: this future is as small as it can be.
        let begun = match self.choose() {
            Some(isolate) => Ok(isolate.fetch(request)),
            None => Err(Box::new(request)),
        };
        async move {
            let request = match begun {
                Ok(reply) => match reply.await {
                    Reply::Response(response) => return Ok(response),
                    Reply::Failure(failure) => return Err(failure),
                    Reply::NotStarted(request) => request,
                },
                Err(request) => request,
            };
            Box::pin(self.fetch_in_turn(*request, None)).await
        }
    }

    /// As [`Self::fetch`], for any entrypoint.
    ///
    /// # Errors
    /// What the caller gets instead of a response.
    pub async fn fetch_at(&self, entrypoint: Entrypoint, request: Request) -> Result<Response, Failure> {
        self.fetch_in_turn(request, Some(entrypoint)).await
    }

    /// Has an entrypoint of the version answer a session of calls. The future ends with the session.
    ///
    /// # Errors
    /// Why the session broke.
    pub async fn rpc(&self, entrypoint: Entrypoint, mut opening: Opening) -> Result<(), Failure> {
        let mut tries = 0;
        while tries < MOST_TRIES {
            let turn = self.turn().await.map_err(|error| {
                let trigger = Trigger::Rpc { method: opening.method.clone() };
                self.no_turn(error, trigger, Details::default())
            })?;
            let isolate = turn.isolate().clone();
            match turn.send(|isolate| isolate.rpc(entrypoint.clone(), opening)).await {
                Ending::Closed => return Ok(()),
                Ending::Failure(failure) => return Err(failure),
                Ending::NotStarted(back) => opening = *back,
            }
            tries += u32::from(isolate.is_over());
        }
        Err(never_started())
    }

    async fn fetch_in_turn(&self, mut request: Request, entrypoint: Option<Entrypoint>) -> Result<Response, Failure> {
        let (since, clock, cold) = (SystemTime::now(), Instant::now(), self.isolates().is_empty());
        let mut tries = 0;
        while tries < MOST_TRIES {
            let turn = match self.turn().await {
                Ok(turn) => turn,
                Err(error) => {
                    let trigger =
                        Trigger::Fetch { method: request.method().clone(), url: request.uri().clone(), status: None };
                    let cf = request.extensions().get::<RequestCf>().map(|cf| Arc::clone(&cf.0));
                    let headers = std::mem::take(request.headers_mut());
                    return Err(self.no_turn(error, trigger, Details::of_request(headers, cf)));
                }
            };
            request.extensions_mut().insert(Waited { since, took: clock.elapsed(), cold });
            let (isolate, entrypoint) = (turn.isolate().clone(), entrypoint.clone().map(Box::new));
            match turn.send(|isolate| isolate.fetch_from(entrypoint, request)).await {
                Reply::Response(response) => return Ok(response),
                Reply::Failure(failure) => return Err(failure),
                Reply::NotStarted(back) => request = *back,
            }
            tries += u32::from(isolate.is_over());
        }
        Err(never_started())
    }

    /// Hands a cron trigger to the version's scheduled handler. `scheduled_time` is in milliseconds since 1970.
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn scheduled(&self, cron: &str, scheduled_time: i64) -> Result<Finished, Failure> {
        let turn = self.turn().await.map_err(|error| {
            let trigger = Trigger::Scheduled { cron: cron.to_owned(), scheduled_time };
            self.no_turn(error, trigger, Details::default())
        })?;
        let isolate = turn.send(Isolate::clone);
        isolate.scheduled(cron, scheduled_time).await
    }

    /// Hands events of other Workers to the version's tail handler, as [`Isolate::tail`].
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn tail(&self, events: &str, workers: &[String]) -> Result<Finished, Failure> {
        let turn = self.turn().await.map_err(|error| {
            let trigger = Trigger::Tail { workers: workers.to_owned() };
            self.no_turn(error, trigger, Details::default())
        })?;
        let isolate = turn.send(Isolate::clone);
        isolate.tail(events, workers).await
    }

    /// What becomes of an event that gets no isolate.
    fn no_turn(&self, error: NoTurn, trigger: Trigger, details: Details) -> Failure {
        let failure = match error {
            NoTurn::NotStarted(error) => error.failure(),
            NoTurn::Busy(exceeded) => Failure::overloaded(exceeded),
        };
        unanswered(&*self.options.observer, &self.options.version, EventId(0), trigger, details, &failure);
        failure
    }

    /// Lets go of the isolates that have begun no event for this long; one of them has `first` instead. What they are handling they
    /// finish. Gives how many isolates are left.
    pub fn shrink(&self, first: Duration, others: Duration) -> usize {
        let now = now();
        let mut isolates = self.isolates.write().unwrap_or_else(PoisonError::into_inner);
        let mut place = 0;
        isolates.retain(|isolate| {
            if isolate.is_over() {
                return false;
            }
            let limit = if place == 0 { first } else { others };
            place += 1;
            isolate.load().idle(now) < limit
        });
        isolates.len()
    }

    /// Time that its isolates' threads were busy since this was asked last.
    pub fn take_busy(&self) -> Duration {
        self.isolates().iter().map(|isolate| isolate.load().take_busy()).sum()
    }

    /// What its isolates use.
    pub fn usage(&self) -> Usage {
        let now = now();
        let mut usage = Usage { idle: Duration::MAX, ..Usage::default() };
        for isolate in self.isolates().iter().filter(|isolate| !isolate.is_over()) {
            usage.isolates += 1;
            usage.busy_isolates += usize::from(isolate.load().in_round(now).is_some());
            usage.memory += isolate.memory();
            usage.idle = usage.idle.min(isolate.load().idle(now));
        }
        usage.waiting = self.scale.as_ref().map_or(0, |scale| scale.line.len());
        usage
    }

    /// Waits until the isolates have finished their open events. An event that comes later starts another one.
    pub async fn close(&self) {
        let isolates = std::mem::take(&mut *self.isolates.write().unwrap_or_else(PoisonError::into_inner));
        for isolate in isolates {
            isolate.close().await;
        }
    }

    /// Opens a session for a debugger, if the version was started with one in mind.
    pub async fn inspect(&self) -> Option<InspectorSession> {
        self.isolate().await.ok()?.inspect()
    }
}

/// What a slot's isolates use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub isolates: usize,
    /// How many of them are handling something right now.
    pub busy_isolates: usize,
    /// Bytes that their JavaScript holds, as far as V8 has counted.
    pub memory: usize,
    /// How long ago one of them last began an event.
    pub idle: Duration,
    /// Events in line.
    pub waiting: usize,
}

fn never_started() -> Failure {
    Failure::unusable(
        "The Worker's isolates end before they can handle the request: look at the limits it exceeds in the log",
    )
}
