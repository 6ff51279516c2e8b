//! The declarations that `skep types` writes: their text, and that TypeScript accepts them.

mod support;

use std::path::Path;
use std::process::Command;

use skep_bundle::{Mode, Project, types};
use support::{has_node, npm_folder, options};

const CONFIGURATION: &str = r#"{
    "name": "typed", "main": "src/index.ts", "compatibility_date": "2026-10-06",
    "vars": { "TEXT": "hello", "NUMBER": 3, "OBJECT": { "a": [1, "b", null] }, "we-ird": "x", "ONLY_TOP": true, "SECRET": "replaced" },
    "kv_namespaces": [{ "binding": "KV" }], "r2_buckets": [{ "binding": "R2" }], "d1_databases": [{ "binding": "D1" }],
    "queues": { "producers": [{ "binding": "QUEUE" }] }, "vectorize": [{ "binding": "VECTORIZE", "index_name": "x" }],
    "durable_objects": { "bindings": [{ "name": "OBJECTS", "class_name": "Counter" }, { "name": "REMOTE", "class_name": "Far", "script_name": "far" }] },
    "migrations": [{ "tag": "v1", "new_classes": ["Old"], "new_sqlite_classes": ["Counter"] }, { "tag": "v2", "deleted_classes": ["Old"] }],
    "services": [{ "binding": "FAR", "service": "far" }, { "binding": "FAR_API", "service": "far", "entrypoint": "Api" }, { "binding": "SELF", "service": "typed", "entrypoint": "Api" }, { "binding": "SELF_DEFAULT", "service": "typed" }],
    "workflows": [{ "binding": "FLOW", "name": "flow", "class_name": "Flow" }, { "binding": "FAR_FLOW", "name": "flow", "class_name": "Flow", "script_name": "far" }],
    "hyperdrive": [{ "binding": "HYPERDRIVE", "id": "x" }], "analytics_engine_datasets": [{ "binding": "ANALYTICS_ENGINE" }],
    "send_email": [{ "name": "EMAIL" }], "ai": { "binding": "AI" }, "browser": { "binding": "BROWSER" }, "images": { "binding": "IMAGES" },
    "version_metadata": { "binding": "VERSION" }, "assets": { "directory": "public", "binding": "ASSETS" },
    "mtls_certificates": [{ "binding": "MTLS", "certificate_id": "x" }], "dispatch_namespaces": [{ "binding": "DISPATCH" }],
    "ratelimits": [{ "name": "RATE", "namespace_id": "1", "simple": { "limit": 1, "period": 10 } }],
    "secrets_store_secrets": [{ "binding": "STORED", "store_id": "x", "secret_name": "x" }], "worker_loaders": [{ "binding": "LOADER" }],
    "vpc_services": [{ "binding": "VPC", "service_id": "x" }], "media": { "binding": "MEDIA" }, "stream": { "binding": "STREAM" },
    "pipelines": [{ "binding": "PIPELINE", "stream": "x" }], "flagship": [{ "binding": "FLAGSHIP" }], "artifacts": [{ "binding": "ARTIFACTS", "namespace": "x" }],
    "ai_search": [{ "binding": "AI_SEARCH", "instance_name": "x" }], "agent_memory": [{ "binding": "MEMORY", "namespace": "x" }], "analytics": { "binding": "ANALYTICS" },
    "unsafe_hello_world": [{ "binding": "HELLO" }], "k2": [{ "binding": "K2", "stream": "x" }],
    "unsafe": { "bindings": [{ "name": "UNSAFE", "type": "custom" }] },
    "rules": [{ "type": "Text", "globs": ["**/*.md"], "fallthrough": true }, { "type": "Data", "globs": ["src/data/*.dat"], "fallthrough": true }],
    "env": {
        "my-staging": { "vars": { "TEXT": "staging", "NUMBER": 3, "NEW": "n" }, "kv_namespaces": [{ "binding": "KV" }] },
        "production": {}
    }
}"#;

const SCRIPT: &str = r#"
import { DurableObject, WorkerEntrypoint, WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import note from "./note.txt";
import wasm from "./add.wasm";
import data from "./data/x.dat";

export class Counter extends DurableObject<Env> {
    add(number: number): number { return number; }
}
export class Api extends WorkerEntrypoint<Env> {
    greet(name: string): string { return name; }
}
export class Flow extends WorkflowEntrypoint<Env, { id: number }> {
    async run(event: WorkflowEvent<{ id: number }>, step: WorkflowStep) { return event.payload.id; }
}
export default {
    async fetch(request, env, ctx): Promise<Response> {
        const text: "hello" | "staging" | undefined = env.TEXT;
        const secret: string = env.SECRET;
        const sum: number = await env.OBJECTS!.get(env.OBJECTS!.idFromName("a")).add(1);
        const greeting: string = await env.SELF!.greet("a");
        const value: string | null = await env.KV!.get("a");
        const module: WebAssembly.Module = wasm;
        const bytes: ArrayBuffer = data;
        await env.FLOW!.create({ params: { id: 1 } });
        // @ts-expect-error there is no such binding
        env.NOTHING;
        return new Response(note + text + secret + sum + greeting + value + module + bytes.byteLength);
    },
} satisfies ExportedHandler<Env>;
"#;

fn write(root: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
    std::fs::write(root.join(name), text).unwrap();
}

#[test]
fn declarations() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    write(&root, "wrangler.jsonc", CONFIGURATION);
    write(&root, "src/index.ts", SCRIPT);
    write(&root, ".dev.vars", "SECRET=x\nOTHER_SECRET=y\n");
    let project = Project::open(options(&root, Mode::Dev)).unwrap();
    let text = types::declarations(&project, &root);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("types", text);
    });
    if !has_node() {
        return;
    }
    write(&root, "worker-configuration.d.ts", &text);
    write(
        &root,
        "tsconfig.json",
        r#"{ "compilerOptions": { "target": "es2024", "lib": ["es2024"], "module": "es2022", "moduleResolution": "bundler", "strict": true, "noEmit": true, "types": ["./worker-configuration.d.ts"] }, "include": ["src", "worker-configuration.d.ts"] }"#,
    );
    let packages = npm_folder("types", &["typescript@^7", "@cloudflare/workers-types@^5"]);
    std::os::unix::fs::symlink(packages.join("node_modules"), root.join("node_modules")).unwrap();
    let output = Command::new("node_modules/.bin/tsc").arg("--noEmit").current_dir(&root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_service_worker_has_globals() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    write(
        &root,
        "wrangler.toml",
        "name = \"a\"\nmain = \"index.js\"\ncompatibility_date = 2026-10-06\n[vars]\nA = \"b\"\n[text_blobs]\nTEXT = \"a.txt\"\n",
    );
    write(&root, "index.js", "addEventListener('fetch', () => {});");
    let text = types::declarations(&Project::open(options(&root, Mode::Dev)).unwrap(), &root);
    assert!(text.contains("declare const A: \"b\";\ndeclare const TEXT: string;\n"), "{text}");
    assert!(!text.contains("interface"), "{text}");
}
