//! Starting `skep dev`: its flags, and what it says when it cannot start. Each message ends with what to do.

use std::net::TcpListener;

use crate::support::{Dev, Project, command, fetch, get};

const SCRIPT: &str = "export default { fetch(_, env) { return Response.json(env); } };";

/// A project that cannot be served: what is said, and exit code 1.
async fn check(files: &[(&str, &str)], arguments: &[&str], expect: &str) {
    let ended = Project::new(files).run(&[&["dev", "--port", "0", "--inspector-port", "0"], arguments].concat()).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(1), ""), "{}", ended.errors);
    assert_eq!(ended.errors.trim_end(), expect);
}

#[tokio::test]
async fn no_configuration() {
    let project = Project::new(&[]);
    let folder = project.folder().canonicalize().unwrap().display().to_string();
    let ended = project.run(&["dev", "--port", "0"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.errors,
        format!(
            "error: there is no wrangler.jsonc, wrangler.json or wrangler.toml in {folder} or above it\n  \
             = make a project with `skep init`, or name a script: `skep dev src/index.ts`\n"
        )
    );
    check(
        &[],
        &["--config", "no.jsonc"],
        "error: there is no configuration no.jsonc\n  = check the path after --config",
    )
    .await;
}

#[tokio::test]
async fn a_configuration_with_a_mistake() {
    check(
        &[("wrangler.jsonc", "{\n  // comma\n  \"name\": \"w\"\n  \"main\": \"index.js\"\n}")],
        &[],
        "error: this is not JSON: expected comma\n --> wrangler.jsonc:3:14\n  |\n3 |   \"name\": \"w\"\n  |              ^\n  = mend the syntax; comments and trailing commas are allowed",
    )
    .await;
    check(
        &[("wrangler.toml", "name = \"w\"\nmain = src\n")],
        &[],
        "error: this is not TOML: string values must be quoted, expected literal string\n --> wrangler.toml:2:8\n  |\n2 | main = src\n  |        ^^^\n  = mend the syntax: https://toml.io",
    )
    .await;
    check(
        &[("wrangler.jsonc", r#"{ "name": "w", "main": 7 }"#)],
        &[],
        "error: \"main\" must be a string, found a number\n --> wrangler.jsonc:1:24\n  |\n1 | { \"name\": \"w\", \"main\": 7 }\n  |                        ^\n  = write it in double quotes",
    )
    .await;
}

#[tokio::test]
async fn no_script() {
    check(
        &[("wrangler.jsonc", r#"{ "name": "w", "main": "src/index.ts", "compatibility_date": "2026-10-06" }"#)],
        &[],
        "error: the script src/index.ts does not exist\n --> wrangler.jsonc:1:24\n  |\n\
         1 | { \"name\": \"w\", \"main\": \"src/index.ts\", \"compatibility_date\": \"2026-10-06\" }\n  |                        ^^^^^^^^^^^^^^\n  = create it, or change the path",
    )
    .await;
    check(
        &[("wrangler.jsonc", r#"{ "name": "w", "compatibility_date": "2026-10-06" }"#)],
        &[],
        "error: wrangler.jsonc does not say which script to run\n --> wrangler.jsonc:1:1\n  |\n1 | { \"name\": \"w\", \"compatibility_date\": \"2026-10-06\" }\n  | ^\n  = add \"main\": \"src/index.ts\"",
    )
    .await;
    let date = ["b.js", "--compatibility-date", "2026-10-06"];
    check(&[("a.js", SCRIPT)], &date, "error: the script b.js does not exist\n  = did you mean a.js?").await;
}

#[tokio::test]
async fn flags_that_do_not_fit_the_project() {
    let files = [
        ("wrangler.jsonc", r#"{ "name": "w", "main": "index.js", "compatibility_date": "2026-10-06" }"#),
        ("index.js", SCRIPT),
    ];
    check(
        &files,
        &["--env", "staging"],
        "error: wrangler.jsonc has no environment \"staging\"\n  = it has none: add \"env\": { \"staging\": { … } }, or leave out --env",
    )
    .await;
    check(
        &files,
        &["--compatibility-date", "2026-13-01"],
        "error: \"2026-13-01\" is not a compatibility date\n  = write it as YYYY-MM-DD, for example 2026-10-06",
    )
    .await;
    check(
        &files,
        &["--host", "192.0.2.1"],
        "error: cannot listen on 192.0.2.1 port 0: Cannot assign requested address (os error 99). Give an address of this machine, such as 127.0.0.1 or 0.0.0.0.",
    )
    .await;
}

#[tokio::test]
async fn flags_that_are_wrong() {
    let project = Project::worker(SCRIPT);
    for (arguments, expect) in [
        (
            &["dev", "--port", "99999"][..],
            "error: invalid value '99999' for '--port <PORT>': 99999 is not in 0..=65535",
        ),
        (&["dev", "--prot", "1"], "tip: a similar argument exists: '--port'"),
        (&["dev", "--var", "A"], "\"A\" is not a variable: write it as KEY:VALUE"),
        (&["dev", "--local-protocol", "ftp"], "[possible values: http, https]"),
        (&["innit"], "tip: a similar subcommand exists: 'init'"),
    ] {
        let ended = project.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.errors.contains(expect), "{arguments:?}: {}", ended.errors);
        assert!(ended.errors.trim_end().ends_with("For more information, try '--help'."), "{}", ended.errors);
    }
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let project = Project::worker(SCRIPT);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ended = project.run(&["dev", "--host", "127.0.0.1", "--port", &port.to_string()]).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(1), ""), "{}", ended.errors);
    let us = format!("(process {}). Stop it, or use --port ", std::process::id());
    assert!(
        ended.errors.starts_with(&format!("error: port {port} on 127.0.0.1 is in use by another program: ")),
        "{}",
        ended.errors
    );
    assert!(ended.errors.contains(&us), "{}", ended.errors);
    let next = ended.errors.rsplit("--port ").next().unwrap();
    let next: u16 = next.trim_end().strip_suffix(", which is free.").unwrap().parse().unwrap();
    assert!(next > port, "{}", ended.errors);
}

#[tokio::test]
async fn the_debuggers_port_may_be_taken() {
    let project = Project::worker(SCRIPT);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let port = taken.rsplit(':').next().unwrap();
    let mut dev = Dev::spawn(command(project.folder(), &["dev", "--port", "0", "--inspector-port", port]));
    dev.ready().await;
    let debugger = dev.debugger().await;
    assert_ne!(debugger, taken);
    assert_eq!(fetch(&debugger, get("/json/version")).await.status, 200);
}

#[tokio::test]
async fn variables_of_every_kind() {
    let project = Project::new(&[
        (
            "wrangler.jsonc",
            r#"{
              "name": "w", "main": "index.js", "compatibility_date": "2026-10-06",
              "vars": { "PLACE": "configuration", "NUMBERS": [1, 2] },
              "env": { "staging": { "vars": { "PLACE": "staging" } } },
            }"#,
        ),
        ("index.js", SCRIPT),
        (".dev.vars", "PLACE=\"dev vars\"\nTOKEN=secret\n"),
        ("other.vars", "TOKEN=other\n"),
    ]);
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    for (arguments, expect) in [
        (&[][..], r#"{ "PLACE": "dev vars", "NUMBERS": [1, 2], "TOKEN": "secret" }"#),
        (&["--var", "PLACE:the:line"], r#"{ "PLACE": "the:line", "NUMBERS": [1, 2], "TOKEN": "secret" }"#),
        (&["--env", "staging"], r#"{ "PLACE": "dev vars", "TOKEN": "secret" }"#),
        (&["--env", "staging", "--env-file", "other.vars"], r#"{ "PLACE": "staging", "TOKEN": "other" }"#),
    ] {
        let dev = project.dev(arguments).await;
        assert_eq!(json(&dev.get("/").await.text), json(expect), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_script_without_a_configuration() {
    let project = Project::new(&[("hello.js", "export default { fetch() { return new Response('plain'); } };")]);
    let dev = project.dev(&["hello.js", "--compatibility-date", "2026-10-06"]).await;
    assert_eq!(dev.get("/").await.text, "plain");
}

#[tokio::test]
async fn a_key_that_is_misspelt() {
    let project = Project::new(&[
        ("wrangler.jsonc", r#"{ "name": "w", "main": "index.js", "compatability_date": "2026-10-06" }"#),
        ("index.js", SCRIPT),
    ]);
    let dev = project.dev(&[]).await;
    let said = dev.output.all();
    assert!(said.contains("warning: there is no key \"compatability_date\"\n --> wrangler.jsonc:1:"), "{said}");
    assert!(said.contains("  = did you mean \"compatibility_date\"?"), "{said}");
}
