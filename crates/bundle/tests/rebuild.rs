//! Builds after changes: each must give what a new build gives, however much of the graph was kept.

mod support;

use std::path::{Path, PathBuf};

use skep_bundle::{Build, BuildError, Mode, Project};
use skep_worker::ModuleContent;
use support::{has_node, options, run_in_node};

/// A project and what it answers.
struct Session {
    root: PathBuf,
    project: Project,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Session {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("project");
        for (name, text) in files {
            write(&root, name, text);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut project = Project::open(options(&root, Mode::Dev)).unwrap();
        runtime.block_on(project.build()).unwrap();
        Self { root, project, runtime, _folder: folder }
    }

    /// Writes files (no text: deletes), rebuilds, and compares the result with a new build's.
    fn change(&mut self, files: &[(&str, Option<&str>)]) -> Result<Build, BuildError> {
        let mut changed = Vec::new();
        for (name, text) in files {
            match text {
                Some(text) => write(&self.root, name, text),
                None => std::fs::remove_file(self.root.join(name)).unwrap(),
            }
            changed.push(self.root.join(name));
        }
        let result = self.runtime.block_on(self.project.rebuild(&changed));
        let anew = match Project::open(options(&self.root, Mode::Dev)) {
            Ok(mut project) => self.runtime.block_on(project.build()),
            Err(error) => Err(error),
        };
        match (&result, &anew) {
            (Ok(build), Ok(anew)) => {
                assert_eq!(contents(build), contents(anew));
                assert_eq!(build.inputs, anew.inputs);
                assert_eq!(build.warnings, anew.warnings);
                assert_eq!(build.version.id, anew.version.id);
            }
            (Err(error), Err(anew)) => assert_eq!(error.errors, anew.errors),
            (result, anew) => panic!("rebuilt: {result:?}\nanew: {anew:?}"),
        }
        result
    }

    /// Checks the answer after a change, or the first error.
    fn check(&mut self, files: &[(&str, Option<&str>)], expect: &str) {
        let answer = match self.change(files) {
            Ok(build) if has_node() => run_in_node(&build, "/"),
            Ok(_) => return,
            Err(error) => error.errors[0].message.clone(),
        };
        assert_eq!(answer, expect);
    }
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn contents(build: &Build) -> Vec<(String, String)> {
    let content = |content: &ModuleContent| match content {
        ModuleContent::EsModule { source, source_map } => format!("{source}{source_map:?}"),
        other => format!("{other:?}"),
    };
    build.version.modules.iter().map(|module| (module.name.clone(), content(&module.content))).collect()
}

const CONFIGURATION: (&str, &str) = (
    "wrangler.jsonc",
    r#"{ "name": "a", "main": "src/index.ts", "compatibility_date": "2026-10-06", "vars": { "A": "1" } }"#,
);

const INDEX: &str = r#"
import { part } from "./part";
import * as other from "./other";
export default { fetch: (request: Request, env: { A: string }) => new Response(`${part()} ${other.text} ${env.A}`) };
"#;

fn session() -> Session {
    Session::new(&[
        CONFIGURATION,
        ("src/index.ts", INDEX),
        ("src/part.ts", "export const part = () => 'part';"),
        ("src/other.ts", "export const text = 'other';"),
    ])
}

#[test]
fn a_module_changes() {
    let mut session = session();
    for word in ["one", "two", "three"] {
        let text = format!("export const part = () => '{word}';");
        session.check(&[("src/part.ts", Some(&text))], &format!("{word} other 1"));
    }
    session.check(
        &[("src/part.ts", Some("export const part = () => 'p';")), ("src/other.ts", Some("export const text = 'o';"))],
        "p o 1",
    );
}

#[test]
fn imports_come_and_go() {
    let mut session = session();
    // a new file
    let part = "import { deep } from './deep'; export const part = () => deep;";
    session.check(&[("src/deep.ts", Some("export const deep = 'deep';")), ("src/part.ts", Some(part))], "deep other 1");
    session.check(&[("src/deep.ts", Some("export const deep = 'deeper';"))], "deeper other 1");
    // an import goes, and with it a module
    session.check(&[("src/part.ts", Some("export const part = () => 'plain';"))], "plain other 1");
    session.check(&[("src/deep.ts", None)], "plain other 1");
    // and comes again
    session.check(&[("src/part.ts", Some(part))], "\"./deep\" cannot be found");
    session.check(&[("src/deep.ts", Some("export const deep = 'again';"))], "again other 1");
    // a file takes the place of another
    session.check(&[("src/part.ts", None), ("src/part.tsx", Some("export const part = () => 'tsx';"))], "tsx other 1");
}

#[test]
fn mistakes_are_mended() {
    let mut session = session();
    let message = "Expected `)` but found `EOF`";
    session.check(&[("src/part.ts", Some("export const part = ("))], message);
    // another file changes meanwhile
    session.check(&[("src/other.ts", Some("export const text = 'meanwhile';"))], message);
    session.check(&[("src/part.ts", Some("export const part = () => 'mended';"))], "mended meanwhile 1");
    // a missing export, a missing package, no handlers
    session.check(&[("src/part.ts", Some("export const prat = 1;"))], "src/part.ts does not export \"part\"");
    session.check(&[("src/part.ts", Some("import 'pkg'; export const part = () => '';"))], "\"pkg\" cannot be found");
    session.check(&[("src/other.ts", Some("export const text = '';"))], "\"pkg\" cannot be found");
    session.check(&[("node_modules/pkg/index.js", Some("globalThis.pkg = 1;"))], "  1");
    session.check(
        &[("src/index.ts", Some("console.log(1);"))],
        "src/index.ts has no handlers: it exports nothing and listens for no event",
    );
    session.check(&[("src/index.ts", Some(INDEX))], "  1");
}

#[test]
fn a_change_counts_that_came_while_the_script_was_missing() {
    let mut session = session();
    session.check(
        &[("src/index.ts", None), ("src/other.ts", Some("export const text = 'meanwhile';"))],
        "the script src/index.ts does not exist",
    );
    session.check(&[("src/index.ts", Some(INDEX))], "part meanwhile 1");
}

#[test]
fn what_is_not_bundled_changes() {
    let mut session = session();
    let other = "import note from './note.txt'; export const text = typeof note;";
    let build = session.change(&[("src/note.txt", Some("one")), ("src/other.ts", Some(other))]).unwrap();
    assert_eq!(build.version.modules.len(), 2);
    let build = session.change(&[("src/note.txt", Some("two"))]).unwrap();
    assert!(matches!(&build.version.modules[1].content, ModuleContent::Text(text) if &**text == "two"));
    session.check(&[("src/note.txt", None)], "\"./note.txt\" cannot be found");
    assert_eq!(session.change(&[("src/note.txt", Some("three"))]).unwrap().version.modules.len(), 2);
    assert_eq!(session.change(&[("src/other.ts", Some("export const text = 1;"))]).unwrap().version.modules.len(), 1);
}

#[test]
fn warnings_stay_and_go() {
    let mut session = session();
    let other = "import { join } from 'node:path'; export const text = join('a', 'b');";
    assert_eq!(session.change(&[("src/other.ts", Some(other))]).unwrap().warnings.len(), 1);
    assert_eq!(session.change(&[("src/part.ts", Some("export const part = () => 'x';"))]).unwrap().warnings.len(), 1);
    let index = INDEX.replace("import * as other from \"./other\";", "const other = { text: '' };");
    assert_eq!(session.change(&[("src/index.ts", Some(&index))]).unwrap().warnings.len(), 0);
}

#[test]
fn settings_change() {
    let mut session = session();
    session.check(&[(".dev.vars", Some("A=secret"))], "part other secret");
    session.check(&[(".dev.vars", None)], "part other 1");
    let changed = CONFIGURATION.1.replace("\"1\"", "\"2\"");
    session.check(&[("wrangler.jsonc", Some(&changed))], "part other 2");
    // a configuration that cannot be read, and the script changes meanwhile
    session.check(&[("wrangler.jsonc", Some("{"))], "this is not JSON: unterminated object");
    session
        .check(&[("src/part.ts", Some("export const part = () => 'new';"))], "this is not JSON: unterminated object");
    session.check(&[("wrangler.jsonc", Some(CONFIGURATION.1))], "new other 1");
    // the TypeScript configuration
    let jsx = "export const text = <b>x</b>; const h = (name: string) => name; ";
    let index = INDEX.replace("./other", "./other.tsx");
    let tsconfig =
        |factory: &str| format!("{{ \"compilerOptions\": {{ \"jsx\": \"react\", \"jsxFactory\": \"{factory}\" }} }}");
    let files = [
        ("src/other.tsx", Some(jsx)),
        ("src/index.ts", Some(index.as_str())),
        ("tsconfig.json", Some(&*tsconfig("h"))),
    ];
    assert!(session.change(&files).is_ok());
    session.check(
        &[("src/other.tsx", Some("const h = (name: string) => name; export const text = <b>x</b>;"))],
        "new b 1",
    );
    let other = "const k = (name: string) => `${name}!`; export const text = <b>x</b>;";
    session.check(&[("tsconfig.json", Some(&tsconfig("k"))), ("src/other.tsx", Some(other))], "new b! 1");
}

/// A stream of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A module that imports some modules of higher numbers. `edges` decides which ones, `body` how, and what else it does.
fn random_module(index: usize, count: usize, edges: usize, body: usize) -> String {
    let mut edges = Numbers(edges as u64);
    let mut body = Numbers(body as u64);
    let mut text = String::new();
    let mut parts = vec![format!("'{index}.{}'", body.below(1000))];
    for other in index + 1..count {
        let way = match edges.below(8) {
            0..3 => body.below(5),
            3 => 5,
            _ => continue,
        };
        match way {
            0 => {
                text.push_str(&format!("import {{ value as v{other} }} from './m{other}';\n"));
                parts.push(format!("v{other}()"));
            }
            1 => {
                text.push_str(&format!("import * as n{other} from './m{other}';\n"));
                parts.push(format!("n{other}.value()"));
            }
            2 => text.push_str(&format!("export {{ value as r{other} }} from './m{other}';\n")),
            3 => text.push_str(&format!("import './m{other}';\n")),
            4 => parts.push(format!("require('./m{other}').value()")),
            _ => text.push_str(&format!("export const late{other} = () => import('./m{other}');\n")),
        }
    }
    if body.below(6) == 0 {
        text.push_str(&format!("globalThis.seen{index} = true;\n"));
    }
    text + &format!("export const value = () => [{}].join();\n", parts.join(", "))
}

#[test]
fn random_changes() {
    const COUNT: usize = 9;
    for seed in 1..=4 {
        let mut numbers = Numbers(seed);
        let mut edges: Vec<usize> = (0..COUNT).map(|_| numbers.below(1000)).collect();
        let index = "import { value } from './m0'; export default { fetch: () => new Response(value()) };";
        let modules: Vec<(String, String)> = (0..COUNT)
            .map(|module| (format!("src/m{module}.ts"), random_module(module, COUNT, edges[module], 0)))
            .collect();
        let mut files = vec![CONFIGURATION, ("src/index.ts", index)];
        files.extend(modules.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        let mut session = Session::new(&files);
        for _ in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..=numbers.below(2) {
                let module = numbers.below(COUNT);
                if numbers.below(5) == 0 {
                    edges[module] = numbers.below(1000);
                }
                let text = random_module(module, COUNT, edges[module], numbers.below(1000));
                changes.push((format!("src/m{module}.ts"), text));
            }
            let changes: Vec<(&str, Option<&str>)> =
                changes.iter().map(|(name, text)| (name.as_str(), Some(text.as_str()))).collect();
            session.change(&changes).unwrap();
        }
    }
}
