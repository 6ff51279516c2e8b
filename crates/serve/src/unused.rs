//! Files that nobody needs any more are removed in the background, once a day.

use std::time::Duration;

use skep_store::{Removed, Store};

use crate::Tell;

/// How long after the start they are looked for: what comes after a restart goes first.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// How often.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long a file stays after it was first found unused: so long a backup may take that has the database first and the files then.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Removes what is unused, for ever.
pub(crate) async fn run(store: Store, tell: Tell) {
    tokio::time::sleep(FIRST).await;
    loop {
        match store.remove_unused(UNUSED_FOR).await {
            Ok(removed) => report(&removed, &tell),
            Err(error) => tell(&format!("Unused files cannot be removed: {error}")),
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn report(removed: &Removed, tell: &Tell) {
    if removed.files > 0 {
        tell(&format!("Removed unused files: {} with {} bytes", removed.files, removed.bytes));
    }
    for name in &removed.unreadable {
        tell(&format!(
            "The list of static assets {name} in the data directory is damaged, so no assets of its account are removed: deploy its Worker again, or restore the file from a backup"
        ));
    }
}
