//! Limits: how much one Worker may use. The same in development and in production.

use std::time::Duration;

/// What one request, or one isolate, of a Worker may use.
/// Defaults follow <https://developers.cloudflare.com/workers/platform/limits/> (paid plan).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one request, all its turns together (`limits.cpu_ms`).
    pub cpu: Duration,
    /// CPU time of loading the modules and running their top level.
    pub startup_cpu: Duration,
    /// Memory of one isolate in bytes: the V8 heap and every `ArrayBuffer` and `WebAssembly.Memory`.
    pub memory: usize,
    /// Subrequests of one request: `fetch()` (each redirect counts), cache and binding calls.
    pub subrequests: u32,
    /// Size of a request's body in bytes.
    pub request_body: u64,
    /// Size of all modules of a version together in bytes.
    pub script_size: usize,
    /// How long `waitUntil()` promises may go on after the response was sent or the client went away.
    pub wait_until: Duration,
    /// Outbound connections that one request may have open at once; more wait their turn.
    pub connections: u32,
}

/// Bytes in a mebibyte.
pub const MEBIBYTE: usize = 1024 * 1024;

impl Limits {
    /// The most CPU time a configuration may ask for (`limits.cpu_ms` of 300,000).
    pub const MAX_CPU: Duration = Duration::from_secs(300);

    /// Subrequests of one request on the free plan.
    pub const FREE_SUBREQUESTS: u32 = 50;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(30),
            startup_cpu: Duration::from_secs(1),
            memory: 128 * MEBIBYTE,
            subrequests: 1_000,
            request_body: 100 * MEBIBYTE as u64,
            script_size: 64 * MEBIBYTE,
            wait_until: Duration::from_secs(30),
            connections: 6,
        }
    }
}
