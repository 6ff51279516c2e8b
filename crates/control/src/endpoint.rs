//! The table of endpoints: what each is, and who may call it.

use std::future::Future;
use std::pin::Pin;

use http::Method;
use skep_store::Permission;

use crate::call::Call;
use crate::error::ApiResult;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has a token that is not expired.
    Token,
    /// Whoever has a token of the account in the path with this permission. A token for one Worker reaches only endpoints with
    /// that Worker in the path, and what reads.
    Account(Permission),
    /// The same, where the path has a zone of the account.
    Zone(Permission),
    /// Whoever has the unguessable thing that the endpoint itself checks: the JWT of an upload session, the address of a tail, the
    /// token that somebody signs in with.
    Bearer,
}

pub(crate) type Handling = Pin<Box<dyn Future<Output = ApiResult> + Send>>;

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// Its method.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, in a sentence.
    pub summary: &'static str,
    pub(crate) handler: fn(Call) -> Handling,
}

/// A row of the table.
macro_rules! endpoint {
    ($method:ident $path:literal, $access:expr, $summary:literal, $handler:path) => {
        $crate::endpoint::Endpoint {
            method: http::Method::$method,
            path: $path,
            access: $access,
            summary: $summary,
            handler: |call| Box::pin($handler(call)),
        }
    };
}
pub(crate) use endpoint;
