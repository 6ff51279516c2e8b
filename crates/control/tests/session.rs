//! Signing in with a browser: the cookie stands for the token, for as long as the token counts, and for the dashboard's own pages only.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN, RETRY_AFTER, SET_COOKIE};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use skep_control::{Addresses, Control};
use skep_exchange::Body;
use skep_store::{Account, Actor, MasterKeys, NewToken, Permission, Store, Token};
use skep_worker::Secret;
use tempfile::TempDir;

#[path = "support/runtime.rs"]
mod runtime;

const HOST: &str = "http://localhost:8787";
const SESSION: &str = "/skep/v1/session";

struct Site {
    folder: TempDir,
    key: Secret,
    control: Arc<Control>,
    store: Store,
    account: Account,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Answered {
    /// Name and value of the cookie that is set.
    fn cookie(&self) -> String {
        let cookie = self.headers[SET_COOKIE].to_str().expect("text");
        cookie.split(';').next().expect("a cookie").to_owned()
    }
}

impl Site {
    async fn new() -> Self {
        let (folder, key) = (TempDir::new().expect("a folder"), MasterKeys::generate());
        let (control, store) = open(&folder, &key).await;
        let account = store.create_account("test", "Own", "own").await.expect("an account");
        Self { folder, key, control, store, account }
    }

