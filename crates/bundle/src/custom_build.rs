//! The command that makes the script before it is bundled (`build.command`).
//! <https://developers.cloudflare.com/workers/wrangler/custom-builds/>

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::config::CustomBuild;
use crate::diagnostic::Diagnostic;

/// How many of the command's last lines an error shows.
const LAST_LINES: usize = 20;

/// Runs the command in a shell and waits for it. Each line it prints goes to `output` as it comes. It inherits the
/// environment's variables, as it does under wrangler.
///
/// # Errors
/// It cannot be started, or it fails.
pub(crate) async fn run(build: &CustomBuild, output: &Arc<dyn Fn(&str) + Send + Sync>) -> Result<(), Diagnostic> {
    let failed = |reason: String| Diagnostic::error(format!("the build command `{}` {reason}", build.command));
    let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
    shell.arg(if cfg!(windows) { "/C" } else { "-c" }).arg(&build.command).current_dir(&build.cwd);
    let mut child =
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(
            |error| failed(format!("cannot be started: {error}")).hint("check \"build.cwd\": the folder must exist"),
        )?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::join!(forward(stdout, output), forward(stderr, output), child.wait());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let lines: Vec<String> = stdout.into_iter().chain(stderr).collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            let said = if last.is_empty() {
                "it printed nothing".to_owned()
            } else {
                format!("it printed:\n{}", last.join("\n"))
            };
            Err(failed(format!("failed ({status})")).hint(format!("run it by hand to see why; {said}")))
        }
        Err(error) => Err(failed(format!("cannot be waited for: {error}")).hint("run it again")),
    }
}

/// Passes the lines of a stream on, and keeps the last ones.
async fn forward(stream: Option<impl AsyncRead + Unpin>, output: &Arc<dyn Fn(&str) + Send + Sync>) -> Vec<String> {
    let mut last = Vec::new();
    let Some(stream) = stream else { return last };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        output(&line);
        if last.len() == LAST_LINES {
            last.remove(0);
        }
        last.push(line);
    }
    last
}
