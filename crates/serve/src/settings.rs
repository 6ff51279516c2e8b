//! Settings: a file, environment variables, flags; the later win. A key that nobody knows is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use skep_acme::Challenge;
use skep_deliver::{Destination, ExportConfig};
use skep_pool::{Capacity, keep_alive};
use skep_telemetry::ExporterConfig;
use skep_worker::Secret;

use crate::delivery::DeliverySettings;
use crate::machine;

/// Certificate authorities that have a name: <https://letsencrypt.org/docs/acme-protocol-updates/>
const AUTHORITIES: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];
/// The least memory for isolates in bytes.
const LEAST_MEMORY: u64 = 64 << 20;
/// Room for events that are kept, in MiB, and how long they are, in days.
const LOGS_MIB: u64 = 1024;
const LOGS_DAYS: u64 = 7;
/// A day in seconds.
const DAY: u64 = 24 * 3600;
/// Events of a Worker that are gathered in a second: to gather them takes one core about 1 % of its time.
const EVENTS_PER_SECOND: u32 = 400;
/// The seconds that may be looked back.
const ALERT_WINDOWS: RangeInclusive<u64> = 10..=3600;
/// The folder of certificates, in the data directory.
const CERTIFICATES: &str = "certificates";

/// When something is worth a word to who runs the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// How this node is called, if not as the machine.
    pub node_name: Option<String>,
    /// The part of the disk that is to be free.
    pub disk_percent: u64,
    /// Bytes that are to be free, whatever part that is.
    pub disk_bytes: u64,
    /// The part of a Worker's requests that may fail.
    pub errors_percent: u64,
    /// The least requests of which that is said.
    pub errors_requests: u64,
    /// How far is looked back, for failed requests and for processes that died.
    pub window: Duration,
    /// How long something may wait to be delivered.
    pub outbox: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            node_name: None,
            disk_percent: 10,
            disk_bytes: 1 << 30,
            errors_percent: 10,
            errors_requests: 50,
            window: Duration::from_secs(300),
            outbox: Duration::from_secs(900),
        }
    }
}

/// How the platform is run.
#[derive(Debug)]
pub struct Settings {
    /// The folder of everything that lasts.
    pub data_dir: PathBuf,
    /// Hosts and ports to listen on: with TLS, if there are certificates.
    pub listen: Vec<(String, u16)>,
    /// Hosts and ports for plain HTTP beside TLS: what comes there is sent to where TLS is spoken.
    pub listen_http: Vec<(String, u16)>,
    /// The domain below which Workers answer.
    pub domain: String,
    /// Files of a certificate chain and its key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How certificates are ordered for hosts that the files do not cover.
    pub acme: Option<skep_acme::Settings>,
    /// The DNS servers that are asked for proofs of domains; the system's if there are none.
    pub dns_servers: Vec<SocketAddr>,
    /// The name of the first account.
    pub account: String,
    /// Its label in addresses.
    pub subdomain: String,
    /// Where the master key comes from.
    pub master_key: MasterKey,
    /// Keys under which secrets may still be sealed.
    pub former_master_keys: Vec<Secret>,
    /// Threads that serve requests.
    pub threads: usize,
    /// How long requests may take to finish after the platform was told to stop.
    pub grace: Duration,
    /// Whether Workers may fetch from this machine's own addresses.
    pub allow_loopback: bool,
    /// How many isolates there may be.
    pub capacity: Capacity,
    /// Hosts and ports where metrics and health are told, over plain HTTP.
    pub listen_metrics: Vec<(String, u16)>,
    /// Workers that have metrics of their own; all others are told together.
    pub metrics_workers: usize,
    /// When something is worth a word.
    pub health: HealthSettings,
    /// Whether processes that run Workers give up what they do not need.
    pub sandbox: bool,
    /// The folder of plans, beside those of the program.
    pub plans: Option<PathBuf>,
    /// The plan of accounts that were given none.
    pub plan: String,
    /// Where alerts and usage go.
    pub delivery: DeliverySettings,
    /// Whether the dashboard is there.
    pub dashboard: bool,
    /// What is kept of events.
    pub logs: LogSettings,
    /// Where traces go, if anywhere.
    pub traces: Option<ExporterConfig>,
}

