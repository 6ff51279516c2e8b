//! The static files of a project (`assets`): the folder as it is on disk, and what its `_headers` and `_redirects` say.

use std::path::{Path, PathBuf};

use skep_assets::config::{HtmlHandling, NotFoundHandling, RunWorkerFirst};
use skep_assets::upload::{Folder, HEADERS_FILE, IGNORE_FILE, REDIRECTS_FILE, UploadError};
use skep_assets::{HeaderRules, Problem, RedirectRules};

use crate::config::Config;
use crate::diagnostic::{BuildError, Diagnostic, Location};
use crate::files;

/// The static files that a build gives.
#[derive(Clone, Debug)]
pub struct BuiltAssets {
    /// The folder on disk. Absolute.
    pub directory: PathBuf,
    /// The settings, with the texts of `_headers` and `_redirects`: what an upload sends and a `skep_assets::Site` is made of.
    pub config: skep_assets::Config,
    /// The files: their manifest, and where each content is.
    pub folder: Folder,
}

/// Reads the project's static files, if it has a folder of them. Of files that did not change since `before`, nothing is read.
///
/// # Errors
/// The folder is not there, or something in it cannot be uploaded; the message names it.
pub(crate) async fn read(
    config: &Config,
    before: Option<&BuiltAssets>,
) -> Result<Option<(BuiltAssets, Vec<Diagnostic>)>, BuildError> {
    let Some(assets) = &config.assets else { return Ok(None) };
    let Some(directory) = assets.directory.clone() else { return Ok(None) };
    let known = before.map(|before| before.folder.clone()).unwrap_or_default();
    let path = directory.clone();
    let read = tokio::task::spawn_blocking(move || known.read_again(&path)).await;
    let folder = match read {
        Ok(Ok(folder)) => folder,
        Ok(Err(error)) => return Err(failed(config, &directory, &error)),
        Err(error) => return Err(Diagnostic::error(format!("cannot read the assets: {error}")).into()),
    };
    let mut warnings: Vec<Diagnostic> = folder
        .skipped_links
        .iter()
        .map(|link| {
            let shown = files::shown(&config.root, link).display().to_string();
            let warning = Diagnostic::warning(format!(
                "the link {shown} is not an asset: it leads to a folder, or out of this one"
            ));
            warning.hint(format!("put the file itself there, or write its name into {IGNORE_FILE}"))
        })
        .collect();
    let settings = skep_assets::Config {
        headers: folder.headers.clone(),
        redirects: folder.redirects.clone(),
        ..assets.settings.clone()
    };
    let mut report = |name: &str, text: Option<&str>, problems: Vec<Problem>| {
        let file = files::shown(&config.root, &directory.join(name));
        warnings.extend(problems.iter().map(|problem| diagnostic(&file, text.unwrap_or_default(), problem)));
    };
    let text = settings.headers.as_deref();
    report(HEADERS_FILE, text, HeaderRules::parse(text.unwrap_or_default()).1);
    let text = settings.redirects.as_deref();
    report(REDIRECTS_FILE, text, RedirectRules::parse(text.unwrap_or_default(), settings.html_handling).1);
    Ok(Some((BuiltAssets { directory, config: settings, folder }, warnings)))
}

/// A line of `_headers` or `_redirects` that is left out.
fn diagnostic(file: &Path, text: &str, problem: &Problem) -> Diagnostic {
    let line = text.split('\n').nth(problem.line - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(problem.line - 1).map(str::len).sum();
    let indent = line.len() - line.trim_start().len();
    let span = start + indent..start + line.trim_end().len().max(indent);
    let message = problem.kind.to_string();
    let (message, hint) = message.split_once(": ").unwrap_or((&message, "mend the line"));
    Diagnostic::warning(format!("this line has no effect: {message}")).at(Location::of(file, text, span)).hint(hint)
}

fn failed(config: &Config, directory: &Path, error: &UploadError) -> BuildError {
    let location = config.assets.as_ref().and_then(|assets| assets.location.clone());
    let diagnostic = match error {
        UploadError::NoFolder(_) => {
            let shown = files::shown(&config.root, directory).display().to_string();
            let hint = match &config.build {
                Some(build) => format!("the build command `{}` must make it", build.command),
                None => "create it, build the project first, or change \"assets.directory\"".to_owned(),
            };
            Diagnostic { location, ..Diagnostic::error(format!("the assets folder {shown} does not exist")).hint(hint) }
        }
        error => {
            let message = error.to_string();
            let (message, hint) = message.rsplit_once(": ").unwrap_or((&message, "mend it"));
            Diagnostic::error(message).hint(hint)
        }
    };
    let watched = directory.ancestors().find(|folder| folder.is_dir()).unwrap_or(&config.root).to_owned();
    BuildError { watch_dirs: vec![watched], ..diagnostic.into() }
}

/// A value of a setting, by the name that the table of keys has checked.
pub(crate) fn html_handling(name: &str) -> HtmlHandling {
    match name {
        "force-trailing-slash" => HtmlHandling::ForceTrailingSlash,
        "drop-trailing-slash" => HtmlHandling::DropTrailingSlash,
        "none" => HtmlHandling::None,
        _ => HtmlHandling::AutoTrailingSlash,
    }
}

/// The same of `not_found_handling`.
pub(crate) fn not_found_handling(name: &str) -> NotFoundHandling {
    match name {
        "single-page-application" => NotFoundHandling::SinglePageApplication,
        "404-page" => NotFoundHandling::Page,
        _ => NotFoundHandling::None,
    }
}

/// Whether a script is needed for what `run_worker_first` says.
pub(crate) fn needs_script(first: &RunWorkerFirst) -> bool {
    !matches!(first, RunWorkerFirst::Never)
}
