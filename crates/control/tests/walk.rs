//! Walks every endpoint there is and proves that none answers who may not call it, and that the OpenAPI document is fresh.

use std::path::Path;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use skep_control::{Access, Addresses, Control, Endpoint, document, endpoints};
use skep_exchange::Body;
use skep_store::{Account, Actor, MasterKeys, NewToken, Permission, Store, Zone};
use tempfile::TempDir;

#[path = "support/runtime.rs"]
mod runtime;

/// Endpoints that everybody may call.
const PUBLIC: [&str; 1] = ["/openapi.json"];

struct Site {
    _folder: TempDir,
    control: Arc<Control>,
    store: Store,
    own: Account,
    other: Account,
    zone: Zone,
}

impl Site {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let keys = MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key");
        let store = Store::open(folder.path(), keys).await.expect("a store");
        let own = store.create_account("test", "Own", "own").await.expect("an account");
        let other = store.create_account("test", "Other", "other").await.expect("an account");
        let zone = store.add_zone(&Actor::platform(&own.id, "test"), "example.com", true).await.expect("a zone");
        let addresses = Addresses { domain: "localhost".to_owned(), scheme: "http", port: None };
        let control = Control::new(store.clone(), runtime::none(store.clone()), addresses);
        Self { _folder: folder, control, store, own, other, zone }
    }

    async fn token(
        &self,
        account: &Account,
        permissions: Vec<Permission>,
        worker: Option<&str>,
        expires_on: Option<i64>,
    ) -> String {
        let new = NewToken { name: "test".to_owned(), permissions, worker: worker.map(str::to_owned), expires_on };
        let made = self.store.create_token(&Actor::platform(&account.id, "test"), new).await;
        made.expect("a token").1.reveal().to_owned()
    }

    fn path(&self, endpoint: &Endpoint) -> String {
        endpoint
            .path
            .replace("{account_id}", &self.own.id)
            .replace("{zone_id}", &self.zone.id)
            .replace("{script_name}", "hello")
            .replace(['{', '}'], "")
    }

    async fn call(&self, endpoint: &Endpoint, token: Option<&str>) -> (StatusCode, Value) {
        let request = Request::builder().method(endpoint.method.clone()).uri(self.path(endpoint));
        self.send(request, token, Body::empty()).await
    }

    async fn send(&self, mut request: Builder, token: Option<&str>, body: Body) -> (StatusCode, Value) {
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = Arc::clone(&self.control).handle(request.body(body).expect("a request")).await;
        let status = response.status();
        let bytes = response.into_body().collect(1 << 20).await.expect("an answer");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Everything that was ever changed.
    async fn changes(&self) -> usize {
        let mut changes = 0;
        for account in [&self.own, &self.other] {
            changes += self.store.audit(&account.id, None, 10_000).await.expect("the audit log").len();
        }
        changes
    }
}

/// A way in that must not be one.
struct Attempt {
    name: &'static str,
    token: Option<String>,
    refused: StatusCode,
}

