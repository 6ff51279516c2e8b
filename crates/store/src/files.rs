//! Files that are named by the hash of what they hold: modules, assets, code caches.
//!
//! A file is written under another name, flushed to the disk and then renamed, so that a name never stands for half of a
//! file. Reading checks the hash. Calls block: they belong on a thread that may.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
}

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
        Ok(Self { folder, next: AtomicU64::new(0) })
    }

    fn path(&self, hash: &FileHash) -> PathBuf {
        self.folder.join(&hash.0[..2]).join(&hash.0)
    }

    /// Writes a content. When this returns it is on the disk.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub fn write(&self, content: &[u8]) -> StoreResult<FileHash> {
        let hash = FileHash::of(content);
        let path = self.path(&hash);
        let fail = |error| StoreError::directory(&path, error);
        match fs::read(&path) {
            Ok(found) if found == content => return Ok(hash),
            // What is there is damaged: it is replaced.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let parent = path.parent().unwrap_or(&self.folder);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(UNFINISHED).join(format!("{hash}.{number}"));
        let write = || -> io::Result<()> {
            fs::create_dir_all(parent)?;
            let mut file = File::create(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_folder(parent)?;
            sync_folder(&self.folder)
        };
        write().map_err(|error| {
            // What is left of it goes at the next start at the latest.
            let _ = fs::remove_file(&unfinished);
            fail(error)
        })?;
        Ok(hash)
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
}

/// Makes new names in a folder last. <https://man7.org/linux/man-pages/man2/fsync.2.html>
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{FileHash, Files};
    use crate::StoreError;

    #[test]
    fn a_file_is_read_as_it_was_written_and_damage_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path().join("files")).expect("opened");
        let hash = files.write(b"hello").expect("written");
        assert_eq!(hash, files.write(b"hello").expect("written again"));
        assert_eq!(files.read(&hash).expect("read"), "hello");
        std::fs::write(files.path(&hash), b"jello").expect("damaged");
        assert!(matches!(files.read(&hash), Err(StoreError::Corrupt { name }) if name == hash.to_string()));
        assert!(matches!(files.read(&FileHash::of(b"other")), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_hash_is_nothing_else() {
        assert!(FileHash::try_from("../../etc/passwd".to_owned()).is_err());
        assert!(FileHash::try_from("A".repeat(64)).is_err());
    }
}
