//! What tests share: versions from source text, an observer that remembers, a runtime for clients, and a harness that
//! prepares V8 before any test runs.

#![forbid(unsafe_code)]

pub mod server;
mod services;

use std::future::Future;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use skep_exchange::{Body, Failure, Reply, Request, Response};
use skep_isolate::{Code, Isolate, MemoryCache, NoServices, Options, StartError};
use skep_observe::{EventRecord, Exception, GoesOn, LogLine, Observer, Source};
use skep_outbound::{AddressPolicy, Client};
use skep_worker::{Compatibility, EntryFormat, Limits, Module, ModuleContent, Used, Version};
use tokio::runtime::Runtime;

pub use services::TestServices;

/// How long a test waits for something that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The tests' own runtime, for clients and servers.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime for tests")
});

/// Runs tests that use V8: prepares it on the main thread first.
pub fn main(tests: Vec<Trial>) {
    skep_isolate::initialize();
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// A test that is an async function. It fails when it panics or takes longer than a minute.
pub fn test<F>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + Send + 'static,
{
    test_within(name, PATIENCE * 3, test)
}

/// A test that is an async function. It fails when it panics or takes longer than this.
pub fn test_within<F>(name: &str, limit: Duration, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + Send + 'static,
{
    Trial::test(name, move || {
        RUNTIME
            .block_on(async { tokio::time::timeout(limit, tokio::spawn(test())).await })
            .map_err(|_| Failed::from(format!("the test took longer than {limit:?}")))?
            .map_err(|error| Failed::from(error.to_string()))
    })
}

/// A test that needs a process of its own, because it measures the process: it runs in a second one of the same program.
pub fn test_alone<F>(name: &'static str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + Send + 'static,
{
    const MARK: &str = "SKEP_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return self::test(name, test);
    }
    Trial::test(name, move || {
        let program = std::env::current_exe()?;
        let output = std::process::Command::new(program).args(["--exact", name]).env(MARK, "1").output()?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        Err(Failed::from(String::from_utf8_lossy(&printed).into_owned()))
    })
}

/// A version with one module of JavaScript, `index.js`, and today's behaviour.
pub fn version(source: &str) -> Version {
    Version {
        worker: "test".to_owned(),
        id: "00000000-0000-4000-8000-000000000000".to_owned(),
        main: "index.js".to_owned(),
        format: EntryFormat::Module,
        modules: vec![module("index.js", source)],
        bindings: Vec::new(),
        compatibility: Compatibility::new("2026-10-06".parse().expect("a date"), Vec::new()).expect("no flags"),
        limits: Limits::default(),
    }
}

/// A module of JavaScript.
pub fn module(name: &str, source: &str) -> Module {
    Module { name: name.to_owned(), content: ModuleContent::EsModule { source: source.into(), source_map: None } }
}

/// An isolate's options for a version: loopback may be reached, everything is remembered.
pub fn options(version: Version) -> (Options, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let options = Options {
        version: Arc::new(version),
        outbound: Client::new(AddressPolicy::with_loopback(), RUNTIME.handle().clone()),
        cache: Arc::new(MemoryCache::new(64 * 1024 * 1024)),
        observer: Arc::clone(&recorder) as Arc<dyn Observer>,
        services: Arc::new(NoServices),
        colors: false,
        inspector: false,
        code: Code::Compile,
        witness: Arc::new(skep_isolate::NoWitness),
    };
    (options, recorder)
}

/// An isolate with a version, and what it prints.
///
/// # Errors
/// When the version cannot be started.
pub async fn start(version: Version) -> Result<(Isolate, Arc<Recorder>), StartError> {
    let (options, recorder) = options(version);
    Ok((Isolate::start(options).await?, recorder))
}

/// A GET request.
pub fn get(url: &str) -> Request {
    request("GET", url, Body::empty())
}

/// A request with a body.
pub fn request(method: &str, url: &str, body: Body) -> Request {
    http_request(method, url, body)
}

fn http_request(method: &str, url: &str, body: Body) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = url.parse().expect("a URL");
    request
}

/// The response of a reply.
///
/// # Errors
/// The failure in its place.
pub fn answered(reply: Reply) -> Result<Response, Failure> {
    match reply {
        Reply::Response(response) => Ok(response),
        Reply::Failure(failure) => Err(failure),
        Reply::NotStarted(_) => Err(Failure::unusable("the isolate had ended")),
    }
}

/// What a Worker of this source answers to `GET http://localhost/`, as text.
///
/// # Panics
/// When it does not start, or does not answer.
pub async fn answer(source: &str) -> String {
    let (isolate, _) = start(version(source)).await.expect("the Worker starts");
    text(answered(isolate.fetch(get("http://localhost/")).await).expect("the Worker answers")).await
}

/// A response's body as text.
pub async fn text(response: Response) -> String {
    let bytes = response.into_body().collect(1 << 30).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// What an observer saw.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A console line.
    Log(Source, LogLine),
    /// An error that nobody caught.
    Exception(Source, Exception),
    /// An event that goes on for long: what it has used, and what it had when this was seen last.
    GoesOn(Used, Option<Used>),
    /// An event that is over.
    Finished(Source, EventRecord),
}

/// An observer that remembers everything.
#[derive(Default)]
pub struct Recorder {
    seen: Mutex<Vec<Seen>>,
    bell: Condvar,
}

impl Recorder {
    fn push(&self, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        self.bell.notify_all();
    }

    /// Everything so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets everything so far.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until something has been seen, and gives what `find` makes of it.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait<T>(&self, find: impl Fn(&Seen) -> Option<T>) -> T {
        // Other tests go on meanwhile.
        tokio::task::block_in_place(|| self.wait_here(find))
    }

    fn wait_here<T>(&self, find: impl Fn(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = seen.iter().find_map(&find) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing of the kind was seen; this was: {seen:#?}");
            seen = self.bell.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the record of an event.
    pub fn finished(&self) -> EventRecord {
        self.wait(|seen| match seen {
            Seen::Finished(_, record) => Some(record.clone()),
            Seen::Log(..) | Seen::Exception(..) | Seen::GoesOn(..) => None,
        })
    }

    /// Waits for an error that nobody caught.
    pub fn exception(&self) -> Exception {
        self.wait(|seen| match seen {
            Seen::Exception(_, exception) => Some(exception.clone()),
            Seen::Log(..) | Seen::Finished(..) | Seen::GoesOn(..) => None,
        })
    }

    /// The console's lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen()
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::Log(_, line) => Some(line.message),
                Seen::Exception(..) | Seen::Finished(..) | Seen::GoesOn(..) => None,
            })
            .collect()
    }
}

impl Observer for Recorder {
    fn log(&self, source: &Source, line: LogLine) {
        self.push(Seen::Log(source.clone(), line));
    }

    fn exception(&self, source: &Source, exception: Exception) {
        self.push(Seen::Exception(source.clone(), exception));
    }

    fn goes_on(&self, event: &GoesOn<'_>) {
        self.push(Seen::GoesOn(event.used, event.told));
    }

    fn finished(&self, source: &Source, record: EventRecord) {
        self.push(Seen::Finished(source.clone(), record));
    }
}
