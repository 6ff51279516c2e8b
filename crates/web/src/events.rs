//! The events that are being handled in one isolate: their requests, their answers, and what they used.
//!
//! An event begins when the host calls a function of JavaScript's dispatcher with its number, and is over when the
//! handler and all `waitUntil()` promises are settled and the response is sent completely. The ops here are how
//! JavaScript asks about an event and answers it.

mod late;
pub(crate) mod ops;
pub(crate) mod respond;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use deno_core::{OpState, ResourceId};
use deno_error::JsErrorBox;
use http::HeaderMap;
use rustc_hash::FxHashMap;
use skep_exchange::rpc::Ending;
use skep_exchange::{Depth, Failure, Reply, Request, RequestCf, Response};
use skep_observe::{EventRecord, Exception, Gathering, LogLine, OpenSpan, Spans, Trigger, Waited, is_failure};
use skep_worker::{Limit, LimitExceeded, Outcome, Used};
use tokio::sync::{Semaphore, oneshot};

use crate::Host;
use crate::body::{BodyResource, Pumped};

pub use respond::StreamedListener;

/// How many Workers may call each other, one the next, for one event.
/// <https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/#limits>
const MOST_DEPTH: u32 = 32;

/// An event's number within its isolate, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub u32);

/// Measures whose code runs. It is in the state of the isolate.
pub trait Turns {
    /// From now on code of this event runs, 0 for nobody's.
    fn pass_to(&self, state: &mut OpState, event: u32);
}

/// Who waits for an event.
#[derive(Debug)]
enum Waiter {
    /// For a response.
    Fetch(oneshot::Sender<Reply>),
    /// For the end of the handler, and what it returned.
    Run(oneshot::Sender<Result<Finished, Failure>>),
    /// For the end of a session of calls.
    Rpc(oneshot::Sender<Ending>),
}

/// A handler without a response that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What the handler returned for the host, as JSON. Empty for most kinds of events.
    pub returned: String,
    /// CPU time of the isolate's thread that was spent on it.
    pub cpu: Duration,
}

/// One event that is being handled.
struct EventState {
    trigger: Trigger,
    head: Option<Head>,
    waiter: Option<Waiter>,
    returned: String,
    outcome: Outcome,
    started: SystemTime,
    clock: Instant,
    /// When it was answered, or its client went away.
    answered: Option<Instant>,
    /// CPU time that was charged to this event alone.
    cpu: Duration,
    /// [`Events::shared_cpu`] when it began.
    shared_before: Duration,
    subrequests: u32,
    /// How many Workers have called each other to begin it.
    depth: Depth,
    /// Permits for its outbound connections, made with the first one.
    connections: Option<Arc<Semaphore>>,
    /// What is kept for who watches.
    gathering: Gathering,
    /// What it waited for, if it is traced.
    spans: Option<Spans>,
    /// The resource of the request's body, or of the session that it answers, 0 if there is none. It is closed with the event.
    body: ResourceId,
    /// More resources that are closed with the event.
    kept: Vec<ResourceId>,
    /// The handler and its `waitUntil()` promises are settled.
    settled: bool,
    /// The response is still being streamed.
    streaming: bool,
    /// Bytes of the request's body that were read.
    received: Option<Rc<Cell<u64>>>,
    /// Bytes of the response's body: those that were in hand, those that were streamed.
    sent: u64,
    streamed: Option<Rc<Cell<u64>>>,
    /// What was told of it while it went on.
    told: Option<Box<Used>>,
}

struct Head {
    url: http::Uri,
    headers: HeaderMap,
    /// `request.cf` as JSON.
    cf: Option<Arc<str>>,
}

/// The events that are being handled in one isolate.
pub struct Events {
    host: Host,
    /// Boxed, as they are moved about. Nobody outside chooses their numbers, so the hash need not withstand anybody.
    open: FxHashMap<u32, Box<EventState>>,
    /// Events that ended in the current turn, whose last CPU time is not charged yet.
    ended: Vec<(EventId, Box<EventState>)>,
    /// Resources of events that ended.
    abandoned: Vec<ResourceId>,
    /// The sum of all equal shares of CPU time since the isolate began: an event's part is what was added while it was open.
    shared_cpu: Duration,
    /// The sum of all charges, and where it must be before any event can have used up its limit.
    charged: Duration,
    next_look: Duration,
}

