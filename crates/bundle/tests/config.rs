//! Configurations: what each one says, and what is said of each mistake in one.

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;
use skep_bundle::{Mode, Options, Project};
use support::options;

/// Opens a project that has only a configuration, and shows what came of it.
fn open(file: &str, text: &str, change: impl Fn(&mut Options)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join(file), text).unwrap();
    let mut options = options(&root, Mode::Dev);
    change(&mut options);
    let shown = match Project::open(options) {
        Ok(project) => {
            let warnings: Vec<String> = project.warnings().iter().map(ToString::to_string).collect();
            let config = project.config();
            let mut shown = format!(
                "ok: {:?} {:?}",
                config.name,
                config
                    .main
                    .as_deref()
                    .map_or(std::path::Path::new("no script"), |main| main.strip_prefix(&root).unwrap_or(main))
            );
            for binding in &config.bindings {
                let _ = write!(shown, "\n{} = {:?}", binding.name, binding.kind);
            }
            warnings.iter().fold(shown, |shown, warning| format!("{shown}\n{warning}"))
        }
        Err(error) => error.warnings.iter().fold(error.to_string(), |shown, warning| format!("{shown}\n{warning}")),
    };
    shown.replace(&root.display().to_string(), "<root>")
}

fn cases(name: &str, file: &str, cases: &[&str]) {
    let shown = cases.iter().fold(String::new(), |mut shown, text| {
        let _ = write!(shown, "{text}\n----\n{}\n\n========\n", open(file, text, |_| {}));
        shown
    });
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, shown);
    });
}

#[test]
fn json() {
    cases(
        "config-json",
        "wrangler.jsonc",
        &[
            // what is right
            r#"{ "name": "a", "main": "b.js", "compatibility_date": "2026-10-06" }"#,
            r#"{ "$schema": "x", "account_id": "x", "send_metrics": false, "name": "a", "main": "b.js", "compatibility_date": "2026-10-06", "routes": ["a.com/*", { "pattern": "b.com", "custom_domain": true }], "workers_dev": true }"#,
            // values of the wrong kind
            r#"{ "main": 3 }"#,
            r#"{ "main": "b.js", "minify": "yes", "compatibility_flags": "nodejs_compat", "vars": [], "rules": [{ "type": "Txt", "globs": [1] }], "limits": { "cpu_ms": "10" } }"#,
            r#"{ "main": "b.js", "kv_namespaces": [{ "id": "x" }], "dev": { "local_protocol": "htps" } }"#,
            r#"{ "main": "b.js", "env": { "staging": { "main": true } } }"#,
            // keys that do not exist
            r#"{ "main": "b.js", "compatiblity_date": "2026-10-06" }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "whatever": 1, "limits": { "cpu": 10 }, "kv_namespaces": [{ "binding": "KV", "idd": "x" }] }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "build": { "minify": true }, "env": { "a": { "alias": {}, "nmae": "x" } } }"#,
            // keys without effect
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "site": { "bucket": "public" }, "tail_consumers": [{ "service": "x" }], "previews": {}, "containers": [], "logfwdr": { "bindings": [] } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "assets": { "directory": "public", "binding": "ASSETS" } }"#,
            // values that make no sense
            r#"{ "name": "Has Space", "main": "b.js", "compatibility_date": "2026-10-06" }"#,
            r#"{ "main": "b.js" }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-13-06" }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-07" }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "compatibility_flags": ["nodejs_compact"] }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "compatibility_flags": ["nodejs_compat", "global_navigator", "no_global_navigator"] }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "limits": { "cpu_ms": 300001, "subrequests": 1.5 } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "dev": { "port": 70000, "ip": "here" }, "observability": { "enabled": true, "head_sampling_rate": 2 } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "alias": { "a": "b", "b": "c", "c": "a", "self": "self", "fine": "a" } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "rules": [{ "type": "Text", "globs": [] }] }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "rules": [{ "type": "PythonModule", "globs": ["**/*.py"] }, { "type": "Text", "globs": ["**/*.md"] }] }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "vars": { "A": "x" }, "kv_namespaces": [{ "binding": "A", "id": "x" }] }"#,
            r#"{ "compatibility_date": "2026-10-06" }"#,
            r#"{ "compatibility_date": "2026-10-06", "assets": { "directory": "public" } }"#,
            r#"{ "compatibility_date": "2026-10-06", "assets": { "directory": "public", "binding": "ASSETS", "run_worker_first": true } }"#,
            r#"{ "compatibility_date": "2026-10-06", "assets": { "binding": "ASSETS" } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "assets": { "binding": "ASSETS" } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "assets": { "directory": "public", "run_worker_first": ["api/*"], "base_path": "https://a.b/c" } }"#,
            r#"{ "main": "b.js", "compatibility_date": "2026-10-06", "assets": { "directory": "public", "run_worker_first": [], "html_handling": "slash" } }"#,
            // what is not JSON
            "{ \"main\": \"b.js\"",
            "{ 'main': \"b.js\" }",
            "",
        ],
    );
}

