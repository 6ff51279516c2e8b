//! The master key is replaced while the platform runs, and Workers keep their secrets.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Person, Platform, command};

const WORKER: &str = "export default { fetch: (request, env) => new Response(env.TOKEN ?? 'none') };";
/// A master key.
const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The platform with a Worker that answers with its secret, and somebody who is logged in.
async fn with_a_secret() -> (Platform, Person) {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let put = person.run_with(person.home(), &["secret", "put", "TOKEN", "--name", "hello"], &[], "hunter2").await;
    assert_eq!(put.code, Some(0), "{}", put.errors);
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    (platform, person)
}

fn key_file(platform: &Platform) -> PathBuf {
    platform.data.path().join("data/master-key")
}

fn keys(platform: &Platform) -> Vec<String> {
    fs::read_to_string(key_file(platform)).expect("a file of keys").lines().map(str::to_owned).collect()
}

/// Stops the platform and starts it again over the same data.
async fn restart(mut platform: Platform, arguments: &[&str]) -> Platform {
    assert_eq!(platform.stop().await, Some(0));
    Platform::over(Arc::clone(&platform.data), arguments).await
}

#[tokio::test]
async fn a_rotation_takes_secrets_along_and_ends_the_old_key() {
    let (platform, person) = with_a_secret().await;
    let home = person.home();
    let old = keys(&platform);
    let before = person.json(home, &["master-key", "status"]).await;
    assert_eq!((&before["secrets"], &before["others"]), (&json!(1), &json!([])), "{before}");
    assert!(before["kept_in"].as_str().is_some_and(|place| place.ends_with("/data/master-key")), "{before}");

    let rotated = person.json(home, &["master-key", "rotate"]).await;
    assert_eq!((&rotated["former_key"], &rotated["resealed"]), (&before["key"], &json!(1)), "{rotated}");
    let new = keys(&platform);
    assert!(new.len() == 1 && new != old, "the new key alone is in the file");
    let shown = person.does(home, &["master-key", "status"]).await;
    assert!(shown.contains(rotated["key"].as_str().expect("a name")) && shown.contains("current"), "{shown}");
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    // Isolates that start from now on read it too, and what is put now is under the new key.
    platform.upload("hello", &[("index.js", format!("{WORKER} // again"))]).await.expect("it is deployed");
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    let audit = platform.own(Method::GET, &format!("/skep/v1/accounts/{}/audit", platform.account), "").await;
    let entries = audit["result"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["action"] == "master_key.rotate").expect("an entry");
    assert_eq!((&entry["target"], &entry["detail"]["former"]), (&rotated["key"], &before["key"]), "{entry}");

    let platform = restart(platform, &[]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    let status = platform.own(Method::GET, &format!("/skep/v1/accounts/{}/master-key", platform.account), "").await;
    assert_eq!((&status["result"]["secrets"], &status["result"]["others"]), (&json!(2), &json!([])), "{status}");

    // The old key alone opens nothing; who starts with it is told which Workers want which key.
    let file = platform.data.path().join("old-key");
    fs::write(&file, old.join("\n")).expect("a file");
    let arguments = ["--master-key-file", file.to_str().expect("a path")];
    let mut platform = restart(platform, &arguments).await;
    platform.output.until("error: 2 secrets of hello.dev are sealed under the master key ").await;
    assert_eq!(platform.output.until(",").await, rotated["key"].as_str().expect("a name"));
    let refused = platform.get("hello.dev", "/").await;
    assert!(refused.status.is_server_error() && !refused.text.contains("hunter2"), "{}", refused.text);
    let mut platform = restart(platform, &[]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn a_start_finishes_what_a_crash_left() {
    let (mut platform, _) = with_a_secret().await;
    let old = keys(&platform);
    platform.kill().await;
    // As a rotation leaves it that was killed after its first step.
    fs::write(key_file(&platform), format!("{OTHER_KEY}\n{}\n", old[0])).expect("written");
    let mut platform = Platform::over(Arc::clone(&platform.data), &[]).await;
    platform.output.until("A secret was sealed again under the master key ").await;
    platform.output.line().await;
    assert_eq!(keys(&platform), [OTHER_KEY]);
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    let mut platform = restart(platform, &[]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn a_key_from_elsewhere_is_replaced_by_a_restart() {
    let (mut platform, _) = with_a_secret().await;
    let old = keys(&platform).remove(0);
    assert_eq!(platform.stop().await, Some(0));
    let folder = platform.data.path().join("data");
    let mut serve = command(platform.data.path(), &Platform::arguments(&folder, &[]));
    serve.env("SKEP_MASTER_KEY", OTHER_KEY).env("SKEP_FORMER_MASTER_KEYS", &old);
    let mut platform = Platform::spawn(Arc::clone(&platform.data), serve, |_| folder).await;
    platform.output.until("A secret was sealed again under the master key ").await;
    platform.output.until("SKEP_FORMER_MASTER_KEYS is no longer needed\n").await;
    assert_eq!(platform.get("hello.dev", "/").await.text, "hunter2");

    let person = Person::of(&platform).await;
    let refused = person.run(person.home(), &["master-key", "rotate", "--json"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    let refused: Value = serde_json::from_str(&refused.errors).expect("JSON");
    assert_eq!(refused["error"]["status"], 409, "{refused}");
    let message = refused["error"]["message"].as_str().expect("a message");
    for step in ["SKEP_MASTER_KEY", "SKEP_FORMER_MASTER_KEYS", "restart"] {
        assert!(message.contains(step), "{step}: {message}");
    }
    // Whoever owns Workers and not the machine may not.
    let token = r#"{ "name": "ci", "permissions": ["account_write", "workers_write"] }"#;
    let made = platform.own(Method::POST, &format!("/skep/v1/accounts/{}/tokens", platform.account), token).await;
    let token = made["result"]["value"].as_str().expect("a token");
    let refused = person.fails(person.home(), &["master-key", "rotate", "--token", token]).await;
    assert!(refused.contains("operator"), "{refused}");
    assert_eq!(platform.stop().await, Some(0));
}
