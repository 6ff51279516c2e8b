//! SIGKILL at any moment of a deploy: what was acknowledged is live after the restart, and nothing is there by half.

use std::sync::Arc;
use std::time::Instant;

use hyper::Method;

use crate::support::Platform;

/// How often the platform is killed.
const ROUNDS: u64 = 100;

/// A Worker that answers with a number.
fn source(number: u64) -> String {
    format!("import text from './part.txt'; export default {{ fetch: () => new Response(`{number} ${{text}}`) }};")
}

#[tokio::test]
async fn a_killed_platform_has_what_it_acknowledged() {
    let mut platform = Platform::start().await;
    let (mut acknowledged, mut sent) = (0, 0);
    let begun = Instant::now();
    platform.upload("hello", &[("index.js", source(0)), ("./part.txt", "0".to_owned())]).await.expect("an answer");
    let whole = begun.elapsed();
    for round in 0..ROUNDS {
        let account = platform.account.clone();
        // Moments all over two deploys of this machine, in the same order in every run.
        let moment = whole.mul_f64((round * 7_919 % 10_000) as f64 / 5_000.0);
        let deploys = async {
            loop {
                sent += 1;
                let parts = [("index.js", source(sent)), ("./part.txt", sent.to_string())];
                if platform.upload("hello", &parts).await.is_none() {
                    break;
                }
                acknowledged = sent;
            }
        };
        tokio::select! {
            () = deploys => {}
            () = tokio::time::sleep(moment) => {}
        }
        platform.kill().await;
        platform = Platform::over(Arc::clone(&platform.data), &[]).await;
        assert_eq!(platform.account, account);
        let answer = platform.get("hello.dev", "/").await;
        let live: u64 = answer.text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            panic!("round {round}: {} {}", answer.status, answer.text);
        });
        assert_eq!(answer.text, format!("{live} {live}"), "round {round}: the modules are of one version");
        assert!(
            (acknowledged..=sent).contains(&live),
            "round {round}: {live} is live, {acknowledged} of {sent} was acknowledged"
        );
        // What was on its way may have arrived.
        acknowledged = acknowledged.max(live);
        let list = format!("/accounts/{account}/workers/scripts/hello/versions?deployable=true");
        let versions = platform.api(Method::GET, &list, "").await;
        assert!(versions["result"]["items"].as_array().is_some_and(|items| !items.is_empty()), "{versions}");
        let unfinished = platform.data.path().join("data/files/unfinished");
        assert_eq!(
            std::fs::read_dir(unfinished).expect("a folder").count(),
            0,
            "round {round}: a file is left half written"
        );
    }
    assert!(acknowledged > 0, "something was deployed");
    assert_eq!(platform.stop().await, Some(0));
}
