//! Servers as processes of their own: what is started for each, and how it ends with us.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the output of a server that starts is read.
const GLANCE: Duration = Duration::from_micros(500);

/// Everything that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Skep,
    /// The platform, with a Worker deployed to it.
    SkepServe,
    Workerd,
    Deno,
    Bun,
    Node,
    /// A server that only answers hello, in Rust, on hyper: what remains when the platform is taken away.
    RawHyper,
}

/// A runtime on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) runtime: Runtime,
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// A server that listens. It ends when this goes out of scope, and when this process ends for whatever reason.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
    child: Child,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{name} could not be started: {error}")]
    Spawn { name: &'static str, error: io::Error },
    #[error("{name} ended before it listened. Its output:\n{output}")]
    Ended { name: &'static str, output: String },
    #[error("{name} did not listen in {PATIENCE:?}. Its output:\n{output}")]
    Silent { name: &'static str, output: String },
}

// === impl Runtime ===

impl Runtime {
    /// What stands in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Skep => "skep dev",
            Self::SkepServe => "skep serve",
            Self::Workerd => "workerd",
            Self::Deno => "Deno.serve",
            Self::Bun => "Bun.serve",
            Self::Node => "node:http",
            Self::RawHyper => "raw hyper",
        }
    }

    /// The product, for a list of versions.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::Skep | Self::SkepServe => "Skep",
            Self::Workerd => "workerd",
            Self::Deno => "Deno",
            Self::Bun => "Bun",
            Self::Node => "Node.js",
            Self::RawHyper => "hyper",
        }
    }

    /// Whether this is neither ours nor the floor: the run goes on without it.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Skep | Self::SkepServe | Self::RawHyper)
    }
}

// === impl Program ===

impl Program {
    /// Starts this on some cores with a Worker: `project` is where Skep finds it, `bench` where the others do. Its
    /// output goes to a file.
    pub(crate) fn start(
        &self,
        worker: &str,
        project: &Path,
        bench: &Path,
        cores: &str,
        log: &Path,
    ) -> Result<Server, StartError> {
        let folder = if self.runtime == Runtime::Skep { project } else { bench };
        self.start_with(self.arguments(worker), folder, cores, log)
    }

    /// Starts this on some cores with these arguments, in a folder. Its output goes to a file.
    pub(crate) fn start_with(
        &self,
        arguments: Vec<OsString>,
        folder: &Path,
        cores: &str,
        log: &Path,
    ) -> Result<Server, StartError> {
        let name = self.runtime.name();
        let spawn = || -> io::Result<Child> {
            let output = File::create(log)?;
            command(&self.path, arguments, cores)
                .current_dir(folder)
                .env("DENO_NO_UPDATE_CHECK", "1")
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
        };
        let mut child = spawn().map_err(|error| StartError::Spawn { name, error })?;
        let begun = Instant::now();
        loop {
            let output = fs::read_to_string(log).unwrap_or_default();
            if let Some(address) = address(&output) {
                return Ok(Server { name, runtime: self.runtime, address, child });
            }
            if child.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(StartError::Ended { name, output });
            }
            if begun.elapsed() > PATIENCE {
                end(&mut child);
                return Err(StartError::Silent { name, output });
            }
            std::thread::sleep(GLANCE);
        }
    }

    pub(crate) fn arguments(&self, worker: &str) -> Vec<OsString> {
        let arguments: &[&str] = match self.runtime {
            Runtime::Skep => &["dev", "--host", "127.0.0.1", "--port", "0", "--inspector-port", "0"],
            Runtime::Workerd => &["serve", "--control-fd=1", "servers/workerd.capnp", worker],
            Runtime::Deno => &["run", "--allow-net", "--allow-read", "servers/deno.js", worker],
            Runtime::Bun => &["run", "servers/bun.js", worker],
            Runtime::Node => &["servers/node.mjs", worker],
            Runtime::SkepServe => &["serve", "--listen", "127.0.0.1:0"],
            Runtime::RawHyper => &[],
        };
        arguments.iter().map(OsString::from).collect()
    }
}

/// A command on some cores that the kernel ends when this process has ended. util-linux has the programs for it.
pub(crate) fn command(program: &Path, arguments: Vec<OsString>, cores: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", cores].map(OsStr::new)).arg(program).args(arguments);
    command
}

/// Where a server listens, from the first whole line that says so: `"port":1234`, `127.0.0.1:1234` or `localhost:1234`.
fn address(output: &str) -> Option<SocketAddr> {
    let (lines, _) = output.rsplit_once('\n')?;
    lines.lines().find_map(|line| {
        let rest = ["\"port\":", "127.0.0.1:", "//localhost:"].iter().find_map(|key| Some(line.split_once(key)?.1))?;
        let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
        Some(SocketAddr::from(([127, 0, 0, 1], digits.parse().ok()?)))
    })
}

// === impl Server ===

impl Server {
    /// The process's number.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a program that this one started.
pub(crate) fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        let check = |output: &str, port: Option<u16>| assert_eq!(address(output).map(|address| address.port()), port);
        check("", None);
        check("{\"port\":123", None);
        check("{\"port\":1234}\n", Some(1234));
        check("warning: x\n{\"event\":\"listen\",\"socket\":\"http\",\"port\":1234}\n", Some(1234));
        check("Ready on http://127.0.0.1:1234 (5 ms)\nDebugger listening on 127.0.0.1:5\n", Some(1234));
        check("Ready on http://localhost:1234 (5 ms), 0 Workers\n", Some(1234));
        check("Ready on http://localhost\n", None);
        check("127.0.0.1:99999\n", None);
    }
}
