//! Which files, ports and other processes there still are: Landlock, the kernel's access control that a process applies to
//! itself. What a kernel is too old for is left out without a word; [`Landlock::abi`] says how much there is.
//! <https://docs.kernel.org/userspace-api/landlock.html>

use std::fmt;
use std::path::PathBuf;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};

/// The newest version of Landlock that is asked for. Raised by hand, after reading what came with it.
const NEWEST: ABI = ABI::V10;

/// Landlock as this kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landlock {
    /// The version of its interface: 1 (Linux 5.13) has files, 4 (6.7) ports of TCP, 6 (6.12) signals and abstract sockets,
    /// 9 (7.1) sockets that have a path.
    pub abi: u32,
}

/// Why Landlock is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLandlock {
    #[error("this kernel does not have it (CONFIG_SECURITY_LANDLOCK) or the container forbids it")]
    Absent,
    #[error("this kernel was started without it (lsm=landlock,…)")]
    Disabled,
    #[error(transparent)]
    Refused(#[from] RulesetError),
}

/// Lets this thread, and those that it starts, read what is beneath `read`. Everything else that Landlock can forbid is
/// forbidden, except connections over TCP and what is sent by UDP: Workers fetch.
pub(crate) fn enter(read: &[PathBuf]) -> Result<Landlock, NoLandlock> {
    let paths: Vec<PathFd> = read.iter().filter_map(|path| PathFd::new(path).ok()).collect();
    let rules =
        paths.iter().map(|path| Ok::<_, RulesetError>(PathBeneath::new(path, AccessFs::ReadFile | AccessFs::ReadDir)));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    // A rule is about the kernel's object for a file, and /proc makes new ones when memory is short: what is open stays.
    paths.leak();
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Ok(Landlock { abi: effective_abi as u32 }),
        LandlockStatus::NotEnabled => Err(NoLandlock::Disabled),
        LandlockStatus::NotImplemented => Err(NoLandlock::Absent),
    }
}

// === impl Landlock ===

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ABI {}: files read-only", self.abi)?;
        if self.abi >= 4 {
            f.write_str(", no TCP port bound")?;
        }
        if self.abi >= 6 {
            f.write_str(", no signals or abstract sockets outside")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Landlock alone, without the filter of system calls that refuses much of the same: its error is `EACCES`, the filter's
    /// `EPERM`.
    #[test]
    fn holds_without_seccomp() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("file"), "read me").unwrap();
        fs::write(&outside, "keep me").unwrap();

        let restricted = move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let landlock = match enter(&[inside.clone(), folder.path().join("absent")]) {
                Ok(landlock) => landlock,
                Err(reason) => return eprintln!("not tested: landlock off: {reason}"),
            };
            assert_eq!(fs::read_to_string(inside.join("file")).unwrap(), "read me");
            assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
            check(File::open(&outside));
            check(fs::read_dir(folder.path()));
            check(File::options().write(true).open(inside.join("file")));
            check(File::create(inside.join("new")));
            check(fs::create_dir(inside.join("new")));
            check(fs::remove_file(inside.join("file")));
            if landlock.abi >= 4 {
                check(TcpListener::bind("127.0.0.1:0"));
            } else {
                eprintln!("not tested: ports, with landlock {landlock}");
            }
        };
        thread::spawn(restricted).join().unwrap();
    }

    #[track_caller]
    fn check<T>(result: io::Result<T>) {
        assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(libc::EACCES));
    }
}
