//! Taking a script as it is (`no_bundle`): nothing is compiled, and the modules it imports are the files that fit a rule.
//! <https://developers.cloudflare.com/workers/wrangler/bundling/#disable-bundling>

use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use skep_worker::{EntryFormat, Module};

use crate::bundler::{Bundled, additional};
use crate::config::Config;
use crate::diagnostic::{BuildError, Diagnostic};
use crate::files;
use crate::rules::RuleKind;

/// What an ES module has somewhere. A script that only speaks of it in a text is still no service worker: see its use.
static EXPORT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\bexport\s*(\{|\*|default\b|const\b|let\b|var\b|function\b|class\b|async\b)").ok());

/// Whether a script is in the service worker format, as far as its text tells.
pub(crate) fn is_service_worker(source: &str) -> bool {
    source.contains("addEventListener(") && !EXPORT.as_ref().is_none_or(|export| export.is_match(source))
}

/// Takes a script and the files beside it.
///
/// # Errors
/// The script needs compiling, or a file cannot be read.
pub(crate) fn take(config: &Config) -> Result<Bundled, BuildError> {
    let found = additional::find(config);
    let mut inputs: Vec<PathBuf> = found.iter().map(|file| file.path.clone()).collect();
    inputs.push(config.script().to_owned());
    let fail = |errors| BuildError {
        watch_dirs: vec![config.bundling.base_dir.clone()],
        ..BuildError::new(errors, inputs.clone())
    };
    let shown = files::shown(&config.root, config.script());
    let extension =
        config.script().extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default();
    if matches!(extension.as_str(), "ts" | "tsx" | "mts" | "cts" | "jsx") {
        let error =
            Diagnostic::error(format!("{} needs compiling, but \"no_bundle\" takes it as it is", shown.display()));
        return Err(fail(vec![error.hint("remove \"no_bundle\", or let \"main\" name the compiled script")]));
    }
    let source = files::read_text(&config.root, config.script()).map_err(|error| fail(vec![error]))?;
    let name = config
        .script()
        .strip_prefix(&config.bundling.base_dir)
        .ok()
        .or_else(|| config.script().file_name().map(std::path::Path::new));
    let main = name.map_or_else(|| "index.js".to_owned(), |name| name.to_string_lossy().replace('\\', "/"));
    let is_service_worker = is_service_worker(&source);
    let bytes = source.into_bytes().into();
    let content = additional::content(&config.root, config.script(), RuleKind::EsModule, bytes)
        .map_err(|error| fail(vec![error]))?;
    let mut modules = vec![Module { name: main.clone(), content }];
    modules.extend(additional::modules(config, &found, &main).map_err(&fail)?);
    Ok(Bundled {
        main,
        format: if is_service_worker { EntryFormat::ServiceWorker } else { EntryFormat::Module },
        modules,
        bindings: Vec::new(),
        warnings: Vec::new(),
        inputs: inputs.into_iter().collect(),
    })
}
