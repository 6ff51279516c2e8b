//! Uploads that are wrong, and a disk that fails: each is refused with its reason, nothing of it stays, and what is live goes on.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hyper::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Answer, Ended, Platform, command, skep};

/// The largest script in bytes.
const LARGEST_SCRIPT: usize = 64 * 1024 * 1024;

/// A Worker that answers with a text.
fn says(text: &str) -> String {
    format!("export default {{ fetch: () => new Response({text:?}) }};")
}

fn form(script: String) -> String {
    Platform::form(&[("index.js", script)])
}

/// The first error of the API's answer: status, code and message.
fn refused(answer: &Answer) -> (u16, u64, String) {
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
    assert_eq!(json["success"], false, "{json}");
    let error = &json["errors"][0];
    (
        answer.status.as_u16(),
        error["code"].as_u64().expect("a code"),
        error["message"].as_str().expect("text").to_owned(),
    )
}

/// Whether the account has a Worker of that name.
async fn exists(platform: &Platform, name: &str) -> bool {
    let list = platform.api(Method::GET, &format!("/accounts/{}/workers/scripts", platform.account), "").await;
    list["result"].as_array().expect("a list").iter().any(|worker| worker["id"] == name)
}

#[tokio::test]
async fn an_upload_that_is_cut_off() {
    let platform = Platform::start().await;
    let whole = form(says("whole"));
    for part in 0..16 {
        let cut = &whole[..whole.len() * part / 16];
        let answer = platform.send(platform.put("cut"), cut.to_owned()).await.expect("an answer");
        let (status, code, message) = refused(&answer);
        assert_eq!((status, code), (400, 10001), "{part}/16: {message}");
    }
    // A connection that breaks in the middle of what it has announced.
    let mut stream = TcpStream::connect(platform.address()).await.unwrap();
    let head = format!(
        "PUT /client/v4/accounts/{}/workers/scripts/cut HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=B\r\ncontent-length: {}\r\n\r\n",
        platform.account,
        platform.host,
        platform.token,
        whole.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&whole.as_bytes()[..whole.len() - 5]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // The platform closes it, with or without an answer.
    drop(stream.read_to_end(&mut rest).await);
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    assert!(!exists(&platform, "cut").await);
    platform.upload("cut", &[("index.js", says("whole"))]).await.expect("an answer");
    assert_eq!(platform.get("cut.dev", "/").await.text, "whole");
}

#[tokio::test]
async fn an_upload_that_is_too_large() {
    let platform = Platform::start().await;
    let large = format!("{}//{}", says("large"), "x".repeat(LARGEST_SCRIPT + 1024 * 1024));
    let answer = platform.send(platform.put("large"), form(large)).await.expect("an answer");
    let (status, code, message) = refused(&answer);
    assert_eq!((status, code), (413, 10027), "{message}");
    assert!(message.contains("64 MiB"), "{message}");
    assert!(!exists(&platform, "large").await);
    platform.upload("large", &[("index.js", says("small"))]).await.expect("an answer");
    assert_eq!(platform.get("large.dev", "/").await.text, "small");
}

#[tokio::test]
async fn an_upload_that_would_grow() {
    let platform = Platform::start().await;
    let encoded = platform.put("bomb").header("content-encoding", "gzip");
    let answer = platform.send(encoded, vec![0x1f, 0x8b, 8, 0]).await.expect("an answer");
    let (status, _, message) = refused(&answer);
    assert_eq!(status, 415, "{message}");
    assert!(message.contains("gzip"), "{message}");

    let names: Vec<String> = (0..10_000).map(|number| format!("module-{number}.txt")).collect();
    let mut modules = vec![("index.js", says("many"))];
    modules.extend(names.iter().map(|name| (name.as_str(), String::new())));
    let answer = platform.send(platform.put("bomb"), Platform::form(&modules)).await.expect("an answer");
    let (status, _, message) = refused(&answer);
    assert_eq!(status, 400, "{message}");
    assert!(message.contains("more than 5000 parts"), "{message}");
    assert!(!exists(&platform, "bomb").await);
}

#[tokio::test]
async fn modules_that_would_be_elsewhere() {
    let platform = Platform::start().await;
    for name in ["../x.js", "/etc/passwd", "a/../../x.js", "a//x.js", "..", "a\\x.js", "./../x.js"] {
        let modules = [("index.js", says("here")), (name, String::new())];
        let answer = platform.send(platform.put("outside"), Platform::form(&modules)).await.expect("an answer");
        let (status, code, message) = refused(&answer);
        assert_eq!((status, code), (400, 10021), "{name}: {message}");
        assert!(message.contains("cannot be the name of a module"), "{name}: {message}");
    }
    assert!(!exists(&platform, "outside").await);
}

/// Opens a session for uploading these files: path, hash and size.
async fn session(platform: &Platform, files: &[(&str, &str, usize)]) -> Value {
    let manifest: serde_json::Map<String, Value> =
        files.iter().map(|(path, hash, size)| ((*path).to_owned(), json!({ "hash": hash, "size": size }))).collect();
    let path = format!("/accounts/{}/workers/scripts/site/assets-upload-session", platform.account);
    platform.api(Method::POST, &path, &json!({ "manifest": manifest }).to_string()).await
}

/// Uploads one file of a session.
async fn upload_asset(platform: &Platform, token: &str, hash: &str, content: &str) -> Answer {
    let path = format!("/client/v4/accounts/{}/workers/assets/upload?base64=true", platform.account);
    let request = Request::post(path)
        .header("host", &platform.host)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "multipart/form-data; boundary=B");
    let form = format!(
        "--B\r\nContent-Disposition: form-data; name=\"{hash}\"; filename=\"{hash}\"\r\nContent-Type: text/html\r\n\r\n{}\r\n--B--\r\n",
        BASE64_STANDARD.encode(content)
    );
    platform.send(request, form).await.expect("an answer")
}

