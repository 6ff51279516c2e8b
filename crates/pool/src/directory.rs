//! The directory: every Worker there is, found by host and path.
//!
//! Lookups take no lock and ask nobody. A Worker that is never visited costs its entry here and nothing else.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use papaya::HashMap;
use skep_store::{Change, LiveWorker, Observability, Share};
use skep_worker::{RoutePattern, RouteTable};
use uuid::Uuid;

/// Digits of a version's id that an address of its own begins with.
const PREVIEW_DIGITS: usize = 8;

/// What those who serve requests know of a Worker.
#[derive(Debug)]
pub struct Worker {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub account_id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The account's label in addresses.
    subdomain: Arc<str>,
    workers_dev: bool,
    previews: bool,
    deployment: Box<[Share]>,
    /// The shares of its events that are kept and traced.
    logs: f32,
    traces: f32,
    /// What few Workers have.
    more: Option<Box<More>>,
}

#[derive(Debug, PartialEq)]
struct More {
    routes: Vec<String>,
    domains: Vec<String>,
    crons: Vec<String>,
    only_custom: bool,
    consumers: Vec<String>,
}

impl Worker {
    /// Its current deployment; empty when nothing is deployed.
    pub fn deployment(&self) -> &[Share] {
        &self.deployment
    }

    /// Its cron expressions.
    pub fn crons(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.crons)
    }

    /// What becomes of its events, beside being counted.
    pub fn observability(&self) -> Observability {
        let more = self.more.as_ref();
        Observability {
            logs: self.logs,
            only_custom: more.is_some_and(|more| more.only_custom),
            traces: self.traces,
            consumers: self.consumers().to_vec(),
        }
    }

    /// The names of the account's Workers that get its events.
    pub fn consumers(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.consumers)
    }

    /// Its address below the platform's domain: `<name>.<subdomain>`.
    fn address(&self) -> Box<str> {
        address(&self.name, &self.subdomain)
    }

    /// Patterns of its routes and custom domains.
    fn patterns(&self) -> impl Iterator<Item = String> {
        let more = self.more.as_deref();
        let domains = more.into_iter().flat_map(|more| more.domains.iter().map(|domain| format!("{domain}/*")));
        let routes = more.into_iter().flat_map(|more| more.routes.iter().cloned());
        routes.chain(domains)
    }

    /// The same, as the table of routes has them.
    fn routes(&self) -> impl Iterator<Item = (RoutePattern, Uuid)> {
        // What the control plane accepted can be read.
        self.patterns().filter_map(|pattern| RoutePattern::parse(&pattern).ok()).map(|pattern| (pattern, self.id))
    }
}

fn address(name: &str, subdomain: &str) -> Box<str> {
    format!("{name}.{subdomain}").to_ascii_lowercase().into()
}

/// Texts that many Workers have in common, each once.
#[derive(Debug, Default)]
struct Texts {
    all: HashSet<Arc<str>>,
    /// How many there were when those that nobody has any more were dropped last.
    kept: usize,
}

impl Texts {
    fn one(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.get(text) {
            return Arc::clone(known);
        }
        if self.all.len() > self.kept * 2 {
            self.all.retain(|text| Arc::strong_count(text) > 1);
            self.kept = self.all.len().max(64);
        }
        let text: Arc<str> = text.into();
        self.all.insert(Arc::clone(&text));
        text
    }
}

impl Worker {
    fn new(live: LiveWorker, texts: &mut Texts) -> Self {
        let Observability { logs, only_custom, traces, consumers } = live.observability;
        let more = More { routes: live.routes, domains: live.domains, crons: live.crons, only_custom, consumers };
        let none = more.routes.is_empty()
            && more.domains.is_empty()
            && more.crons.is_empty()
            && more.consumers.is_empty()
            && !only_custom;
        Self {
            id: live.id,
            account_id: texts.one(&live.account_id),
            name: live.name.into(),
            subdomain: texts.one(&live.subdomain),
            workers_dev: live.workers_dev,
            previews: live.previews,
            deployment: live.deployment.into(),
            logs,
            traces,
            more: (!none).then(|| Box::new(more)),
        }
    }
}

/// Who answers an address.
#[derive(Clone, Debug)]
pub enum Found {
    /// A Worker, with the version that its deployment says.
    Worker(Arc<Worker>),
    /// A version of a Worker, by the first digits of its id.
    Preview(Arc<Worker>, u32),
    /// A version of a Worker, by its alias.
    Alias(Arc<Worker>, Box<str>),
}

