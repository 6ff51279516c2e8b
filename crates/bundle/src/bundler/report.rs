//! What rolldown complains of, as diagnostics of ours: in our words where the person can do something about it, with the source
//! line and a hint that knows the project.

use std::path::{Path, PathBuf};

use rolldown_error::{BuildDiagnostic, DiagnosticOptions, EventKind};
use skep_worker::compatibility::nearest;

use super::memory::Memory;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::document::Document;
use crate::files;

/// The project a complaint is about.
pub(super) struct Project<'a> {
    pub(super) root: &'a Path,
    pub(super) memory: &'a Memory,
}

impl Project<'_> {
    /// An error of rolldown's.
    pub(super) fn error(&self, error: &BuildDiagnostic) -> Diagnostic {
        let complaint = Complaint::new(self.root, error);
        let location = complaint.location.clone();
        let diagnostic = match error.kind() {
            EventKind::UnresolvedImport | EventKind::ResolveError => self.unresolved(error, &complaint),
            EventKind::MissingExportError => self.missing_export(error, &complaint),
            EventKind::ParseError => Diagnostic::error(complaint.message.trim_end_matches('.'))
                .hint(complaint.help.unwrap_or_else(|| "mend the syntax here".to_owned())),
            EventKind::JsonParseError => {
                Diagnostic::error(format!("this is not JSON: {}", complaint.message)).hint("mend the syntax here")
            }
            EventKind::UnloadableDependencyError => self.unloadable(error, &complaint),
            EventKind::TsConfigError => return self.typescript_configuration(complaint.message),
            EventKind::UnsupportedFeatureError if complaint.message.starts_with("Top-level await") => {
                Diagnostic::error("a Worker in the service worker format cannot await at its top level")
                    .hint("write export default { … } in place of addEventListener(…)")
            }
            EventKind::RequireTlaError => Diagnostic::error("require() of a module that has a top-level await")
                .hint("use await import() in place of require()"),
            _ => Diagnostic::error(complaint.message)
                .hint(complaint.help.unwrap_or_else(|| "change the code here".to_owned())),
        };
        Diagnostic { location, ..diagnostic }
    }

    /// A warning of rolldown's, if it is one for the person: not about packages, and not about what Workers do differently.
    pub(super) fn warning(&self, warning: &BuildDiagnostic) -> Option<Diagnostic> {
        let is_theirs = matches!(
            warning.kind(),
            EventKind::Eval
                | EventKind::CommonJsVariableInEsm
                | EventKind::ImportIsUndefined
                | EventKind::CannotCallNamespace
                | EventKind::UnsupportedTsconfigOption
                | EventKind::DuplicateShebang
        );
        let complaint = Complaint::new(self.root, warning);
        let is_package =
            |location: &Location| location.file.components().any(|part| part.as_os_str() == "node_modules");
        if !is_theirs || complaint.location.as_ref().is_some_and(is_package) {
            return None;
        }
        let hint = match warning.kind() {
            EventKind::Eval => "Workers cannot make code from texts: eval() throws an error".to_owned(),
            EventKind::CommonJsVariableInEsm => {
                "write import and export; require, module and exports do not exist here".to_owned()
            }
            _ => complaint.help.unwrap_or_else(|| "check that this is meant".to_owned()),
        };
        let message = match warning.kind() {
            EventKind::Eval => "eval() is used",
            _ => complaint.message.lines().next().unwrap_or_default(),
        };
        let diagnostic = Diagnostic::warning(message).hint(hint);
        Some(Diagnostic { location: complaint.location, ..diagnostic })
    }

    /// Whether a warning says that an import was not found: here that is an error.
    pub(super) fn is_unresolved(warning: &BuildDiagnostic) -> bool {
        matches!(warning.kind(), EventKind::UnresolvedImport)
    }

    fn unresolved(&self, error: &BuildDiagnostic, complaint: &Complaint) -> Diagnostic {
        let specifier = error.exporter().unwrap_or_default();
        let importer = error.id().unwrap_or_default();
        let detail = match error.kind() {
            EventKind::ResolveError => {
                format!(": {}", complaint.label.clone().unwrap_or_else(|| complaint.message.clone()))
            }
            _ => String::new(),
        };
        Diagnostic::error(format!("\"{specifier}\" cannot be found{detail}")).hint(self.hint_for(&specifier, &importer))
    }

    /// An error of a TypeScript configuration: with its place if it is no JSON.
    fn typescript_configuration(&self, message: String) -> Diagnostic {
        let path = message.split('\'').nth(1).map(|path| files::absolute(self.root, Path::new(path)));
        let text = path.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        let parsed =
            path.as_deref().zip(text).map(|(path, text)| Document::parse(&files::shown(self.root, path), text));
        match parsed {
            Some(Err(mut errors)) if !errors.is_empty() => errors.remove(0),
            Some(Ok(document)) => {
                let start = document.root.span.start;
                Diagnostic::error(message)
                    .at(document.location(&(start..start)))
                    .hint("mend the TypeScript configuration")
            }
            _ => Diagnostic::error(message).hint("mend the TypeScript configuration"),
        }
    }

    /// Imports that the plugin knows were not found, unless they are among these errors.
    pub(super) fn missing(&self, known: &[Diagnostic]) -> Vec<Diagnostic> {
        let error = |(module, specifier): (String, String)| Diagnostic {
            location: place_of_specifier(self.root, &module, &specifier),
            ..Diagnostic::error(format!("\"{specifier}\" cannot be found")).hint(self.hint_for(&specifier, &module))
        };
        let is_new = |error: &Diagnostic| !known.iter().any(|known| known.location == error.location);
        self.memory.missing().into_iter().map(error).filter(is_new).collect()
    }

    /// What to do about an import that was not found.
    fn hint_for(&self, specifier: &str, importer: &str) -> String {
        if specifier.starts_with('.') || specifier.starts_with('/') {
            let folder = Path::new(importer).parent().unwrap_or(self.root);
            let missing = files::absolute(folder, Path::new(specifier));
            return files::did_you_mean(self.root, &missing).unwrap_or_else(|| {
                format!("there is no file {}: check the path", files::shown(self.root, &missing).display())
            });
        }
        if specifier.starts_with('#') {
            return format!("add \"{specifier}\" to \"imports\" in package.json");
        }
        if specifier == "__STATIC_CONTENT_MANIFEST" {
            return "Workers Sites are not supported; use \"assets\"".to_owned();
        }
        if specifier.starts_with("@/") || specifier.starts_with('~') {
            return "if it is a short name for a folder, add it to \"paths\" in tsconfig.json".to_owned();
        }
        let mut parts = specifier.split('/');
        let first = parts.next().unwrap_or_default();
        let package = match parts.next() {
            Some(second) if first.starts_with('@') => format!("{first}/{second}"),
            _ => first.to_owned(),
        };
        let is_there = self.root.ancestors().any(|folder| folder.join("node_modules").join(&package).is_dir());
        if is_there {
            return format!("the package {package} is installed but has no such module: check its documentation");
        }
        format!("if it is a package: npm install {package}")
    }

    fn missing_export(&self, error: &BuildDiagnostic, complaint: &Complaint) -> Diagnostic {
        let mut quoted = complaint.message.split('"').skip(1).step_by(2);
        let name = quoted.next().unwrap_or_default();
        let module = quoted.next().unwrap_or_default();
        let id = error.exporter().unwrap_or_default();
        let id = if Path::new(&id).is_absolute() { id } else { self.root.join(module).to_string_lossy().into_owned() };
        let mut exports = self.memory.exports(&id);
        exports.sort();
        let hint = match nearest(name, exports.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None if name == "default" && !exports.is_empty() => format!("import {{ {} }} instead", exports.join(", ")),
            None if exports.is_empty() => "export it there".to_owned(),
            None => {
                format!("it exports: {}", exports.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", "))
            }
        };
        Diagnostic::error(format!("{module} does not export \"{name}\"")).hint(hint)
    }

    fn unloadable(&self, error: &BuildDiagnostic, complaint: &Complaint) -> Diagnostic {
        let reason = complaint.label.clone().unwrap_or_else(|| error.to_string());
        Diagnostic::error(complaint.message.clone())
            .hint(format!("{reason}: check the path and the file's permissions"))
    }
}