/// What is kept of events.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Bytes on the disk, at most. 0: nothing is kept.
    pub bytes: u64,
    /// How long.
    pub keep: Duration,
    /// Events of a Worker of which more than counts is gathered in a second, at most.
    pub per_second: u32,
}

/// Where the master key comes from.
#[derive(Debug)]
pub enum MasterKey {
    /// A file in the data directory, made at the first start.
    Generated,
    /// Another file.
    File(PathBuf),
    /// The setting itself, from the environment.
    Value(Secret),
    /// What a shell command prints.
    Command(String),
}

/// Why settings cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not as expected.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// Where and what.
        message: String,
    },
    /// A value is not as expected.
    #[error("{0}")]
    Value(String),
}

/// The same settings as they are given: in the file `skep.toml`, in the environment, as flags. Nothing where nobody says anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<Vec<String>>,
    /// `--listen-http`
    pub listen_http: Option<Vec<String>>,
    /// `--domain`
    pub domain: Option<String>,
    /// `--tls-certificate`
    pub tls_certificate: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
    /// `--acme-directory`
    pub acme_directory: Option<String>,
    /// `--acme-contact`
    pub acme_contact: Option<String>,
    /// `--acme-challenges`
    pub acme_challenges: Option<Vec<String>>,
    /// `--acme-root`
    pub acme_root: Option<PathBuf>,
    /// `--dns-servers`
    pub dns_servers: Option<Vec<String>>,
    /// `--account`
    pub account: Option<String>,
    /// `--subdomain`
    pub subdomain: Option<String>,
    /// `--master-key-file`
    pub master_key_file: Option<PathBuf>,
    /// `--master-key-command`
    pub master_key_command: Option<String>,
    /// `--threads`
    pub threads: Option<usize>,
    /// `--grace-seconds`
    pub grace_seconds: Option<u64>,
    /// `--allow-loopback`
    pub allow_loopback: Option<bool>,
    /// `--memory-mib`
    pub memory_mib: Option<u64>,
    /// `--spare-isolates`
    pub spare_isolates: Option<usize>,
    /// `--keep-alive-seconds`
    pub keep_alive_seconds: Option<u64>,
    /// `--isolates-per-worker`
    pub isolates_per_worker: Option<usize>,
    /// `--isolates-per-account`
    pub isolates_per_account: Option<usize>,
    /// `--listen-metrics`
    pub listen_metrics: Option<Vec<String>>,
    /// `--metrics-workers`
    pub metrics_workers: Option<usize>,
    /// `--node-name`
    pub node_name: Option<String>,
    /// `--alert-disk-percent`
    pub alert_disk_percent: Option<u64>,
    /// `--alert-errors-percent`
    pub alert_errors_percent: Option<u64>,
    /// `--alert-errors-requests`
    pub alert_errors_requests: Option<u64>,
    /// `--alert-window-seconds`
    pub alert_window_seconds: Option<u64>,
    /// `--alert-outbox-seconds`
    pub alert_outbox_seconds: Option<u64>,
    /// `--sandbox`
    pub sandbox: Option<bool>,
    /// `--plans`
    pub plans: Option<PathBuf>,
    /// `--plan`
    pub plan: Option<String>,
    /// `--no-dashboard` says that it is not.
    pub dashboard: Option<bool>,
    /// `--logs-mib`
    pub logs_mib: Option<u64>,
    /// `--logs-days`
    pub logs_days: Option<u64>,
    /// `--events-per-second`
    pub events_per_second: Option<u32>,
    /// The section `[traces]` of the file.
    pub traces: Option<ExporterConfig>,
    /// `--traces-endpoint`, which wins over that of the section.
    #[serde(skip)]
    pub traces_endpoint: Option<String>,
    /// Sections `[destinations.<name>]` of the file.
    pub destinations: Option<BTreeMap<String, Destination>>,
    /// Destinations that are told of alerts.
    pub alerts: Option<Vec<String>>,
    /// Sections `[export.<destination>]` of the file.
    pub export: Option<BTreeMap<String, ExportConfig>>,
}

