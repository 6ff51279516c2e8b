//! The first start: a master key, an account, an API token.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_store::{Actor, MasterKeys, NewToken, Permission, Store};

use crate::ServeError;
use crate::settings::{MasterKey, Settings};

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
/// The file of the master key, if no other place is named.
const KEY_FILE: &str = "master-key";

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ServeError {
    let path = path.display().to_string();
    move |source| ServeError::File { path, source }
}

/// Takes the data directory for this process, as long as what is returned lives. The kernel lets go of it whatever ends the process.
pub(crate) fn lock(data_dir: &Path) -> Result<File, ServeError> {
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

/// The master key, from where the settings say; made at the first start if they say nothing.
pub(crate) fn master_keys(settings: &Settings) -> Result<MasterKeys, ServeError> {
    let mut texts = Vec::new();
    match &settings.master_key {
        MasterKey::Value(secret) => texts.push(secret.reveal().to_owned()),
        MasterKey::File(path) => texts.push(fs::read_to_string(path).map_err(failed(path))?),
        MasterKey::Command(command) => texts.push(from_command(command)?),
        MasterKey::Generated => {
            fs::create_dir_all(&settings.data_dir).map_err(failed(&settings.data_dir))?;
            let path = settings.data_dir.join(KEY_FILE);
            if !path.exists() {
                write_private(&path, &format!("{}\n", MasterKeys::generate().reveal()))?;
            }
            texts.push(fs::read_to_string(&path).map_err(failed(&path))?);
        }
    }
    texts.extend(settings.former_master_keys.iter().map(|secret| secret.reveal().to_owned()));
    Ok(MasterKeys::parse(texts.iter().map(String::as_str))?)
}

/// A command that prints the key: the hook for a key management service.
fn from_command(command: &str) -> Result<String, ServeError> {
    let output = Command::new("sh")
        .arg("-c")
        .arg(command)
        .output()
        .map_err(|error| ServeError::KeyCommand(error.to_string()))?;
    if !output.status.success() {
        // What it printed to standard output may be the key.
        return Err(ServeError::KeyCommand(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    String::from_utf8(output.stdout).map_err(|_| ServeError::KeyCommand("its output is not UTF-8".to_owned()))
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
