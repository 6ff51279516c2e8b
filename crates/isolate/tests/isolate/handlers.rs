//! Handlers and entrypoints: how a Worker is called, and what is logged of it.

use std::time::Duration;

use libtest_mimic::Trial;
use skep_observe::{EventRecord, Trigger};
use skep_test_support::{Seen, answer, answered, get, module, start, test, text, version};
use skep_worker::{
    Binding, BindingKind, EntryFormat, ErrorCode, Event, Limits, Module, ModuleContent, Outcome, Secret, Version,
};

/// Workers and what they answer to `GET http://localhost/`.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("object", "export default { fetch: () => new Response('hi') }", "hi"),
    ("object_with_a_promise", "export default { async fetch() { await 1; return new Response('hi'); } }", "hi"),
    ("method_has_this", "export default { word: 'hi', fetch() { return new Response(this.word); } }", "hi"),
    (
        "class",
        "import { WorkerEntrypoint } from 'cloudflare:workers';
         export default class extends WorkerEntrypoint { fetch(request) { return new Response([request.method, typeof this.env, typeof this.ctx.waitUntil, arguments.length].join()); } }",
        "GET,object,function,1",
    ),
    (
        "class_with_state_of_its_own",
        "import { WorkerEntrypoint } from 'cloudflare:workers';
         export default class extends WorkerEntrypoint { #greeting = 'hi'; fetch() { return new Response(this.#greeting); } }",
        "hi",
    ),
    (
        "arguments",
        "export default { fetch(request, env, ctx) { return new Response([arguments.length, request instanceof Request, typeof env, Object.prototype.toString.call(ctx)].join()); } }",
        "3,true,object,[object ExecutionContext]",
    ),
    (
        "context",
        "export default { fetch(request, env, ctx) { ctx.passThroughOnException(); return Response.json([ctx.props, typeof ctx.waitUntil]); } }",
        "[{},\"function\"]",
    ),
    (
        "imported_env",
        "import { env as imported } from 'cloudflare:workers';
         export default { fetch(request, env) { return new Response(String(imported === env)); } }",
        "true",
    ),
    (
        "imported_wait_until",
        "import { waitUntil } from 'cloudflare:workers';
         export default { fetch() { waitUntil(Promise.resolve()); return new Response('hi'); } }",
        "hi",
    ),
    (
        "top_level_await",
        "const word = await Promise.resolve('hi'); export default { fetch: () => new Response(word) }",
        "hi",
    ),
    (
        "state_between_requests",
        "let count = 0; export default { fetch: () => new Response(String(++count)) }",
        "1",
    ),
    (
        "thenable",
        "export default { fetch: () => ({ then(resolve) { resolve(new Response('hi')); } }) }",
        "hi",
    ),
    (
        "import_meta_url",
        "export default { fetch: () => new Response(typeof import.meta.url) }",
        "string",
    ),
];

/// Workers that fail, the code that the client gets, and a part of the message in the log.
const FAILURES: &[(&str, &str, ErrorCode, &str)] = &[
    ("throws", "export default { fetch() { throw new TypeError('mine'); } }", ErrorCode::Exception, "mine"),
    ("rejects", "export default { async fetch() { await 1; throw new Error('mine'); } }", ErrorCode::Exception, "mine"),
    ("throws_a_text", "export default { fetch() { throw 'mine'; } }", ErrorCode::Exception, "mine"),
    ("throws_nothing", "export default { fetch() { throw undefined; } }", ErrorCode::Exception, "undefined"),
    ("returns_nothing", "export default { fetch() {} }", ErrorCode::Exception, "returned nothing, not a Response"),
    (
        "returns_a_text",
        "export default { fetch: () => 'hi' }",
        ErrorCode::Exception,
        "a value of type string, not a Response",
    ),
    ("returns_an_error", "export default { fetch: () => Response.error() }", ErrorCode::Exception, "Response.error()"),
    (
        "returns_a_used_body",
        "export default { async fetch() { const response = new Response('x'); await response.text(); return response; } }",
        ErrorCode::Exception,
        "Body has already been used",
    ),
    (
        "has_no_fetch",
        "export default { scheduled() {} }",
        ErrorCode::ScriptUnusable,
        "does not export a fetch() function",
    ),
    (
        "never_answers",
        "export default { fetch: () => new Promise(() => {}) }",
        ErrorCode::Exception,
        "would never generate a response",
    ),
];