impl Given {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or has a key that nobody knows.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: shown.clone(), source })?;
        toml::from_str(&text).map_err(|error| SettingsError::File { path: shown, message: error.to_string() })
    }

    /// These settings, and those of `other` where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            listen: self.listen.or(other.listen),
            listen_http: self.listen_http.or(other.listen_http),
            domain: self.domain.or(other.domain),
            tls_certificate: self.tls_certificate.or(other.tls_certificate),
            tls_key: self.tls_key.or(other.tls_key),
            acme_directory: self.acme_directory.or(other.acme_directory),
            acme_contact: self.acme_contact.or(other.acme_contact),
            acme_challenges: self.acme_challenges.or(other.acme_challenges),
            acme_root: self.acme_root.or(other.acme_root),
            dns_servers: self.dns_servers.or(other.dns_servers),
            account: self.account.or(other.account),
            subdomain: self.subdomain.or(other.subdomain),
            master_key_file: self.master_key_file.or(other.master_key_file),
            master_key_command: self.master_key_command.or(other.master_key_command),
            threads: self.threads.or(other.threads),
            grace_seconds: self.grace_seconds.or(other.grace_seconds),
            allow_loopback: self.allow_loopback.or(other.allow_loopback),
            memory_mib: self.memory_mib.or(other.memory_mib),
            spare_isolates: self.spare_isolates.or(other.spare_isolates),
            keep_alive_seconds: self.keep_alive_seconds.or(other.keep_alive_seconds),
            isolates_per_worker: self.isolates_per_worker.or(other.isolates_per_worker),
            isolates_per_account: self.isolates_per_account.or(other.isolates_per_account),
            listen_metrics: self.listen_metrics.or(other.listen_metrics),
            metrics_workers: self.metrics_workers.or(other.metrics_workers),
            node_name: self.node_name.or(other.node_name),
            alert_disk_percent: self.alert_disk_percent.or(other.alert_disk_percent),
            alert_errors_percent: self.alert_errors_percent.or(other.alert_errors_percent),
            alert_errors_requests: self.alert_errors_requests.or(other.alert_errors_requests),
            alert_window_seconds: self.alert_window_seconds.or(other.alert_window_seconds),
            alert_outbox_seconds: self.alert_outbox_seconds.or(other.alert_outbox_seconds),
            sandbox: self.sandbox.or(other.sandbox),
            plans: self.plans.or(other.plans),
            plan: self.plan.or(other.plan),
            dashboard: self.dashboard.or(other.dashboard),
            logs_mib: self.logs_mib.or(other.logs_mib),
            logs_days: self.logs_days.or(other.logs_days),
            events_per_second: self.events_per_second.or(other.events_per_second),
            traces: self.traces.or(other.traces),
            traces_endpoint: self.traces_endpoint.or(other.traces_endpoint),
            destinations: self.destinations.or(other.destinations),
            alerts: self.alerts.or(other.alerts),
            export: self.export.or(other.export),
        }
    }

    /// The settings as they hold, with the defaults. `master_key` and `former` come from the environment only.
    ///
    /// # Errors
    /// When a value is not as expected.
    pub fn resolve(self, master_key: Option<Secret>, former: Vec<Secret>) -> Result<Settings, SettingsError> {
        let data_dir = self.data_dir.clone().unwrap_or_else(|| PathBuf::from("skep-data"));
        let acme = self.acme(&data_dir)?;
        let health = self.health()?;
        let listen = addresses(self.listen.as_deref().unwrap_or(&["127.0.0.1:8787".to_owned()]))?;
        let listen_metrics = addresses(self.listen_metrics.as_deref().unwrap_or_default())?;
        let listen_http = addresses(self.listen_http.as_deref().unwrap_or_default())?;
        let dns_servers = self.dns_servers.iter().flatten().map(|text| dns_server(text)).collect::<Result<_, _>>()?;
        let tls = match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(SettingsError::Value("tls_certificate and tls_key belong together: give both".to_owned())),
        };
        if !listen_http.is_empty() && tls.is_none() && acme.is_none() {
            let message = "listen_http is for plain HTTP beside TLS: give certificates with tls_certificate and tls_key or acme_directory, or listen there with listen";
            return Err(SettingsError::Value(message.to_owned()));
        }
        let given = [master_key.is_some(), self.master_key_file.is_some(), self.master_key_command.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            let message = "the master key is given more than once: keep one of SKEP_MASTER_KEY, master_key_file and master_key_command";
            return Err(SettingsError::Value(message.to_owned()));
        }
        let master_key = match (master_key, self.master_key_file, self.master_key_command) {
            (Some(secret), _, _) => MasterKey::Value(secret),
            (_, Some(file), _) => MasterKey::File(file),
            (_, _, Some(command)) => MasterKey::Command(command),
            (None, None, None) => MasterKey::Generated,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let capacity = Capacity {
            per_worker: self.isolates_per_worker.unwrap_or((cores * 4).max(8)),
            per_account: self.isolates_per_account.unwrap_or(1000),
            memory: self.memory_mib.map_or_else(machine::most_memory, |memory| memory.saturating_mul(1 << 20)),
            keep_alive: self.keep_alive_seconds.map_or(keep_alive::FIXED, Duration::from_secs),
            spares: self.spare_isolates.unwrap_or(2),
        };
        if capacity.per_worker == 0 || capacity.per_account == 0 || capacity.memory < LEAST_MEMORY {
            let message = "isolates_per_worker and isolates_per_account are at least 1, and memory_mib at least 64: with less, nothing could run";
            return Err(SettingsError::Value(message.to_owned()));
        }
        let logs = LogSettings {
            bytes: self.logs_mib.unwrap_or(LOGS_MIB).saturating_mul(1 << 20),
            keep: Duration::from_secs(self.logs_days.unwrap_or(LOGS_DAYS).saturating_mul(DAY)),
            per_second: self.events_per_second.unwrap_or(EVENTS_PER_SECOND),
        };
        let traces = match self.traces_endpoint {
            Some(endpoint) => Some(traces_to(&endpoint, self.traces)?),
            None => self.traces,
        };
        if logs.keep.is_zero() || logs.per_second == 0 {
            let message = "logs_days and events_per_second are at least 1: to keep no logs, set logs_mib to 0";
            return Err(SettingsError::Value(message.to_owned()));
        }
        Ok(Settings {
            data_dir,
            listen,
            listen_http,
            domain: self.domain.unwrap_or_else(|| "localhost".to_owned()),
            tls,
            acme,
            dns_servers,
            account: self.account.unwrap_or_else(|| "Skep".to_owned()),
            subdomain: self.subdomain.unwrap_or_else(|| "dev".to_owned()),
            master_key,
            former_master_keys: former,
            threads: self.threads.unwrap_or(cores).max(1),
            grace: Duration::from_secs(self.grace_seconds.unwrap_or(30)),
            allow_loopback: self.allow_loopback.unwrap_or(false),
            capacity,
            listen_metrics,
            metrics_workers: self.metrics_workers.unwrap_or(100),
            health,
            sandbox: self.sandbox.unwrap_or(true),
            plans: self.plans,
            plan: self.plan.unwrap_or_else(|| skep_meter::SELF_HOSTED.to_owned()),
            dashboard: self.dashboard.unwrap_or(true),
            delivery: DeliverySettings {
                destinations: self.destinations.unwrap_or_default(),
                alerts: self.alerts.unwrap_or_default(),
                exports: self.export.unwrap_or_default(),
            },
            logs,
            traces,
        })
    }
}

