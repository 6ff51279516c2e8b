//! Beside uploads, and killed at any moment: what is committed is complete.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skep_store::StoreError;
use tokio::task::JoinSet;

use crate::AT_ONCE;
use crate::site::Site;

/// Who uploads at once.
const UPLOADERS: usize = 4;
/// What each uploads.
const ROUNDS: usize = 16;
/// Contents that all of them upload.
const TEXTS: [&str; 3] = ["one", "two", "three"];

/// Uploads, deletes and gives up, the same contents as the others. Gives whether a version was committed.
async fn step(site: &Site, uploader: usize, round: usize) -> Result<bool, StoreError> {
    let shared = site.beside.read().await;
    let text = TEXTS[(uploader + round) % TEXTS.len()];
    let name = format!("worker-{uploader}");
    match round % 4 {
        0 => site.upload(&name, text).await.map(|_| true),
        // An upload that fails between its files and its row.
        1 => site.store.hold().write(text.as_bytes()).map(|_| false),
        2 => {
            let texts = [text, TEXTS[(uploader + round + 1) % TEXTS.len()]];
            site.upload_assets(&name, &texts).await?;
            site.commit_assets(&name, &texts).await?;
            drop(shared);
            site.expire(&name, &texts).await;
            Ok(true)
        }
        // The last round's Worker stays.
        _ if round + 1 < ROUNDS => site.store.delete_worker(&site.actor(), &name).await.map(|()| false),
        _ => Ok(false),
    }
}

/// Removes what is unused, over and over.
async fn remove_until(site: Site, stopped: Arc<AtomicBool>) -> u64 {
    let mut files = 0;
    while !stopped.load(Ordering::Relaxed) {
        let shared = site.beside.read().await;
        let removed = site.store.remove_unused(AT_ONCE).await.expect("removed");
        drop(shared);
        assert!(removed.unreadable.is_empty(), "{removed:?}");
        files += removed.files;
        tokio::task::yield_now().await;
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_committed_beside_it_is_complete() {
    let site = Site::new().await;
    let stopped = Arc::new(AtomicBool::new(false));
    let removing = tokio::spawn(remove_until(site.clone(), Arc::clone(&stopped)));
    let uploaders: Vec<_> = (0..UPLOADERS)
        .map(|uploader| {
            let site = site.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    step(&site, uploader, round).await.unwrap_or_else(|error| panic!("{uploader}, {round}: {error}"));
                }
            })
        })
        .collect();
    for uploader in uploaders {
        uploader.await.expect("no upload fails");
    }
    stopped.store(true, Ordering::Relaxed);
    removing.await.expect("it never fails");
    // The last two versions of each.
    assert_eq!(site.read_all().await.expect("all is there"), UPLOADERS * 2);
    site.store.remove_unused(AT_ONCE).await.expect("removed");
    assert_eq!(site.read_all().await.expect("all is still there"), UPLOADERS * 2);

    for uploader in 0..UPLOADERS {
        site.store.delete_worker(&site.actor(), &format!("worker-{uploader}")).await.expect("deleted");
    }
    site.store.remove_unused(AT_ONCE).await.expect("removed");
    let left: Vec<&str> = TEXTS.into_iter().filter(|text| site.has(text)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// How often the process is killed.
const KILLS: usize = 8;
/// Names the folder for the process that is killed.
const FOLDER: &str = "SKEP_TEST_KILLED_IN";

/// What the process does that is killed. Nothing where there is none to be killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploads_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let site = Site::of(folder.into()).await;
    tokio::spawn(remove_until(site.clone(), Arc::default()));
    let mut uploaders = JoinSet::new();
    for uploader in 0..UPLOADERS {
        let site = site.clone();
        uploaders.spawn(async move {
            for round in (0..ROUNDS).cycle() {
                // The Worker may be one of the process before.
                if let Ok(true) = step(&site, uploader, round).await {
                    println!("committed");
                }
            }
        });
    }
    while let Some(ended) = uploaders.join_next().await {
        ended.expect("it goes on until it is killed");
    }
}

#[tokio::test]
async fn what_is_committed_survives_sigkill() {
    let site = Site::new().await;
    for round in 0..KILLS {
        let wanted = 3 + 2 * round;
        let mut process = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "beside::uploads_until_it_is_killed", "--nocapture"])
            .env(FOLDER, &site.folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let committed = output.lines().map_while(Result::ok).filter(|line| line.ends_with("committed"));
        assert_eq!(committed.take(wanted).count(), wanted, "it goes on until it is killed");
        process.kill().expect("killed");
        process.wait().expect("it is gone");

        let site = Site::of(site.folder.clone()).await;
        let there = site.read_all().await.expect("all is there");
        site.store.remove_unused(AT_ONCE).await.expect("removed");
        assert_eq!(site.read_all().await.expect("all is still there"), there, "round {round}");
    }
}