/// What can be read off a complaint of rolldown's.
struct Complaint {
    message: String,
    location: Option<Location>,
    /// What stands under the caret.
    label: Option<String>,
    help: Option<String>,
}

impl Complaint {
    fn new(root: &Path, diagnostic: &BuildDiagnostic) -> Self {
        let options = DiagnosticOptions { cwd: root.to_owned() };
        let shown = diagnostic.to_diagnostic_with(&options);
        let location =
            shown.get_primary_location().and_then(|(file, line, column, _)| place(root, &file, line, column));
        let text = shown.convert_to_string(false);
        let mut help = None;
        let mut label = None;
        for line in text.lines() {
            if let Some((_, text)) = line.split_once("Help: ") {
                help.get_or_insert(text.trim().to_owned());
            } else if let Some((_, text)) = line.split_once("╰─") {
                label.get_or_insert(text.trim_start_matches(['─', ' ']).to_owned());
            }
        }
        let message = diagnostic.to_message_with(&options).trim().to_owned();
        let message = if message.is_empty() { text.lines().next().unwrap_or_default().to_owned() } else { message };
        Self { message, location, label: label.filter(|label| !label.is_empty()), help }
    }
}

/// A place by line (from 1) and column (from 0, in UTF-16 units), as long as the word or text that stands there.
fn place(root: &Path, file: &str, line: usize, column: usize) -> Option<Location> {
    let path = files::absolute(root, Path::new(file));
    let text = std::fs::read_to_string(&path).ok()?;
    let line_start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &text[line_start..];
    let mut units = 0;
    let before: usize = rest
        .chars()
        .take_while(|char| {
            units += char.len_utf16();
            units <= column
        })
        .map(char::len_utf8)
        .sum();
    let start = line_start + before;
    let length = word_length(&text[start..]);
    Some(Location::of(&files::shown(root, &path), &text, start..start + length))
}