#[tokio::test]
async fn no_endpoint_answers_who_may_not_call_it() {
    let site = Site::new().await;
    let all = Permission::ALL.to_vec();
    let foreign = site.token(&site.other, all.clone(), None, None).await;
    let expired = site.token(&site.own, all.clone(), None, Some(1)).await;
    let elsewhere = site.token(&site.own, all.clone(), Some("elsewhere"), None).await;
    let mut walked = 0;
    for endpoint in endpoints() {
        let mut attempts = vec![
            Attempt { name: "without a token", token: None, refused: StatusCode::UNAUTHORIZED },
            Attempt {
                name: "with an unknown token",
                token: Some("skep_unknown".to_owned()),
                refused: StatusCode::UNAUTHORIZED,
            },
            Attempt { name: "with an expired token", token: Some(expired.clone()), refused: StatusCode::UNAUTHORIZED },
        ];
        match endpoint.access {
            Access::Public => {
                assert!(PUBLIC.contains(&endpoint.path), "{} is public", endpoint.path);
                continue;
            }
            Access::Token => {}
            Access::Bearer => attempts.push(Attempt {
                name: "with an API token in place of its own",
                token: Some(foreign.clone()),
                refused: StatusCode::UNAUTHORIZED,
            }),
            Access::Account(permission) | Access::Zone(permission) => {
                attempts.push(Attempt {
                    name: "with a token of another account",
                    token: Some(foreign.clone()),
                    refused: StatusCode::UNAUTHORIZED,
                });
                let others = all.iter().copied().filter(|other| *other != permission).collect();
                attempts.push(Attempt {
                    name: "without the permission",
                    token: Some(site.token(&site.own, others, None, None).await),
                    refused: StatusCode::FORBIDDEN,
                });
                if endpoint.path.contains("{script_name}") || permission != Permission::WorkersRead {
                    attempts.push(Attempt {
                        name: "with a token for another Worker",
                        token: Some(elsewhere.clone()),
                        refused: StatusCode::FORBIDDEN,
                    });
                }
            }
        }
        let before = site.changes().await;
        for attempt in attempts {
            let (status, answer) = site.call(&endpoint, attempt.token.as_deref()).await;
            let what = format!("{} {} {}: {answer}", endpoint.method, endpoint.path, attempt.name);
            assert_eq!(status, attempt.refused, "{what}");
            assert_eq!(answer["success"], false, "{what}");
            assert!(answer["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}");
        }
        assert_eq!(site.changes().await, before, "{} {} changed something", endpoint.method, endpoint.path);
        walked += 1;
    }
    assert!(walked > 80, "only {walked} endpoints were walked");
}

#[tokio::test]
async fn who_may_call_is_answered() {
    let site = Site::new().await;
    let token = site.token(&site.own, Permission::ALL.to_vec(), None, None).await;
    for endpoint in endpoints() {
        if endpoint.access == Access::Bearer {
            continue;
        }
        let (status, answer) = site.call(&endpoint, Some(&token)).await;
        let refused = status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
        assert!(!refused, "{} {}: {answer}", endpoint.method, endpoint.path);
        assert!(!status.is_server_error(), "{} {}: {answer}", endpoint.method, endpoint.path);
    }
}

#[tokio::test]
async fn a_domain_is_proved_once_its_challenge_is_found() {
    let site = Site::new().await;
    let token = site.token(&site.own, vec![Permission::WorkersWrite], None, None).await;
    let actor = Actor::platform(&site.own.id, "test");
    let verify = async |zone: &Zone| {
        let uri = format!("http://localhost/skep/v1/accounts/{}/domains/{}/verify", site.own.id, zone.name);
        let request = Request::post(uri).header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
        let response = Arc::clone(&site.control).handle(request.expect("a request")).await;
        let status = response.status();
        let bytes = response.into_body().collect(1 << 20).await.expect("an answer");
        (status, serde_json::from_slice::<Value>(&bytes).expect("JSON"))
    };
    let verified = async |zone: &Zone| {
        let zone = site.store.zone(&zone.id).await.expect("the store").expect("the zone");
        zone.verified_on.is_some()
    };

    let missing = site.store.add_zone(&actor, "site.missing", false).await.expect("a zone");
    let (status, answer) = verify(&missing).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let message = answer["errors"][0]["message"].as_str().expect("a message");
    let tried = format!("DNS has no name ({0}); the file answers 404 ({0})", missing.challenge);
    assert!(message.contains(&tried), "{message}");
    assert!(!verified(&missing).await);

    let proved = site.store.add_zone(&actor, "site.proved", false).await.expect("a zone");
    let (status, answer) = verify(&proved).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["result"]["proved_by"], "dns");
    assert!(answer["result"]["verified_on"].is_string(), "{answer}");
    assert!(verified(&proved).await);
    assert_eq!(verify(&proved).await.0, StatusCode::OK);

    let foreign = Actor::platform(&site.other.id, "test");
    let foreign = site.store.add_zone(&foreign, "foreign.proved", false).await.expect("a zone");
    assert_eq!(verify(&foreign).await.0, StatusCode::NOT_FOUND);
    assert!(!verified(&foreign).await);
}

#[tokio::test]
async fn the_master_key_is_replaced() {
    let site = Site::new().await;
    let path = format!("/skep/v1/accounts/{}/master-key", site.own.id);
    let token = site.token(&site.own, vec![Permission::Operator], None, None).await;
    let status = async || site.send(Request::get(&path), Some(&token), Body::empty()).await.1["result"].clone();
    let first = status().await;
    assert_eq!(first["key"].as_str().map(str::len), Some(8), "{first}");
    assert_eq!((&first["kept_in"], &first["secrets"], &first["others"]), (&json!("memory"), &json!(0), &json!([])));

    let rotate = || Request::post(format!("{path}/rotate"));
    let (code, answer) = site.send(rotate(), Some(&token), Body::empty()).await;
    assert_eq!((code, &answer["result"]["former_key"]), (StatusCode::OK, &first["key"]), "{answer}");
    assert_eq!(status().await["key"], answer["result"]["key"]);
    assert_ne!(first["key"], answer["result"]["key"]);

    let new = NewToken {
        name: "refused".to_owned(),
        permissions: vec![Permission::Operator],
        worker: None,
        expires_on: None,
    };
    let made = site.store.create_token(&Actor::platform(&site.own.id, "test"), new).await.expect("a token");
    let (code, refused) = site.send(rotate(), Some(made.1.reveal()), Body::empty()).await;
    assert_eq!((code, &refused["errors"][0]["message"]), (StatusCode::CONFLICT, &json!("put the new key there")));
}

