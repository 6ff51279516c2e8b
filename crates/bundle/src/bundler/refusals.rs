//! What the plugin saw that cannot be, as diagnostics: imports that lead nowhere, syntax that would not run, modules that the
//! platform does not have.

use std::path::Path;

use skep_worker::compatibility::{Support, flags};

use super::memory::{Memory, Refusal, Unknown};
use super::report;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::files;

/// Errors for imports that cannot be, and for syntax that would not run.
pub(super) fn all(root: &Path, memory: &Memory) -> Vec<Diagnostic> {
    let error = |(module, (specifier, refusal)): (String, (String, Refusal))| {
        let error = match refusal {
            Refusal::NotFound => {
                let folder = Path::new(&module).parent().unwrap_or(root);
                let missing = files::absolute(folder, Path::new(&specifier));
                let hint = files::did_you_mean(root, &missing).unwrap_or_else(|| "check the path".to_owned());
                Diagnostic::error(format!("\"{specifier}\" cannot be found")).hint(hint)
            }
            Refusal::Shadowed(kind) => {
                let name = kind.name();
                Diagnostic::error(format!("\"{specifier}\" fits a rule that an earlier rule of type {name} ends"))
                    .hint("add \"fallthrough\": true to the earlier rule")
            }
            Refusal::NoRule(extension) => {
                let kind =
                    if matches!(extension.as_str(), "css" | "md" | "svg" | "xml" | "csv") { "Text" } else { "Data" };
                Diagnostic::error(format!("no rule says what a .{extension} file is"))
                    .hint(format!("add to \"rules\": {{ \"type\": \"{kind}\", \"globs\": [\"**/*.{extension}\"] }}"))
            }
        };
        Diagnostic { location: report::place_of_specifier(root, &module, &specifier), ..error }
    };
    let unknown = memory.unknown().into_iter().map(|(module, unknown)| unknown_syntax(root, &module, &unknown));
    memory.refused().into_iter().map(error).chain(unknown).collect()
}

/// The error for syntax that V8 does not know.
fn unknown_syntax(root: &Path, module: &str, unknown: &Unknown) -> Diagnostic {
    let hint = match unknown.name {
        "a decorator" => {
            "set \"experimentalDecorators\": true in tsconfig.json to have it compiled, or write it without one"
        }
        _ => "write a getter and a setter",
    };
    let text = std::fs::read_to_string(module).unwrap_or_default();
    let location = Location::of(&files::shown(root, Path::new(module)), &text, unknown.span.clone());
    Diagnostic::error(format!("{} cannot run yet: V8 does not know it", unknown.name)).at(location).hint(hint)
}

/// The error for a script that nothing can call.
pub(super) fn no_handlers(root: &Path, main: &Path) -> Diagnostic {
    let shown = files::shown(root, main).display().to_string();
    Diagnostic::error(format!("{shown} has no handlers: it exports nothing and listens for no event"))
        .hint("add export default { async fetch(request, env, ctx) { … } }")
}

/// Errors for imports that a classic script cannot have.
pub(super) fn modules_in_a_service_worker(root: &Path, memory: &Memory) -> Vec<Diagnostic> {
    let error = |(module, specifier): (String, String)| {
        let error = Diagnostic::error(format!("a Worker in the service worker format cannot import \"{specifier}\""))
            .hint("write export default { … } in place of addEventListener(…)");
        Diagnostic { location: report::place_of_specifier(root, &module, &specifier), ..error }
    };
    memory.runtime_modules().into_iter().map(error).collect()
}

/// Warnings for imports of Node.js's modules, unless the Worker has them.
pub(super) fn of_node(config: &Config, memory: &Memory) -> Vec<Diagnostic> {
    let compatibility = &config.compatibility;
    if compatibility.is_on("nodejs_compat") {
        return Vec::new();
    }
    let flag = flags().iter().find(|flag| flag.enable == "nodejs_compat");
    let is_supported = flag.is_some_and(|flag| matches!(flag.support, Support::Works | Support::AlwaysOn));
    let hint = match (is_supported, compatibility.asks_for("nodejs_compat")) {
        (true, _) => "it is a module of Node.js: add the compatibility flag nodejs_compat",
        (false, true) => {
            "it is a module of Node.js, and nodejs_compat is not supported yet: importing it fails when the Worker starts"
        }
        (false, false) => {
            "it is a module of Node.js: it needs the compatibility flag nodejs_compat, which is not supported yet"
        }
    };
    let warning = |(module, specifier): (String, String)| {
        let shown = files::shown(&config.root, Path::new(&module)).display().to_string();
        let warning = Diagnostic::warning(format!("{shown} imports \"{specifier}\"")).hint(hint);
        Diagnostic { location: report::place_of_specifier(&config.root, &module, &specifier), ..warning }
    };
    memory.builtins().into_iter().map(warning).collect()
}
