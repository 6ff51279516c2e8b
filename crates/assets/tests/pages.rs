//! Which file a path leads to: the tables of
//! <https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/>, and what lies between them.

mod support;

use serde_json::json;
use support::{Seen, Tested, config, content, nothing, request, to};

/// Asks for each path and compares.
async fn check(handling: &str, files: &[&str], cases: &[(&str, Seen)]) {
    let site = Tested::assets(files, &config(json!({ "html_handling": handling })));
    for (path, expect) in cases {
        assert_eq!(site.get(path).await, *expect, "{handling}: {path} of {files:?}");
    }
}

const FILE: &[&str] = &["/file.html", "/folder/index.html"];
const BOTH: &[&str] = &["/both.html", "/both/index.html"];
const BINARY: &[&str] = &["/bin", "/bin.html"];

#[tokio::test]
async fn auto_trailing_slash() {
    let handling = "auto-trailing-slash";
    check(
        handling,
        FILE,
        &[
            ("/file", content("/file.html")),
            ("/file.html", to("/file")),
            ("/file/", to("/file")),
            ("/file/index", to("/file")),
            ("/file/index.html", to("/file")),
            ("/folder", to("/folder/")),
            ("/folder.html", to("/folder/")),
            ("/folder/", content("/folder/index.html")),
            ("/folder/index", to("/folder/")),
            ("/folder/index.html", to("/folder/")),
        ],
    )
    .await;
    check(handling, &["/index.html"], &[("/", content("/index.html")), ("/index", to("/")), ("/index.html", to("/"))])
        .await;
    check(
        handling,
        BOTH,
        &[
            ("/both", content("/both.html")),
            ("/both.html", to("/both")),
            ("/both/", content("/both/index.html")),
            ("/both/index", to("/both/")),
            ("/both/index.html", to("/both/")),
        ],
    )
    .await;
    check(
        handling,
        BINARY,
        &[
            ("/bin", content("/bin")),
            ("/bin.html", content("/bin.html")),
            ("/bin/", nothing()),
            ("/bin/index", nothing()),
            ("/bin/index.html", nothing()),
        ],
    )
    .await;
}

#[tokio::test]
async fn force_trailing_slash() {
    let handling = "force-trailing-slash";
    check(
        handling,
        FILE,
        &[
            ("/file", to("/file/")),
            ("/file.html", to("/file/")),
            ("/file/", content("/file.html")),
            ("/file/index", to("/file/")),
            ("/file/index.html", to("/file/")),
            ("/folder", to("/folder/")),
            ("/folder.html", to("/folder/")),
            ("/folder/", content("/folder/index.html")),
            ("/folder/index", to("/folder/")),
            ("/folder/index.html", to("/folder/")),
        ],
    )
    .await;
    check(handling, &["/index.html"], &[("/", content("/index.html")), ("/index", to("/")), ("/index.html", to("/"))])
        .await;
    check(
        handling,
        BOTH,
        &[
            ("/both", to("/both/")),
            ("/both.html", content("/both.html")),
            ("/both/", content("/both/index.html")),
            ("/both/index", to("/both/")),
            ("/both/index.html", to("/both/")),
        ],
    )
    .await;
    check(
        handling,
        BINARY,
        &[
            ("/bin", content("/bin")),
            ("/bin.html", to("/bin/")),
            ("/bin/", content("/bin.html")),
            ("/bin/index", to("/bin/")),
            ("/bin/index.html", to("/bin/")),
        ],
    )
    .await;
}

