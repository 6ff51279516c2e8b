//! The part of bundling that only Workers have, as a plugin of rolldown: aliases, modules that are not bundled, modules of the
//! runtime, and what those who import them should know.
//!
//! It remembers what it saw module by module, because rolldown asks again only about modules that changed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nodejs_built_in_modules::is_nodejs_builtin_module;
use oxc::ast::ast::{AccessorProperty, Decorator};
use oxc::ast_visit::Visit;
use oxc::span::Span;
use rolldown_common::{ImportKind, ModuleInfo, ModuleType, ResolvedExternal};
use rolldown_plugin::{
    HookBuildEndArgs, HookLoadArgs, HookLoadOutput, HookLoadReturn, HookNoopReturn, HookResolveIdArgs,
    HookResolveIdOutput, HookResolveIdReturn, HookTransformAstArgs, HookTransformAstReturn, HookUsage, Plugin,
    PluginContext, PluginContextResolveOptions, SharedLoadPluginContext,
};

use super::memory::{Collected, Memory, Refusal, Seen, Unknown, lock};
use crate::files;
use crate::rules::{RuleKind, Rules};

/// Begins the id of a module that gives a runtime module to `require()`.
const REQUIRED: &str = "\0skep-require:";
/// Begins the id of a module that stands for a global variable of the service worker format.
const GLOBAL: &str = "\0skep-global:";

/// Extensions of files that rolldown bundles.
const BUNDLED: &[&str] = &["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "json"];

#[derive(Debug)]
pub(super) struct WorkerPlugin {
    pub(super) root: PathBuf,
    pub(super) alias: HashMap<String, String>,
    pub(super) rules: Rules,
    /// The folder that the names of additional modules are seen from.
    pub(super) module_root: PathBuf,
    /// Files that are uploaded as they are because `find_additional_modules` found them.
    pub(super) additional: HashSet<PathBuf>,
    pub(super) preserve_file_names: bool,
    pub(super) is_service_worker: bool,
    /// Whether decorators are compiled as TypeScript had them before the standard.
    pub(super) has_legacy_decorators: bool,
    pub(super) memory: Arc<Mutex<Memory>>,
}

/// An import to resolve.
struct Request<'a> {
    /// As written, or what an alias made of it.
    specifier: &'a str,
    /// The module that imports it.
    importer: Option<&'a str>,
    /// The file that a relative path is seen from: the importer, or for an alias a file in the project's folder.
    seen_from: Option<&'a str>,
    kind: ImportKind,
}

impl Request<'_> {
    fn extra(&self) -> PluginContextResolveOptions {
        PluginContextResolveOptions { import_kind: self.kind, ..PluginContextResolveOptions::default() }
    }
}

impl WorkerPlugin {
    fn see(&self, importer: Option<&str>, note: impl FnOnce(&mut Seen)) {
        if let Some(importer) = importer.filter(|importer| !importer.starts_with('\0')) {
            note(lock(&self.memory).seen.entry(importer.to_owned()).or_default());
        }
    }

    /// A module of the runtime: stays an import. `require()` of it goes through a module of ours, because the output has none.
    fn runtime_module(&self, request: &Request<'_>, specifier: &str) -> HookResolveIdOutput {
        if request.kind == ImportKind::Require {
            return HookResolveIdOutput::from_id(format!("{REQUIRED}{specifier}"));
        }
        external(specifier)
    }

    /// A module that is not bundled.
    async fn collect(
        &self,
        ctx: &PluginContext,
        request: &Request<'_>,
        kind: RuleKind,
    ) -> anyhow::Result<HookResolveIdOutput> {
        let written = request.specifier.split('?').next().unwrap_or(request.specifier);
        let resolved = ctx.resolve(written, request.seen_from, Some(request.extra())).await?;
        let beside = request.seen_from.and_then(|importer| Path::new(importer).parent()).unwrap_or(&self.root);
        let path = match resolved {
            Ok(resolved) => PathBuf::from(resolved.id.as_str()),
            Err(_) => files::absolute(beside, Path::new(written)),
        };
        let Ok(content) = std::fs::read(&path) else {
            self.see(request.importer, |seen| seen.refused.push((request.specifier.to_owned(), Refusal::NotFound)));
            return Ok(external(request.specifier));
        };
        let specifier = self.collected_specifier(&path, &content);
        let module = Collected { kind, path, content: content.into() };
        lock(&self.memory).collected.insert(specifier.clone(), module);
        self.see(request.importer, |seen| {
            seen.collected.insert(specifier.clone());
        });
        if self.is_service_worker {
            return Ok(HookResolveIdOutput::from_id(format!("{GLOBAL}{}", global_name(&specifier))));
        }
        Ok(external(&specifier))
    }

