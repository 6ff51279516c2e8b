//! How the ledger does.

use std::fs;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::metering::Metering;

/// How the ledger does at one moment.
#[derive(Debug)]
pub(crate) struct Health {
    /// Batches that were written down since the start.
    pub(crate) batches: u64,
    /// The size of its files.
    pub(crate) bytes: u64,
    /// Damages that were found at the start.
    pub(crate) damages: usize,
    /// Whether usage cannot be written down.
    pub(crate) is_failing: bool,
}

/// What is counted for that.
pub(super) struct Counts {
    folder: PathBuf,
    batches: AtomicU64,
    damages: AtomicUsize,
}

impl Counts {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, batches: AtomicU64::new(0), damages: AtomicUsize::new(0) }
    }

    pub(super) fn taken(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn damaged(&self, damages: usize) {
        self.damages.store(damages, Ordering::Relaxed);
    }
}

impl Metering {
    /// How the ledger does.
    pub(crate) async fn health(&self) -> Health {
        let folder = self.counts.folder.clone();
        let measure = move || {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
        };
        Health {
            batches: self.counts.batches.load(Ordering::Relaxed),
            bytes: tokio::task::spawn_blocking(measure).await.unwrap_or_default(),
            damages: self.counts.damages.load(Ordering::Relaxed),
            is_failing: self.failing.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
        }
    }
}
