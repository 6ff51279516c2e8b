//! What is sent, as the protocol's own descriptors read it.

use std::time::{Duration, UNIX_EPOCH};

use skep_observe::TraceContext;
use skep_telemetry::{Compression, SpanEvent, SpanKind, Status, Value};
use skep_worker::Secret;

use crate::message::Message;
use crate::server::{Answer, Server};
use crate::{Running, config, eventually, names, resource, spans};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

#[tokio::test]
async fn spans_arrive_whole() {
    let server = Server::start(|_| Answer::status(200)).await;
    let running = Running::start(config(&server));
    let context = TraceContext::from_headers([TRACEPARENT], ["rojo=1,congo=2"]).expect("a context").expect("one");
    let at = |milliseconds: u64| UNIX_EPOCH + Duration::from_millis(1_790_000_000_000 + milliseconds);
    let mut parent = crate::span("GET");
    parent.trace = context.trace;
    parent.parent = Some(context.parent);
    parent.flags = context.flags;
    parent.trace_state = context.state.clone();
    (parent.start, parent.end) = (at(0), at(25));
    parent.attributes = vec![
        ("http.request.method".into(), "GET".into()),
        ("http.response.status_code".into(), Value::Int(500)),
        ("skep.cpu_ms".into(), Value::Float(1.5)),
        ("skep.cold".into(), Value::Bool(false)),
        ("skep.empty".into(), Value::from(String::new())),
        (format!("skep.{}", "made").into(), Value::Int(i64::MIN)),
    ];
    let (kind, message) = (Some("TypeError".to_owned()), Some("x is not a function".to_owned()));
    parent.events = vec![
        SpanEvent::exception(at(20), kind, message, Some("at fetch (index.js:1:2)".to_owned())),
        SpanEvent { name: "log".into(), at: at(21), attributes: Vec::new() },
    ];
    parent.status = Status::Error("x is not a function".to_owned());
    let mut child = crate::span("fetch");
    child.trace = context.trace;
    child.parent = Some(parent.id);
    child.kind = SpanKind::Client;
    child.status = Status::Ok;
    let (id, child_id) = (parent.id, child.id);
    running.exporter.export([parent, child]);
    running.flush().await;

    let requests = server.requests();
    let [request] = &*requests else { panic!("{requests:?}") };
    assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(request.header("user-agent"), Some(concat!("Skep/", env!("CARGO_PKG_VERSION"))));
    let resources = request.message().list("resource_spans");
    let [scope] = &*resources[0].list("scope_spans") else { panic!("{request:?}") };
    let name = scope.message("scope").expect("a scope");
    assert_eq!((resources.len(), name.text("name"), name.text("version")), (1, "skep".into(), VERSION.into()));
    let [parent, child] = &*scope.list("spans") else { panic!("{scope:?}") };
    assert_eq!(parent.bytes("trace_id"), context.trace.bytes());
    assert_eq!(parent.bytes("span_id"), id.bytes());
    assert_eq!(parent.bytes("parent_span_id"), context.parent.bytes());
    assert_eq!((parent.text("name"), parent.variant("kind")), ("GET".into(), "SPAN_KIND_SERVER".into()));
    assert_eq!((parent.text("trace_state"), parent.number("flags")), ("rojo=1,congo=2".into(), 3));
    assert_eq!(parent.number("start_time_unix_nano"), 1_790_000_000_000_000_000);
    assert_eq!(parent.number("end_time_unix_nano"), 1_790_000_000_025_000_000);
    assert_eq!(
        parent.attributes(),
        [
            "http.request.method=string \"GET\"",
            "http.response.status_code=int 500",
            "skep.cpu_ms=double 1.5",
            "skep.cold=bool false",
            "skep.empty=string \"\"",
            "skep.made=int -9223372036854775808",
        ]
    );
    let [exception, log] = &*parent.list("events") else { panic!("{parent:?}") };
    assert_eq!(exception.text("name"), "exception");
    assert_eq!(exception.number("time_unix_nano"), 1_790_000_000_020_000_000);
    assert_eq!(
        exception.attributes(),
        [
            "exception.type=string \"TypeError\"",
            "exception.message=string \"x is not a function\"",
            "exception.stacktrace=string \"at fetch (index.js:1:2)\"",
        ]
    );
    assert_eq!((log.text("name"), log.attributes().len()), ("log".into(), 0));
    let status = |span: &Message| span.message("status").map(|status| (status.variant("code"), status.text("message")));
    assert_eq!(status(parent), Some(("STATUS_CODE_ERROR".into(), "x is not a function".into())));
    assert_eq!(child.bytes("parent_span_id"), parent.bytes("span_id"));
    assert_eq!(child.bytes("trace_id"), parent.bytes("trace_id"));
    assert_eq!((child.bytes("span_id"), child.variant("kind")), (child_id.bytes().into(), "SPAN_KIND_CLIENT".into()));
    assert_eq!((status(child), child.number("flags")), (Some(("STATUS_CODE_OK".into(), String::new())), 1));
    assert_eq!(running.told(), [""; 0]);
}

