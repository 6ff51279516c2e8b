//! `skep serve`: the platform on this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use skep_serve::Given;
use skep_worker::Secret;

use crate::commands::Outcome;
use crate::output;

/// Run the platform: whoever has a token deploys Workers to it, and everybody can visit them
///
/// Every flag is also a key of the file and an environment variable. The master key for secrets comes from SKEP_MASTER_KEY,
/// a file, a command, or is made at the first start; SKEP_FORMER_MASTER_KEYS, separated by commas, still open what was sealed
/// under them, and a start seals that again under the current one. `skep master-key rotate` replaces a key that is in a file.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A file of settings
    #[arg(long, short, value_name = "FILE", env = "SKEP_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of everything that lasts [default: skep-data]
    #[arg(long, value_name = "DIR", env = "SKEP_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// An address to listen on, with TLS if there are certificates; may be given several times [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SKEP_LISTEN", value_delimiter = ',')]
    listen: Option<Vec<String>>,
    /// An address for plain HTTP beside TLS, such as 0.0.0.0:80: visitors are sent to HTTPS, certificate authorities are answered
    #[arg(long, value_name = "ADDRESS:PORT", env = "SKEP_LISTEN_HTTP", value_delimiter = ',')]
    listen_http: Option<Vec<String>>,
    /// The domain below which Workers answer [default: localhost]
    #[arg(long, value_name = "DOMAIN", env = "SKEP_DOMAIN")]
    domain: Option<String>,
    /// The certificate chain for TLS, in PEM
    #[arg(long, value_name = "FILE", env = "SKEP_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", env = "SKEP_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Order a certificate for each host on its first visit, from letsencrypt, letsencrypt-staging, or an ACME directory's URL.
    /// Ordering agrees to the authority's terms of service
    #[arg(long, value_name = "DIRECTORY", env = "SKEP_ACME_DIRECTORY")]
    acme_directory: Option<String>,
    /// An e-mail address that the certificate authority may write to
    #[arg(long, value_name = "EMAIL", env = "SKEP_ACME_CONTACT")]
    acme_contact: Option<String>,
    /// How control of a host is shown, the best first: tls-alpn-01 (port 443), http-01 (port 80, see --listen-http)
    /// [default: what can be answered]
    #[arg(long, value_name = "CHALLENGE", env = "SKEP_ACME_CHALLENGES", value_delimiter = ',')]
    acme_challenges: Option<Vec<String>>,
    /// The root certificate, in PEM, of an authority inside of a company
    #[arg(long, value_name = "FILE", env = "SKEP_ACME_ROOT")]
    acme_root: Option<PathBuf>,
    /// The DNS servers to ask for proofs of domains [default: the system's]
    #[arg(long, value_name = "ADDRESS", env = "SKEP_DNS_SERVERS", value_delimiter = ',')]
    dns_servers: Option<Vec<String>>,
    /// The name of the account that the first start makes [default: Skep]
    #[arg(long, value_name = "NAME", env = "SKEP_ACCOUNT")]
    account: Option<String>,
    /// Its label in the addresses of its Workers [default: dev]
    #[arg(long, value_name = "LABEL", env = "SKEP_SUBDOMAIN")]
    subdomain: Option<String>,
    /// The file of the master key: one in base64, former ones in lines below it
    #[arg(long, value_name = "FILE", env = "SKEP_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    /// A command that prints the master key
    #[arg(long, value_name = "COMMAND", env = "SKEP_MASTER_KEY_COMMAND")]
    master_key_command: Option<String>,
    /// Threads that serve requests [default: one for each core]
    #[arg(long, value_name = "NUMBER", env = "SKEP_THREADS")]
    threads: Option<usize>,
    /// How long requests may take to finish after SIGTERM, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS", env = "SKEP_GRACE_SECONDS")]
    grace_seconds: Option<u64>,
    /// Whether Workers may fetch from this machine's loopback addresses [default: false]
    #[arg(long, value_name = "BOOL", env = "SKEP_ALLOW_LOOPBACK", num_args = 0..=1, default_missing_value = "true")]
    allow_loopback: Option<bool>,
    /// Memory for isolates in MiB: above it, those go that are worth the least [default: three quarters of the machine's]
    #[arg(long, value_name = "MIB", env = "SKEP_MEMORY_MIB")]
    memory_mib: Option<u64>,
    /// Isolates that are ready before a Worker needs one [default: 2]
    #[arg(long, value_name = "NUMBER", env = "SKEP_SPARE_ISOLATES")]
    spare_isolates: Option<usize>,
    /// How long isolates stay of Workers whose next visit cannot be foreseen [default: 600]
    #[arg(long, value_name = "SECONDS", env = "SKEP_KEEP_ALIVE_SECONDS")]
    keep_alive_seconds: Option<u64>,
    /// The most isolates of one Worker [default: four for each core, at least 8]
    #[arg(long, value_name = "NUMBER", env = "SKEP_ISOLATES_PER_WORKER")]
    isolates_per_worker: Option<usize>,
    /// The most isolates of one account [default: 1000]
    #[arg(long, value_name = "NUMBER", env = "SKEP_ISOLATES_PER_ACCOUNT")]
    isolates_per_account: Option<usize>,
    /// An address where metrics and health are told, over plain HTTP; not for the public
    #[arg(long, value_name = "ADDRESS:PORT", env = "SKEP_LISTEN_METRICS", value_delimiter = ',')]
    listen_metrics: Option<Vec<String>>,
    /// How many Workers have metrics of their own, the busiest; the others are told together, as the Worker "other" [default: 100]
    #[arg(long, value_name = "NUMBER", env = "SKEP_METRICS_WORKERS")]
    metrics_workers: Option<usize>,
    /// Whether processes that run Workers give up what they do not need: system calls, files, ports [default: true]
    #[arg(long, value_name = "BOOL", env = "SKEP_SANDBOX", num_args = 0..=1, default_missing_value = "true")]
    sandbox: Option<bool>,
    /// Leave out the dashboard, which is at /dashboard/ of the API's host
    #[arg(long, env = "SKEP_NO_DASHBOARD", value_parser = clap::builder::FalseyValueParser::new())]
    no_dashboard: bool,
    /// A folder of plans, one file of TOML for each, beside those that Skep brings
    #[arg(long, value_name = "FOLDER", env = "SKEP_PLANS", help_heading = "Usage")]
    plans: Option<PathBuf>,
    /// The plan of accounts that were given none: self-hosted, if nobody says
    #[arg(long, value_name = "NAME", env = "SKEP_PLAN", help_heading = "Usage")]
    plan: Option<String>,
    /// Room for the logs that are kept, in MiB: the oldest go first; 0 keeps none [default: 1024]
    #[arg(long, value_name = "MIB", env = "SKEP_LOGS_MIB", help_heading = "Logs")]
    logs_mib: Option<u64>,
    /// How long logs are kept, in days [default: 7]
    #[arg(long, value_name = "DAYS", env = "SKEP_LOGS_DAYS", help_heading = "Logs")]
    logs_days: Option<u64>,
    /// Events of a Worker that are shown or kept in a second: what is beyond is sampled, failures have room of their own [default: 400]
    #[arg(long, value_name = "NUMBER", env = "SKEP_EVENTS_PER_SECOND", help_heading = "Logs")]
    events_per_second: Option<u32>,
    /// Where traces go of Workers that want them: an OpenTelemetry collector that speaks OTLP over HTTP
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", help_heading = "Logs")]
    traces_endpoint: Option<String>,
    /// How this node is called in its status [default: the machine's name]
    #[arg(long, value_name = "NAME", env = "SKEP_NODE_NAME", help_heading = "Health")]
    node_name: Option<String>,
    /// The part of the disk that is to be free, or whoever gets alerts is told; always below 1 GiB [default: 10]
    #[arg(long, value_name = "PERCENT", env = "SKEP_ALERT_DISK_PERCENT", help_heading = "Health")]
    alert_disk_percent: Option<u64>,
    /// The part of a Worker's requests that may fail [default: 10]
    #[arg(long, value_name = "PERCENT", env = "SKEP_ALERT_ERRORS_PERCENT", help_heading = "Health")]
    alert_errors_percent: Option<u64>,
    /// The least requests of a Worker of which that is told [default: 50]
    #[arg(long, value_name = "NUMBER", env = "SKEP_ALERT_ERRORS_REQUESTS", help_heading = "Health")]
    alert_errors_requests: Option<u64>,
    /// How far is looked back for failed requests, and for processes that died three times [default: 300]
    #[arg(long, value_name = "SECONDS", env = "SKEP_ALERT_WINDOW_SECONDS", help_heading = "Health")]
    alert_window_seconds: Option<u64>,
    /// How long an alert or exported usage may wait to be delivered [default: 900]
    #[arg(long, value_name = "SECONDS", env = "SKEP_ALERT_OUTBOX_SECONDS", help_heading = "Health")]
    alert_outbox_seconds: Option<u64>,
}

