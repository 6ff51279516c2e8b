//! Holds: what keeps files that somebody has written, and has not committed yet, from being removed as unused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{FileHash, Files, Store, StoreResult};

/// How many holds there are of each file.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<FileHash, usize>>);

impl Held {
    /// No file becomes held or free as long as this is kept.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<FileHash, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes files, and holds them as long as it or a clone of it lives: until what refers to them is committed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Holding>);

#[derive(Debug)]
struct Holding {
    files: Arc<Files>,
    hashes: Mutex<Vec<FileHash>>,
}

impl Hold {
    /// Writes a content, or finds it there. When this returns it is on the disk, and stays. Blocks.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub fn write(&self, content: &[u8]) -> StoreResult<FileHash> {
        let hash = FileHash::of(content);
        // It is held before anybody looks whether it is there.
        *self.0.files.held().lock().entry(hash.clone()).or_default() += 1;
        self.0.hashes.lock().unwrap_or_else(PoisonError::into_inner).push(hash.clone());
        self.0.files.write(&hash, content)?;
        Ok(hash)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = self.files.held().lock();
        for hash in self.hashes.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            match held.get_mut(&hash) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(held.remove(&hash)),
            }
        }
    }
}

impl Store {
    /// A hold of no file yet. Keep it until what refers to the files is committed.
    pub fn hold(&self) -> Hold {
        Hold(Arc::new(Holding { files: Arc::clone(self.files()), hashes: Mutex::default() }))
    }

    /// Runs what writes files on a thread that may block. They are held until it is done, also if nobody waits for it.
    ///
    /// # Errors
    /// Those of the function.
    pub async fn with_hold<T: Send + 'static>(
        &self,
        hold: &Hold,
        work: impl FnOnce(&Hold) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let hold = hold.clone();
        self.with_files(move |_| work(&hold)).await
    }
}
