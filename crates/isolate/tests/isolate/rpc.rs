//! Calls of another Worker's methods: what is passed, what may be called, how long it lives and how it ends.
//!
//! `rpc/cases.js` calls `rpc/target.js`; workerd's answers are recorded in `rpc/workerd.json` (`record.mjs` makes it).

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;
use skep_exchange::Body;
use skep_observe::Trigger;
use skep_test_support::{Seen, get, request, test, text};
use skep_worker::{Event, Limits, Outcome};

use crate::services::{Pair, pair};

const CASES: &str = include_str!("rpc/cases.js");
const TARGET: &str = include_str!("rpc/target.js");
const RECORDED: &str = include_str!("rpc/workerd.json");

/// Cases whose answer differs from workerd's on purpose: the case, Skep's answer, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "private.constructor",
        r#""<TypeError: Class constructor RpcProperty cannot be invoked without 'new'>""#,
        "the language's own words",
    ),
    (
        "reserved.fetch.is.http",
        r#""<Error: Handler does not export a fetch() function. Add one to the default export: export default { async fetch(...) { ... } } (remote)>""#,
        "it says what to do",
    ),
    (
        "stub.local.of.nothing",
        r#""<TypeError: RpcStub needs an object or a function: new RpcStub(new MyTarget())>""#,
        "it says what to do",
    ),
];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("rpc::answers_as_workerd_does", answers_as_workerd_does),
        test("rpc::a_session_is_an_event", a_session_is_an_event),
        test("rpc::a_first_call_that_throws_is_an_exception", a_first_call_that_throws_is_an_exception),
        test("rpc::cpu_time_is_charged_to_the_target", cpu_time_is_charged_to_the_target),
        test("rpc::calls_of_a_binding_are_subrequests", calls_of_a_binding_are_subrequests),
        test("rpc::a_worker_or_an_entrypoint_is_missing", a_worker_or_an_entrypoint_is_missing),
        test("rpc::a_limit_stops_the_target_in_a_call", a_limit_stops_the_target_in_a_call),
        test("rpc::a_lost_target_is_an_error", a_lost_target_is_an_error),
        test("rpc::a_target_that_is_gone_is_replaced", a_target_that_is_gone_is_replaced),
        test("rpc::stubs_learn_that_the_target_is_gone", stubs_learn_that_the_target_is_gone),
        test("rpc::the_end_of_the_caller_ends_the_session", the_end_of_the_caller_ends_the_session),
        test("rpc::a_client_that_goes_away_cancels_the_call", a_client_that_goes_away_cancels_the_call),
        test("rpc::streams_have_back_pressure", streams_have_back_pressure),
        test("rpc::a_stream_of_a_stopped_target_breaks_off", a_stream_of_a_stopped_target_breaks_off),
        test("rpc::a_returned_stream_keeps_its_event", a_returned_stream_keeps_its_event),
        test("rpc::much_at_once_waits_for_room", much_at_once_waits_for_room),
        test("rpc::wait_until_goes_on_after_the_call", wait_until_goes_on_after_the_call),
        test("rpc::workers_that_call_each_other_without_an_end", workers_that_call_each_other_without_an_end),
        test("rpc::stubs_can_be_printed", stubs_can_be_printed),
        test("rpc::a_hung_caller_is_noticed", a_hung_caller_is_noticed),
    ]
}

/// Two Workers: `body` is the caller's handler, `members` the members of the other one's default class.
fn workers(body: &str, members: &str) -> Pair {
    workers_within(body, members, Limits::default(), Limits::default())
}

