//! `skep` as somebody who is logged in to a platform uses it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::{Ended, command};
use super::{PATIENCE, Platform};

/// Variables that would say where the platform is.
const VARIABLES: [&str; 7] = [
    "SKEP_URL",
    "SKEP_TOKEN",
    "SKEP_ACCOUNT_ID",
    "SKEP_CA_FILE",
    "CLOUDFLARE_API_BASE_URL",
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_ACCOUNT_ID",
];

/// A person with a configuration folder of his own.
pub(crate) struct Person {
    home: TempDir,
}

impl Person {
    /// Somebody who is not logged in.
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().expect("a folder") }
    }

    /// Somebody who is logged in with the platform's first token.
    pub(crate) async fn of(platform: &Platform) -> Self {
        let person = Self::new();
        let url = format!("http://{}", platform.host);
        let ended = person.run(person.home(), &["login", "--url", &url, "--token", &platform.token]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        person
    }

    /// Where the login is kept.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command that is not started yet.
    pub(crate) fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = command(folder, arguments);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.home.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command in a folder to its end.
    pub(crate) async fn run(&self, folder: &Path, arguments: &[&str]) -> Ended {
        self.run_with(folder, arguments, &[], "").await
    }

    /// The same with variables, and a text as standard input.
    pub(crate) async fn run_with(
        &self,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
        input: &str,
    ) -> Ended {
        let mut command = self.command(folder, arguments);
        let mut process = command.envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = process.stdin.take().expect("a pipe");
        // A command that reads nothing may be over already.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        let output =
            tokio::time::timeout(PATIENCE, process.wait_with_output()).await.expect("it ends").expect("it ran");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ended { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
    }

    /// What a command prints that must succeed.
    pub(crate) async fn does(&self, folder: &Path, arguments: &[&str]) -> String {
        let ended = self.run(folder, arguments).await;
        assert_eq!(ended.code, Some(0), "skep {arguments:?}\n{}\n{}", ended.output, ended.errors);
        ended.output
    }

    /// The document that a command prints with `--json`.
    pub(crate) async fn json(&self, folder: &Path, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let ended = self.run(folder, &arguments).await;
        assert_eq!(ended.code, Some(0), "skep {arguments:?}\n{}\n{}", ended.output, ended.errors);
        assert_eq!(ended.output.lines().count(), 1, "one document: {}", ended.output);
        serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {}", ended.output))
    }

    /// What a command says that must fail.
    pub(crate) async fn fails(&self, folder: &Path, arguments: &[&str]) -> String {
        let ended = self.run(folder, arguments).await;
        assert_eq!(ended.code, Some(1), "skep {arguments:?}\n{}\n{}", ended.output, ended.errors);
        ended.errors
    }
}
