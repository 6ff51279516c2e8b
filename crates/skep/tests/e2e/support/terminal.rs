//! A command at a terminal, with somebody at the keyboard.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};

use super::Dev;

/// `skep dev` at a terminal that `script` of util-linux makes.
pub(crate) struct Terminal {
    pub(crate) dev: Dev,
    keys: ChildStdin,
}

impl Terminal {
    /// Runs a shell command in a folder, at a terminal. `$SKEP` is the `skep` command.
    pub(crate) fn open(folder: &Path, line: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--flush", "--command", line, "/dev/null"])
            .current_dir(folder)
            .env("SKEP", env!("CARGO_BIN_EXE_skep"))
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env_remove("CLOUDFLARE_ENV")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        let mut dev = Dev::spawn(command);
        let keys = dev.keyboard();
        Self { dev, keys }
    }

    /// Presses keys.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("a keyboard");
        self.keys.flush().await.expect("a keyboard");
    }
}
