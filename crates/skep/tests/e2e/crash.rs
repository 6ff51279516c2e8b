//! SIGKILL at any moment of a deploy, while visitors come: what was acknowledged is live after the restart, nothing is there
//! by half, and nobody ever sees a version that was not deployed.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;

use crate::support::{Answer, Platform};

/// How often the platform is killed.
const ROUNDS: u64 = 100;

/// Visitors at once.
const VISITORS: usize = 4;

/// A Worker that answers with a number.
fn source(number: u64) -> String {
    format!("import text from './part.txt'; export default {{ fetch: () => new Response(`{number} ${{text}}`) }};")
}

/// What a visitor saw.
fn number(answer: &Answer, round: u64) -> u64 {
    let number: u64 = answer.text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| {
        panic!("round {round}: {} {}", answer.status, answer.text);
    });
    assert_eq!(answer.text, format!("{number} {number}"), "round {round}: the modules are of one version");
    number
}

#[tokio::test]
async fn a_killed_platform_has_what_it_acknowledged() {
    let mut platform = Platform::start().await;
    let (acknowledged, sent) = (Cell::new(0), Cell::new(0));
    let visits = Cell::new(0_u64);
    let begun = Instant::now();
    platform.upload("hello", &[("index.js", source(0)), ("./part.txt", "0".to_owned())]).await.expect("an answer");
    let whole = begun.elapsed();
    for round in 0..ROUNDS {
        let account = platform.account.clone();
        // Moments all over a deploy of this machine, which takes longer while visitors come; in the same order in every run.
        let moment = whole.mul_f64((round * 7_919 % 10_000) as f64 / 2_500.0);
        let deploys = async {
            loop {
                sent.set(sent.get() + 1);
                let parts = [("index.js", source(sent.get())), ("./part.txt", sent.get().to_string())];
                if platform.upload("hello", &parts).await.is_none() {
                    break;
                }
                acknowledged.set(sent.get());
            }
        };
        let visit = async || {
            loop {
                let before = acknowledged.get();
                let Some(answer) = platform.try_get("hello.dev", "/").await else { break };
                let seen = number(&answer, round);
                assert!(
                    (before..=sent.get()).contains(&seen),
                    "round {round}: a visitor saw {seen}, after {before} was acknowledged"
                );
                visits.set(visits.get() + 1);
            }
        };
        let visitors = futures_util::future::join_all((0..VISITORS).map(|_| visit()));
        tokio::select! {
            () = deploys => {}
            _ = visitors => {}
            () = tokio::time::sleep(moment) => {}
        }
        platform.kill().await;
        platform = Platform::over(Arc::clone(&platform.data), &[]).await;
        assert_eq!(platform.account, account);
        let live = number(&platform.get("hello.dev", "/").await, round);
        let (least, most) = (acknowledged.get(), sent.get());
        assert!((least..=most).contains(&live), "round {round}: {live} is live, {least} of {most} was acknowledged");
        // What was on its way may have arrived.
        acknowledged.set(live);
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
    assert!(acknowledged.get() > 0 && visits.get() > 0, "something was deployed, and somebody came");
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn a_stop_waits_for_what_wait_until_has_begun() {
    let done = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = done.local_addr().expect("an address");
    let mut platform = Platform::start().await;
    let worker = format!(
        "export default {{ fetch(request, env, ctx) {{
            ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 1_000)).then(() => fetch('http://{address}/')));
            return new Response('answered');
        }} }};"
    );
    platform.upload("hello", &[("index.js", worker)]).await.expect("it is deployed");
    assert_eq!(platform.get("hello.dev", "/").await.text, "answered");
    let told = tokio::spawn(async move { done.accept().await.map(drop) });
    assert_eq!(platform.stop().await, Some(0));
    let accepted = tokio::time::timeout(crate::support::PATIENCE, told).await.expect("the task was done");
    assert!(accepted.expect("no panic").is_ok());
    assert!(!platform.output.all().contains("Stopped before"), "{}", platform.output.all());
}