impl Given {
    /// When something is worth a word.
    fn health(&self) -> Result<HealthSettings, SettingsError> {
        let defaults = HealthSettings::default();
        let health = HealthSettings {
            node_name: self.node_name.clone(),
            disk_percent: self.alert_disk_percent.unwrap_or(defaults.disk_percent),
            errors_percent: self.alert_errors_percent.unwrap_or(defaults.errors_percent),
            errors_requests: self.alert_errors_requests.unwrap_or(defaults.errors_requests).max(1),
            window: self.alert_window_seconds.map_or(defaults.window, Duration::from_secs),
            outbox: self.alert_outbox_seconds.map_or(defaults.outbox, Duration::from_secs),
            ..defaults
        };
        if health.disk_percent > 100 || health.errors_percent > 100 {
            let message = "alert_disk_percent and alert_errors_percent are parts of a hundred: give a number up to 100";
            return Err(SettingsError::Value(message.to_owned()));
        }
        if !ALERT_WINDOWS.contains(&health.window.as_secs()) {
            let message = "alert_window_seconds is from 10 to 3600: what is older than an hour is not known any more";
            return Err(SettingsError::Value(message.to_owned()));
        }
        Ok(health)
    }

    /// How certificates are ordered, if they are.
    fn acme(&self, data_dir: &Path) -> Result<Option<skep_acme::Settings>, SettingsError> {
        let Some(directory) = &self.acme_directory else {
            let more = self.acme_contact.is_some() || self.acme_challenges.is_some() || self.acme_root.is_some();
            let message =
                "acme_contact, acme_challenges and acme_root need acme_directory: give it as letsencrypt, or as a URL";
            return if more { Err(SettingsError::Value(message.to_owned())) } else { Ok(None) };
        };
        let named = AUTHORITIES.iter().find(|(name, _)| name == directory).map(|(_, url)| *url);
        let url = named.unwrap_or(directory);
        if !url.starts_with("https://") {
            let names = AUTHORITIES.map(|(name, _)| name).join(", ");
            let message =
                format!("acme_directory is \"{directory}\": give {names}, or a URL that begins with https://");
            return Err(SettingsError::Value(message));
        }
        let plain = self.listen_http.as_ref().is_some_and(|addresses| !addresses.is_empty());
        let challenges = match &self.acme_challenges {
            Some(names) => names.iter().map(|name| challenge(name)).collect::<Result<Vec<_>, _>>()?,
            None if plain => vec![Challenge::TlsAlpn, Challenge::Http],
            None => vec![Challenge::TlsAlpn],
        };
        if challenges.is_empty() || (challenges.contains(&Challenge::Http) && !plain) {
            let message = "acme_challenges: http-01 is answered over plain HTTP, so it needs listen_http, such as 0.0.0.0:80; tls-alpn-01 needs nothing more";
            return Err(SettingsError::Value(message.to_owned()));
        }
        let settings = skep_acme::Settings::new(url, data_dir.join(CERTIFICATES));
        let (contact, root) = (self.acme_contact.clone(), self.acme_root.clone());
        Ok(Some(skep_acme::Settings { contact, root, challenges, ..settings }))
    }
}

