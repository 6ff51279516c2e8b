//! A certificate authority for tests: RFC 8555 over HTTPS on loopback, strict in what it takes, and as unkind on demand as real ones are.
//! It looks at challenges by connecting to the site under test, and issues certificates that a TLS client checks up to its root.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, PublicKeyData,
    SerialNumber, SignatureAlgorithm,
};
use serde_json::{Value, json};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler, Listener, Server, ServerLimits};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::der::SigningRequest;
use crate::jws::{Key, Signed};
use crate::validation::{Ports, validate};

const NONCE: HeaderName = HeaderName::from_static("replay-nonce");
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How the authority behaves.
pub(crate) struct Behaviour {
    /// The challenges that it offers.
    pub(crate) offers: Vec<&'static str>,
    /// Each so many requests, a good nonce is called bad.
    pub(crate) bad_nonce_every: Option<usize>,
    /// The status and the `Retry-After` in seconds that new orders are answered with.
    pub(crate) limit: Option<(StatusCode, u64)>,
    /// How long ago a certificate began, and how long it lasts from then.
    pub(crate) age: Duration,
    pub(crate) life: Duration,
    /// The window of renewal that it suggests, in seconds from now. RFC 9773.
    pub(crate) window: Option<(i64, i64)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let offers = vec!["http-01", "tls-alpn-01", "dns-01"];
        Self { offers, bad_nonce_every: Some(3), limit: None, age: Duration::ZERO, life: 90 * DAY, window: None }
    }
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The hosts of orders, in their order.
    pub(crate) orders: Vec<String>,
    /// How often a new order named the certificate that it replaces.
    pub(crate) replacements: usize,
    pub(crate) accounts: usize,
    pub(crate) bad_nonces: usize,
    /// The kinds of challenges that were answered as they should be.
    pub(crate) validated: Vec<String>,
    /// What the accounts gave as their contact last.
    pub(crate) contact: Value,
}

#[derive(Clone)]
struct Account {
    key: Key,
}

struct Order {
    account: String,
    host: String,
    /// The token of each challenge, by its kind.
    tokens: HashMap<&'static str, String>,
    /// RFC 8555, section 7.1.6.
    status: &'static str,
    /// The kind of challenge that was tried, and why it failed.
    tried: Option<(String, Option<String>)>,
    chain: Option<String>,
    replaces: Value,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    counter: usize,
    accounts: HashMap<String, Account>,
    orders: HashMap<String, Order>,
    /// The certificates that it knows, by their identifiers of RFC 9773.
    issued: HashSet<String>,
    behaviour: Behaviour,
    seen: Seen,
    ports: Option<Ports>,
}

pub(crate) struct Authority {
    base: String,
    root: String,
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

/// An authority that listens, until this goes out of scope.
pub(crate) struct Running {
    pub(crate) authority: Arc<Authority>,
    _stop: watch::Sender<bool>,
}

/// A problem document: its status, its type, what it says.
type Problem = (StatusCode, &'static str, String);

fn malformed(detail: impl Into<String>) -> Problem {
    (StatusCode::BAD_REQUEST, "malformed", detail.into())
}

fn authority_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_identifier_method = KeyIdMethod::Sha256;
    parameters
}

impl Authority {
    /// Listens on a port of loopback, or on any.
    pub(crate) async fn start(port: u16) -> Running {
        let listener = Listener::bind("127.0.0.1", port).await.expect("a port");
        let port = listener.address().expect("an address").port();
        let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let parameters = authority_parameters("Test Root");
        let root = parameters.self_signed(&root_key).expect("a root").pem();
        let root_issuer = Issuer::new(parameters, root_key);
        let mut parameters = authority_parameters("Test Intermediate");
        parameters.use_authority_key_identifier_extension = true;
        let intermediate = parameters.signed_by(&key, &root_issuer).expect("an intermediate").pem();
        let issuer = Issuer::new(parameters, key);

        let folder = TempDir::new().expect("a folder");
        let (chain, own_key) = (folder.path().join("chain.pem"), KeyPair::generate().expect("a key"));
        let own = CertificateParams::new(["localhost".to_owned()]).expect("a name").signed_by(&own_key, &issuer);
        std::fs::write(folder.path().join("root.pem"), &root).expect("written");
        std::fs::write(&chain, format!("{}{intermediate}", own.expect("a certificate").pem())).expect("written");
        std::fs::write(folder.path().join("key.pem"), own_key.serialize_pem()).expect("written");
        let tls = skep_gateway::certificate(&chain, &folder.path().join("key.pem")).expect("TLS");

        let base = format!("https://localhost:{port}");
        let authority = Arc::new(Self { base, root, intermediate, issuer, folder, state: Arc::default() });
        let limits = ServerLimits { handshake_timeout: Duration::from_secs(120), ..ServerLimits::default() };
        let server = Server::new(Served(Arc::clone(&authority)), limits);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { server.serve(listener.with_tls(tls), stopped, Duration::ZERO).await });
        Running { authority, _stop: stop }
    }

