//! Skep's own commands while a Worker serves: the live log, and traffic that moves step by step.

use serde_json::Value;

use crate::support::{Dev, Person, Platform, Project};

fn worker(answer: &str) -> String {
    format!("export default {{ fetch(request) {{ {answer} }} }};")
}

async fn deployed(platform: &Platform) -> (Person, Project) {
    let person = Person::of(platform).await;
    let project = Project::new(&[
        (
            "index.js",
            &worker("console.log('seen', { path: new URL(request.url).pathname }); return new Response('old');"),
        ),
        ("wrangler.jsonc", r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01" }"#),
    ]);
    person.does(project.folder(), &["deploy"]).await;
    (person, project)
}

#[tokio::test]
async fn a_tail_shows_what_happens() {
    let platform = Platform::start().await;
    let (person, project) = deployed(&platform).await;
    let mut people = Dev::spawn(person.command(project.folder(), &["tail", "--format", "pretty"]));
    people.output.until("Connected to hello").await;
    let mut programs = Dev::spawn(person.command(project.folder(), &["tail", "hello", "--json", "--search", "seen"]));
    programs.output.until("Connected to hello").await;
    programs.output.line().await;
    assert_eq!(platform.get("hello.dev", "/a").await.text, "old");
    people.output.until("GET http://hello.dev.localhost").await;
    people.output.until("/a - Ok @ ").await;
    people.output.until("  (log) seen { path: '/a' }\n").await;
    let event: Value = serde_json::from_str(&programs.output.line().await).expect("a document on a line");
    assert_eq!((&event["outcome"], &event["scriptName"]), (&"ok".into(), &"hello".into()), "{event}");
    for mut tail in [people, programs] {
        tail.signal("INT").await;
        assert_eq!(tail.end().await, Some(0), "{}", tail.output.all());
    }
}

#[tokio::test]
async fn a_good_version_gets_all_the_traffic() {
    let platform = Platform::start().await;
    let (person, project) = deployed(&platform).await;
    let folder = project.folder();
    project.write("index.js", &worker("return new Response('new');"));
    let promoted = person.json(folder, &["deploy", "--gradual", "50,100", "--every", "1s", "--wait"]).await;
    assert_eq!(promoted["promotion"]["state"], "done", "{promoted}");
    assert_eq!(platform.get("hello.dev", "/").await.text, "new");

    // Without a terminal or --wait it goes on by itself, and a rollback stops it.
    project.write("index.js", &worker("return new Response('newer');"));
    let begun = person.does(folder, &["deploy", "--gradual", "10", "--every", "1h"]).await;
    assert!(begun.contains("has 10 % of the traffic") && begun.contains("skep rollback"), "{begun}");
    let status = person.does(folder, &["deployments", "status"]).await;
    assert!(status.contains("Promotion: ") && status.contains("   90 %"), "{status}");
    let stopped = person.does(folder, &["rollback", "-y"]).await;
    assert!(stopped.contains("Stopped"), "{stopped}");
    assert_eq!(platform.get("hello.dev", "/").await.text, "new");
}

#[tokio::test]
async fn a_bad_version_goes_back_and_the_command_says_why() {
    let platform = Platform::start().await;
    let (person, project) = deployed(&platform).await;
    project.write("index.js", &worker("throw new RangeError('not ready');"));
    let gradual = ["deploy", "--gradual", "50,100", "--every", "1h", "--rollback-on", "error-rate>2%", "--wait"];
    let deploying = person.run(project.folder(), &gradual);
    let asking = async {
        for client in 0.. {
            let key = [("cloudflare-workers-version-key", client.to_string())];
            platform.get_with("hello.dev", "/", &key.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
        }
    };
    let ended = tokio::select! {
        ended = deploying => ended,
        () = asking => unreachable!("it asks for ever"),
    };
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for part in ["did not get all the traffic", "at 50 %", "RangeError: not ready"] {
        assert!(ended.errors.contains(part), "{part:?} is not in {}", ended.errors);
    }
    assert!(platform.get("hello.dev", "/").await.text.contains("old"));
}