/// Every Worker there is.
#[derive(Debug)]
pub struct Directory {
    /// The platform's domain, with a dot before it: Workers answer at names below it.
    suffix: String,
    workers: HashMap<Uuid, Arc<Worker>>,
    addresses: HashMap<Box<str>, Arc<Worker>>,
    /// By account and name, for calls from one Worker to another, and for the platform's own.
    names: HashMap<(Arc<str>, Arc<str>), Arc<Worker>>,
    texts: Mutex<Texts>,
    /// Leads to ids, so that a deployment changes nothing here.
    routes: ArcSwap<RouteTable<Uuid>>,
}

impl Directory {
    /// A directory without Workers. They answer at `<name>.<subdomain>.<domain>`.
    pub fn new(domain: &str) -> Self {
        Self {
            suffix: format!(".{}", domain.to_ascii_lowercase()),
            workers: HashMap::new(),
            addresses: HashMap::new(),
            names: HashMap::new(),
            texts: Mutex::default(),
            routes: ArcSwap::from_pointee(RouteTable::default()),
        }
    }

    /// Takes over the changes of a commit. Commits come one after the other.
    pub fn apply(&self, changes: &[Change]) {
        // How each Worker was before the first change of it.
        let mut changed: std::collections::HashMap<Uuid, Option<Arc<Worker>>> = std::collections::HashMap::new();
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let (id, before, after) = match change {
                Change::Worker(live) => {
                    let worker = Arc::new(Worker::new(live.as_ref().clone(), &mut texts));
                    let before = self.workers.pin().insert(worker.id, Arc::clone(&worker)).cloned();
                    (worker.id, before, Some(worker))
                }
                Change::Deleted { id } => (*id, self.workers.pin().remove(id).cloned(), None),
            };
            self.replace(before.as_deref(), after.as_ref());
            changed.entry(id).or_insert(before);
        }
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (id, before) in changed {
            let after = self.worker(id);
            let is_same = before.as_ref().map(|worker| &worker.more) == after.as_ref().map(|worker| &worker.more);
            if !is_same {
                removed.extend(before.iter().flat_map(|worker| worker.routes()));
                added.extend(after.iter().flat_map(|worker| worker.routes()));
            }
        }
        if !removed.is_empty() || !added.is_empty() {
            self.routes.store(Arc::new(self.routes.load().changed(removed, added)));
        }
    }

    fn replace(&self, before: Option<&Worker>, after: Option<&Arc<Worker>>) {
        let (addresses, names) = (self.addresses.pin(), self.names.pin());
        if let Some(after) = after {
            addresses.insert(after.address(), Arc::clone(after));
            names.insert((after.account_id.clone(), after.name.clone()), Arc::clone(after));
        }
        if let Some(before) = before {
            if after.is_none_or(|after| after.address() != before.address()) {
                addresses.remove(&before.address());
            }
            if after.is_none_or(|after| after.name != before.name) {
                names.remove(&(before.account_id.clone(), before.name.clone()));
            }
        }
    }

    /// Who answers an address. `host` has no port.
    pub fn find(&self, secure: bool, host: &str, path: &str) -> Option<Found> {
        let lower;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        if let Some(address) = host.strip_suffix(self.suffix.as_str()) {
            let addresses = self.addresses.pin();
            if let Some(worker) = addresses.get(address) {
                return worker.workers_dev.then(|| Found::Worker(Arc::clone(worker)));
            }
            return self.find_preview(address);
        }
        let id = *self.routes.load().find(secure, host, path)?;
        self.worker(id).map(Found::Worker)
    }

    /// Whether a Worker answers at a host, at some path at least. `host` is in lower case and has no port. Whether a preview's version
    /// exists is not known here.
    pub fn knows(&self, host: &str) -> bool {
        match host.strip_suffix(self.suffix.as_str()) {
            Some(address) => {
                self.addresses.pin().get(address).is_some_and(|worker| worker.workers_dev)
                    || self.find_preview(address).is_some()
            }
            None => self.routes.load().knows(host),
        }
    }

    /// Whether a host is the platform's own: its domain, `api.` below it, or an address without a name.
    pub fn is_own(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let domain = self.suffix.trim_start_matches('.');
        host.eq_ignore_ascii_case(domain)
            || host.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || host
                .split_once('.')
                .is_some_and(|(label, rest)| label.eq_ignore_ascii_case("api") && rest.eq_ignore_ascii_case(domain))
    }

    /// The Worker and the version or alias that a preview's host names. `host` is in lower case and has no port.
    pub fn preview(&self, host: &str) -> Option<Found> {
        let address = host.strip_suffix(self.suffix.as_str())?;
        if self.addresses.pin().contains_key(address) { None } else { self.find_preview(address) }
    }

    /// `<8 hex digits>-<name>.<subdomain>` or `<alias>-<name>.<subdomain>`. Both an alias and a name may have hyphens.
    fn find_preview(&self, address: &str) -> Option<Found> {
        let label = address.find('.')?;
        let addresses = self.addresses.pin();
        for (hyphen, _) in address[..label].match_indices('-') {
            let (prefix, rest) = (&address[..hyphen], &address[hyphen + 1..]);
            let Some(worker) = addresses.get(rest).filter(|worker| worker.previews) else { continue };
            let digits = (prefix.len() == PREVIEW_DIGITS).then(|| u32::from_str_radix(prefix, 16).ok()).flatten();
            return Some(match digits {
                Some(digits) => Found::Preview(Arc::clone(worker), digits),
                None => Found::Alias(Arc::clone(worker), prefix.into()),
            });
        }
        None
    }

    /// A Worker of an account, by its name.
    pub fn named(&self, account: &str, name: &str) -> Option<Arc<Worker>> {
        self.names.pin().get(&(Arc::from(account), Arc::from(name))).cloned()
    }

    /// A Worker by its id.
    pub fn worker(&self, id: Uuid) -> Option<Arc<Worker>> {
        self.workers.pin().get(&id).cloned()
    }

    /// Every Worker that has cron triggers.
    pub fn scheduled(&self) -> Vec<Arc<Worker>> {
        self.workers.pin().values().filter(|worker| !worker.crons().is_empty()).cloned().collect()
    }

    /// The ids of all Workers.
    pub fn ids(&self) -> Vec<Uuid> {
        self.workers.pin().keys().copied().collect()
    }

    /// A Worker, as the store told of it last.
    pub fn live(&self, id: Uuid) -> Option<LiveWorker> {
        let worker = self.worker(id)?;
        let (routes, domains, crons) = match worker.more.as_deref() {
            Some(more) => (more.routes.clone(), more.domains.clone(), more.crons.clone()),
            None => Default::default(),
        };
        Some(LiveWorker {
            account_id: worker.account_id.to_string(),
            subdomain: worker.subdomain.to_string(),
            id: worker.id,
            name: worker.name.to_string(),
            workers_dev: worker.workers_dev,
            previews: worker.previews,
            deployment: worker.deployment.to_vec(),
            routes,
            domains,
            crons,
            observability: worker.observability(),
        })
    }

    /// How many Workers there are.
    pub fn len(&self) -> usize {
        self.workers.pin().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Directory, Found};
    use skep_store::{Change, LiveWorker, Observability, Share};
    use uuid::Uuid;

    fn live(id: u128, name: &str) -> LiveWorker {
        LiveWorker {
            account_id: "a".to_owned(),
            subdomain: "dev".to_owned(),
            id: Uuid::from_u128(id),
            name: name.to_owned(),
            workers_dev: true,
            previews: true,
            deployment: vec![Share { version_id: Uuid::from_u128(id + 100), percentage: 100.0 }],
            routes: Vec::new(),
            domains: Vec::new(),
            crons: Vec::new(),
            observability: Observability::default(),
        }
    }

    fn put(directory: &Directory, worker: LiveWorker) {
        directory.apply(&[Change::Worker(Box::new(worker))]);
    }

    fn find(directory: &Directory, host: &str) -> Option<String> {
        Some(match directory.find(false, host, "/")? {
            Found::Worker(worker) => worker.name.to_string(),
            Found::Preview(worker, digits) => format!("{}@{digits:08x}", worker.name),
            Found::Alias(worker, alias) => format!("{}@{alias}", worker.name),
        })
    }

    #[test]
    fn workers_are_found_at_their_addresses() {
        let directory = Directory::new("localhost");
        put(&directory, live(1, "hello"));
        put(&directory, live(2, "my-hello"));
        assert_eq!(find(&directory, "hello.dev.localhost").as_deref(), Some("hello"));
        assert_eq!(find(&directory, "Hello.DEV.localhost").as_deref(), Some("hello"));
        assert_eq!(find(&directory, "my-hello.dev.localhost").as_deref(), Some("my-hello"));
        assert_eq!(find(&directory, "0123abcd-hello.dev.localhost").as_deref(), Some("hello@0123abcd"));
        assert_eq!(find(&directory, "staging-hello.dev.localhost").as_deref(), Some("hello@staging"));
        assert_eq!(find(&directory, "a-b-my-hello.dev.localhost").as_deref(), Some("my-hello@a-b"));
        assert_eq!(find(&directory, "other.dev.localhost"), None);
        let knows = |host: &str| (directory.knows(host), directory.preview(host).is_some());
        assert_eq!(knows("hello.dev.localhost"), (true, false));
        assert_eq!(knows("0123abcd-hello.dev.localhost"), (true, true));
        assert_eq!(knows("other.dev.localhost"), (false, false));
        assert_eq!(find(&directory, "hello.dev.example.com"), None);
        put(&directory, LiveWorker { workers_dev: false, previews: false, ..live(1, "hello") });
        assert_eq!(find(&directory, "hello.dev.localhost"), None);
        assert_eq!(find(&directory, "0123abcd-hello.dev.localhost"), None);
        directory.apply(&[Change::Deleted { id: Uuid::from_u128(2) }]);
        assert_eq!(find(&directory, "my-hello.dev.localhost"), None);
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn everything_can_be_told_again() {
        let directory = Directory::new("localhost");
        let all = |id, name| LiveWorker {
            routes: vec!["example.com/api/*".to_owned()],
            domains: vec!["shop.example.com".to_owned()],
            crons: vec!["* * * * *".to_owned()],
            ..live(id, name)
        };
        let mut told = vec![live(1, "hello"), all(2, "all")];
        for worker in &told {
            put(&directory, worker.clone());
        }
        let mut again: Vec<_> = directory.ids().into_iter().filter_map(|id| directory.live(id)).collect();
        again.sort_by_key(|worker| worker.id);
        told.sort_by_key(|worker| worker.id);
        assert_eq!(again, told);
        assert_eq!(directory.live(Uuid::from_u128(3)), None);
    }

    #[test]
    fn the_platform_s_own_hosts() {
        let directory = Directory::new("skep.example");
        for own in ["skep.example", "API.skep.example", "localhost", "127.0.0.1", "[::1]"] {
            assert!(directory.is_own(own), "{own}");
        }
        for other in ["hello.dev.skep.example", "api.example", "skep.example.com", ""] {
            assert!(!directory.is_own(other), "{other}");
        }
    }

    #[test]
    fn routes_and_domains_come_and_go_with_their_worker() {
        let directory = Directory::new("localhost");
        let routed = LiveWorker {
            routes: vec!["example.com/api/*".to_owned()],
            domains: vec!["shop.example.com".to_owned()],
            workers_dev: false,
            ..live(1, "hello")
        };
        put(&directory, routed);
        assert_eq!(find(&directory, "shop.example.com").as_deref(), Some("hello"));
        assert_eq!(find(&directory, "example.com"), None);
        for (host, known) in [("shop.example.com", true), ("example.com", true), ("www.example.com", false)] {
            assert_eq!(directory.knows(host), known, "{host}");
        }
        assert!(directory.find(true, "example.com", "/api/x").is_some());
        put(&directory, live(1, "hello"));
        assert_eq!(find(&directory, "shop.example.com"), None);
        assert!(directory.find(true, "example.com", "/api/x").is_none());
    }

    #[test]
    fn a_worker_may_change_twice_in_a_commit() {
        let directory = Directory::new("localhost");
        let with =
            |route: &str| Change::Worker(Box::new(LiveWorker { routes: vec![route.to_owned()], ..live(1, "hello") }));
        directory.apply(&[with("a.com/*"), with("b.com/*")]);
        assert_eq!((find(&directory, "a.com"), find(&directory, "b.com").as_deref()), (None, Some("hello")));
        directory.apply(&[with("c.com/*"), Change::Deleted { id: Uuid::from_u128(1) }]);
        assert_eq!((find(&directory, "b.com"), find(&directory, "c.com"), directory.len()), (None, None, 0));
    }

    #[test]
    fn an_account_s_new_subdomain_replaces_the_old_one() {
        let directory = Directory::new("localhost");
        put(&directory, live(1, "hello"));
        put(&directory, LiveWorker { subdomain: "new".to_owned(), ..live(1, "hello") });
        assert_eq!(find(&directory, "hello.dev.localhost"), None);
        assert_eq!(find(&directory, "hello.new.localhost").as_deref(), Some("hello"));
    }
}