    pub(crate) fn directory_url(&self) -> String {
        format!("{}/directory", self.base)
    }

    /// The file of its root certificate.
    pub(crate) fn root_file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// Where it looks for the answers to challenges, for every host.
    pub(crate) fn look_at(&self, http: SocketAddr, tls: SocketAddr) {
        self.state().ports = Some(Ports { http, tls });
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    /// Loses every account, as an authority does that keeps them in memory and is started again.
    pub(crate) fn forget_accounts(&self) {
        self.state().accounts.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    fn directory(&self) -> Value {
        let url = |path: &str| format!("{}/{path}", self.base);
        let mut directory =
            json!({ "newNonce": url("nonce"), "newAccount": url("new-account"), "newOrder": url("new-order") });
        if self.state().behaviour.window.is_some() {
            directory["renewalInfo"] = json!(url("renewal-info"));
        }
        directory
    }

    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_start_matches('/').to_owned();
        if !parts.headers.contains_key(USER_AGENT) {
            return problem(malformed("a client must say what it is: RFC 8555, section 6.1"));
        }
        let mut response = match (&parts.method, &*path) {
            (&Method::GET, "directory") => answered(StatusCode::OK, &self.directory()),
            (&Method::HEAD, "nonce") => Response::new(Body::empty()),
            (&Method::GET, path) if path.starts_with("renewal-info/") => self.renewal_info(path),
            (&Method::POST, path) => {
                let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
                let body = body.collect(1 << 16).await.expect("a small body");
                let result = match kind {
                    Some(b"application/jose+json") => self.post(path, &body),
                    _ => Err(malformed("the content type must be application/jose+json")),
                };
                result.unwrap_or_else(problem)
            }
            _ => problem((StatusCode::METHOD_NOT_ALLOWED, "malformed", "no such method".to_owned())),
        };
        let nonce = self.state().nonce();
        response.headers_mut().insert(NONCE, HeaderValue::from_str(&nonce).expect("a header"));
        response
    }

    fn post(self: &Arc<Self>, path: &str, body: &[u8]) -> Result<Response, Problem> {
        let signed = Signed::read(body).map_err(malformed)?;
        let mut state = self.state();
        state.take_nonce(signed.nonce())?;
        if signed.url() != format!("{}/{path}", self.base) {
            return Err((StatusCode::UNAUTHORIZED, "unauthorized", "the URL is not the request's".to_owned()));
        }
        let unsigned = || (StatusCode::UNAUTHORIZED, "unauthorized", "the signature is wrong".to_owned());
        if path == "new-account" {
            let key = signed.own_key().ok_or_else(|| malformed("a new account signs with its key in jwk"))?;
            let payload = signed.payload(&key).ok_or_else(unsigned)?.unwrap_or_default();
            return state.new_account(&self.base, key, &payload);
        }
        let id = signed.account().ok_or_else(|| malformed("an account signs with its URL in kid"))?.to_owned();
        let account =
            state.accounts.get(&id).cloned().ok_or_else(|| {
                (StatusCode::BAD_REQUEST, "accountDoesNotExist", "there is no such account".to_owned())
            })?;
        let payload = signed.payload(&account.key).ok_or_else(unsigned)?;
        if path == "new-order" {
            return state.new_order(&self.base, &id, &payload.unwrap_or_default());
        }
        let mut words = path.splitn(3, '/');
        let (kind, name, rest) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if kind == Some("account") {
            if signed.url() != id {
                return Err((StatusCode::UNAUTHORIZED, "unauthorized", "another account".to_owned()));
            }
            state.seen.contact = payload.unwrap_or_default()["contact"].clone();
            return Ok(answered(StatusCode::OK, &json!({ "status": "valid" })));
        }
        let order = state.orders.get_mut(name).filter(|order| order.account == id);
        let order = order.ok_or_else(|| (StatusCode::NOT_FOUND, "malformed", "no such order".to_owned()))?;
        match (kind, payload) {
            (Some("order"), None) => {
                // A certificate takes a moment: the first look at the order does not find it yet.
                let shown = order.shown(&self.base, name);
                if order.status == "processing" && order.chain.is_some() {
                    order.status = "valid";
                }
                Ok(answered(StatusCode::OK, &shown))
            }
            (Some("authorization"), None) => Ok(answered(StatusCode::OK, &order.authorization(&self.base, name))),
            (Some("certificate"), None) => {
                let chain = order.chain.clone().filter(|_| order.status == "valid");
                let chain = chain.ok_or_else(|| malformed("the order has no certificate yet"))?;
                let response = Response::new(Body::full(chain));
                Ok(with_type(response, "application/pem-certificate-chain"))
            }
            (Some("challenge"), Some(Value::Object(said))) if said.is_empty() => {
                let (kind, token) = order
                    .tokens
                    .get_key_value(rest)
                    .filter(|_| order.status == "pending" && order.tried.is_none())
                    .ok_or_else(|| malformed("no such challenge, or one was answered before"))?;
                let (kind, token) = ((*kind).to_owned(), token.clone());
                order.tried = Some((kind.clone(), None));
                let shown = order.authorization(&self.base, name)["challenges"]
                    .as_array()
                    .and_then(|all| all.iter().find(|challenge| challenge["type"] == *kind).cloned());
                let (host, key) = (order.host.clone(), account.key);
                tokio::spawn(Arc::clone(self).look(name.to_owned(), host, kind, token, key));
                Ok(answered(StatusCode::OK, &shown.expect("the challenge")))
            }
            (Some("finalize"), Some(said)) => self.finalize(&mut state, name, &said),
            _ => Err(malformed(format!("{path} takes no such request"))),
        }
    }

    /// Looks at the answer to a challenge.
    async fn look(self: Arc<Self>, name: String, host: String, kind: String, token: String, key: Key) {
        let ports = self.state().ports;
        let authorization = format!("{token}.{}", key.thumbprint());
        let found = match ports {
            Some(ports) => validate(ports, &host, &kind, &token, &authorization).await,
            None => Err("the authority does not know where to look".to_owned()),
        };
        let mut state = self.state();
        if found.is_ok() {
            state.seen.validated.push(kind.clone());
        }
        let order = state.orders.get_mut(&name).expect("the order");
        order.status = if found.is_ok() { "ready" } else { "invalid" };
        order.tried = Some((kind, found.err()));
    }

    fn finalize(&self, state: &mut State, name: &str, said: &Value) -> Result<Response, Problem> {
        let (age, life) = (state.behaviour.age, state.behaviour.life);
        let serial = state.next();
        let order = state.orders.get_mut(name).expect("it was there");
        if order.status != "ready" {
            return Err((StatusCode::FORBIDDEN, "orderNotReady", format!("the order is {}", order.status)));
        }
        let csr = said["csr"].as_str().and_then(|csr| BASE64_URL_SAFE_NO_PAD.decode(csr).ok());
        let bad = |detail: String| (StatusCode::BAD_REQUEST, "badCSR", detail);
        let request = SigningRequest::read(&csr.unwrap_or_default()).map_err(bad)?;
        if request.names != [&*order.host] {
            return Err(bad(format!("the request is for {:?}", request.names)));
        }
        let mut parameters = CertificateParams::new(request.names).map_err(|error| bad(error.to_string()))?;
        parameters.distinguished_name = DistinguishedName::new();
        let serial = [&[0x7F][..], &serial.to_be_bytes()].concat();
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = OffsetDateTime::now_utc() - age;
        parameters.not_after = parameters.not_before + life;
        let issued = parameters.signed_by(&PublicKey(request.key), &self.issuer).expect("a certificate");
        order.chain = Some(format!("{}{}", issued.pem(), self.intermediate));
        order.status = "processing";
        let shown = order.shown(&self.base, name);
        state.issued.insert(BASE64_URL_SAFE_NO_PAD.encode(serial));
        Ok(answered(StatusCode::OK, &shown))
    }

    fn renewal_info(&self, path: &str) -> Response {
        let state = self.state();
        let serial = path.rsplit('.').next().unwrap_or_default();
        let Some((from, to)) = state.behaviour.window.filter(|_| state.issued.contains(serial)) else {
            return problem((StatusCode::NOT_FOUND, "malformed", "there is no such certificate".to_owned()));
        };
        let moment = |seconds| {
            let moment = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
            moment.format(&time::format_description::well_known::Rfc3339).expect("a time")
        };
        let window = json!({ "suggestedWindow": { "start": moment(from), "end": moment(to) } });
        let mut response = answered(StatusCode::OK, &window);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("21600"));
        response
    }
}

