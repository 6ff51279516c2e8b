//! Module rules: by its name, what kind of module a file is that is not bundled.
//!
//! <https://developers.cloudflare.com/workers/wrangler/bundling/#including-non-javascript-modules>. The default rules come
//! after those of the configuration; a rule without `fallthrough` ends its kind.

use regex::Regex;
use serde::Serialize;

/// What a rule makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RuleKind {
    /// An ES module that is uploaded as it is.
    #[serde(rename = "ESModule")]
    EsModule,
    /// A CommonJS module that is uploaded as it is.
    #[serde(rename = "CommonJS")]
    CommonJs,
    /// A `WebAssembly.Module`.
    CompiledWasm,
    /// A string.
    Text,
    /// An `ArrayBuffer`.
    Data,
}

impl RuleKind {
    /// The kind by the configuration's name for it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::EsModule, Self::CommonJs, Self::CompiledWasm, Self::Text, Self::Data]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The configuration's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EsModule => "ESModule",
            Self::CommonJs => "CommonJS",
            Self::CompiledWasm => "CompiledWasm",
            Self::Text => "Text",
            Self::Data => "Data",
        }
    }

    /// Whether it is code that the bundler would otherwise take in.
    const fn is_code(self) -> bool {
        matches!(self, Self::EsModule | Self::CommonJs)
    }

    /// What importing such a module gives, in TypeScript.
    pub(crate) const fn typescript(self) -> Option<&'static str> {
        match self {
            Self::EsModule | Self::CommonJs => None,
            Self::CompiledWasm => Some("WebAssembly.Module"),
            Self::Text => Some("string"),
            Self::Data => Some("ArrayBuffer"),
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it makes of a file.
    pub kind: RuleKind,
    /// Which files, as patterns with `*` and `**`.
    pub globs: Vec<String>,
    /// Whether later rules of the same kind count too.
    pub fallthrough: Option<bool>,
}

fn default_rules() -> [Rule; 3] {
    let rule = |kind, globs: &[&str]| Rule {
        kind,
        globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        fallthrough: None,
    };
    [
        rule(RuleKind::Text, &["**/*.txt", "**/*.html", "**/*.sql"]),
        rule(RuleKind::Data, &["**/*.bin"]),
        rule(RuleKind::CompiledWasm, &["**/*.wasm", "**/*.wasm?module"]),
    ]
}

/// The configuration's rules and the default ones, ready to match.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    active: Vec<Compiled>,
    shadowed: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    rule: Rule,
    /// For a file's path below a folder.
    for_path: Vec<Regex>,
    /// For a specifier as an import writes it: there `*` runs over slashes, so that `**/*.txt` fits `./a.txt`.
    for_import: Vec<Regex>,
}

impl Rules {
    /// Takes the configuration's rules. The second value is the kinds whose default or later rules they silently end:
    /// each wants a warning.
    pub(crate) fn new(configured: &[Rule]) -> (Self, Vec<RuleKind>) {
        let mut rules = Self { active: Vec::new(), shadowed: Vec::new() };
        let mut ended: Vec<(RuleKind, Option<bool>)> = Vec::new();
        let mut silently = Vec::new();
        for rule in configured.iter().cloned().chain(default_rules()) {
            if let Some((kind, fallthrough)) = ended.iter().find(|(kind, _)| *kind == rule.kind) {
                if fallthrough.is_none() && !silently.contains(kind) {
                    silently.push(*kind);
                }
                rules.shadowed.push(Compiled::new(rule));
                continue;
            }
            if rule.fallthrough != Some(true) {
                ended.push((rule.kind, rule.fallthrough));
            }
            rules.active.push(Compiled::new(rule));
        }
        (rules, silently)
    }

    /// What the file behind an import is, if a rule says so. Rules for code count only where `code_too`.
    pub(crate) fn for_import(&self, specifier: &str, code_too: bool) -> Option<RuleKind> {
        let found = self.active.iter().find(|rule| {
            (code_too || !rule.rule.kind.is_code()) && rule.for_import.iter().any(|glob| glob.is_match(specifier))
        });
        found.map(|rule| rule.rule.kind)
    }

    /// A rule that would fit the import if an earlier one of its kind had `fallthrough`.
    pub(crate) fn shadowed_for_import(&self, specifier: &str) -> Option<RuleKind> {
        let found = self.shadowed.iter().find(|rule| rule.for_import.iter().any(|glob| glob.is_match(specifier)));
        found.map(|rule| rule.rule.kind)
    }