#[test]
fn toml() {
    cases(
        "config-toml",
        "wrangler.toml",
        &[
            "name = \"a\"\nmain = \"b.js\"\ncompatibility_date = 2026-10-06\n[vars]\nA = \"x\"\n[[kv_namespaces]]\nbinding = \"KV\"\nid = \"x\"\n",
            "name = \"a\"\n[build]\ncommand = \"make\"\nmain = \"b.js\"\ncompatibility_date = \"2026-10-06\"\n",
            "name = \"a\nmain = \n",
            "name = \"a\"\nname = \"b\"\n",
            "main = true\n[env.staging]\nvars = 1\n",
        ],
    );
}

#[test]
fn bindings_of_every_kind() {
    let text = r#"{
        "main": "b.js", "compatibility_date": "2026-10-06",
        "vars": { "TEXT": "a", "NUMBER": 1, "LIST": [1, "b"], "NOTHING": null },
        "kv_namespaces": [{ "binding": "KV" }], "r2_buckets": [{ "binding": "R2" }], "d1_databases": [{ "binding": "D1" }],
        "queues": { "producers": [{ "binding": "QUEUE" }], "consumers": [] }, "vectorize": [{ "binding": "VECTORIZE", "index_name": "x" }],
        "durable_objects": { "bindings": [{ "name": "OBJECT", "class_name": "X" }] }, "services": [{ "binding": "SERVICE", "service": "x" }, { "binding": "PART", "service": "x", "entrypoint": "Part", "props": { "a": [1] } }],
        "workflows": [{ "binding": "WORKFLOW", "name": "x", "class_name": "X" }], "hyperdrive": [{ "binding": "HYPERDRIVE", "id": "x" }],
        "analytics_engine_datasets": [{ "binding": "ANALYTICS" }], "send_email": [{ "name": "EMAIL" }], "ai": { "binding": "AI" },
        "browser": { "binding": "BROWSER" }, "images": { "binding": "IMAGES" }, "version_metadata": { "binding": "VERSION" },
        "mtls_certificates": [{ "binding": "MTLS", "certificate_id": "x" }], "dispatch_namespaces": [{ "binding": "DISPATCH" }],
        "ratelimits": [{ "name": "RATE", "namespace_id": "1", "simple": { "limit": 1, "period": 10 } }],
        "secrets_store_secrets": [{ "binding": "STORED", "store_id": "x", "secret_name": "x" }],
        "unsafe": { "bindings": [{ "name": "UNSAFE", "type": "custom", "anything": 1 }, { "name": "OLD_RATE", "type": "ratelimit", "namespace_id": "2", "simple": { "limit": 5, "period": 60 } }] }
    }"#;
    let shown = open("wrangler.jsonc", text, |_| {});
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("config-bindings", shown);
    });
}

