//! `_headers`: the first line is a path, the others are the file. Rules never fail, and never set what frames a response.

#![no_main]

use std::sync::{Arc, LazyLock};

use http::Request;
use libfuzzer_sys::fuzz_target;
use skep_assets::{Answer, Config, HeaderRules, Manifest, MemoryContents, Script, Server, Site};

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::new(Arc::new(MemoryContents::default()), 0));

fuzz_target!(|text: &str| {
    let (path, rules) = text.split_once('\n').unwrap_or((text, ""));
    let (_, problems) = HeaderRules::parse(rules);
    let lines = rules.lines().count() + 1;
    assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{problems:?}");
    let config = Config { headers: Some(rules.to_owned()), ..Config::default() };
    let (site, _) = Site::new(Manifest::default(), &config, Script::None);
    let Ok(request) = Request::get(format!("http://example.com/{}", path.trim_start_matches('/'))).body(()) else {
        return;
    };
    let Answer::Response(response) = SERVER.answer(&site, &request) else {
        panic!("there are neither files nor a Worker");
    };
    for name in ["connection", "content-length", "transfer-encoding", "upgrade"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
});
