//! What can go wrong between a command and the platform. Each message ends with what to do.

use std::io;
use std::path::{Path, PathBuf};

use skep_bundle::BuildError;

/// What the room's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The API's code for a Worker that does not exist.
pub(crate) const NO_WORKER: u64 = 10007;
/// The API's code for a token that is none.
pub(crate) const AUTHENTICATION: u64 = 10000;
/// The API's code for a path without an endpoint.
pub(crate) const NO_ENDPOINT: u64 = 7003;
/// The API's code for a binding that cannot be taken over from the version before.
pub(crate) const INHERIT: u64 = 10057;

/// Why a command could not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody said where the platform is.
    #[error(
        "no platform is known: log in with `skep login --url https://…`, or set SKEP_URL and SKEP_TOKEN.\n\
         On the platform's own machine: skep login --url http://localhost:8787 --token \"$(cat DIR/admin-token)\""
    )]
    NoPlatform,
    /// It is known where the platform is, and there is no token for it.
    #[error("there is no token for {url}: log in with `skep login --url {url}`, or set SKEP_TOKEN")]
    NoToken {
        /// The platform.
        url: String,
    },
    /// A text that is no URL of a platform.
    #[error("\"{text}\" is not the URL of a platform: {reason}. Write it like https://skep.example.com")]
    Url {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or one that broke.
    #[error("{url} cannot be reached: {reason}. Check that the platform runs and that the URL is right")]
    Unreachable {
        /// The platform.
        url: String,
        /// What happened.
        reason: String,
    },
    /// An answer that is not the API's.
    #[error("{url} does not answer as a Skep platform does (HTTP status {status}): check the URL")]
    NotAPlatform {
        /// What was asked.
        url: String,
        /// What it answered.
        status: u16,
    },
    /// The API refused.
    #[error("{message} (code {code}){}", hint.map(|hint| format!("\n{hint}")).unwrap_or_default())]
    Api {
        /// The HTTP status.
        status: u16,
        /// The API's own code.
        code: u64,
        /// The API's own message.
        message: String,
        /// What to do, where the message does not say it.
        hint: Option<&'static str>,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that a person wrote and that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The project has an error.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A version did not get all the traffic.
    #[error("version {version} did not get all the traffic: {reason}")]
    RolledBack {
        /// The version.
        version: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// The API's code, if the API refused.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } | Self::NotAPlatform { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the Worker does not exist.
    pub fn is_no_worker(&self) -> bool {
        self.code() == Some(NO_WORKER)
    }
}

/// Nothing in place of an error that says that there is no Worker.
pub(crate) fn if_there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_no_worker() => Ok(None),
        Err(error) => Err(error),
    }
}
