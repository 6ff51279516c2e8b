//! A V8 isolate with one version loaded: everything that touches V8, on the isolate's own thread.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::{JsRuntime, PollEventLoopOptions, v8};
use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::{Failure, Reply, Request};
use skep_observe::Trigger;
use skep_web::services::{Entrypoint, Services};
use skep_web::{EventId, Events, Finished, Host, Turns};
use skep_worker::{EntryFormat, Event, LimitExceeded, ModuleContent, Version};
use tokio::sync::oneshot;

use crate::blank::Blank;
use crate::entry::{Dispatcher, Entry};
use crate::helpers::Helpers;
use crate::limits::{self, Guard, Verdict};
use crate::loader::{self, PlatformModules, VersionLoader};
use crate::meter::Meter;
use crate::queue::Queue;
use crate::thread::StartError;
use crate::watchdog::Watch;
use crate::{Code, Options};

/// An event without a response.
#[derive(Clone, Debug)]
pub(crate) enum RunEvent {
    Scheduled { cron: String, scheduled_time: i64 },
    Queue { queue: String, messages: String },
    Tail { events: String, workers: Vec<String> },
}

impl RunEvent {
    pub(crate) fn trigger(&self) -> Trigger {
        match self {
            Self::Scheduled { cron, scheduled_time } => {
                Trigger::Scheduled { cron: cron.clone(), scheduled_time: *scheduled_time }
            }
            Self::Queue { queue, .. } => Trigger::Queue { queue: queue.clone() },
            Self::Tail { workers, .. } => Trigger::Tail { workers: workers.clone() },
        }
    }
}

/// One version in one isolate.
pub(crate) struct Runtime {
    // Dropped first: its callbacks point to the guard.
    js: JsRuntime,
    meter: Rc<Meter>,
    guard: Arc<Guard>,
    dispatcher: Dispatcher,
    handlers: Vec<Event>,
    startup_cpu: Duration,
    code: HashMap<String, Bytes>,
}

impl Runtime {
    /// Loads a version into an isolate.
    pub(crate) async fn start(
        blank: Blank,
        options: &Options,
        services: Arc<dyn Services>,
        queue: &Arc<Queue>,
        helpers: &Arc<Helpers>,
    ) -> Result<Self, StartError> {
        let version = &options.version;
        let size = version.size();
        if size > version.limits.script_size {
            let exceeded = LimitExceeded {
                limit: skep_worker::Limit::ScriptSize,
                allowed: version.limits.script_size as u64,
                used: size as u64,
            };
            return Err(StartError::Limit(exceeded));
        }
        let Blank { mut js, guard, platform, loader, entry } = blank;
        guard.set_limits(&version.limits);
        loader.set(VersionLoader::new(Arc::clone(version), options.inspector, options.code.clone()));
        skep_web::install(&mut js.op_state().borrow_mut(), host(options, services));
        let handle = js.v8_isolate().thread_safe_handle();
        let meter = Meter::new(
            Watch::start(handle, Arc::clone(&guard), Arc::clone(queue)),
            version.limits.clone(),
            Arc::clone(helpers),
            entry.turns.clone(),
        );
        let context = js.main_context();
        {
            let state = js.op_state();
            let mut state = state.borrow_mut();
            state.put::<Rc<dyn Turns>>(Rc::clone(&meter) as Rc<dyn Turns>);
            // For the interrupt, which finds its way from V8 to the state and no further.
            state.put((Rc::clone(&meter), context));
        }
        meter.begin_startup();
        let loaded = load(&mut js, entry, options, &platform, &meter).await;
        let startup_cpu = meter.end_startup();
        guard.started();
        if let Some(verdict) = guard.verdict() {
            return Err(StartError::Limit(verdict.exceeded));
        }
        let (dispatcher, handlers) = loaded?;
        let mut runtime = Self { js, meter, guard, dispatcher, handlers, startup_cpu, code: HashMap::new() };
        if !matches!(options.code, Code::Compile) {
            // What was compiled is handed over by the event loop.
            std::future::poll_fn(|context| {
                let _ = runtime.poll(context);
                Poll::Ready(())
            })
            .await;
            runtime.code = loader.take_code();
        }
        Ok(runtime)
    }

