//! The keyboard, while `skep dev` runs at a terminal.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Project, Terminal};

const SCRIPT: &str = "export default { fetch() { console.log('one\\ntwo'); return new Response('hi'); } };";
const DEV: &str = "$SKEP dev --host 127.0.0.1 --port 0 --inspector-port 0";

fn open(project: &Project, line: &str) -> Terminal {
    Terminal::open(project.folder(), line, &[("NO_COLOR", "1")])
}

#[tokio::test]
async fn keys_do_what_is_shown() {
    let project = Project::worker(SCRIPT);
    // A browser that writes down what it is to show.
    project.write("bin/xdg-open", "#!/bin/sh\necho \"$1\" > \"$(dirname \"$0\")/opened.part\"\nmv \"$(dirname \"$0\")/opened.part\" \"$(dirname \"$0\")/opened\"\n");
    let browser = project.folder().join("bin/xdg-open");
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut terminal = open(&project, &format!("PATH=\"$PWD/bin:$PATH\" {DEV}"));
    terminal.dev.ready().await;
    terminal.dev.output.until("[b] open the browser  [d] debugger  [c] clear  [x] exit\r\n").await;

    terminal.press("d").await;
    terminal.dev.output.until("chrome://inspect").await;
    terminal.press("c").await;
    terminal.dev.output.until("\u{1b}[2J").await;
    terminal.press("b").await;
    let opened = project.folder().join("bin/opened");
    let wait = async {
        while !opened.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, wait).await.expect("the browser is opened");
    assert_eq!(project.read("bin/opened"), format!("http://{}\n", terminal.dev.host));

    // Lines begin at the first column, although the terminal is in raw mode.
    terminal.dev.get("/").await;
    terminal.dev.output.until("one\r\ntwo\r\n[skep] GET / 200 OK").await;
    terminal.press("x").await;
    assert_eq!(terminal.dev.end().await, Some(0));
}

#[tokio::test]
async fn control_c_stops_and_leaves_the_terminal_as_it_was() {
    let project = Project::worker(SCRIPT);
    let mut terminal = open(&project, &format!("{DEV}; echo code $?; stty -a"));
    terminal.dev.ready().await;
    terminal.dev.output.until("[x] exit").await;
    terminal.press("\u{3}").await;
    terminal.dev.output.until("code 0\r\n").await;
    let settings = terminal.dev.output.until("iutf8").await;
    assert_eq!(terminal.dev.end().await, Some(0));
    assert!(!settings.contains("-opost"), "{settings}");
    let rest = terminal.dev.output.all();
    assert!(rest.contains(" icanon") && rest.contains(" echo "), "{rest}");
}

#[tokio::test]
async fn colours_are_for_terminals() {
    let project = Project::worker(SCRIPT);
    let mut terminal = Terminal::open(project.folder(), DEV, &[]);
    terminal.dev.output.until("Ready on \u{1b}[36mhttp://").await;
    let host = terminal.dev.output.until("\u{1b}[0m").await;
    crate::support::fetch(&host, crate::support::get("/")).await;
    terminal.dev.output.until("GET / \u{1b}[32m200 OK\u{1b}[0m").await;
    terminal.press("q").await;
    assert_eq!(terminal.dev.end().await, Some(0));
}

#[tokio::test]
async fn a_terminal_that_is_closed_stops_the_server() {
    let project = Project::worker(SCRIPT);
    let mut terminal = open(&project, DEV);
    terminal.dev.ready().await;
    let host = terminal.dev.host.clone();
    terminal.dev.signal("KILL").await;
    let gone = async { while tokio::net::TcpStream::connect(&host).await.is_ok() {} };
    tokio::time::timeout(crate::support::PATIENCE, gone).await.expect("nobody listens any more");
}