/// Where traces go, as the section says but for the endpoint.
fn traces_to(endpoint: &str, section: Option<ExporterConfig>) -> Result<ExporterConfig, SettingsError> {
    let endpoint = endpoint.parse().map_err(|error| {
        SettingsError::Value(format!("traces_endpoint is \"{endpoint}\": {error}. Write it like http://127.0.0.1:4318"))
    })?;
    Ok(match section {
        Some(section) => ExporterConfig { endpoint, ..section },
        None => ExporterConfig::new(endpoint),
    })
}

/// A challenge by its name in RFC 8555 and RFC 8737.
fn challenge(name: &str) -> Result<Challenge, SettingsError> {
    match name {
        "http-01" => Ok(Challenge::Http),
        "tls-alpn-01" => Ok(Challenge::TlsAlpn),
        _ => Err(SettingsError::Value(format!("acme_challenges has \"{name}\": give tls-alpn-01, http-01, or both"))),
    }
}

/// A DNS server; port 53 if there is none.
fn dns_server(text: &str) -> Result<SocketAddr, SettingsError> {
    let with_port = text.parse().ok();
    let without = || Some(SocketAddr::new(text.parse().ok()?, 53));
    with_port.or_else(without).ok_or_else(|| {
        SettingsError::Value(format!("dns_servers has \"{text}\": give addresses, such as 192.0.2.53 or 192.0.2.53:53"))
    })
}