    /// What a file is, by its path below the folder of additional modules, with slashes.
    pub(crate) fn for_path(&self, path: &str) -> Option<RuleKind> {
        let found = self.active.iter().find(|rule| rule.for_path.iter().any(|glob| glob.is_match(path)));
        found.map(|rule| rule.rule.kind)
    }

    /// The active rules in order: kind and patterns.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Rule> {
        self.active.iter().map(|rule| &rule.rule)
    }
}

impl Compiled {
    fn new(rule: Rule) -> Self {
        let for_path = rule.globs.iter().filter_map(|glob| expression(glob, true)).collect();
        let for_import = rule.globs.iter().filter_map(|glob| expression(glob, false)).collect();
        Self { rule, for_path, for_import }
    }
}

/// A pattern as a regular expression. With `segments`, `*` stays within a path's segment and `**` runs over any number of them;
/// without, each run of `*` stands for anything. All other characters stand for themselves.
fn expression(glob: &str, segments: bool) -> Option<Regex> {
    let mut pattern = String::from("^");
    let mut rest = glob;
    while let Some(char) = rest.chars().next() {
        if char != '*' {
            pattern.push_str(&regex::escape(&rest[..char.len_utf8()]));
            rest = &rest[char.len_utf8()..];
            continue;
        }
        let after = rest.trim_start_matches('*');
        let at_start = pattern == "^" || pattern.ends_with('/');
        if !segments {
            pattern.push_str(".*");
        } else if rest.len() - after.len() > 1 && at_start && (after.is_empty() || after.starts_with('/')) {
            pattern.push_str("(?:[^/]*(?:/|$))*");
            rest = after.strip_prefix('/').unwrap_or(after);
            continue;
        } else {
            pattern.push_str("[^/]*");
        }
        rest = after;
    }
    pattern.push('$');
    Regex::new(&pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::{Rule, RuleKind, Rules};

    fn rule(kind: RuleKind, glob: &str, fallthrough: Option<bool>) -> Rule {
        Rule { kind, globs: vec![glob.to_owned()], fallthrough }
    }

    #[test]
    fn the_default_rules() {
        let (rules, silently) = Rules::new(&[]);
        assert!(silently.is_empty());
        let check = |specifier: &str, expect: Option<RuleKind>| {
            assert_eq!(rules.for_import(specifier, false), expect, "{specifier}")
        };
        check("./a.txt", Some(RuleKind::Text));
        check("../x/y/a.html", Some(RuleKind::Text));
        check("pkg/a.wasm", Some(RuleKind::CompiledWasm));
        check("./a.wasm?module", Some(RuleKind::CompiledWasm));
        check("./a.bin", Some(RuleKind::Data));
        check("./a.txt.ts", None);
        check("./a.js", None);
        check("a.txt", None);
    }

    #[test]
    fn a_rule_without_fallthrough_ends_its_kind() {
        let (rules, silently) = Rules::new(&[rule(RuleKind::Text, "**/*.md", None)]);
        assert_eq!(silently, [RuleKind::Text]);
        assert_eq!(rules.for_import("./a.txt", false), None);
        assert_eq!(rules.shadowed_for_import("./a.txt"), Some(RuleKind::Text));
        let (rules, silently) = Rules::new(&[rule(RuleKind::Text, "**/*.md", Some(true))]);
        assert_eq!((rules.for_import("./a.txt", false), silently), (Some(RuleKind::Text), vec![]));
        let (rules, silently) = Rules::new(&[rule(RuleKind::Text, "**/*.md", Some(false))]);
        assert_eq!((rules.for_import("./a.txt", false), silently), (None, vec![]));
    }

    #[test]
    fn patterns_for_paths() {
        let check = |glob: &str, path: &str, expect: bool| {
            let (rules, _) = Rules::new(&[rule(RuleKind::EsModule, glob, None)]);
            assert_eq!(rules.for_path(path).is_some(), expect, "{glob} {path}");
        };
        check("**/*.js", "a.js", true);
        check("**/*.js", "a/b/c.js", true);
        check("**/*.js", "a/b/c.mjs", false);
        check("lang/*.js", "lang/de.js", true);
        check("lang/*.js", "lang/x/de.js", false);
        check("lang/**", "lang/x/de.js", true);
        check("a[0].js", "a[0].js", true);
        check("*.js", "a/b.js", false);
    }

    #[test]
    fn rules_for_code_count_for_additional_modules_only() {
        let (rules, _) = Rules::new(&[rule(RuleKind::EsModule, "**/*.mjs", None)]);
        assert_eq!(rules.for_import("./a.mjs", false), None);
        assert_eq!(rules.for_import("./a.mjs", true), Some(RuleKind::EsModule));
    }
}
