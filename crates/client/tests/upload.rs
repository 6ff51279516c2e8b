//! From a project on disk to the form that is uploaded.

use std::path::Path;

use serde_json::{Value, json};
use skep_bundle::{Build, Mode, Options, Project};
use skep_client::api::Annotations;
use skep_client::upload::{Said, Upload};

async fn built(files: &[(&str, &str)]) -> (tempfile::TempDir, Project, Build) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let options = Options::new(folder.path(), Mode::Deploy, "2026-10-06".parse().unwrap());
    let mut project = Project::open(options).unwrap();
    let build = project.build().await.unwrap();
    (folder, project, build)
}

fn upload(project: &Project, build: &Build, said: &Said) -> Upload {
    Upload::new(project.config(), build, &project.config().deploy.bindings, said)
}

#[tokio::test]
async fn modules_bindings_and_settings() {
    let (folder, project, build) = built(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "a", "main": "src/index.ts", "compatibility_date": "2026-10-06", "compatibility_flags": ["nodejs_als"],
                 "vars": { "TEXT": "t", "NUMBER": 1 }, "services": [{ "binding": "OTHER", "service": "other" }],
                 "secrets": { "required": ["TOKEN"] }, "limits": { "cpu_ms": 50 }, "observability": { "enabled": true },
                 "migrations": [{ "tag": "v1", "new_classes": ["A"] }, { "tag": "v2", "new_classes": ["B"] }] }"#,
        ),
        ("src/index.ts", "import note from './note.txt'; export default { fetch: (): Response => new Response(note) };"),
        ("src/note.txt", "hello"),
    ])
    .await;
    let said = Said {
        annotations: Annotations { message: Some("why".to_owned()), tag: Some("v1".to_owned()), triggered_by: None },
        keep_vars: false,
        assets: None,
        migration_tag: Some("v1".to_owned()),
    };
    let upload = upload(&project, &build, &said);
    let metadata = Value::Object(upload.metadata.clone());
    assert_eq!(metadata["main_module"], "index.js");
    assert_eq!(metadata["compatibility_date"], "2026-10-06");
    assert_eq!(metadata["compatibility_flags"], json!(["nodejs_als"]));
    assert_eq!(metadata["keep_bindings"], json!(["secret_text", "secret_key"]));
    assert_eq!(metadata["annotations"], json!({ "workers/message": "why", "workers/tag": "v1" }));
    assert_eq!(metadata["limits"], json!({ "cpu_ms": 50 }));
    assert_eq!(metadata["observability"], json!({ "enabled": true }));
    assert_eq!(
        metadata["migrations"],
        json!({ "old_tag": "v1", "new_tag": "v2", "steps": [{ "new_classes": ["B"] }] })
    );
    assert_eq!(
        metadata["bindings"],
        json!([
            { "name": "TEXT", "type": "plain_text", "text": "t" },
            { "name": "NUMBER", "type": "json", "json": 1 },
            { "name": "OTHER", "type": "service", "service": "other" },
            { "name": "TOKEN", "type": "inherit" },
        ])
    );
    let form = upload.form();
    let parts: Vec<(&str, Option<&str>)> = form.parts().map(|(name, kind, _)| (name, kind)).collect();
    assert_eq!(parts[0], ("metadata", None));
    assert!(parts.contains(&("index.js", Some("application/javascript+module"))), "{parts:?}");
    assert!(parts.contains(&("index.js.map", Some("application/source-map"))), "{parts:?}");
    assert!(parts.iter().any(|(name, kind)| name.ends_with("note.txt") && *kind == Some("text/plain")), "{parts:?}");

    let out = folder.path().join("out");
    upload.write(&out).unwrap();
    assert!(out.join("metadata.json").exists() && out.join("index.js").exists());
}

#[tokio::test]
async fn variables_may_stay_and_migrations_may_be_known() {
    let (_folder, project, build) = built(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "a", "main": "index.js", "compatibility_date": "2026-10-06", "upload_source_maps": false,
                 "migrations": [{ "tag": "v1", "new_classes": ["A"] }] }"#,
        ),
        ("index.js", "export default { fetch: () => new Response() };"),
    ])
    .await;
    let kept = Said { keep_vars: true, migration_tag: Some("v1".to_owned()), ..Said::default() };
    let kept = upload(&project, &build, &kept);
    assert_eq!(kept.metadata["keep_bindings"], json!(["secret_text", "secret_key", "plain_text", "json"]));
    assert_eq!(kept.metadata.get("migrations"), None);
    assert_eq!(kept.modules.len(), 1);
    let first = upload(&project, &build, &Said::default());
    assert_eq!(
        first.metadata["migrations"],
        json!({ "old_tag": null, "new_tag": "v1", "steps": [{ "new_classes": ["A"] }] })
    );
}

#[tokio::test]
async fn assets_alone_have_no_script() {
    let (_folder, project, build) = built(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "a", "compatibility_date": "2026-10-06", "assets": { "directory": "public", "not_found_handling": "404-page" } }"#,
        ),
        ("public/index.html", "<h1>Hello</h1>"),
        ("public/_redirects", "/old /new 301\n"),
    ])
    .await;
    let upload = upload(&project, &build, &Said { assets: Some("jwt".to_owned()), ..Said::default() });
    assert_eq!((upload.metadata.get("main_module"), upload.modules.len()), (None, 0));
    let assets = &upload.metadata["assets"];
    assert_eq!((&assets["jwt"], &assets["config"]["not_found_handling"]), (&json!("jwt"), &json!("404-page")));
    assert_eq!(assets["config"]["_redirects"], "/old /new 301\n");
}
