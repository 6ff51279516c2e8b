//! A version that gets its traffic in steps: it goes on when it is good, and goes back by itself when it fails.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Platform};

fn worker(answer: &str) -> String {
    format!("export default {{ fetch() {{ {answer} }} }};")
}

/// A deployed Worker, and a second version of it that is not.
async fn two_versions(platform: &Platform, second: &str) -> (String, String) {
    platform.upload("hello", &[("index.js", worker("return new Response('old')"))]).await.expect("it is deployed");
    let first = live(platform).await;
    let uploaded = platform.upload("hello", &[("index.js", worker(second))]).await.expect("it is deployed");
    drop(uploaded);
    let second = live(platform).await;
    let back = json!({ "strategy": "percentage", "versions": [{ "version_id": first, "percentage": 100 }] });
    let path = format!("/accounts/{}/workers/scripts/hello/deployments", platform.account);
    assert_eq!(platform.api(Method::POST, &path, &back.to_string()).await["success"], true);
    (first, second)
}

async fn live(platform: &Platform) -> String {
    shares(platform).await[0]["version_id"].as_str().expect("an id").to_owned()
}

async fn shares(platform: &Platform) -> Value {
    let path = format!("/accounts/{}/workers/scripts/hello/deployments", platform.account);
    platform.api(Method::GET, &path, "").await["result"]["deployments"][0]["versions"].clone()
}

async fn promotion(platform: &Platform, method: Method, sent: &Value) -> Value {
    let path = format!("/skep/v1/accounts/{}/workers/hello/promotion", platform.account);
    platform.own(method, &path, &sent.to_string()).await
}

/// Asks as many clients do, until the promotion is not running any more.
async fn ask_until_it_ends(platform: &Platform) -> Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut client = 0;
    loop {
        for _ in 0..20 {
            client += 1;
            platform.get_with("hello.dev", "/", &[("cloudflare-workers-version-key", &client.to_string())]).await;
        }
        let shown = promotion(platform, Method::GET, &Value::Null).await["result"].clone();
        if shown["state"] != "running" {
            return shown;
        }
        assert!(std::time::Instant::now() < deadline, "{shown}");
    }
}

#[tokio::test]
async fn a_good_version_gets_everything_step_by_step() {
    let platform = Platform::start().await;
    let (_, second) = two_versions(&platform, "return new Response('new')").await;
    let sent =
        json!({ "version_id": second, "steps": [10, 50, 100], "every": 1, "rollback_on": { "error_rate": 0.02 } });
    let begun = promotion(&platform, Method::PUT, &sent).await;
    assert_eq!(begun["result"]["state"], "running", "{begun}");
    assert_eq!(begun["result"]["percentage"], 10.0);
    let again = promotion(&platform, Method::PUT, &sent).await;
    assert!(again["errors"][0]["message"].as_str().is_some_and(|text| text.contains("is running")), "{again}");
    let ended = ask_until_it_ends(&platform).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(shares(&platform).await, json!([{ "version_id": second, "percentage": 100.0 }]));
    assert_eq!(platform.get("hello.dev", "/").await.text, "new");
    let path = format!("/accounts/{}/workers/scripts/hello/deployments", platform.account);
    let deployments = platform.api(Method::GET, &path, "").await;
    let percentages: Vec<&Value> = deployments["result"]["deployments"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|deployment| deployment["versions"].as_array().expect("a list"))
        .filter(|share| share["version_id"] == *second)
        .map(|share| &share["percentage"])
        .collect();
    assert_eq!(percentages, [&json!(100.0), &json!(50.0), &json!(10.0), &json!(100.0)], "newest first, and the upload");
}