/// Workers that do not start, and a part of the message.
const UNSTARTABLE: &[(&str, &str, &str)] = &[
    ("throws", "throw new Error('at the top');", "at the top"),
    ("syntax_error", "export default { fetch( }", "Unexpected token"),
    ("missing_module", "import './missing.js'; export default {}", "No such module \"missing.js\""),
    ("misspelt_module", "import { env } from 'cloudflare:worker'; export default {}", "cloudflare:workers"),
    ("node_module", "import 'node:fs'; export default {}", "nodejs_compat"),
    ("missing_export", "import { nothing } from 'cloudflare:workers'; export default {}", "nothing"),
    ("fetch_at_the_top", "await fetch('http://localhost/'); export default {}", "global scope"),
    ("timer_at_the_top", "setTimeout(() => {}, 0); export default {}", "global scope"),
    ("random_at_the_top", "crypto.randomUUID(); export default {}", "global scope"),
    ("endless_await", "await new Promise(() => {}); export default {}", "Top-level await"),
];

pub(crate) fn tests() -> Vec<Trial> {
    let answers = ANSWERS.iter().map(|(name, source, expected)| {
        test(&format!("handlers::{name}"), move || async move { assert_eq!(answer(source).await, *expected) })
    });
    let failures = FAILURES.iter().map(|(name, source, code, message)| {
        test(&format!("handlers::a_handler_that_{name}"), move || fails(source, *code, message))
    });
    let unstartable = UNSTARTABLE.iter().map(|(name, source, message)| {
        test(&format!("handlers::a_start_with_{name}"), move || does_not_start(source, message))
    });
    let others = [
        test("handlers::events_other_than_fetch", events_other_than_fetch),
        test("handlers::a_scheduled_handler_that_throws", a_scheduled_handler_that_throws),
        test("handlers::service_worker_format", service_worker_format),
        test("handlers::service_worker_schedule", service_worker_schedule),
        test("handlers::bindings", bindings),
        test("handlers::modules_of_every_kind", modules_of_every_kind),
        test("handlers::errors_after_the_response_are_logged", errors_after_the_response_are_logged),
        test("handlers::unhandled_rejections_are_logged", unhandled_rejections_are_logged),
        test("handlers::wait_until_outlives_the_response", wait_until_outlives_the_response),
        test("handlers::wait_until_has_a_limit", wait_until_has_a_limit),
        test("handlers::wait_until_after_the_end_throws", wait_until_after_the_end_throws),
        test("handlers::console_lines_belong_to_their_event", console_lines_belong_to_their_event),
        test("handlers::stacks_name_the_module", stacks_name_the_module),
        test("handlers::startup_has_a_limit", startup_has_a_limit),
        test("handlers::a_script_has_a_size", a_script_has_a_size),
    ];
    answers.chain(failures).chain(unstartable).chain(others).collect()
}

async fn fails(source: &str, code: ErrorCode, message: &str) {
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let failure = answered(isolate.fetch(get("http://localhost/")).await).unwrap_err();
    assert_eq!(failure.code, code, "{failure:?}");
    assert!(failure.message.contains(message), "{failure:?}");
    assert_eq!(recorder.exception().message, failure.message);
    assert_eq!(recorder.finished().outcome, Outcome::Exception);
}

async fn does_not_start(source: &str, message: &str) {
    let error = start(version(source)).await.err().expect("it does not start");
    assert!(error.to_string().contains(message), "{error}");
}

