//! `skep init` and `skep types`.

use std::fs;

use crate::support::{Dev, Project};

const TEMPLATES: [&str; 8] = ["hello", "router", "hono", "scheduled", "websocket", "html-rewriter", "cache", "proxy"];

#[tokio::test]
async fn a_new_project_in_typescript() {
    let project = Project::new(&[]);
    let ended = project.run(&["init", "my-worker"]).await;
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    assert_eq!(
        ended.output,
        "  my-worker/.editorconfig\n  my-worker/.gitignore\n  my-worker/.prettierrc\n  my-worker/README.md\n  \
         my-worker/package.json\n  my-worker/src/index.ts\n  my-worker/test/index.spec.ts\n  my-worker/test/support.ts\n  \
         my-worker/tsconfig.json\n  my-worker/worker-configuration.d.ts\n  my-worker/wrangler.jsonc\n\n\
         Next:\n  cd my-worker\n  npm install\n  npm run dev\n"
    );
    let package: serde_json::Value = serde_json::from_str(&project.read("my-worker/package.json")).unwrap();
    assert_eq!(package["name"], "my-worker");
    assert_eq!(
        package["scripts"],
        serde_json::json!({
            "deploy": "skep deploy", "dev": "skep dev", "start": "skep dev", "test": "vitest run", "cf-typegen": "skep types"
        })
    );
    let configuration = project.read("my-worker/wrangler.jsonc");
    assert!(configuration.contains("\"name\": \"my-worker\",\n\t\"main\": \"src/index.ts\","), "{configuration}");

    let folder = project.folder().join("my-worker");
    let dev = Dev::start(&folder, &[]).await;
    assert!(dev.output.all().starts_with("Ready on"), "{}", dev.output.all());
    assert_eq!(dev.get("/").await.text, "Hello World!");
}

#[tokio::test]
async fn a_new_project_in_javascript() {
    let project = Project::new(&[]);
    let ended = project.run(&["init", "plain", "--lang", "js", "--template", "router"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("  plain/src/index.js\n"), "{}", ended.output);
    assert!(!ended.output.contains(".ts"), "{}", ended.output);
    let dev = Dev::start(&project.folder().join("plain"), &[]).await;
    assert!(dev.output.all().starts_with("Ready on"), "{}", dev.output.all());
    assert_ne!(dev.get("/").await.status, 500);
}

#[tokio::test]
async fn every_template_is_written_whole() {
    let project = Project::new(&[]);
    for template in TEMPLATES {
        for language in ["ts", "js"] {
            let name = format!("{template}-{language}");
            let ended = project.run(&["init", &name, "--template", template, "--lang", language]).await;
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.errors);
            for file in ["package.json", "wrangler.jsonc", "README.md", &format!("src/index.{language}")] {
                assert!(project.folder().join(&name).join(file).is_file(), "{name} has no {file}");
            }
            assert!(!project.read(&format!("{name}/README.md")).contains("{{"), "{name}");
        }
    }
}

#[tokio::test]
async fn templates_without_packages_are_served() {
    let project = Project::new(&[]);
    for template in TEMPLATES.into_iter().filter(|template| *template != "hono") {
        project.run(&["init", template, "--template", template]).await;
        let mut dev = Dev::start(&project.folder().join(template), &[]).await;
        assert!(dev.output.all().starts_with("Ready on"), "{template}: {}", dev.output.all());
        dev.get("/").await;
        dev.output.until("[skep] GET / ").await;
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let project = Project::new(&[("app/package.json", "mine"), ("app/notes.txt", "mine too")]);
    let ended = project.run(&["init", "app"]).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(1), ""));
    let folder = project.folder().canonicalize().unwrap().join("app").display().to_string();
    assert_eq!(
        ended.errors,
        format!("error: {folder} already has package.json: choose another folder, or move them away\n")
    );
    assert_eq!(fs::read_dir(project.folder().join("app")).unwrap().count(), 2);
}

#[tokio::test]
async fn names_and_templates_that_cannot_be() {
    let project = Project::new(&[]);
    let ended = project.run(&["init", "My App"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.errors,
        "error: \"My App\" cannot be a Worker's name (lower-case letters, digits, - and _, at most 63): \"my-app\" could be\n"
    );
    let ended = project.run(&["init", "app", "--template", "helo"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("  html-rewriter  A Worker that changes a page"), "{}", ended.errors);
    let ended = project.run(&["init", "app", "--lang", "py"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("[possible values: ts, js]"), "{}", ended.errors);
    assert_eq!(fs::read_dir(project.folder()).unwrap().count(), 0, "nothing was written");
}

#[tokio::test]
async fn a_project_in_the_current_folder() {
    let project = Project::new(&[("here/LICENSE", "mine")]);
    let folder = project.folder().join("here");
    let ended = crate::support::skep(&folder, &["init"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.output.ends_with("\nNext:\n  npm install\n  npm run dev\n"), "{}", ended.output);
    assert!(project.read("here/wrangler.jsonc").contains("\"name\": \"here\""));
    assert_eq!(project.read("here/LICENSE"), "mine");
}

#[tokio::test]
async fn types_of_the_bindings() {
    let project = Project::new(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "w", "main": "src/index.ts", "compatibility_date": "2026-10-06",
                 "vars": { "GREETING": "hello", "LIMITS": { "rooms": 3 } } }"#,
        ),
        ("src/index.ts", "export default {};"),
        (".dev.vars", "TOKEN=secret\n"),
    ]);
    let missing = project.run(&["types", "--check"]).await;
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.errors, "error: worker-configuration.d.ts is out of date: run `skep types`\n");
    let ended = project.run(&["types"]).await;
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    assert_eq!(ended.output, "Wrote worker-configuration.d.ts\n");
    let types = project.read("worker-configuration.d.ts");
    for line in ["GREETING: \"hello\";", "LIMITS: {\"rooms\":3};", "TOKEN: string;", "interface Env extends "] {
        assert!(types.contains(line), "{line} is not in:\n{types}");
    }
    assert!(!types.contains("secret\""), "secrets stay secret");
    assert_eq!(project.run(&["types", "--check"]).await.code, Some(0));
    project.write(".dev.vars", "TOKEN=secret\nOTHER=1\n");
    assert_eq!(project.run(&["types", "--check"]).await.code, Some(1));
    assert_eq!(project.run(&["types", "env.d.ts"]).await.output, "Wrote env.d.ts\n");
    assert!(project.read("env.d.ts").contains("OTHER: string;"));
}
