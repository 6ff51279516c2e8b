//! What the API answers instead of a result: Cloudflare's codes with a fitting HTTP status.
//! Wrangler looks at the code, people at the message.

use http::StatusCode;
use skep_store::{LoadError, StoreError};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// What a call answers.
pub(crate) type ApiResult<T = crate::answer::Answer> = Result<T, ApiError>;

/// There is no such Worker.
pub(crate) const NO_WORKER: u32 = 10007;
/// The Worker that is to get events does not exist: what wrangler shows of Cloudflare's answer in
/// <https://github.com/cloudflare/workers-sdk/issues/8275>.
pub(crate) const NO_CONSUMER: u32 = 10203;
/// The script cannot be run.
pub(crate) const BAD_SCRIPT: u32 = 10021;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// Something is wrong with what was sent.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 10001, message)
    }

    pub(crate) fn not_found(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn no_worker(name: &str) -> Self {
        Self::not_found(NO_WORKER, format!("This Worker does not exist on your account: {name}"))
    }

    /// No token, or none that is known.
    pub(crate) fn authentication() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            10000,
            "Authentication error: the API token is missing, unknown, expired, or of another account. `skep env` prints what wrangler needs",
        )
    }

    /// A good token that does not allow this.
    pub(crate) fn forbidden(needed: &str) -> Self {
        let message = format!("Unauthorized to access requested resource: the API token needs the permission {needed}");
        Self::new(StatusCode::FORBIDDEN, 9109, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, 10020, message)
    }

    /// The platform failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10002, message)
    }

    /// The script cannot be run: what its author must know.
    pub(crate) fn script(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD_SCRIPT, message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Conflict(_) => Self::conflict(message),
            StoreError::NotFound(_) => Self::not_found(NO_WORKER, message),
            StoreError::Inherit(_) => Self::new(StatusCode::BAD_REQUEST, 10057, message),
            StoreError::Invalid(_) => Self::bad(message),
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, 10002, message),
            StoreError::Locked => Self::new(StatusCode::SERVICE_UNAVAILABLE, 10002, message),
            StoreError::Corrupt { .. }
            | StoreError::Sealed
            | StoreError::Database(_)
            | StoreError::Directory { .. }
            | StoreError::Newer { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10002, message),
        }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => error.into(),
            LoadError::Invalid(message) => Self::script(message),
        }
    }
}
