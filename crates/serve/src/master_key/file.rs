//! A file of master keys, one in a line, the current one first. There are several only while a new one takes the old one's
//! place: a crash at any moment leaves a file with which every secret can be opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use skep_worker::Secret;

/// What is added to the file's name while it is being written.
const UNFINISHED: &str = ".unfinished";

/// A file of master keys, and what this process knows to be in it.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    keys: Vec<Secret>,
}

impl KeyFile {
    /// Reads a file. Where it is a link, the file is meant that it leads to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        // A crash while it was written left it, and the file itself as it was before.
        let _ = fs::remove_file(unfinished(&path));
        let keys = read(&path)?;
        Ok(Self { path, keys })
    }

    /// Writes a new file with one key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(path: &Path, key: Secret) -> io::Result<Self> {
        let mut file = Self { path: path.to_owned(), keys: Vec::new() };
        file.write(vec![key])?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its keys, the current one first.
    pub(crate) fn keys(&self) -> &[Secret] {
        &self.keys
    }

    /// Whether it holds what it held when it was read or written last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        Ok(read(&self.path)? == self.keys)
    }

    /// Replaces what it holds, all or nothing: it is on the disk when this returns. Only its owner may read it then.
    ///
    /// # Errors
    /// When it cannot be written. Then it holds what it held before, unless only the folder could not be written to the disk:
    /// [`Self::keys`] tells.
    pub(crate) fn write(&mut self, keys: Vec<Secret>) -> io::Result<()> {
        let unfinished = unfinished(&self.path);
        let replaced = write_whole(&unfinished, &keys).and_then(|()| fs::rename(&unfinished, &self.path));
        if replaced.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        replaced?;
        self.keys = keys;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

fn read(path: &Path) -> io::Result<Vec<Secret>> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect())
}

fn write_whole(path: &Path, keys: &[Secret]) -> io::Result<()> {
    // What somebody else left there may be open to others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for key in keys {
        writeln!(file, "{}", key.reveal())?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{KeyFile, unfinished};
    use skep_worker::Secret;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use tempfile::TempDir;

    #[test]
    fn it_is_replaced_as_a_whole_and_only_its_owner_reads_it() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("master-key");
        let mut file = KeyFile::create(&path, Secret::new("one")).unwrap();
        file.write(vec![Secret::new("two"), Secret::new("one")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\none\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(file.is_unchanged().unwrap());
        fs::write(&path, "three\n").unwrap();
        assert!(!file.is_unchanged().unwrap());
    }

    #[test]
    fn what_a_crash_left_is_thrown_away() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("master-key");
        fs::write(&path, "\n  one  \n\ntwo").unwrap();
        fs::write(unfinished(&path), "thr").unwrap();
        let file = KeyFile::open(&path).unwrap();
        assert_eq!(file.keys().iter().map(Secret::reveal).collect::<Vec<_>>(), ["one", "two"]);
        assert!(!unfinished(&path).exists());
    }

    #[test]
    fn a_link_stays_one() {
        let folder = TempDir::new().unwrap();
        let (path, link) = (folder.path().join("key"), folder.path().join("link"));
        fs::write(&path, "one\n").unwrap();
        symlink(&path, &link).unwrap();
        let mut file = KeyFile::open(&link).unwrap();
        file.write(vec![Secret::new("two")]).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_write_that_fails_changes_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("master-key");
        let mut file = KeyFile::create(&path, Secret::new("one")).unwrap();
        // Something is in the way that is no file.
        fs::create_dir(unfinished(&path)).unwrap();
        assert!(file.write(vec![Secret::new("two")]).is_err());
        assert_eq!(file.keys().iter().map(Secret::reveal).collect::<Vec<_>>(), ["one"]);
        assert!(file.is_unchanged().unwrap());
    }
}
