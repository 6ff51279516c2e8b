//! What is not delivered is shown to who runs the platform, who sends it again or lets go of it.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::processes::send;
use crate::support::{Hook, PATIENCE, Person, Platform, Posted, SECRET, SECRET_PATH, fetch, free_port, get};

/// A platform whose alerts go to these, and where its metrics and health are.
pub(crate) async fn telling(data: Arc<TempDir>, more: &str, hooks: &[(&str, &Hook)]) -> (Platform, String) {
    let config = data.path().join("skep.toml");
    let names: Vec<&str> = hooks.iter().map(|(name, _)| *name).collect();
    let sections: String = hooks.iter().map(|(name, hook)| hook.section(name)).collect();
    fs::write(&config, format!("alerts = {}\n{more}{sections}", json!(names))).expect("written");
    let metrics = format!("127.0.0.1:{}", free_port().await);
    let arguments = ["--config", config.to_str().expect("a path"), "--listen-metrics", metrics.as_str()];
    (Platform::over(data, &arguments).await, metrics)
}

pub(crate) fn folder() -> Arc<TempDir> {
    Arc::new(TempDir::new().expect("a folder"))
}

impl Platform {
    /// Has something happen that people are told of.
    async fn loses_a_process(&self) {
        let [runtime] = self.runtimes()[..] else { panic!("{:?}", self.runtimes()) };
        send("KILL", runtime).await;
        self.runtime_after(runtime).await;
    }

    async fn undelivered(&self) -> Value {
        let path = format!("/skep/v1/accounts/{}/deliveries", self.account);
        let answer = self.own(Method::GET, &path, "").await;
        assert_eq!(answer["success"], true, "{answer}");
        answer["result"].clone()
    }

