//! Workers that misbehave, and what stops each of them. Shared by the test and by the benchmark of the limits.

use std::time::Duration;

use skep_test_support::version;
use skep_worker::limits::MEBIBYTE;
use skep_worker::{Limits, Module, ModuleContent, Version};

/// What a misbehaving handler must end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The CPU limit.
    Cpu,
    /// The memory limit.
    Memory,
    /// An exception with this in its message.
    Throws(&'static str),
}

/// A misbehaving handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abuse {
    /// Its name.
    pub(crate) name: &'static str,
    /// The body of an async function of `(request, env, ctx)`.
    pub(crate) body: &'static str,
    /// What stops it.
    pub(crate) end: End,
    /// How often it is to misbehave.
    pub(crate) runs: usize,
}

/// CPU time for handlers that are to run into that limit.
pub(crate) const CPU: Duration = Duration::from_millis(50);
/// Memory for handlers that are to run into that limit, in bytes.
pub(crate) const MEMORY: usize = 24 * MEBIBYTE;

impl Abuse {
    /// A Worker that misbehaves at `/abuse` and answers everything else with "ok".
    pub(crate) fn version(&self) -> Version {
        let Self { body, .. } = self;
        let source = format!(
            "import loop from './loop.wasm';\n\
             async function abuse(request, env, ctx) {{ {body} }}\n\
             export default {{ fetch(request, env, ctx) {{\n\
               return new URL(request.url).pathname === '/abuse' ? abuse(request, env, ctx) : new Response('ok');\n\
             }} }};\n"
        );
        let mut version = version(&source);
        version.modules.push(Module { name: "loop.wasm".to_owned(), content: ModuleContent::Wasm(LOOP.into()) });
        version.limits = match self.end {
            End::Cpu => Limits { cpu: CPU, ..Limits::default() },
            End::Memory => Limits { memory: MEMORY, ..Limits::default() },
            End::Throws(_) => Limits::default(),
        };
        version
    }
}

/// `(module (func (export "run") (loop (br 0))))`
const LOOP: &[u8] = &[
    0, b'a', b's', b'm', 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 7, 1, 3, b'r', b'u', b'n', 0, 0, 10, 9, 1, 7,
    0, 3, 0x40, 12, 0, 11, 11,
];

const fn cpu(name: &'static str, body: &'static str) -> Abuse {
    Abuse { name, body, end: End::Cpu, runs: SOME }
}

const fn memory(name: &'static str, body: &'static str) -> Abuse {
    Abuse { name, body, end: End::Memory, runs: SOME }
}

const fn throws(name: &'static str, body: &'static str, message: &'static str) -> Abuse {
    Abuse { name, body, end: End::Throws(message), runs: SOME }
}

const fn often(abuse: Abuse) -> Abuse {
    Abuse { runs: MANY, ..abuse }
}

/// V8 cannot be interrupted in it: each run costs a thread and the memory that it has by then.
const fn lost(abuse: Abuse) -> Abuse {
    Abuse { runs: 1, ..abuse }
}

/// Runs of the kinds of misbehaviour that happen most.
const MANY: usize = 100;
const SOME: usize = 5;

