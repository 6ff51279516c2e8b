//! Saved files: what is live when, what a mistake looks like, and that it mends itself.

use hyper::header::ACCEPT;

use crate::support::{Answer, Dev, Project, fetch, get};

fn says(text: &str) -> String {
    format!("export default {{ fetch() {{ return new Response(\"{text}\"); }} }};\n")
}

/// What a browser gets.
async fn page(dev: &Dev) -> Answer {
    let mut request = get("/");
    request.headers_mut().insert(ACCEPT, "text/html,*/*;q=0.8".parse().unwrap());
    fetch(&dev.host, request).await
}

#[tokio::test]
async fn a_saved_file_is_live() {
    let project = Project::worker(&says("one"));
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "one");
    project.write("src/index.ts", &says("two"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two");

    // As editors do that write beside the file and rename.
    project.write("src/index.ts.new", &says("three"));
    let folder = project.folder().join("src");
    std::fs::rename(folder.join("index.ts.new"), folder.join("index.ts")).unwrap();
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "three");
}

#[tokio::test]
async fn an_imported_file_counts_too() {
    let project =
        Project::worker("import word from './word.txt';\nexport default { fetch() { return new Response(word); } };");
    project.write("src/word.txt", "one");
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "one");
    project.write("src/word.txt", "two");
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two");
}

/// A project whose build waits until there is a file `go`.
fn slow() -> Project {
    Project::new(&[
        (
            "wrangler.jsonc",
            r#"{
              "name": "slow", "main": "built.js", "compatibility_date": "2026-10-06",
              "build": {
                "command": "echo building; until [ -e go ]; do sleep 0.02; done; rm go; cp src/index.js built.js",
                "watch_dir": "src",
              },
            }"#,
        ),
        ("src/index.js", &says("one")),
        ("go", ""),
    ])
}

#[tokio::test]
async fn a_request_during_a_reload_waits_for_it() {
    let project = slow();
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "one");
    project.write("src/index.js", &says("two"));
    dev.output.until("building").await;
    let host = dev.host.clone();
    let mut waiting = tokio::spawn(async move { fetch(&host, get("/")).await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "it does not wait: {early:?}");
    project.write("go", "");
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "two"));
}

#[tokio::test]
async fn thousands_of_files_may_change_during_a_build() {
    let project = slow();
    let mut dev = project.dev(&[]).await;
    project.write("src/index.js", &says("two"));
    dev.output.until("building").await;
    // A checkout or an `npm install`: more than the server keeps in mind.
    for number in 0..3000 {
        project.write(&format!("src/file-{number}.txt"), "");
    }
    project.write("src/index.js", &says("three"));
    let host = dev.host.clone();
    let answered = async { while fetch(&host, get("/")).await.text != "three" {} };
    let building = async {
        loop {
            project.write("go", "");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = answered => {}
        () = building => {}
    }
}

#[tokio::test]
async fn no_request_fails_while_files_are_saved() {
    let project = Project::worker(&says("0"));
    let mut dev = project.dev(&[]).await;
    let host = dev.host.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut last = 0;
        while !*stopped.borrow() {
            let answer = fetch(&host, get("/")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let now: u32 = answer.text.parse().unwrap();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        last
    });
    for number in 1..=10 {
        project.write("src/index.ts", &says(&number.to_string()));
        dev.output.until("Reloaded in ").await;
    }
    assert_eq!(dev.get("/").await.text, "10");
    stop.send_replace(true);
    assert!(asking.await.unwrap() <= 10);
}

#[tokio::test]
async fn a_broken_build_keeps_the_version_before_it() {
    let project = Project::worker(&says("good"));
    let mut dev = project.dev(&[]).await;
    project.write("src/index.ts", "const port: number = ;\nexport default { fetch() {} };\n");
    dev.output.until("✘ The project could not be built\n\nerror: Unexpected token\n --> src/index.ts:1:22\n").await;
    dev.output.until("1 | const port: number = ;\n  |                      ^\n  = ").await;

    let answer = dev.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "good"), "programs get the version before it");
    let page = page(&dev).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (500, "text/html; charset=utf-8"));
    assert_eq!(page.header("refresh"), "1", "the page follows by itself");
    assert!(page.text.contains("<h1>The project could not be built</h1>"), "{}", page.text);
    assert!(page.text.contains("--&gt; src/index.ts:1:22"), "{}", page.text);
    assert!(page.text.contains("1 | const port: number = ;"), "{}", page.text);

    project.write("src/index.ts", &says("mended"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "mended");
}

#[tokio::test]
async fn a_project_that_is_broken_from_the_start_mends_itself() {
    let project = Project::worker("export default { fetch( };");
    let mut dev = project.dev(&[]).await;
    assert!(dev.output.all().contains(" --> src/index.ts:1:25\n"), "{}", dev.output.all());
    let answer = dev.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (500, "text/plain; charset=utf-8"));
    assert!(answer.text.starts_with("The project could not be built\n\nerror: "), "{}", answer.text);
    assert_eq!(page(&dev).await.status, 500);
    project.write("src/index.ts", &says("mended"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "mended");
}

