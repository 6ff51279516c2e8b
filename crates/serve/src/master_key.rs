//! The master key: where it comes from, its replacement by a new one, and secrets that are still under former ones.
//!
//! A key in a file is replaced in steps. The file gets the new key before the old one; the store takes the new key; every
//! secret is sealed again; the file loses the old key. A start goes on where a crash has stopped that. A key from elsewhere is
//! replaced by whoever put it there: a restart with the new key, and the old one as a former key, does the rest.

mod file;

use std::fs;
use std::io;
use std::process::Command;
use std::sync::Arc;

use skep_control::{Rotated, Rotating, RotationError, Rotations};
use skep_store::{Actor, KeyError, MasterKeys, Resealed, SealedUnder, Store};
use skep_worker::Secret;
use tokio::sync::Mutex;

use self::file::KeyFile;
use crate::first::failed;
use crate::settings::{MasterKey, Settings};
use crate::{ServeError, Tell};

/// The file of the master key, if no other place is named.
const KEY_FILE: &str = "master-key";
/// How a person makes a key.
const MAKE: &str = "make a new key with `head -c 32 /dev/urandom | base64`";

/// Where the master key is kept.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a file.
    File(KeyFile),
    /// In the environment: `SKEP_MASTER_KEY`.
    Variable,
    /// Where a command gets it from.
    Command,
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::File(file) => format!("the file {}", file.path().display()),
            Self::Variable => "SKEP_MASTER_KEY".to_owned(),
            Self::Command => "what the command of master_key_command prints".to_owned(),
        }
    }
}

/// The master keys, from where the settings say; one is made at the first start if they say nothing.
pub(crate) fn read(settings: &Settings) -> Result<(MasterKeys, Place), ServeError> {
    let in_file = |file: KeyFile| (file.keys().to_vec(), Place::File(file));
    let (mut keys, place) = match &settings.master_key {
        MasterKey::Value(secret) => (vec![secret.clone()], Place::Variable),
        MasterKey::Command(command) => (vec![Secret::new(from_command(command)?)], Place::Command),
        MasterKey::File(path) => in_file(KeyFile::open(path).map_err(failed(path))?),
        MasterKey::Generated => {
            fs::create_dir_all(&settings.data_dir).map_err(failed(&settings.data_dir))?;
            let path = settings.data_dir.join(KEY_FILE);
            if !path.exists() {
                KeyFile::create(&path, MasterKeys::generate()).map_err(failed(&path))?;
            }
            in_file(KeyFile::open(&path).map_err(failed(&path))?)
        }
    };
    // A former key must not become the current one where there is none.
    if keys.is_empty() {
        return Err(KeyError.into());
    }
    keys.extend(settings.former_master_keys.iter().cloned());
    Ok((MasterKeys::parse(keys.iter().map(Secret::reveal))?, place))
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

/// Replaces the master key, and brings every secret under the current one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Inner>);

struct Inner {
    store: Store,
    /// The place, as people read it.
    kept_in: String,
    /// Whether the settings name former keys.
    has_former: bool,
    /// Held by the rotation that is going on.
    turn: Arc<Mutex<()>>,
    /// Held as long as secrets are sealed again.
    place: Mutex<Place>,
}

impl Keeper {
    pub(crate) fn new(store: Store, place: Place, has_former: bool) -> Self {
        let (kept_in, turn) = (place.shown(), Arc::default());
        Self(Arc::new(Inner { store, kept_in, has_former, turn, place: Mutex::new(place) }))
    }

    /// Seals again what is not under the current key, as after a restart with another one, and says what became of it.
    pub(crate) async fn after_start(self, tell: Tell) {
        let mut place = self.0.place.lock().await;
        let resealed = match self.0.store.reseal().await {
            Ok(resealed) => resealed,
            Err(error) => {
                tell(&format!(
                    "The secrets that are under former master keys cannot be sealed again: {error}. They can still be read; the next \
                     start tries again"
                ));
                return;
            }
        };
        let mut lines = report(&resealed, &self.0.store.master_key_name(), self.0.has_former);
        if let Place::File(file) = &mut *place
            && let Err(error) = trim(file, &resealed.left)
        {
            lines.push(format!(
                "{} holds former master keys that nothing is sealed under any more, and cannot be written ({error}): remove them, all \
                 but the first line",
                file.path().display()
            ));
        }
        lines.iter().for_each(|line| tell(line));
    }

    /// The whole rotation, by who has the turn.
    async fn replace(&self, actor: &Actor) -> Result<Rotated, RotationError> {
        let Inner { store, kept_in, .. } = &*self.0;
        let mut place = self.0.place.lock().await;
        let Place::File(file) = &mut *place else { return Err(by_hand(kept_in)) };
        let path = file.path().display().to_string();
        match file.is_unchanged() {
            Ok(true) => {}
            Ok(false) => {
                return Err(RotationError::Refused(format!(
                    "{path} was changed since the platform has read it: restart `skep serve`, which takes what it holds now"
                )));
            }
            Err(error) => return Err(RotationError::Failed(format!("{path}: {error}. The master key is as before"))),
        }
        let new = MasterKeys::generate();
        let keys = std::iter::once(new.clone()).chain(file.keys().iter().cloned()).collect();
        file.write(keys).map_err(|error| not_written(&path, &error))?;
        let unfinished = |error: skep_store::StoreError| {
            RotationError::Failed(format!(
                "a new master key is in {path}, and not every secret is under it yet: {error}. Nothing is lost; the next start of `skep \
                 serve`, or another rotation, does the rest"
            ))
        };
        let former = store.take_master_key(actor, &new).await.map_err(unfinished)?;
        let resealed = store.reseal().await.map_err(unfinished)?;
        trim(file, &resealed.left).map_err(|error| {
            RotationError::Failed(format!(
                "every secret is under the new master key, and the former one is still in {path}: {error}. The next start of `skep \
                 serve` removes it"
            ))
        })?;
        Ok(Rotated { key: store.master_key_name(), former, resealed })
    }
}

impl Rotations for Keeper {
    fn kept_in(&self) -> &str {
        &self.0.kept_in
    }

    fn rotate(&self, actor: Actor) -> Rotating<'_> {
        Box::pin(async move {
            let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() else {
                return Err(RotationError::Refused(
                    "the master key is being replaced already: see `skep master-key status` in a moment".to_owned(),
                ));
            };
            let keeper = self.clone();
            // A task of its own: whoever asked may go away.
            let task = tokio::spawn(async move {
                let _turn = turn;
                keeper.replace(&actor).await
            });
            task.await.unwrap_or_else(|error| Err(RotationError::Failed(format!("the rotation was ended: {error}"))))
        })
    }
}

