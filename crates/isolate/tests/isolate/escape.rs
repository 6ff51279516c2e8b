//! Nothing of the host can be reached from a Worker.

use libtest_mimic::Trial;
use skep_test_support::{answer, test};

/// Names that a way out would have, and expressions that reach for one. Each must give "nothing".
const WAYS: &[(&str, &str)] = &[
    ("deno", "typeof Deno === 'undefined' ? 'nothing' : 'Deno'"),
    ("process", "typeof process === 'undefined' ? 'nothing' : 'process'"),
    ("require", "typeof require === 'undefined' ? 'nothing' : 'require'"),
    (
        "the_runtimes_own_names",
        "Reflect.ownKeys(globalThis).filter((name) => /deno|bootstrap|skep|infra|__timers|core|ops|internals/i.test(String(name))).join() || 'nothing'",
    ),
    (
        "eval",
        "(() => { try { return eval('1'); } catch (error) { return error.name === 'EvalError' ? 'nothing' : error; } })()",
    ),
    (
        "function_constructors",
        "[Function, (async () => {}).constructor, (function* () {}).constructor, (async function* () {}).constructor].map((Make) => { try { Make('return 1'); return 'made'; } catch (error) { return error.name === 'EvalError' ? '' : error; } }).join('') || 'nothing'",
    ),
    (
        "text_for_a_timer",
        "(() => { try { setTimeout('globalThis.escaped = 1', 0); } catch { return 'nothing'; } return scheduler.wait(5).then(() => globalThis.escaped ?? 'nothing'); })()",
    ),
    ("import_of_the_runtime", "import('ext:core/mod.js').then((module) => Object.keys(module), () => 'nothing')"),
    (
        "import_of_the_platform",
        "import('ext:skep_web/globals.js').then((module) => Object.keys(module), () => 'nothing')",
    ),
    ("import_of_a_node_module", "import('node:fs').then((module) => Object.keys(module), () => 'nothing')"),
    ("import_of_a_file", "import('file:///etc/passwd').then((module) => Object.keys(module), () => 'nothing')"),
    ("import_of_a_url", "import('https://example.com/x.js').then((module) => Object.keys(module), () => 'nothing')"),
    (
        "import_of_data",
        "import('data:text/javascript,export default 1').then((module) => module.default, () => 'nothing')",
    ),
    ("fetch_of_a_file", "fetch('file:///etc/passwd').then((response) => response.text(), () => 'nothing')"),
    (
        "symbols_of_platform_objects",
        "[new Request('http://x'), new Response('x'), new Headers(), new ReadableStream(), new Blob(['x']), new WebSocketPair()[0]].flatMap((object) => { const found = []; for (const symbol of Object.getOwnPropertySymbols(object)) { const value = object[symbol]; if (value && typeof value === 'object' && ('core' in value || 'ops' in value)) found.push(String(symbol)); } return found; }).join() || 'nothing'",
    ),
    (
        "prepared_stack",
        "(() => { const globals = []; Error.prepareStackTrace = (error, frames) => { for (const frame of frames) { for (const reach of ['getThis', 'getFunction']) { const value = frame[reach]?.(); if (value !== undefined && value !== null) globals.push(value); } } return ''; }; try { new Headers([['a']]); } catch (error) { error.stack; } delete Error.prepareStackTrace; return globals.filter((value) => value !== globalThis && value?.Deno).length === 0 ? 'nothing' : 'frames'; })()",
    ),
    (
        "stack_paths",
        "(() => { try { new Headers([['a']]); } catch (error) { return /\\/root|\\/home|\\/work|\\.cargo|\\.rs/.test(error.stack) ? error.stack : 'nothing'; } })()",
    ),
    (
        "redefined_prototypes",
        "(() => { const seen = []; const call = Function.prototype.call; Function.prototype.call = function (...args) { seen.push(args); return Reflect.apply(call, this, args); }; const push = Array.prototype.push; Array.prototype.push = function (...args) { seen.push?.call; return Reflect.apply(push, this, args); }; new Response('x', { headers: { a: 'b' } }).headers.get('a'); Function.prototype.call = call; Array.prototype.push = push; return seen.flat().some((value) => value?.ops || value?.core) ? 'seen' : 'nothing'; })()",
    ),
    (
        "webassembly_of_bytes",
        "WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(() => 'compiled', () => 'nothing')",
    ),
    (
        "environment",
        "(() => { const text = JSON.stringify(Object.getOwnPropertyNames(globalThis)) + String(globalThis); return /PATH|HOME/.test(text) ? text : 'nothing'; })()",
    ),
    (
        "shared_wait",
        "(() => { try { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); return 'waited'; } catch { return 'nothing'; } })()",
    ),
];

pub(crate) fn tests() -> Vec<Trial> {
    WAYS.iter()
        .map(|(name, expression)| {
            test(&format!("escape::{name}"), move || async move {
                let source = format!(
                    "export default {{ async fetch() {{ return new Response(String(await ({expression}))); }} }}"
                );
                assert_eq!(answer(&source).await, "nothing");
            })
        })
        .collect()
}
