//! The same cases in workerd and in Skep. workerd's answers are recorded in `conformance/workerd.json` (`record.mjs` makes
//! it); each intended difference is in `conformance/differences.tsv`, with its reason.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::{Map, Value};
use skep_test_support::{answered, get, module, start, test, text, version};
use skep_worker::Version;

const RUNNER: &str = include_str!("conformance/runner.js");
const DIFFERENCES: &str = include_str!("conformance/differences.tsv");

/// The files of cases.
const FILES: &[(&str, &str)] = &[
    ("bodies", include_str!("conformance/bodies.js")),
    ("crypto", include_str!("conformance/crypto.js")),
    ("encoding", include_str!("conformance/encoding.js")),
    ("events", include_str!("conformance/events.js")),
    ("headers", include_str!("conformance/headers.js")),
    ("html", include_str!("conformance/html.js")),
    ("platform", include_str!("conformance/platform.js")),
    ("request", include_str!("conformance/request.js")),
    ("response", include_str!("conformance/response.js")),
    ("streams", include_str!("conformance/streams.js")),
    ("urls", include_str!("conformance/urls.js")),
];

/// What workerd answered.
pub(crate) fn recorded() -> Value {
    serde_json::from_str(include_str!("conformance/workerd.json")).expect("workerd.json is JSON")
}

/// What Skep answers to a file of cases.
pub(crate) async fn answers(cases: &str) -> Map<String, Value> {
    let mut version = Version { main: "runner.js".to_owned(), ..version("") };
    version.modules = vec![module("runner.js", RUNNER), module("cases.js", cases)];
    let (isolate, _) = start(version).await.unwrap();
    let response = answered(isolate.fetch(get("http://localhost/path?query")).await).unwrap();
    serde_json::from_str(&text(response).await).unwrap()
}

pub(crate) fn tests() -> Vec<Trial> {
    FILES
        .iter()
        .map(|(file, cases)| test(&format!("conformance::{file}"), move || answers_as_workerd_does(file, cases)))
        .collect()
}

async fn answers_as_workerd_does(file: &'static str, cases: &'static str) {
    let recorded = recorded();
    let expected = recorded["answers"][file].as_object().expect("the file is recorded");
    let given = answers(cases).await;
    let intended: BTreeMap<&str, &str> =
        DIFFERENCES.lines().filter_map(|line| line.strip_prefix(file)?.strip_prefix('/')?.split_once('\t')).collect();
    let mut wrong = Vec::new();
    for (name, given) in &given {
        let Some(expected) = expected.get(name) else {
            wrong.push(format!("{file}/{name} is not recorded: run record.mjs"));
            continue;
        };
        match (given == expected, intended.contains_key(name.as_str())) {
            (true, true) => wrong.push(format!("{file}/{name} is in differences.tsv and does not differ")),
            (false, false) => wrong.push(format!("{file}/{name}\n  workerd {expected}\n  skep    {given}")),
            (true, false) | (false, true) => {}
        }
    }
    wrong.extend(
        intended
            .keys()
            .filter(|name| !given.contains_key(**name))
            .map(|name| format!("there is no case {file}/{name}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
