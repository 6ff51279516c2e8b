//! The `skep` command.

use std::path::Path;
use std::process::Stdio;

use hyper::Request;
use tokio::process::{Child, ChildStdin, Command};

use super::http::{Answer, body, fetch, get};
use super::{Output, PATIENCE};

/// The command, in a folder.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLOUDFLARE_ENV")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A command that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed as its result.
    pub(crate) output: String,
    /// What it printed as errors and warnings.
    pub(crate) errors: String,
}

/// Runs a command in a folder to its end.
pub(crate) async fn skep(folder: &Path, arguments: &[&str]) -> Ended {
    let run = command(folder, arguments).output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("the command ends").expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

/// `skep dev`, until this goes out of scope.
pub(crate) struct Dev {
    process: Child,
    /// What it prints.
    pub(crate) output: Output,
    /// Where it listens: host and port.
    pub(crate) host: String,
}

impl Dev {
    /// Starts it on a free port and waits until it is ready.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let arguments = [&["dev", "--port", "0", "--host", "127.0.0.1", "--inspector-port", "0"], arguments].concat();
        let mut dev = Self::spawn(command(folder, &arguments));
        dev.ready().await;
        dev
    }

    /// Runs a command whose output is that of `skep dev`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        // One pipe for both: lines stay in their order.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let process = command.spawn().expect("the command starts");
        Self { process, output: Output::of(reader), host: String::new() }
    }

    /// Waits until it says where it listens.
    pub(crate) async fn ready(&mut self) {
        self.output.until("Ready on http").await;
        self.output.until("://").await;
        self.host = self.output.until(" ").await;
        self.output.line().await;
    }

    /// A GET request.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        fetch(&self.host, get(path)).await
    }

    /// A POST request with a text.
    pub(crate) async fn post(&self, path: &str, text: &str) -> Answer {
        let request = Request::post(path).header("content-type", "text/plain");
        fetch(&self.host, request.body(body(text.to_owned())).expect("a request")).await
    }

    /// The writing end of its standard input, if that is a pipe.
    pub(crate) fn keyboard(&mut self) -> ChildStdin {
        self.process.stdin.take().expect("a pipe")
    }

    /// Sends a signal by its name.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.id().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {id}")]).status().await;
        assert!(sent.expect("a shell").success());
    }

    /// Waits for its end, and gives its exit code: none if a signal ended it.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        status.expect("it ends").expect("it ran").code()
    }

    /// The debugger's host and port.
    pub(crate) async fn debugger(&mut self) -> String {
        self.output.until("Debugger listening on ").await;
        self.output.line().await
    }
}
