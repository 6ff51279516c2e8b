//! Files that a build has read: tells when one of them is saved.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

/// After a file was closed: how long to wait for further ones that are saved together with it.
const QUIET: Duration = Duration::from_millis(2);
/// After a write into a file that is still open: how long to wait for its end.
const UNFINISHED: Duration = Duration::from_millis(25);

/// Changes that may wait to be looked at. When there are more, everything counts as changed.
const EVENTS: usize = 1024;

/// Files that changed.
pub(crate) struct Changes(pub(crate) Vec<PathBuf>);

/// Watches what builds have read.
pub(crate) struct Watcher {
    events: mpsc::Receiver<Event>,
    /// There were more events than were kept: any file may have changed.
    missed: Arc<AtomicBool>,
    notify: Option<RecommendedWatcher>,
    files: HashSet<PathBuf>,
    folders: Vec<PathBuf>,
    watched: HashSet<PathBuf>,
}

impl Watcher {
    /// A watcher without anything to watch. `complain` is told when the system cannot watch files.
    pub(crate) fn new(complain: impl FnOnce(&str)) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let missed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&missed);
        let notify = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                // On the watcher's own thread, which must not wait: `watch` waits for it.
                if let Err(TrySendError::Full(_)) = sender.try_send(event) {
                    tell.store(true, Ordering::Release);
                }
            }
        });
        let notify = match notify {
            Ok(notify) => Some(notify),
            Err(error) => {
                complain(&format!("files cannot be watched ({error}): restart after a change"));
                None
            }
        };
        Self { notify, events, missed, files: HashSet::new(), folders: Vec::new(), watched: HashSet::new() }
    }

    /// From now on these files count, and all files below these folders.
    pub(crate) fn watch(&mut self, files: &[PathBuf], folders: &[PathBuf]) {
        self.files = files.iter().cloned().collect();
        self.folders = folders.to_vec();
        let Some(notify) = &mut self.notify else { return };
        // Editors replace files, so that their folders are what can be watched.
        let mut wanted: HashSet<(PathBuf, bool)> =
            files.iter().filter_map(|file| existing(file.parent()?)).map(|folder| (folder, false)).collect();
        wanted.extend(folders.iter().filter_map(|folder| existing(folder)).map(|folder| (folder, true)));
        for (folder, recursive) in wanted {
            let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if self.watched.contains(&folder) && !recursive {
                continue;
            }
            // A folder that went away meanwhile has nothing to tell.
            if notify.watch(&folder, mode).is_ok() {
                self.watched.insert(folder);
            }
        }
    }

    /// Waits for files that count to change. `begun` is called at the first sign of it. `None` when nothing can come.
    pub(crate) async fn changes(&mut self, begun: impl FnOnce()) -> Option<Changes> {
        let mut changed = Vec::new();
        let quiet = loop {
            let event = self.events.recv().await?;
            if let Some(quiet) = self.note(&event, &mut changed) {
                break quiet;
            }
            if self.missed.load(Ordering::Acquire) {
                break UNFINISHED;
            }
        };
        begun();
        // Files that do not count do not put it off.
        let mut until = Instant::now() + quiet;
        loop {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) => {
                    if let Some(quiet) = self.note(&event, &mut changed) {
                        until = Instant::now() + quiet;
                    }
                }
                Ok(None) => return None,
                Err(_) if self.missed.swap(false, Ordering::AcqRel) => {
                    return Some(Changes(self.files.iter().chain(&self.folders).cloned().collect()));
                }
                Err(_) => return Some(Changes(changed)),
            }
        }
    }

    /// Remembers the files of an event that count. Gives how long to wait for more, if there are any.
    fn note(&self, event: &Event, changed: &mut Vec<PathBuf>) -> Option<Duration> {
        let quiet = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => QUIET,
            EventKind::Create(_) | EventKind::Modify(_) => UNFINISHED,
            _ => return None,
        };
        let before = changed.len();
        for path in &event.paths {
            let counts = self.files.contains(path) || self.folders.iter().any(|folder| path.starts_with(folder));
            if counts && !changed.contains(path) {
                changed.push(path.clone());
            }
        }
        let known = event.paths.iter().any(|path| changed.contains(path));
        (changed.len() > before || known).then_some(quiet)
    }
}

/// The folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}
