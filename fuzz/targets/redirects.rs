//! `_redirects`: the first line is a path, the others are the file. Rules never fail, and never lead a path of this site to
//! another site unless the file names it.

#![no_main]

use std::sync::{Arc, LazyLock};

use http::{Request, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use skep_assets::{Answer, Config, Manifest, MemoryContents, RedirectRules, Script, Server, Site};

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::new(Arc::new(MemoryContents::default()), 0));

fuzz_target!(|text: &str| {
    let (path, rules) = text.split_once('\n').unwrap_or((text, ""));
    let config = Config { redirects: Some(rules.to_owned()), ..Config::default() };
    let (parsed, problems) = RedirectRules::parse(rules, config.html_handling);
    assert!(parsed.len() + problems.len() <= rules.lines().count() + 1, "each line is a rule, a problem or nothing");
    let (site, _) = Site::new(Manifest::default(), &config, Script::None);
    let Ok(request) = Request::get(format!("http://example.com/{}", path.trim_start_matches('/'))).body(()) else {
        return;
    };
    let Answer::Response(response) = SERVER.answer(&site, &request) else {
        panic!("there are neither files nor a Worker");
    };
    let is_redirect = response.status().is_redirection();
    assert!(is_redirect || response.status() == StatusCode::NOT_FOUND, "{}", response.status());
    if let Some(location) = response.headers().get(header::LOCATION) {
        let location = location.as_bytes();
        assert!(location.iter().all(|byte| byte.is_ascii_graphic()), "{location:?}");
        let elsewhere = location.starts_with(b"//") || location.starts_with(b"/\\");
        assert!(!elsewhere, "{}", String::from_utf8_lossy(location));
    }
});
