//! What `skep dev` answers besides the Worker, and in its place.

use hyper::header::ACCEPT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Project, fetch, fetch_over, get, tls};

const CLOCK: &str = r#"export default {
  async fetch(request: Request): Promise<Response> {
    return new Response(`the Worker has ${new URL(request.url).pathname}`);
  },
  async scheduled(event: ScheduledController): Promise<void> {
    console.log(`run by ${event.cron} at ${event.scheduledTime}`);
    if (event.cron === "0 0 * * *") throw new Error("not at midnight");
  },
};
"#;

#[tokio::test]
async fn the_scheduled_handler_is_run_by_hand() {
    let project = Project::worker(CLOCK);
    let mut dev = project.dev(&[]).await;
    let answer = dev.get("/cdn-cgi/handler/scheduled?cron=*+*+*+*+*&time=1745856238000").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "ok"));
    dev.output.until("run by * * * * * at 1745856238000\n").await;
    dev.output.until("scheduled * * * * * ok (").await;

    let answer = dev.get("/cdn-cgi/handler/scheduled?cron=0+0+*+*+*").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (500, "exception"));
    dev.output.until("✘ [ERROR] Error: not at midnight\n").await;
    dev.output.until("src/index.ts:7:").await;
    dev.output.until("scheduled 0 0 * * * failed (").await;

    let answer = dev.get("/cdn-cgi/handler/scheduled?cron=0+0+*+*+*&format=json").await;
    assert_eq!(answer.text, r#"{"outcome":"exception","noRetry":false}"#);
    assert_eq!(dev.get("/__scheduled").await.text, "the Worker has /__scheduled", "it is not asked for");
    let answer = dev.get("/cdn-cgi/handler/email").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("/cdn-cgi/handler/scheduled"), "{}", answer.text);
}

#[tokio::test]
async fn the_scheduled_handler_has_a_path_of_its_own_if_asked_for() {
    let project = Project::worker(CLOCK);
    let mut dev = project.dev(&["--test-scheduled"]).await;
    let answer = dev.get("/__scheduled?cron=5+*+*+*+*").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "Ran scheduled event"));
    dev.output.until("run by 5 * * * * at ").await;
    assert_eq!(dev.get("/").await.text, "the Worker has /");
}

#[tokio::test]
async fn a_worker_without_a_scheduled_handler() {
    let project = Project::worker("export default { fetch() { return new Response(); } };");
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/cdn-cgi/handler/scheduled").await.status, 500);
    dev.output.until("✘ [ERROR] ").await;
    let said = dev.output.line().await;
    assert!(said.contains("scheduled"), "{said}");
}

#[tokio::test]
async fn https_with_a_certificate_that_signs_itself() {
    let project = Project::worker("export default { fetch(request: Request) { return new Response(request.url); } };");
    let mut dev = project.dev(&["--local-protocol", "https"]).await;
    assert!(dev.output.all().contains(&format!("Ready on https://{}", dev.host)), "{}", dev.output.all());
    let stream = tls::connect(&dev.host).await;
    let answer = fetch_over(stream, &dev.host, get("/secret")).await;
    assert_eq!(answer.text, format!("https://{}/secret", dev.host));
    dev.output.until("[skep] GET /secret 200 OK").await;
}

#[tokio::test]
async fn a_handler_that_returns_no_response() {
    let project = Project::worker("export default { fetch() {} };");
    let mut dev = project.dev(&[]).await;
    let answer = dev.get("/").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.text.ends_with(
            "TypeError: The fetch handler returned nothing, not a Response. Return one: return new Response(\"...\").\n"
        ),
        "{}",
        answer.text
    );
    dev.output.until("✘ [ERROR] TypeError: The fetch handler returned nothing, not a Response.").await;

    let mut request = get("/");
    request.headers_mut().insert(ACCEPT, "text/html".parse().unwrap());
    let page = fetch(&dev.host, request).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (500, "text/html; charset=utf-8"));
    assert!(page.text.contains("<h1>Error 1101: Worker threw exception</h1>"), "{}", page.text);
}

#[tokio::test]
async fn a_worker_without_a_fetch_handler() {
    let project = Project::worker("export default { scheduled() {} };");
    let mut dev = project.dev(&[]).await;
    let answer = dev.get("/").await;
    assert_eq!(answer.status, 500);
    dev.output.until("✘ [ERROR] ").await;
    let said = dev.output.line().await;
    assert!(said.contains("fetch"), "{said}");
}

#[tokio::test]
async fn a_body_over_the_limit() {
    let project = Project::worker(
        "export default { async fetch(request: Request) { return new Response(await request.text()); } };",
    );
    let dev = project.dev(&[]).await;
    let mut stream = TcpStream::connect(&dev.host).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 104857601\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert!(
        answer.contains("larger than this server takes (104857600 bytes). Send less, or send it in parts."),
        "{answer}"
    );
    assert_eq!(dev.post("/", "small").await.text, "small");
}

#[tokio::test]
async fn a_limit_is_named() {
    let project = Project::new(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "w", "main": "index.js", "compatibility_date": "2026-10-06", "limits": { "cpu_ms": 20 } }"#,
        ),
        (
            "index.js",
            "export default { fetch(request) { if (request.url.endsWith('/loop')) for (;;) {} return new Response('on'); } };",
        ),
    ]);
    let mut dev = project.dev(&[]).await;
    let answer = dev.get("/loop").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.starts_with("Error 1102: "), "{}", answer.text);
    assert!(answer.text.contains("20 ms"), "{}", answer.text);
    dev.output.until("CPU time").await;
    assert_eq!(dev.get("/").await.text, "on");
}
