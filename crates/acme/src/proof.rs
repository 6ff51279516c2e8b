//! Proof that somebody controls a domain: a challenge that is found in its DNS, or on its web server.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, NameServerConfigGroup, ResolverConfig, ResolverOpts};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::xfer::Protocol;
use hickory_resolver::{ResolveError, TokioResolver};
use http::header::LOCATION;
use http::{Request, StatusCode};
use skep_exchange::{Body, Response};
use skep_outbound::Client;
use tokio::sync::Semaphore;
use url::Url;

use crate::host::host_name;

/// The largest file that is looked into, in bytes.
const LARGEST_FILE: u64 = 1024;
/// How long each way may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a DNS server may take, and how often one is asked.
const DNS_TIMEOUT: Duration = Duration::from_secs(3);
const DNS_ATTEMPTS: usize = 2;
/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// Checks at once. Others wait.
const AT_ONCE: usize = 8;
/// What is shown of something foreign that was found, in characters, and how many of them.
const SHOWN: usize = 100;
const SHOWN_RECORDS: usize = 5;

/// How control was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A TXT record at `_skep.<domain>`.
    Dns,
    /// The file `http://<domain>/.well-known/skep-verify.txt`.
    File,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dns => "dns",
            Self::File => "file",
        })
    }
}

/// A way that did not prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The way.
    pub way: Way,
    /// What was found in place of the proof: a sentence without its end, for whoever is to mend it.
    pub found: String,
}

/// Where proofs are looked for.
#[derive(Clone, Debug)]
pub struct ProofSettings {
    /// The DNS servers to ask. The system's, if there are none here.
    pub dns: Vec<SocketAddr>,
    /// The port of the web server: 80.
    pub port: u16,
}

impl Default for ProofSettings {
    fn default() -> Self {
        Self { dns: Vec::new(), port: 80 }
    }
}

/// Looks for proofs.
pub struct Proofs {
    resolver: TokioResolver,
    client: Client,
    port: u16,
    room: Semaphore,
}

impl Proofs {
    /// Looks for proofs with a client whose policy says which addresses may be asked for a file.
    ///
    /// # Errors
    /// When the system does not say which DNS servers it has.
    pub fn new(settings: &ProofSettings, client: Client) -> Result<Self, ResolveError> {
        let mut builder = if settings.dns.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = settings.dns.iter().flat_map(|server| {
                [Protocol::Udp, Protocol::Tcp].map(|protocol| NameServerConfig::new(*server, protocol))
            });
            let config =
                ResolverConfig::from_parts(None, Vec::new(), NameServerConfigGroup::from(servers.collect::<Vec<_>>()));
            TokioResolver::builder_with_config(config, TokioConnectionProvider::default())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        // Who has just mended a record asks again at once.
        options.cache_size = 0;
        options.timeout = DNS_TIMEOUT;
        options.attempts = DNS_ATTEMPTS;
        Ok(Self { resolver: builder.build(), client, port: settings.port, room: Semaphore::new(AT_ONCE) })
    }

    /// Looks for a challenge where only who controls the domain can have put it.
    ///
    /// # Errors
    /// When it is nowhere: what was found instead, for each way.
    pub async fn check(&self, domain: &str, challenge: &str) -> Result<Way, Vec<Tried>> {
        let Some(domain) = host_name(domain) else {
            let found = format!("\"{domain}\" is no domain name");
            return Err(tried(found.clone(), found));
        };
        // The semaphore is never closed, and without a permit there would be one check too many.
        let _permit = self.room.acquire().await.ok();
        let file = format!("http://{domain}{}/.well-known/skep-verify.txt", self.shown_port());
        let mut by_dns = pin!(limited("the DNS servers", self.dns(&domain, challenge)));
        let mut by_file = pin!(limited(&file, self.file(&domain, &file, challenge)));
        // One is enough: the other is not waited for.
        tokio::select! {
            dns = &mut by_dns => match dns {
                Ok(()) => Ok(Way::Dns),
                Err(dns) => by_file.await.map(|()| Way::File).map_err(|file| tried(dns, file)),
            },
            file = &mut by_file => match file {
                Ok(()) => Ok(Way::File),
                Err(file) => by_dns.await.map(|()| Way::Dns).map_err(|dns| tried(dns, file)),
            },
        }
    }

    fn shown_port(&self) -> String {
        if self.port == 80 { String::new() } else { format!(":{}", self.port) }
    }

    async fn dns(&self, domain: &str, challenge: &str) -> Result<(), String> {
        let name = format!("_skep.{domain}");
        // The final dot: no search list may make another name of it.
        let records = match self.resolver.txt_lookup(format!("{name}.")).await {
            Ok(records) => records,
            Err(error) if error.is_nx_domain() => return Err(format!("DNS has no name {name}")),
            Err(error) if error.is_no_records_found() => return Err(format!("DNS has no TXT record at {name}")),
            Err(error) => return Err(format!("the TXT records of {name} cannot be looked up: {error}")),
        };
        let texts: Vec<String> =
            records.iter().map(|record| String::from_utf8_lossy(&record.txt_data().concat()).into_owned()).collect();
        if texts.iter().any(|text| text.trim() == challenge) {
            return Ok(());
        }
        let found: Vec<String> = texts.iter().take(SHOWN_RECORDS).map(|text| format!("\"{}\"", shown(text))).collect();
        Err(format!("the TXT record at {name} is {}, not \"{challenge}\"", found.join(" and ")))
    }

    async fn file(&self, domain: &str, url: &str, challenge: &str) -> Result<(), String> {
        let mut url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.get(&url).await?;
            if !response.status().is_redirection() {
                return matches(&url, response, challenge).await;
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.ok_or_else(|| format!("{url} answers {} without a target", response.status()))?;
            let next =
                url.join(target).map_err(|_| format!("{url} redirects to \"{}\", which is no URL", shown(target)))?;
            // What somebody else's server says proves nothing, even where the domain's own server points to it.
            let own = next.host_str().is_some_and(|host| {
                host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            });
            if !own {
                return Err(format!("{url} redirects to {}, which is outside of {domain}", shown(next.as_str())));
            }
            url = next;
        }
        Err(format!("{url} redirects more than {MOST_REDIRECTS} times"))
    }

    async fn get(&self, url: &Url) -> Result<Response, String> {
        let request = Request::get(url.as_str()).body(Body::empty()).map_err(|error| format!("{url}: {error}"))?;
        let answer = self.client.fetch(request).await.map_err(|error| format!("{url} cannot be fetched: {error}"))?;
        Ok(answer.response)
    }
}

fn tried(dns: String, file: String) -> Vec<Tried> {
    vec![Tried { way: Way::Dns, found: dns }, Tried { way: Way::File, found: file }]
}

async fn matches(url: &Url, response: Response, challenge: &str) -> Result<(), String> {
    if response.status() != StatusCode::OK {
        return Err(format!("{url} answers {}", response.status()));
    }
    let content = response.into_body().collect(LARGEST_FILE).await.map_err(|error| {
        format!("the file at {url} cannot be read, or is larger than {LARGEST_FILE} bytes: {error}")
    })?;
    let text = String::from_utf8_lossy(&content);
    match text.lines().any(|line| line.trim() == challenge) {
        true => Ok(()),
        false => Err(format!("the file at {url} holds \"{}\", not \"{challenge}\"", shown(text.trim()))),
    }
}

async fn limited(what: &str, trying: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = |_| Err(format!("{what} did not answer within {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, trying).await.unwrap_or_else(late)
}

/// The beginning of a foreign text, on one line.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
