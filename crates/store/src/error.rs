//! What can go wrong in the store.

/// What the store answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has that name, pattern or address.
    #[error("{0}")]
    Conflict(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A new version wants to inherit a binding that the version before does not have.
    #[error("inherit binding '{0}' is invalid")]
    Inherit(String),
    /// A change that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The disk has no room left.
    #[error("the disk of the data directory is full: nothing was changed. Free some space and try again")]
    Full,
    /// Another process holds the database.
    #[error(
        "the database is locked by another process: stop the other skep that uses this data directory, then try again"
    )]
    Locked,
    /// A file does not hold what its name says.
    #[error(
        "the file {name} in the data directory is damaged: its content does not match its hash. Deploy the Worker again, or restore the file from a backup"
    )]
    Corrupt {
        /// The file's name.
        name: String,
    },
    /// A secret cannot be opened.
    #[error(
        "a secret cannot be decrypted: it was encrypted under another master key. Start with the key that was used before, or put the secret again"
    )]
    Sealed,
    /// The database answered with something else.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
    /// The data directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// Which part of it.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database was written by a newer version of Skep.
    #[error(
        "the data directory was written by a newer version of skep (schema {found}, this one knows {known}): update skep"
    )]
    Newer {
        /// The schema's number in the database.
        found: i64,
        /// The newest number that is known here.
        known: i64,
    },
}

impl StoreError {
    pub(crate) fn directory(path: &std::path::Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            return Self::Full;
        }
        Self::Directory { path: path.display().to_string(), source }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        /// <https://www.sqlite.org/rescode.html>: SQLITE_FULL, SQLITE_BUSY and SQLITE_LOCKED. What is more than a byte says more.
        const FULL: u32 = 13;
        const BUSY: [u32; 2] = [5, 6];
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            Some(FULL) => Self::Full,
            Some(code) if BUSY.contains(&code) => Self::Locked,
            _ => Self::Database(error),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Database(sqlx::Error::Decode(Box::new(error)))
    }
}