    /// What is not delivered, once it is so.
    async fn undelivered_until(&self, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let undelivered = self.undelivered().await;
            if is(&undelivered) {
                return undelivered;
            }
            assert!(Instant::now() < deadline, "{undelivered}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn failed(undelivered: &Value) -> &Vec<Value> {
    undelivered["failed"].as_array().expect("a list")
}

#[tokio::test]
async fn what_was_refused_is_shown_and_sent_again_with_the_same_id() {
    // One takes what it is sent, the other one refuses it for good.
    let (good, bad) = (Hook::start(200).await, Hook::start(401).await);
    let (platform, metrics) = telling(folder(), "", &[("bad", &bad), ("good", &good)]).await;
    let person = Person::of(&platform).await;
    let here = platform.data.path();
    let nothing = person.does(here, &["deliveries"]).await;
    assert!(nothing.contains("DESTINATION") && nothing.contains("good") && !nothing.contains("ID "), "{nothing}");
    assert_eq!(
        person.does(here, &["deliveries", "retry", "--all"]).await.trim(),
        "Nothing failed, and nothing waits for its next try"
    );

    platform.loses_a_process().await;
    let shown = platform.undelivered_until(|undelivered| !failed(undelivered).is_empty()).await;
    let refused = bad.posted();
    // That it failed is told as well, soon, and to who refuses it, too.
    let first = &failed(&shown)[0];
    assert_eq!((first["id"].as_str(), first["destination"].as_str()), (Some(refused[0].id.as_str()), Some("bad")));
    assert_eq!(
        (first["kind"].as_str(), first["reason"].as_str()),
        (Some("alert"), Some("127.0.0.1 answered 401 Unauthorized"))
    );
    assert!(first["what"].as_str().is_some_and(|what| what.starts_with("runtime.died: A process")), "{shown}");
    let destination = &shown["destinations"][0];
    assert_eq!((&destination["name"], &destination["kind"]), (&json!("bad"), &json!("webhook")), "{shown}");
    assert!(destination["failed"].as_u64() >= Some(1) && destination["reason"].is_null(), "{shown}");
    // Whoever looks is told, and by whom it was not taken; nobody sees where exactly it was to go.
    let table = person.does(here, &["deliveries"]).await;
    assert!(table.contains(&refused[0].id) && table.contains("401 Unauthorized"), "{table}");
    let printed = format!("{table}{shown}{}", person.json(here, &["deliveries", "--to", "bad"]).await);
    assert!(!printed.contains(SECRET) && !printed.contains(SECRET_PATH), "{printed}");
    let told = fetch(&metrics, get("/metrics")).await.text;
    assert!(told.contains("\nskep_outbox_failed ") && !told.contains("\nskep_outbox_failed 0"), "{told}");
    let status = platform.checked("outbox", false).await;
    assert!(status["alerts"].to_string().contains("`skep deliveries` says why"), "{status}");

    // Others are not asked, and mistakes change nothing.
    for (arguments, says) in [
        (&["deliveries", "--to", "nobody"][..], "there is no destination \"nobody\": there is bad, good"),
        (&["deliveries", "retry", "msg_0"], "nothing that failed has the id \"msg_0\""),
        (&["deliveries", "retry"], "say which deliveries: their ids, --to NAME, or --all"),
        (&["deliveries", "forget", "--all"], "add -y to say yes"),
        (&["deliveries", "--to", "bad", "forget", "--all", "-y"], "--all is every destination"),
    ] {
        let error = person.fails(here, arguments).await;
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let tokens = format!("/skep/v1/accounts/{}/tokens", platform.account);
    let small = r#"{ "name": "small", "permissions": ["account_read", "account_write", "workers_write"] }"#;
    let made = platform.own(Method::POST, &tokens, small).await;
    let token = made["result"]["value"].as_str().expect("a token").to_owned();
    let refused_to = person.fails(here, &["deliveries", "--token", &token]).await;
    assert!(refused_to.contains("needs the permission operator"), "{refused_to}");
    assert_eq!(failed(&platform.undelivered().await).iter().filter(|failed| failed["id"] == first["id"]).count(), 1);

    // Not mended yet.
    let id = first["id"].as_str().expect("an id");
    let again = person.does(here, &["deliveries", "retry", id]).await;
    assert_eq!(again.trim(), "What failed (1) is sent again");
    let same = |posted: &Posted| posted.id == id;
    let twice = |undelivered: &Value| {
        bad.posted().iter().filter(|posted| same(posted)).count() == 2
            && failed(undelivered).iter().any(|failed| failed["id"] == id)
    };
    platform.undelivered_until(twice).await;
    bad.answers(200);
    let retried = person.json(here, &["deliveries", "retry", "--to", "bad"]).await;
    assert!(retried["retried"].as_u64() >= Some(1), "{retried}");
    bad.until("the alert", PATIENCE, |posted| same(posted) && posted.status == 200).await;
    let is_done = |destination: &Value| destination["failed"] == 0 && destination["waiting"] == 0;
    platform
        .undelivered_until(|undelivered| failed(undelivered).is_empty() && is_done(&undelivered["destinations"][0]))
        .await;
    platform.checked("outbox", true).await;
    assert_eq!(
        bad.posted().iter().filter(|posted| same(posted)).map(|posted| posted.status).collect::<Vec<_>>(),
        [401, 401, 200]
    );
    let audit = platform.own(Method::GET, &format!("/skep/v1/accounts/{}/audit", platform.account), "").await;
    let decided: Vec<&Value> = audit["result"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["action"] == "deliveries.retry")
        .collect();
    assert!(decided.len() == 2 && decided.iter().all(|entry| entry["target"] == "bad"), "{audit}");
    assert!(decided[1]["detail"]["ids"] == json!([id]) && !audit.to_string().contains(SECRET_PATH), "{audit}");
}

#[tokio::test]
async fn what_is_let_go_of_is_never_sent_not_even_after_a_restart() {
    let bad = Hook::start(400).await;
    let (mut platform, _) = telling(folder(), "", &[("bad", &bad)]).await;
    let person = Person::of(&platform).await;
    let here = platform.data.path();
    platform.loses_a_process().await;
    platform.undelivered_until(|undelivered| !failed(undelivered).is_empty()).await;
    let forgotten = person.json(here, &["deliveries", "forget", "--to", "bad", "-y"]).await;
    assert!(forgotten["forgotten"].as_u64() >= Some(1), "{forgotten}");
    let audit = platform.own(Method::GET, &format!("/skep/v1/accounts/{}/audit", platform.account), "").await;
    assert!(audit.to_string().contains("deliveries.forget"), "{audit}");
    let id = bad.posted()[0].id.clone();
    platform.kill().await;
    bad.answers(200);
    let (platform, _) = telling(Arc::clone(&platform.data), "", &[("bad", &bad)]).await;
    let left = platform.undelivered().await;
    assert!(failed(&left).iter().all(|failed| failed["id"] != id.as_str()), "{left}");
    // What comes next goes; what was let go of would have gone before it.
    let before = bad.posted().len();
    platform.loses_a_process().await;
    bad.until("the next one", PATIENCE, |posted| posted.status == 200).await;
    assert!(bad.posted()[before..].iter().all(|posted| posted.id != id), "{:?}", bad.posted());
}
