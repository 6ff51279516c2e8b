//! The same against Pebble, the test server of Let's Encrypt: an authority that is not ours. `cargo xtask test` installs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use skep_acme::Challenge;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::authority::Authority;
use crate::dns::Dns;
use crate::site::{Plan, Site, get};

/// How long Pebble may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a port is looked at that nobody listens on yet.
const LOOK: Duration = Duration::from_millis(20);

/// A port that was free a moment ago.
async fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Pebble, until this goes out of scope.
struct Pebble {
    port: u16,
    /// The root of the certificates that it issues, which it makes anew on each start.
    root: String,
    _process: Child,
    _dns: Dns,
}

impl Pebble {
    /// Starts it with the test authority's certificate for itself, looking for challenges at a site.
    async fn start(authority: &Authority, folder: &Path, site: (u16, u16)) -> Self {
        let (dns, port, management) = (Dns::start().await, free().await, free().await);
        let tls = authority.root_file().with_file_name("chain.pem");
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": tls,
            "privateKey": tls.with_file_name("key.pem"),
            "httpPort": site.0,
            "tlsPort": site.1,
            "ocspResponderURL": "",
        } });
        let file = folder.join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut process = Command::new("pebble")
            .args(["-strict", "-config"])
            .arg(&file)
            .args(["-dnsserver", &dns.address.to_string()])
            // A fifth of the nonces is called bad, and a look at a challenge takes no artificial time.
            .envs([("PEBBLE_WFE_NONCEREJECT", "20"), ("PEBBLE_VA_NOSLEEP", "1")])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pebble is there: `apt install pebble`");
        // It does not tell when it listens.
        let mut looks = tokio::time::interval(LOOK);
        let listens = async {
            for port in [port, management] {
                while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                    assert!(process.try_wait().unwrap().is_none(), "Pebble ended");
                    looks.tick().await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("Pebble listens");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, management));
        let answer = get(address, "localhost", "/roots/0", authority.root()).await;
        let root = answer[answer.find("-----BEGIN").expect("a certificate")..].to_owned();
        Self { port, root, _process: process, _dns: dns }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_issues_by_each_challenge() {
    if std::env::var_os("SKEP_OFFLINE").is_some_and(|value| value == "1") {
        return;
    }
    for challenge in [Challenge::Http, Challenge::TlsAlpn] {
        let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
        // Pebble must know the site's ports, and the site Pebble's: the site's are taken first.
        let (http, tls) = (free().await, free().await);
        let pebble = Pebble::start(&ca.authority, folder.path(), (http, tls)).await;
        let mut plan = Plan { root: &pebble.root, ..Plan::of(&ca.authority, folder.path()) };
        plan.settings.directory_url = format!("https://localhost:{}/dir", pebble.port);
        plan.settings.challenges = vec![challenge];
        plan.ports = (http, tls);
        let site = Site::start(plan).await;
        let visit = site.visit("one.site.example").await.unwrap();
        assert!(visit.answer.ends_with("hello"));
    }
}
