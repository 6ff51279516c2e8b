//! The platform as a service of systemd: a unit that may do what it needs and nothing else.
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html>

use std::io;
use std::path::{Path, PathBuf};

/// What the unit is written for.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its file of settings, by its absolute path.
    pub config: Option<PathBuf>,
    /// A file of the master key that only root can read: systemd hands it over as a credential.
    pub master_key: Option<PathBuf>,
    /// How long requests may take to finish after it was told to stop, in seconds.
    pub grace_seconds: u64,
}

/// Why there is no unit.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The program is where the service cannot read.
    #[error(
        "the service cannot read {0}, as home folders are hidden from it: copy it to /usr/local/bin first, and run that one"
    )]
    Hidden(String),
    /// A path that a unit cannot name.
    #[error("{0} cannot be named in a unit: use a path without line breaks")]
    Path(String),
    /// The unit cannot be written.
    #[error("{path}: {source}. Writing a unit takes root: run this command with sudo, or look at it with --print")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Home folders, which the unit hides.
const HIDDEN: [&str; 3] = ["/home/", "/root/", "/run/user/"];
/// What systemd waits longer for the end than the platform does for requests, in seconds.
const MORE: u64 = 15;

impl Service {
    /// The unit's text. The state is in `/var/lib/skep`.
    ///
    /// # Errors
    /// When the program or a file is where the service cannot read it.
    pub fn unit(&self) -> Result<String, ServiceError> {
        let files = [Some(&self.program), self.config.as_ref()];
        let hidden = |path: &&PathBuf| HIDDEN.iter().any(|home| path.starts_with(home.trim_end_matches('/')));
        if let Some(file) = files.into_iter().flatten().find(hidden) {
            return Err(ServiceError::Hidden(file.display().to_string()));
        }
        let program = quoted(&self.program)?;
        let config = match &self.config {
            Some(config) => format!(" --config {}", quoted(config)?),
            None => String::new(),
        };
        let key = match &self.master_key {
            Some(key) => format!(
                "LoadCredential=master-key:{}\nEnvironment=SKEP_MASTER_KEY_FILE=%d/master-key\n",
                plain(key)?.replace('%', "%%")
            ),
            None => String::new(),
        };
        Ok(format!(
            "\
[Unit]
Description=Skep, a serverless platform
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={program} serve{config}
Environment=SKEP_DATA_DIR=%S/skep
{key}Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec={stop}
LimitNOFILE=1048576
TasksMax=infinity

# A user that exists only while it runs, and one folder that is its own.
DynamicUser=yes
StateDirectory=skep
StateDirectoryMode=0700
UMask=0077

# Ports below 1024, and no other privilege.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
RestrictSUIDSGID=yes

# It sees the system's files and changes none. V8 writes machine code, so MemoryDenyWriteExecute is not possible.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
LockPersonality=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
# What runs Workers restricts itself further, with these calls.
SystemCallFilter=@system-service @pkey seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
",
            stop = self.grace_seconds + MORE,
        ))
    }

    /// Writes the unit into a folder, such as `/etc/systemd/system`. Gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn install(&self, folder: &Path) -> Result<PathBuf, ServiceError> {
        let path = folder.join("skep.service");
        let failed = |source| ServiceError::Write { path: path.display().to_string(), source };
        std::fs::write(&path, self.unit()?).map_err(failed)?;
        Ok(path)
    }
}

fn plain(path: &Path) -> Result<String, ServiceError> {
    let text = path.display().to_string();
    if text.contains(['\n', '\r']) { Err(ServiceError::Path(text)) } else { Ok(text) }
}

/// A path as an argument of a command line. `systemd.service(5)`, "Command lines".
fn quoted(path: &Path) -> Result<String, ServiceError> {
    let text = plain(path)?.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Ok(if text.contains([' ', '\t', '"', '\'', ';']) { format!("\"{text}\"") } else { text })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::{Service, ServiceError};

    fn service() -> Service {
        let config = Some(PathBuf::from("/etc/skep/my settings.toml"));
        Service { program: PathBuf::from("/bin/sh"), config, master_key: None, grace_seconds: 30 }
    }

    #[test]
    fn the_unit_says_what_is_run_and_nothing_hidden_is() {
        let unit = service().unit().unwrap();
        assert!(unit.contains("\nExecStart=/bin/sh serve --config \"/etc/skep/my settings.toml\"\n"), "{unit}");
        assert!(unit.contains("\nTimeoutStopSec=45\n"), "{unit}");
        let with_key = Service { master_key: Some(PathBuf::from("/etc/skep/key")), ..service() }.unit().unwrap();
        assert!(with_key.contains("\nLoadCredential=master-key:/etc/skep/key\n"), "{with_key}");
        let hidden = Service { program: PathBuf::from("/home/me/skep"), ..service() }.unit();
        assert!(matches!(hidden, Err(ServiceError::Hidden(_))), "{hidden:?}");
        let broken = Service { config: Some(PathBuf::from("/etc/a\nExecStart=/bin/evil")), ..service() }.unit();
        assert!(matches!(broken, Err(ServiceError::Path(_))), "{broken:?}");
    }

    /// Where systemd is installed it reads the unit too.
    #[test]
    fn systemd_takes_the_unit() {
        let folder = tempfile::TempDir::new().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "").unwrap();
        let path = Service { master_key: Some(key), ..service() }.install(folder.path()).unwrap();
        match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && !said.contains("skep.service"), "{said}");
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
    }

    #[test]
    fn the_committed_unit_is_fresh() {
        let config = Some(PathBuf::from("/etc/skep/skep.toml"));
        let program = PathBuf::from("/usr/local/bin/skep");
        let unit = Service { program, config, master_key: None, grace_seconds: 30 }.unit().expect("a unit");
        assert_eq!(unit, include_str!("../../../deploy/systemd/skep.service"));
    }
}
