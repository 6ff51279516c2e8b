//! Files that are named by the hash of what they hold: modules, assets, code caches.
//!
//! A file is written under another name, flushed to the disk and then renamed, so that a name never stands for half of a
//! file. Reading checks the hash. Calls block: they belong on a thread that may. Who writes holds what it writes ([`Hold`]).
//!
//! [`Hold`]: crate::Hold

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hold::Held;
use crate::{StoreError, StoreResult};

/// The BLAKE3 hash of a file's content, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileHash(String);

impl FileHash {
    /// The hash of a content.
    pub fn of(content: &[u8]) -> Self {
        Self(blake3::hash(content).to_hex().to_string())
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for FileHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits { Ok(Self(text)) } else { Err(format!("\"{text}\" is no BLAKE3 hash")) }
    }
}

impl From<FileHash> for String {
    fn from(hash: FileHash) -> Self {
        hash.0
    }
}

/// A folder of files that are named by their hash.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    next: AtomicU64,
    held: Held,
}

/// The folder in the data directory.
pub(crate) const FOLDER: &str = "files";
/// Files that are being written.
const UNFINISHED: &str = "unfinished";

impl Files {
    /// Opens the folder, makes it if there is none, and removes what a crash left half written.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(crate) fn open(folder: PathBuf) -> StoreResult<Self> {
        let unfinished = folder.join(UNFINISHED);
        let prepare = || -> io::Result<()> {
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(&unfinished)
        };
        prepare().map_err(|error| StoreError::directory(&unfinished, error))?;
        Ok(Self { folder, next: AtomicU64::new(0), held: Held::default() })
    }

    /// The folder of another process's store, for reading only.
    pub fn of(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER), next: AtomicU64::new(0), held: Held::default() }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, hash: &FileHash) -> PathBuf {
        self.folder.join(&hash.0[..2]).join(&hash.0)
    }

    /// Which files must not be removed, whoever refers to them.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Whether there is a file of that name.
    pub(crate) fn is_there(&self, hash: &FileHash) -> bool {
        self.path(hash).exists()
    }

    /// Writes a content, whose hash this is and which is held. When this returns it is on the disk.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub(crate) fn write(&self, hash: &FileHash, content: &[u8]) -> StoreResult<()> {
        let path = self.path(hash);
        let parent = path.parent().unwrap_or(&self.folder);
        let fail = |error| StoreError::directory(&path, error);
        let keep_name = || sync_folder(parent).and_then(|()| sync_folder(&self.folder));
        match fs::read(&path) {
            // Who wrote it may not have come so far.
            Ok(found) if found == content => return keep_name().map_err(fail),
            // What is there is damaged: it is replaced.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(UNFINISHED).join(format!("{hash}.{number}"));
        let write = || -> io::Result<()> {
            fs::create_dir_all(parent)?;
            let mut file = File::create(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            keep_name()
        };
        write().map_err(|error| {
            // What is left of it goes at the next start at the latest.
            let _ = fs::remove_file(&unfinished);
            fail(error)
        })
    }

    /// Reads a file and checks it.
    ///
    /// # Errors
    /// When it is not there, or its content does not match its hash.
    pub fn read(&self, hash: &FileHash) -> StoreResult<Bytes> {
        let content = match fs::read(self.path(hash)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Corrupt { name: format!("{hash} (it is missing)") });
            }
            Err(error) => return Err(StoreError::directory(&self.path(hash), error)),
        };
        if FileHash::of(&content) != *hash {
            return Err(StoreError::Corrupt { name: hash.to_string() });
        }
        Ok(content.into())
    }

    /// The files whose names begin with these two hexadecimal digits.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn list(&self, digits: &str) -> StoreResult<Vec<FileHash>> {
        let folder = self.folder.join(digits);
        let fail = |error| StoreError::directory(&folder, error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(fail)?.file_name();
            // What has another name is not ours.
            found.extend(name.into_string().ok().and_then(|name| FileHash::try_from(name).ok()));
        }
        Ok(found)
    }

    /// Removes those files that nobody holds. Gives how many, and their bytes.
    ///
    /// # Errors
    /// When one cannot be removed; those before it are.
    pub(crate) fn remove_unheld(&self, hashes: &[FileHash]) -> StoreResult<(u64, u64)> {
        // Who wants to hold one of them meanwhile waits, and then finds it gone.
        let held = self.held.lock();
        let (mut files, mut bytes) = (0, 0);
        for hash in hashes.iter().filter(|hash| !held.contains_key(hash)) {
            let path = self.path(hash);
            let removed = fs::metadata(&path).and_then(|found| fs::remove_file(&path).map(|()| found.len()));
            match removed {
                Ok(size) => (files, bytes) = (files + 1, bytes + size),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::directory(&path, error)),
            }
        }
        Ok((files, bytes))
    }
}

/// Makes new names in a folder last. <https://man7.org/linux/man-pages/man2/fsync.2.html>
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{FileHash, Files, UNFINISHED};
    use crate::StoreError;

    fn write(files: &Files, content: &[u8]) -> Result<FileHash, StoreError> {
        let hash = FileHash::of(content);
        files.write(&hash, content).map(|()| hash)
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_damage_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().join("files")).expect("opened");
        let hash = write(&files, b"hello").expect("written");
        assert_eq!(hash, write(&files, b"hello").expect("written again"));
        assert_eq!(files.read(&hash).expect("read"), "hello");
        std::fs::write(files.path(&hash), b"jello").expect("damaged");
        assert!(matches!(files.read(&hash), Err(StoreError::Corrupt { name }) if name == hash.to_string()));
        assert!(matches!(files.read(&FileHash::of(b"other")), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn what_was_half_written_is_gone_after_the_next_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().to_owned()).expect("opened");
        let hash = write(&files, b"whole").expect("written");
        let half = folder.path().join(UNFINISHED).join(format!("{}.7", FileHash::of(b"never finished")));
        std::fs::write(&half, b"never fin").expect("written");
        let again = Files::open(folder.path().to_owned()).expect("opened");
        assert!(!half.exists());
        assert_eq!(again.read(&hash).expect("read"), "whole");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().to_owned()).expect("opened");
        let hash = FileHash::of(b"hello");
        // The first file that is written is this one. <https://man7.org/linux/man-pages/man4/full.4.html>
        let unfinished = folder.path().join(UNFINISHED).join(format!("{hash}.0"));
        std::os::unix::fs::symlink("/dev/full", &unfinished).expect("a link");
        assert!(matches!(write(&files, b"hello"), Err(StoreError::Full)));
        assert!(!files.is_there(&hash) && std::fs::symlink_metadata(&unfinished).is_err());
        write(&files, b"hello").expect("there is room again");
        assert_eq!(files.read(&hash).expect("read"), "hello");
    }

    #[test]
    fn what_is_held_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().to_owned()).expect("opened");
        let [one, two] = [b"one", b"two"].map(|content| write(&files, content).expect("written"));
        files.held().lock().insert(one.clone(), 1);
        let gone = FileHash::of(b"gone");
        assert_eq!(files.remove_unheld(&[one.clone(), gone, two.clone()]).expect("removed"), (1, 3));
        assert!(files.is_there(&one) && !files.is_there(&two));
        assert_eq!(files.list(&one.as_str()[..2]).expect("listed"), [one]);
    }

    #[test]
    fn a_hash_is_nothing_else() {
        assert!(FileHash::try_from("../../etc/passwd".to_owned()).is_err());
        assert!(FileHash::try_from("A".repeat(64)).is_err());
    }
}
