//! Proof that somebody controls a domain: by DNS, by a file, by neither, and not by what the domain does not say itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use skep_acme::{ProofSettings, Proofs, Tried, Way};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler, Listener, Server, ServerLimits};
use skep_outbound::{AddressPolicy, Client};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::dns::Dns;

const CHALLENGE: &str = "skep-verify=0123456789abcdef";
const PATH: &str = "/.well-known/skep-verify.txt";

/// A web server that says one thing at the path of proofs.
struct Says(Box<dyn Fn(&str) -> Response + Send + Sync>);

impl Handler for Says {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(std::future::ready((self.0)(request.uri().path())))
    }
}

fn text(text: &str) -> Response {
    Response::new(Body::full(text.to_owned()))
}

fn redirect(target: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(target).expect("a header"));
    response
}

/// A web server on loopback and where proofs are looked for, until it goes out of scope.
struct World {
    dns: Dns,
    port: u16,
    _stop: watch::Sender<bool>,
}

impl World {
    async fn start(says: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
        let port = listener.address().unwrap().port();
        let server = Server::new(Says(Box::new(says)), ServerLimits::default());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { server.serve(listener, stopped, Duration::ZERO).await });
        Self { dns: Dns::start().await, port, _stop: stop }
    }

    async fn check(&self, domain: &str, policy: AddressPolicy) -> Result<Way, Vec<Tried>> {
        let settings = ProofSettings { dns: vec![self.dns.address], port: self.port };
        let proofs = Proofs::new(&settings, Client::new(policy, Handle::current())).unwrap();
        proofs.check(domain, CHALLENGE).await
    }

    /// What the file of `localhost` is found to be.
    async fn file(&self) -> Result<Way, String> {
        let mut result = self.check("localhost", AddressPolicy::with_loopback()).await;
        if let Err(tried) = &mut result {
            let ways: Vec<Way> = tried.iter().map(|tried| tried.way).collect();
            assert_eq!(ways, [Way::Dns, Way::File]);
            assert_eq!(tried[0].found, "DNS has no TXT record at _skep.localhost");
        }
        result.map_err(|mut tried| tried.remove(1).found.replace(&format!(":{}", self.port), ""))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_dns_proves_it() {
    let world = World::start(|_| text("nothing")).await;
    let check = async || world.check("site.example", AddressPolicy::global_only()).await;
    world.dns.set("_skep.site.example", &[&["v=something"], &[CHALLENGE]]);
    assert_eq!(check().await, Ok(Way::Dns));
    // A record may come in several strings, which belong together: RFC 7208, section 3.3, and everybody else.
    world.dns.set("_skep.site.example", &[&["skep-verify=", "0123456789abcdef"]]);
    assert_eq!(check().await, Ok(Way::Dns));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dns_has_instead_is_told() {
    let world = World::start(|_| text("nothing")).await;
    let found = async || {
        let tried = world.check("site.example", AddressPolicy::global_only()).await.unwrap_err();
        assert!(tried[1].found.starts_with("http://site.example:"), "{}", tried[1].found);
        tried[0].found.clone()
    };
    assert_eq!(found().await, "DNS has no name _skep.site.example");
    world.dns.set("_skep.site.example", &[]);
    assert_eq!(found().await, "DNS has no TXT record at _skep.site.example");
    world.dns.set("_skep.site.example", &[&["skep-verify=other"], &["v=\nsomething"]]);
    let expected = format!(
        "the TXT record at _skep.site.example is \"skep-verify=other\" and \"v= something\", not \"{CHALLENGE}\""
    );
    assert_eq!(found().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_proves_it() {
    let world = World::start(|path| text(if path == PATH { "skep-verify=0123456789abcdef\n" } else { "" })).await;
    assert_eq!(world.file().await, Ok(Way::File));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_web_server_says_instead_is_told() {
    let check = async |says: fn() -> Response, expected: &str| {
        let found = World::start(move |_| says()).await.file().await.unwrap_err();
        assert!(found.starts_with(expected), "{found}");
    };
    let file = "http://localhost/.well-known/skep-verify.txt";
    check(|| text("hello"), &format!("the file at {file} holds \"hello\", not \"{CHALLENGE}\"")).await;
    let missing = || {
        let mut response = text("no such file");
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    };
    check(missing, &format!("{file} answers 404 Not Found")).await;
    check(|| text(&"x".repeat(1025)), &format!("the file at {file} cannot be read, or is larger than 1024 bytes"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_inside_of_the_domain_only() {
    let own = World::start(|path| if path == PATH { redirect("/proof") } else { text(CHALLENGE) }).await;
    assert_eq!(own.file().await, Ok(Way::File));
    let check = async |target: &'static str, expected: &str| {
        let found = World::start(move |_| redirect(target)).await.file().await.unwrap_err();
        assert!(found.contains(expected), "{found}");
    };
    check("http://127.0.0.1/proof", "redirects to http://127.0.0.1/proof, which is outside of localhost").await;
    check("https://notlocalhost/", "which is outside of localhost").await;
    check("file:///etc/passwd", "which is outside of localhost").await;
    check("/again", "redirects more than 5 times").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_not_asked() {
    let world = World::start(|_| text(CHALLENGE)).await;
    let tried = world.check("localhost", AddressPolicy::global_only()).await.unwrap_err();
    assert!(tried[1].found.contains("is a private, loopback, link-local or reserved address"), "{}", tried[1].found);
    for domain in ["127.0.0.1", "a/b", ""] {
        let tried = world.check(domain, AddressPolicy::with_loopback()).await.unwrap_err();
        assert_eq!(tried[1].found, format!("\"{domain}\" is no domain name"));
    }
}
