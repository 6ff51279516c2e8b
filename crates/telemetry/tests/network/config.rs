//! Configurations: what is taken, where spans go then, and mistakes, each with its key and what to do. None shows a secret.

use std::sync::Arc;
use std::time::Duration;

use skep_telemetry::{Compression, Exporter, ExporterConfig};

use crate::server::{Answer, Server};
use crate::{PATIENCE, span};

const PLAIN: &str = "endpoint = \"http://127.0.0.1:4318\"\n";
const SECURE: &str = "endpoint = \"https://otlp.example\"\n[headers]\nauthorization = \"Bearer SECRET\"\n";

fn check(config: &str) -> Result<(), String> {
    let config: ExporterConfig = toml::from_str(config).map_err(|error| error.to_string())?;
    Exporter::start(config, Arc::new(|_| {})).map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_documented_configuration_is_taken() {
    let documented = include_str!("../../src/lib.rs");
    let (_, documented) = documented.split_once("```toml\n").expect("an example");
    let (documented, _) = documented.split_once("```").expect("its end");
    let documented: String = documented.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let config: ExporterConfig = toml::from_str(&documented.replace('…', "x")).expect("a configuration");
    let usual = ExporterConfig::new("https://otlp.example.com".parse().expect("a URL"));
    assert_eq!(config.endpoint, usual.endpoint);
    assert_eq!(
        (config.compression, config.timeout, config.interval),
        (usual.compression, usual.timeout, usual.interval)
    );
    assert_eq!((config.batch_spans, config.queue_spans), (usual.batch_spans, usual.queue_spans));
    assert_eq!(config.queue_bytes, usual.queue_bytes);
    assert_eq!(format!("{:?}", config.retry), format!("{:?}", usual.retry));
    assert!(Exporter::start(config, Arc::new(|_| {})).is_ok());
}

#[tokio::test]
async fn good_configurations_are_taken() {
    for config in [PLAIN, SECURE, "endpoint = \"http://collector.internal:4318\"\n"] {
        assert_eq!(check(config), Ok(()), "{config}");
    }
    // What may be a secret goes to this machine without encryption, and to no other.
    for host in ["127.0.0.1:4318", "localhost:4318", "[::1]:4318"] {
        assert_eq!(check(&SECURE.replace("https://otlp.example", &format!("http://{host}"))), Ok(()), "{host}");
    }
    let config: ExporterConfig = toml::from_str(&format!(
        "{PLAIN}compression = \"none\"\ntimeout_ms = 250\ninterval_ms = 1\n[retry]\nlast_pause_ms = 7\n"
    ))
    .expect("a configuration");
    assert_eq!((config.compression, config.timeout), (Compression::None, Duration::from_millis(250)));
    assert_eq!(config.retry.last_pause, Duration::from_millis(7));
}

#[tokio::test]
async fn mistakes_name_the_key_and_say_what_to_do() {
    let plain = |line: &str| format!("{PLAIN}{line}\n");
    let secure = |line: &str| format!("{SECURE}{line}\n");
    for (config, expected) in [
        (String::new(), "missing field `endpoint`"),
        (PLAIN.replace("http://127.0.0.1:4318", "collector"), "endpoint: it is no URL (relative URL without a base)"),
        (PLAIN.replace("http", "grpc"), "endpoint: its scheme is neither https nor http: use one of them"),
        (PLAIN.replace("//", "//me:SECRET@"), "endpoint: it has a user or a password in it"),
        (PLAIN.replace("4318", "4318/#x"), "endpoint: it has a fragment"),
        (SECURE.replace("https", "http"), "endpoint: headers, which may be secrets, would be sent to it without"),
        (plain("endpoints = 1"), "unknown field `endpoints`"),
        (plain("compression = \"zstd\""), "unknown variant `zstd`"),
        (plain("timeout_ms = \"5s\""), "timeout_ms = \"5s\""),
        (plain("timeout_ms = 0"), "timeout_ms: it is 0"),
        (plain("interval_ms = 0"), "interval_ms: it is 0"),
        (plain("batch_spans = 0"), "batch_spans: it is 0"),
        (plain("queue_bytes = 0"), "queue_bytes: it is 0"),
        (plain("queue_spans = 100"), "queue_spans: 100 is less than batch_spans (512): make it larger"),
        (plain("retry.first_pause_ms = 0"), "retry.first_pause_ms: it is 0"),
        (plain("retry.pause = 0"), "unknown field `pause`"),
        (plain("resource.\"service.name\" = \"x\""), "resource.\"service.name\": it is empty or says what Skep says"),
        (secure("\"a b\" = \"x\""), "headers.a b: it is no name of a header"),
        (secure("Content-Type = \"x\""), "headers.Content-Type: each request has its own: leave it out"),
        (secure("Authorization = \"x\""), "headers.authorization: it is there twice"),
        (SECURE.replace("SECRET", "SECRET\\n"), "headers.authorization: it has characters that no header may have"),
    ] {
        let error = check(&config).expect_err(expected);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn no_secret_is_printed() {
    let config: ExporterConfig = toml::from_str(SECURE).expect("a configuration");
    let printed = format!("{config:?}");
    assert!(printed.contains("authorization") && !printed.contains("SECRET"), "{printed}");
}

#[tokio::test]
async fn the_path_is_appended_unless_it_is_there() {
    let server = Server::start(|_| Answer::status(200)).await;
    for (path, expected) in [
        ("", "/v1/traces"),
        ("/", "/v1/traces"),
        ("/otlp", "/otlp/v1/traces"),
        ("/otlp/", "/otlp/v1/traces"),
        ("/v1/traces", "/v1/traces"),
        ("/v1/traces/", "/v1/traces"),
        ("/insert/v1/traces?tenant=7", "/insert/v1/traces?tenant=7"),
        ("/v1", "/v1/v1/traces"),
    ] {
        let endpoint = format!("http://{}{path}", server.address).parse().expect("a URL");
        let exporter = Exporter::start(ExporterConfig::new(endpoint), Arc::new(|_| {})).expect("an exporter");
        exporter.export([span("a")]);
        exporter.flush(PATIENCE).await.expect("a collector");
        let line = server.requests().last().expect("a request").line.clone();
        assert_eq!(line, format!("POST {expected} HTTP/1.1"), "{path}");
    }
}
