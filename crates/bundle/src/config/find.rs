//! Where the configuration is: the file named on the command line, the file a build tool redirects to, or the nearest
//! `wrangler.json`, `wrangler.jsonc` or `wrangler.toml` upward from a folder.
//! <https://developers.cloudflare.com/workers/wrangler/configuration/#generated-wrangler-configuration>

use std::path::{Path, PathBuf};

use crate::diagnostic::{BuildError, Diagnostic};
use crate::document::Document;
use crate::files;

/// The names of a configuration file. The first that exists in any folder upward wins, as in wrangler.
const NAMES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// Where a build tool says which configuration it generated, relative to the project's folder.
const REDIRECT: &str = ".wrangler/deploy/config.json";

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The configuration to read.
    pub(crate) path: Option<PathBuf>,
    /// The configuration that the person wrote: the same, unless a build tool redirects.
    pub(crate) user_path: Option<PathBuf>,
    /// The files that decided it, besides the configuration itself.
    pub(crate) inputs: Vec<PathBuf>,
}

impl Found {
    /// Whether a build tool generated the configuration.
    pub(crate) fn is_redirected(&self) -> bool {
        self.path != self.user_path
    }
}

/// Finds the configuration for a start folder.
///
/// # Errors
/// `explicit` does not exist, or a redirect points nowhere or does not belong to the configuration found.
pub(crate) fn find(folder: &Path, explicit: Option<&Path>) -> Result<Found, BuildError> {
    if let Some(explicit) = explicit {
        let path = files::absolute(folder, explicit);
        if !path.is_file() {
            let error = Diagnostic::error(format!("there is no configuration {}", explicit.display()))
                .hint(files::did_you_mean(folder, &path).unwrap_or_else(|| "check the path after --config".to_owned()));
            return Err(BuildError::new(vec![error], vec![path]));
        }
        return Ok(Found { path: Some(path.clone()), user_path: Some(path), inputs: Vec::new() });
    }
    let user_path = NAMES.iter().find_map(|name| upward(folder, name));
    let Some(redirect) = upward(folder, REDIRECT) else {
        let inputs =
            if user_path.is_none() { NAMES.iter().map(|name| folder.join(name)).collect() } else { Vec::new() };
        return Ok(Found { path: user_path.clone(), user_path, inputs });
    };
    let fail = |error| BuildError::new(vec![error], vec![redirect.clone()]);
    let path = read_redirect(folder, &redirect).map_err(fail)?;
    let beside =
        user_path.as_ref().is_none_or(|user| user.parent().map(|root| root.join(REDIRECT)) == Some(redirect.clone()));
    if !beside {
        let shown =
            user_path.as_deref().map_or_else(String::new, |user| files::shown(folder, user).display().to_string());
        let message = format!(
            "{} does not belong to {shown}: they are in different projects",
            files::shown(folder, &redirect).display()
        );
        return Err(fail(Diagnostic::error(message).hint(format!(
            "delete {} if an earlier build left it, or run this command in the folder of the configuration you mean",
            files::shown(folder, &redirect).display()
        ))));
    }
    Ok(Found { path: Some(path), user_path, inputs: vec![redirect] })
}

fn upward(folder: &Path, name: &str) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The configuration that a redirect names.
fn read_redirect(folder: &Path, redirect: &Path) -> Result<PathBuf, Diagnostic> {
    let shown = files::shown(folder, redirect);
    let text = files::read_text(folder, redirect)?;
    let document = Document::parse(&shown, text).map_err(|mut errors| errors.remove(0))?;
    let again = "build the project again, or delete this file to use your own configuration";
    let Some(entry) = document.root.entry("configPath").cloned() else {
        let location = document.location(&document.root.span);
        return Err(Diagnostic::error("this redirect has no \"configPath\"").at(location).hint(again));
    };
    let target =
        entry.node.as_str().map(|target| files::absolute(redirect.parent().unwrap_or(folder), Path::new(target)));
    match target {
        Some(target) if target.is_file() => Ok(target),
        _ => {
            let location = document.location(&entry.node.span);
            Err(Diagnostic::error("\"configPath\" points to no file").at(location).hint(again))
        }
    }
}
