//! A typed client of the API: Cloudflare's paths under `/client/v4`, Skep's own under `/skep/v1`.
//! What each endpoint takes and gives is in `docs/openapi.json`.

mod account;
mod addresses;
mod billing;
mod deliveries;
mod logs;
mod master_key;
mod records;
mod secrets;
mod status;
mod triggers;
mod usage;
mod versions;
mod workers;

use std::fmt::Display;
use std::path::PathBuf;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use ::http::{Method, Request};
use bytes::Bytes;
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skep_worker::Secret;

use crate::error::{AUTHENTICATION, Error, Result};
use crate::form::Form;
use crate::http::{Answer, Http};
use crate::platform::{Platform, PlatformUrl};

pub use account::NewToken;
pub use deliveries::{Destination, FailedDelivery, Forgotten, Retried, Undelivered, WhichDeliveries};
pub use logs::{LogGap, LogPage, LogQuery};
pub use master_key::{MasterKey, Rotated, SealedUnder};
pub use records::{
    Account, Annotations, CronRun, CustomDomain, Deployment, Domain, Proof, Route, Schedule, SecretName, Share, Token,
    TokenStatus, User, Version, VersionMetadata, WorkerAddress, Zone,
};
pub use status::{Alert, Check, Node, Status};
pub use usage::{Span, Usage, Verification};
pub use workers::Worker;

/// Who calls, for the platform's audit log.
const AGENT: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));
/// What a segment of a path may hold as it is: RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A platform's API, with one token.
#[derive(Clone, Debug)]
pub struct Api {
    pub(crate) http: Http,
    url: PlatformUrl,
    token: Secret,
    account: String,
}

/// A body.
pub(crate) enum Sent {
    Nothing,
    Json(Value),
    Form(Form),
}

/// Everything that one call needs.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// After the platform's URL.
    pub(crate) path: String,
    pub(crate) sent: Sent,
    /// In place of the API token.
    pub(crate) bearer: Option<Secret>,
}

/// Where in the API something is.
#[derive(Clone, Copy)]
pub(crate) enum Root {
    /// `/client/v4/accounts/{account}`
    Account,
    /// `/client/v4`
    Cloudflare,
    /// `/skep/v1/accounts/{account}`
    Own,
    /// `/skep/v1`
    OwnTop,
}

/// A segment of a path.
pub(crate) fn segment(text: &str) -> impl Display {
    utf8_percent_encode(text, SEGMENT)
}

impl Api {
    /// The API of a platform. Finds out which account the token is for, unless that is known.
    ///
    /// # Errors
    /// When the platform cannot be reached, or does not know the token.
    pub async fn open(platform: &Platform) -> Result<Self> {
        let mut api = Self::without_account(platform)?;
        api.account = match &platform.account {
            Some(account) => account.clone(),
            None => api.accounts().await?.into_iter().next().map(|account| account.id).ok_or_else(|| {
                Error::invalid(format!("the API token for {} belongs to no account: log in again", platform.url))
            })?,
        };
        Ok(api)
    }