fn addresses(texts: &[String]) -> Result<Vec<(String, u16)>, SettingsError> {
    texts.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<(String, u16), SettingsError> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
        SettingsError::Value(format!("\"{text}\" is no address to listen on: write it as 127.0.0.1:8787 or [::]:8787"))
    })
}

#[cfg(test)]
mod tests {
    use super::{Challenge, Given, MasterKey};
    use std::path::PathBuf;

    #[test]
    fn the_later_wins_and_unknown_keys_are_refused() {
        let folder = std::env::temp_dir().join(format!("skep-settings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("skep.toml");
        std::fs::write(&path, "domain = \"example.com\"\nthreads = 3\n").expect("written");
        let flags = Given { threads: Some(5), ..Given::default() };
        let settings = flags.or(Given::read(&path).expect("read")).resolve(None, Vec::new()).expect("settings");
        assert_eq!((settings.domain.as_str(), settings.threads), ("example.com", 5));
        assert!(matches!(settings.master_key, MasterKey::Generated));
        std::fs::write(&path, "domian = \"example.com\"\n").expect("written");
        let error = Given::read(&path).expect_err("unknown key").to_string();
        assert!(error.contains("domian") && error.contains("domain"), "{error}");
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let wrong = |given: Given| given.resolve(None, Vec::new()).expect_err("refused").to_string();
        assert!(wrong(Given { listen: Some(vec!["8787".to_owned()]), ..Given::default() }).contains("127.0.0.1:8787"));
        assert!(wrong(Given { tls_key: Some(PathBuf::from("k")), ..Given::default() }).contains("give both"));
        assert!(wrong(Given { alert_disk_percent: Some(101), ..Given::default() }).contains("up to 100"));
        assert!(wrong(Given { alert_window_seconds: Some(1), ..Given::default() }).contains("10 to 3600"));
        let plain = Given { listen_http: Some(vec!["127.0.0.1:80".to_owned()]), ..Given::default() };
        assert!(wrong(plain.clone()).contains("acme_directory"));
        assert!(
            wrong(Given { acme_contact: Some("a@b.example".to_owned()), ..Given::default() })
                .contains("acme_directory")
        );
        let ordered = Given { acme_directory: Some("letsencrypt".to_owned()), ..Given::default() };
        let file = Given { acme_challenges: Some(vec!["http-01".to_owned()]), ..ordered.clone() };
        assert!(wrong(file.clone()).contains("listen_http"));
        assert!(
            wrong(Given { acme_challenges: Some(vec!["dns-01".to_owned()]), ..plain.clone() }.or(ordered.clone()))
                .contains("dns-01")
        );
        assert!(
            wrong(Given { acme_directory: Some("lets".to_owned()), ..Given::default() })
                .contains("letsencrypt-staging")
        );
        assert!(wrong(Given { dns_servers: Some(vec!["dns".to_owned()]), ..Given::default() }).contains("192.0.2.53"));
        let acme = |given: Given| given.resolve(None, Vec::new()).expect("settings").acme.expect("certificates");
        assert_eq!(acme(ordered.clone()).challenges, [Challenge::TlsAlpn]);
        assert_eq!(acme(ordered.or(plain.clone())).challenges, [Challenge::TlsAlpn, Challenge::Http]);
        assert_eq!(acme(file.or(plain)).challenges, [Challenge::Http]);
        let twice = Given {
            master_key_file: Some(PathBuf::from("k")),
            master_key_command: Some("c".to_owned()),
            ..Given::default()
        };
        assert!(wrong(twice).contains("more than once"));
    }
}