#[tokio::test]
async fn each_kind_and_an_unset_status_have_their_numbers() {
    let server = Server::start(|_| Answer::status(200)).await;
    let running = Running::start(config(&server));
    let kinds = [SpanKind::Server, SpanKind::Client, SpanKind::Internal, SpanKind::Consumer, SpanKind::Producer];
    running.exporter.export(kinds.map(|kind| skep_telemetry::Span { kind, ..crate::span("a") }));
    running.flush().await;
    let request = server.requests().remove(0);
    let found: Vec<String> = request.spans().iter().map(|span| span.variant("kind")).collect();
    let kinds = ["SERVER", "CLIENT", "INTERNAL", "CONSUMER", "PRODUCER"];
    assert_eq!(found, kinds.map(|kind| format!("SPAN_KIND_{kind}")));
    let bare = |span: &Message| span.message("status").is_none() && span.bytes("parent_span_id").is_empty();
    assert!(request.spans().iter().all(bare));
}

#[tokio::test]
async fn spans_are_grouped_by_their_resource() {
    let server = Server::start(|_| Answer::status(200)).await;
    let mut config = config(&server);
    config.resource.insert("deployment.environment.name".to_owned(), "production".to_owned());
    config.resource.insert("host.name".to_owned(), "node-1".to_owned());
    let running = Running::start(config);
    let of = |worker: &str, name: &str| skep_telemetry::Span { resource: resource(worker), ..crate::span(name) };
    running.exporter.export([of("shop", "a"), of("blog", "b"), of("shop", "c"), of("blog", "d")]);
    running.flush().await;
    let request = server.requests().remove(0);
    let own = |worker: &str| {
        [
            format!("service.name=string {worker:?}"),
            "service.version=string \"0195f7c2\"".to_owned(),
            "service.namespace=string \"acme\"".to_owned(),
            "service.instance.id=string \"node-1/7\"".to_owned(),
            "telemetry.sdk.name=string \"skep\"".to_owned(),
            "telemetry.sdk.language=string \"rust\"".to_owned(),
            format!("telemetry.sdk.version=string {VERSION:?}"),
            "deployment.environment.name=string \"production\"".to_owned(),
            "host.name=string \"node-1\"".to_owned(),
        ]
    };
    let [shop, blog] = &*request.message().list("resource_spans") else { panic!("{request:?}") };
    for (found, worker) in [(shop, "shop"), (blog, "blog")] {
        assert_eq!(found.message("resource").expect("a resource").attributes(), own(worker));
    }
    assert_eq!(request.names(), ["a", "c", "b", "d"]);
}

#[tokio::test]
async fn the_host_is_the_machine() {
    let server = Server::start(|_| Answer::status(200)).await;
    let running = Running::start(config(&server));
    running.exporter.export([crate::span("a")]);
    running.flush().await;
    let request = server.requests().remove(0);
    let resource = request.message().list("resource_spans")[0].message("resource").expect("a resource");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.map(|host| format!("host.name=string {:?}", host.trim()));
    assert_eq!(resource.attributes().into_iter().find(|shown| shown.starts_with("host.name")), host);
}

#[tokio::test]
async fn bodies_are_compressed_unless_they_should_not_be() {
    let server = Server::start(|_| Answer::status(200)).await;
    for compression in [Compression::Gzip, Compression::None] {
        let mut config = config(&server);
        config.compression = compression;
        let running = Running::start(config);
        running.exporter.export(spans(0..100));
        running.flush().await;
    }
    let [gzip, plain] = <[_; 2]>::try_from(server.requests()).expect("two requests");
    assert_eq!((gzip.header("content-encoding"), plain.header("content-encoding")), (Some("gzip"), None));
    // Random ids stay as long as they are.
    assert!(gzip.bytes < plain.bytes * 3 / 4, "{} and {} bytes", gzip.bytes, plain.bytes);
    assert_eq!(gzip.names(), plain.names());
}

#[tokio::test]
async fn headers_are_sent() {
    let server = Server::start(|_| Answer::status(200)).await;
    let mut config = config(&server);
    config.headers.insert("Authorization".to_owned(), Secret::new("Bearer SECRET"));
    config.headers.insert("x-scope-orgid".to_owned(), Secret::new("skep"));
    let running = Running::start(config);
    running.exporter.export(spans(0..1));
    running.flush().await;
    let request = server.requests().remove(0);
    assert_eq!(request.header("authorization"), Some("Bearer SECRET"));
    assert_eq!(request.header("x-scope-orgid"), Some("skep"));
}

#[tokio::test]
async fn a_full_batch_does_not_wait_and_the_rest_does() {
    let server = Server::start(|_| Answer::status(200)).await;
    let mut config = config(&server);
    config.batch_spans = 10;
    let running = Running::start(config);
    running.exporter.export(spans(0..25));
    eventually(|| running.exporter.stats().sent == 20).await;
    assert_eq!(server.names(), names(0..20));
    running.exporter.export(spans(25..30));
    eventually(|| running.exporter.stats().sent == 30).await;
    let sizes: Vec<usize> = server.requests().iter().map(|request| request.spans().len()).collect();
    assert_eq!((server.names(), sizes), (names(0..30), vec![10, 10, 10]));
}

#[tokio::test]
async fn fewer_spans_wait_for_the_interval() {
    let server = Server::start(|_| Answer::status(200)).await;
    let mut config = config(&server);
    config.interval = Duration::from_millis(50);
    let running = Running::start(config);
    running.exporter.export(spans(0..3));
    eventually(|| running.exporter.stats().sent == 3).await;
    assert_eq!(server.names(), names(0..3));
}
