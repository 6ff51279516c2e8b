//! What happens to certificates, for the log.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Something that happened. Its text is one sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host has its first certificate.
    Issued {
        /// The host.
        host: String,
        /// When it ends.
        until: SystemTime,
        /// How long the order took.
        took: Duration,
    },
    /// A host has a new certificate in place of its old one.
    Renewed {
        /// The host.
        host: String,
        /// When it ends.
        until: SystemTime,
        /// How long the order took.
        took: Duration,
    },
    /// An order failed. What the host had before, it has still.
    Failed {
        /// The host.
        host: String,
        /// Why.
        reason: String,
        /// Not before this, it is tried again.
        retry_at: SystemTime,
    },
    /// A certificate ends soon, and could not be renewed.
    Expiring {
        /// The host.
        host: String,
        /// When it ends.
        until: SystemTime,
    },
    /// A file is not what it should be. It was moved aside, and is replaced.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written. What it should hold is in memory, until the process ends.
    Unkept {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued { host, until, took } => {
                write!(formatter, "{host} has a certificate for {} ({} ms)", ahead(*until), took.as_millis())
            }
            Self::Renewed { host, until, took } => {
                write!(formatter, "{host} has a new certificate for {} ({} ms)", ahead(*until), took.as_millis())
            }
            Self::Failed { host, reason, retry_at } => {
                write!(
                    formatter,
                    "no certificate for {host}: {reason}. Next try in {} at the earliest",
                    ahead(*retry_at)
                )
            }
            Self::Expiring { host, until } => {
                write!(formatter, "the certificate of {host} ends in {} and could not be renewed yet", ahead(*until))
            }
            Self::Corrupt { file, reason } => {
                write!(formatter, "{}: {reason}. It was moved aside and is replaced", file.display())
            }
            Self::Unkept { file, reason } => write!(
                formatter,
                "{}: {reason}. What it should hold is lost when the process ends: look at the disk and its permissions",
                file.display()
            ),
        }
    }
}

/// How far away a moment is, in the largest unit that fits.
fn ahead(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_when() {
        let retry_at = SystemTime::now() + Duration::from_secs(301);
        let event =
            Event::Failed { host: "a.example".to_owned(), reason: "DNS has no address for it".to_owned(), retry_at };
        let text = "no certificate for a.example: DNS has no address for it. Next try in 5 minutes at the earliest";
        assert_eq!(event.to_string(), text);
    }

    #[test]
    fn moments_have_fitting_units() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(ahead(SystemTime::now() + Duration::from_millis(seconds * 1000 + 500)), expected);
        };
        check(0, "0 s");
        check(119, "119 s");
        check(600, "10 minutes");
        check(7200, "2 hours");
        check(90 * 86_400, "90 days");
        assert_eq!(ahead(SystemTime::UNIX_EPOCH), "0 s");
    }
}
