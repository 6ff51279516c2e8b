//! Properties that hold for every text, every path and every header.

mod support;

use http::{Request, Uri};
use proptest::prelude::*;
use skep_assets::config::HtmlHandling;
use skep_assets::{
    Answer, Config, Encoding, HeaderRules, Manifest, MemoryContents, RedirectRules, Script, Server, Site,
};
use std::sync::Arc;

/// Texts that look like rules.
fn rules() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            "[/:*a-c.%#?! \t-]{0,30}",
            "(/[a-c:*%]{0,6}){0,4} (https://[a-c:.*]{0,8})?(/[a-c:*?#=]{0,8}){0,3}( (200|30[12378]|[0-9]{1,4}))?",
            "  [A-Za-z! -]{0,12}: ?[ -~:]{0,20}",
            "\\PC{0,40}",
        ],
        0..12,
    )
    .prop_map(|lines| lines.join("\n"))
}

fn site(headers: &str, redirects: &str, manifest: Manifest) -> Site {
    let config =
        Config { headers: Some(headers.to_owned()), redirects: Some(redirects.to_owned()), ..Config::default() };
    Site::new(manifest, &config, Script::None).0
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// No text makes the parsers panic, and each line is a rule, a problem or says nothing.
    #[test]
    fn any_text_is_parsed(text in any::<String>()) {
        let (rules, problems) = RedirectRules::parse(&text, HtmlHandling::default());
        prop_assert!(rules.len() + problems.len() <= text.split('\n').count());
        let (rules, problems) = HeaderRules::parse(&text);
        prop_assert!(rules.len() + problems.len() <= text.split('\n').count());
    }

    /// Whatever the rules and the path, the answer is a valid response that leads to no other site by accident.
    #[test]
    fn any_rules_answer_any_path(headers in rules(), redirects in rules(), path in "/[ -~]{0,40}") {
        let relative_only = !redirects.contains("https://");
        let site = site(&headers, &redirects, support::manifest_of(&["/a.html", "/b/index.html", "/c"]).0);
        let server = Server::new(Arc::new(MemoryContents::default()), 0);
        if let Ok(uri) = format!("https://example.com{path}").parse::<Uri>() {
            let request = Request::get(uri).body(()).unwrap();
            match server.answer(&site, &request) {
                Answer::Worker(_) => prop_assert!(false, "there is no Worker"),
                Answer::Pending(_) => {}
                Answer::Response(response) => {
                    let rule_sets_location = headers.to_ascii_lowercase().contains("location");
                    if let Some(location) = response.headers().get("location").filter(|_| relative_only && !rule_sets_location) {
                        prop_assert!(location.as_bytes().starts_with(b"/") && !location.as_bytes().starts_with(b"//"));
                    }
                }
            }
        }
    }

    /// A redirect by HTML handling never leads in a circle: two steps reach a file or nothing.
    #[test]
    fn pages_are_reached(
        files in proptest::collection::btree_set("(/[ab]){1,2}(/index)?(\\.html)?", 1..6),
        path in "(/[ab]){0,2}(/index)?(\\.html|/)?",
        handling in prop_oneof![Just("auto-trailing-slash"), Just("force-trailing-slash"), Just("drop-trailing-slash"), Just("none")],
    ) {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let config = support::config(serde_json::json!({ "html_handling": handling }));
        let (site, _) = Site::new(support::manifest_of(&files).0, &config, Script::None);
        let server = Server::new(Arc::new(MemoryContents::default()), 0);
        let mut path = if path.is_empty() { "/".to_owned() } else { path };
        let start = path.clone();
        for step in 0.. {
            let request = Request::get(format!("https://example.com{path}")).body(()).unwrap();
            let Answer::Response(response) = server.answer(&site, &request) else { break };
            let Some(location) = response.headers().get("location") else { break };
            prop_assert!(step < 3, "{start} of {files:?} leads on and on");
            path = location.to_str().unwrap().to_owned();
        }
    }

    /// Nothing a client writes in these headers makes a panic, and a part is never more than the whole.
    #[test]
    fn any_headers_are_answered(
        range in "(bytes)?=?[-0-9, =a]{0,24}",
        tag in "[\"W/*, a-f0-9]{0,48}",
        accept in "(br|gzip|zstd|identity|\\*|;q=|[0-9.,; ]){0,8}",
    ) {
        let (site, server) = {
            let (manifest, contents) = support::manifest_of(&["/a.txt"]);
            (site("", "", manifest), Server::new(Arc::new(contents), 1024))
        };
        let request = support::request("GET", "/a.txt", &[("range", &range), ("if-none-match", &tag), ("accept-encoding", &accept)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(server.answer(&site, &request).response()).unwrap().unwrap();
        prop_assert!([200, 206, 304, 416].contains(&response.status().as_u16()));
        prop_assert!(response.body().as_full().unwrap().len() <= "/a.txt".len());
    }

    /// A manifest from outside is refused or is written as it was read.
    #[test]
    fn any_manifest_is_read(paths in proptest::collection::btree_set("[/a-c.\\\\]{0,12}", 0..8), size in 0u64..60_000_000) {
        let hash = support::hash_of("x");
        let json: serde_json::Map<String, serde_json::Value> =
            paths.iter().map(|path| (path.clone(), serde_json::json!({ "hash": hash, "size": size }))).collect();
        let text = serde_json::to_string(&json).unwrap();
        if let Ok(manifest) = serde_json::from_str::<Manifest>(&text) {
            prop_assert_eq!(manifest.len(), paths.len());
            prop_assert_eq!(serde_json::to_string(&manifest).unwrap(), text);
            for path in &paths {
                prop_assert_eq!(manifest.get(path).unwrap().hash(), hash);
                prop_assert!(manifest.get(path).unwrap().variants().size(Encoding::Brotli).is_none());
            }
        }
    }
}