    /// The events that the version has handlers for.
    pub(crate) fn handlers(&self) -> &[Event] {
        &self.handlers
    }

    /// What compiling the modules gave, if it is to be kept.
    pub(crate) fn take_code(&mut self) -> HashMap<String, Bytes> {
        std::mem::take(&mut self.code)
    }

    /// CPU time that loading the version's modules took.
    pub(crate) fn startup_cpu(&self) -> Duration {
        self.startup_cpu
    }

    pub(crate) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Whether a limit has stopped this isolate.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.guard.verdict()
    }

    /// Where new sessions of a debugger are handed in.
    pub(crate) fn inspector(
        &self,
    ) -> deno_core::futures::channel::mpsc::UnboundedSender<deno_core::InspectorSessionProxy> {
        self.js.inspector().get_session_sender()
    }

    /// The turns of this poll begin. Gives the thread's CPU time in nanoseconds.
    pub(crate) fn begin_turns(&self) -> u64 {
        self.meter.begin_turns()
    }

    /// The turns of this poll are over. Gives the thread's CPU time in nanoseconds.
    pub(crate) fn end_turns(&mut self) -> u64 {
        limits::check_outside_memory(self.js.v8_isolate(), &self.guard);
        limits::collect_new_buffers(&mut self.js, &self.guard);
        let state = self.js.op_state();
        let mut state = state.borrow_mut();
        let verdict = self.meter.end_turns(&mut state);
        skep_web::events::close_bodies(&mut state);
        if let Some(verdict) = verdict {
            self.guard.stop(verdict);
        }
        self.meter.mark()
    }

    /// Hands a request to the version's fetch handler. The answer goes to `waiter`.
    pub(crate) fn fetch(
        &mut self,
        event: EventId,
        request: Box<Request>,
        entrypoint: Option<&Entrypoint>,
        waiter: oneshot::Sender<Reply>,
    ) {
        let method = request.method().clone();
        let state = self.js.op_state();
        let body = skep_web::events::begin_fetch(&mut state.borrow_mut(), event, request, waiter);
        self.call(
            event,
            |dispatcher| &dispatcher.fetch,
            |scope| {
                let (entrypoint, props) = entrypoint_arguments(scope, entrypoint)?;
                let method = string(scope, method.as_str())?;
                Some(vec![integer(scope, event.0), entrypoint, method, integer(scope, body), props])
            },
        );
    }

    /// Has a session of calls answered by an entrypoint. The end goes to `waiter`.
    pub(crate) fn rpc(
        &mut self,
        event: EventId,
        opening: Opening,
        entrypoint: &Entrypoint,
        waiter: oneshot::Sender<Ending>,
    ) {
        let state = self.js.op_state();
        let session = skep_web::begin_rpc(&mut state.borrow_mut(), event, opening, waiter);
        self.call(
            event,
            |dispatcher| &dispatcher.rpc,
            |scope| {
                let (entrypoint, props) = entrypoint_arguments(scope, Some(entrypoint))?;
                Some(vec![integer(scope, event.0), entrypoint, integer(scope, session), props])
            },
        );
    }

    /// Hands an event without a response to its handler. What it returns goes to `waiter`.
    pub(crate) fn run(&mut self, event: EventId, run: &RunEvent, waiter: oneshot::Sender<Result<Finished, Failure>>) {
        let state = self.js.op_state();
        state.borrow_mut().borrow_mut::<Events>().begin_run(event, run.trigger(), waiter);
        self.call(
            event,
            |dispatcher| dispatcher.of(run),
            |scope| {
                let id = integer(scope, event.0);
                let entrypoint = v8::String::empty(scope).into();
                Some(match run {
                    RunEvent::Scheduled { cron, scheduled_time } => {
                        let time = v8::Number::new(scope, *scheduled_time as f64).into();
                        vec![id, entrypoint, time, string(scope, cron)?]
                    }
                    RunEvent::Queue { queue, messages } => {
                        vec![id, entrypoint, string(scope, queue)?, string(scope, messages)?]
                    }
                    RunEvent::Tail { events, .. } => vec![id, entrypoint, string(scope, events)?],
                })
            },
        );
    }

    /// The client of a fetch event went away.
    pub(crate) fn cancel(&mut self, event: EventId) {
        let state = self.js.op_state();
        if state.borrow_mut().borrow_mut::<Events>().cancel(event) {
            self.call(event, |dispatcher| &dispatcher.cancel, |scope| Some(vec![integer(scope, event.0)]));
        }
    }

    /// Calls a function of the dispatcher, and the continuations that are ready then, as the event's own turn.
    fn call(
        &mut self,
        event: EventId,
        function: impl FnOnce(&Dispatcher) -> &v8::Global<v8::Function>,
        arguments: impl for<'s> FnOnce(&mut v8::PinScope<'s, '_>) -> Option<Vec<v8::Local<'s, v8::Value>>>,
    ) {
        self.meter.begin_call(event);
        {
            deno_core::scope!(scope, self.js);
            v8::tc_scope!(let scope, scope);
            let function = v8::Local::new(scope, function(&self.dispatcher));
            let receiver = v8::undefined(scope).into();
            if let Some(arguments) = arguments(scope) {
                function.call(scope, receiver, &arguments);
            }
            // What runs next belongs to no event until it says so.
            let nothing = v8::undefined(scope).into();
            scope.set_continuation_preserved_embedder_data(nothing);
            if !self.guard.is_stopped() {
                scope.perform_microtask_checkpoint();
            }
        }
        let state = self.js.op_state();
        self.meter.end_call(&mut state.borrow_mut());
    }

    /// Runs what is ready. Ready when nothing is pending any more; events that are still open then can never be answered.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.meter.go_on(self.with_events(|events| events.in_turn()));
        let polled = self.js.poll_event_loop(context, PollEventLoopOptions::default());
        if self.guard.is_stopped() {
            return Poll::Pending;
        }
        if let Err(error) = ready!(polled) {
            self.report(&error);
            // One error ends a poll early: what is ready behind it runs at the next one.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Shows an error that came out of the event loop itself.
    fn report(&self, error: &CoreError) {
        let failure = failure_of(error);
        let state = self.js.op_state();
        let state = state.borrow();
        let host = state.borrow::<Host>();
        let source =
            skep_observe::Source { worker: Arc::clone(&host.worker), version: Arc::clone(&host.version), event: 0 };
        let exception = skep_observe::Exception {
            name: failure.name,
            message: failure.message,
            stack: failure.stack,
            limit: None,
            timestamp: std::time::SystemTime::now(),
        };
        host.observer.exception(&source, exception);
    }

    /// Bytes of its heap that are in use or garbage, and of buffers outside.
    pub(crate) fn memory(&mut self) -> usize {
        let statistics = self.js.v8_isolate().get_heap_statistics();
        statistics.used_heap_size() + statistics.external_memory()
    }

    /// Collects all garbage, and gives the memory back: for when there is nothing else to do. Everybody else goes first.
    pub(crate) fn collect_garbage(&mut self) {
        let Self { js, meter, .. } = self;
        meter.behind_others(|| js.v8_isolate().low_memory_notification());
    }

    /// Tells of events that go on for long.
    pub(crate) fn tell_of_long(&self) {
        self.with_events(|events| events.tell_of_long());
    }

    /// Ends events whose `waitUntil()` promises took longer than they may.
    pub(crate) fn end_late_events(&self) {
        let late = self.with_events(|events| events.over_wait_until());
        for event in late {
            self.with_events(|events| events.end_wait_until(event));
        }
    }

    /// What the open events are.
    pub(crate) fn with_events<T>(&self, with: impl FnOnce(&mut Events) -> T) -> T {
        let state = self.js.op_state();
        let mut state = state.borrow_mut();
        with(state.borrow_mut::<Events>())
    }
}

