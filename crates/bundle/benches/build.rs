//! How long builds take: `cargo bench -p skep-bundle -- [FOLDER FILE]…`
//!
//! Each pair is a project and a file of it that changes. Without any, it makes and measures two: hello, and an application
//! with hono, chanfana and zod, which are installed to `$HOME/.cache/skep/npm` once. Times are the best and the median of
//! several, in milliseconds; a busy machine shows in their distance.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skep_bundle::{Mode, Options, Project};

const ROUNDS: usize = 31;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let projects: Vec<(PathBuf, String)> = match arguments.as_slice() {
        [] => vec![hello(), application()],
        pairs => {
            pairs.chunks(2).map(|pair| (PathBuf::from(&pair[0]), pair.get(1).cloned().unwrap_or_default())).collect()
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    for (folder, file) in projects {
        runtime.block_on(measure(&folder, &file));
    }
}

async fn measure(folder: &Path, file: &str) {
    let options = |mode| Options::new(folder, mode, "2026-10-06".parse().expect("a date"));
    let file = folder.join(file);
    let text = std::fs::read_to_string(&file).expect("the file to change is there");
    let mut project = Project::open(options(Mode::Dev)).expect("the project opens");
    let start = Instant::now();
    let size = project.build().await.expect("it builds").version.size();
    report(&format!("{}: first build ({} KiB)", folder.display(), size / 1024), vec![start.elapsed()]);

    let mut cold = Vec::new();
    let mut deploys = Vec::new();
    for _ in 0..ROUNDS / 3 {
        for (mode, times) in [(Mode::Dev, &mut cold), (Mode::Deploy, &mut deploys)] {
            let start = Instant::now();
            let mut project = Project::open(options(mode)).expect("the project opens");
            project.build().await.expect("it builds");
            times.push(start.elapsed());
        }
    }
    report("  open and build for development", cold);
    report("  open and build for a deploy", deploys);

    let mut warm = Vec::new();
    for round in 0..ROUNDS {
        std::fs::write(&file, format!("{text}\nexport const round{round} = {round};\n")).expect("the file is writable");
        let start = Instant::now();
        project.rebuild(std::slice::from_ref(&file)).await.expect("it builds");
        warm.push(start.elapsed());
    }
    std::fs::write(&file, text).expect("the file is writable");
    report("  rebuild after a change", warm);
}

#[allow(clippy::print_stdout, reason = "a program that reports")]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what}: best {:.1} ms, median {:.1} ms", milliseconds(times[0]), milliseconds(times[times.len() / 2]));
}

fn make(name: &str, files: &[(&str, &str)], changed: &str) -> (PathBuf, String) {
    let home = std::env::var_os("HOME").expect("there is a home folder");
    let folder = Path::new(&home).join(".cache/skep/npm").join(format!("bench-{name}"));
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the cache is writable");
        std::fs::write(path, text).expect("the cache is writable");
    }
    (folder, changed.to_owned())
}

fn hello() -> (PathBuf, String) {
    let configuration = r#"{ "name": "hello", "main": "src/index.ts", "compatibility_date": "2026-10-06" }"#;
    let script = "export default { async fetch(request, env, ctx): Promise<Response> { return new Response('Hello World!'); } };\n";
    make("hello", &[("wrangler.jsonc", configuration), ("src/index.ts", script)], "src/index.ts")
}

fn application() -> (PathBuf, String) {
    let files = [
        ("wrangler.jsonc", r#"{ "name": "application", "main": "src/index.ts", "compatibility_date": "2026-10-06" }"#),
        ("package.json", r#"{ "private": true, "dependencies": { "hono": "^4", "chanfana": "^3", "zod": "^4" } }"#),
        (
            "src/index.ts",
            r#"import { fromHono } from "chanfana";
import { Hono } from "hono";
import { TaskList } from "./list";
const app = new Hono();
fromHono(app, { docs_url: "/" }).get("/tasks", TaskList);
export default app;
"#,
        ),
        (
            "src/list.ts",
            r#"import { OpenAPIRoute } from "chanfana";
import { z } from "zod";
export class TaskList extends OpenAPIRoute {
	schema = { request: { query: z.object({ page: z.number().default(0) }) }, responses: { "200": { description: "tasks" } } };
	async handle() {
		const data = await this.getValidatedData<typeof this.schema>();
		return { page: data.query.page };
	}
}
"#,
        ),
    ];
    let (folder, changed) = make("application", &files, "src/list.ts");
    if !folder.join("node_modules/chanfana").is_dir() {
        let status = std::process::Command::new("npm")
            .args(["install", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "npm install works");
    }
    (folder, changed)
}