impl EventState {
    fn used_cpu(&self, shared: Duration) -> Duration {
        self.cpu + (shared - self.shared_before)
    }

    fn used(&self, shared: Duration) -> Used {
        Used {
            wall: self.clock.elapsed(),
            cpu: self.used_cpu(shared),
            subrequests: self.subrequests,
            bytes_in: self.received.as_ref().map_or(0, |read| read.get()),
            bytes_out: self.sent + self.streamed.as_ref().map_or(0, |sent| sent.get()),
        }
    }
}

impl Events {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            open: FxHashMap::default(),
            ended: Vec::new(),
            abandoned: Vec::new(),
            shared_cpu: Duration::ZERO,
            charged: Duration::ZERO,
            next_look: Duration::ZERO,
        }
    }

    /// Begins an event. `headers` are those of who asked for it, if there is one.
    fn begin(
        &mut self,
        event: EventId,
        trigger: Trigger,
        headers: Option<&HeaderMap>,
        waiter: Waiter,
    ) -> &mut EventState {
        let wanted = self.host.observer.begins(headers);
        let (gathering, trace) = Gathering::begin(wanted);
        let spans = trace.map(Spans::new);
        let state = EventState {
            trigger,
            head: None,
            waiter: Some(waiter),
            returned: String::new(),
            outcome: Outcome::Ok,
            started: SystemTime::now(),
            clock: Instant::now(),
            answered: None,
            cpu: Duration::ZERO,
            shared_before: self.shared_cpu,
            subrequests: 0,
            depth: Depth::default(),
            connections: None,
            gathering,
            spans,
            body: 0,
            kept: Vec::new(),
            settled: false,
            streaming: false,
            received: None,
            sent: 0,
            streamed: None,
            told: None,
        };
        self.open.entry(event.0).insert_entry(Box::new(state)).into_mut()
    }

    /// Begins an event without a response.
    pub fn begin_run(&mut self, event: EventId, trigger: Trigger, waiter: oneshot::Sender<Result<Finished, Failure>>) {
        self.begin(event, trigger, None, Waiter::Run(waiter));
    }

    /// Begins an event whose calls come through a session.
    pub(crate) fn begin_rpc(
        &mut self,
        event: EventId,
        trigger: Trigger,
        headers: &HeaderMap,
        depth: Depth,
        session: ResourceId,
        waiter: oneshot::Sender<Ending>,
    ) {
        let state = self.begin(event, trigger, Some(headers), Waiter::Rpc(waiter));
        state.depth = depth;
        state.body = session;
    }

    /// The caller closed an event's session: while a call was `running`, so that nobody gets its result, or after that.
    pub(crate) fn rpc_closed(&mut self, event: EventId, running: bool) {
        if running {
            self.cancel(event);
        } else if let Some(state) = self.open.get_mut(&event.0)
            && let Some(Waiter::Rpc(waiter)) = state.waiter.take()
        {
            state.answered = Some(Instant::now());
            drop(waiter.send(Ending::Closed));
        }
    }

    /// The first call of an event's session threw. The caller has the error already.
    pub(crate) fn rpc_failed(&mut self, event: EventId, failure: Failure) {
        let Some(state) = self.open.get_mut(&event.0) else { return };
        state.outcome = failure.outcome;
        self.tell(event, &failure);
    }

    /// Has a resource closed with its event.
    pub(crate) fn keep(&mut self, event: u32, resource: ResourceId) -> Result<(), JsErrorBox> {
        self.open.get_mut(&event).ok_or_else(over)?.kept.push(resource);
        Ok(())
    }

    /// Charges CPU time to an event. Gives what it has used by now, or nothing if it is over.
    pub fn charge(&mut self, event: EventId, cpu: Duration) -> Option<Duration> {
        let shared = self.shared_cpu;
        let ended = self.ended.iter_mut().find(|(id, _)| *id == event).map(|(_, state)| state);
        let state = self.open.get_mut(&event.0).or(ended)?;
        state.cpu += cpu;
        self.charged += cpu;
        Some(state.used_cpu(shared))
    }

    /// Charges CPU time to all events of the current turn in equal shares.
    pub fn charge_all(&mut self, cpu: Duration) {
        self.charged += cpu;
        if let Ok(events) = u32::try_from(self.in_turn())
            && events > 0
        {
            self.shared_cpu += cpu / events;
        }
    }

    /// An event that has used up its CPU limit, and what it has used.
    pub fn over_cpu(&mut self) -> Option<(EventId, Duration)> {
        if self.charged < self.next_look {
            return None;
        }
        let limit = self.host.limits.cpu;
        let used = self.open.iter().map(|(id, state)| (state.used_cpu(self.shared_cpu), EventId(*id)));
        let (most, event) = used.max().unwrap_or((Duration::ZERO, EventId(0)));
        self.next_look = self.charged + limit.saturating_sub(most);
        (most >= limit).then_some((event, most))
    }

    /// Records the events that ended in the current turn: all its CPU time is charged.
    pub fn record_ended(&mut self) {
        for (event, state) in std::mem::take(&mut self.ended) {
            self.record(event, state);
        }
    }

    /// The numbers of the events that are being handled.
    pub fn open(&self) -> impl Iterator<Item = EventId> + '_ {
        self.open.keys().map(|id| EventId(*id))
    }

    /// How many events are being handled.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// How many events had their turns, or may have had, since the last ones were recorded.
    pub fn in_turn(&self) -> usize {
        self.open.len() + self.ended.len()
    }

    /// Whether no event is being handled.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The client of an event went away. Gives whether anybody was still waiting.
    pub fn cancel(&mut self, event: EventId) -> bool {
        let Some(state) = self.open.get_mut(&event.0) else { return false };
        let waiting = state.waiter.take().is_some();
        if waiting {
            state.answered = Some(Instant::now());
            state.outcome = Outcome::Canceled;
        }
        waiting
    }

    /// Ends an event from outside: its answer is this failure if it has none yet, and it is over.
    pub fn fail(&mut self, event: EventId, failure: Failure) {
        self.answer_with_failure(event, failure);
        if let Some(state) = self.open.remove(&event.0) {
            self.finish(event, state);
        }
    }

    /// Ends every event that has no answer yet and cannot get one, because nothing is pending in the isolate.
    pub fn fail_hung(&mut self) {
        let hung: Vec<EventId> =
            self.open.iter().filter(|(_, state)| !state.streaming).map(|(id, _)| EventId(*id)).collect();
        for event in hung {
            if self.open.get(&event.0).is_some_and(|state| state.waiter.is_some()) {
                self.fail(event, Failure::hung());
            } else if let Some(state) = self.open.remove(&event.0) {
                // Its waitUntil() promises can never be settled either; its client has its answer.
                self.finish(event, state);
            }
        }
    }

    fn answer_with_failure(&mut self, event: EventId, failure: Failure) {
        let Some(state) = self.open.get_mut(&event.0) else { return };
        state.outcome = failure.outcome;
        state.answered = Some(Instant::now());
        let waiter = state.waiter.take();
        self.tell(event, &failure);
        match waiter {
            // Nobody waits any more when the client went away; there is no one to tell.
            Some(Waiter::Fetch(waiter)) => drop(waiter.send(Reply::Failure(failure))),
            Some(Waiter::Run(waiter)) => drop(waiter.send(Err(failure))),
            Some(Waiter::Rpc(waiter)) => drop(waiter.send(Ending::Failure(failure))),
            None => {}
        }
    }

    /// A line was printed.
    pub(crate) fn see_log(&mut self, event: EventId, line: LogLine) {
        if let Some(details) = self.open.get_mut(&event.0).and_then(|state| state.gathering.details()) {
            details.log(&line);
        }
        self.host.observer.log(&self.host.source(event), line);
    }

    /// An error was not caught.
    pub(crate) fn see_exception(&mut self, event: EventId, exception: Exception) {
        if let Some(details) = self.open.get_mut(&event.0).and_then(|state| state.gathering.details()) {
            details.exception(&exception);
        }
        self.host.observer.exception(&self.host.source(event), exception);
    }

    /// Tells the observer why an event failed.
    fn tell(&mut self, event: EventId, failure: &Failure) {
        let exception = Exception {
            name: failure.name.clone(),
            message: failure.message.clone(),
            stack: failure.stack.clone(),
            limit: failure.limit,
            timestamp: SystemTime::now(),
        };
        self.see_exception(event, exception);
    }

    fn answer(&mut self, event: u32, response: Response) -> Result<(), JsErrorBox> {
        let Some(state) = self.open.get_mut(&event) else { return Err(over()) };
        if let Trigger::Fetch { status, .. } = &mut state.trigger {
            *status = Some(response.status().as_u16());
        }
        state.answered = Some(Instant::now());
        state.sent = response.body().as_full().map_or(0, |body| body.len() as u64);
        if let Some(Waiter::Fetch(waiter)) = state.waiter.take()
            && waiter.send(Reply::Response(response)).is_err()
        {
            state.outcome = Outcome::Canceled;
        }
        Ok(())
    }

    fn settle(&mut self, event: EventId) {
        let Some(state) = self.open.get_mut(&event.0) else { return };
        state.settled = true;
        self.finish_if_over(event);
    }

    fn streamed(&mut self, event: EventId, pumped: Pumped) {
        let Some(state) = self.open.get_mut(&event.0) else { return };
        state.streaming = false;
        state.answered = Some(Instant::now());
        match pumped {
            Pumped::Completely => {}
            Pumped::Abandoned => state.outcome = Outcome::Canceled,
            Pumped::Failed(message) => {
                state.outcome = Outcome::Exception;
                let exception = Exception {
                    name: "Error".to_owned(),
                    message,
                    stack: String::new(),
                    limit: None,
                    timestamp: SystemTime::now(),
                };
                self.see_exception(event, exception);
            }
        }
        self.finish_if_over(event);
    }

    fn finish_if_over(&mut self, event: EventId) {
        if self.open.get(&event.0).is_some_and(|state| state.settled && !state.streaming)
            && let Some(state) = self.open.remove(&event.0)
        {
            self.finish(event, state);
        }
    }

    /// The event is over. It is recorded when the turn's CPU time is charged.
    fn finish(&mut self, event: EventId, state: Box<EventState>) {
        if state.body != 0 {
            self.abandoned.push(state.body);
        }
        self.abandoned.extend_from_slice(&state.kept);
        self.ended.push((event, state));
    }

    /// Whether somebody gets the console lines of an event.
    pub(crate) fn has_details(&self, event: u32) -> bool {
        self.open.get(&event).is_some_and(|state| state.gathering.is_wanted())
    }

    fn record(&self, event: EventId, mut state: Box<EventState>) {
        let cpu = state.used_cpu(self.shared_cpu);
        match state.waiter.take() {
            Some(Waiter::Run(waiter)) => {
                drop(waiter.send(Ok(Finished { returned: std::mem::take(&mut state.returned), cpu })));
            }
            Some(Waiter::Rpc(waiter)) => drop(waiter.send(Ending::Closed)),
            Some(Waiter::Fetch(_)) | None => {}
        }
        let mut details = None;
        if state.gathering.is_wanted() {
            let failed = is_failure(&state.trigger, state.outcome);
            details = std::mem::take(&mut state.gathering).end(failed, &*self.host.observer);
        }
        if let Some(details) = &mut details {
            details.trace = state.spans.as_ref().and_then(Spans::take);
            if let Some(head) = state.head.take() {
                (details.headers, details.cf) = (head.headers, head.cf);
            }
        }
        let Used { wall, cpu, subrequests, bytes_in, bytes_out } = state.used(self.shared_cpu);
        let record = EventRecord {
            trigger: state.trigger,
            outcome: state.outcome,
            started: state.started,
            wall,
            cpu,
            subrequests,
            bytes_in,
            bytes_out,
            is_call: state.depth.0 > 0,
            told: state.told,
            details,
        };
        self.host.observer.finished(&self.host.source(event), record);
    }

    /// Something begins that a traced event waits for, in which somebody else may be called.
    pub(crate) fn span(&self, event: u32, name: &str, is_call: bool) -> Option<OpenSpan> {
        Some(self.open.get(&event)?.spans.as_ref()?.open(name, is_call))
    }

    /// Counts a subrequest. Gives the permits for the event's outbound connections.
    pub(crate) fn count_subrequest(&mut self, event: u32) -> Result<Arc<Semaphore>, JsErrorBox> {
        let (allowed, connections) = (self.host.limits.subrequests, self.host.limits.connections);
        let state = self.open.get_mut(&event).ok_or_else(over)?;
        state.subrequests += 1;
        if state.subrequests > allowed {
            let exceeded =
                LimitExceeded { limit: Limit::Subrequests, allowed: allowed.into(), used: state.subrequests.into() };
            return Err(JsErrorBox::generic(exceeded.to_string()));
        }
        Ok(Arc::clone(state.connections.get_or_insert_with(|| Arc::new(Semaphore::new(connections as usize)))))
    }

    /// Counts a subrequest that goes to another Worker. Gives how deep that one is.
    pub(crate) fn count_call(&mut self, event: u32) -> Result<Depth, JsErrorBox> {
        self.count_subrequest(event)?;
        let Depth(depth) = self.open.get(&event).ok_or_else(over)?.depth;
        if depth >= MOST_DEPTH {
            return Err(JsErrorBox::generic(format!(
                "Subrequest depth limit exceeded: {MOST_DEPTH} Workers have called each other for this request. Look for a Worker that calls itself, or the one that called it, without an end."
            )));
        }
        Ok(Depth(depth + 1))
    }

    fn head(&self, event: u32) -> Result<&Head, JsErrorBox> {
        self.open.get(&event).and_then(|state| state.head.as_ref()).ok_or_else(over)
    }
}

