//! One call of an endpoint: its parameters, its body, who calls.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use http::header::USER_AGENT;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skep_exchange::Body;
use skep_store::{Actor, Store, Token, WorkerRecord};

use crate::answer::Page;
use crate::error::{ApiError, ApiResult};
use crate::server::Control;
use crate::session::{Signed, Site};

/// The largest JSON body in bytes.
const MOST_JSON: u64 = 4 * 1024 * 1024;
/// Entries of a page, if nobody says how many, and at most.
const PAGE: u32 = 50;
const MOST_PAGE: u32 = 1000;

/// A call.
pub(crate) struct Call {
    pub(crate) control: Arc<Control>,
    /// The path's parameters.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    /// Taken by who reads it. A lock, so that a call can be shared while it waits.
    pub(crate) body: Mutex<Body>,
    /// The caller's token. Nobody's for an endpoint that checks by itself.
    pub(crate) token: Option<Token>,
    /// The session that the token is known by, if the caller sent no token but signed in before.
    pub(crate) session: Option<Signed>,
    /// Where the browser that calls is, as far as it says so.
    pub(crate) site: Site,
    /// The caller's address.
    pub(crate) client: Option<String>,
}

impl Call {
    pub(crate) fn store(&self) -> &Store {
        &self.control.store
    }

    /// A parameter of the path. One that the endpoint's path does not have is empty.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The account in the path, or the token's.
    pub(crate) fn account(&self) -> &str {
        match self.parameter("account_id") {
            "" => self.token.as_ref().map_or("", |token| &token.account_id),
            account => account,
        }
    }

    /// The Worker's name in the path.
    pub(crate) fn worker_name(&self) -> &str {
        self.parameter("script_name")
    }

    /// The Worker in the path.
    pub(crate) async fn worker(&self) -> ApiResult<WorkerRecord> {
        let name = self.worker_name();
        self.store().worker(self.account(), name).await?.ok_or_else(|| ApiError::no_worker(name))
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn page(&self) -> Page {
        let number = |name| self.query(name).and_then(|text| text.parse::<u32>().ok());
        Page {
            number: number("page").unwrap_or(1).max(1),
            size: number("per_page").unwrap_or(PAGE).clamp(1, MOST_PAGE),
        }
    }

    /// Who calls, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        let agent = self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let program = agent.split(['/', ' ']).next().unwrap_or_default();
        Actor {
            account_id: self.account().to_owned(),
            name: self.token.as_ref().map_or_else(|| "nobody".to_owned(), |token| token.name.clone()),
            address: self.client.clone(),
            source: match program {
                _ if self.session.is_some() => "dashboard".to_owned(),
                "wrangler" | "skep" => program.to_owned(),
                _ => "api".to_owned(),
            },
        }
    }

    /// The body, once.
    pub(crate) fn take_body(&mut self) -> Body {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(body, Body::empty())
    }

    pub(crate) async fn bytes(&mut self, most: u64) -> ApiResult<Bytes> {
        self.take_body()
            .collect(most)
            .await
            .map_err(|error| ApiError::bad(format!("the request's body cannot be read: {error}")))
    }

    /// The body as JSON, whatever type it claims to have: wrangler's claims are often wrong.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> ApiResult<T> {
        let bytes = self.bytes(MOST_JSON).await?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::bad(format!("the request's body is not the expected JSON: {error}")))
    }

    pub(crate) async fn value(&mut self) -> ApiResult<Value> {
        self.json().await
    }
}
