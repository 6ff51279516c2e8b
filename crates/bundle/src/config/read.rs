//! From the tree of a configuration's file to a [`Config`]: picks the environment, checks values that make no sense, and warns
//! of what will not be as the person may expect.

use std::path::{Path, PathBuf};

use skep_worker::compatibility::nearest;
use skep_worker::{Binding, BindingKind, Compatibility, CompatibilityError};

use super::find::Found;
use super::keys::{Checker, Scope, Support, keys};
use super::settings::Settings;
use super::{Bundling, Config, bindings, deploy};
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Node};
use crate::options::Options;

/// Keys that a build tool adds to a configuration it generates.
const GENERATED_KEYS: &[&str] =
    &["configPath", "userConfigPath", "topLevelName", "definedEnvironments", "targetEnvironment", "legacy_env"];

/// What was found in a configuration.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Reads a configuration. The second value is warnings.
pub(super) fn read(
    options: &Options,
    document: &Document,
    root: &Path,
    found: &Found,
    script: Option<PathBuf>,
) -> Result<(Config, Vec<Diagnostic>), Findings> {
    let Findings { errors, mut warnings } = check_keys(document, found);
    if !errors.is_empty() {
        return Err(Findings { errors, warnings });
    }
    let settings = match select(options, document, found) {
        Ok(settings) => settings,
        Err(error) => return Err(Findings { errors: vec![error], warnings }),
    };
    let folder = found.path.as_deref().and_then(Path::parent).unwrap_or(root);
    let is_written = found.path.is_some();
    let mut reader = Reader { options, settings, folder, is_written, errors: Vec::new(), warnings: Vec::new() };
    reader.warn_of_unsupported();
    let config = reader.config(root, found, script);
    warnings.append(&mut reader.warnings);
    match config {
        Some(config) if reader.errors.is_empty() => Ok((config, warnings)),
        _ => Err(Findings { errors: reader.errors, warnings }),
    }
}

/// Compares all keys, those of every environment too, with the table.
fn check_keys(document: &Document, found: &Found) -> Findings {
    let mut checker = Checker { document, errors: Vec::new(), warnings: Vec::new() };
    checker.settings(&document.root, None, if found.is_redirected() { GENERATED_KEYS } else { &[] });
    for entry in document.root.get("env").map_or(&[][..], Node::entries) {
        checker.settings(&entry.node, Some(&entry.key), &[]);
    }
    Findings { errors: checker.errors, warnings: checker.warnings }
}

/// The settings of the environment that the options name.
fn select<'a>(options: &'a Options, document: &'a Document, found: &Found) -> Result<Settings<'a>, Diagnostic> {
    let Some(name) = options.environment.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(Settings::top_level(document));
    };
    if found.is_redirected() {
        let built_for = document.root.get("targetEnvironment").and_then(Node::as_str);
        return match built_for {
            Some(built_for) if built_for != name => Err(Diagnostic::error(format!(
                "{} was built for the environment \"{built_for}\", not for \"{name}\"",
                document.file.display()
            ))
            .hint(format!("build the project again for \"{name}\", or leave out --env"))),
            _ => Ok(Settings::top_level(document)),
        };
    }
    let environments = document.root.get("env").map_or(&[][..], Node::entries);
    if let Some(entry) = environments.iter().find(|entry| entry.key == name) {
        return Ok(Settings { document, environment: Some((name, &entry.node)) });
    }
    let names: Vec<&str> = environments.iter().map(|entry| entry.key.as_str()).collect();
    let error = Diagnostic::error(format!("{} has no environment \"{name}\"", document.file.display()));
    let add = if document.is_toml() {
        format!("add a section [env.{name}]")
    } else {
        format!("add \"env\": {{ \"{name}\": {{ … }} }}")
    };
    Err(match (nearest(name, names.iter().copied()), names.is_empty()) {
        (_, true) => error.hint(format!("it has none: {add}, or leave out --env")),
        (Some(nearest), _) => error.hint(format!("did you mean \"{nearest}\"? It has: {}", names.join(", "))),
        (None, _) => error.hint(format!("it has: {}; choose one of them, or {add}", names.join(", "))),
    })
}