    /// What a collected module is imported by in the output: its content's hash and its name, or its path.
    fn collected_specifier(&self, path: &Path, content: &[u8]) -> String {
        let hash = super::sha1_hex(content);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match path.strip_prefix(&self.module_root) {
            Ok(path) if self.preserve_file_names => format!("./{}", slashes(path)),
            _ if self.preserve_file_names => format!("./{hash}/{name}"),
            _ => format!("./{hash}-{name}"),
        }
    }

    /// Where an alias leads, and the specifier it leads to.
    fn unaliased<'a>(&'a self, specifier: &'a str) -> Option<&'a str> {
        let mut target = self.alias.get(specifier)?;
        while let Some(next) = self.alias.get(target) {
            target = next;
        }
        Some(target)
    }

    async fn resolve(&self, ctx: &PluginContext, request: &Request<'_>) -> HookResolveIdReturn {
        let specifier = request.specifier;
        if is_runtime_module(specifier) {
            self.see(request.importer, |seen| {
                let names = if specifier.starts_with("node:") { &mut seen.builtins } else { &mut seen.runtime };
                names.insert(specifier.to_owned());
            });
            return Ok(Some(self.runtime_module(request, specifier)));
        }
        let with_code = !self.additional.is_empty();
        if let Some(kind) = self.rules.for_import(specifier, with_code)
            && let Some(output) = self.by_rule(ctx, request, kind).await?
        {
            return Ok(Some(output));
        }
        if let Some(kind) = self.rules.shadowed_for_import(specifier) {
            self.see(request.importer, |seen| seen.refused.push((specifier.to_owned(), Refusal::Shadowed(kind))));
            return Ok(Some(external(specifier)));
        }
        let is_path = specifier.starts_with(['.', '/']);
        let is_url = specifier.starts_with('\0') || specifier.contains(':');
        let extension = Path::new(specifier).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if is_url || request.importer.is_none() || (is_path && (extension.is_empty() || BUNDLED.contains(&extension))) {
            return Ok(None);
        }
        if let Ok(resolved) = ctx.resolve(specifier, request.seen_from, Some(request.extra())).await? {
            let extension = Path::new(resolved.id.as_str())
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            if extension.is_empty() || BUNDLED.contains(&extension) {
                return Ok(None);
            }
            let refusal = Refusal::NoRule(extension.to_owned());
            self.see(request.importer, |seen| seen.refused.push((specifier.to_owned(), refusal)));
            return Ok(Some(external(specifier)));
        }
        if is_path {
            return Ok(None);
        }
        if is_nodejs_builtin_module(specifier) {
            self.see(request.importer, |seen| {
                seen.builtins.insert(specifier.to_owned());
            });
            return Ok(Some(self.runtime_module(request, &format!("node:{specifier}"))));
        }
        self.see(request.importer, |seen| match request.kind {
            ImportKind::Require => seen.missing_required = true,
            _ => {
                seen.missing.insert(specifier.to_owned());
            }
        });
        Ok(None)
    }

    /// An import that a rule fits: a file that is uploaded anyway, or a module that is not bundled.
    async fn by_rule(&self, ctx: &PluginContext, request: &Request<'_>, kind: RuleKind) -> HookResolveIdReturn {
        if !self.additional.is_empty()
            && let Ok(resolved) = ctx.resolve(request.specifier, request.seen_from, Some(request.extra())).await?
            && let path = PathBuf::from(resolved.id.as_str())
            && self.additional.contains(&path)
            && let Ok(name) = path.strip_prefix(&self.module_root)
        {
            return Ok(Some(external(&format!("./{}", slashes(name)))));
        }
        if matches!(kind, RuleKind::EsModule | RuleKind::CommonJs) {
            return Ok(None);
        }
        self.collect(ctx, request, kind).await.map(Some)
    }
}

/// Modules that only the runtime has.
fn is_runtime_module(specifier: &str) -> bool {
    ["node:", "cloudflare:", "workerd:"].iter().any(|prefix| specifier.starts_with(prefix))
}

