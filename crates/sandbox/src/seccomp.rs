//! Which system calls there still are: a filter that the kernel runs before each of them. What is not in the list of
//! [`system_calls`] is refused with `EPERM`, and a call from another architecture ends the process.
//! <https://man7.org/linux/man-pages/man2/seccomp.2.html>

mod system_calls;

use std::fmt;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// The filter as it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seccomp {
    /// How many system calls are allowed, with all or with some arguments.
    pub system_calls: usize,
}

/// Why seccomp is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSeccomp {
    #[error("this kernel does not have it (CONFIG_SECCOMP_FILTER)")]
    Absent,
    #[error(transparent)]
    Refused(seccompiler::Error),
}

/// Puts the filters in force for this thread and those that it starts.
///
/// There are two, since a filter has one answer for what it does not allow. Each call goes through both and the strictest
/// answer counts: the first says `ENOSYS` to a few and allows the rest, the second allows those few.
pub(crate) fn enter() -> Result<Seccomp, NoSeccomp> {
    let allowed = system_calls::allowed(std::process::id()).map_err(seccompiler::Error::from)?;
    let system_calls = allowed.len() - system_calls::ABSENT.len();
    let absent = system_calls::ABSENT.iter().map(|&number| (number, Vec::new())).collect();
    let absent = program(absent, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let allowed = program(allowed, errno(libc::EPERM), SeccompAction::Allow)?;
    seccompiler::apply_filter(&absent)?;
    seccompiler::apply_filter(&allowed)?;
    Ok(Seccomp { system_calls })
}

fn program(
    rules: system_calls::Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()?)
}

fn errno(error: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(error.unsigned_abs())
}

// === impl Seccomp ===

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} system calls", self.system_calls)
    }
}

// === impl NoSeccomp ===

impl From<seccompiler::Error> for NoSeccomp {
    fn from(error: seccompiler::Error) -> Self {
        match error {
            seccompiler::Error::Seccomp(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                NoSeccomp::Absent
            }
            error => NoSeccomp::Refused(error),
        }
    }
}
