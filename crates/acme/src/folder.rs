//! Where the account and the certificates are kept: one folder for each authority, files that only their owner reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The ending of a certificate's file.
const CERTIFICATE: &str = ".pem";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The folder of one authority.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// A file of the folder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept<'h> {
    /// The account with the authority.
    Account,
    /// A host's key and chain.
    Certificate(&'h str),
    /// What is remembered of a host's failed orders.
    Failure(&'h str),
}

impl Folder {
    /// Makes the folder of the authority whose directory has this URL.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(base: &Path, directory_url: &str) -> io::Result<Self> {
        let address = directory_url.split_once("://").map_or(directory_url, |(_, address)| address);
        let safe = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
        let path = base.join(address.trim_matches('/').chars().map(safe).take(120).collect::<String>());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join("failures"))?;
        Ok(Self { path })
    }

    /// Where something is.
    pub(crate) fn file(&self, kept: Kept<'_>) -> PathBuf {
        match kept {
            Kept::Account => self.path.join("account.json"),
            Kept::Certificate(host) => self.path.join(format!("{host}{CERTIFICATE}")),
            Kept::Failure(host) => self.path.join("failures").join(format!("{host}.json")),
        }
    }

    /// A file's content, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(crate) fn read(&self, kept: Kept<'_>) -> io::Result<Option<Vec<u8>>> {
        let path = self.file(kept);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LARGEST => Err(ErrorKind::FileTooLarge.into()),
            Ok(_) => fs::read(path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file: whoever reads it, and whoever finds it after a crash, has the old content or the new.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, kept: Kept<'_>, content: &[u8]) -> io::Result<()> {
        let path = self.file(kept);
        let new = beside(&path, "new");
        // One that a crash left behind may have other permissions.
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(path.parent().unwrap_or(&self.path))?.sync_all()
    }

    /// Moves a file aside that is not what it should be.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(crate) fn set_aside(&self, kept: Kept<'_>) -> io::Result<()> {
        let path = self.file(kept);
        fs::rename(&path, beside(&path, "corrupt"))
    }

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub(crate) fn remove(&self, kept: Kept<'_>) -> io::Result<()> {
        remove(&self.file(kept))
    }

    /// The hosts that have a certificate here, `most` at most.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn hosts(&self, most: usize) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| Some(name.strip_suffix(CERTIFICATE)?.to_owned())).take(most).collect())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_replaced_whole_and_for_their_owner_only() {
        let base = tempfile::TempDir::new().unwrap();
        let folder = Folder::open(base.path(), "https://acme.example/directory").unwrap();
        let kept = Kept::Certificate("a.example");
        assert_eq!(folder.read(kept).unwrap(), None);
        fs::write(beside(&folder.file(kept), "new"), "what a crash left").unwrap();
        folder.write(kept, b"one").unwrap();
        folder.write(kept, b"two").unwrap();
        assert_eq!(folder.read(kept).unwrap().unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.file(kept)), 0o600);
        assert_eq!(mode(&base.path().join("acme.example-directory")), 0o700);
        folder.write(Kept::Account, b"{}").unwrap();
        folder.write(Kept::Failure("b.example"), b"{}").unwrap();
        assert_eq!(folder.hosts(10).unwrap(), ["a.example"]);
        folder.set_aside(kept).unwrap();
        assert_eq!(folder.read(kept).unwrap(), None);
        assert!(folder.hosts(10).unwrap().is_empty());
        folder.remove(kept).unwrap();
    }
}
