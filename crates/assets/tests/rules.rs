//! `_redirects` and `_headers`: <https://developers.cloudflare.com/workers/static-assets/redirects/> and
//! <https://developers.cloudflare.com/workers/static-assets/headers/>.

mod support;

use serde_json::json;
use skep_assets::config::HtmlHandling;
use skep_assets::{HeaderRules, ProblemKind, RedirectRules};
use support::{Seen, Tested, config, content, request};

fn redirects(text: &str) -> Tested {
    Tested::assets(&["/a.html", "/news/b.html", "/index.html"], &config(json!({ "_redirects": text })))
}

fn problems(text: &str) -> Vec<(usize, ProblemKind)> {
    let (_, problems) = RedirectRules::parse(text, HtmlHandling::default());
    problems.into_iter().map(|problem| (problem.line, problem.kind)).collect()
}

#[tokio::test]
async fn the_documented_redirects() {
    let site = redirects(
        "/home301 / 301\n/home302 / 302\n/querystrings /?query=string 301\n/twitch https://twitch.tv\n/trailing /trailing/ 301\n\
         /notrailing/ /nottrailing 301\n/page/ /page2/#fragment 301\n/blog/* https://blog.my.domain/:splat\n\
         /products/:code/:name /products?code=:code&name=:name\n",
    );
    for (path, status, location) in [
        ("/home301", 301, "/"),
        ("/home302", 302, "/"),
        ("/querystrings", 301, "/?query=string"),
        ("/twitch", 302, "https://twitch.tv"),
        ("/trailing", 301, "/trailing/"),
        ("/notrailing/", 301, "/nottrailing"),
        ("/page/", 301, "/page2/#fragment"),
        ("/blog/2026/a", 302, "https://blog.my.domain/2026/a"),
        ("/blog/", 302, "https://blog.my.domain/"),
        ("/products/1/x", 302, "/products?code=1&name=x"),
        // the request's query is kept where the destination has none
        ("/home301?a=1", 301, "/?a=1"),
        // and is ASCII, as every URL is
        ("/home301?a=h\u{44f}", 301, "/?a=h%D1%8F"),
        ("/querystrings?a=1", 301, "/?query=string"),
        ("/page/?a=1", 301, "/page2/?a=1#fragment"),
        ("/twitch?a=1", 302, "https://twitch.tv?a=1"),
    ] {
        assert_eq!(site.get(path).await, Seen::To(status, location.to_owned()), "{path}");
    }
    for path in ["/notrailing", "/trailing/", "/page", "/products/1", "/products/1/2/3"] {
        assert_eq!(site.get(path).await, support::nothing(), "{path}");
    }
}

#[tokio::test]
async fn every_status() {
    let site = redirects("/1 /x 301\n/2 /x 302\n/3 /x 303\n/7 /x 307\n/8 /x 308\n/9 /x\n/0 /a 200");
    for (path, status) in [("/1", 301), ("/2", 302), ("/3", 303), ("/7", 307), ("/8", 308), ("/9", 302)] {
        assert_eq!(site.get(path).await, Seen::To(status, "/x".to_owned()));
        assert_eq!(site.ask(request("POST", path, &[])).await, Seen::To(status, "/x".to_owned()));
    }
    assert_eq!(site.get("/0").await, content("/a.html"));
}

#[tokio::test]
async fn a_redirect_wins_over_a_file_and_the_topmost_over_others() {
    let site = redirects("/a /first\n/x/* /second/:splat\n/x/fixed /third\n/y/fixed /fourth\n/y/* /fifth");
    assert_eq!(site.get("/a").await, Seen::To(302, "/first".to_owned()));
    assert_eq!(site.get("/x/fixed").await, Seen::To(302, "/second/fixed".to_owned()));
    assert_eq!(site.get("/y/fixed").await, Seen::To(302, "/fourth".to_owned()));
    assert_eq!(site.get("/y/other").await, Seen::To(302, "/fifth".to_owned()));
}

#[tokio::test]
async fn status_200_shows_another_path_once() {
    let site =
        redirects("/one /a 200\n/a /news/b 200\n/blog/* /news/:splat 200\n/page /a.html 200\n/gone /missing 200");
    assert_eq!(site.get("/one").await, content("/a.html"));
    assert_eq!(site.get("/a").await, content("/news/b.html"));
    assert_eq!(site.get("/blog/b").await, content("/news/b.html"));
    // what is shown has the redirects of its own path
    assert_eq!(site.get("/page").await, Seen::To(307, "/a".to_owned()));
    assert_eq!(site.get("/gone").await, support::nothing());
}

