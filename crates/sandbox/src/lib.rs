//! What a process that runs other people's code gives up. V8 keeps Workers apart from each other and from the process;
//! this is what is left to somebody who has broken out of V8: reading a few folders, connections to the network, and
//! nothing else of the machine.
//!
//! Three layers of Linux, each of which holds without the others: no new privileges
//! (<https://docs.kernel.org/userspace-api/no_new_privs.html>), Landlock, which decides by what a path or a port is
//! (<https://docs.kernel.org/userspace-api/landlock.html>), and seccomp, which decides by the number and the arguments of
//! a system call (<https://docs.kernel.org/userspace-api/seccomp_filter.html>). None of them needs privileges and none can
//! be taken back.
//!
//! It is not a container: the process keeps its user, its capabilities, its network and all that it has open. Whoever
//! starts it chooses those, and what of the network may be reached.

#![forbid(unsafe_code)]

mod landlock;
mod seccomp;

use std::fmt;
use std::path::PathBuf;

pub use landlock::Landlock;
pub use seccomp::Seccomp;

/// What the process still needs.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders, with all that is in them, and files that may be read; nothing else may, and nothing may be written. Those
    /// that do not exist are passed over. A symbolic link stands for what it points to now, and a link inside of a folder
    /// opens only what is in one of the folders itself: where `/etc/resolv.conf` points to `/run`, `/run/systemd/resolve`
    /// is to be named too. V8 takes the seed of each isolate from `/dev/urandom` and falls back to the time without a
    /// word.
    pub read: Vec<PathBuf>,
}

/// Whether something is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<Detail = ()> {
    /// It is.
    On(Detail),
    /// It is not, for this reason.
    Off(String),
}

/// What is in force after [`enter`]. Its text is one line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// No program that is started gets more rights than this process, whatever its set-user-ID bit says.
    pub no_new_privileges: State,
    /// Files, ports, and processes outside.
    pub landlock: State<Landlock>,
    /// System calls.
    pub seccomp: State<Seccomp>,
}

/// Gives up everything that is not in `needs`, for the calling thread and every thread that starts from now on. Threads
/// that exist already keep what they have, so this is called before there are any, and after everything is open that
/// has to be: sockets that listen, files that are written.
///
/// Never fails: what the kernel does not allow is [`State::Off`].
pub fn enter(needs: &Needs) -> InForce {
    InForce {
        no_new_privileges: rustix::thread::set_no_new_privs(true).into(),
        landlock: landlock::enter(&needs.read).into(),
        seccomp: seccomp::enter().into(),
    }
}

// === impl State ===

impl<Detail> State<Detail> {
    /// Whether it is in force.
    pub fn is_on(&self) -> bool {
        matches!(self, State::On(_))
    }

    fn describe(&self, name: &str, detail: impl FnOnce(&Detail) -> String) -> String {
        match self {
            State::On(on) => format!("{name}{}", detail(on)),
            State::Off(reason) => format!("{name} off: {reason}"),
        }
    }
}

impl<Detail, E: fmt::Display> From<Result<Detail, E>> for State<Detail> {
    fn from(result: Result<Detail, E>) -> Self {
        match result {
            Ok(detail) => State::On(detail),
            Err(error) => State::Off(error.to_string()),
        }
    }
}

// === impl InForce ===

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no_new_privileges = self.no_new_privileges.describe("no new privileges", |()| String::new());
        let landlock = self.landlock.describe("landlock", |landlock| format!(" ({landlock})"));
        let seccomp = self.seccomp.describe("seccomp", |seccomp| format!(" ({seccomp})"));
        write!(f, "Sandbox: {no_new_privileges}, {landlock}, {seccomp}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(landlock: State<Landlock>, seccomp: State<Seccomp>, expect: &str) {
        let in_force = InForce { no_new_privileges: State::On(()), landlock, seccomp };
        assert_eq!(in_force.to_string(), expect);
    }

    #[test]
    fn the_line_for_the_log() {
        let seccomp = State::On(Seccomp { system_calls: 142 });
        check(
            State::On(Landlock { abi: 3 }),
            seccomp.clone(),
            "Sandbox: no new privileges, landlock (ABI 3: files read-only), seccomp (142 system calls)",
        );
        check(
            State::On(Landlock { abi: 4 }),
            seccomp.clone(),
            "Sandbox: no new privileges, landlock (ABI 4: files read-only, no TCP port bound), seccomp (142 system calls)",
        );
        check(
            State::On(Landlock { abi: 7 }),
            seccomp,
            "Sandbox: no new privileges, landlock (ABI 7: files read-only, no TCP port bound, no signals or abstract sockets \
             outside), seccomp (142 system calls)",
        );
        check(
            State::Off("this kernel does not have it".to_owned()),
            State::Off("Operation not permitted".to_owned()),
            "Sandbox: no new privileges, landlock off: this kernel does not have it, seccomp off: Operation not permitted",
        );
    }
}
