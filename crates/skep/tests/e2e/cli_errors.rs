//! Skep's own commands where something is wrong, and what is made of their arguments.

use serde_json::Value;

use crate::support::{Person, Platform, Project, skep};

/// Every command.
const COMMANDS: [&str; 30] = [
    "logs",
    "status",
    "deliveries",
    "usage",
    "billing",
    "invoice",
    "init",
    "dev",
    "deploy",
    "versions",
    "deployments",
    "rollback",
    "delete",
    "secret",
    "tail",
    "cron",
    "routes",
    "domains",
    "open",
    "login",
    "logout",
    "whoami",
    "token",
    "master-key",
    "env",
    "serve",
    "service",
    "types",
    "completions",
    "man",
];

fn project(script: &str) -> Project {
    Project::new(&[
        ("index.js", script),
        ("wrangler.jsonc", r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01" }"#),
    ])
}

const GOOD: &str = "export default { fetch: () => new Response('good') };";

#[tokio::test]
async fn without_a_platform() {
    let project = project(GOOD);
    let person = Person::new();
    let nobody = person.fails(project.folder(), &["deploy"]).await;
    assert!(nobody.contains("skep login --url") && nobody.contains("admin-token"), "{nobody}");
    // Port 9 is for throwing things away; nobody listens there.
    let away = person.fails(project.folder(), &["deploy", "--url", "http://127.0.0.1:9", "--token", "t"]).await;
    assert!(away.contains("http://127.0.0.1:9 cannot be reached"), "{away}");
    let no_token = person.fails(project.folder(), &["whoami", "--url", "http://127.0.0.1:9"]).await;
    assert!(no_token.contains("no token for http://127.0.0.1:9"), "{no_token}");
    let wrong = person.fails(project.folder(), &["whoami", "--url", "ftp://x", "--token", "t"]).await;
    assert!(wrong.contains("neither http nor https"), "{wrong}");
    let ended =
        person.run(project.folder(), &["whoami", "--url", "http://127.0.0.1:9", "--token", "t", "--json"]).await;
    let error: Value = serde_json::from_str(&ended.errors).expect("JSON");
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("cannot be reached")), "{error}");
    assert_eq!(ended.output, "");
}

#[tokio::test]
async fn with_a_wrong_token_or_worker() {
    let platform = Platform::start().await;
    let project = project(GOOD);
    let (folder, url) = (project.folder(), format!("http://{}", platform.host));
    let person = Person::new();
    let unknown = person.fails(folder, &["login", "--url", &url, "--token", "skep_unknown"]).await;
    assert!(unknown.contains("10000") && unknown.contains("skep login"), "{unknown}");
    assert!(!person.home().join("skep/login.json").exists());

    let own = Person::of(&platform).await;
    let tokens = format!("/skep/v1/accounts/{}/tokens", platform.account);
    let expired = r#"{ "name": "old", "permissions": ["workers_read"], "expires_on": "2020-01-01T00:00:00Z" }"#;
    let expired = platform.api(hyper::Method::POST, &tokens, expired).await;
    let expired = expired["result"]["value"].as_str().expect("a token");
    let refused = person.fails(folder, &["whoami", "--url", &url, "--token", expired]).await;
    assert!(refused.contains("10000"), "{refused}");

    for arguments in [
        &["versions", "list", "--name", "nothing"] as &[&str],
        &["deployments", "status", "--name", "nothing"],
        &["secret", "list", "--name", "nothing"],
        &["rollback", "-y", "--name", "nothing"],
        &["delete", "-y", "--name", "nothing"],
        &["tail", "nothing"],
        &["cron", "list", "--name", "nothing"],
        &["open", "--name", "nothing"],
    ] {
        let refused = own.fails(folder, arguments).await;
        assert!(refused.contains("nothing") && refused.contains("10007"), "{arguments:?}: {refused}");
    }
    let empty = Project::new(&[]);
    let nameless = own.fails(empty.folder(), &["versions", "list"]).await;
    assert!(nameless.contains("--name"), "{nameless}");

    own.does(folder, &["logout"]).await;
    let gone = own.fails(folder, &["whoami"]).await;
    assert!(gone.contains("no platform is known"), "{gone}");
}

#[tokio::test]
async fn with_a_script_that_is_wrong() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let broken = project("export default { fetch: () => new Response('good' };");
    let folder = broken.folder();
    let refused = person.fails(folder, &["deploy"]).await;
    assert!(refused.contains("index.js:1:"), "{refused}");
    let ended = person.run(folder, &["deploy", "--json"]).await;
    let error: Value = serde_json::from_str(&ended.errors).expect("JSON");
    assert_eq!(error["error"]["diagnostics"][0]["location"]["file"], "index.js", "{error}");
    // One that builds and does not start is refused with its own error.
    broken.write("index.js", "throw new Error('boom at start'); export default {};");
    let refused = person.fails(folder, &["deploy"]).await;
    assert!(refused.contains("boom at start") && refused.contains("10021"), "{refused}");
    let shares = person.run(folder, &["deploy", "--gradual", "50,10"]).await;
    assert!(shares.code == Some(2) && shares.errors.contains("rising order"), "{}", shares.errors);
    let value = person.fails(folder, &["secret", "put", "TOKEN=value"]).await;
    assert!(value.contains("standard input"), "{value}");
}

#[tokio::test]
async fn completions_and_pages_know_every_command() {
    let folder = tempfile::TempDir::new().expect("a folder");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = skep(folder.path(), &["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{}", script.errors);
        for command in COMMANDS {
            assert!(script.output.contains(command), "{command} is not in the completions of {shell}");
        }
    }
    let written = skep(folder.path(), &["man", "--out", "pages"]).await;
    assert_eq!(written.code, Some(0), "{}", written.errors);
    let pages = folder.path().join("pages");
    let main = std::fs::read_to_string(pages.join("skep.1")).expect("a page");
    for command in COMMANDS {
        // roff writes a hyphen as \-.
        let escaped = command.replace('-', "\\-");
        assert!(main.contains(&format!("skep\\-{escaped}")), "{command} is not in the manual");
        assert!(pages.join(format!("skep-{command}.1")).exists(), "{command} has no page");
    }
    assert!(pages.join("skep-secret-put.1").exists());
    let help = skep(folder.path(), &["--help"]).await;
    let listed: Vec<&str> = help.output.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for command in listed.into_iter().filter(|name| !name.is_empty() && !name.starts_with('-') && *name != "help") {
        assert!(COMMANDS.contains(&command), "{command} is not in this test's list");
    }
}
