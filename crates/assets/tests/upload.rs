//! From a folder on disk to a manifest.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use skep_assets::manifest::MAX_FILE_SIZE;
use skep_assets::upload::{Folder, UploadError, content_type};
use skep_assets::{AssetHash, Config, Script, Server, Site};
use support::request;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn paths(folder: &Path) -> Vec<String> {
    Folder::read(folder).unwrap().manifest.iter().map(|asset| asset.path().to_owned()).collect()
}

#[test]
fn every_file_but_the_rules() {
    let folder = folder(&[
        ("index.html", "<h1>hi</h1>"),
        ("a/b/c.css", "a{}"),
        (".well-known/x", "y"),
        ("a b/[ü].txt", "z"),
        ("_headers", "/*\n  X: y"),
        ("_redirects", "/a /b"),
        ("sub/_headers", "an asset like others"),
    ]);
    let read = Folder::read(folder.path()).unwrap();
    let expect = ["/.well-known/x", "/a b/[ü].txt", "/a/b/c.css", "/index.html", "/sub/_headers"];
    assert_eq!(read.manifest.iter().map(|asset| asset.path()).collect::<Vec<_>>(), expect);
    assert_eq!((read.headers.as_deref(), read.redirects.as_deref()), (Some("/*\n  X: y"), Some("/a /b")));
    let index = read.manifest.get("/index.html").unwrap();
    assert_eq!(index.hash(), AssetHash::of(b"<h1>hi</h1>", "html"));
    assert_eq!(index.file().content_type.as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(read.file(index.hash()).unwrap().file_name().unwrap(), "index.html");
    assert_eq!(read.manifest.get("/.well-known/x").unwrap().hash(), AssetHash::of(b"y", ""));
}

#[test]
fn an_empty_folder_is_an_empty_manifest() {
    assert!(Folder::read(folder(&[]).path()).unwrap().manifest.is_empty());
}

#[test]
fn ignored_files() {
    let folder = folder(&[
        (".assetsignore", "# comment\n*.map\n/secret/\nnode_modules\n!keep.map\n"),
        ("a.js", ""),
        ("a.js.map", ""),
        ("keep.map", ""),
        ("secret/x", ""),
        ("sub/secret/x", ""),
        ("sub/node_modules/x", ""),
        ("_worker.js", ""),
    ]);
    assert_eq!(paths(folder.path()), ["/_worker.js", "/a.js", "/keep.map", "/sub/secret/x"]);
}

#[test]
fn the_script_of_a_pages_project_is_refused() {
    let with = folder(&[("_worker.js", ""), ("index.html", "")]);
    let error = Folder::read(with.path()).unwrap_err();
    assert!(matches!(error, UploadError::PagesScript(_)), "{error}");
    fs::write(with.path().join(".assetsignore"), "_worker.js").unwrap();
    assert_eq!(paths(with.path()), ["/index.html"]);
}

#[test]
fn a_file_that_is_too_large_is_named() {
    let folder = folder(&[("sub/small", "")]);
    let file = fs::File::create(folder.path().join("sub/film.mp4")).unwrap();
    file.set_len(MAX_FILE_SIZE).unwrap();
    assert_eq!(paths(folder.path()).len(), 2);
    file.set_len(MAX_FILE_SIZE + 1).unwrap();
    let error = Folder::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("/sub/film.mp4 has 26214401 bytes"), "{error}");
}

#[test]
fn what_cannot_be_uploaded_is_named() {
    let missing = tempfile::tempdir().unwrap().path().join("dist");
    assert!(Folder::read(&missing).unwrap_err().to_string().contains("dist does not exist"));
    let with = folder(&[("a\\b", "")]);
    assert!(Folder::read(with.path()).unwrap_err().to_string().contains("backslash"));
    let with = folder(&[("a", ""), ("_headers", "")]);
    fs::write(with.path().join("_headers"), b"\xff").unwrap();
    assert!(matches!(Folder::read(with.path()).unwrap_err(), UploadError::Rules(_)));
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out_of_the_folder() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("passwords", "secret")]);
    let inside = folder(&[("real.txt", "real"), ("sub/x.txt", "x")]);
    let root = inside.path();
    symlink(root.join("real.txt"), root.join("link.txt")).unwrap();
    symlink("../real.txt", root.join("sub/relative.txt")).unwrap();
    symlink(outside.path().join("passwords"), root.join("out.txt")).unwrap();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink(root, root.join("sub/circle")).unwrap();
    symlink("nowhere", root.join("broken")).unwrap();
    let read = Folder::read(root).unwrap();
    let found: Vec<_> = read.manifest.iter().map(|asset| asset.path()).collect();
    assert_eq!(found, ["/link.txt", "/real.txt", "/sub/relative.txt", "/sub/x.txt"]);
    let mut skipped: Vec<_> =
        read.skipped_links.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["broken", "circle", "out", "out.txt"]);
}

