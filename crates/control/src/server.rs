//! The control plane as a whole: from a request to an endpoint's answer.

use std::sync::{Arc, Mutex};

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, StatusCode};
use matchit::Router;
use skep_exchange::{Request, Response};
use skep_store::{Permission, Store, Token};
use skep_worker::Secret;

use crate::api;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint};
use crate::error::{ApiError, ApiResult};
use crate::runtime::Runtime;
use crate::session::{Attempts, LIFETIME, Signed, Site};

/// How Workers are reached, for answers that name addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The domain below which Workers answer, such as `localhost`.
    pub domain: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The port, where it is not the scheme's own.
    pub port: Option<u16>,
}

impl Addresses {
    /// The address of a host below the domain.
    pub fn url(&self, label: &str) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{label}.{}{port}", self.scheme, self.domain)
    }
}

/// The control plane.
pub struct Control {
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) addresses: Addresses,
    /// Who tried to sign in lately.
    pub(crate) attempts: Attempts,
    router: Router<Vec<Endpoint>>,
}

impl Control {
    /// A control plane over a store.
    ///
    /// # Panics
    /// When two endpoints contradict each other: a test would have seen it.
    pub fn new(store: Store, runtime: Runtime, addresses: Addresses) -> Arc<Self> {
        let mut paths = std::collections::BTreeMap::<&str, Vec<Endpoint>>::new();
        for endpoint in api::endpoints() {
            paths.entry(endpoint.path).or_default().push(endpoint);
        }
        let mut router = Router::new();
        for (path, endpoints) in paths {
            router.insert(path, endpoints).expect("the paths of the endpoints do not contradict each other");
        }
        Arc::new(Self { store, runtime, addresses, attempts: Attempts::default(), router })
    }

    /// Answers a call of the API.
    pub async fn handle(self: Arc<Self>, request: Request) -> Response {
        match self.answer(request).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        }
    }

    async fn answer(self: Arc<Self>, request: Request) -> ApiResult<Response> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        // Cloudflare's API has a prefix, which wrangler's CLOUDFLARE_API_BASE_URL names too.
        let path = path.strip_prefix("/client/v4").unwrap_or(path);
        let unknown = || {
            let message = format!(
                "there is no endpoint {} {path}: the API is described at /client/v4/openapi.json",
                parts.method
            );
            ApiError::not_found(7003, message)
        };
        let found = self.router.at(path).map_err(|_| unknown())?;
        let Some(endpoint) = found.value.iter().find(|endpoint| endpoint.method == parts.method) else {
            if parts.method == Method::HEAD {
                return Err(unknown());
            }
            let known: Vec<&str> = found.value.iter().map(|endpoint| endpoint.method.as_str()).collect();
            let message = format!("{path} knows the methods {}, not {}", known.join(", "), parts.method);
            return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 10405, message));
        };
        let decode = |value: &str| -> ApiResult<String> {
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
            Ok(decoded.map_err(|_| ApiError::bad(format!("\"{value}\" in the path is not UTF-8")))?.into_owned())
        };
        let parameters = found
            .params
            .iter()
            .map(|(key, value)| Ok((key.to_owned(), decode(value)?)))
            .collect::<ApiResult<Vec<_>>>()?;
        let query = parts.uri.query().unwrap_or_default();
        let site = Site::of(&parts.uri, &parts.headers);
        let (token, session) = self.caller(&parts.method, &parts.headers, &site).await?;
        let call = Call {
            parameters,
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            token,
            session,
            site,
            client: parts.headers.get("cf-connecting-ip").and_then(|address| Some(address.to_str().ok()?.to_owned())),
            headers: parts.headers,
            body: Mutex::new(body),
            control: Arc::clone(&self),
        };
        let call = allow(endpoint.access, call).await?;
        Ok((endpoint.handler)(call).await?.into_response())
    }

    /// The token of a request, if it has one that is known and not expired, or the session of who signed in. A token that is sent wins
    /// over a session.
    async fn caller(
        &self,
        method: &Method,
        headers: &HeaderMap,
        site: &Site,
    ) -> ApiResult<(Option<Token>, Option<Signed>)> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let text = value.to_str().ok().and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let Some(text) = text else { return Ok((None, None)) };
            return Ok((self.store.token(text).await?.filter(|token| !token.is_expired()), None));
        }
        let Some(secret) = site.cookie(headers) else { return Ok((None, None)) };
        let found = self.store.session(secret, LIFETIME).await?.filter(|session| !session.token.is_expired());
        let Some(session) = found else { return Ok((None, None)) };
        site.check(method)?;
        let signed = Signed { secret: Secret::new(secret), expires_on: session.expires_on };
        Ok((Some(session.token), Some(signed)))
    }
}

/// Whether the caller may call the endpoint. Everything that is not allowed here is refused.
async fn allow(access: Access, call: Call) -> ApiResult<Call> {
    let permission = match access {
        Access::Public | Access::Bearer => return Ok(call),
        Access::Token => return call.token.is_some().then_some(call).ok_or_else(ApiError::authentication),
        Access::Account(permission) | Access::Zone(permission) => permission,
    };
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    let account = match access {
        Access::Zone(_) => {
            let zone = call.store().zone(call.parameter("zone_id")).await?;
            zone.map(|zone| zone.account_id).ok_or_else(ApiError::authentication)?
        }
        _ => call.account().to_owned(),
    };
    if token.account_id != account {
        return Err(ApiError::authentication());
    }
    if !token.permissions.contains(&permission) {
        return Err(ApiError::forbidden(&name(permission)));
    }
    if let Some(worker) = &token.worker {
        let named = call.worker_name();
        let reads = permission == Permission::WorkersRead && named.is_empty();
        if named != worker && !reads {
            return Err(ApiError::forbidden(&format!(
                "{} for this Worker (it is for \"{worker}\" only)",
                name(permission)
            )));
        }
    }
    Ok(call)
}

/// A permission as it is written.
pub(crate) fn name(permission: Permission) -> String {
    serde_json::to_value(permission).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