#[tokio::test]
async fn drop_trailing_slash() {
    let handling = "drop-trailing-slash";
    check(
        handling,
        FILE,
        &[
            ("/file", content("/file.html")),
            ("/file.html", to("/file")),
            ("/file/", to("/file")),
            ("/file/index", to("/file")),
            ("/file/index.html", to("/file")),
            ("/folder", content("/folder/index.html")),
            ("/folder.html", to("/folder")),
            ("/folder/", to("/folder")),
            ("/folder/index", to("/folder")),
            ("/folder/index.html", to("/folder")),
        ],
    )
    .await;
    check(handling, &["/index.html"], &[("/", content("/index.html")), ("/index", to("/")), ("/index.html", to("/"))])
        .await;
    check(
        handling,
        BOTH,
        &[
            ("/both", content("/both.html")),
            ("/both.html", to("/both")),
            ("/both/", to("/both")),
            ("/both/index", to("/both")),
            ("/both/index.html", content("/both/index.html")),
        ],
    )
    .await;
    check(
        handling,
        BINARY,
        &[
            ("/bin", content("/bin")),
            ("/bin.html", content("/bin.html")),
            ("/bin/", nothing()),
            ("/bin/index", nothing()),
            ("/bin/index.html", nothing()),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_html_handling() {
    let handling = "none";
    check(
        handling,
        FILE,
        &[
            ("/file", nothing()),
            ("/file.html", content("/file.html")),
            ("/file/", nothing()),
            ("/file/index", nothing()),
            ("/file/index.html", nothing()),
            ("/folder", nothing()),
            ("/folder.html", nothing()),
            ("/folder/", nothing()),
            ("/folder/index", nothing()),
            ("/folder/index.html", content("/folder/index.html")),
        ],
    )
    .await;
    check(
        handling,
        &["/index.html"],
        &[("/", nothing()), ("/index", nothing()), ("/index.html", content("/index.html"))],
    )
    .await;
}

#[tokio::test]
async fn files_that_are_no_pages() {
    for handling in ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"] {
        check(
            handling,
            &["/style.css", "/a/photo.jpg", "/a/index", "/LICENSE"],
            &[
                ("/style.css", content("/style.css")),
                ("/a/photo.jpg", content("/a/photo.jpg")),
                ("/a/index", content("/a/index")),
                ("/LICENSE", content("/LICENSE")),
                ("/style", nothing()),
                ("/style.css/", nothing()),
                ("/a", nothing()),
                ("/", nothing()),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn a_file_is_served_at_one_spelling_of_its_path() {
    let files = &[
        "/[boop].html",
        "/beep/[bòop].html",
        "/%5Bboop%5D.html",
        "/a?b.html",
        "/x y.txt",
        "/bin%2F",
        "/bin/index.html",
    ];
    check(
        "auto-trailing-slash",
        files,
        &[
            ("/[boop]", to("/%5Bboop%5D")),
            ("/%5Bboop%5D", content("/[boop].html")),
            ("/%5bboop%5d", to("/%5Bboop%5D")),
            ("/[boop].html", to("/%5Bboop%5D")),
            ("/[boop]/", to("/%5Bboop%5D")),
            ("/beep/[b%C3%B2op]", to("/beep/%5Bb%C3%B2op%5D")),
            ("/%255Bboop%255D", content("/%5Bboop%5D.html")),
            ("/%255Bboop%255D.html", to("/%255Bboop%255D")),
            ("/a?b", nothing()),
            ("/a%3Fb", content("/a?b.html")),
            ("/x%20y.txt", content("/x y.txt")),
            ("//x%20y.txt", to("/x%20y.txt")),
            ("/z/../x%20y.txt", to("/x%20y.txt")),
            ("/bin%2F", to("/bin/")),
            ("/bin%252F", content("/bin%2F")),
            ("/[boop]?q=1&r", to("/%5Bboop%5D?q=1&r")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_redirect_keeps_the_query() {
    check("auto-trailing-slash", FILE, &[("/file.html?a=1", to("/file?a=1")), ("/folder?a", to("/folder/?a"))]).await;
}

#[tokio::test]
async fn no_redirect_leads_to_another_host() {
    let site = Tested::assets(&["/evil.example/index.html", "/index.html"], &config(json!({})));
    for path in
        ["//evil.example", "/\\evil.example", "/%2Fevil.example", "/%5Cevil.example", "//evil.example/index.html"]
    {
        match site.get(path).await {
            Seen::To(_, location) => {
                assert!(location.starts_with('/') && !location.starts_with("//"), "{path}: {location}")
            }
            Seen::Content(404, _) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_nearest_404_page_up_the_tree() {
    let files = &["/404.html", "/blog/404.html", "/blog/a.html", "/deep/x.html"];
    let site = Tested::assets(files, &config(json!({ "not_found_handling": "404-page" })));
    let page = |path: &str| Seen::Content(404, path.to_owned());
    let check = async |path: &str, expect: Seen| assert_eq!(site.get(path).await, expect, "{path}");
    check("/nothing", page("/404.html")).await;
    check("/blog/nothing", page("/blog/404.html")).await;
    check("/blog/more/nothing", page("/blog/404.html")).await;
    check("/blog", page("/404.html")).await;
    check("/deep/nothing/", page("/404.html")).await;
    check("/", page("/404.html")).await;
    check("/blog/a", content("/blog/a.html")).await;
    // the page itself is a page like others
    check("/404.html", to("/404")).await;
    check("/404", content("/404.html")).await;

    let without = Tested::assets(&["/blog/404.html"], &config(json!({ "not_found_handling": "404-page" })));
    assert_eq!(without.get("/nothing").await, nothing());
    let none = Tested::assets(files, &config(json!({})));
    assert_eq!(none.get("/nothing").await, nothing());
}

#[tokio::test]
async fn a_404_page_is_not_conditional() {
    let site = Tested::assets(&["/404.html"], &config(json!({ "not_found_handling": "404-page" })));
    let headers = [("if-none-match", "*"), ("range", "bytes=0-1")];
    let (status, _, body) = site.full(request("GET", "/nothing", &headers)).await;
    assert_eq!((status.as_u16(), body.as_slice()), (404, b"/404.html".as_slice()));
}

#[tokio::test]
async fn a_single_page_application() {
    let site = Tested::assets(
        &["/index.html", "/app.js"],
        &config(json!({ "not_found_handling": "single-page-application" })),
    );
    assert_eq!(site.get("/deep/link").await, content("/index.html"));
    assert_eq!(site.get("/app.js").await, content("/app.js"));
    assert_eq!(site.get("/missing.js").await, content("/index.html"));
    assert_eq!(site.get("/@user").await, to("/%40user"));
    assert_eq!(site.get("/%40user").await, content("/index.html"));
    let without = Tested::assets(&["/app.js"], &config(json!({ "not_found_handling": "single-page-application" })));
    assert_eq!(without.get("/deep/link").await, nothing());
}

#[tokio::test]
async fn other_methods() {
    let site = Tested::assets(FILE, &config(json!({})));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let (status, headers, body) = site.full(request(method, "/file", &[])).await;
        assert_eq!(
            (status.as_u16(), headers["allow"].to_str().unwrap(), body.len()),
            (405, "GET, HEAD", 0),
            "{method}"
        );
        assert_eq!(site.ask(request(method, "/file.html", &[])).await, Seen::Content(405, String::new()));
        assert_eq!(site.ask(request(method, "/nothing", &[])).await, nothing());
    }
}

#[tokio::test]
async fn a_base_path_is_stripped_for_files_only() {
    let base = |handling: &str| {
        let files = &["/index.html", "/foo.html", "/bar/index.html", "/x.css"];
        let rules = json!({ "html_handling": handling, "base_path": "/sub",
            "_redirects": "/sub/old /sub/foo 301\n/old /foo 301\n/sub/shown /sub/x.css 200\n/sub/wrong /x.css 200",
            "_headers": "/sub/*\n  X-Rule: in\n/other\n  X-Rule: out" });
        Tested::assets(files, &config(rules))
    };
    let auto = base("auto-trailing-slash");
    for (path, expect) in [
        ("/sub/foo", content("/foo.html")),
        ("/sub/foo.html?a", to("/sub/foo?a")),
        ("/sub/bar", to("/sub/bar/")),
        ("/sub/", content("/index.html")),
        ("/sub", to("/sub/")),
        ("/sub?q=1", to("/sub/?q=1")),
        ("/sub/index.html", to("/sub/")),
        ("/sub//x.css", to("/sub/x.css")),
        ("/sub%2Fx.css", to("/sub/x.css")),
        ("/foo", nothing()),
        ("/sub-other/foo", nothing()),
        ("/", nothing()),
        ("/old", nothing()),
        ("/sub/old", Seen::To(301, "/sub/foo".to_owned())),
        ("/sub/shown", content("/x.css")),
        ("/sub/wrong", nothing()),
    ] {
        assert_eq!(auto.get(path).await, expect, "{path}");
    }
    assert_eq!(auto.header("/sub/foo", "x-rule").await.as_deref(), Some("in"));
    assert_eq!(auto.header("/other", "x-rule").await, None);

    let dropped = base("drop-trailing-slash");
    assert_eq!(dropped.get("/sub").await, content("/index.html"));
    assert_eq!(dropped.get("/sub/?q=1").await, to("/sub?q=1"));
    assert_eq!(dropped.get("/sub/index.html").await, to("/sub"));
    let forced = base("force-trailing-slash");
    assert_eq!(forced.get("/sub").await, to("/sub/"));
    let none = base("none");
    assert_eq!((none.get("/sub").await, none.get("/sub/").await), (nothing(), nothing()));
}