#[tokio::test]
async fn a_version_that_throws_goes_back_and_everybody_hears_why() {
    let mut platform = Platform::start().await;
    let (first, second) = two_versions(&platform, "throw new RangeError('not ready')").await;
    let tails = format!("/accounts/{}/workers/scripts/hello/tails", platform.account);
    let made = platform.api(Method::POST, &tails, "").await;
    let mut tail = crate::tail::connect(made["result"]["url"].as_str().expect("a URL")).await.expect("a session");
    // A step is long: what follows happens within it.
    let sent =
        json!({ "version_id": second, "steps": [50, 100], "every": 3600, "rollback_on": { "error_rate": 0.02 } });
    assert_eq!(promotion(&platform, Method::PUT, &sent).await["success"], true);
    let ended = ask_until_it_ends(&platform).await;
    assert_eq!(ended["state"], "rolled_back", "{ended}");
    assert_eq!(ended["step"], 0);
    assert_eq!(shares(&platform).await, json!([{ "version_id": first, "percentage": 100.0 }]));
    assert_eq!(platform.get("hello.dev", "/").await.text, "old");

    let reason = ended["reason"].as_str().expect("a reason");
    for part in [second.as_str(), "at 50 %", "100.0 %, and 2 % are allowed", "RangeError: not ready"] {
        assert!(reason.contains(part), "{part:?} is not in {reason}");
    }
    platform.output.until(reason).await;
    let audit = format!("/skep/v1/accounts/{}/audit", platform.account);
    let entries = platform.own(Method::GET, &audit, "").await;
    let rollback =
        entries["result"].as_array().expect("a list").iter().find(|entry| entry["action"] == "promotion.rollback");
    assert_eq!(rollback.expect("an entry")["detail"]["reason"], reason, "{entries}");
    loop {
        let event = crate::tail::next(&mut tail).await;
        if event["event"].is_null() {
            let said = event["logs"][0]["message"][0].as_str().expect("a message");
            assert!(said.contains(reason), "{event}");
            break;
        }
    }
}

#[tokio::test]
async fn a_person_may_stop_it_and_a_restart_does_not() {
    let mut platform = Platform::start().await;
    let (first, second) = two_versions(&platform, "return new Response('new')").await;
    let sent = json!({ "version_id": second, "steps": [25, 100], "every": 3600 });
    assert_eq!(promotion(&platform, Method::PUT, &sent).await["success"], true);
    platform.kill().await;
    let platform = Platform::over(platform.data.clone(), &[]).await;
    let shown = promotion(&platform, Method::GET, &Value::Null).await;
    assert_eq!(
        (&shown["result"]["state"], &shown["result"]["percentage"]),
        (&json!("running"), &json!(25.0)),
        "{shown}"
    );
    let stopped = promotion(&platform, Method::DELETE, &Value::Null).await;
    assert_eq!(stopped["result"]["state"], "stopped", "{stopped}");
    assert_eq!(shares(&platform).await, json!([{ "version_id": first, "percentage": 100.0 }]));
    let again = promotion(&platform, Method::DELETE, &Value::Null).await;
    assert!(again["errors"][0]["message"].as_str().is_some_and(|text| text.contains("no promotion that is running")));

    for (steps, every) in
        [(json!([50, 10, 100]), 1), (json!([50]), 1), (json!([]), 1), (json!([0, 100]), 1), (json!([100]), 0)]
    {
        let sent = json!({ "version_id": second, "steps": steps, "every": every });
        let refused = promotion(&platform, Method::PUT, &sent).await;
        assert_eq!(refused["success"], false, "{sent}");
    }
}

#[tokio::test]
async fn another_deployment_ends_it() {
    let platform = Platform::start().await;
    let (_, second) = two_versions(&platform, "return new Response('new')").await;
    let sent = json!({ "version_id": second, "steps": [25, 100], "every": 1 });
    assert_eq!(promotion(&platform, Method::PUT, &sent).await["success"], true);
    platform.upload("hello", &[("index.js", worker("return new Response('third')"))]).await.expect("it is deployed");
    let ended = ask_until_it_ends(&platform).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("stopped"), &json!("something else was deployed")));
    assert_eq!(platform.get("hello.dev", "/").await.text, "third");
}