/// The length in bytes of the text in quotes or the word that begins here; of anything else, one character.
fn word_length(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if "\"'`".contains(first) {
        let line = text.lines().next().unwrap_or_default();
        return line[1..].find(first).map_or(line.len(), |end| end + 2);
    }
    let is_word = |char: char| char.is_alphanumeric() || char == '_' || char == '$';
    if is_word(first) { text.find(|char| !is_word(char)).unwrap_or(text.len()) } else { first.len_utf8() }
}

/// Where a module writes a specifier, by its text: for what only the plugin saw.
pub(super) fn place_of_specifier(root: &Path, module: &str, specifier: &str) -> Option<Location> {
    let path = PathBuf::from(module.split('?').next().unwrap_or(module));
    let text = std::fs::read_to_string(&path).ok()?;
    let quoted = ['"', '\'', '`'].map(|quote| format!("{quote}{specifier}{quote}"));
    let start = quoted.iter().filter_map(|quoted| text.find(quoted.as_str())).min()?;
    Some(Location::of(&files::shown(root, &path), &text, start..start + specifier.len() + 2))
}

/// Puts errors in the order of their files and lines, once each.
pub(super) fn tidy(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| {
        let place =
            diagnostic.location.as_ref().map(|location| (location.file.clone(), location.line, location.column));
        (diagnostic.severity == Severity::Warning, place)
    });
    diagnostics.dedup();
    diagnostics
}
