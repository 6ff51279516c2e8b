//! The web platform inside an isolate: the deno_* extensions, the globals that only Workers have, and the ops behind
//! them. What it is not: the isolate itself, its thread and its limits (`isolate`), or where requests come from.
//!
//! JavaScript is under `js/`; `globals.js` is its entry, everything else hangs below. It runs once, when `isolate` makes
//! the snapshot; an isolate only calls `start`.

#![forbid(unsafe_code)]

mod body;
pub mod cache;
mod console;
mod digest;
pub mod events;
mod fetch;
mod held;
mod html_rewriter;
mod rpc;
pub mod services;
mod websocket;

use std::sync::Arc;

use deno_core::{Extension, ExtensionArguments, OpDecl, OpState};
use skep_observe::{Observer, Source};
use skep_outbound::Client;
use skep_worker::{Compatibility, Limits};

pub use cache::{CacheStore, MemoryCache};
pub use events::{EventId, Events, Finished, Turns};
pub use held::HeldMemory;
pub use rpc::begin_rpc;
pub use services::Services;

/// What an isolate gets from outside.
#[derive(Clone)]
pub struct Host {
    /// The client behind `fetch()` and `WebSocket`.
    pub outbound: Client,
    /// The store behind `caches`.
    pub cache: Arc<dyn CacheStore>,
    /// Who sees logs and events.
    pub observer: Arc<dyn Observer>,
    /// Who serves bindings that reach outside of the isolate.
    pub services: Arc<dyn Services>,
    /// What the version may use.
    pub limits: Limits,
    /// The compatibility flags of the version.
    pub compatibility: Compatibility,
    /// The Worker's name.
    pub worker: Arc<str>,
    /// The version's id.
    pub version: Arc<str>,
}

impl Host {
    fn source(&self, event: EventId) -> Source {
        Source { worker: Arc::clone(&self.worker), version: Arc::clone(&self.version), event: event.0 }
    }
}

deno_core::extension!(
    skep_web,
    deps = [deno_webidl, deno_web, deno_fetch, deno_crypto],
    ops = [
        body::op_body_length,
        cache::op_cache_delete,
        cache::op_cache_match,
        cache::op_cache_put,
        console::op_compatibility_flags,
        console::op_console,
        console::op_console_arguments_wanted,
        console::op_exception,
        console::op_skep_now,
        digest::op_digest_finish,
        digest::op_digest_start,
        digest::op_digest_update,
        digest::op_timing_safe_equal,
        events::ops::op_event_failed,
        events::ops::op_event_returned,
        events::ops::op_event_runs,
        events::ops::op_event_settled,
        events::ops::op_request_cf,
        events::ops::op_request_headers,
        events::ops::op_request_url,
        events::respond::op_respond,
        events::respond::op_respond_stream,
        events::respond::op_respond_text,
        fetch::op_data_url,
        fetch::op_fetch_finish,
        fetch::op_fetch_start,
        html_rewriter::op_html_check_selector,
        html_rewriter::op_html_end,
        html_rewriter::op_html_output,
        html_rewriter::op_html_resume,
        html_rewriter::op_html_start,
        html_rewriter::op_html_write,
        rpc::op_rpc_closed,
        rpc::op_rpc_failed,
        rpc::op_rpc_next,
        rpc::op_rpc_open,
        rpc::op_rpc_pair,
        rpc::op_rpc_send,
        rpc::op_rpc_send_when_room,
        rpc::op_rpc_sent,
        rpc::op_rpc_sink,
        rpc::op_rpc_sink_end,
        rpc::op_rpc_sink_write,
        rpc::op_rpc_source,
        services::op_rate_limit,
        services::op_service_fetch,
        websocket::op_websocket_buffered,
        websocket::op_websocket_close,
        websocket::op_websocket_connect,
        websocket::op_websocket_next,
        websocket::op_websocket_pair,
        websocket::op_websocket_send_binary,
        websocket::op_websocket_send_text,
    ],
    esm_entry_point = "ext:skep_web/globals.js",
    esm = [
        dir "js",
        "cache.js",
        "console.js",
        "context.js",
        "crypto.js",
        "event_source.js",
        "events.js",
        "fetch.js",
        "flags.js",
        "globals.js",
        "html_rewriter.js",
        "http.js",
        "rpc.js",
        "rpc_errors.js",
        "rpc_stubs.js",
        "rpc_values.js",
        "services.js",
        "streams.js",
        "turns.js",
        "websocket.js",
        "workers.js",
    ],
    lazy_loaded_js = [dir "js", "ext:deno_net/02_tls.js" = "tls_stub.js"],
    middleware = disable_foreign_ops,
);

/// The extensions, in their order: the same for the snapshot and for an isolate made from it.
pub fn extensions() -> Vec<Extension> {
    vec![
        deno_webidl::deno_webidl::lazy_init(),
        deno_web::deno_web::lazy_init(),
        deno_crypto::deno_crypto::lazy_init(),
        deno_fetch::deno_fetch::lazy_init(),
        skep_web::lazy_init(),
    ]
}

/// The state that the extensions want at the start of an isolate. What they hold for JavaScript is counted in `held`.
pub fn extension_arguments(held: Arc<HeldMemory>) -> Vec<ExtensionArguments> {
    vec![
        deno_webidl::deno_webidl::args(),
        deno_web::deno_web::args(
            Arc::new(held::Blobs::new(held)),
            None,
            false,
            deno_web::InMemoryBroadcastChannel::default(),
        ),
        deno_crypto::deno_crypto::args(None),
        deno_fetch::deno_fetch::args(deno_fetch::Options::default()),
        skep_web::args(),
    ]
}

/// Puts what comes from outside into an isolate's state.
pub fn install(state: &mut OpState, host: Host) {
    // Our JavaScript has 0 for "no resource", so nothing else may have that number.
    let reserved = state.resource_table.add(Reserved);
    debug_assert_eq!(reserved, 0, "an extension took the first resource");
    state.put(Events::new(host.clone()));
    state.put(skep_exchange::rpc::Room::default());
    state.put(host);
}

/// Takes a place in the resource table.
struct Reserved;

impl deno_core::Resource for Reserved {}

/// Ops of other extensions that would reach the network, the terminal or the process past our own ops.
/// No Worker can call them (they are not on any global), and none of our JavaScript does: this is a second lock.
const FOREIGN_OPS: &[&str] =
    &["op_fetch", "op_fetch_custom_client", "op_fetch_send", "op_print", "op_import_sync", "op_panic"];

fn disable_foreign_ops(op: OpDecl) -> OpDecl {
    if FOREIGN_OPS.contains(&op.name) { op.disable() } else { op }
}
