//! Bindings that reach outside of an isolate: other Workers' fetch handlers, assets, rate limits.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use skep_isolate::{Options, Slot};
use skep_observe::{EventRecord, Source, Trigger};
use skep_test_support::{Recorder, Seen, TestServices, get, options, start, test, text, version};
use skep_worker::{Binding, BindingKind, Event, Limits, Outcome, Version};

/// What calls and what is called: bindings `T` (the other Worker's default export), `NAMED` (its entrypoint `Named` with
/// properties), `OBJECT` (its entrypoint `object`), `SELF`, `GONE` (no such Worker), `ASSETS` and `LIMITER`.
pub(crate) struct Pair {
    pub(crate) caller: Arc<Slot>,
    pub(crate) seen: Arc<Recorder>,
    pub(crate) target_seen: Arc<Recorder>,
    // Holds the Workers.
    _services: Arc<TestServices>,
}

fn service(name: &str, worker: &str, entrypoint: Option<&str>, props: Option<serde_json::Value>) -> Binding {
    let kind = BindingKind::Service { worker: worker.to_owned(), entrypoint: entrypoint.map(str::to_owned), props };
    Binding { name: name.to_owned(), kind }
}

pub(crate) fn pair(caller: &str, target: &str, target_limits: Limits, caller_limits: Limits) -> Pair {
    let services = TestServices::new(&[("/index.html", "<h1>hi</h1>")]);
    let bindings = vec![
        service("T", "target", None, None),
        service("NAMED", "target", Some("Named"), Some(serde_json::json!({ "role": "reader" }))),
        service("OBJECT", "target", Some("object"), None),
        service("SELF", "caller", None, None),
        service("GONE", "gone", None, None),
        Binding { name: "ASSETS".to_owned(), kind: BindingKind::Assets },
        Binding {
            name: "LIMITER".to_owned(),
            kind: BindingKind::RateLimit { namespace: "1".to_owned(), limit: 2, period: 60 },
        },
    ];
    let caller = Version { worker: "caller".to_owned(), bindings, limits: caller_limits, ..version(caller) };
    let target = Version { worker: "target".to_owned(), limits: target_limits, ..version(target) };
    let (_, target_seen) = services.add(target);
    let (caller, seen) = services.add(caller);
    Pair { caller, seen, target_seen, _services: services }
}

impl Pair {
    /// The events of the other Worker that are over.
    pub(crate) fn target_records(&self) -> Vec<(Source, EventRecord)> {
        let record = |seen| match seen {
            Seen::Finished(source, record) => Some((source, record)),
            Seen::Log(..) | Seen::Exception(..) | Seen::GoesOn(..) => None,
        };
        self.target_seen.seen().into_iter().filter_map(record).collect()
    }

    /// What the caller answers to `GET http://localhost/`.
    pub(crate) async fn answer(&self) -> String {
        let response = Arc::clone(&self.caller).fetch(get("http://localhost/")).await;
        text(response.expect("the Worker answers")).await
    }
}

/// What a handler of these lines answers with two Workers: `body` is the caller's handler, `target` the other Worker.
async fn check(body: &str, target: &str, expected: &str) {
    let caller = format!(
        "const name = (error) => `${{error.name}}: ${{error.message}}${{error.remote ? ' (remote)' : ''}}`;
         export default {{ async fetch(request, env, ctx) {{ {body} }} }}"
    );
    let pair = pair(&caller, target, Limits::default(), Limits::default());
    assert_eq!(pair.answer().await, expected);
}

const ECHO: &str = "
    import { WorkerEntrypoint } from 'cloudflare:workers';
    export default { async fetch(request, env, ctx) {
        const url = new URL(request.url);
        if (url.pathname === '/throw') throw new RangeError('mine');
        if (url.pathname === '/redirect') return Response.redirect('http://x/target', 302);
        if (url.pathname === '/gzip') return new Response('zipped', { headers: { 'content-encoding': 'gzip' } });
        if (url.pathname === '/socket') {
            const [client, server] = Object.values(new WebSocketPair());
            server.accept();
            server.addEventListener('message', (event) => server.send('echo ' + event.data));
            return new Response(null, { status: 101, webSocket: client });
        }
        return new Response([request.method, request.url, await request.text(), request.cf?.mine].join(' '), { status: 203, headers: { a: 'b' } });
    } };
    export class Named extends WorkerEntrypoint { fetch() { return Response.json(this.ctx.props); } }