pub(crate) fn run(arguments: Arguments, begun: Instant) -> Outcome {
    let file = arguments.config.as_deref().map(Given::read).transpose()?.unwrap_or_default();
    let given = Given {
        data_dir: arguments.data_dir,
        listen: arguments.listen,
        listen_http: arguments.listen_http,
        domain: arguments.domain,
        tls_certificate: arguments.tls_certificate,
        tls_key: arguments.tls_key,
        acme_directory: arguments.acme_directory,
        acme_contact: arguments.acme_contact,
        acme_challenges: arguments.acme_challenges,
        acme_root: arguments.acme_root,
        dns_servers: arguments.dns_servers,
        account: arguments.account,
        subdomain: arguments.subdomain,
        master_key_file: arguments.master_key_file,
        master_key_command: arguments.master_key_command,
        threads: arguments.threads,
        grace_seconds: arguments.grace_seconds,
        allow_loopback: arguments.allow_loopback,
        memory_mib: arguments.memory_mib,
        spare_isolates: arguments.spare_isolates,
        keep_alive_seconds: arguments.keep_alive_seconds,
        isolates_per_worker: arguments.isolates_per_worker,
        isolates_per_account: arguments.isolates_per_account,
        listen_metrics: arguments.listen_metrics,
        metrics_workers: arguments.metrics_workers,
        node_name: arguments.node_name,
        alert_disk_percent: arguments.alert_disk_percent,
        alert_errors_percent: arguments.alert_errors_percent,
        alert_errors_requests: arguments.alert_errors_requests,
        alert_window_seconds: arguments.alert_window_seconds,
        alert_outbox_seconds: arguments.alert_outbox_seconds,
        sandbox: arguments.sandbox,
        dashboard: arguments.no_dashboard.then_some(false),
        plans: arguments.plans,
        plan: arguments.plan,
        logs_mib: arguments.logs_mib,
        logs_days: arguments.logs_days,
        events_per_second: arguments.events_per_second,
        traces_endpoint: arguments.traces_endpoint,
        ..Given::default()
    };
    let secret = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let former = secret("SKEP_FORMER_MASTER_KEYS").unwrap_or_default();
    let former =
        former.split(',').filter(|text| !text.trim().is_empty()).map(|text| Secret::new(text.trim())).collect();
    let settings = given.or(file).resolve(secret("SKEP_MASTER_KEY").map(Secret::new), former)?;
    Ok(skep_serve::run(&settings, begun, Arc::new(output::line))?)
}
