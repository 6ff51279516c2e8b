//! What rolldown is asked to do: the settings that esbuild gets from wrangler, in rolldown's words.
//!
//! Deploys leave out what is not used. Development does not try as hard: looking for unused code inside of modules takes most of
//! a build's time.

use std::path::Path;

use rolldown::{
    BundlerOptions, BundlerTransformOptions, CodeSplittingMode, CommentsOptions, Either, ExperimentalOptions,
    InputItem, JsxOptions, OutputFormat, Platform, RawMinifyOptions, ResolveOptions, SourceMapType, TsConfig,
};
use skep_worker::EntryFormat;

use crate::config::Config;
use crate::options::{Mode, Options};

/// The name of the output without its extension: the script's.
pub(super) fn output_name(main: &Path) -> String {
    main.file_stem().map_or_else(|| "index".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// rolldown's options for a Worker.
pub(super) fn rolldown_options(config: &Config, options: &Options, format: EntryFormat) -> BundlerOptions {
    let bundling = &config.bundling;
    BundlerOptions {
        input: Some(vec![InputItem {
            name: Some(output_name(config.script())),
            import: config.script().to_string_lossy().into_owned(),
        }]),
        cwd: Some(config.root.clone()),
        dir: Some(".".to_owned()),
        format: Some(match format {
            EntryFormat::Module => OutputFormat::Esm,
            EntryFormat::ServiceWorker => OutputFormat::Iife,
        }),
        // conditions and main fields for the web, then `workerd` and `worker` before `browser`
        platform: Some(Platform::Browser),
        resolve: Some(ResolveOptions {
            condition_names: Some(["workerd", "worker", "browser", "module"].map(str::to_owned).to_vec()),
            ..ResolveOptions::default()
        }),
        tsconfig: bundling.tsconfig.clone().map(TsConfig::Manual),
        transform: Some(BundlerTransformOptions {
            // decorators aside, V8 runs everything that TypeScript leaves over, `using` too
            target: Some(Either::Left("esnext".to_owned())),
            jsx: Some(Either::Right(jsx(config))),
            ..BundlerTransformOptions::default()
        }),
        define: Some(defines(config, options).into_iter().collect()),
        keep_names: Some(bundling.keep_names),
        minify: Some(match (bundling.minify, options.mode) {
            (true, _) => RawMinifyOptions::Bool(true),
            (false, Mode::Deploy) => RawMinifyOptions::DeadCodeEliminationOnly,
            (false, Mode::Dev) => RawMinifyOptions::Bool(false),
        }),
        comments: Some(CommentsOptions { legal: true, annotation: false, jsdoc: false }),
        sourcemap: Some(SourceMapType::Hidden),
        code_splitting: Some(CodeSplittingMode::Bool(false)),
        experimental: Some(ExperimentalOptions {
            incremental_build: Some(options.mode == Mode::Dev),
            ..ExperimentalOptions::default()
        }),
        ..BundlerOptions::default()
    }
}

/// Identifiers that are replaced: `process.env.NODE_ENV`, the user agent, and above them the configuration's.
fn defines(config: &Config, options: &Options) -> Vec<(String, String)> {
    let mode = match options.mode {
        Mode::Dev => "development",
        Mode::Deploy => "production",
    };
    let node_env = serde_json::Value::from(options.node_env.as_deref().unwrap_or(mode)).to_string();
    let mut defines: Vec<(String, String)> =
        ["process.env.NODE_ENV", "global.process.env.NODE_ENV", "globalThis.process.env.NODE_ENV"]
            .map(|name| (name.to_owned(), node_env.clone()))
            .to_vec();
    if config.compatibility.asks_for("global_navigator") {
        defines.push(("navigator.userAgent".to_owned(), "\"Cloudflare-Workers\"".to_owned()));
    }
    defines.retain(|(name, _)| !config.bundling.define.iter().any(|(own, _)| own == name));
    defines.extend(config.bundling.define.iter().cloned());
    defines
}

/// How JSX is compiled: as the TypeScript configuration says if it asks for the automatic runtime, else by calling a function.
fn jsx(config: &Config) -> JsxOptions {
    let bundling = &config.bundling;
    let compiler = compiler_options(config);
    let is_automatic = matches!(compiler.jsx.as_deref(), Some("react-jsx" | "react-jsxdev"));
    if is_automatic && bundling.jsx_factory.is_none() && bundling.jsx_fragment.is_none() {
        return JsxOptions::default();
    }
    JsxOptions {
        runtime: Some("classic".to_owned()),
        pragma: compiler.jsx_factory.or_else(|| bundling.jsx_factory.clone()),
        pragma_frag: compiler.jsx_fragment_factory.or_else(|| bundling.jsx_fragment.clone()),
        ..JsxOptions::default()
    }
}

/// Whether decorators are compiled as TypeScript had them before the standard.
pub(super) fn has_legacy_decorators(config: &Config) -> bool {
    compiler_options(config).experimental_decorators == Some(true)
}

/// The TypeScript configuration's words about JSX and decorators, with what it extends. A configuration that cannot be read has none: rolldown
/// reports it.
fn compiler_options(config: &Config) -> oxc_resolver::CompilerOptions {
    use oxc_resolver::{ResolveOptions, Resolver, TsconfigDiscovery, TsconfigOptions, TsconfigReferences};
    let discovery = config.bundling.tsconfig.clone().map_or(TsconfigDiscovery::Auto, |config_file| {
        TsconfigDiscovery::Manual(TsconfigOptions { config_file, references: TsconfigReferences::Auto })
    });
    let resolver = Resolver::new(ResolveOptions { tsconfig: Some(discovery), ..ResolveOptions::default() });
    let found = resolver.find_tsconfig(config.script()).ok().flatten();
    found.map(|tsconfig| tsconfig.compiler_options.clone()).unwrap_or_default()
}