";

/// Handlers of the caller, and what they answer when the other Worker is [`ECHO`].
const FETCHES: &[(&str, &str, &str)] = &[
    (
        "fetch_of_a_url",
        "const response = await env.T.fetch('http://x/y?z#f'); return Response.json([response.status, response.headers.get('a'), response.url, await response.text()])",
        "[203,\"b\",\"http://x/y?z\",\"GET http://x/y?z  \"]",
    ),
    (
        "fetch_of_a_request",
        "return env.T.fetch(new Request('http://x/', { method: 'PUT', body: 'up', cf: { mine: 5 } }))",
        "PUT http://x/ up 5",
    ),
    ("fetch_of_a_url_and_init", "return env.T.fetch('http://x/', { method: 'POST', body: 'b' })", "POST http://x/ b "),
    (
        "fetch_of_a_stream",
        "const { readable, writable } = new TransformStream(); const writer = writable.getWriter();
         ctx.waitUntil((async () => { for (const word of ['a', 'b', 'c']) { await writer.write(new TextEncoder().encode(word)); await scheduler.wait(1); } await writer.close(); })());
         return env.T.fetch('http://x/', { method: 'POST', body: readable })",
        "POST http://x/ abc ",
    ),
    ("fetch_of_a_relative_url", "try { await env.T.fetch('/y'); } catch (error) { return new Response(error.name); }", "TypeError"),
    (
        "fetch_follows_redirects",
        "const response = await env.T.fetch('http://x/redirect'); return Response.json([response.redirected, response.url, await response.text()])",
        "[true,\"http://x/target\",\"GET http://x/target  \"]",
    ),
    (
        "fetch_with_manual_redirect",
        "return Response.json((await env.T.fetch('http://x/redirect', { redirect: 'manual' })).status)",
        "302",
    ),
    (
        "fetch_of_encoded_content",
        "const response = await env.T.fetch('http://x/gzip'); return Response.json([await response.text(), response.headers.get('content-encoding')])",
        "[\"zipped\",\"gzip\"]",
    ),
    (
        "fetch_passes_encoded_content_on",
        "const response = await env.T.fetch('http://x/gzip'); return new Response(new Response(response.body).body)",
        "zipped",
    ),
    (
        "fetch_of_a_websocket",
        "const { webSocket } = await env.T.fetch('http://x/socket', { headers: { upgrade: 'websocket' } });
         webSocket.accept(); const seen = [];
         webSocket.addEventListener('message', (event) => seen.push(event.data));
         for (const word of ['a', 'b', 'c']) { webSocket.send(word); await new Promise((resolve) => webSocket.addEventListener('message', resolve, { once: true })); }
         webSocket.close(1000); return Response.json(seen)",
        "[\"echo a\",\"echo b\",\"echo c\"]",
    ),
    (
        "the_error_of_the_other_worker",
        "try { await env.T.fetch('http://x/throw'); } catch (error) { return new Response(name(error)); }",
        "RangeError: mine (remote)",
    ),
    (
        "a_worker_that_is_missing",
        "try { await env.GONE.fetch('http://x/'); } catch (error) { return new Response(name(error)); }",
        "Error: There is no Worker named \"gone\" here: deploy it, or correct the service binding that names it (remote)",
    ),
    (
        "an_aborted_fetch",
        "try { await env.T.fetch('http://x/', { signal: AbortSignal.abort() }); } catch (error) { return new Response(error.name); }",
        "AbortError",
    ),
    ("a_named_entrypoint_with_properties", "return env.NAMED.fetch('http://x/')", "{\"role\":\"reader\"}"),
    (
        "what_a_binding_is",
        "return Response.json([typeof env.T, Object.prototype.toString.call(env.T), typeof env.T.fetch, typeof env.T.then, env.T.constructor.name, Object.keys(env.T)])",
        "[\"object\",\"[object Fetcher]\",\"function\",\"undefined\",\"Fetcher\",[]]",
    ),
    (
        "fetch_needs_its_binding",
        "try { await (0, env.T.fetch)('http://x/'); } catch (error) { return new Response(error.name); }",
        "TypeError",
    ),
    ("assets", "return env.ASSETS.fetch(new URL('/index.html', request.url))", "<h1>hi</h1>"),
    ("missing_assets", "return Response.json((await env.ASSETS.fetch('http://x/missing')).status)", "404"),
    ("assets_have_no_methods", "return Response.json(typeof env.ASSETS.list)", "\"undefined\""),
    (
        "rate_limit",
        "const results = []; for (const key of ['a', 'a', 'a', 'b']) results.push((await env.LIMITER.limit({ key })).success); return Response.json(results)",
        "[true,true,false,true]",
    ),
    (
        "rate_limit_without_options",
        "try { await env.LIMITER.limit(); } catch (error) { return new Response(error.name); }",
        "TypeError",
    ),
    (
        "rate_limit_with_a_number",
        "try { await env.LIMITER.limit({ key: 5 }); } catch (error) { return new Response(error.message); }",
        "`key` must be a string",
    ),
];