fn external(specifier: &str) -> HookResolveIdOutput {
    HookResolveIdOutput { external: Some(ResolvedExternal::Bool(true)), ..HookResolveIdOutput::from_id(specifier) }
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

/// The global variable that stands for a collected module in the service worker format.
pub(super) fn global_name(specifier: &str) -> String {
    let name = specifier.strip_prefix("./").unwrap_or(specifier);
    let name: String =
        name.chars().map(|char| if char.is_ascii_alphanumeric() || char == '$' { char } else { '_' }).collect();
    format!("_{name}")
}

/// Looks for the first piece of syntax that V8 does not know and that rolldown does not compile.
struct UnknownSyntax {
    has_legacy_decorators: bool,
    found: Option<Unknown>,
}

impl UnknownSyntax {
    fn note(&mut self, name: &'static str, span: Span) {
        self.found.get_or_insert(Unknown { name, span: span.start as usize..span.end as usize });
    }
}

impl<'a> Visit<'a> for UnknownSyntax {
    fn visit_decorator(&mut self, decorator: &Decorator<'a>) {
        if !self.has_legacy_decorators {
            self.note("a decorator", decorator.span);
        }
    }

    fn visit_accessor_property(&mut self, property: &AccessorProperty<'a>) {
        self.note("an accessor", property.span);
    }
}

impl Plugin for WorkerPlugin {
    fn name(&self) -> Cow<'static, str> {
        "skep:worker".into()
    }

    fn register_hook_usage(&self) -> HookUsage {
        HookUsage::ResolveId | HookUsage::Load | HookUsage::TransformAst | HookUsage::BuildEnd
    }

    async fn resolve_id(&self, ctx: &PluginContext, args: &HookResolveIdArgs<'_>) -> HookResolveIdReturn {
        let Some(target) = self.unaliased(args.specifier) else {
            let (importer, kind) = (args.importer, args.kind);
            return self
                .resolve(ctx, &Request { specifier: args.specifier, importer, seen_from: importer, kind })
                .await;
        };
        let from_root = self.root.join("package.json").to_string_lossy().into_owned();
        let request =
            Request { specifier: target, importer: args.importer, seen_from: Some(&from_root), kind: args.kind };
        if let Some(output) = self.resolve(ctx, &request).await? {
            return Ok(Some(output));
        }
        let resolved = ctx.resolve(target, Some(&from_root), Some(request.extra())).await?;
        Ok(resolved.ok().map(HookResolveIdOutput::from_resolved_id))
    }

    async fn load(&self, _ctx: SharedLoadPluginContext, args: &HookLoadArgs<'_>) -> HookLoadReturn {
        lock(&self.memory).seen.remove(args.id);
        let code = |code: String, module_type| {
            Ok(Some(HookLoadOutput { code: code.into(), module_type: Some(module_type), ..Default::default() }))
        };
        if let Some(specifier) = args.id.strip_prefix(REQUIRED) {
            let specifier = serde_json::Value::from(specifier);
            return code(format!("import exported from {specifier};\nmodule.exports = exported;\n"), ModuleType::Js);
        }
        if let Some(name) = args.id.strip_prefix(GLOBAL) {
            return code(format!("export default {name};\n"), ModuleType::Js);
        }
        let path = Path::new(args.id.split('?').next().unwrap_or(args.id));
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        // JSX is allowed in plain JavaScript too, but compiling every package for its sake would cost time
        if matches!(extension, "js" | "mjs" | "cjs")
            && !path.components().any(|part| part.as_os_str() == "node_modules")
        {
            return code(tokio::fs::read_to_string(path).await?, ModuleType::Jsx);
        }
        Ok(None)
    }

    async fn transform_ast(&self, _ctx: &PluginContext, args: HookTransformAstArgs<'_>) -> HookTransformAstReturn {
        let source = args.ast.source();
        if !args.id.contains("node_modules") && (source.contains('@') || source.contains("accessor")) {
            let mut finder = UnknownSyntax { has_legacy_decorators: self.has_legacy_decorators, found: None };
            finder.visit_program(args.ast.program());
            if let Some(unknown) = finder.found {
                self.see(Some(args.id), |seen| seen.unknown = Some(unknown));
            }
        }
        Ok(args.ast)
    }

    async fn build_end(&self, ctx: &PluginContext, args: Option<&HookBuildEndArgs<'_>>) -> HookNoopReturn {
        let modules: Vec<Arc<ModuleInfo>> =
            ctx.get_module_ids().iter().filter_map(|id| ctx.get_module_info(id)).collect();
        let by_id: HashMap<&str, &ModuleInfo> = modules.iter().map(|module| (module.id.as_str(), &**module)).collect();
        let mut queue: VecDeque<&ModuleInfo> = by_id.values().filter(|module| module.is_entry).copied().collect();
        let mut reached: BTreeSet<String> = queue.iter().map(|module| module.id.to_string()).collect();
        while let Some(module) = queue.pop_front() {
            let imported = module.imported_ids.iter().chain(&module.dynamically_imported_ids);
            for module in imported.filter_map(|id| by_id.get(id.as_str())) {
                if reached.insert(module.id.to_string()) {
                    queue.push_back(module);
                }
            }
        }
        if args.is_some() {
            // the graph is not complete: what stands in it was read, that is all
            reached.extend(by_id.keys().map(|id| (*id).to_owned()));
        }
        let mut memory = lock(&self.memory);
        memory.reached = reached;
        memory.modules = modules;
        Ok(())
    }
}