/// What a version's isolate gets from outside.
fn host(options: &Options, services: Arc<dyn Services>) -> Host {
    Host {
        outbound: options.outbound.clone(),
        cache: Arc::clone(&options.cache),
        observer: Arc::clone(&options.observer),
        services,
        limits: options.version.limits.clone(),
        compatibility: options.version.compatibility.clone(),
        worker: options.version.worker.as_str().into(),
        version: options.version.id.as_str().into(),
    }
}

/// Loads the version's modules and runs their top level.
async fn load(
    js: &mut JsRuntime,
    entry: Entry,
    options: &Options,
    platform: &PlatformModules,
    meter: &Meter,
) -> Result<(Dispatcher, Vec<Event>), StartError> {
    let version = &options.version;
    entry.start(js, options)?;
    let Entry { modules, loaded, dispatcher, streamed, .. } = entry;
    *platform.borrow_mut() = Some(modules);
    js.op_state().borrow_mut().put(skep_web::events::StreamedListener(streamed));
    js.v8_isolate().set_allow_wasm_code_generation_callback(loader::may_compile_wasm);
    let evals = version.compatibility.is_on("allow_eval_during_startup");
    allow_eval(js, evals);
    let namespace = match version.format {
        EntryFormat::Module => Some(load_module(js, version, meter).await?),
        EntryFormat::ServiceWorker => {
            run_script(js, options)?;
            None
        }
    };
    allow_eval(js, false);
    let handlers = call_loaded(js, &loaded, namespace.as_ref())?;
    Ok((dispatcher, handlers))
}