/// Deploys a Worker that has the assets of a session only.
async fn put_assets(platform: &Platform, token: &str) -> Answer {
    let metadata = json!({ "assets": { "jwt": token, "config": {} }, "compatibility_date": "2025-06-01" });
    let form = format!(
        "--B\r\nContent-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--B--\r\n"
    );
    platform.send(platform.put("site"), form).await.expect("an answer")
}

#[tokio::test]
async fn a_manifest_that_lies() {
    let platform = Platform::start().await;
    // Neither is the hash of what follows; the second one's size fits nothing.
    let (hash, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let opened = session(&platform, &[("/index.html", hash, 5), ("/other.html", other, 7)]).await;
    let token = opened["result"]["jwt"].as_str().expect("a token").to_owned();
    for (hash, content) in [(hash, "hello"), (other, "hello"), (hash, "")] {
        let (status, _, message) = refused(&upload_asset(&platform, &token, hash, content).await);
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(hash) && message.contains("does not fit its hash and size"), "{message}");
    }
    let unknown = "00000000000000000000000000000000";
    let (status, _, message) = refused(&upload_asset(&platform, &token, unknown, "hello").await);
    assert_eq!(status, 400);
    assert!(message.contains("no asset"), "{message}");
    // The session's own token is no proof that its files are there.
    let (status, _, message) = refused(&put_assets(&platform, &token).await);
    assert_eq!(status, 400);
    assert!(message.contains("has not been uploaded"), "{message}");
    assert!(!exists(&platform, "site").await);
    // A token that was changed is none.
    let (status, code, _) = refused(&put_assets(&platform, &format!("{token}x")).await);
    assert_eq!((status, code), (401, 10066));
}

#[tokio::test]
async fn assets_that_would_be_elsewhere() {
    let platform = Platform::start().await;
    let hash = "0123456789abcdef0123456789abcdef";
    for path in ["/../secret", "/a/../../b", "index.html", "//etc/passwd", "/a/./b", "/a\\b", "/", "/a\u{0}b"] {
        let answer = session(&platform, &[(path, hash, 5)]).await;
        assert_eq!(answer["success"], false, "{path:?}: {answer}");
        let message = answer["errors"][0]["message"].as_str().expect("text");
        assert!(message.contains("the asset path"), "{path:?}: {message}");
    }
}

