//! What `skep login` keeps: the platform's URL, the account and the token, in a file that only its owner may read.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep_worker::Secret;

use crate::error::{Error, Result};
use crate::platform::PlatformUrl;

/// A login.
#[derive(Clone, Debug)]
pub struct Login {
    /// The platform.
    pub url: PlatformUrl,
    /// The account's id.
    pub account_id: String,
    /// The account's name, for people.
    pub account_name: String,
    /// The API token.
    pub token: Secret,
}

/// The file of the login.
#[derive(Clone, Debug)]
pub struct LoginFile(PathBuf);

impl LoginFile {
    /// `skep/login.json` in `$XDG_CONFIG_HOME`, or else in `~/.config`.
    /// <https://specifications.freedesktop.org/basedir-spec/latest/>
    ///
    /// # Errors
    /// When there is no home folder.
    pub fn of_this_user() -> Result<Self> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::find(folder("XDG_CONFIG_HOME"), folder("HOME"))
    }

    fn find(config: Option<OsString>, home: Option<OsString>) -> Result<Self> {
        // A path that is not absolute is to be ignored.
        let config = config.map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = config.or_else(|| Some(PathBuf::from(home?).join(".config")));
        let folder = folder.ok_or_else(|| Error::invalid("there is no home folder: set HOME or XDG_CONFIG_HOME"))?;
        Ok(Self(folder.join("skep").join("login.json")))
    }

    /// A file at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The login, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn read(&self) -> Result<Option<Login>> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&self.0)(error)),
        };
        let damaged = || Error::invalid(format!("{} is damaged: log in again with `skep login`", self.0.display()));
        let value: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
        let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(damaged);
        Ok(Some(Login {
            url: PlatformUrl::parse(&field("url")?).map_err(|_| damaged())?,
            account_id: field("account_id")?,
            account_name: field("account_name")?,
            token: Secret::new(field("token")?),
        }))
    }

    /// Writes the login, in place of the one before. The file has mode 0600.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, login: &Login) -> Result<()> {
        let text = json!({
            "url": login.url.as_str(),
            "account_id": login.account_id,
            "account_name": login.account_name,
            "token": login.token.reveal(),
        });
        if let Some(folder) = self.0.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file(folder))?;
        }
        write_private(&self.0, &format!("{text:#}\n"))
    }

    /// Removes the login. Gives whether there was one.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self) -> Result<bool> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::file(&self.0)(error)),
        }
    }
}

/// Writes a file that only its owner may read: all of it or nothing, also where there was one with another mode.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    // What a process left that was killed in the middle.
    let _ = fs::remove_file(&new);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|error| {
        // What is left of it has a secret in it.
        let _ = fs::remove_file(&new);
        Error::file(path)(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_login_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = LoginFile::find(Some(folder.path().join("config").into()), None).unwrap();
        assert!(file.read().unwrap().is_none());
        let login = Login {
            url: PlatformUrl::parse("localhost:1").unwrap(),
            account_id: "a".to_owned(),
            account_name: "A".to_owned(),
            token: Secret::new("t"),
        };
        file.write(&login).unwrap();
        file.write(&Login { token: Secret::new("u"), ..login }).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
        let read = file.read().unwrap().unwrap();
        assert_eq!((read.url.as_str(), read.token.reveal()), ("http://localhost:1", "u"));
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
        fs::write(file.path(), "{}").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("skep login"));
        assert!(file.remove().unwrap());
        assert!(!file.remove().unwrap());
    }

    #[test]
    fn it_is_where_configurations_are() {
        let path = |config: Option<&str>, home: Option<&str>| {
            LoginFile::find(config.map(Into::into), home.map(Into::into)).map(|file| file.0.display().to_string())
        };
        assert_eq!(path(Some("/c"), Some("/h")).unwrap(), "/c/skep/login.json");
        assert_eq!(path(None, Some("/h")).unwrap(), "/h/.config/skep/login.json");
        assert_eq!(path(Some("relative"), Some("/h")).unwrap(), "/h/.config/skep/login.json");
        assert!(path(None, None).is_err());
    }
}