#[tokio::test]
async fn an_import_that_is_not_found() {
    let project =
        Project::worker("import { greet } from \"./greting\";\nexport default { fetch: () => new Response(greet) };\n");
    project.write("src/greeting.ts", "export const greet = \"hello\";");
    let mut dev = project.dev(&[]).await;
    let said = dev.output.all();
    assert!(said.contains("error: \"./greting\" cannot be found\n --> src/index.ts:1:23\n"), "{said}");
    assert!(said.contains("  = did you mean src/greeting.ts?"), "{said}");
    // The file that is missing appears.
    project.write("src/greting.ts", "export const greet = \"hi\";");
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "hi");

    project.write("src/index.ts", "import { z } from \"zod\";\nexport default { fetch: () => new Response(z) };\n");
    dev.output.until("error: \"zod\" cannot be found\n --> src/index.ts:1:19\n").await;
    dev.output.until("npm install zod").await;
}

#[tokio::test]
async fn an_export_that_does_not_exist() {
    let project =
        Project::worker("import { gret } from \"./greeting\";\nexport default { fetch: () => new Response(gret) };\n");
    project.write("src/greeting.ts", "export const greet = \"hello\";");
    let dev = project.dev(&[]).await;
    let said = dev.output.all();
    assert!(said.contains("error: src/greeting.ts does not export \"gret\"\n --> src/index.ts:1:10\n"), "{said}");
    assert!(said.contains("  = did you mean \"greet\"?"), "{said}");
}

#[tokio::test]
async fn a_module_that_throws_at_start() {
    let project = Project::worker(&says("good"));
    let mut dev = project.dev(&[]).await;
    let broken = format!("const limits: number[] = [];\nlimits[0].toFixed();\n{}", says("never"));
    project.write("src/index.ts", &broken);
    dev.output.until("✘ The Worker threw while its modules were loaded\n\n").await;
    let stack = dev.output.until("\n\n").await;
    assert!(stack.starts_with("TypeError: Cannot read properties of undefined (reading 'toFixed')\n"), "{stack}");
    assert!(stack.contains("src/index.ts:2:11"), "{stack}");
    assert_eq!(dev.get("/").await.text, "good");
    let page = page(&dev).await;
    assert_eq!(page.status, 500);
    assert!(page.text.contains("src/index.ts:2:11"), "{}", page.text);
    project.write("src/index.ts", &says("mended"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "mended");
}

#[tokio::test]
async fn a_worker_that_takes_too_long_to_start() {
    let project = Project::worker(&format!("for (;;) {{}}\n{}", says("never")));
    let dev = project.dev(&[]).await;
    let said = dev.output.all();
    assert!(said.contains("✘ "), "{said}");
    let answer = dev.get("/").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.contains("startup CPU time"), "{}", answer.text);
}

const VARIABLE: &str =
    "export default { fetch(_: Request, env: any) { return new Response(`${env.WORD} ${env.SECRET}`); } };";

#[tokio::test]
async fn the_configuration_and_secrets_count_too() {
    let configuration = |word: &str| {
        format!(
            r#"{{ "name": "w", "main": "src/index.ts", "compatibility_date": "2026-10-06", "vars": {{ "WORD": "{word}" }} }}"#
        )
    };
    let project = Project::new(&[("wrangler.jsonc", &configuration("one")), ("src/index.ts", VARIABLE)]);
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "one undefined");
    project.write("wrangler.jsonc", &configuration("two"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two undefined");
    project.write(".dev.vars", "SECRET=\"hush\"\n");
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two hush");
    project.write(".dev.vars", "SECRET=loud\n");
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two loud");

    project.write("wrangler.jsonc", "{ \"name\": \"w\",\n  \"main\" \"src/index.ts\" }");
    dev.output.until("error: this is not JSON: expected colon").await;
    dev.output.until(" --> wrangler.jsonc:2:").await;
    assert_eq!(dev.get("/").await.text, "two loud", "a broken configuration changes nothing");
    project.write("wrangler.jsonc", &configuration("three"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "three loud");
}

#[tokio::test]
async fn a_script_that_goes_away_may_come_back() {
    let project = Project::worker(&says("one"));
    let mut dev = project.dev(&[]).await;
    std::fs::remove_file(project.folder().join("src/index.ts")).unwrap();
    dev.output.until("error: the script src/index.ts does not exist\n --> wrangler.jsonc:").await;
    assert_eq!(dev.get("/").await.text, "one");
    project.write("src/index.ts", &says("two"));
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "two");
}

#[tokio::test]
async fn a_build_command_that_fails() {
    let project = Project::new(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "b", "main": "built.js", "compatibility_date": "2026-10-06",
                 "build": { "command": "cat src/index.js > built.js && echo made it", "watch_dir": "src" } }"#,
        ),
        ("src/other.js", ""),
    ]);
    let mut dev = project.dev(&[]).await;
    assert!(dev.output.all().contains("src/index.js"), "{}", dev.output.all());
    assert_eq!(dev.get("/").await.status, 500);
    project.write("src/index.js", &says("built"));
    dev.output.until("made it").await;
    dev.output.until("Reloaded in ").await;
    assert_eq!(dev.get("/").await.text, "built");
}
