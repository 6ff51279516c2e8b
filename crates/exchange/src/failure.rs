//! Failures: what a client gets in place of a Worker's answer.

use skep_worker::{ErrorCode, LimitExceeded, Outcome};

use crate::{Request, Response};

/// What becomes of a request that was given to an isolate.
#[derive(Debug)]
pub enum Reply {
    /// The Worker answered.
    Response(Response),
    /// It did not.
    Failure(Failure),
    /// The isolate ended before it looked at the request: another one can handle it.
    NotStarted(Box<Request>),
}

/// Why an event has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct Failure {
    /// The code that the client sees.
    pub code: ErrorCode,
    /// How the event is recorded.
    pub outcome: Outcome,
    /// The error's class, such as `TypeError`.
    pub name: String,
    /// What went wrong, for the Worker's author.
    pub message: String,
    /// The JavaScript stack, mapped to the author's sources, first line included. Empty if there is none.
    pub stack: String,
    /// The limit that was exceeded, if it was one.
    pub limit: Option<LimitExceeded>,
    /// After how many seconds it may be better, if that is known.
    pub retry_after: Option<u32>,
}

impl Failure {
    /// An exception that the Worker threw.
    pub fn exception(name: impl Into<String>, message: impl Into<String>, stack: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Exception,
            outcome: Outcome::Exception,
            name: name.into(),
            message: message.into(),
            stack: stack.into(),
            limit: None,
            retry_after: None,
        }
    }

    /// A limit that the Worker exceeded.
    pub fn limit(exceeded: LimitExceeded) -> Self {
        Self {
            code: ErrorCode::ExceededLimit,
            outcome: exceeded.limit.outcome(),
            name: "Error".to_owned(),
            message: format!("{exceeded}."),
            stack: String::new(),
            limit: Some(exceeded),
            retry_after: None,
        }
    }

    /// The Worker's isolates are all busy, and the event waits no longer.
    pub fn overloaded(exceeded: LimitExceeded) -> Self {
        Self { code: ErrorCode::Overloaded, retry_after: Some(1), ..Self::limit(exceeded) }
    }

    /// The account, or the Worker, has used what it may use. `reason` is for everybody who asks.
    pub fn over_quota(reason: impl Into<String>, retry_after: u32) -> Self {
        Self { code: ErrorCode::OverQuota, retry_after: Some(retry_after), ..Self::unusable(reason) }
    }

    /// The Worker's code can never answer: nothing is pending that its handler waits for.
    pub fn hung() -> Self {
        Self {
            outcome: Outcome::Exception,
            ..Self::exception(
                "Error",
                "The Worker's code hung: its handler waits for a promise that nothing can settle, so it would never generate a response. \
                 Look for a promise whose resolve function is never called.",
                "",
            )
        }
    }

    /// The version cannot be run, or has no handler for the event.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::ScriptUnusable,
            outcome: Outcome::Exception,
            name: "Error".to_owned(),
            message: message.into(),
            stack: String::new(),
            limit: None,
            retry_after: None,
        }
    }

    /// The client went away before there was an answer.
    pub fn canceled() -> Self {
        Self {
            outcome: Outcome::Canceled,
            ..Self::exception("Error", "The client disconnected before there was a response.", "")
        }
    }
}