fn over() -> JsErrorBox {
    JsErrorBox::type_error(
        "The event that this belongs to is over. Await the work in the handler, or hand its promise to ctx.waitUntil(), so that it is done before the event ends.",
    )
}

/// Begins a fetch event. Gives the resource of the request's body, 0 if there is none.
pub fn begin_fetch(
    state: &mut OpState,
    event: EventId,
    request: Box<Request>,
    waiter: oneshot::Sender<Reply>,
) -> ResourceId {
    let (parts, body) = request.into_parts();
    let (mut body_rid, mut received) = (0, None);
    if !body.is_empty() {
        let body = BodyResource::new(body);
        received = Some(body.bytes_read());
        body_rid = state.resource_table.add(body);
    }
    let depth = parts.extensions.get::<Depth>().copied().unwrap_or_default();
    let cf = parts.extensions.get::<RequestCf>().map(|cf| Arc::clone(&cf.0));
    let waited = parts.extensions.get::<Waited>().copied();
    let trigger = Trigger::Fetch { method: parts.method, url: parts.uri.clone(), status: None };
    let head = Head { url: parts.uri, headers: parts.headers, cf };
    let events = state.borrow_mut::<Events>();
    let state = events.begin(event, trigger, Some(&head.headers), Waiter::Fetch(waiter));
    state.head = Some(head);
    state.depth = depth;
    state.body = body_rid;
    state.received = received;
    if let Some(waited) = waited.filter(|_| state.gathering.is_wanted()) {
        if waited.cold
            && let Some(details) = state.gathering.details()
        {
            details.cold = true;
        }
        if let Some(spans) = &state.spans {
            spans.waited(&waited);
        }
    }
    body_rid
}

/// Closes the request bodies of events that are over, so that whoever sends one need not wait for a reader.
pub fn close_bodies(state: &mut OpState) {
    for rid in std::mem::take(&mut state.borrow_mut::<Events>().abandoned) {
        // One that was read to its end, or given on, is gone.
        if let Ok(resource) = state.resource_table.take_any(rid) {
            resource.close();
        }
    }
}
