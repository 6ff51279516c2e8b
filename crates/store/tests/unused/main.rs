//! Removing what nobody needs any more: what is removed, what stays, beside uploads and across SIGKILL.

mod beside;
mod site;

use std::time::Duration;

use skep_store::{FileHash, Removed, StoreError};
use sqlx::ConnectOptions as _;
use tempfile::TempDir;

use crate::site::{Site, asset, content, database, manifest, version};

/// Removes what is unused now.
const AT_ONCE: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn every_version_of_a_worker_stays_and_a_deleted_one_leaves_nothing() {
    let site = Site::new().await;
    for (name, source) in [("kept", "1"), ("kept", "2"), ("deleted", "2"), ("deleted", "only its own")] {
        site.upload(name, source).await.expect("committed");
    }
    assert_eq!(site.store.remove_unused(AT_ONCE).await.expect("removed"), Removed::default());
    let deleted = site.store.worker(&site.account.id, "deleted").await.expect("read").expect("a Worker");
    site.store.delete_worker(&site.actor(), "deleted").await.expect("deleted");
    assert!(site.store.versions(deleted.id, 0, 10).await.expect("read").is_empty());

    let removed = site.store.remove_unused(AT_ONCE).await.expect("removed");
    let own = ["only its own", "map of only its own", "code of only its own"];
    assert_eq!(removed.files, 3);
    assert_eq!(removed.bytes, own.iter().map(|text| text.len() as u64).sum::<u64>());
    assert!(own.iter().all(|text| !site.has(text)));
    assert_eq!(site.read_all().await.expect("all is there"), 2);
}

#[tokio::test]
async fn a_file_stays_for_a_while_after_it_was_found_unused() {
    let site = Site::new().await;
    site.upload("hello", "1").await.expect("committed");
    site.store.delete_worker(&site.actor(), "hello").await.expect("deleted");
    for _ in 0..2 {
        assert_eq!(site.store.remove_unused(HOUR).await.expect("looked").files, 0);
    }
    // Two hours later, but it was in use in between.
    site.change("UPDATE unused_files SET since = since - 7200000").await;
    site.upload("hello", "1").await.expect("committed");
    site.store.delete_worker(&site.actor(), "hello").await.expect("deleted");
    assert_eq!(site.store.remove_unused(HOUR).await.expect("looked").files, 0);
    site.change("UPDATE unused_files SET since = since - 7200000").await;
    assert_eq!(site.store.remove_unused(HOUR).await.expect("removed").files, 3);
    // It can come again.
    site.upload("hello", "1").await.expect("committed");
    assert_eq!(site.read_all().await.expect("all is there"), 1);
}

#[tokio::test]
async fn what_somebody_holds_stays() {
    let site = Site::new().await;
    let (one, two) = (site.store.hold(), site.store.hold());
    for hold in [&one, &two, &two.clone()] {
        hold.write(b"held").expect("written");
    }
    for hold in [one, two] {
        assert_eq!(site.store.remove_unused(AT_ONCE).await.expect("looked").files, 0);
        assert!(site.has("held"));
        drop(hold);
    }
    assert_eq!(
        site.store.remove_unused(AT_ONCE).await.expect("removed"),
        Removed { files: 1, bytes: 4, ..Removed::default() }
    );
}

