//! Stopping `skep dev`: at once, cleanly, and so that the next start finds nothing in its way.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Dev, Project, command};

/// Longer than a person waits, and short of every time-out that could be behind it.
const AT_ONCE: Duration = Duration::from_secs(5);

const BUSY: &str = r#"export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    console.log(`began ${pathname}`);
    if (pathname === "/wait") await new Promise((resolve) => setTimeout(resolve, 60_000));
    if (pathname === "/loop") for (;;) {}
    if (pathname === "/stream") {
      const body = new ReadableStream({
        async pull(controller) {
          await scheduler.wait(20);
          controller.enqueue(new TextEncoder().encode("tick\n"));
        },
      });
      return new Response(body);
    }
    return new Response("hi");
  },
};
"#;

/// Begins requests to paths, and keeps them open.
async fn begin(dev: &mut Dev, paths: &[&str]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for path in paths {
        let mut stream = TcpStream::connect(&dev.host).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        dev.output.until(&format!("began {path}\n")).await;
        open.push(stream);
    }
    open
}

#[tokio::test]
async fn signals_end_it_at_once() {
    let project = Project::worker(BUSY);
    for signal in ["INT", "TERM", "HUP"] {
        let mut dev = project.dev(&[]).await;
        let mut open = begin(&mut dev, &["/wait", "/stream"]).await;
        let mut begun = [0; 12];
        open[1].read_exact(&mut begun).await.unwrap();
        let told = Instant::now();
        dev.signal(signal).await;
        assert_eq!(dev.end().await, Some(0), "{signal}");
        assert!(told.elapsed() < AT_ONCE, "{signal} took {:?}", told.elapsed());
    }
}

#[tokio::test]
async fn a_worker_in_an_endless_loop_does_not_hold_it() {
    let project = Project::worker(BUSY);
    let mut dev = project.dev(&[]).await;
    let open = begin(&mut dev, &["/loop"]).await;
    let told = Instant::now();
    dev.signal("INT").await;
    assert_eq!(dev.end().await, Some(0));
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    drop(open);
}

#[tokio::test]
async fn the_last_lines_are_not_lost() {
    let project =
        Project::worker("export default { fetch() { console.log('the last line'); return new Response(); } };");
    let mut dev = project.dev(&[]).await;
    dev.get("/").await;
    dev.signal("TERM").await;
    dev.end().await;
    dev.output.until("the last line\n[skep] GET / 200 OK").await;
}

#[tokio::test]
async fn one_that_was_killed_is_not_in_the_way() {
    let project = Project::worker(BUSY);
    let mut dev = project.dev(&[]).await;
    let port = dev.host.rsplit(':').next().unwrap().to_owned();
    let open = begin(&mut dev, &["/wait"]).await;
    dev.signal("KILL").await;
    assert_eq!(dev.end().await, None);
    let mut next = Dev::spawn(command(project.folder(), &["dev", "--host", "127.0.0.1", "--port", &port]));
    next.ready().await;
    assert_eq!(next.get("/").await.text, "hi");
    drop(open);
}