/// Leaves the current key in a file, and those before it that something is still sealed under.
fn trim(file: &mut KeyFile, left: &[SealedUnder]) -> io::Result<()> {
    let is_needed = |key: &Secret| {
        // One that is no key stays: nobody knows what it is.
        MasterKeys::parse([key.reveal()]).map_or(true, |key| left.iter().any(|under| under.key == key.name()))
    };
    let (current, former) = file.keys().split_at(file.keys().len().min(1));
    let kept: Vec<Secret> = current.iter().chain(former.iter().filter(|key| is_needed(key))).cloned().collect();
    if kept.len() == file.keys().len() { Ok(()) } else { file.write(kept) }
}

/// The steps where the platform cannot write.
fn by_hand(kept_in: &str) -> RotationError {
    RotationError::Refused(format!(
        "the master key comes from {kept_in}, where the platform cannot write. To replace it, {MAKE}, put it there and the one that is \
         there now into SKEP_FORMER_MASTER_KEYS, and restart `skep serve`: the start seals every secret again under the new key, and \
         says when SKEP_FORMER_MASTER_KEYS is no longer needed"
    ))
}

/// Why a file was not written, with the steps if it is not the platform's to write.
fn not_written(path: &str, error: &io::Error) -> RotationError {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | ResourceBusy | CrossesDevices) {
        return RotationError::Refused(format!(
            "{path} cannot be written by the platform ({error}). To replace the master key, {MAKE}, put it into the file (or the one \
             that this is a copy of) as its first line, before the key that is there now, and restart `skep serve`: the start seals every secret again under the new key, \
             and says when the second line is no longer needed"
        ));
    }
    RotationError::Failed(format!("{path} cannot be written: {error}. Every secret is as before"))
}

/// What there is to say after a start: nothing where nothing was to be done.
fn report(resealed: &Resealed, current: &str, has_former: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if resealed.secrets > 0 {
        lines.push(format!("{} sealed again under the master key {current}", count(resealed.secrets)));
    }
    if resealed.left.is_empty() && has_former {
        lines.push(
            "Every secret is under the current master key: SKEP_FORMER_MASTER_KEYS is no longer needed".to_owned(),
        );
    }
    lines.extend(resealed.left.iter().map(left_behind));
    lines
}

fn count(secrets: u64) -> String {
    if secrets == 1 { "A secret was".to_owned() } else { format!("{secrets} secrets were") }
}

/// What nobody can open, and what to do about it.
fn left_behind(under: &SealedUnder) -> String {
    let SealedUnder { key, is_known, secrets, workers, worker_count } = under;
    let more = worker_count.saturating_sub(workers.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let secrets = if *secrets == 1 { "a secret".to_owned() } else { format!("{secrets} secrets") };
    let (of, again) = (workers.join(", "), "put the secrets again with `skep secret put`");
    if *is_known {
        return format!(
            "error: {secrets} of {of}{more} are damaged: the master key {key} that they are sealed under does not open them, and versions \
             with them do not start. Restore the data directory from a backup, or {again}"
        );
    }
    format!(
        "error: {secrets} of {of}{more} are sealed under the master key {key}, which is not known, and versions with them do not start. \
         Put that key into SKEP_FORMER_MASTER_KEYS and restart, or {again}"
    )
}

#[cfg(test)]
mod tests;
