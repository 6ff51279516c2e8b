//! TypeScript declarations for a project: what `env` holds and what its other files are when imported, as
//! `worker-configuration.d.ts`.
//!
//! The shape is that of `wrangler types` (<https://developers.cloudflare.com/workers/wrangler/commands/#types>), but the types of
//! the runtime are not written out: they come from the package `@cloudflare/workers-types`, which the file refers to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::config::bindings::BINDING_KEYS;
use crate::config::settings::Settings;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Node};
use crate::no_bundle::is_service_worker;
use crate::project::Project;
use crate::rules::{Rule, RuleKind, Rules};

const HEADER: &str = "\
/* eslint-disable */
// Written by `skep types`: run it again when the configuration or the secrets change.
// The types of the runtime are those of the package @cloudflare/workers-types.
/// <reference types=\"@cloudflare/workers-types\" />
";

/// The declarations of a project, for a file in `folder`: imports of the script are seen from there.
pub fn declarations(project: &Project, folder: &Path) -> String {
    let config = project.config();
    let source = config.main.as_ref().and_then(|main| std::fs::read_to_string(main).ok()).unwrap_or_default();
    Declarations {
        document: &config.document,
        main: config.main.as_ref().map(|main| relative(folder, main)),
        is_service_worker: is_service_worker(&source),
        secrets: project.secret_names(),
    }
    .text()
}

/// The declarations of a project that has only a configuration yet, for a file beside it.
///
/// # Errors
/// The configuration is not JSON.
pub fn declarations_of(configuration: &str) -> Result<String, Vec<Diagnostic>> {
    let document = Document::parse(Path::new("wrangler.jsonc"), configuration.to_owned())?;
    let main = document.root.get("main").and_then(Node::as_str).map(|main| format!("./{main}"));
    Ok(Declarations { document: &document, main, is_service_worker: false, secrets: BTreeSet::new() }.text())
}

/// A path as an import writes it, seen from a folder.
fn relative(folder: &Path, path: &Path) -> String {
    let up = folder.ancestors().position(|ancestor| path.starts_with(ancestor)).unwrap_or(0);
    let shared = folder.ancestors().nth(up).unwrap_or(folder);
    let rest = path.strip_prefix(shared).unwrap_or(path).to_string_lossy().replace('\\', "/");
    if up == 0 { format!("./{rest}") } else { format!("{}{rest}", "../".repeat(up)) }
}

struct Declarations<'a> {
    document: &'a Document,
    /// The script as an import writes it.
    main: Option<String>,
    is_service_worker: bool,
    secrets: BTreeSet<String>,
}

/// A property of `env` and its type.
type Property = (String, String);