fn workers_within(body: &str, members: &str, target_limits: Limits, caller_limits: Limits) -> Pair {
    let caller = format!(
        "import {{ RpcTarget }} from 'cloudflare:workers';
         const shown = (error) => `${{error.name}}: ${{error.message}}${{error.remote ? ' (remote)' : ''}}`;
         export default {{ async fetch(request, env, ctx) {{ {body} }} }};"
    );
    let target = format!(
        "import {{ RpcTarget, WorkerEntrypoint }} from 'cloudflare:workers';
         class Thing extends RpcTarget {{ spin() {{ for (;;); }} hi() {{ return 'hi'; }} [Symbol.dispose]() {{ console.log('disposed'); }} }}
         export default class extends WorkerEntrypoint {{ {members} }}"
    );
    pair(&caller, &target, target_limits, caller_limits)
}

fn short() -> Limits {
    Limits { cpu: Duration::from_millis(50), ..Limits::default() }
}

fn line(text: &'static str) -> impl Fn(&Seen) -> Option<()> {
    move |seen| matches!(seen, Seen::Log(_, line) if line.message == text).then_some(())
}

async fn answers_as_workerd_does() {
    let pair = pair(CASES, TARGET, Limits::default(), Limits::default());
    let given: Value = serde_json::from_str(&pair.answer().await).unwrap();
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let recorded = recorded["answers"].as_object().unwrap();
    let mut wrong = Vec::new();
    for (name, given) in given.as_object().unwrap() {
        let expected = match DIFFERENCES.iter().find(|(case, ..)| case == name) {
            Some((_, ours, _)) => serde_json::from_str(ours).unwrap(),
            None => recorded.get(name).cloned().unwrap_or_default(),
        };
        if *given != expected {
            wrong.push(format!("{name}\n  expected {expected}\n  given    {given}"));
        }
    }
    wrong.extend(recorded.keys().filter(|name| given.get(name).is_none()).map(|name| format!("{name} has no answer")));
    wrong.extend(
        DIFFERENCES
            .iter()
            .filter(|(name, ours, _)| serde_json::from_str::<Value>(ours).unwrap() == recorded[*name])
            .map(|(name, ..)| format!("{name} does not differ")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn a_session_is_an_event() {
    let pair = workers(
        "using thing = await env.T.thing(); await thing.hi(); console.log('ours'); return new Response(await env.T.logs())",
        "thing() { console.log('first'); return new Thing(); } async logs() { console.log('second'); return 'ok'; }",
    );
    assert_eq!(pair.answer().await, "ok");
    let (mut triggers, mut sources) = (Vec::new(), Vec::new());
    pair.target_seen.wait(line("disposed"));
    for method in ["thing", "logs"] {
        pair.target_seen.wait(|seen| {
            matches!(seen, Seen::Finished(_, record) if record.trigger == Trigger::Rpc { method: method.to_owned() })
                .then_some(())
        });
    }
    for (source, record) in pair.target_records() {
        assert_eq!((record.trigger.event(), record.outcome), (Event::Rpc, Outcome::Ok));
        triggers.push(record.trigger);
        sources.push(source.event);
    }
    let method = |name: &str| Trigger::Rpc { method: name.to_owned() };
    triggers.sort_by_key(|trigger| format!("{trigger:?}"));
    assert_eq!(triggers, [method("logs"), method("thing")]);
    sources.sort_unstable();
    assert_eq!(sources, [1, 2], "each session has a number of its own");
    assert_eq!(pair.seen.lines(), ["ours"]);
}

async fn a_first_call_that_throws_is_an_exception() {
    let pair = workers(
        "try { await env.T.fails(); } catch (error) { return new Response(shown(error)); }",
        "fails() { throw new RangeError('mine'); }",
    );
    assert_eq!(pair.answer().await, "RangeError: mine (remote)");
    let exception = pair.target_seen.exception();
    assert_eq!((exception.name.as_str(), exception.message.as_str()), ("RangeError", "mine"));
    assert!(exception.stack.contains("index.js"), "the target's own log has the stack: {}", exception.stack);
    assert_eq!(pair.target_seen.finished().outcome, Outcome::Exception);
    assert_eq!(pair.seen.finished().outcome, Outcome::Ok);
}

async fn cpu_time_is_charged_to_the_target() {
    let pair = workers(
        "await env.T.work(); return new Response('ok')",
        "work() { let sum = 0; for (let index = 0; index < 60_000_000; index++) sum += index % 7; return sum; }",
    );
    assert_eq!(pair.answer().await, "ok");
    let (target, caller) = (pair.target_seen.finished().cpu, pair.seen.finished().cpu);
    assert!(target > Duration::from_millis(20) && caller < target / 2, "target {target:?}, caller {caller:?}");
}

async fn calls_of_a_binding_are_subrequests() {
    let limits = Limits { subrequests: 5, ..Limits::default() };
    let pair = workers_within(
        "try { for (;;) await env.T.hi(); } catch (error) { return new Response(shown(error)); }",
        "hi() { return 'hi'; }",
        Limits::default(),
        limits,
    );
    assert_eq!(pair.answer().await, "Error: Too many subrequests: 6 made, 5 allowed per request");
}

async fn a_worker_or_an_entrypoint_is_missing() {
    let pair = workers(
        "const errors = [];
         for (const call of [() => env.GONE.hi(), () => env.GONE.hi().more(), () => env.NAMED.hi()]) {
             try { await call(); } catch (error) { errors.push(shown(error).slice(0, 40)); }
         }
         return Response.json(errors)",
        "",
    );
    assert_eq!(
        pair.answer().await,
        r#"["Error: There is no Worker named \"gone\" h","Error: There is no Worker named \"gone\" h","Error: The Worker has no entrypoint \"Nam"]"#
    );
}

async fn a_limit_stops_the_target_in_a_call() {
    let pair = workers_within(
        "const thing = await env.T.thing();
         const other = env.T.waits();
         const errors = [];
         for (const promise of [thing.spin(), thing.hi(), other]) {
             try { await promise; } catch (error) { errors.push(shown(error)); }
         }
         return Response.json(errors)",
        "thing() { return new Thing(); } waits() { return scheduler.wait(60_000); }",
        short(),
        Limits::default(),
    );
    let errors: Vec<String> = serde_json::from_str(&pair.answer().await).unwrap();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors.iter().all(|error| error.contains("Worker exceeded CPU time limit")), "{errors:?}");
    assert_eq!(pair.target_seen.finished().outcome, Outcome::ExceededCpu);
    assert_eq!(pair.seen.finished().outcome, Outcome::Ok);
}

/// One of V8's built-in functions that cannot be interrupted: the thread is given up, its caller gets an error.
async fn a_lost_target_is_an_error() {
    let pair = workers_within(
        "try { await env.T.sticks(); } catch (error) { return new Response(shown(error)); }",
        "sticks() { const list = []; list.length = 2_000_000_000; list.fill(0); }",
        short(),
        Limits::default(),
    );
    let answer = pair.answer().await;
    assert!(answer.contains("Worker exceeded"), "{answer}");
}

async fn a_target_that_is_gone_is_replaced() {
    let pair = workers_within(
        "try { await env.T.thing().spin(); } catch {} return new Response(await env.T.hi())",
        "thing() { return new Thing(); } hi() { return 'hi'; }",
        short(),
        Limits::default(),
    );
    assert_eq!(pair.answer().await, "hi");
}

async fn stubs_learn_that_the_target_is_gone() {
    let pair = workers_within(
        "const thing = await env.T.thing();
         const broken = new Promise((resolve) => thing.onRpcBroken(resolve));
         thing.spin().catch(() => {});
         const error = await broken;
         let late; thing.onRpcBroken((again) => { late = again === error; });
         await 1;
         return Response.json([shown(error).slice(0, 37), late, await thing.hi().catch((again) => again === error)])",
        "thing() { return new Thing(); }",
        short(),
        Limits::default(),
    );
    assert_eq!(pair.answer().await, r#"["Error: Worker exceeded CPU time limit",true,true]"#);
}

/// What was shown to the other side is disposed of, and what it holds of this side is broken.
async fn the_end_of_the_caller_ends_the_session() {
    let pair = workers(
        "class Mine extends RpcTarget { [Symbol.dispose]() { console.log('mine disposed'); } }
         const thing = await env.T.hold(new Mine()); return new Response(await thing.hi())",
        "hold(mine) { mine.dup().onRpcBroken((error) => console.log(error.message)); return new Thing(); }",
    );
    assert_eq!(pair.answer().await, "hi");
    pair.target_seen.wait(line("disposed"));
    pair.target_seen.wait(line("The caller's event is over, and its stubs with it"));
    pair.seen.wait(line("mine disposed"));
    assert_eq!(pair.target_seen.finished().outcome, Outcome::Ok);
}

async fn a_client_that_goes_away_cancels_the_call() {
    let pair = workers(
        "request.signal.addEventListener('abort', () => {}); await env.T.waits(); return new Response('late')",
        "async waits() { console.log('called'); await new Promise((resolve) => setTimeout(resolve, 200)); console.log('done'); }",
    );
    let request = tokio::spawn(Arc::clone(&pair.caller).fetch(get("http://localhost/")));
    pair.target_seen.wait(line("called"));
    request.abort();
    // The caller's handler goes on until it is done, and with it the call.
    pair.target_seen.wait(line("done"));
    assert_eq!(pair.seen.finished().outcome, Outcome::Canceled);
    assert_eq!(pair.target_seen.finished().outcome, Outcome::Ok);
    // One that nobody waits for ends with its caller.
    let pair = workers(
        "env.T.waits(); await env.T.called(); return new Response('ok')",
        "async waits() { console.log('called'); await new Promise((resolve) => { globalThis.go = resolve; }); }
         async called() { while (globalThis.go === undefined) await scheduler.wait(1); setTimeout(globalThis.go, 50); }",
    );
    assert_eq!(pair.answer().await, "ok");
    pair.target_seen
        .wait(|seen| matches!(seen, Seen::Finished(_, record) if record.outcome == Outcome::Canceled).then_some(()));
}

/// Whoever writes is not far ahead of whoever reads, in both directions.
async fn streams_have_back_pressure() {
    let pair = workers(
        "const chunk = new Uint8Array(64 * 1024);
         const source = (count) => new ReadableStream({ type: 'bytes', pull(controller) { if (count.pulled++ < 100) controller.enqueue(chunk.slice()); else controller.close(); } });
         const out = { pulled: 0 };
         const sent = env.T.readSome(source(out));
         await sent;
         const ahead = out.pulled;
         const reader = (await env.T.source()).getReader();
         let size = 0;
         for (let reads = 0; reads < 3; reads++) size += (await reader.read()).value.byteLength;
         const pulled = await env.T.pulled();
         for (;;) { const { done, value } = await reader.read(); if (done) break; size += value.byteLength; }
         return Response.json([ahead < 40, pulled < 40, size])",
        "async readSome(stream) { const reader = stream.getReader(); await reader.read(); await scheduler.wait(30); globalThis.kept = reader; }
         source() { globalThis.count = 0; return new ReadableStream({ type: 'bytes', pull(controller) { if (globalThis.count++ < 100) controller.enqueue(new Uint8Array(64 * 1024)); else controller.close(); } }); }
         async pulled() { await scheduler.wait(30); return globalThis.count; }",
    );
    assert_eq!(pair.answer().await, format!("[true,true,{}]", 100 * 64 * 1024));
}

async fn a_stream_of_a_stopped_target_breaks_off() {
    let pair = workers_within(
        "const reader = (await env.T.source()).getReader();
         const { value } = await reader.read();
         env.T.spin().catch(() => {});
         try { for (;;) { const { done } = await reader.read(); if (done) return new Response('it ended well'); } }
         catch (error) { return Response.json([value[0], error.name]); }",
        "source() { let first = true; return new ReadableStream({ type: 'bytes', async pull(controller) { if (!first) await scheduler.wait(60_000); first = false; controller.enqueue(new Uint8Array([7])); } }); }
         spin() { for (;;); }",
        short(),
        Limits::default(),
    );
    assert_eq!(pair.answer().await, r#"[7,"TypeError"]"#);
}

async fn a_returned_stream_keeps_its_event() {
    let pair = workers(
        "return new Response(await env.T.source())",
        "source() { let left = 3; return new ReadableStream({ type: 'bytes', async pull(controller) { await scheduler.wait(5); console.log('pulled'); if (left-- > 0) controller.enqueue(new Uint8Array([65 + left])); else { controller.close(); controller.byobRequest?.respond(0); } } }); }",
    );
    assert_eq!(pair.answer().await, "CBA");
    assert_eq!(pair.target_seen.finished().outcome, Outcome::Ok);
    let lines = pair.target_seen.lines();
    assert_eq!(lines.len(), 4, "its end is recorded after the stream's: {lines:?}");
}

/// Calls that carry more than may be under way at once are sent one after the other.
async fn much_at_once_waits_for_room() {
    let limits = Limits { memory: 512 * 1024 * 1024, ..Limits::default() };
    let pair = workers_within(
        "const big = new Uint8Array(20 * 1024 * 1024);
         using thing = await env.T.sizes();
         const sizes = await Promise.all(Array.from({ length: 6 }, () => thing.size(big)));
         return new Response(String(sizes.reduce((sum, size) => sum + size)))",
        "sizes() { return new (class extends RpcTarget { size(bytes) { return bytes.byteLength; } })(); }",
        limits.clone(),
        limits,
    );
    assert_eq!(pair.answer().await, (6 * 20 * 1024 * 1024).to_string());
}

async fn wait_until_goes_on_after_the_call() {
    let pair = workers(
        "return new Response(await env.T.starts())",
        "starts() { this.ctx.waitUntil(scheduler.wait(20).then(() => console.log('late'))); return 'early'; }",
    );
    assert_eq!(pair.answer().await, "early");
    let record = pair.target_seen.finished();
    assert_eq!((record.outcome, pair.target_seen.lines()), (Outcome::Ok, vec!["late".to_owned()]));
}

async fn workers_that_call_each_other_without_an_end() {
    let pair = workers(
        "try { if (request.method === 'POST') return await env.SELF.fetch(request); return new Response((await env.T.again(1)).slice(0, 42)); }
         catch (error) { return new Response(error.message.slice(0, 31)); }",
        "async again(depth) { try { return await this.ctx.exports.default.again(depth + 1); } catch (error) { return `${depth} ${error.message}`; } }",
    );
    assert_eq!(pair.answer().await, "32 Subrequest depth limit exceeded: 32 Wor");
    let response = Arc::clone(&pair.caller).fetch(request("POST", "http://localhost/", Body::empty())).await.unwrap();
    assert_eq!(text(response).await, "Subrequest depth limit exceeded");
}

/// Looking at a stub is no use of it.
async fn stubs_can_be_printed() {
    let pair = workers(
        "using thing = await env.T.thing(); const promise = env.T.thing();
         console.log(env.T, env.T.thing, thing, promise, { thing }, ctx.exports); (await promise)[Symbol.dispose]();
         return new Response('ok')",
        "thing() { return new Thing(); }",
    );
    assert_eq!(pair.answer().await, "ok");
    assert_eq!(pair.seen.lines().len(), 1);
    assert!(!pair.seen.lines()[0].contains("Error"), "{}", pair.seen.lines()[0]);
}

/// A stub that nobody disposed of does not hide that the handler waits for nothing.
async fn a_hung_caller_is_noticed() {
    let pair = workers(
        "globalThis.held = await env.T.thing(); await new Promise(() => {})",
        "thing() { return new Thing(); }",
    );
    let failure = Arc::clone(&pair.caller).fetch(get("http://localhost/")).await.expect_err("it hangs");
    assert!(failure.message.contains("would never generate a response"), "{failure}");
    pair.target_seen.wait(line("disposed"));
}