impl State {
    fn next(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    fn nonce(&mut self) -> String {
        let nonce = format!("nonce-{}", self.next());
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn take_nonce(&mut self, nonce: &str) -> Result<(), Problem> {
        let turn = self.next();
        let unlucky = self.behaviour.bad_nonce_every.is_some_and(|every| turn.is_multiple_of(every));
        if !self.nonces.remove(nonce) || unlucky {
            self.seen.bad_nonces += 1;
            return Err((StatusCode::BAD_REQUEST, "badNonce", "the nonce is not good any more".to_owned()));
        }
        Ok(())
    }

    fn new_account(&mut self, base: &str, key: Key, said: &Value) -> Result<Response, Problem> {
        if said["termsOfServiceAgreed"] != true {
            return Err((StatusCode::FORBIDDEN, "userActionRequired", "the terms must be agreed to".to_owned()));
        }
        let id = format!("{base}/account/{}", self.next());
        self.accounts.insert(id.clone(), Account { key });
        self.seen.accounts += 1;
        self.seen.contact = said["contact"].clone();
        Ok(at(answered(StatusCode::CREATED, &json!({ "status": "valid" })), &id))
    }

    fn new_order(&mut self, base: &str, account: &str, said: &Value) -> Result<Response, Problem> {
        if let Some((status, seconds)) = self.behaviour.limit {
            let mut response = problem((status, "rateLimited", "too many orders".to_owned()));
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            return Ok(response);
        }
        let [Value::Object(identifier)] = said["identifiers"].as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(malformed("an order here is for one host"));
        };
        let host = identifier["value"].as_str().filter(|_| identifier["type"] == "dns").unwrap_or_default().to_owned();
        if !host.contains('.') {
            return Err((StatusCode::BAD_REQUEST, "rejectedIdentifier", format!("{host} is no public name")));
        }
        let replaces = said["replaces"].clone();
        if let Some(replaced) = replaces.as_str() {
            let serial = replaced.rsplit('.').next().unwrap_or_default();
            if !self.issued.contains(serial) {
                return Err(malformed("what is to be replaced was never issued here"));
            }
            self.seen.replacements += 1;
        }
        self.seen.orders.push(host.clone());
        let offers = self.behaviour.offers.clone();
        let tokens = offers.into_iter().map(|kind| (kind, format!("token-{kind}-{}", self.next()))).collect();
        let name = self.next().to_string();
        let order =
            Order { account: account.to_owned(), host, tokens, status: "pending", tried: None, chain: None, replaces };
        let response = at(answered(StatusCode::CREATED, &order.shown(base, &name)), &format!("{base}/order/{name}"));
        self.orders.insert(name, order);
        Ok(response)
    }
}

impl Order {
    fn shown(&self, base: &str, name: &str) -> Value {
        let mut shown = json!({
            "status": self.status,
            "identifiers": [{ "type": "dns", "value": self.host }],
            "authorizations": [format!("{base}/authorization/{name}")],
            "finalize": format!("{base}/finalize/{name}"),
        });
        if self.status == "valid" {
            shown["certificate"] = json!(format!("{base}/certificate/{name}"));
        }
        if self.replaces.is_string() {
            shown["replaces"] = self.replaces.clone();
        }
        shown
    }