/// Every misbehaving handler.
pub(crate) const ABUSES: &[Abuse] = &[
    often(cpu("endless_loop", "for (;;) {}")),
    often(cpu(
        "endless_microtasks",
        "(function next() { Promise.resolve().then(next); })(); await new Promise(() => {});",
    )),
    cpu("endless_await", "for (;;) await null;"),
    cpu(
        "microtasks_after_a_loop",
        "Promise.resolve().then(function next() { Promise.resolve().then(next); }); for (;;) {}",
    ),
    often(cpu("backtracking_expression", "return new Response(/^(a+)+$/.test('a'.repeat(40) + 'b'));")),
    cpu("endless_generator", "function* all() { for (;;) yield 1; } for (const one of all()) ;"),
    cpu("catches_everything", "for (;;) { try { for (;;) {} } catch {} }"),
    cpu("goes_on_in_finally", "try { for (;;) {} } finally { for (;;) {} }"),
    cpu(
        "goes_on_after_catch",
        "const again = () => { try { for (;;) {} } catch {} queueMicrotask(again); }; again(); await new Promise(() => {});",
    ),
    cpu("endless_webassembly", "new WebAssembly.Instance(loop).exports.run();"),
    cpu("interval_flood", "for (let i = 0; i < 2_000; i++) setInterval(() => {}, 0); await new Promise(() => {});"),
    cpu("timer_with_a_loop", "setTimeout(() => { for (;;) {} }, 0); await new Promise(() => {});"),
    cpu(
        "loop_in_wait_until",
        "ctx.waitUntil(scheduler.wait(0).then(() => { for (;;) {} })); await new Promise(() => {});",
    ),
    cpu("loop_after_await", "await scheduler.wait(0); for (;;) {}"),
    cpu("promise_flood", "for (;;) Promise.resolve().then(() => {});"),
    cpu("header_that_loops", "return new Response('', { headers: { x: { toString() { for (;;) {} } } } });"),
    cpu("getter_that_loops", "return new Response('', { get status() { for (;;) {} } });"),
    cpu("proxy_in_place_of_a_response", "return new Proxy({}, { getPrototypeOf() { for (;;) {} } });"),
    cpu("thenable_that_loops", "return { then() { for (;;) {} } };"),
    cpu("error_that_loops", "throw { get message() { for (;;) {} } };"),
    cpu("stack_that_loops", "Error.prepareStackTrace = () => { for (;;) {} }; throw new Error('x');"),
    cpu("console_that_loops", "console.log('%s', { toString() { for (;;) {} } });"),
    cpu("clone_that_loops", "structuredClone({ get x() { for (;;) {} } });"),
    cpu("sort_that_loops", "[1, 2].sort(() => { for (;;) {} });"),
    cpu(
        "promise_that_was_redefined",
        "Object.defineProperty(Object.prototype, 'then', { get() { for (;;) {} } }); return Response.json({});",
    ),
    cpu(
        "iterator_that_was_redefined",
        "Array.prototype[Symbol.iterator] = () => { for (;;) {} }; return Response.json({}, { headers: [['a', 'b']] });",
    ),
    cpu("stream_that_loops", "return new Response(new ReadableStream({ start() { for (;;) {} } }));"),
    cpu(
        "rewriter_that_loops",
        "return new Response(await new HTMLRewriter().on('a', { element() { for (;;) {} } }).transform(new Response('<a>')).text());",
    ),
    cpu("stringify_bomb", "let bomb = []; for (let i = 0; i < 40; i++) bomb = [bomb, bomb]; JSON.stringify(bomb);"),
    cpu("clone_bomb", "const big = Array.from({ length: 1_000 }, () => ({})); for (;;) structuredClone(big);"),
    cpu("big_numbers", "let number = 3n; for (let i = 0; i < 24; i++) number *= number; number.toString();"),
    cpu("digest_flood", "const data = new Uint8Array(1 << 20); for (;;) await crypto.subtle.digest('SHA-512', data);"),
    often(memory("growing_array", "const array = []; for (;;) array.push({});")),
    memory("growing_map", "const map = new Map(); for (let i = 0;; i++) map.set(i, `${i}`);"),
    memory(
        "doubled_text",
        "let text = 'x'; for (let i = 0; i < 26; i++) text += text; JSON.parse(JSON.stringify(text));",
    ),
    lost(memory("sparse_array", "new Array(2 ** 31).fill(0);")),
    lost(cpu("search_without_end", "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);")),
    often(memory("giant_buffer", "return new Response(new ArrayBuffer(2 ** 30));")),
    memory("many_buffers", "const all = []; for (;;) all.push(new Uint8Array(1 << 20));"),
    memory(
        "resizable_buffer",
        "const buffer = new ArrayBuffer(0, { maxByteLength: 2 ** 30 }); for (let size = 0;; size += 1 << 20) { buffer.resize(size); new Uint8Array(buffer).fill(1, Math.max(0, size - (1 << 20))); }",
    ),
    memory(
        "webassembly_memory",
        "const memory = new WebAssembly.Memory({ initial: 1 }); for (let size = 1;; size += 16) { memory.grow(16); new Uint8Array(memory.buffer).fill(1, size * 65_536); }",
    ),
    memory("giant_webassembly_memory", "new Uint8Array(new WebAssembly.Memory({ initial: 4096 }).buffer).fill(1);"),
    memory("many_blobs", "const all = []; const part = new Uint8Array(1 << 20); for (;;) all.push(new Blob([part]));"),
    memory("promises_kept", "const all = []; for (;;) all.push(new Promise(() => {}));"),
    memory(
        "stream_without_back_pressure",
        "return new Response(new ReadableStream({ start(controller) { for (;;) controller.enqueue(new Uint8Array(65_536)); } }));",
    ),
    memory("giant_console_line", "console.log(Array.from({ length: 4 }, () => 'x'.repeat(2 ** 24)).join(''));"),
    memory("timer_flood", "for (;;) setTimeout(() => {}, 1e9);"),
    memory("text_in_pieces", "let text = ''; for (let i = 0;; i++) text += `${i} `;"),
    often(throws("deep_recursion", "(function deeper() { deeper(); })();", "Maximum call stack size exceeded")),
    throws(
        "deep_proxies",
        "let proxy = {}; for (let i = 0; i < 200_000; i++) proxy = new Proxy(proxy, {}); proxy.x;",
        "Maximum call stack size exceeded",
    ),
    throws(
        "deep_clone",
        "let deep = {}; for (let i = 0; i < 100_000; i++) deep = { deep }; structuredClone(deep);",
        "Maximum call stack size exceeded",
    ),
    throws("endless_text", "let text = 'x'; for (;;) text += text;", "Invalid string length"),
    throws("giant_array", "new Array(2 ** 32);", "Invalid array length"),
    throws(
        "blocking_wait",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
        "Atomics.wait cannot be called in this context",
    ),
    throws("evaluated_text", "return new Response(eval('1 + 1'));", "Code generation from strings disallowed"),
    throws(
        "compiled_webassembly",
        "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));",
        "Wasm code generation disallowed",
    ),
    throws("answer_that_never_comes", "await new Promise(() => {});", "would never generate a response"),
];
