//! What this node is.

use std::fs;
use std::path::Path;

use uuid::Uuid;

/// The file of its id, in the data directory.
const FILE: &str = "node-id";
/// Where Linux says how the machine is called.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// What stays as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Made once for each data directory.
    pub(super) id: String,
    pub(super) name: String,
    /// In milliseconds since 1970.
    pub(super) started: i64,
}

/// Room on a disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) free: u64,
    pub(super) total: u64,
}

impl Identity {
    /// That of a data directory. Its name is the machine's if nobody gives another one.
    ///
    /// # Errors
    /// When the id cannot be written.
    pub(super) fn of(data_dir: &Path, name: Option<String>) -> std::io::Result<Self> {
        let path = data_dir.join(FILE);
        let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<Uuid>().ok());
        let id = match known {
            Some(id) => id,
            None => {
                let id = Uuid::new_v4();
                fs::write(&path, format!("{id}\n"))?;
                id
            }
        };
        let name = name.or_else(|| Some(fs::read_to_string(HOSTNAME).ok()?.trim().to_owned()));
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned());
        let started = super::milliseconds(time::OffsetDateTime::now_utc());
        Ok(Self { id: id.to_string(), name, started })
    }
}

impl Disk {
    /// That of a folder, as far as who is not root may fill it. `statvfs(3)`.
    pub(super) fn of(folder: &Path) -> std::io::Result<Self> {
        let disk = rustix::fs::statvfs(folder)?;
        Ok(Self { free: disk.f_bavail * disk.f_frsize, total: disk.f_blocks * disk.f_frsize })
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, Identity};

    #[test]
    fn a_data_directory_has_one_id() {
        let folder = tempfile::TempDir::new().unwrap();
        let one = Identity::of(folder.path(), Some("here".to_owned())).unwrap();
        let again = Identity::of(folder.path(), None).unwrap();
        assert_eq!((&one.id, one.name.as_str()), (&again.id, "here"));
        assert!(!again.name.is_empty() && again.started >= one.started);
        let disk = Disk::of(folder.path()).unwrap();
        assert!(disk.free > 0 && disk.free <= disk.total, "{disk:?}");
    }
}
