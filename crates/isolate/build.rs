//! Makes the V8 startup snapshot: the web platform, loaded once, ready to be deserialised into each isolate.
//!
//! Before that, a Worker answers two requests in it (`warm_up.js`), so that what nearly every Worker runs is in the snapshot as
//! compiled code, and need not be compiled again on the first request of each isolate.

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use deno_core::JsRuntimeForSnapshot;
use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};
use skep_exchange::{Body, Request};
use skep_observe::{EventRecord, Exception, LogLine, Observer, Source};
use skep_outbound::{AddressPolicy, Client};
use skep_web::services::NoServices;
use skep_web::{EventId, Host, MemoryCache};
use skep_worker::{Compatibility, Limits};

/// The Worker that answers, and what it is asked.
const WARM_UP: &str = include_str!("warm_up.js");
/// The events of that script, with their methods.
const EVENTS: [u32; 2] = [1, 2];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let options = CreateSnapshotOptions {
        cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
        startup_snapshot: None,
        skip_op_registration: false,
        extensions: skep_web::extensions(),
        extension_transpiler: None,
        with_runtime_cb: Some(Box::new(warm_up)),
    };
    let snapshot = create_snapshot(options, None).expect("the web platform's own JavaScript runs");
    fs::write(out.join("web.snapshot"), &snapshot.output).expect("OUT_DIR can be written");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=warm_up.js");
    for file in snapshot.files_loaded_during_snapshot {
        println!("cargo:rerun-if-changed={}", file.display());
    }
}

/// Has a Worker answer some requests.
fn warm_up(runtime: &mut JsRuntimeForSnapshot) {
    let arguments = skep_web::extension_arguments(Arc::default());
    runtime.lazy_init_extensions(arguments).expect("the extensions take their state");
    let state = runtime.op_state();
    let answers = {
        let mut state = state.borrow_mut();
        skep_web::install(&mut state, host());
        EVENTS.map(|event| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = "http://localhost/path?name=value".parse().expect("a URL");
            request.headers_mut().insert("accept", "*/*".parse().expect("a value"));
            let (waiter, answer) = tokio::sync::oneshot::channel();
            skep_web::events::begin_fetch(&mut state, EventId(event), Box::new(request), waiter);
            answer
        })
    };
    runtime.execute_script("warm_up.js", WARM_UP).expect("the Worker runs");
    runtime.v8_isolate().perform_microtask_checkpoint();
    for mut answer in answers {
        assert!(answer.try_recv().is_ok(), "the Worker answers in its first turn");
    }
}

/// A host that nobody asks for anything.
fn host() -> Host {
    Host {
        outbound: Client::new(AddressPolicy::global_only(), tokio::runtime::Handle::current()),
        cache: Arc::new(MemoryCache::new(0)),
        observer: Arc::new(Nobody),
        services: Arc::new(NoServices),
        limits: Limits::default(),
        compatibility: Compatibility::default(),
        worker: "warm-up".into(),
        version: "warm-up".into(),
    }
}

/// Nobody looks at it.
struct Nobody;

impl Observer for Nobody {
    fn log(&self, _: &Source, _: LogLine) {}

    fn exception(&self, _: &Source, _: Exception) {}

    fn finished(&self, _: &Source, _: EventRecord) {}
}