#[tokio::test]
async fn a_route_that_another_worker_has() {
    let platform = Platform::start().await;
    for name in ["owner", "other"] {
        platform.upload(name, &[("index.js", says(name))]).await.expect("an answer");
    }
    let account = &platform.account;
    let add = format!("/skep/v1/accounts/{account}/domains");
    let added = platform.api(Method::POST, &add, r#"{ "name": "example.com", "trusted": true }"#).await;
    assert_eq!(added["success"], true, "{added}");
    let routes = |worker: &str| format!("/accounts/{account}/workers/scripts/{worker}/routes");
    let put = platform.api(Method::PUT, &routes("owner"), r#"[{ "pattern": "example.com/api/*" }]"#).await;
    assert_eq!(put["success"], true, "{put}");
    for pattern in ["example.com/api/*", "EXAMPLE.com/api/*"] {
        let sent = json!([{ "pattern": "example.com/mine" }, { "pattern": pattern }]).to_string();
        let answer = platform.api_as(&platform.token, Method::PUT, &routes("other"), &sent).await;
        let (status, code, message) = refused(&answer);
        assert_eq!((status, code), (409, 10020), "{pattern}: {message}");
        assert!(message.contains("\"owner\""), "{pattern}: {message}");
    }
    let zones = platform.api(Method::GET, "/zones?name=example.com", "").await;
    let zone = zones["result"][0]["id"].as_str().expect("a zone");
    let path = format!("/zones/{zone}/workers/routes");
    let sent = r#"{ "pattern": "example.com/api/*", "script": "other" }"#;
    let (status, _, message) = refused(&platform.api_as(&platform.token, Method::POST, &path, sent).await);
    assert!(status == 409 && message.contains("\"owner\""), "{status}: {message}");
    let listed = platform.api(Method::GET, &path, "").await;
    let patterns: Vec<&str> =
        listed["result"].as_array().expect("a list").iter().filter_map(|route| route["pattern"].as_str()).collect();
    assert_eq!(patterns, ["example.com/api/*"], "what was refused changed nothing");
}

#[tokio::test]
async fn deploys_at_once() {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", says("0"))]).await.expect("an answer");
    for round in 0..5 {
        let texts = [format!("{round} one"), format!("{round} two"), format!("{round} three")];
        let upload = |text: &str| [("index.js", says(text))];
        let uploads = texts.each_ref().map(|text| upload(text));
        let (one, two, three) = tokio::join!(
            platform.upload("hello", &uploads[0]),
            platform.upload("hello", &uploads[1]),
            platform.upload("hello", &uploads[2])
        );
        let made: Vec<String> = [one, two, three]
            .map(|answer| answer.expect("an answer")["result"]["deployment_id"].as_str().expect("an id").to_owned())
            .into();
        let path = format!("/accounts/{}/workers/scripts/hello/deployments", platform.account);
        let deployments = platform.api(Method::GET, &path, "").await;
        let newest: Vec<String> = deployments["result"]["deployments"].as_array().expect("a list")[..3]
            .iter()
            .map(|deployment| deployment["versions"][0]["version_id"].as_str().expect("an id").replace('-', ""))
            .collect();
        assert!(made.iter().all(|id| newest.contains(id)), "round {round}: {made:?} {newest:?}");
        let live = made.iter().position(|id| *id == newest[0]).expect("the newest one");
        assert_eq!(platform.get("hello.dev", "/").await.text, texts[live], "round {round}: the last one is live");
    }
    let path = format!("/accounts/{}/workers/scripts/hello/versions?deployable=true", platform.account);
    let versions = platform.api(Method::GET, &path, "").await;
    assert_eq!(versions["result"]["items"].as_array().expect("a list").len(), 16, "all are recorded");
}

#[tokio::test]
async fn a_data_directory_that_another_one_serves() {
    let mut platform = Platform::start().await;
    platform.upload("hello", &[("index.js", says("hi"))]).await.expect("an answer");
    let folder = platform.data.path().join("data");
    let Ended { code, errors, .. } = skep(platform.data.path(), &Platform::arguments(&folder, &[])).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("in use by another skep serve") && errors.contains("--data-dir"), "{errors}");
    platform.upload("hello", &[("index.js", says("still"))]).await.expect("an answer");
    assert_eq!(platform.get("hello.dev", "/").await.text, "still");
    // It is free again when the first one has ended, however it ends.
    platform.kill().await;
    let again = Platform::over(Arc::clone(&platform.data), &[]).await;
    assert_eq!(again.get("hello.dev", "/").await.text, "still");
}

/// The one file of modules that has this text.
fn module_file(data: &Path, text: &str) -> PathBuf {
    let folders = fs::read_dir(data.join("files")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let found: Vec<_> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| fs::read_to_string(path).is_ok_and(|content| content == text))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn a_damaged_file_is_named_and_other_workers_go_on() {
    let mut platform = Platform::start().await;
    for name in ["damaged", "whole"] {
        platform.upload(name, &[("index.js", says(name))]).await.expect("an answer");
    }
    assert_eq!(platform.stop().await, Some(0));
    let file = module_file(&platform.data.path().join("data"), &says("damaged"));
    let mut content = fs::read(&file).unwrap();
    content[10] ^= 1;
    fs::write(&file, content).unwrap();

    let mut platform = Platform::over(Arc::clone(&platform.data), &[]).await;
    let answer = platform.get("damaged.dev", "/").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.contains("Error 1104"), "{}", answer.text);
    platform.output.until("The Worker damaged cannot be loaded: ").await;
    let said = platform.output.line().await;
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(said.contains(name) && said.contains("Deploy the Worker again"), "{said}");
    assert_eq!(platform.get("whole.dev", "/").await.text, "whole");
    platform.upload("damaged", &[("index.js", says("damaged"))]).await.expect("an answer");
    assert_eq!(platform.get("damaged.dev", "/").await.text, "damaged", "deploying it again mends it");
}

/// `skep serve` in a namespace of its own, whose data directory is a small file system in memory; and that directory, as it is
/// seen from here. Nothing where the system permits no such thing, as in some containers.
async fn on_a_small_disk() -> Option<(Platform, PathBuf)> {
    let data = Arc::new(TempDir::new().expect("a folder"));
    let disk = data.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let permitted = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(&disk)
        .output()
        .await
        .is_ok_and(|output| output.status.success());
    if !permitted {
        return None;
    }
    let folder = disk.join("data");
    let script = "mount -t tmpfs -o size=8m tmpfs \"$0\" && exec \"$@\"";
    let skep = command(data.path(), &Platform::arguments(&folder, &[]));
    let mut unshared = Command::new("unshare");
    unshared.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&disk);
    unshared.arg(skep.as_std().get_program()).args(skep.as_std().get_args());
    unshared.current_dir(data.path()).kill_on_drop(true);
    let mut seen = PathBuf::new();
    let platform = Platform::spawn(data, unshared, |process| {
        seen =
            Path::new("/proc").join(process.to_string()).join("root").join(folder.strip_prefix("/").expect("absolute"));
        seen.clone()
    })
    .await;
    Some((platform, seen))
}

#[tokio::test]
async fn a_full_disk() {
    let Some((platform, folder)) = on_a_small_disk().await else { return };
    platform.upload("hello", &[("index.js", says("before"))]).await.expect("an answer");
    let filler = folder.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[46; 4096]).is_ok() {}
    drop(file);
    for (round, worker) in ["hello", "other"].into_iter().enumerate() {
        let answer =
            platform.send(platform.put(worker), form(says(&format!("after {round}")))).await.expect("an answer");
        let (status, code, message) = refused(&answer);
        assert_eq!((status, code), (507, 10002), "{message}");
        assert!(message.contains("is full") && message.contains("nothing was changed"), "{message}");
    }
    assert_eq!(platform.get("hello.dev", "/").await.text, "before", "what is live goes on");
    assert!(!exists(&platform, "other").await);
    fs::remove_file(&filler).unwrap();
    platform.upload("hello", &[("index.js", says("room"))]).await.expect("an answer");
    assert_eq!(platform.get("hello.dev", "/").await.text, "room");
}