pub(crate) fn tests() -> Vec<Trial> {
    let fetches = FETCHES.iter().map(|(name, body, expected)| {
        test(&format!("services::{name}"), move || async move { check(body, ECHO, expected).await })
    });
    let others = [
        test("services::a_worker_can_call_itself", a_worker_can_call_itself),
        test("services::each_call_is_a_subrequest", each_call_is_a_subrequest),
        test("services::a_call_is_an_event_of_the_other_worker", a_call_is_an_event_of_the_other_worker),
        test("services::the_other_workers_cpu_limit_is_an_error", the_other_workers_cpu_limit_is_an_error),
        test("services::a_client_that_goes_away_cancels_the_call", a_client_that_goes_away_cancels_the_call),
        test("services::a_response_that_breaks_off_is_an_error", a_response_that_breaks_off_is_an_error),
        test("services::nobody_serves", nobody_serves),
        test("services::a_call_at_the_top_level_is_refused", a_call_at_the_top_level_is_refused),
    ];
    fetches.chain(others).collect()
}

async fn a_worker_can_call_itself() {
    let caller = "
        import { exports, WorkerEntrypoint } from 'cloudflare:workers';
        export class Named extends WorkerEntrypoint { fetch() { return Response.json(this.ctx.props); } }
        export default { async fetch(request, env, ctx) {
            if (request.url.endsWith('/inner')) return new Response('inner');
            const texts = [env.SELF, ctx.exports.default, ctx.exports.Named, ctx.exports.Named({ props: { a: 1 } }), exports.default]
                .map(async (own) => (await own.fetch('http://x/inner')).text());
            return Response.json(await Promise.all(texts));
        } }";
    let (options, _) = options(Version {
        worker: "caller".to_owned(),
        bindings: vec![service("SELF", "caller", None, None)],
        ..version(caller)
    });
    let slot = Slot::new(options);
    let response = slot.fetch(get("http://localhost/")).await.unwrap();
    assert_eq!(text(response).await, r#"["inner","inner","{}","{\"a\":1}","inner"]"#);
}

async fn each_call_is_a_subrequest() {
    let caller = "export default { async fetch(request, env) {
        try { for (;;) { await env.T.fetch('http://x/'); await env.LIMITER.limit({ key: 'a' }); await env.ASSETS.fetch('http://x/'); } }
        catch (error) { return new Response(error.message); } } }";
    let limits = Limits { subrequests: 7, ..Limits::default() };
    let pair = pair(caller, ECHO, Limits::default(), limits);
    assert_eq!(pair.answer().await, "Too many subrequests: 8 made, 7 allowed per request");
    assert_eq!(pair.seen.finished().subrequests, 8);
}

async fn a_call_is_an_event_of_the_other_worker() {
    let caller = "export default { async fetch(request, env) { await (await env.T.fetch('http://x/y')).text(); return new Response('ok'); } }";
    let target = "export default { fetch() { console.log('called'); return new Response('x', { status: 204 - 1 }); } }";
    let pair = pair(caller, target, Limits::default(), Limits::default());
    assert_eq!(pair.answer().await, "ok");
    let record = pair.target_seen.finished();
    assert_eq!((record.trigger.event(), record.outcome), (Event::Fetch, Outcome::Ok));
    let Trigger::Fetch { url, status, .. } = record.trigger else { panic!("{:?}", record.trigger) };
    assert_eq!((url.to_string().as_str(), status), ("http://x/y", Some(203)));
    assert_eq!(pair.target_seen.lines(), ["called"]);
    assert!(pair.seen.lines().is_empty());
}

