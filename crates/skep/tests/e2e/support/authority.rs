//! Pebble, the test server of Let's Encrypt, with its DNS server: a certificate authority that is not ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hyper::Request;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::http::{body, fetch, fetch_over, get};
use super::{PATIENCE, tls};

/// How often a port is looked at that nobody listens on yet.
const LOOK: Duration = Duration::from_millis(20);

/// A port of loopback that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port()
}

fn local(port: u16) -> String {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string()
}

/// Starts a program of the package `pebble` and waits until it listens.
async fn start(command: &mut Command, ports: &[u16]) -> Child {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let mut process = started.expect("pebble is there: `apt install pebble`");
    let mut looks = tokio::time::interval(LOOK);
    let listens = async {
        for port in ports {
            // It does not tell when it listens.
            while TcpStream::connect(local(*port)).await.is_err() {
                assert!(process.try_wait().expect("a process").is_none(), "it ended");
                looks.tick().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, listens).await.expect("it listens");
    process
}

/// A DNS server whose every name leads to this machine.
pub(crate) struct Dns {
    /// Where it answers.
    pub(crate) address: String,
    management: String,
    _process: Child,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let (port, management) = (free_port().await, free_port().await);
        let mut command = Command::new("pebble-challtestsrv");
        command
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &local(port), "-management", &local(management)]);
        let process = start(&mut command, &[port, management]).await;
        Self { address: local(port), management: local(management), _process: process }
    }

    /// Sets the TXT record of a name.
    pub(crate) async fn set_text(&self, name: &str, value: &str) {
        let set = serde_json::json!({ "host": format!("{name}."), "value": value });
        let request = Request::post("/set-txt").body(body(set.to_string())).expect("a request");
        assert_eq!(fetch(&self.management, request).await.status, 200);
    }
}

/// A certificate authority, until this goes out of scope.
pub(crate) struct Authority {
    /// Its directory.
    pub(crate) directory: String,
    /// The root that signed the directory's own certificate.
    pub(crate) own_root: PathBuf,
    /// The root of the certificates that it issues, in PEM.
    pub(crate) root: String,
    _process: Child,
    _folder: TempDir,
}

impl Authority {
    /// Starts it. It looks for challenges at two ports, at the addresses that a DNS server says.
    pub(crate) async fn start(dns: &Dns, http: u16, https: u16) -> Self {
        let folder = TempDir::new().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (own_root, key) = (folder.path().join("own.pem"), folder.path().join("own-key.pem"));
        std::fs::write(&own_root, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let (port, management) = (free_port().await, free_port().await);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": local(port),
            "managementListenAddress": local(management),
            "certificate": own_root,
            "privateKey": key,
            "httpPort": http,
            "tlsPort": https,
            "ocspResponderURL": "",
        } });
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let mut command = Command::new("pebble");
        command.args(["-strict", "-config"]).arg(&file).args(["-dnsserver", &dns.address]);
        // A fifth of the nonces is called bad, and a look at a challenge takes no artificial time.
        command.envs([("PEBBLE_WFE_NONCEREJECT", "20"), ("PEBBLE_VA_NOSLEEP", "1")]);
        let process = start(&mut command, &[port, management]).await;
        let stream = tls::visit(&local(management), "localhost", &made.cert.pem()).await.expect("a handshake");
        let root = fetch_over(stream, "localhost", get("/roots/0")).await.text;
        Self { directory: format!("https://localhost:{port}/dir"), own_root, root, _process: process, _folder: folder }
    }
}