async fn events_other_than_fetch() {
    let source = "export default {
        scheduled(controller, env, ctx) { console.log(controller.cron, controller.scheduledTime, controller.type, typeof ctx.waitUntil); },
        queue(batch) {
          for (const message of batch.messages) console.log(message.id, message.body, message.attempts, message.timestamp.getTime());
          batch.messages[0].ack();
          batch.messages[1].retry({ delaySeconds: 5 });
        },
        tail([one, other]) {
          console.log(one.scriptName, JSON.stringify(other.event.request), other.event.request.getUnredacted().headers.cookie);
        },
      }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    assert_eq!(isolate.handlers(), [Event::Scheduled, Event::Queue, Event::Tail]);
    isolate.scheduled("*/5 * * * *", 1_700_000_000_000).await.unwrap();
    let messages = r#"[{"id":"a","timestamp":1,"attempts":1,"contentType":"json","body":{"x":1}},{"id":"b","timestamp":2,"attempts":2,"contentType":"text","body":"t"}]"#;
    let finished = isolate.queue("jobs", messages).await.unwrap();
    assert_eq!(
        finished.returned,
        r#"{"ackAll":false,"retryAll":null,"acks":["a"],"retries":[{"id":"b","delaySeconds":5}]}"#
    );
    let request = r#"{"url":"http://a/","headers":{"cookie":"REDACTED"}}"#;
    let whole = request.replace("REDACTED", "a=b");
    let events = format!(
        r#"[{{"item":{{"scriptName":"one","event":null}},"unredacted":null}},{{"item":{{"scriptName":"other","event":{{"request":{request}}}}},"unredacted":{whole}}}]"#
    );
    let of = ["one".to_owned(), "other".to_owned()];
    isolate.tail(&events, &of).await.unwrap();
    let told = format!("one {request} a=b");
    let expected = ["*/5 * * * * 1700000000000 scheduled function", "a { x: 1 } 1 1", "b t 2 2", &told];
    assert_eq!(recorder.lines(), expected);
    let consumed = recorder.wait(|seen| match seen {
        Seen::Finished(_, EventRecord { trigger: Trigger::Tail { workers }, .. }) => Some(workers.clone()),
        _ => None,
    });
    assert_eq!(consumed, of);
}

async fn a_scheduled_handler_that_throws() {
    let source = "export default { async scheduled() { throw new RangeError('mine'); } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let failure = isolate.scheduled("* * * * *", 0).await.unwrap_err();
    assert_eq!((failure.name.as_str(), failure.message.as_str()), ("RangeError", "mine"));
    let record = recorder.finished();
    assert_eq!(record.outcome, Outcome::Exception);
    assert_eq!(record.trigger, Trigger::Scheduled { cron: "* * * * *".to_owned(), scheduled_time: 0 });
}

fn service_worker(source: &str) -> Version {
    Version { format: EntryFormat::ServiceWorker, ..version(source) }
}

async fn service_worker_format() {
    let source = "addEventListener('fetch', (event) => {
        event.waitUntil(Promise.resolve());
        event.respondWith((async () => new Response(`${event.type} ${event.request.method} ${NAME} ${event instanceof FetchEvent}`))());
      });";
    let mut version = service_worker(source);
    version.bindings = vec![Binding { name: "NAME".to_owned(), kind: BindingKind::PlainText("bound".to_owned()) }];
    let (isolate, _) = start(version).await.unwrap();
    let response = answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(text(response).await, "fetch GET bound true");
}

async fn service_worker_schedule() {
    let source = "addEventListener('scheduled', (event) => {
        event.waitUntil((async () => { await 1; console.log(event.cron, event.scheduledTime); })());
      });";
    let (isolate, recorder) = start(service_worker(source)).await.unwrap();
    assert_eq!(isolate.handlers(), [Event::Scheduled]);
    isolate.scheduled("0 0 * * *", 5).await.unwrap();
    assert_eq!(recorder.lines(), ["0 0 * * * 5"]);
}