#[tokio::test]
async fn sources_are_compared_in_one_spelling() {
    let site = redirects("/föö /1\n/b%61r /2\n/@user/* /3/:splat\nno-slash /4\n/f#x /5\n/q?x=1 /6");
    for (path, location) in [
        ("/f%C3%B6%C3%B6", "/1"),
        ("/bar", "/2"),
        ("/@user/x", "/3/x"),
        ("/%40user/x", "/3/x"),
        ("/no-slash", "/4"),
        ("/f", "/5"),
        ("/q", "/6"),
    ] {
        assert_eq!(site.get(path).await, Seen::To(302, location.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_splat_leads_to_no_other_host() {
    let site = redirects("/go/* /:splat\n/out/* /x?u=https://a.example//b\n/back/* /\\evil.example/:splat");
    assert_eq!(site.get("/go//evil.example").await, Seen::To(302, "/evil.example".to_owned()));
    assert_eq!(site.get("/go/%2Fevil.example").await, Seen::To(302, "/evil.example".to_owned()));
    assert_eq!(
        site.get("/back/x").await,
        Seen::To(302, "/%5Cevil.example/x".to_owned()),
        "browsers take it for a slash"
    );
    assert_eq!(site.get("/go/%0d%0aset-cookie:x").await, Seen::To(302, "/%0D%0Aset-cookie%3Ax".to_owned()));
    assert_eq!(site.get("/out/y").await, Seen::To(302, "/x?u=https://a.example//b".to_owned()));
}

#[tokio::test]
async fn comments_and_blanks_say_nothing() {
    let text = "\u{feff}# first\r\n\r\n  /a   /b   301  # why\r\n\t/c#x /d\n/e /f # not a status\n";
    assert_eq!(problems(text), []);
    let site = redirects(text);
    assert_eq!(site.get("/a").await, Seen::To(301, "/b".to_owned()));
    assert_eq!(site.get("/c").await, Seen::To(302, "/d".to_owned()));
    assert_eq!(site.get("/e").await, Seen::To(302, "/f".to_owned()));
}

#[test]
fn wrong_redirects_are_named() {
    let long = format!("/{} /b", "x".repeat(1_000));
    for (text, expect) in [
        ("/a", ProblemKind::Words(1)),
        ("/a /b 301 more", ProblemKind::Words(4)),
        ("/shop id=:id /blog/:id 301", ProblemKind::Words(4)),
        ("/a /b 404", ProblemKind::Status),
        ("/a /b found", ProblemKind::Status),
        ("/a /b 3010", ProblemKind::Status),
        ("https://example.com/a /b", ProblemKind::AbsoluteSource),
        ("/a b", ProblemKind::NotAUrl),
        ("/a http://example.com", ProblemKind::NotAUrl),
        ("/a https://", ProblemKind::NotAUrl),
        ("/*/* /b", ProblemKind::Splats),
        ("/:x/:x /b", ProblemKind::Names),
        ("/a https://example.com 200", ProblemKind::AbsoluteProxy),
        ("/* /index.html 200", ProblemKind::Loop),
        ("/* /index", ProblemKind::Loop),
        ("/ /index.html", ProblemKind::Loop),
        ("/sub/ /sub/index", ProblemKind::Loop),
        (long.as_str(), ProblemKind::LongLine(1_000)),
    ] {
        assert_eq!(problems(&format!("/ok /b\n{text}\n/fine /b")), [(2, expect)], "{text}");
    }
    assert_eq!(problems("/a /b\n/a /c"), [(2, ProblemKind::Duplicate)]);
    assert_eq!(problems("/:a /b\n/:a /c"), [(2, ProblemKind::Duplicate)]);
    assert_eq!(problems("/* https://example.com/index.html"), []);
    let (_, without) = RedirectRules::parse("/ /index.html", HtmlHandling::None);
    assert_eq!(without, []);
    let (_, problems) = RedirectRules::parse("/a", HtmlHandling::None);
    assert_eq!(
        problems[0].to_string(),
        "line 1: a redirect has 2 or 3 words, this line has 1: write it as /from /to 301"
    );
}

#[test]
fn there_is_a_most_of_redirects() {
    let many = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let fixed = |number| format!("/{number} /x\n");
    let dynamic = |number| format!("/{number}/* /x\n");
    let (rules, problems) = RedirectRules::parse(&(many(2_000, fixed) + &many(100, dynamic)), HtmlHandling::None);
    assert_eq!((rules.len(), problems.len()), (2_100, 0));
    let (rules, problems) = RedirectRules::parse(&(many(2_001, fixed) + &many(101, dynamic)), HtmlHandling::None);
    assert_eq!(rules.len(), 2_100);
    let kinds: Vec<_> = problems.into_iter().map(|problem| (problem.line, problem.kind)).collect();
    assert_eq!(kinds, [(2_001, ProblemKind::StaticRedirects), (2_102, ProblemKind::DynamicRedirects)]);
    let (_, problems) = RedirectRules::parse(&"x\n".repeat(100_000), HtmlHandling::None);
    assert_eq!((problems.len(), &problems[100].kind), (101, &ProblemKind::More));
}

fn headers(text: &str) -> Tested {
    let files =
        &["/secure/page.html", "/static/image.jpg", "/static/styles.css", "/home.html", "/movies/alien.html", "/a.jpg"];
    Tested::assets(files, &config(json!({ "_headers": text, "_redirects": "/old /home" })))
}

fn header_problems(text: &str) -> Vec<(usize, ProblemKind)> {
    let (_, problems) = HeaderRules::parse(text);
    problems.into_iter().map(|problem| (problem.line, problem.kind)).collect()
}

#[tokio::test]
async fn the_documented_headers() {
    let site = headers(
        "# This is a comment\n/secure/page\n\tX-Frame-Options: DENY\n\tX-Content-Type-Options: nosniff\n\tReferrer-Policy: no-referrer\n\n\
         /static/*\n\tAccess-Control-Allow-Origin: *\n\tX-Robots-Tag: nosnippet\n\nhttps://myworker.mysubdomain.workers.dev/*\n\tX-Robots-Tag: noindex",
    );
    let own = "https://custom.domain";
    let workers = "https://myworker.mysubdomain.workers.dev";
    for (url, name, value) in [
        (format!("{own}/secure/page"), "x-frame-options", Some("DENY")),
        (format!("{own}/secure/page"), "x-content-type-options", Some("nosniff")),
        (format!("{own}/secure/page"), "referrer-policy", Some("no-referrer")),
        (format!("{own}/secure/page"), "x-robots-tag", None),
        (format!("{own}/static/image.jpg"), "access-control-allow-origin", Some("*")),
        (format!("{own}/static/image.jpg"), "x-robots-tag", Some("nosnippet")),
        (format!("{workers}/home"), "x-robots-tag", Some("noindex")),
        (format!("{workers}/home"), "x-frame-options", None),
        (format!("{workers}/secure/page"), "x-frame-options", Some("DENY")),
        (format!("{workers}/secure/page"), "x-robots-tag", Some("noindex")),
        (format!("{workers}/static/styles.css"), "x-robots-tag", Some("nosnippet, noindex")),
        // neither port nor scheme matter
        ("http://myworker.mysubdomain.workers.dev:1234/home".to_owned(), "x-robots-tag", Some("noindex")),
    ] {
        assert_eq!(site.header(&url, name).await.as_deref(), value, "{url} {name}");
    }
}

#[tokio::test]
async fn headers_are_replaced_joined_and_detached() {
    let site = headers(
        "/*\n  Content-Security-Policy: default-src 'self';\n  Cache-Control: public\n  Set-Cookie: a=1\n  X: 1\n  X: 2\n\
         /*.jpg\n  ! Content-Security-Policy\n  ! ETag\n  Set-Cookie: b=2\n\
         /static/*\n  Cache-Control: max-age=31556952\n",
    );
    assert_eq!(site.header("/a.jpg", "content-security-policy").await, None);
    assert_eq!(site.header("/a.jpg", "etag").await, None);
    assert_eq!(site.header("/home", "content-security-policy").await.as_deref(), Some("default-src 'self';"));
    assert_eq!(site.header("/home", "cache-control").await.as_deref(), Some("public"));
    assert_eq!(site.header("/static/styles.css", "cache-control").await.as_deref(), Some("public, max-age=31556952"));
    assert_eq!(site.header("/home", "x").await.as_deref(), Some("1, 2"));
    let (_, headers, _) = site.full(request("GET", "/a.jpg", &[])).await;
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test]
async fn what_wildcards_took_goes_into_values() {
    let site = headers(
        "/movies/:title\n  x-movie-name: You are watching \":title\"\n/static/*\n  X-File: :splat\nhttps://:sub.example.com/*\n  X-Sub: :sub :other\n",
    );
    assert_eq!(site.header("/movies/alien", "x-movie-name").await.as_deref(), Some("You are watching \"alien\""));
    assert_eq!(site.header("/static/image.jpg", "x-file").await.as_deref(), Some("image.jpg"));
    assert_eq!(site.header("https://a.example.com/home", "x-sub").await.as_deref(), Some("a :other"));
    assert_eq!(site.header("https://a.b.example.com/home", "x-sub").await, None);
}

#[tokio::test]
async fn every_answer_of_the_assets_has_its_headers() {
    let site = headers("/*\n  X-All: yes\n");
    for (method, path, asked) in [
        ("GET", "/home", [("range", "bytes=0-1")]),
        ("GET", "/home", [("range", "bytes=99-")]),
        ("GET", "/home", [("if-none-match", "*")]),
        ("GET", "/home.html", [("accept", "*/*")]),
        ("GET", "/old", [("accept", "*/*")]),
        ("GET", "/nothing", [("accept", "*/*")]),
        ("HEAD", "/home", [("accept", "*/*")]),
        ("POST", "/home", [("accept", "*/*")]),
    ] {
        let (status, headers, _) = site.full(request(method, path, &asked)).await;
        assert_eq!(headers.get("x-all").map(|value| value.to_str().unwrap()), Some("yes"), "{method} {path} {status}");
    }
}

#[test]
fn wrong_headers_are_named() {
    let long = format!("  x: {}", "y".repeat(2_000));
    for (text, expect) in [
        ("  no colon", ProblemKind::NotAHeader),
        ("  !NoSpace", ProblemKind::NotAHeader),
        ("  a b: c", ProblemKind::HeaderName),
        ("  : c", ProblemKind::HeaderName),
        ("  ! a b", ProblemKind::HeaderName),
        ("  x:", ProblemKind::HeaderValue),
        ("  x: a\u{1}b", ProblemKind::HeaderValue),
        ("  Content-Length: 5", ProblemKind::ServersHeader),
        ("  Transfer-Encoding: chunked", ProblemKind::ServersHeader),
        (long.as_str(), ProblemKind::LongLine(2_000)),
    ] {
        assert_eq!(header_problems(&format!("/ok\n{text}\n  y: z")), [(2, expect)], "{text}");
    }
    for (text, expect) in [
        ("http://example.com/", ProblemKind::NotAUrl),
        ("https://example.com:8080/", ProblemKind::Port),
        ("/*/*", ProblemKind::Splats),
        ("https://*.example.com/*", ProblemKind::Splats),
        ("/:a/:a", ProblemKind::Names),
        ("https://:a.example.com/:a", ProblemKind::Names),
    ] {
        // its headers are left out with it, and do not become another path's
        let text = format!("/ok\n  x: y\n{text}\n  z: 1\n  no colon\n");
        assert_eq!(header_problems(&text), [(3, expect)], "{text}");
        assert_eq!(HeaderRules::parse(&text).0.len(), 1);
    }
    assert_eq!(header_problems("x: y\n/a\n  x: y"), [(1, ProblemKind::NoPath)]);
    assert_eq!(header_problems("/a\n/b\n  x: y\n/c"), [(1, ProblemKind::NoHeaders), (4, ProblemKind::NoHeaders)]);
}

#[test]
fn there_is_a_most_of_header_rules() {
    let many = |count: usize| (0..count).map(|number| format!("/{number}\n  x: y\n")).collect::<String>();
    assert_eq!((HeaderRules::parse(&many(100)).0.len(), header_problems(&many(100))), (100, vec![]));
    let (rules, problems) = HeaderRules::parse(&many(102));
    assert_eq!(rules.len(), 100);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, &problems[0].kind), (201, &ProblemKind::HeaderRules));
}
