//! Outcomes: how an event ended, and the error codes that clients see.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one event ended, by the names that `wrangler tail` uses.
/// <https://developers.cloudflare.com/workers/observability/logs/tail-workers/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The handler returned.
    Ok,
    /// The handler threw, or its promise was rejected.
    Exception,
    /// The client went away before the handler was done.
    Canceled,
    /// The CPU limit stopped it.
    ExceededCpu,
    /// The memory limit stopped it.
    ExceededMemory,
    /// The handler can never answer: nothing is pending that could settle its promise.
    ResponseStreamDisconnected,
    /// The version could not be started.
    ScriptNotFound,
    /// None of the above.
    Unknown,
}

impl Outcome {
    /// All of them, in this order.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Exception,
        Self::Canceled,
        Self::ExceededCpu,
        Self::ExceededMemory,
        Self::ResponseStreamDisconnected,
        Self::ScriptNotFound,
        Self::Unknown,
    ];
}

/// A limit that a Worker ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// CPU time of one request.
    Cpu,
    /// CPU time of start-up.
    StartupCpu,
    /// Memory of the isolate.
    Memory,
    /// Subrequests of one request.
    Subrequests,
    /// The size of a request's body.
    RequestBody,
    /// The size of a version's modules.
    ScriptSize,
    /// Time that `waitUntil()` may take.
    WaitUntil,
    /// Time that an event may wait for an isolate.
    QueueTime,
    /// Events that may wait for the isolates of a version.
    QueuedRequests,
}

impl Limit {
    /// The limit's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU time",
            Self::StartupCpu => "startup CPU time",
            Self::Memory => "memory",
            Self::Subrequests => "subrequests",
            Self::RequestBody => "request body size",
            Self::ScriptSize => "script size",
            Self::WaitUntil => "waitUntil() time",
            Self::QueueTime => "queue time",
            Self::QueuedRequests => "queued requests",
        }
    }

    /// What the limit is counted in.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::StartupCpu | Self::WaitUntil | Self::QueueTime => "ms",
            Self::Memory | Self::RequestBody | Self::ScriptSize => "bytes",
            Self::Subrequests => "subrequests",
            Self::QueuedRequests => "requests",
        }
    }

    /// How an event ends that this limit stopped.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Cpu | Self::StartupCpu => Outcome::ExceededCpu,
            Self::Memory => Outcome::ExceededMemory,
            Self::Subrequests | Self::RequestBody | Self::ScriptSize | Self::WaitUntil => Outcome::Exception,
            Self::QueueTime | Self::QueuedRequests => Outcome::Exception,
        }
    }
}

/// Which limit stopped a Worker, its value, and what was used, in [`Limit::unit`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: Limit,
    /// Its value.
    pub allowed: u64,
    /// What was used when it was noticed.
    pub used: u64,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, allowed, used } = self;
        match limit.unit() {
            "bytes" => {
                let mib = |bytes: &u64| *bytes as f64 / (1024.0 * 1024.0);
                write!(
                    formatter,
                    "Worker exceeded {} limit: {:.1} MiB used, {:.1} MiB allowed",
                    limit.name(),
                    mib(used),
                    mib(allowed)
                )
            }
            "subrequests" => write!(formatter, "Too many subrequests: {used} made, {allowed} allowed per request"),
            unit => write!(
                formatter,
                "Worker exceeded {} limit: {used} {unit} used, {allowed} {unit} allowed",
                limit.name()
            ),
        }
    }
}

/// An error code that a client sees in place of the Worker's answer.
/// <https://developers.cloudflare.com/workers/observability/errors/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum ErrorCode {
    /// 1101: the Worker threw a JavaScript exception, or can never answer.
    Exception,
    /// 1102: the Worker exceeded a resource limit.
    ExceededLimit,
    /// 1104: the Worker has no handler for this event, or could not be started.
    ScriptUnusable,
    /// 1027: the account, or the Worker, has used what it may use.
    OverQuota,
    /// 1200: too many requests wait for the Worker already, or this one has waited for too long.
    Overloaded,
}

impl ErrorCode {
    const ALL: [Self; 5] =
        [Self::Exception, Self::ExceededLimit, Self::ScriptUnusable, Self::OverQuota, Self::Overloaded];

    /// Cloudflare's number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Exception => 1101,
            Self::ExceededLimit => 1102,
            Self::ScriptUnusable => 1104,
            Self::OverQuota => 1027,
            Self::Overloaded => 1200,
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::ExceededLimit | Self::Overloaded => 503,
            Self::Exception | Self::ScriptUnusable => 500,
            Self::OverQuota => 429,
        }
    }

    /// One line for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Exception => "Worker threw exception",
            Self::ExceededLimit => "Worker exceeded resource limits",
            Self::ScriptUnusable => "Worker could not be run",
            Self::OverQuota => "This website has been temporarily rate limited",
            Self::Overloaded => "Too many requests are waiting for this Worker",
        }
    }
}

impl From<ErrorCode> for u16 {
    fn from(code: ErrorCode) -> Self {
        code.number()
    }
}

impl TryFrom<u16> for ErrorCode {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|code| code.number() == number)
            .ok_or_else(|| format!("{number} is not an error code of a Worker"))
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, Limit, LimitExceeded};

    #[test]
    fn a_limit_says_what_was_used_and_allowed() {
        let check = |limit, allowed, used, expect: &str| {
            assert_eq!(LimitExceeded { limit, allowed, used }.to_string(), expect);
        };
        check(Limit::Cpu, 50, 57, "Worker exceeded CPU time limit: 57 ms used, 50 ms allowed");
        check(
            Limit::Memory,
            134_217_728,
            150_994_944,
            "Worker exceeded memory limit: 144.0 MiB used, 128.0 MiB allowed",
        );
        check(Limit::Subrequests, 1000, 1001, "Too many subrequests: 1001 made, 1000 allowed per request");
    }

    #[test]
    fn an_error_code_survives_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::try_from(code.number()), Ok(code));
        }
        assert!(ErrorCode::try_from(200).is_err());
    }
}
