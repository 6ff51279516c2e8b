//! Files as a person sees them: paths relative to the project, the nearest name for a misspelt one, texts that are UTF-8.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use skep_worker::compatibility::nearest;

use crate::diagnostic::Diagnostic;

/// A path as messages show it: relative to the project's folder when it is inside of it.
pub(crate) fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// A path from a file or the command line, seen from a folder, without `.` and `..`.
pub(crate) fn absolute(folder: &Path, path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    absolute
}

/// Reads a text.
///
/// # Errors
/// It does not exist, cannot be read, or is not UTF-8.
pub(crate) fn read_text(root: &Path, path: &Path) -> Result<String, Diagnostic> {
    let shown = shown(root, path).display().to_string();
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Diagnostic::error(format!("there is no file {shown}"))
            .hint(did_you_mean(root, path).unwrap_or_else(|| "check the path".to_owned())),
        ErrorKind::InvalidData => Diagnostic::error(format!("{shown} is not a text")).hint("save it in UTF-8"),
        _ => Diagnostic::error(format!("cannot read {shown}: {error}")).hint("check the file's permissions"),
    })
}

/// "did you mean …?" with the file next to a missing one whose name is nearest, or that has another extension.
pub(crate) fn did_you_mean(root: &Path, missing: &Path) -> Option<String> {
    let found = nearest_file(missing)?;
    Some(format!("did you mean {}?", shown(root, &found).display()))
}

/// The file next to a missing one whose name is nearest, or that differs by its extension only.
pub(crate) fn nearest_file(missing: &Path) -> Option<PathBuf> {
    let folder = missing.parent()?;
    let name = missing.file_name()?.to_str()?;
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let stem = missing.file_stem()?;
    let stem_of =
        |name: &str| Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let same_stem = || names.iter().find(|other| Path::new(other).file_stem() == Some(stem));
    let near_stem = || {
        let stems: Vec<String> = names.iter().map(|name| stem_of(name)).collect();
        let near = nearest(name, stems.iter().map(String::as_str))?;
        names.iter().find(|other| stem_of(other) == near)
    };
    let near_name =
        || nearest(name, names.iter().map(String::as_str)).and_then(|near| names.iter().find(|name| *name == near));
    // an import names a module without its extension
    let near = if missing.extension().is_some() { near_name() } else { near_stem() };
    same_stem().or(near).map(|name| folder.join(name))
}

/// Every file below a folder, in a stable order, without what `skip` refuses. A folder that cannot be read is empty, and
/// links to folders are not followed: they may lead back.
pub(crate) fn walk(folder: &Path, skip: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut entries: Vec<(PathBuf, bool)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .filter(|(path, is_folder)| !skip(path) && (*is_folder || path.is_file()))
        .collect();
    entries.sort();
    entries.into_iter().flat_map(|(path, is_folder)| if is_folder { walk(&path, skip) } else { vec![path] }).collect()
}
