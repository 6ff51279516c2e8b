//! The database: opening it, one writer, several readers.

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use crate::feed::{Change, Listener};
use crate::files::{FOLDER, Files};
use crate::seal::MasterKeys;
use crate::{StoreError, StoreResult};

/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;
/// The scripts that make the database, oldest first. What has run somewhere is never changed: another one is added.
const SCHEMAS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("promotions.sql"),
    include_str!("unused.sql"),
    include_str!("billing.sql"),
    include_str!("nodes.sql"),
    include_str!("sessions.sql"),
    include_str!("warnings.sql"),
];

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    writer: Arc<Mutex<SqliteConnection>>,
    readers: SqlitePool,
    files: Arc<Files>,
    /// Replaced by who holds the writer.
    keys: RwLock<Arc<MasterKeys>>,
    listeners: RwLock<Vec<Listener>>,
}

/// The one connection that writes. Whoever has it changes the database, then tells the listeners, then gives it back: so
/// they are told in the order of the commits.
pub(crate) type Writer<'s> = MutexGuard<'s, SqliteConnection>;

impl Store {
    /// Opens the database and the files in a folder; makes what is not there.
    ///
    /// # Errors
    /// When the folder cannot be used, another process holds the database, or a newer version of Skep wrote it.
    pub async fn open(folder: &Path, keys: MasterKeys) -> StoreResult<Self> {
        fs::create_dir_all(folder).map_err(|error| StoreError::directory(folder, error))?;
        let files = Arc::new(Files::open(folder.join(FOLDER))?);
        let options = SqliteConnectOptions::new()
            .filename(folder.join("skep.db"))
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged is on the disk, also when the power fails.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let mut writer = options.clone().connect().await?;
        migrate(&mut writer).await?;
        // A file does not go away as a server does: a question before each question would cost as much as that.
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        let (keys, listeners) = (RwLock::new(Arc::new(keys)), RwLock::default());
        Ok(Self(Arc::new(Inner { writer: Arc::new(Mutex::new(writer)), readers, files, keys, listeners })))
    }

    /// The files of modules and assets.
    pub fn files(&self) -> &Arc<Files> {
        &self.0.files
    }

    /// Runs what reads files on a thread that may block. For writing there is [`Store::with_hold`].
    ///
    /// # Errors
    /// Those of the function.
    pub async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let files = Arc::clone(&self.0.files);
        match tokio::task::spawn_blocking(move || work(&files)).await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Keys for another purpose than sealing, such as signing: the current one first, then those under which something may have
    /// been signed before the master key was replaced.
    pub fn derived_keys(&self, purpose: &str) -> Vec<[u8; 32]> {
        self.keys().derive(purpose)
    }

    pub(crate) fn keys(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other keys into use. Who seals holds the writer too, and so has either these or those before.
    pub(crate) fn set_keys(&self, _: &Writer<'_>, keys: MasterKeys) {
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.0.readers
    }

    pub(crate) async fn write(&self) -> Writer<'_> {
        self.0.writer.lock().await
    }

    /// The same for who takes it along to another thread.
    pub(crate) async fn write_elsewhere(&self) -> OwnedMutexGuard<SqliteConnection> {
        Arc::clone(&self.0.writer).lock_owned().await
    }

    pub(crate) fn add_listener(&self, listener: Listener) {
        self.0.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Tells of changes that are committed. The writer is still held.
    pub(crate) fn tell(&self, _: &Writer<'_>, changes: &[Change]) {
        self.0.listeners.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|listener| listener(changes));
    }
}

async fn migrate(connection: &mut SqliteConnection) -> StoreResult<()> {
    let known = i64::try_from(SCHEMAS.len()).unwrap_or(i64::MAX);
    let found: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?.try_get(0)?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (number, script) in (1..).zip(SCHEMAS).skip(usize::try_from(found).unwrap_or(0)) {
        let whole = format!("BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;");
        sqlx::raw_sql(AssertSqlSafe(whole)).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::AssertSqlSafe;

    use crate::{Actor, MasterKeys, Store, StoreError};

    #[tokio::test]
    async fn a_full_database_is_said_and_nothing_is_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key");
        let store = Store::open(folder.path(), keys).await.expect("a store");
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        // SQLite answers so when the disk is full. <https://www.sqlite.org/pragma.html#pragma_max_page_count>
        let room = async |pages: u32| {
            let pragma = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            sqlx::raw_sql(pragma).execute(&mut *store.write().await).await.expect("set");
        };
        let (actor, long) = (Actor::platform(&account.id, "test"), json!("x".repeat(100_000)));
        let entries = async || store.audit(&account.id, None, 10).await.expect("readers go on").len();
        room(1).await;
        assert!(matches!(store.note(&actor, "test", "x", &long).await, Err(StoreError::Full)));
        assert_eq!(entries().await, 1);
        room(1_000_000).await;
        store.note(&actor, "test", "x", &long).await.expect("there is room again");
        assert_eq!(entries().await, 2);
    }
}
