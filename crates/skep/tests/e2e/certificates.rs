//! Certificates on demand from a real certificate authority, and domains that are proved by DNS.

use std::path::Path;
use std::sync::Arc;

use hyper::Request;
use tempfile::TempDir;
use tokio::process::Child;

use crate::support::{
    Answer, Authority, Dns, Output, Person, Platform, body, command, fetch, fetch_over, free_port, get, offline, tls,
};

/// A platform that orders its certificates, until this goes out of scope.
struct Secured {
    output: Output,
    process: Child,
    https: String,
    http: String,
    root: String,
}

impl Secured {
    async fn start(data: &Path, authority: &Authority, ports: (u16, u16), challenge: &str) -> Self {
        let (http, https) = (format!("127.0.0.1:{}", ports.0), format!("127.0.0.1:{}", ports.1));
        let folder = data.join("data");
        let arguments = ["serve", "--data-dir", folder.to_str().expect("a path"), "--domain", "skep.test"];
        let listening = ["--listen", &https, "--listen-http", &http];
        let root = authority.own_root.to_str().expect("a path");
        let ordering = ["--acme-directory", &authority.directory, "--acme-root", root, "--acme-challenges", challenge];
        let mut command = command(data, &[&arguments[..], &listening, &ordering].concat());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let process = command.spawn().expect("it starts");
        drop(command);
        let mut output = Output::of(reader);
        output.until("Ready on https://skep.test").await;
        Self { output, process, https, http, root: authority.root.clone() }
    }

    /// Visits a host as a browser does: its certificate must be good.
    async fn visit(&self, host: &str, path: &str) -> Result<Answer, String> {
        let stream = tls::visit(&self.https, host, &self.root).await?;
        Ok(fetch_over(stream, host, get(path)).await)
    }

    async fn says_hello(&self, host: &str) {
        let answer = self.visit(host, "/").await;
        let answer = answer.unwrap_or_else(|error| panic!("{host}: {error}: {}", self.output.all()));
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "hello"), "{host}");
    }

    async fn stop(mut self) -> String {
        self.process.kill().await.expect("it ran");
        self.output.all()
    }
}

/// A data directory with a Worker at its own address, at a custom domain and at a route. Gives the first digits of its version.
async fn deployed(data: &Arc<TempDir>) -> String {
    let mut platform = Platform::over(Arc::clone(data), &["--domain", "skep.test"]).await;
    let code = "export default { fetch: () => new Response('hello') };".to_owned();
    let uploaded = platform.upload("hello", &[("index.js", code)]).await.expect("an answer");
    let url = format!("/accounts/{}/workers/scripts/hello", platform.account);
    platform
        .api(hyper::Method::POST, &format!("{url}/subdomain"), r#"{ "enabled": true, "previews_enabled": true }"#)
        .await;
    let zone = format!("/skep/v1/accounts/{}/domains", platform.account);
    let added = platform.own(hyper::Method::POST, &zone, r#"{ "name": "shop.example", "trusted": true }"#).await;
    assert_eq!(added["success"], true, "{added}");
    let domain = r#"[{ "hostname": "www.shop.example" }]"#;
    let custom = format!("{url}/domains/records");
    let domains = platform.api(hyper::Method::PUT, &custom, &format!(r#"{{ "origins": {domain} }}"#)).await;
    assert_eq!(domains["success"], true, "{domains}");
    assert_eq!(platform.stop().await, Some(0));
    uploaded["result"]["deployment_id"].as_str().expect("a version").chars().take(8).collect()
}

#[tokio::test]
async fn a_host_has_its_certificate_on_the_first_visit() {
    if offline() {
        return;
    }
    let data = Arc::new(TempDir::new().expect("a folder"));
    let version = deployed(&data).await;
    let (dns, ports) = (Dns::start().await, (free_port().await, free_port().await));
    let authority = Authority::start(&dns, ports.0, ports.1).await;

    let platform = Secured::start(data.path(), &authority, ports, "tls-alpn-01").await;
    platform.says_hello("hello.dev.skep.test").await;
    platform.says_hello("www.shop.example").await;
    platform.says_hello(&format!("{version}-hello.dev.skep.test")).await;
    assert_eq!(platform.visit("skep.test", "/readyz").await.expect("a certificate").text, "ready\n");
    // Nobody orders certificates for names that he makes up.
    for unknown in ["other.dev.skep.test", "ffffffff-hello.dev.skep.test", "alias-hello.dev.skep.test", "shop.example"]
    {
        assert!(platform.visit(unknown, "/").await.is_err(), "{unknown}");
    }
    // What comes over plain HTTP is sent on.
    let request = Request::get("/a?b=c").header("host", "hello.dev.skep.test").body(body("")).expect("a request");
    let answer = fetch(&platform.http, request).await;
    let target = format!("https://hello.dev.skep.test:{}/a?b=c", ports.1);
    assert_eq!((answer.status.as_u16(), answer.header("location")), (308, target.as_str()));
    let said = platform.stop().await;
    assert_eq!(said.matches("has a certificate").count(), 4, "{said}");

    // After a restart what was ordered is there, and the other challenge brings what was not.
    let platform = Secured::start(data.path(), &authority, ports, "http-01").await;
    platform.says_hello("hello.dev.skep.test").await;
    platform.says_hello("www.shop.example").await;
    assert!(platform.visit("api.skep.test", "/readyz").await.is_ok());
    let said = platform.stop().await;
    assert_eq!(said.matches("has a certificate").count(), 1, "{said}");
}

#[tokio::test]
async fn a_domain_is_proved_by_dns() {
    if offline() {
        return;
    }
    let dns = Dns::start().await;
    let data = Arc::new(TempDir::new().expect("a folder"));
    let platform = Platform::over(data, &["--dns-servers", &dns.address]).await;
    let person = Person::of(&platform).await;
    let added = person.json(person.home(), &["domains", "add", "shop.example"]).await;
    let proof = |key: &str| added["proof"]["dns"][key].as_str().expect("text").to_owned();
    assert_eq!(proof("name"), "_skep.shop.example");

    let refused = person.fails(person.home(), &["domains", "verify", "shop.example"]).await;
    assert!(refused.contains("not proved yet") && refused.contains(&proof("value")), "{refused}");
    dns.set_text("_skep.shop.example", "something else").await;
    let refused = person.fails(person.home(), &["domains", "verify", "shop.example"]).await;
    assert!(refused.contains("\"something else\""), "{refused}");
    dns.set_text("_skep.shop.example", &proof("value")).await;
    let proved = person.json(person.home(), &["domains", "verify", "shop.example"]).await;
    assert!(proved["verified_on"].is_string(), "{proved}");
}
