//! The Workers of Cloudflare's tutorial as they stand, and what the terminal shows of them.
//! <https://developers.cloudflare.com/workers/get-started/guide/>

use crate::support::Project;

const JSON: &str = r#"export default {
  async fetch(request, env, ctx) {
    return Response.json({ message: "hi" });
  },
};
"#;

const METHODS: &str = r#"export default {
  async fetch(request: Request): Promise<Response> {
    console.log(request.body);
    console.log(request.headers);
    switch (request.method) {
      case "GET":
        return new Response("read");
      case "POST":
        return new Response(`wrote ${await request.text()}`, { status: 201 });
      default:
        return new Response("not allowed", { status: 405, headers: { allow: "GET, POST" } });
    }
  },
};
"#;

/// The end of a request's line is a time, which is not the same twice.
fn is_time(text: &str) -> bool {
    text.strip_prefix(" (").and_then(|text| text.strip_suffix("ms)")).is_some_and(|text| text.parse::<u64>().is_ok())
}

/// The name of a request in its headers, as they are printed: it is not the same twice.
fn ray_of(printed: &str) -> String {
    let ray = printed.split("'cf-ray' => '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default();
    assert!(ray.len() == 20 && ray.ends_with("-SKP"), "{printed}");
    ray.to_owned()
}

#[tokio::test]
async fn the_worker_that_answers_json() {
    let project = Project::worker(JSON);
    let mut dev = project.dev(&[]).await;
    let answer = dev.get("/some/path?a=b").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.text, r#"{"message":"hi"}"#);
    dev.output.until("[skep] GET /some/path?a=b 200 OK").await;
    let rest = dev.output.line().await;
    assert!(is_time(&rest), "{rest}");
}

#[tokio::test]
async fn the_worker_that_prints_the_request_and_answers_by_its_method() {
    let project = Project::worker(METHODS);
    let mut dev = project.dev(&[]).await;
    dev.debugger().await;

    assert_eq!(dev.get("/").await.text, "read");
    let printed = dev.output.until("[skep] GET / 200 OK").await;
    let host = dev.host.clone();
    let ray = ray_of(&printed);
    assert_eq!(
        printed,
        format!(
            "null\nHeaders(4) {{\n  'accept' => '*/*',\n  'cf-connecting-ip' => '127.0.0.1',\n  'cf-ray' => '{ray}',\n  'host' => '{host}',\n  [immutable]: true\n}}\n"
        )
    );
    assert!(is_time(&dev.output.line().await));

    let answer = dev.post("/", "hello").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (201, "wrote hello"));
    let printed = dev.output.until("[skep] POST / 201 Created").await;
    let ray = ray_of(&printed);
    assert_eq!(
        printed,
        format!(
            "ReadableStream {{\n  locked: false,\n  [state]: 'readable',\n  [supportsBYOB]: true,\n  [length]: 5n\n}}\n\
             Headers(6) {{\n  'accept' => '*/*',\n  'cf-connecting-ip' => '127.0.0.1',\n  'cf-ray' => '{ray}',\n  \
             'content-length' => '5',\n  'content-type' => 'text/plain',\n  'host' => '{host}',\n  [immutable]: true\n}}\n"
        )
    );

    let request = hyper::Request::delete("/").body(crate::support::body("")).unwrap();
    let answer = crate::support::fetch(&host, request).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, POST"));
    dev.output.until("[skep] DELETE / 405 Method Not Allowed (").await;
}

#[tokio::test]
async fn an_exception_is_shown_where_it_was_thrown() {
    let project = Project::worker(
        r#"interface Shop { open: boolean }

function visit(shop: Shop): string {
  if (!shop.open) throw new RangeError("closed");
  return "welcome";
}

export default {
  async fetch(request: Request): Promise<Response> {
    return new Response(visit({ open: request.url.endsWith("/open") }));
  },
};
"#,
    );
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/open").await.text, "welcome");
    let answer = dev.get("/closed").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.starts_with("Error 1101: Worker threw exception\n\nRangeError: closed\n"), "{}", answer.text);
    dev.output.until("✘ [ERROR] RangeError: closed\n").await;
    let stack = dev.output.until("[skep] GET /closed 500 Internal Server Error").await;
    let script = url(&project, "src/index.ts");
    assert_eq!(stack, format!("    at visit ({script}:4:25)\n    at Object.fetch ({script}:10:25)\n"));
}

fn url(project: &Project, path: &str) -> String {
    let folder = project.folder().canonicalize().unwrap();
    format!("file://{}/{path}", folder.display())
}

#[tokio::test]
async fn an_error_after_the_response_is_shown() {
    let project = Project::worker(
        r#"export default {
  async fetch(request, env, ctx) {
    ctx.waitUntil(new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), 10)));
    return new Response("early");
  },
};
"#,
    );
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "early");
    dev.output.until("✘ [ERROR] Error: too late\n").await;
}

#[tokio::test]
async fn warnings_and_errors_of_the_console_stand_out() {
    let project = Project::worker(
        r#"export default {
  fetch() {
    console.debug("debug"); console.info("info"); console.warn("careful"); console.error("wrong");
    console.log("%s has %d", "it", 2, { deep: { deeper: { deepest: {} } } });
    return new Response();
  },
};
"#,
    );
    let mut dev = project.dev(&[]).await;
    dev.debugger().await;
    dev.get("/").await;
    let printed = dev.output.until("[skep] GET / 200 OK").await;
    assert_eq!(
        printed,
        "debug\ninfo\n▲ [WARNING] careful\n✘ [ERROR] wrong\nit has 2 { deep: { deeper: { deepest: {} } } }\n"
    );
}