fn allow_eval(js: &mut JsRuntime, allow: bool) {
    deno_core::scope!(scope, js);
    scope.get_current_context().set_allow_generation_from_strings(allow);
}

async fn load_module(
    js: &mut JsRuntime,
    version: &Version,
    meter: &Meter,
) -> Result<v8::Global<v8::Object>, StartError> {
    let start_error = |error: CoreError| StartError::Exception(failure_of(&error));
    let specifier = loader::specifier(&version.main)
        .map_err(|error| StartError::Exception(Failure::unusable(error.to_string())))?;
    let module = js.load_main_es_module(&specifier).await.map_err(start_error)?;
    let mut evaluated = Box::pin(js.mod_evaluate(module));
    // A top-level await may wait for the event loop, but the modules' own code has one budget.
    std::future::poll_fn(|context| {
        meter.resume_startup();
        if let Poll::Ready(result) = evaluated.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        match js.poll_event_loop(context, PollEventLoopOptions::default()) {
            Poll::Ready(Ok(())) => match evaluated.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => Poll::Ready(Err(CoreErrorKind::PendingPromiseResolution.into_box())),
            },
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
    .map_err(start_error)?;
    js.get_module_namespace(module).map_err(start_error)
}

fn run_script(js: &mut JsRuntime, options: &Options) -> Result<(), StartError> {
    let version = &options.version;
    let unusable = |message: &str| StartError::Exception(Failure::unusable(message));
    let Some(ModuleContent::EsModule { source, source_map }) =
        version.module(&version.main).map(|module| &module.content)
    else {
        return Err(unusable("the version has no main script"));
    };
    let name = loader::specifier(&version.main).map_err(|error| unusable(&error.to_string()))?;
    let code = loader::code(source, source_map.as_deref().filter(|_| options.inspector));
    js.execute_script(name.to_string(), code).map(drop).map_err(|error| StartError::Exception(failure_of_js(&error)))
}

/// Tells `globals.js` that the modules are loaded. Gives the events that have handlers.
fn call_loaded(
    js: &mut JsRuntime,
    loaded: &v8::Global<v8::Function>,
    namespace: Option<&v8::Global<v8::Object>>,
) -> Result<Vec<Event>, StartError> {
    deno_core::scope!(scope, js);
    v8::tc_scope!(let scope, scope);
    let loaded = v8::Local::new(scope, loaded);
    let receiver = v8::undefined(scope).into();
    let argument = match namespace {
        Some(namespace) => v8::Local::new(scope, namespace).into(),
        None => v8::undefined(scope).into(),
    };
    let Some(names) = loaded.call(scope, receiver, &[argument]) else { return Err(exception(scope)) };
    let mut handlers = Vec::new();
    if let Ok(names) = v8::Local::<v8::Array>::try_from(names) {
        for index in 0..names.length() {
            let name = names.get_index(scope, index).map(|name| name.to_rust_string_lossy(scope)).unwrap_or_default();
            let events = [Event::Fetch, Event::Scheduled, Event::Queue, Event::Tail, Event::Alarm];
            handlers.extend(events.into_iter().find(|event| event.handler() == name));
        }
    }
    Ok(handlers)
}

/// The exception that a call left behind.
pub(crate) fn exception(scope: &mut v8::PinnedRef<'_, v8::TryCatch<'_, '_, v8::HandleScope<'_>>>) -> StartError {
    match scope.exception() {
        Some(error) => StartError::Exception(failure_of_js(&JsError::from_v8_exception(scope, error))),
        None => StartError::Exception(Failure::unusable("execution was terminated")),
    }
}

pub(crate) fn set(
    scope: &mut v8::PinScope<'_, '_>,
    object: v8::Local<'_, v8::Object>,
    name: &str,
    value: v8::Local<'_, v8::Value>,
) {
    if let Some(key) = v8::String::new(scope, name) {
        object.set(scope, key.into(), value);
    }
}

pub(crate) fn string<'s>(scope: &mut v8::PinScope<'s, '_>, text: &str) -> Option<v8::Local<'s, v8::Value>> {
    v8::String::new(scope, text).map(Into::into)
}

/// An entrypoint as the dispatcher takes it: its name, empty for the default one, and its properties as JSON, empty if there
/// are none.
fn entrypoint_arguments<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    entrypoint: Option<&Entrypoint>,
) -> Option<(v8::Local<'s, v8::Value>, v8::Local<'s, v8::Value>)> {
    let empty = v8::String::empty(scope).into();
    let text = |scope: &mut v8::PinScope<'s, '_>, text: Option<&String>| match text {
        Some(text) => string(scope, text),
        None => Some(empty),
    };
    let name = text(scope, entrypoint.and_then(|entrypoint| entrypoint.name.as_ref()))?;
    let props = text(scope, entrypoint.and_then(|entrypoint| entrypoint.props.as_ref()))?;
    Some((name, props))
}

fn integer<'s>(scope: &mut v8::PinScope<'s, '_>, number: u32) -> v8::Local<'s, v8::Value> {
    v8::Integer::new_from_unsigned(scope, number).into()
}

/// What went wrong, in plain types.
pub(crate) fn failure_of(error: &CoreError) -> Failure {
    match error.as_kind() {
        CoreErrorKind::Js(error) => failure_of_js(error),
        CoreErrorKind::PendingPromiseResolution => Failure::unusable(
            "Top-level await never settled: a module waits for a promise that nothing can resolve while modules are loaded",
        ),
        other => Failure::unusable(other.to_string()),
    }
}

fn failure_of_js(error: &JsError) -> Failure {
    let name = error.name.clone().unwrap_or_else(|| "Error".to_owned());
    let message = error.message.clone().unwrap_or_else(|| error.exception_message.clone());
    let mut stack = error.stack.clone().unwrap_or_default();
    if stack.is_empty() {
        stack = error.exception_message.clone();
    }
    if error.frames.is_empty() || name == "SyntaxError" {
        // A syntax error has no frames of its own; where it is stands in the message's frame.
        if let Some(frame) = error.frames.first()
            && let (Some(file), Some(line), Some(column)) = (&frame.file_name, frame.line_number, frame.column_number)
            && !stack.contains(file)
        {
            stack.push_str(&format!("\n    at {file}:{line}:{column}"));
        }
    }
    Failure::exception(name, message, stack)
}