#[test]
fn what_changed_is_read_again() {
    let folder = folder(&[("a.txt", "one"), ("b.txt", "same")]);
    let first = Folder::read(folder.path()).unwrap();
    fs::write(folder.path().join("a.txt"), "three").unwrap();
    fs::write(folder.path().join("c.txt"), "new").unwrap();
    let second = first.read_again(folder.path()).unwrap();
    assert_eq!(second.manifest.get("/a.txt").unwrap().hash(), AssetHash::of(b"three", "txt"));
    assert_eq!(second.manifest.get("/b.txt").unwrap().hash(), first.manifest.get("/b.txt").unwrap().hash());
    assert!(second.manifest.get("/c.txt").is_some());
    fs::remove_file(folder.path().join("b.txt")).unwrap();
    assert!(second.read_again(folder.path()).unwrap().manifest.get("/b.txt").is_none());
}

/// The clock of a file system stands still for some milliseconds, and two changes may have the same time.
#[test]
fn a_file_that_changed_twice_within_a_tick_is_read_again() {
    let folder = folder(&[("a.txt", "one")]);
    let path = folder.path().join("a.txt");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let first = Folder::read(folder.path()).unwrap();
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let second = first.read_again(folder.path()).unwrap();
    assert_eq!(second.manifest.get("/a.txt").unwrap().hash(), AssetHash::of(b"two", "txt"));
}

#[tokio::test]
async fn a_folder_is_served_from_disk() {
    let large: String = "0123456789".repeat(200_000);
    let folder = folder(&[("index.html", "<h1>hi</h1>"), ("large.txt", &large)]);
    let read = Folder::read(folder.path()).unwrap();
    let server = Server::new(Arc::new(read.contents()), 0);
    let (site, _) = Site::new(read.manifest.clone(), &Config::default(), Script::None);
    let body = async |path: &str, range: &str| {
        let response = server.answer(&site, &request("GET", path, &[("range", range)])).response().await;
        response.map(|response| response.unwrap().into_body())
    };
    assert_eq!(body("/", "").await.unwrap().as_full(), Some(b"<h1>hi</h1>".as_slice()));
    assert_eq!(body("/large.txt", "").await.unwrap().collect(u64::MAX).await.unwrap(), large);
    let part = body("/large.txt", "bytes=1000005-1000009").await.unwrap();
    assert_eq!(part.collect(u64::MAX).await.unwrap(), "56789");
    fs::remove_file(folder.path().join("index.html")).unwrap();
    assert_eq!(body("/", "").await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn content_types() {
    for (path, expect) in [
        ("/a.html", Some("text/html; charset=utf-8")),
        ("/a.HTM", Some("text/html; charset=utf-8")),
        ("/a.css", Some("text/css; charset=utf-8")),
        ("/a.min.js", Some("text/javascript; charset=utf-8")),
        ("/a.mjs", Some("text/javascript; charset=utf-8")),
        ("/a.json", Some("application/json")),
        ("/a.js.map", Some("application/json")),
        ("/a.webmanifest", Some("application/manifest+json")),
        ("/a.wasm", Some("application/wasm")),
        ("/a.svg", Some("image/svg+xml")),
        ("/a.png", Some("image/png")),
        ("/a.jpeg", Some("image/jpeg")),
        ("/a.webp", Some("image/webp")),
        ("/a.avif", Some("image/avif")),
        ("/favicon.ico", Some("image/vnd.microsoft.icon")),
        ("/a.woff", Some("font/woff")),
        ("/a.woff2", Some("font/woff2")),
        ("/a.mp4", Some("video/mp4")),
        ("/a.pdf", Some("application/pdf")),
        ("/a.txt", Some("text/plain; charset=utf-8")),
        ("/a.unheard-of", None),
        ("/LICENSE", None),
        ("/.htaccess", None),
        ("/a.dir/file", None),
    ] {
        assert_eq!(content_type(path).as_deref(), expect, "{path}");
    }
}