impl Declarations<'_> {
    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        let top_level = self.properties(&Settings::top_level(self.document));
        let environments: Vec<(&str, Vec<Property>)> = self
            .environments()
            .iter()
            .map(|settings| (settings.environment.map_or("", |(name, _)| name), self.properties(settings)))
            .collect();
        let all = merge(&top_level, &environments);
        if self.is_service_worker {
            for (name, kind) in all {
                let _ = writeln!(text, "declare const {}: {kind};", name.trim_end_matches('?'));
            }
        } else {
            let _ = write!(text, "interface __BaseEnv_Env {{\n{}}}\n", lines(&all, "\t"));
            let _ = writeln!(text, "declare namespace Cloudflare {{");
            text.push_str(&self.global_properties());
            for (name, properties) in &environments {
                let _ = write!(text, "\tinterface {}Env {{\n{}\t}}\n", pascal_case(name), lines(properties, "\t\t"));
            }
            text.push_str("\tinterface Env extends __BaseEnv_Env {}\n}\ninterface Env extends __BaseEnv_Env {}\n");
        }
        text.push_str(&self.modules());
        text
    }

    fn environments(&self) -> Vec<Settings<'_>> {
        let entries = self.document.root.get("env").map_or(&[][..], Node::entries);
        let settings = |entry| {
            let entry: &crate::document::Entry = entry;
            Settings { document: self.document, environment: Some((entry.key.as_str(), &entry.node)) }
        };
        entries.iter().map(settings).collect()
    }

    /// What `env` holds in one environment.
    fn properties(&self, settings: &Settings<'_>) -> Vec<Property> {
        let mut properties: Vec<Property> = Vec::new();
        let variables = settings.get("vars").map_or(&[][..], Node::entries);
        let is_secret = |name: &str| self.secrets.contains(name);
        let mut bindings = BINDING_KEYS.iter().flat_map(|key| {
            let declared = key.declared(settings).into_iter();
            declared.map(move |(table, name, kind)| {
                (name.to_owned(), self.binding_type(settings, key.typescript, kind, table))
            })
        });
        // in wrangler's order: what has no class, variables, secrets, what has one
        let has_class = |kind: &str| {
            kind.starts_with("DurableObject") || kind.starts_with("Workflow") || kind.starts_with("Service")
        };
        let (late, early): (Vec<Property>, Vec<Property>) = bindings.by_ref().partition(|(_, kind)| has_class(kind));
        properties.extend(early);
        properties.extend(
            variables
                .iter()
                .filter(|entry| !is_secret(&entry.key))
                .map(|entry| (entry.key.clone(), entry.node.to_json().to_string())),
        );
        properties.extend(self.secrets.iter().map(|name| (name.clone(), "string".to_owned())));
        properties.extend(late);
        for (key, kind) in
            [("data_blobs", "ArrayBuffer"), ("text_blobs", "string"), ("wasm_modules", "WebAssembly.Module")]
        {
            properties.extend(settings.string_map(key).into_iter().map(|(name, _)| (name, kind.to_owned())));
        }
        properties
    }

    fn binding_type(&self, settings: &Settings<'_>, typescript: &str, kind: &str, table: &Node) -> String {
        let text = |key: &str| table.get(key).and_then(Node::as_str);
        let own = settings.string("name");
        let of_main =
            |class: &str| self.main.as_ref().map(|main| format!("import(\"{}\").{class}", without_extension(main)));
        match kind {
            "durable_object_namespace" | "workflow" => {
                let class = text("class_name").unwrap_or_default();
                let elsewhere = text("script_name").filter(|script| Some(*script) != own.as_deref());
                match (elsewhere, of_main(class)) {
                    (Some(script), _) => format!("{typescript} /* {class} from {script} */"),
                    (None, Some(class)) if kind == "workflow" => {
                        format!("Workflow<Parameters<{class}['run']>[0]['payload']>")
                    }
                    (None, Some(class)) => format!("DurableObjectNamespace<{class}>"),
                    (None, None) => format!("{typescript} /* {class} */"),
                }
            }
            "service" => {
                let service = text("service").unwrap_or_default();
                let entrypoint = text("entrypoint");
                match of_main(entrypoint.unwrap_or("default")).filter(|_| Some(service) == own.as_deref()) {
                    Some(class) => format!("Service<typeof {class}>"),
                    None => match entrypoint {
                        Some(entrypoint) => format!("Service /* {entrypoint} from {service} */"),
                        None => format!("Fetcher /* {service} */"),
                    },
                }
            }
            "ratelimit" => "RateLimit".to_owned(),
            "pipelines" => {
                "import(\"cloudflare:pipelines\").Pipeline<import(\"cloudflare:pipelines\").PipelineRecord>".to_owned()
            }
            _ => typescript.to_owned(),
        }
    }

    /// What `Cloudflare.GlobalProps` says of the script. Only a script with types has something to say.
    fn global_properties(&self) -> String {
        let mut members = String::new();
        if let Some(main) = self.main.as_ref().filter(|main| main.ends_with("ts") || main.ends_with("tsx")) {
            let _ = writeln!(members, "\t\tmainModule: typeof import(\"{}\");", without_extension(main));
        }
        let classes = self.durable_object_classes();
        if !classes.is_empty() {
            let names: Vec<String> = classes.iter().map(|class| format!("\"{class}\"")).collect();
            let _ = writeln!(members, "\t\tdurableNamespaces: {};", names.join(" | "));
        }
        if members.is_empty() { members } else { format!("\tinterface GlobalProps {{\n{members}\t}}\n") }
    }

    /// The classes of Durable Objects that the migrations leave.
    fn durable_object_classes(&self) -> BTreeSet<String> {
        let mut classes = BTreeSet::new();
        for migration in self.document.root.get("migrations").map_or(&[][..], Node::elements) {
            let strings = |key: &str| migration.get(key).map(Node::strings).unwrap_or_default();
            classes.extend(strings("new_classes"));
            classes.extend(strings("new_sqlite_classes"));
            for renamed in migration.get("renamed_classes").map_or(&[][..], Node::elements) {
                let text = |key: &str| renamed.get(key).and_then(Node::as_str).unwrap_or_default().to_owned();
                classes.remove(&text("from"));
                classes.insert(text("to"));
            }
            for deleted in strings("deleted_classes") {
                classes.remove(&deleted);
            }
        }
        classes
    }

    /// What importing files gives that are not code. TypeScript knows one `*` in such a name: what stands behind the last one
    /// of a rule's pattern decides, and the first rule wins.
    fn modules(&self) -> String {
        let mut seen = BTreeSet::new();
        let mut text = String::new();
        let settings = std::iter::once(Settings::top_level(self.document)).chain(self.environments());
        for settings in settings {
            let rules =
                settings.get("rules").map_or(&[][..], Node::elements).iter().filter_map(rule).collect::<Vec<_>>();
            let (rules, _) = Rules::new(&rules);
            for rule in rules.active() {
                let Some(kind) = rule.kind.typescript() else { continue };
                for glob in &rule.globs {
                    let suffix = glob.rsplit(['*', '/']).next().unwrap_or_default();
                    if !suffix.is_empty() && seen.insert(suffix.to_owned()) {
                        let _ = write!(
                            text,
                            "declare module \"*{suffix}\" {{\n\tconst value: {kind};\n\texport default value;\n}}\n"
                        );
                    }
                }
            }
        }
        text
    }
}

