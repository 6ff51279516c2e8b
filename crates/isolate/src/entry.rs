//! What JavaScript left for the host: the way into an isolate.

use deno_core::{JsRuntime, v8};
use skep_exchange::Failure;

use crate::Options;
use crate::environment::start_options;
use crate::meter::SharedTurns;
use crate::runtime::{RunEvent, exception};
use crate::thread::StartError;

/// The functions of JavaScript's dispatcher.
pub(crate) struct Dispatcher {
    pub(crate) fetch: v8::Global<v8::Function>,
    pub(crate) scheduled: v8::Global<v8::Function>,
    pub(crate) queue: v8::Global<v8::Function>,
    pub(crate) tail: v8::Global<v8::Function>,
    pub(crate) cancel: v8::Global<v8::Function>,
    pub(crate) rpc: v8::Global<v8::Function>,
}

impl Dispatcher {
    pub(crate) fn of(&self, run: &RunEvent) -> &v8::Global<v8::Function> {
        match run {
            RunEvent::Scheduled { .. } => &self.scheduled,
            RunEvent::Queue { .. } => &self.queue,
            RunEvent::Tail { .. } => &self.tail,
        }
    }
}

/// What `globals.js` left for the host.
pub(crate) struct Entry {
    start: v8::Global<v8::Function>,
    pub(crate) loaded: v8::Global<v8::Function>,
    pub(crate) modules: v8::Global<v8::Object>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) streamed: v8::Global<v8::Function>,
    /// Whose code runs, for the meter.
    pub(crate) turns: SharedTurns,
}

impl Entry {
    /// Takes the host's functions off the global object, and finishes that.
    pub(crate) fn take(js: &mut JsRuntime, inspector: bool) -> Result<Self, StartError> {
        let broken = || StartError::Exception(Failure::unusable("the snapshot of the web platform is not whole"));
        deno_core::scope!(scope, js);
        v8::tc_scope!(let scope, scope);
        let global = scope.get_current_context().global(scope);
        let key = v8::String::new(scope, "__skep").ok_or_else(broken)?;
        let entry = global
            .get(scope, key.into())
            .and_then(|entry| v8::Local::<v8::Object>::try_from(entry).ok())
            .ok_or_else(broken)?;
        global.delete(scope, key.into());
        let object = |scope: &mut v8::PinScope<'_, '_>, name: &str| {
            let value = property(scope, entry, name)?;
            v8::Local::<v8::Object>::try_from(value).ok().map(|object| v8::Global::new(scope, object))
        };
        let function = |scope: &mut v8::PinScope<'_, '_>, object: v8::Local<'_, v8::Object>, name: &str| {
            let value = property(scope, object, name)?;
            v8::Local::<v8::Function>::try_from(value).ok().map(|function| v8::Global::new(scope, function))
        };
        let modules = object(scope, "modules").ok_or_else(broken)?;
        let dispatcher = object(scope, "dispatcher").ok_or_else(broken)?;
        let dispatcher = v8::Local::new(scope, dispatcher);
        let prepare = function(scope, entry, "prepare").ok_or_else(broken)?;
        let prepare = v8::Local::new(scope, prepare);
        let (receiver, inspector) = (v8::undefined(scope).into(), v8::Boolean::new(scope, inspector).into());
        let Some(turns) = prepare.call(scope, receiver, &[inspector]) else { return Err(exception(scope)) };
        let turns = v8::Local::<v8::Uint32Array>::try_from(turns).map_err(|_| broken())?;
        let turns = turns.buffer(scope).map(|buffer| buffer.get_backing_store()).and_then(SharedTurns::new);
        Ok(Self {
            start: function(scope, entry, "start").ok_or_else(broken)?,
            loaded: function(scope, entry, "loaded").ok_or_else(broken)?,
            modules,
            dispatcher: Dispatcher {
                fetch: function(scope, dispatcher, "fetch").ok_or_else(broken)?,
                scheduled: function(scope, dispatcher, "scheduled").ok_or_else(broken)?,
                queue: function(scope, dispatcher, "queue").ok_or_else(broken)?,
                tail: function(scope, dispatcher, "tail").ok_or_else(broken)?,
                cancel: function(scope, dispatcher, "cancel").ok_or_else(broken)?,
                rpc: function(scope, dispatcher, "rpc").ok_or_else(broken)?,
            },
            streamed: function(scope, dispatcher, "streamed").ok_or_else(broken)?,
            turns: turns.ok_or_else(broken)?,
        })
    }

    /// Makes the isolate one version's, before its modules are loaded.
    pub(crate) fn start(&self, js: &mut JsRuntime, options: &Options) -> Result<(), StartError> {
        deno_core::scope!(scope, js);
        v8::tc_scope!(let scope, scope);
        let arguments = [start_options(scope, options)?];
        let start = v8::Local::new(scope, &self.start);
        let receiver = v8::undefined(scope).into();
        match start.call(scope, receiver, &arguments) {
            Some(_) => Ok(()),
            None => Err(exception(scope)),
        }
    }
}

fn property<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'_, v8::Object>,
    name: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    let key = v8::String::new(scope, name)?;
    object.get(scope, key.into())
}