    fn authorization(&self, base: &str, name: &str) -> Value {
        let status = match self.status {
            "pending" => "pending",
            "invalid" => "invalid",
            _ => "valid",
        };
        let challenges: Vec<Value> = self
            .tokens
            .iter()
            .map(|(kind, token)| {
                let url = format!("{base}/challenge/{name}/{kind}");
                let mut shown = json!({ "type": kind, "url": url, "token": token, "status": "pending" });
                if let Some((tried, error)) = self.tried.as_ref().filter(|(tried, _)| tried == kind) {
                    shown["status"] = json!(if status == "pending" { "processing" } else { status });
                    if let Some(detail) = error {
                        let detail = format!("{tried}: {detail}");
                        shown["error"] = json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": detail });
                    }
                }
                shown
            })
            .collect();
        json!({
            "status": status,
            "identifier": { "type": "dns", "value": self.host },
            "challenges": challenges,
        })
    }
}

/// The key of a signing request.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

struct Served(Arc<Authority>);

impl Handler for Served {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(Arc::clone(&self.0).answer(request))
    }
}

fn answered(status: StatusCode, said: &Value) -> Response {
    let mut response = Response::new(Body::full(said.to_string()));
    *response.status_mut() = status;
    with_type(response, "application/json")
}

fn problem((status, kind, detail): Problem) -> Response {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    with_type(answered(status, &json!({ "type": kind, "detail": detail })), "application/problem+json")
}

fn with_type(mut response: Response, kind: &'static str) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn at(mut response: Response, url: &str) -> Response {
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(url).expect("a header"));
    response
}

/// The digest that TLS-ALPN-01 has in its certificate.
pub(crate) fn sha256(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}