async fn bindings() {
    let source = "export default { fetch(request, env) {
        let unavailable;
        try { env.STORE.get('x'); } catch (error) { unavailable = error.message; }
        return Response.json([env.TEXT, env.JSON, env.SECRET, Object.keys(env.VERSION).join(), env.FILE, unavailable, Object.keys(env).join()]);
      } }";
    let mut version = version(source);
    version.modules.push(Module { name: "file.txt".to_owned(), content: ModuleContent::Text("content".into()) });
    let bind = |name: &str, kind| Binding { name: name.to_owned(), kind };
    version.bindings = vec![
        bind("TEXT", BindingKind::PlainText("text".to_owned())),
        bind("JSON", BindingKind::Json(r#"{"a":[1]}"#.parse().unwrap())),
        bind("SECRET", BindingKind::SecretText(Secret::new("hidden"))),
        bind("VERSION", BindingKind::VersionMetadata),
        bind("FILE", BindingKind::Module("file.txt".to_owned())),
        bind("STORE", BindingKind::Unavailable { kind: "kv_namespace".to_owned() }),
    ];
    let (isolate, _) = start(version).await.unwrap();
    let response = answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(
        text(response).await,
        r#"["text",{"a":[1]},"hidden","id,tag,timestamp","content","env.STORE cannot be used: bindings of type \"kv_namespace\" are not supported yet (env.STORE.get)","TEXT,JSON,SECRET,VERSION,FILE,STORE"]"#
    );
}

async fn modules_of_every_kind() {
    let source = "import text from './note.txt'; import data from './bytes.bin'; import values from './values.json';
      import wasm from './answer.wasm'; import common from './common.cjs'; import { named } from './lib/other.js';
      export default { async fetch() {
        const late = await import('./late.js');
        const { exports } = new WebAssembly.Instance(wasm);
        return Response.json([text, new Uint8Array(data).join(), values, wasm instanceof WebAssembly.Module, exports.answer(), common.word, named, late.default]);
      } }";
    let mut version = version(source);
    // (module (func (export "answer") (result i32) i32.const 42))
    let wasm: &[u8] = &[
        0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 10, 1, 6, 97, 110, 115, 119, 101, 114, 0,
        0, 10, 6, 1, 4, 0, 65, 42, 11,
    ];
    let add = |name: &str, content| Module { name: name.to_owned(), content };
    version.modules.extend([
        add("note.txt", ModuleContent::Text("note".into())),
        add("bytes.bin", ModuleContent::Data(vec![1, 2, 3].into())),
        add("values.json", ModuleContent::Json(r#"{"a":1}"#.into())),
        add("answer.wasm", ModuleContent::Wasm(wasm.into())),
        add("common.cjs", ModuleContent::CommonJs("exports.word = 'common';".into())),
        module("lib/other.js", "export { named } from '../third.js';"),
        module("third.js", "export const named = 'third';"),
        module("late.js", "export default 'late';"),
    ]);
    let (isolate, _) = start(version).await.unwrap();
    let response = answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(text(response).await, r#"["note","1,2,3",{"a":1},true,42,"common","third","late"]"#);
}

async fn errors_after_the_response_are_logged() {
    let source = "export default { fetch(request, env, ctx) {
        ctx.waitUntil((async () => { await scheduler.wait(1); throw new RangeError('late'); })());
        return new Response('early');
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let response = answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(text(response).await, "early");
    let exception = recorder.exception();
    assert_eq!((exception.name.as_str(), exception.message.as_str()), ("RangeError", "late"));
    recorder.finished();
}

async fn unhandled_rejections_are_logged() {
    let source = "addEventListener('unhandledrejection', (event) => console.log('seen', event.reason.message));
      export default { fetch() { Promise.reject(new Error('forgotten')); return new Response('hi'); } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(recorder.exception().message, "forgotten");
    assert_eq!(recorder.lines(), ["seen forgotten"]);
}

async fn wait_until_outlives_the_response() {
    let source = "export default { fetch(request, env, ctx) {
        ctx.waitUntil(scheduler.wait(5).then(() => { console.log('done'); ctx.waitUntil(scheduler.wait(1).then(() => console.log('nested'))); }));
        return new Response('early');
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert_eq!(recorder.finished().outcome, Outcome::Ok);
    assert_eq!(recorder.lines(), ["done", "nested"]);
}

async fn wait_until_has_a_limit() {
    let source = "export default { fetch(request, env, ctx) { ctx.waitUntil(scheduler.wait(1e9)); return new Response('early'); } }";
    let mut version = version(source);
    version.limits = Limits { wait_until: Duration::from_millis(10), ..Limits::default() };
    let (isolate, recorder) = start(version).await.unwrap();
    answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    recorder.finished();
    let lines = recorder.lines();
    assert!(lines[0].starts_with("waitUntil() tasks did not complete within the allowed time"), "{lines:?}");
}

async fn wait_until_after_the_end_throws() {
    let source = "let kept; export default { fetch(request, env, ctx) {
        if (kept === undefined) { kept = ctx; return new Response('first'); }
        try { kept.waitUntil(Promise.resolve()); return new Response('took it'); } catch (error) { return new Response(error.message); }
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    recorder.finished();
    let response = answered(isolate.fetch(get("http://localhost/")).await).unwrap();
    assert!(text(response).await.starts_with("waitUntil() was called after its event had ended"));
}

async fn console_lines_belong_to_their_event() {
    let source = "export default { async fetch(request) {
        const name = new URL(request.url).pathname;
        for (let i = 0; i < 3; i++) { console.log(name); await scheduler.wait(1); }
        return new Response('');
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let (left, right) =
        tokio::join!(isolate.fetch(get("http://localhost/left")), isolate.fetch(get("http://localhost/right")));
    answered(left).unwrap();
    answered(right).unwrap();
    let mut lines: Vec<(u32, String)> = recorder
        .seen()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Log(source, line) => Some((source.event, line.message)),
            Seen::Exception(..) | Seen::GoesOn(..) | Seen::Finished(..) => None,
        })
        .collect();
    lines.sort();
    let names: Vec<&str> = lines.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["/left", "/left", "/left", "/right", "/right", "/right"]);
    assert_eq!((lines[0].0, lines[2].0, lines[3].0), (1, 1, 2));
}

async fn stacks_name_the_module() {
    let mut version = version("import { fail } from './lib/fail.js'; export default { fetch() { fail(); } }");
    version.modules.push(module("lib/fail.js", "\nexport function fail() {\n  throw new Error('mine');\n}"));
    let (isolate, _) = start(version).await.unwrap();
    let failure = answered(isolate.fetch(get("http://localhost/")).await).unwrap_err();
    let lines: Vec<&str> = failure.stack.lines().collect();
    assert_eq!(lines[0], "Error: mine");
    assert!(lines[1].contains("fail") && lines[1].contains("lib/fail.js:3:9"), "{}", failure.stack);
    assert!(!failure.stack.contains("ext:"), "{}", failure.stack);
}

async fn startup_has_a_limit() {
    let mut version = version("for (;;) {}");
    version.limits = Limits { startup_cpu: Duration::from_millis(50), ..Limits::default() };
    let error = start(version).await.err().expect("it does not start");
    assert!(error.to_string().starts_with("Worker exceeded startup CPU time limit"), "{error}");
    assert_eq!(error.failure().code, ErrorCode::ExceededLimit);
}

async fn a_script_has_a_size() {
    let mut version = version("export default { fetch: () => new Response('hi') } /* as long as this */");
    version.limits = Limits { script_size: 16, ..Limits::default() };
    let error = start(version).await.err().expect("it does not start");
    assert!(error.to_string().starts_with("Worker exceeded script size limit"), "{error}");
}