#[tokio::test]
async fn an_asset_stays_as_long_as_its_session_or_a_version() {
    let site = Site::new().await;
    site.upload_assets("site", &["one", "two"]).await.expect("uploaded");
    assert_eq!(site.store.remove_unused(AT_ONCE).await.expect("looked").files, 0, "the session has not expired");
    site.commit_assets("site", &["one", "two"]).await.expect("committed");
    site.upload_assets("site", &["two", "given up"]).await.expect("uploaded");
    // Sessions of another account keep nothing here.
    let other = site.store.create_account("test", "Other", "other").await.expect("an account");
    let other = Site { account: other, ..site.clone() };
    other.upload_assets("site", &["one", "elsewhere"]).await.expect("uploaded");
    for texts in [&["one", "two"], &["two", "given up"], &["one", "elsewhere"]] {
        site.expire("site", texts).await;
    }

    let removed = site.store.remove_unused(AT_ONCE).await.expect("removed");
    assert!(site.has("one") && site.has("two") && !site.has("given up") && !site.has("elsewhere"));
    // Those two, and the manifests of three sessions.
    assert_eq!(removed.files, 5);
    let hashes = ["one", "two", "given up"].map(asset);
    let there = site.store.assets_of(&site.account.id, &hashes).await.expect("read");
    assert!(there.contains_key(&hashes[0]) && there.contains_key(&hashes[1]) && !there.contains_key(&hashes[2]));
    assert!(site.store.assets_of(&other.account.id, &hashes).await.expect("read").is_empty());
    assert_eq!(site.read_all().await.expect("all is there"), 1);

    site.store.delete_worker(&site.actor(), "site").await.expect("deleted");
    site.store.remove_unused(AT_ONCE).await.expect("removed");
    assert!(!site.has("one") && !site.has("two"));
    assert!(site.store.assets_of(&site.account.id, &hashes).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_named_and_its_account_keeps_all() {
    let site = Site::new().await;
    site.upload_assets("site", &["one"]).await.expect("uploaded");
    let made = site.commit_assets("site", &["one"]).await.expect("committed");
    site.upload_assets("site", &["given up"]).await.expect("uploaded");
    site.expire("site", &["one"]).await;
    site.expire("site", &["given up"]).await;
    let list = made.version.content.assets.expect("assets").manifest;
    let path = site.folder.join("files").join(&list.as_str()[..2]).join(list.as_str());
    std::fs::write(path, "{}").expect("damaged");

    let removed = site.store.remove_unused(AT_ONCE).await.expect("removed");
    assert_eq!(removed.unreadable, [list.to_string()]);
    assert!(site.has("one") && site.has("given up"));
    site.store.hold().write(&manifest("site", &["one"], Some("text/plain"))).expect("mended");
    let removed = site.store.remove_unused(AT_ONCE).await.expect("removed");
    assert!(removed.unreadable.is_empty());
    assert!(site.has("one") && !site.has("given up"));
}

#[tokio::test]
async fn nothing_is_committed_whose_files_are_gone() {
    let site = Site::new().await;
    let new = version(content(&site.store.hold(), "1").expect("written"));
    site.store.remove_unused(AT_ONCE).await.expect("removed");
    let refused = site.store.commit_version(&site.actor(), "hello", new, None).await;
    let missing = FileHash::of(b"1").to_string();
    assert!(matches!(&refused, Err(StoreError::Corrupt { name }) if name.contains(&missing)), "{refused:?}");

    // Assets that a version took over from a Worker that is deleted meanwhile.
    site.upload_assets("site", &["one"]).await.expect("uploaded");
    let before = site.commit_assets("site", &["one"]).await.expect("committed").version.content;
    site.store.delete_worker(&site.actor(), "site").await.expect("deleted");
    site.expire("site", &["one"]).await;
    site.store.remove_unused(HOUR).await.expect("looked");
    let refused = site.store.commit_version(&site.actor(), "site", version(before), None).await;
    assert!(matches!(&refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(site.store.worker(&site.account.id, "site").await.expect("read").is_none());
    let refused = site.store.keep_assets(&site.account.id, &FileHash::of(b"never written"), 1).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_data_directory_of_an_older_version_keeps_its_files() {
    let folder = TempDir::new().expect("a folder");
    let files = |text: &str| {
        let hash = FileHash::of(text.as_bytes());
        let path = folder.path().join("files").join(&hash.as_str()[..2]);
        std::fs::create_dir_all(&path).expect("a folder");
        std::fs::write(path.join(hash.as_str()), text).expect("written");
        hash
    };
    let list = String::from_utf8(manifest("site", &["an asset"], None)).expect("text");
    let modules = ["source", "map", "code", "text"].map(files);
    let content = serde_json::json!({
        "main": "index.js", "compatibility_date": null, "compatibility_flags": [], "handlers": [],
        "cpu_ms": null, "startup_time_ms": 1, "assets": { "manifest": files(&list), "config": {} },
        "modules": [
            { "name": "index.js", "kind": "script", "file": modules[0], "source_map": modules[1], "code": modules[2] },
            { "name": "text.txt", "kind": "text", "file": modules[3] },
        ],
    });
    let mut old = database(folder.path()).connect().await.expect("a connection");
    sqlx::raw_sql(include_str!("../../src/schema.sql")).execute(&mut old).await.expect("the first schema");
    sqlx::raw_sql(include_str!("../../src/promotions.sql")).execute(&mut old).await.expect("the second one");
    sqlx::raw_sql(
        "PRAGMA user_version = 2; \
         INSERT INTO accounts VALUES ('a', 'Skep', 'dev', 1); \
         INSERT INTO workers VALUES ('00000000-0000-0000-0000-000000000001', 'a', 'site', 1, 1, TRUE, TRUE, '{}', '[]', 1);",
    )
    .execute(&mut old)
    .await
    .expect("rows");
    sqlx::query("INSERT INTO versions VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', 1, 1, 'me', 'test', '{}', $1, '[]')")
        .bind(content.to_string())
        .execute(&mut old)
        .await
        .expect("a version");
    sqlx::query("INSERT INTO asset_contents VALUES ('a', $1, 'identity', $2, 8, NULL)")
        .bind(asset("an asset"))
        .bind(files("an asset").as_str())
        .execute(&mut old)
        .await
        .expect("an asset");
    drop(old);
    files("nobody's");

    let site = Site::of(folder.path().to_owned()).await;
    assert_eq!(site.store.remove_unused(AT_ONCE).await.expect("removed").files, 1);
    assert_eq!(site.read_all().await.expect("all is there"), 1);
    assert!(["source", "map", "code", "text", "an asset", &list].iter().all(|text| site.has(text)));
}