/// What is needed to read one section after another, and what was found on the way.
pub(super) struct Reader<'a> {
    pub(super) options: &'a Options,
    pub(super) settings: Settings<'a>,
    /// The folder that the configuration's paths are seen from.
    pub(super) folder: &'a Path,
    /// Whether there is a file: without one, its places mean nothing.
    is_written: bool,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn config(&mut self, root: &Path, found: &Found, script: Option<PathBuf>) -> Option<Config> {
        bindings::check_unique(&self.settings, &mut self.errors);
        let name = self.name(found);
        let compatibility = self.compatibility();
        let limits = self.limits();
        let rules = self.rules();
        let main = self.main(script);
        let mut bindings = self.variables();
        bindings.extend(bindings::read(&self.settings, &mut self.warnings, &mut self.errors));
        let dev = self.dev();
        let observability = self.observability();
        let blobs = self.blobs();
        let alias = self.alias();
        let define = self.define();
        let main = main?;
        let assets = self.assets(main.is_some());
        let settings = self.settings;
        let strings = |node: Option<&Node>| node.map(Node::strings);
        let is_no_bundle = self.options.no_bundle.or_else(|| settings.boolean("no_bundle")).unwrap_or(false);
        Some(Config {
            path: found.path.clone(),
            root: root.to_owned(),
            name,
            environment: self.options.environment.clone().filter(|name| !name.is_empty()),
            environments: settings
                .document
                .root
                .get("env")
                .map_or(&[][..], Node::entries)
                .iter()
                .map(|entry| entry.key.clone())
                .collect(),
            compatibility: compatibility?,
            bindings,
            required_secrets: settings
                .get("secrets")
                .map(|secrets| strings(secrets.get("required")).unwrap_or_default()),
            limits,
            crons: strings(settings.get("triggers").and_then(|triggers| triggers.get("crons"))).unwrap_or_default(),
            dev,
            deploy: deploy::read(&settings),
            observability,
            assets,
            upload_source_maps: settings.boolean("upload_source_maps").unwrap_or(true),
            build: self.build(),
            bundling: Bundling {
                no_bundle: is_no_bundle,
                minify: self.options.minify.or_else(|| settings.boolean("minify")).unwrap_or(false),
                keep_names: settings.boolean("keep_names").unwrap_or(true),
                define,
                alias,
                rules,
                find_additional_modules: settings.boolean("find_additional_modules").unwrap_or(is_no_bundle),
                base_dir: settings
                    .path("base_dir", self.folder)
                    .or_else(|| main.as_deref().and_then(Path::parent).map(Path::to_owned))
                    .unwrap_or_else(|| root.to_owned()),
                preserve_file_names: settings.boolean("preserve_file_names").unwrap_or(false),
                tsconfig: settings.path("tsconfig", self.folder),
                jsx_factory: settings.string("jsx_factory"),
                jsx_fragment: settings.string("jsx_fragment"),
                blobs,
            },
            main,
            document: Document::empty(),
        })
    }

    /// Known keys that have no effect, and keys of the top level that the environment does not inherit.
    fn warn_of_unsupported(&mut self) {
        for key in keys() {
            let entry = self.settings.entry(key.name).filter(|entry| !entry.node.is_empty());
            if let Some(entry) = entry.filter(|_| key.support == Support::Missing) {
                let warning = self.settings.warning(entry, format!("\"{}\" is not supported yet", key.name));
                self.warnings.push(warning.hint("it has no effect; everything else works as it says"));
            }
            let Some((name, _)) = self.settings.environment.filter(|_| key.scope == Scope::Own) else { continue };
            let top = self.settings.document.root.entry(key.name).filter(|entry| !entry.node.is_empty());
            if let Some(top) = top.filter(|_| self.settings.entry(key.name).is_none()) {
                let message = format!("the environment \"{name}\" does not get \"{}\" from the top level", key.name);
                let hint = format!(
                    "environments do not inherit \"{0}\": repeat it in env.{name}, or write an empty one there",
                    key.name
                );
                self.warnings.push(self.settings.warning(top, message).hint(hint));
            }
        }
    }

    /// The Worker's name. <https://developers.cloudflare.com/workers/wrangler/configuration/#inheritable-keys>
    fn name(&mut self, found: &Found) -> Option<String> {
        if let Some(name) = &self.options.name {
            if !is_valid_name(name) {
                self.errors.push(Diagnostic::error(format!("\"{name}\" cannot be a Worker's name")).hint(NAME_RULE));
            }
            return Some(name.clone());
        }
        let node = self.settings.get("name").filter(|node| !node.is_empty())?;
        let name = node.as_str()?;
        if !is_valid_name(name) {
            let error = self.settings.error(node, format!("\"{name}\" cannot be a Worker's name"));
            self.errors.push(error.hint(NAME_RULE));
        }
        let inherited = self.settings.environment.filter(|(_, table)| table.get("name").is_none());
        Some(match inherited {
            Some((environment, _)) if !found.is_redirected() => format!("{name}-{environment}"),
            _ => name.to_owned(),
        })
    }

    /// The script; inside, none if there are only assets.
    fn main(&mut self, script: Option<PathBuf>) -> Option<Option<PathBuf>> {
        if let Some(main) = script.or_else(|| self.settings.path("main", self.folder)) {
            return Some(Some(main));
        }
        let directory = self.settings.get("assets").and_then(|assets| assets.get("directory"));
        if directory.is_some_and(|directory| !directory.is_empty()) {
            return Some(None);
        }
        let document = self.settings.document;
        let example = if document.is_toml() { "main = \"src/index.ts\"" } else { "\"main\": \"src/index.ts\"" };
        let error = if self.settings.get("assets").is_some() {
            Diagnostic::error("this Worker has neither \"main\" nor \"assets.directory\"")
        } else {
            Diagnostic::error(format!("{} does not say which script to run", document.file.display()))
        };
        let location = document.location(&(document.root.span.start..document.root.span.start));
        self.errors.push(error.at(location).hint(format!("add {example}")));
        None
    }

    fn compatibility(&mut self) -> Option<Compatibility> {
        let settings = self.settings;
        let node = settings.get("compatibility_date");
        let written = self.options.compatibility_date.as_deref().or_else(|| node.and_then(Node::as_str));
        let date = match written.map(str::parse) {
            Some(Ok(date)) => date,
            Some(Err(error)) => {
                return self.refuse_compatibility(node.filter(|_| self.options.compatibility_date.is_none()), &error);
            }
            None => {
                let today = self.options.today;
                let place = self.is_written.then(|| settings.document.location(&(0..0)));
                let line = if settings.document.is_toml() {
                    format!("compatibility_date = \"{today}\"")
                } else {
                    format!("\"compatibility_date\": \"{today}\"")
                };
                let warning = Diagnostic::warning(format!("there is no compatibility date: today's, {today}, is used"));
                let warning = warning.hint(format!("add {line}, so that the Worker behaves the same tomorrow"));
                self.warnings.push(Diagnostic { location: place, ..warning });
                today
            }
        };
        if date > self.options.today
            && let Some(node) = node
        {
            let warning = Diagnostic::warning(format!("the compatibility date {date} is in the future"));
            let hint = format!("write {} or an earlier day", self.options.today);
            self.warnings.push(warning.at(settings.document.location(&node.span)).hint(hint));
        }
        let flags = settings.get("compatibility_flags");
        let named =
            flags.map(Node::strings).unwrap_or_default().into_iter().chain(self.options.compatibility_flags.clone());
        match Compatibility::new(date, named.collect()) {
            Ok(compatibility) => {
                for reason in compatibility.not_honoured() {
                    let is_named =
                        |flag: &&Node| flag.as_str().is_some_and(|flag| reason.contains(&format!("\"{flag}\"")));
                    let named = flags.and_then(|flags| flags.elements().iter().find(is_named));
                    let warning = Diagnostic::warning(reason).hint("it has no effect");
                    self.warnings.push(match named {
                        Some(flag) => warning.at(settings.document.location(&flag.span)),
                        None => warning,
                    });
                }
                Some(compatibility)
            }
            Err(error) => self.refuse_compatibility(flags, &error),
        }
    }

    /// An error of the date or a flag, at the flag's place.
    fn refuse_compatibility(&mut self, node: Option<&Node>, error: &CompatibilityError) -> Option<Compatibility> {
        let text = error.to_string();
        let (message, hint) = text.rsplit_once(": ").unwrap_or((&text, "remove it"));
        let flag = match error {
            CompatibilityError::UnknownFlag { flag, .. } | CompatibilityError::Contradiction(flag, _) => {
                Some(flag.as_str())
            }
            CompatibilityError::BadDate(_) => None,
        };
        let place = node.map(|node| node.elements().iter().find(|element| element.as_str() == flag).unwrap_or(node));
        let diagnostic = Diagnostic::error(message).hint(hint);
        self.errors.push(match place {
            Some(place) => diagnostic.at(self.settings.document.location(&place.span)),
            None => diagnostic,
        });
        None
    }

    /// `vars`, and above them the variables of the command line.
    fn variables(&self) -> Vec<Binding> {
        let mut variables: Vec<Binding> = Vec::new();
        for entry in self.settings.get("vars").map_or(&[][..], Node::entries) {
            let kind = match entry.node.as_str() {
                Some(text) => BindingKind::PlainText(text.to_owned()),
                None => BindingKind::Json(entry.node.to_json()),
            };
            variables.push(Binding { name: entry.key.clone(), kind });
        }
        for (name, value) in &self.options.vars {
            variables.retain(|variable| variable.name != *name);
            variables.push(Binding { name: name.clone(), kind: BindingKind::PlainText(value.clone()) });
        }
        variables
    }
}

const NAME_RULE: &str = "use lower-case letters, digits, - and _, at most 63 of them, and no - at the beginning";

/// Whether a Worker may be called so. The length is what a host name's label may have.
pub fn is_valid_name(name: &str) -> bool {
    let valid = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_' || char == '-';
    (1..=63).contains(&name.len()) && name.chars().all(valid) && !name.starts_with('-')
}