#[tokio::test]
async fn failed_deliveries_are_decided_on_and_that_is_written_down() {
    let site = Site::new().await;
    let path = format!("/skep/v1/accounts/{}/deliveries", site.own.id);
    let token = site.token(&site.own, vec![Permission::Operator], None, None).await;
    let post = async |what: &str, sent: &str| {
        site.send(Request::post(format!("{path}/{what}")), Some(&token), Body::full(sent.to_owned())).await
    };
    let before = site.changes().await;
    for (sent, says) in [
        ("{}", "say which deliveries"),
        (r#"{ "ids": [] }"#, "from 1 to 1000"),
        (r#"{ "ids": ["msg_1"], "all": true }"#, "neither"),
        (r#"{ "destination": "hook", "all": true }"#, "neither"),
        (r#"{ "id": "msg_1" }"#, "unknown field"),
    ] {
        for what in ["retry", "forget"] {
            let (status, refused) = post(what, sent).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{what} {sent}: {refused}");
            assert!(
                refused["errors"][0]["message"].as_str().is_some_and(|message| message.contains(says)),
                "{refused}"
            );
        }
    }
    assert_eq!(post("forget", r#"{ "ids": ["msg_2"] }"#).await.0, StatusCode::NOT_FOUND);
    let shown =
        async |query: &str| site.send(Request::get(format!("{path}{query}")), Some(&token), Body::empty()).await;
    assert_eq!(shown("?limit=-1").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(shown("?limit=0").await.1["result"]["failed"], json!([]));
    assert_eq!(shown("").await.1["result"]["failed"][0]["id"], "msg_1");
    assert_eq!(site.changes().await, before);
    let (status, retried) = post("retry", r#"{ "destination": "hook" }"#).await;
    assert_eq!((status, &retried["result"]), (StatusCode::OK, &json!({ "retried": 1, "hurried": 0 })), "{retried}");
    let audit = site.store.audit(&site.own.id, None, 10).await.expect("the audit log");
    assert_eq!((audit[0].action.as_str(), audit[0].target.as_str()), ("deliveries.retry", "hook"));
    assert_eq!(audit[0].detail, json!({ "deliveries": 1, "ids": ["msg_1"] }));
    // What changes nothing is not written down.
    let (status, forgotten) = post("forget", r#"{ "all": true }"#).await;
    assert_eq!((status, &forgotten["result"]["forgotten"]), (StatusCode::OK, &json!(0)), "{forgotten}");
    assert_eq!(site.changes().await, before + 1);
}

#[tokio::test]
async fn an_upload_session_goes_on_when_the_master_key_is_replaced() {
    const CONTENT: &str = "aGVsbG8=";
    let hash = skep_assets::AssetHash::of(b"hello", "txt").to_string();
    let site = Site::new().await;
    let token = site.token(&site.own, vec![Permission::WorkersWrite], None, None).await;
    let workers = format!("/accounts/{}/workers", site.own.id);
    let manifest = json!({ "manifest": { "/hello.txt": { "hash": hash, "size": 5 } } }).to_string();
    let open = Request::post(format!("{workers}/scripts/hello/assets-upload-session"));
    let (status, opened) = site.send(open, Some(&token), Body::full(manifest)).await;
    assert_eq!(status, StatusCode::OK, "{opened}");
    let session = opened["result"]["jwt"].as_str().expect("a token").to_owned();

    let actor = Actor::platform(&site.own.id, "test");
    site.store.take_master_key(&actor, &MasterKeys::generate()).await.expect("taken");
    let form = format!(
        "--B\r\nContent-Disposition: form-data; name=\"{hash}\"; filename=\"{hash}\"\r\nContent-Type: text/plain\r\n\r\n{CONTENT}\r\n--B--\r\n"
    );
    let upload = || {
        let request = Request::post(format!("{workers}/assets/upload?base64=true"));
        request.header(CONTENT_TYPE, "multipart/form-data; boundary=B")
    };
    let (status, uploaded) = site.send(upload(), Some(&session), Body::full(form.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{uploaded}");

    // A token that nobody here signed says what to do.
    let (signed, _) = session.rsplit_once('.').expect("a signature");
    let (status, refused) = site.send(upload(), Some(&format!("{signed}.AAAA")), Body::full(form)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{refused}");
    assert!(refused["errors"][0]["message"].as_str().is_some_and(|message| message.contains("Deploy again")));
}

#[tokio::test]
async fn what_is_no_endpoint_says_so() {
    let site = Site::new().await;
    let call = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(format!("http://localhost{path}")).body(Body::empty());
        Arc::clone(&site.control).handle(request.expect("a request")).await.status()
    };
    assert_eq!(call(Method::GET, "/client/v4/nothing").await, StatusCode::NOT_FOUND);
    assert_eq!(call(Method::DELETE, "/client/v4/accounts").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(call(Method::GET, "/client/v4/openapi.json").await, StatusCode::OK);
}

/// `SKEP_WRITE=1` writes it.
#[test]
fn the_openapi_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).expect("JSON"));
    if std::env::var_os("SKEP_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is not what the endpoints are: SKEP_WRITE=1 cargo test -p skep-control"
    );
}
