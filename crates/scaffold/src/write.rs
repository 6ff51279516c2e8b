//! Writing a project, all of it or nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::files;
use crate::{NewProject, ScaffoldError};

/// Writes a project's files into a folder, which need not exist, and returns their paths. Files that are already there and
/// have other names stay as they are.
///
/// # Errors
/// The folder has files of these names, or a file cannot be written: then nothing is left of the new ones.
pub fn write(folder: &Path, project: &NewProject) -> Result<Vec<PathBuf>, ScaffoldError> {
    let files = files(project);
    let existing: Vec<String> = files
        .iter()
        .filter(|(path, _)| folder.join(path).exists())
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !existing.is_empty() {
        return Err(ScaffoldError::Exists { folder: folder.display().to_string(), files: existing });
    }
    if folder.exists() {
        write_into(folder, &files)?
    } else {
        write_new(folder, &files)?
    }
    Ok(files.into_iter().map(|(path, _)| folder.join(path)).collect())
}

/// Fills a new folder under another name, so that it is complete from its first moment.
fn write_new(folder: &Path, files: &[(PathBuf, String)]) -> Result<(), ScaffoldError> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let draft = tempfile::Builder::new().prefix(".skep-init-").tempdir_in(parent).map_err(failed(parent))?;
    write_into(draft.path(), files)?;
    make_readable(draft.path()).map_err(failed(folder))?;
    fs::rename(draft.path(), folder).map_err(failed(folder))
}

/// Gives a folder the usual permissions: a temporary one is for its owner only.
#[cfg(unix)]
fn make_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes files into a folder that is there. After a failure the files and folders that it made are gone.
fn write_into(folder: &Path, files: &[(PathBuf, String)]) -> Result<(), ScaffoldError> {
    let mut written = Vec::new();
    let mut made = Vec::new();
    let result = files.iter().try_for_each(|(path, text)| {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        if !parent.exists() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
            made.push(parent.to_owned());
        }
        fs::write(&path, text).map_err(failed(&path))?;
        written.push(path);
        Ok(())
    });
    if result.is_err() {
        // nothing can be done if this fails too, and the first error is the one to report
        written.iter().for_each(|path| drop(fs::remove_file(path)));
        made.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
    result
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ScaffoldError {
    let path = path.display().to_string();
    move |source| ScaffoldError::Write { path: path.clone(), source }
}