async fn the_other_workers_cpu_limit_is_an_error() {
    let caller = "export default { async fetch(request, env) {
        try { await env.T.fetch('http://x/'); } catch (error) { return new Response(`${error.name}: ${error.message} ${error.remote}`); } } }";
    let limits = Limits { cpu: Duration::from_millis(50), ..Limits::default() };
    let pair = pair(caller, "export default { fetch() { for (;;); } }", limits, Limits::default());
    let answer = pair.answer().await;
    assert!(answer.starts_with("Error: Worker exceeded CPU time limit:") && answer.ends_with("true"), "{answer}");
    assert_eq!(pair.target_seen.finished().outcome, Outcome::ExceededCpu);
    assert_eq!(pair.seen.finished().outcome, Outcome::Ok);
}

async fn a_client_that_goes_away_cancels_the_call() {
    let caller = "export default { fetch: (request, env) => env.T.fetch('http://x/', { signal: request.signal }) }";
    let target = "export default { fetch(request) {
        console.log('called');
        return new Promise(() => { request.signal.addEventListener('abort', () => console.log('aborted')); setTimeout(() => {}, 60_000); });
    } }";
    let pair = pair(caller, target, Limits::default(), Limits::default());
    let called =
        |line: &'static str| move |seen: &Seen| matches!(seen, Seen::Log(_, log) if log.message == line).then_some(());
    let request = tokio::spawn(Arc::clone(&pair.caller).fetch(get("http://localhost/")));
    pair.target_seen.wait(called("called"));
    request.abort();
    pair.target_seen.wait(called("aborted"));
}

/// A limit stops the other Worker in the middle of its response: its reader learns that this was not all of it.
async fn a_response_that_breaks_off_is_an_error() {
    let caller = "export default { async fetch(request, env) {
        const response = await env.T.fetch('http://x/');
        try { return new Response('whole: ' + await response.text()); } catch (error) { return new Response(error.name); } } }";
    let target = "export default { fetch() {
        const { readable, writable } = new TransformStream();
        const writer = writable.getWriter();
        (async () => { await writer.write(new TextEncoder().encode('part')); await scheduler.wait(10); for (;;); })();
        return new Response(readable);
    } }";
    let limits = Limits { cpu: Duration::from_millis(50), ..Limits::default() };
    let pair = pair(caller, target, limits, Limits::default());
    assert_eq!(pair.answer().await, "TypeError");
}

async fn nobody_serves() {
    let source = "export default { async fetch(request, env) {
        const messages = [];
        for (const use of [() => env.T.fetch('http://x/'), () => env.ASSETS.fetch('http://x/'), () => env.LIMITER.limit({ key: '' })]) {
            try { await use(); } catch (error) { messages.push(error.message); }
        }
        return Response.json(messages.map((message) => message.split(' ').slice(0, 4).join(' ')));
    } }";
    let bindings = vec![
        service("T", "target", None, None),
        Binding { name: "ASSETS".to_owned(), kind: BindingKind::Assets },
        Binding {
            name: "LIMITER".to_owned(),
            kind: BindingKind::RateLimit { namespace: "1".to_owned(), limit: 1, period: 10 },
        },
    ];
    let (options, _) = options(Version { bindings, ..version(source) });
    let slot = Slot::new(Options { services: Arc::new(skep_isolate::NoServices), ..options });
    let response = slot.fetch(get("http://localhost/")).await.unwrap();
    assert_eq!(text(response).await, r#"["There is no Worker","No static assets are","Rate limits are not"]"#);
}

async fn a_call_at_the_top_level_is_refused() {
    for (kind, using) in [
        (BindingKind::Assets, "env.B.fetch('http://x/')"),
        (BindingKind::Service { worker: "x".to_owned(), entrypoint: None, props: None }, "env.B.method()"),
        (BindingKind::RateLimit { namespace: "1".to_owned(), limit: 1, period: 10 }, "env.B.limit({ key: 'a' })"),
    ] {
        let source = format!("import {{ env }} from 'cloudflare:workers'; await {using}; export default {{}}");
        let bindings = vec![Binding { name: "B".to_owned(), kind }];
        let error = start(Version { bindings, ..version(&source) }).await.err().expect("it does not start");
        assert!(error.to_string().contains("global scope"), "{using}: {error}");
    }
}