fn rule(node: &Node) -> Option<Rule> {
    Some(Rule {
        kind: RuleKind::parse(node.get("type")?.as_str()?)?,
        globs: node.get("globs")?.strings(),
        fallthrough: node.get("fallthrough").and_then(Node::as_bool),
    })
}

/// The properties over all environments: their types as a union, optional where one of them lacks it.
fn merge(top_level: &[Property], environments: &[(&str, Vec<Property>)]) -> Vec<Property> {
    let all: Vec<&[Property]> =
        std::iter::once(top_level).chain(environments.iter().map(|(_, properties)| properties.as_slice())).collect();
    let mut merged: Vec<(String, Vec<&str>, usize)> = Vec::new();
    for properties in &all {
        for (name, kind) in *properties {
            match merged.iter_mut().find(|(merged, ..)| merged == name) {
                Some((_, kinds, count)) => {
                    *count += 1;
                    if !kinds.contains(&kind.as_str()) {
                        kinds.push(kind);
                    }
                }
                None => merged.push((name.clone(), vec![kind], 1)),
            }
        }
    }
    let property = |(name, kinds, count): (String, Vec<&str>, usize)| {
        let optional = if count < all.len() { "?" } else { "" };
        (format!("{}{optional}", property_name(&name)), kinds.join(" | "))
    };
    merged.into_iter().map(property).collect()
}

fn lines(properties: &[Property], indent: &str) -> String {
    properties.iter().fold(String::new(), |mut text, (name, kind)| {
        let name = if name.starts_with('"') || name.ends_with('?') { name.clone() } else { property_name(name) };
        let _ = writeln!(text, "{indent}{name}: {kind};");
        text
    })
}

/// A name as a property: in quotes unless it is an identifier.
fn property_name(name: &str) -> String {
    let is_identifier = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '$')
        && !name.starts_with(|char: char| char.is_ascii_digit())
        && !name.is_empty();
    if is_identifier { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

fn pascal_case(name: &str) -> String {
    let words = name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first.to_uppercase() + rest
        })
        .collect()
}

fn without_extension(path: &str) -> &str {
    let (stem, extension) = path.rsplit_once('.').unwrap_or((path, ""));
    if matches!(extension, "ts" | "tsx" | "js" | "jsx") { stem } else { path }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{pascal_case, property_name, relative};

    #[test]
    fn names_and_paths() {
        assert_eq!(property_name("KV"), "KV");
        assert_eq!(property_name("we-ird"), "\"we-ird\"");
        assert_eq!(property_name("1a"), "\"1a\"");
        assert_eq!(pascal_case("my-staging_env"), "MyStagingEnv");
        let check =
            |folder: &str, path: &str, expect: &str| assert_eq!(relative(Path::new(folder), Path::new(path)), expect);
        check("/a", "/a/src/index.ts", "./src/index.ts");
        check("/a/types", "/a/src/index.ts", "../src/index.ts");
        check("/a/b/c", "/a/index.ts", "../../index.ts");
    }
}