#[test]
fn rate_limits() {
    let limit = |simple: &str| {
        format!(
            r#"{{ "main": "b.js", "compatibility_date": "2026-10-06", "unsafe": {{ "bindings": [{{ "name": "RATE", "type": "ratelimit", "namespace_id": "1"{simple} }}] }} }}"#
        )
    };
    let texts = [
        limit(r#", "simple": { "limit": 100, "period": 60 }"#),
        limit(r#", "simple": { "limit": 0, "period": 30 }"#),
        limit(r#", "simple": { "limit": 1.5, "period": "60" }"#),
        limit(""),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    cases("config-rate-limits", "wrangler.jsonc", &texts);
}

#[test]
fn environments() {
    let text = r#"{
        "name": "shop", "main": "top.js", "compatibility_date": "2026-10-06",
        "vars": { "A": "top" }, "kv_namespaces": [{ "binding": "KV" }], "define": { "X": "1" }, "queues": { "producers": [] },
        "env": {
            "staging": { "main": "staging.js", "vars": { "A": "staging" } },
            "production": { "name": "the-shop", "kv_namespaces": [], "vars": {}, "define": {} }
        }
    }"#;
    let mut shown = String::new();
    for environment in ["", "staging", "production", "stagin", "elsewhere"] {
        let result = open("wrangler.jsonc", text, |options| options.environment = Some(environment.to_owned()));
        let _ = write!(shown, "--env {environment:?}\n----\n{result}\n\n========\n");
    }
    let none = open("wrangler.toml", "name = \"a\"\nmain = \"b.js\"\n", |options| {
        options.environment = Some("staging".to_owned())
    });
    let _ = write!(shown, "--env staging, without environments\n----\n{none}\n");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("config-environments", shown);
    });
}

#[test]
fn what_concerns_deploys_only() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{
        "name": "a", "main": "b.js", "compatibility_date": "2026-10-06", "workers_dev": false, "keep_vars": true,
        "routes": ["a.com/*", { "pattern": "b.com", "custom_domain": true }, { "pattern": "c.com/*", "zone_name": "c.com" }],
        "triggers": { "crons": [] }, "placement": { "mode": "smart" }, "migrations": [{ "tag": "v1", "new_classes": ["X"] }],
        "kv_namespaces": [{ "binding": "KV", "id": "k", "preview_id": "p" }, { "binding": "NEW" }],
        "d1_databases": [{ "binding": "D1", "database_name": "orders", "database_id": "d", "migrations_dir": "m" }],
        "queues": { "producers": [{ "binding": "QUEUE", "queue": "jobs", "delivery_delay": 5 }] },
        "workflows": [{ "binding": "FLOW", "name": "flow", "class_name": "Flow" }],
        "durable_objects": { "bindings": [{ "name": "OBJECT", "class_name": "X" }] },
        "services": [{ "binding": "SERVICE", "service": "x", "entrypoint": "Part", "remote": true }],
        "ratelimits": [{ "name": "LIMIT", "namespace_id": "1", "simple": { "limit": 1, "period": 60 } }],
        "assets": { "directory": "public", "binding": "ASSETS" }
    }"#;
    std::fs::write(folder.path().join("wrangler.jsonc"), text).unwrap();
    let project = Project::open(options(folder.path(), Mode::Deploy)).unwrap();
    let deploy = &project.config().deploy;
    assert_eq!((deploy.workers_dev, deploy.preview_urls, deploy.keep_vars), (Some(false), None, true));
    assert_eq!(deploy.crons, Some(Vec::new()));
    let routes: Vec<_> = deploy.routes.iter().map(|route| (route.pattern.as_str(), route.custom_domain)).collect();
    assert_eq!(routes, [("a.com/*", false), ("b.com", true), ("c.com/*", false)]);
    assert_eq!(deploy.routes[2].zone_name.as_deref(), Some("c.com"));
    assert_eq!(deploy.migrations, [json!({ "tag": "v1", "new_classes": ["X"] })]);
    assert_eq!(deploy.settings.get("placement"), Some(&json!({ "mode": "smart" })));
    assert_eq!(
        json!(deploy.bindings),
        json!([
            { "name": "KV", "type": "kv_namespace", "namespace_id": "k" },
            { "name": "NEW", "type": "kv_namespace" },
            { "name": "D1", "type": "d1", "id": "d" },
            { "name": "QUEUE", "type": "queue", "queue_name": "jobs", "delivery_delay": 5 },
            { "name": "LIMIT", "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 1, "period": 60 } },
            { "name": "ASSETS", "type": "assets" },
            { "name": "OBJECT", "type": "durable_object_namespace", "class_name": "X" },
            { "name": "SERVICE", "type": "service", "service": "x", "entrypoint": "Part" },
            { "name": "FLOW", "type": "workflow", "workflow_name": "flow", "class_name": "Flow" },
        ])
    );
}

#[test]
fn the_command_line_wins() {
    let text = r#"{ "name": "a", "main": "b.js", "compatibility_date": "2020-01-01", "vars": { "A": "config", "B": "config" } }"#;
    let shown = open("wrangler.jsonc", text, |options| {
        options.name = Some("other".to_owned());
        options.main = Some(PathBuf::from("c.js"));
        options.compatibility_date = Some("2026-10-06".to_owned());
        options.vars = vec![("A".to_owned(), "1:2".to_owned())];
    });
    assert_eq!(shown, "ok: Some(\"other\") \"c.js\"\nB = PlainText(\"config\")\nA = PlainText(\"1:2\")");
    assert_eq!(skep_bundle::parse_var("A:1:2"), Ok(("A".to_owned(), "1:2".to_owned())));
    assert!(skep_bundle::parse_var("A").is_err());
}

#[test]
fn json_comes_before_jsonc_and_toml_and_folders_above_count() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let deep = root.join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let mut found = Vec::new();
    for file in ["wrangler.toml", "wrangler.jsonc", "wrangler.json"] {
        let text = if file.ends_with("toml") { "main = \"x.js\"" } else { "{ \"main\": \"x.js\" }" };
        std::fs::write(root.join(file), text).unwrap();
        let project = Project::open(options(&deep, Mode::Dev)).unwrap();
        found.push(project.config().path.clone().unwrap().file_name().unwrap().to_string_lossy().into_owned());
    }
    assert_eq!(found, ["wrangler.toml", "wrangler.jsonc", "wrangler.json"]);
}