    /// The API, for calls that are about no account.
    ///
    /// # Errors
    /// When the file of certificates that `SKEP_CA_FILE` names is none.
    pub fn without_account(platform: &Platform) -> Result<Self> {
        let authorities = std::env::var_os("SKEP_CA_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            http: Http::new(authorities.as_deref())?,
            url: platform.url.clone(),
            token: platform.token.clone(),
            account: platform.account.clone().unwrap_or_default(),
        })
    }

    /// The platform's URL.
    pub fn url(&self) -> &PlatformUrl {
        &self.url
    }

    /// The account's id.
    pub fn account_id(&self) -> &str {
        &self.account
    }

    /// The API token.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    fn path(&self, root: Root, path: &str) -> String {
        let account = segment(&self.account);
        match root {
            Root::Account => format!("/client/v4/accounts/{account}{path}"),
            Root::Cloudflare => format!("/client/v4{path}"),
            Root::Own => format!("/skep/v1/accounts/{account}{path}"),
            Root::OwnTop => format!("/skep/v1{path}"),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, root: Root, path: &str) -> Result<T> {
        self.send(Method::GET, root, path, Sent::Nothing).await
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        root: Root,
        path: &str,
        sent: Sent,
    ) -> Result<T> {
        self.call(Call { method, path: self.path(root, path), sent, bearer: None }).await
    }

    /// Every page of a list.
    pub(crate) async fn list<T: DeserializeOwned>(&self, root: Root, path: &str) -> Result<Vec<T>> {
        const PAGE: usize = 100;
        let mut all = Vec::new();
        for page in 1.. {
            let items: Vec<T> = self.get(root, &format!("{path}?page={page}&per_page={PAGE}")).await?;
            let count = items.len();
            all.extend(items);
            if count < PAGE {
                break;
            }
        }
        Ok(all)
    }

    /// Calls the API for a text that is in no envelope.
    pub(crate) async fn text(&self, method: Method, root: Root, path: &str, sent: Sent) -> Result<String> {
        let (url, answer) = self.exchange(Call { method, path: self.path(root, path), sent, bearer: None }).await?;
        if !(200..300).contains(&answer.status) {
            return result(&url, answer.status, &answer.body);
        }
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Calls the API, and takes the result out of its envelope.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let (url, answer) = self.exchange(call).await?;
        result(&url, answer.status, &answer.body)
    }

    async fn exchange(&self, call: Call) -> Result<(String, Answer)> {
        let url = format!("{}{}", self.url, call.path);
        let (content_type, body) = match call.sent {
            Sent::Nothing => (None, Bytes::new()),
            Sent::Json(value) => (Some("application/json".to_owned()), value.to_string().into()),
            Sent::Form(form) => {
                let (content_type, body) = form.finish();
                (Some(content_type), body)
            }
        };
        let bearer = call.bearer.as_ref().unwrap_or(&self.token);
        let mut request = Request::builder().method(call.method).uri(&url).header(USER_AGENT, AGENT);
        let mut authorization = ::http::HeaderValue::try_from(format!("Bearer {}", bearer.reveal()))
            .map_err(|_| Error::invalid("the API token has characters that no token has: copy it again"))?;
        authorization.set_sensitive(true);
        request = request.header(AUTHORIZATION, authorization);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Error::Url { text: self.url.to_string(), reason: error.to_string() })?;
        let unreachable = |reason| Error::Unreachable { url: self.url.to_string(), reason };
        let answer = self.http.send(request).await.map_err(unreachable)?;
        Ok((url, answer))
    }
}

/// Takes a result out of Cloudflare's envelope.
fn result<T: DeserializeOwned>(url: &str, status: u16, body: &[u8]) -> Result<T> {
    let foreign = || Error::NotAPlatform { url: url.to_owned(), status };
    let mut envelope: Value = serde_json::from_slice(body).map_err(|_| foreign())?;
    match envelope.get("success").and_then(Value::as_bool) {
        Some(true) => {}
        Some(false) => return Err(refusal(status, &envelope)),
        None => return Err(foreign()),
    }
    let result = envelope.get_mut("result").map(Value::take).unwrap_or_default();
    serde_json::from_value(result).map_err(|error| {
        Error::invalid(format!(
            "{url} answered with something that this skep does not understand ({error}): update skep or the platform, so that \
             both have the same version"
        ))
    })
}

fn refusal(status: u16, envelope: &Value) -> Error {
    let errors = envelope.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let message = |error: &Value| error.get("message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    let code = errors.first().and_then(|error| error.get("code")).and_then(Value::as_u64).unwrap_or_default();
    let messages: Vec<String> = errors.iter().map(message).collect();
    let hint = (code == AUTHENTICATION).then_some("log in again with `skep login`, or check SKEP_TOKEN and --token");
    Error::Api { status, code, message: messages.join("; "), hint }
}

/// A JSON body.
pub(crate) fn json(value: impl Serialize) -> Sent {
    // Our own types are all JSON.
    Sent::Json(serde_json::to_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_taken_out_of_its_envelope() {
        let check = |status: u16, body: &str| match result::<Vec<u8>>("http://x/y", status, body.as_bytes()) {
            Ok(list) => format!("{list:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(check(200, r#"{"success":true,"result":[1,2]}"#), "[1, 2]");
        assert_eq!(
            check(404, r#"{"success":false,"errors":[{"code":10007,"message":"no such Worker"}],"result":null}"#),
            "no such Worker (code 10007)"
        );
        assert_eq!(
            check(400, r#"{"success":false,"errors":[{"code":1,"message":"a"},{"code":2,"message":"b"}]}"#),
            "a; b (code 1)"
        );
        assert!(check(401, r#"{"success":false,"errors":[{"code":10000,"message":"no"}]}"#).ends_with("--token"));
        assert!(check(200, "<html>").contains("does not answer as a Skep platform does (HTTP status 200)"));
        assert!(check(200, "{}").contains("check the URL"));
        assert!(check(200, r#"{"success":true,"result":{}}"#).contains("update skep"));
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(segment("a/../b?c#d e").to_string(), "a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(segment("my-worker_1").to_string(), "my-worker_1");
    }
}
