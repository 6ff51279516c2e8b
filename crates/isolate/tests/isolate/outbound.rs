//! What `fetch()` and `WebSocket` may reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::Trial;
use skep_isolate::Isolate;
use skep_outbound::{AddressPolicy, Client};
use skep_test_support::server::{ok, server};
use skep_test_support::{RUNTIME, answered, get, options, test, text, version};
use skep_worker::Limits;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// Hosts that lead to this machine or its network, however they are written.
const FORBIDDEN: &[(&str, &str)] = &[
    ("loopback", "127.0.0.1"),
    ("all_of_loopback", "127.8.9.10"),
    ("a_name_of_loopback", "localhost"),
    ("loopback_v6", "[::1]"),
    ("loopback_mapped", "[::ffff:127.0.0.1]"),
    ("loopback_mapped_in_hexadecimal", "[::ffff:7f00:1]"),
    ("loopback_compatible", "[::127.0.0.1]"),
    ("loopback_nat64", "[64:ff9b::7f00:1]"),
    ("loopback_6to4", "[2002:7f00:1::]"),
    ("loopback_as_a_number", "2130706433"),
    ("loopback_in_octal", "0177.0.0.1"),
    ("loopback_in_hexadecimal", "0x7f.1"),
    ("unspecified", "0.0.0.0"),
    ("unspecified_v6", "[::]"),
    ("private_ten", "10.0.0.1"),
    ("private_172", "172.16.5.4"),
    ("private_192", "192.168.1.1"),
    ("shared", "100.64.0.1"),
    ("link_local", "169.254.169.254"),
    ("link_local_mapped", "[::ffff:169.254.169.254]"),
    ("link_local_v6", "[fe80::1]"),
    ("unique_local_v6", "[fd00:ec2::254]"),
    ("multicast", "224.0.0.1"),
    ("broadcast", "255.255.255.255"),
];

pub(crate) fn tests() -> Vec<Trial> {
    let forbidden =
        FORBIDDEN.iter().map(|(name, host)| test(&format!("outbound::refuses_{name}"), move || refuses(host)));
    let others = [
        test("outbound::a_web_socket_is_refused_too", a_web_socket_is_refused_too),
        test("outbound::loopback_can_be_allowed", loopback_can_be_allowed),
        test("outbound::each_redirect_is_checked", each_redirect_is_checked),
        test("outbound::subrequests_are_counted", subrequests_are_counted),
        test("outbound::redirects_are_counted", redirects_are_counted),
        test("outbound::a_request_is_sent_as_it_was_made", a_request_is_sent_as_it_was_made),
        test("outbound::an_aborted_request_rejects", an_aborted_request_rejects),
    ];
    forbidden.chain(others).collect()
}

/// An isolate that may reach only what the policy permits.
async fn isolate(source: &str, policy: AddressPolicy, limits: Limits) -> Isolate {
    let mut version = version(source);
    version.limits = limits;
    let (mut options, _) = options(version);
    options.outbound = Client::new(policy, RUNTIME.handle().clone());
    Isolate::start(options).await.unwrap()
}

async fn ask(isolate: &Isolate, url: &str) -> String {
    text(answered(isolate.fetch(get(url)).await).unwrap()).await
}

const FETCHES: &str = "export default { async fetch(request) {
    const url = decodeURIComponent(new URL(request.url).search.slice(1));
    try { return await fetch(url); } catch (error) { return new Response(`${error.name}: ${error.message}`); }
  } }";

async fn refuses(host: &'static str) {
    let isolate = isolate(FETCHES, AddressPolicy::global_only(), Limits::default()).await;
    let answer = ask(&isolate, &format!("http://localhost/?http%3A%2F%2F{}%2F", host.replace(':', "%3A"))).await;
    assert!(answer.contains("refused") && answer.contains("Workers may not reach"), "{answer}");
}

async fn a_web_socket_is_refused_too() {
    let source = "export default { async fetch() {
        const socket = new WebSocket('ws://127.0.0.1:9/');
        return new Response(await new Promise((resolve) => socket.addEventListener('error', (event) => resolve(event.message))));
      } }";
    let isolate = isolate(source, AddressPolicy::global_only(), Limits::default()).await;
    let answer = ask(&isolate, "http://localhost/").await;
    assert!(answer.contains("Workers may not reach"), "{answer}");
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

