//! An isolate made from the snapshot, before there is a version for it.

use std::rc::Rc;
use std::sync::Arc;

use deno_core::{JsRuntime, RuntimeOptions};

use crate::Options;
use crate::entry::Entry;
use crate::life::Life;
use crate::limits::{self, Guard};
use crate::loader::{self, LateLoader, PlatformModules};
use crate::runtime::failure_of;
use crate::thread::StartError;

static SNAPSHOT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/web.snapshot"));

/// What an isolate is made for, before there is a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// The memory limit in bytes.
    pub(crate) memory: usize,
    /// Whether a debugger may attach.
    pub(crate) inspector: bool,
}

impl Build {
    /// What a version's isolate must be made for.
    pub(crate) fn of(options: &Options) -> Self {
        Self { memory: options.version.limits.memory, inspector: options.inspector }
    }
}

/// An isolate made from the snapshot, without a version.
pub(crate) struct Blank {
    // Dropped first: its callbacks point to the guard.
    pub(crate) js: JsRuntime,
    pub(crate) guard: Arc<Guard>,
    pub(crate) platform: PlatformModules,
    pub(crate) loader: Rc<LateLoader>,
    pub(crate) entry: Entry,
}

impl Blank {
    /// Makes an isolate from the snapshot.
    pub(crate) fn new(build: Build, life: &Arc<Life>) -> Result<Self, StartError> {
        let guard = Guard::new(build.memory, life);
        let platform = PlatformModules::default();
        let loader = Rc::new(LateLoader::default());
        let mut js = new_runtime(build, &guard, &platform, Rc::clone(&loader))?;
        guard.set_isolate(js.v8_isolate().thread_safe_handle());
        limits::watch_memory(&mut js, &guard);
        let entry = Entry::take(&mut js, build.inspector)?;
        Ok(Self { js, guard, platform, loader, entry })
    }
}

fn new_runtime(
    build: Build,
    guard: &Arc<Guard>,
    platform: &PlatformModules,
    loader: Rc<LateLoader>,
) -> Result<JsRuntime, StartError> {
    let platform = Rc::clone(platform);
    let js = JsRuntime::try_new(RuntimeOptions {
        module_loader: Some(loader),
        extensions: skep_web::extensions(),
        startup_snapshot: Some(SNAPSHOT),
        skip_op_registration: true,
        create_params: Some(limits::create_params(guard)),
        custom_module_evaluation_cb: Some(Box::new(move |scope, _, name, code| {
            loader::evaluate(&platform, scope, name, &code)
        })),
        // structuredClone() and ports transfer buffers through it.
        shared_array_buffer_store: Some(deno_core::SharedArrayBufferStore::default()),
        inspector: build.inspector,
        is_main: true,
        ..RuntimeOptions::default()
    })
    .map_err(|error| StartError::Exception(failure_of(&error)))?;
    js.lazy_init_extensions(skep_web::extension_arguments(Arc::clone(guard.held())))
        .map_err(|error| StartError::Exception(failure_of(&error)))?;
    Ok(js)
}