    async fn token(&self, permissions: &[Permission]) -> (Token, String) {
        let permissions = permissions.to_vec();
        let new = NewToken { name: "ada".to_owned(), permissions, worker: None, expires_on: None };
        let made = self.store.create_token(&Actor::platform(&self.account.id, "test"), new).await.expect("a token");
        (made.0, made.1.reveal().to_owned())
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answered {
        send(&self.control, method, path, headers, body).await
    }

    async fn sign_in(&self, token: &str) -> Answered {
        self.call("POST", SESSION, &own_page(), json!({ "token": token })).await
    }

    fn tokens(&self) -> String {
        format!("/skep/v1/accounts/{}/tokens", self.account.id)
    }
}

async fn open(folder: &TempDir, key: &Secret) -> (Arc<Control>, Store) {
    let keys = MasterKeys::parse([key.reveal()]).expect("a key");
    let store = Store::open(folder.path(), keys).await.expect("a store");
    let addresses = Addresses { domain: "localhost".to_owned(), scheme: "http", port: Some(8787) };
    (Control::new(store.clone(), runtime::none(store.clone()), addresses), store)
}

async fn send(control: &Arc<Control>, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answered {
    let mut request = Request::builder().method(method).uri(format!("{HOST}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::full(body.to_string()) };
    let response = Arc::clone(control).handle(request.body(body).expect("a request")).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect(1 << 20).await.expect("an answer");
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answered { status: parts.status, headers: parts.headers, json }
}

/// What the dashboard's own page sends.
fn own_page() -> Vec<(&'static str, &'static str)> {
    vec![("x-skep-dashboard", "1"), (ORIGIN.as_str(), HOST), ("sec-fetch-site", "same-origin")]
}

#[tokio::test]
async fn a_cookie_stands_for_the_token() {
    let site = Site::new().await;
    let (_, token) = site.token(&[Permission::AccountRead]).await;
    let signed = site.sign_in(&format!(" {token}\n")).await;
    assert_eq!(signed.status, StatusCode::OK, "{}", signed.json);
    assert_eq!(signed.json["result"]["account"]["id"], site.account.id.as_str());
    let cookie = signed.cookie();
    assert!(cookie.starts_with("skep-session=") && !cookie.contains(&token), "{cookie}");
    let with = [(COOKIE.as_str(), cookie.as_str())];

    let who = site.call("GET", SESSION, &with, Value::Null).await;
    assert_eq!((who.status, &who.json["result"]["token"]["name"]), (StatusCode::OK, &json!("ada")));
    assert!(who.json["result"]["session"]["expires_on"].is_string() && who.cookie() == cookie);
    assert_eq!(site.call("GET", &site.tokens(), &with, Value::Null).await.status, StatusCode::OK);
    // Also after a restart, and at Cloudflare's paths.
    let (again, _) = open(&site.folder, &site.key).await;
    assert_eq!(send(&again, "GET", "/client/v4/accounts", &with, Value::Null).await.status, StatusCode::OK);
    // It allows what the token allows and no more.
    let writes = [&own_page()[..], &with[..]].concat();
    let new = json!({ "name": "x", "permissions": ["account_read"] });
    assert_eq!(site.call("POST", &site.tokens(), &writes, new).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_cookie_counts_for_the_own_page_only() {
    let site = Site::new().await;
    let (_, token) = site.token(&[Permission::AccountRead, Permission::AccountWrite]).await;
    let cookie = site.sign_in(&token).await.cookie();
    let new = || json!({ "name": "x", "permissions": ["account_read"] });
    let with = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[(COOKIE.as_str(), cookie.as_str())]].concat();
        site.call("POST", &site.tokens(), &headers, new()).await
    };
    let before = site.store.tokens(&site.account.id).await.expect("tokens").len();
    let (header, origin) = (("x-skep-dashboard", "1"), (ORIGIN.as_str(), HOST));
    for forged in [
        &[][..],
        &[header],
        &[origin],
        &[header, (ORIGIN.as_str(), "http://evil.own.localhost:8787")],
        &[header, (ORIGIN.as_str(), "null")],
        &[header, origin, ("sec-fetch-site", "same-site")],
        &[header, ("sec-fetch-site", "cross-site")],
    ] {
        let refused = with(forged).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{forged:?}");
        assert!(refused.json["errors"][0]["message"].as_str().is_some_and(|text| text.starts_with("Refused: ")));
    }
    assert_eq!(site.store.tokens(&site.account.id).await.expect("tokens").len(), before);
    assert_eq!(with(&[header, origin]).await.status, StatusCode::OK);

    // A page elsewhere reads nothing either, and does not watch.
    let foreign = [(COOKIE.as_str(), cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(site.call("GET", &site.tokens(), &foreign, Value::Null).await.status, StatusCode::FORBIDDEN);
    let tail = format!("/skep/v1/tails/{}", uuid::Uuid::new_v4());
    let evil = [(ORIGIN.as_str(), "https://evil.example")];
    assert_eq!(site.call("GET", &tail, &evil, Value::Null).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.call("GET", &tail, &[origin], Value::Null).await.status, StatusCode::UNAUTHORIZED);
    // Who signs somebody else in from elsewhere is refused as well.
    let sent = json!({ "token": token });
    assert_eq!(site.call("POST", SESSION, &[header], sent.clone()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.call("POST", SESSION, &[origin], sent).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_that_is_sent_wins_over_the_cookie() {
    let site = Site::new().await;
    let (_, token) = site.token(&[Permission::AccountRead]).await;
    let cookie = site.sign_in(&token).await.cookie();
    let (_, writer) = site.token(&[Permission::AccountRead, Permission::AccountWrite]).await;
    let cookie = (COOKIE.as_str(), cookie.as_str());
    let call = async |authorization: &str| {
        let headers = [cookie, (AUTHORIZATION.as_str(), authorization)];
        let new = json!({ "name": "x", "permissions": ["account_read"] });
        site.call("POST", &site.tokens(), &headers, new).await.status
    };
    // Programs need no header of the dashboard.
    assert_eq!(call(&format!("Bearer {writer}")).await, StatusCode::OK);
    assert_eq!(call("Bearer unknown").await, StatusCode::UNAUTHORIZED);
    assert_eq!(call("Basic eDp5").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_when_somebody_signs_out() {
    let site = Site::new().await;
    let (made, token) = site.token(&[Permission::AccountRead]).await;
    let (first, second) = (site.sign_in(&token).await.cookie(), site.sign_in(&token).await.cookie());
    let status = async |cookie: &str| site.call("GET", SESSION, &[(COOKIE.as_str(), cookie)], Value::Null).await.status;
    let sign_out = [&own_page()[..], &[(COOKIE.as_str(), first.as_str())]].concat();
    let out = site.call("DELETE", SESSION, &sign_out, Value::Null).await;
    assert_eq!((out.status, out.cookie().as_str()), (StatusCode::OK, "skep-session="));
    assert_eq!(status(&first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&second).await, StatusCode::OK);
    site.store.revoke_token(&Actor::platform(&site.account.id, "test"), &made.id).await.expect("revoked");
    assert_eq!(status(&second).await, StatusCode::UNAUTHORIZED);
    let audit = site.store.audit(&site.account.id, None, 10).await.expect("the audit log");
    let actions: Vec<&str> = audit.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions[..4], ["token.revoke", "session.end", "session.begin", "session.begin"]);
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let site = Site::new().await;
    let (_, token) = site.token(&[Permission::AccountRead]).await;
    let from = async |client: &'static str, token: &str| {
        let headers = [&own_page()[..], &[("cf-connecting-ip", client)]].concat();
        site.call("POST", SESSION, &headers, json!({ "token": token })).await
    };
    for _ in 0..10 {
        let refused = from("192.0.2.1", "skep_guess").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(refused.json["errors"][0]["message"].as_str().is_some_and(|text| text.contains("admin-token")));
    }
    // The right one has to wait as well, or waiting would tell.
    let waits = from("192.0.2.1", &token).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(waits.headers[RETRY_AFTER].to_str().is_ok_and(|text| text.parse::<u32>().is_ok_and(|wait| wait <= 30)));
    assert_eq!(from("192.0.2.2", &token).await.status, StatusCode::OK);
}