async fn loopback_can_be_allowed() {
    let port = server(|_| ok("hello")).await;
    let isolate = isolate(FETCHES, AddressPolicy::with_loopback(), Limits::default()).await;
    assert_eq!(ask(&isolate, &format!("http://localhost/?http%3A%2F%2F127.0.0.1%3A{port}%2F")).await, "hello");
}

async fn each_redirect_is_checked() {
    let port = server(|_| redirect("http://169.254.169.254/latest/meta-data/")).await;
    let isolate = isolate(FETCHES, AddressPolicy::with_loopback(), Limits::default()).await;
    let answer = ask(&isolate, &format!("http://localhost/?http%3A%2F%2F127.0.0.1%3A{port}%2F")).await;
    assert!(answer.contains("169.254.169.254") && answer.contains("Workers may not reach"), "{answer}");
}

async fn subrequests_are_counted() {
    let port = server(|_| ok("x")).await;
    let source = format!(
        "export default {{ async fetch() {{
            for (let count = 0;; count++) {{
              try {{ await (await fetch('http://127.0.0.1:{port}/')).text(); }} catch (error) {{ return new Response(`${{count}} ${{error.message}}`); }}
            }}
          }} }}"
    );
    let limits = Limits { subrequests: 3, ..Limits::default() };
    let isolate = isolate(&source, AddressPolicy::with_loopback(), limits).await;
    let expected = "3 Too many subrequests: 4 made, 3 allowed per request";
    assert_eq!(ask(&isolate, "http://localhost/").await, expected);
    assert_eq!(ask(&isolate, "http://localhost/").await, expected, "each request has its own count");
}

async fn redirects_are_counted() {
    let port = server(|_| redirect("/again")).await;
    let limits = Limits { subrequests: 3, ..Limits::default() };
    let isolate = isolate(FETCHES, AddressPolicy::with_loopback(), limits).await;
    let answer = ask(&isolate, &format!("http://localhost/?http%3A%2F%2F127.0.0.1%3A{port}%2F")).await;
    assert!(answer.contains("Too many subrequests"), "{answer}");
}

async fn a_request_is_sent_as_it_was_made() {
    let port = server(ok).await;
    let source = format!(
        "export default {{ async fetch() {{
            return await fetch('http://127.0.0.1:{port}/path?a=b#c', {{
              method: 'POST', body: 'text', headers: {{ 'x-one': '1', 'X-Two': '2' }}, cf: {{ cacheTtl: 5, image: {{ width: 1 }} }},
            }});
          }} }}"
    );
    let isolate = isolate(&source, AddressPolicy::with_loopback(), Limits::default()).await;
    let sent = ask(&isolate, "http://localhost/").await;
    assert!(sent.starts_with("POST /path?a=b HTTP/1.1\r\n"), "{sent}");
    for header in ["x-one: 1", "x-two: 2", "content-type: text/plain;charset=UTF-8", "content-length: 4"] {
        assert!(sent.contains(&format!("\r\n{header}\r\n")), "no {header} in {sent}");
    }
    assert!(sent.ends_with("\r\n\r\ntext"), "{sent}");
}

async fn an_aborted_request_rejects() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Never an answer that HTTP knows: the connection is closed when the client goes away.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        count.fetch_add(1, Ordering::Relaxed);
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest).await;
    });
    let source = format!(
        "export default {{ async fetch() {{
            try {{ await fetch('http://127.0.0.1:{port}/', {{ signal: AbortSignal.timeout(50) }}); }}
            catch (error) {{ return new Response(error.name); }}
          }} }}"
    );
    let isolate = isolate(&source, AddressPolicy::with_loopback(), Limits::default()).await;
    assert_eq!(ask(&isolate, "http://localhost/").await, "TimeoutError");
    server.await.unwrap();
    assert!(asked.load(Ordering::Relaxed) <= 1);
}
