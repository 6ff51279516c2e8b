//! The first start: a data directory, an account, an API token.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use skep_store::{Actor, NewToken, Permission, Store};

use crate::ServeError;
use crate::settings::Settings;

/// The account of whoever owns the machine.
pub(crate) struct Admin {
    pub(crate) account_id: String,
    pub(crate) subdomain: String,
    pub(crate) token_file: PathBuf,
    pub(crate) is_new: bool,
}

/// The file of the API token that the first start makes.
const TOKEN_FILE: &str = "admin-token";
/// The file that is locked as long as the data directory is served.
const LOCK_FILE: &str = "lock";

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> ServeError {
    let path = path.display().to_string();
    move |source| ServeError::File { path, source }
}

/// Takes the data directory for this process, as long as what is returned lives. The kernel lets go of it whatever ends the process.
///
/// # Errors
/// When another process serves it.
pub fn lock(data_dir: &Path) -> Result<File, ServeError> {
    fs::create_dir_all(data_dir).map_err(failed(data_dir))?;
    let path = data_dir.join(LOCK_FILE);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::InUse(data_dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
    }
}

/// Writes a file that only its owner may read, and that is not there yet.
fn write_private(path: &Path, text: &str) -> Result<(), ServeError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed(path))
}

/// The first account, made if there is none.
pub(crate) async fn account(store: &Store, settings: &Settings) -> Result<Admin, ServeError> {
    let token_file = settings.data_dir.join(TOKEN_FILE);
    let account = match store.accounts().await?.into_iter().next() {
        Some(account) => account,
        None => store.create_account("first start", &settings.account, &settings.subdomain).await?,
    };
    // A crash between the account and its token leaves an account without one.
    let is_new = store.tokens(&account.id).await?.is_empty();
    if is_new {
        let actor = Actor::platform(&account.id, "first start");
        let new = NewToken {
            name: "admin".to_owned(),
            permissions: Permission::ALL.to_vec(),
            worker: None,
            expires_on: None,
        };
        if token_file.exists() {
            fs::remove_file(&token_file).map_err(failed(&token_file))?;
        }
        let (_, token) = store.create_token(&actor, new).await?;
        write_private(&token_file, &format!("{}\n", token.reveal()))?;
    }
    Ok(Admin { account_id: account.id, subdomain: account.subdomain, token_file, is_new })
}
