//! The sections of a configuration that are tables or lists of their own: limits, rules, the development server, logs, static
//! files, the build command, replacements.

use std::path::Path;
use std::time::Duration;

use skep_assets::config::{BasePath, ConfigError, RunWorkerFirst};
use skep_worker::Limits;

use super::read::Reader;
use super::{Assets, CustomBuild, Dev, Observability};
use crate::assets;
use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::files;
use crate::rules::{Rule, RuleKind};

impl Reader<'_> {
    pub(super) fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        let Some(node) = self.settings.get("limits") else { return limits };
        if let Some(cpu) = node.get("cpu_ms") {
            match whole_number(cpu, 1, Limits::MAX_CPU.as_millis()) {
                Some(cpu_ms) => limits.cpu = Duration::from_millis(cpu_ms),
                None => self.refuse_number(cpu, "limits.cpu_ms", 1, Limits::MAX_CPU.as_millis()),
            }
        }
        if let Some(subrequests) = node.get("subrequests") {
            let most = 10_000_000;
            match whole_number(subrequests, 1, most).and_then(|number| u32::try_from(number).ok()) {
                Some(number) => limits.subrequests = number,
                None => self.refuse_number(subrequests, "limits.subrequests", 1, most),
            }
        }
        limits
    }

    pub(super) fn refuse_number(&mut self, node: &Node, path: &str, least: u64, most: u128) {
        let error = self.settings.error(node, format!("\"{path}\" must be a whole number from {least} to {most}"));
        self.errors.push(error.hint("write a number in that range"));
    }

    pub(super) fn rules(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for node in self.settings.get("rules").map_or(&[][..], Node::elements) {
            let name = node.get("type").and_then(Node::as_str).unwrap_or_default();
            let Some(kind) = RuleKind::parse(name) else {
                let warning = Diagnostic::warning(format!("this rule has no effect: {name} is not supported"));
                self.warnings.push(
                    warning.at(self.settings.document.location(&node.span)).hint("Workers in Python do not run here"),
                );
                continue;
            };
            let globs = node.get("globs").map(Node::strings).unwrap_or_default();
            if globs.is_empty() {
                let error = self.settings.error(node, "this rule fits no file: \"globs\" is empty");
                self.errors.push(error.hint("add a pattern, for example \"**/*.md\""));
            }
            rules.push(Rule { kind, globs, fallthrough: node.get("fallthrough").and_then(Node::as_bool) });
        }
        rules
    }

    pub(super) fn dev(&mut self) -> Dev {
        let settings = self.settings;
        let Some(node) = settings.get("dev") else { return Dev::default() };
        let mut port = |key: &str| {
            let node = node.get(key)?;
            let port = whole_number(node, 0, 65_535).and_then(|port| u16::try_from(port).ok());
            if port.is_none() {
                self.refuse_number(node, &format!("dev.{key}"), 0, 65_535);
            }
            port
        };
        let (port, inspector_port) = (port("port"), port("inspector_port"));
        let ip = node.get("ip").and_then(|node| {
            let text = node.as_str()?;
            let ip = if text == "localhost" { "127.0.0.1".parse() } else { text.parse() };
            if ip.is_err() {
                let error = settings.error(node, format!("\"dev.ip\" is not an address: \"{text}\""));
                self.errors.push(error.hint("write \"127.0.0.1\", or \"0.0.0.0\" to be reached from other machines"));
            }
            ip.ok()
        });
        Dev {
            ip,
            port,
            inspector_port,
            https: node.get("local_protocol").and_then(Node::as_str) == Some("https"),
            host: node.get("host").and_then(Node::as_str).map(str::to_owned),
        }
    }

    pub(super) fn observability(&mut self) -> Observability {
        let node = self.settings.get("observability");
        let logs = node.and_then(|node| node.get("logs"));
        let rate = logs.and_then(|logs| logs.get("head_sampling_rate")).or_else(|| node?.get("head_sampling_rate"));
        let head_sampling_rate = rate.and_then(Node::as_f64).unwrap_or(1.0);
        if let Some(rate) = rate.filter(|_| !(0.0..=1.0).contains(&head_sampling_rate)) {
            let error = self.settings.error(rate, "\"head_sampling_rate\" must be from 0 to 1");
            self.errors.push(error.hint("write 1 to keep everything, 0.1 to keep a tenth"));
        }
        let is_on = |node: Option<&Node>, key: &str| node.and_then(|node| node.get(key)).and_then(Node::as_bool);
        Observability {
            enabled: is_on(node, "enabled").or_else(|| is_on(logs, "enabled")).unwrap_or(false),
            head_sampling_rate,
            invocation_logs: is_on(logs, "invocation_logs").unwrap_or(true),
        }
    }

    pub(super) fn assets(&mut self, has_script: bool) -> Option<Assets> {
        let entry = self.settings.entry("assets").filter(|entry| !entry.node.is_empty())?;
        let node = &entry.node;
        let text = |key: &str| node.get(key).and_then(Node::as_str).filter(|text| !text.is_empty());
        let mut settings = skep_assets::Config {
            html_handling: assets::html_handling(text("html_handling").unwrap_or_default()),
            not_found_handling: assets::not_found_handling(text("not_found_handling").unwrap_or_default()),
            ..skep_assets::Config::default()
        };
        let mut refuse = |node: &Node, error: &ConfigError| {
            let message = error.to_string();
            let (message, hint) = message.rsplit_once(": ").unwrap_or((&message, "change it"));
            self.errors.push(self.settings.error(node, message).hint(hint));
        };
        if let Some(node) = node.get("base_path") {
            match BasePath::new(node.as_str().unwrap_or("/")) {
                Ok(path) => settings.base_path = path,
                Err(error) => refuse(node, &error),
            }
        }
        if let Some(node) = node.get("run_worker_first") {
            match node.as_bool() {
                Some(true) => settings.run_worker_first = RunWorkerFirst::Always,
                Some(false) => {}
                None => match RunWorkerFirst::paths(node.strings()) {
                    Ok(paths) => settings.run_worker_first = paths,
                    Err(error) => refuse(node, &error),
                },
            }
        }
        if !has_script {
            let needs_script = [
                ("binding", text("binding").is_some()),
                ("run_worker_first", assets::needs_script(&settings.run_worker_first)),
            ];
            for (key, is_used) in needs_script {
                if let Some(entry) = node.entry(key).filter(|_| is_used) {
                    let error =
                        Diagnostic::error(format!("\"assets.{key}\" is for a Worker with a script, and there is none"));
                    let error = error.at(self.settings.document.location(&entry.key_span));
                    self.errors.push(error.hint("add \"main\", or remove it"));
                }
            }
        }
        let directory = node.get("directory").filter(|directory| !directory.is_empty());
        if directory.is_none() {
            let warning = self.settings.warning(entry, "there are no assets: \"assets\" names no directory");
            self.warnings.push(warning.hint("add \"directory\", for example \"./public\""));
        }
        Some(Assets {
            directory: text("directory").map(|directory| files::absolute(self.folder, Path::new(directory))),
            binding: text("binding").map(str::to_owned),
            settings,
            location: directory.map(|directory| self.settings.document.location(&directory.span)),
        })
    }

    pub(super) fn build(&self) -> Option<CustomBuild> {
        let node = self.settings.get("build")?;
        let command = node.get("command").and_then(Node::as_str).filter(|command| !command.trim().is_empty())?;
        let folder = |path: &str| files::absolute(self.folder, Path::new(path));
        let watch_dirs = match node.get("watch_dir") {
            Some(node) if node.as_str().is_some() => node.as_str().into_iter().map(folder).collect(),
            Some(node) => node.strings().iter().map(|path| folder(path)).collect(),
            None => vec![folder("src")],
        };
        let cwd = node.get("cwd").and_then(Node::as_str).map_or_else(|| self.folder.to_owned(), folder);
        Some(CustomBuild { command: command.to_owned(), cwd, watch_dirs })
    }

    /// The files of `wasm_modules`, `text_blobs` and `data_blobs`.
    pub(super) fn blobs(&self) -> Vec<(String, RuleKind, std::path::PathBuf)> {
        let keys =
            [("wasm_modules", RuleKind::CompiledWasm), ("text_blobs", RuleKind::Text), ("data_blobs", RuleKind::Data)];
        let blob = |(key, kind)| {
            let files = self.settings.string_map(key);
            files.into_iter().map(move |(name, path)| (name, kind, files::absolute(self.folder, Path::new(&path))))
        };
        keys.into_iter().flat_map(blob).collect()
    }

    /// `define`, whose values must be expressions: esbuild's rule, which is wrangler's.
    pub(super) fn define(&mut self) -> Vec<(String, String)> {
        for entry in self.settings.get("define").map_or(&[][..], Node::entries) {
            let Some(value) = entry.node.as_str() else { continue };
            let is_json = serde_json::from_str::<serde_json::Value>(value).is_ok();
            if !is_json && !is_dotted_name(value) {
                let error = self
                    .settings
                    .error(&entry.node, format!("the value of \"define.{}\" is neither JSON nor a name", entry.key));
                let quoted = serde_json::Value::from(serde_json::Value::from(value).to_string()).to_string();
                self.errors.push(error.hint(format!("a text has quotes of its own: {quoted}")));
            }
            if !is_dotted_name(&entry.key) {
                let error = Diagnostic::error(format!("\"{}\" is no name that \"define\" could replace", entry.key));
                let error = error.at(self.settings.document.location(&entry.key_span));
                self.errors.push(error.hint("write an identifier, or several with dots between: a.b"));
            }
        }
        self.settings.string_map("define")
    }

    /// `alias`, of which none may lead back to itself.
    pub(super) fn alias(&mut self) -> Vec<(String, String)> {
        let alias = self.settings.string_map("alias");
        for entry in self.settings.get("alias").map_or(&[][..], Node::entries) {
            let mut way = vec![entry.key.as_str()];
            let next = |from: &str| alias.iter().find(|(name, _)| name == from).map(|(_, to)| to.as_str());
            while let Some(to) = way.last().and_then(|from| next(from)) {
                if way.contains(&to) {
                    way.push(to);
                    break;
                }
                way.push(to);
            }
            // each circle is reported once: by the first of its names
            if way.len() > 1 && way.first() == way.last() && way.iter().min() == way.first() {
                let error = Diagnostic::error(format!("this alias leads back to itself: {}", way.join(" → ")));
                let error = error.at(self.settings.document.location(&entry.key_span));
                self.errors.push(error.hint("let it end at a file or a package"));
            }
        }
        alias
    }
}

/// Whether a text is an identifier, or several with dots between.
fn is_dotted_name(text: &str) -> bool {
    let is_start = |char: char| char.is_alphabetic() || char == '_' || char == '$';
    let is_name =
        |name: &str| name.starts_with(is_start) && name.chars().all(|char| is_start(char) || char.is_numeric());
    text.split('.').all(is_name)
}

/// The number, if it is a whole one in that range.
fn whole_number(node: &Node, least: u64, most: u128) -> Option<u64> {
    let number =
        node.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0 && *number < 9_007_199_254_740_992.0)?;
    let number = number as u64;
    (number >= least && u128::from(number) <= most).then_some(number)
}
