//! One version's assets with its rules: what becomes of a request, before anything is read.

use http::{HeaderValue, Method, Request, StatusCode, header};
use skep_worker::Compatibility;

use crate::config::{BasePath, Config, HtmlHandling, NotFoundHandling, RunWorkerFirst, Verdict};
use crate::headers::{HeaderRules, Matched};
use crate::lookup::{Lookup, Pages, not_found};
use crate::manifest::{Asset, Manifest};
use crate::path::{CanonicalPath, encode};
use crate::problem::Problem;
use crate::redirects::{RedirectRules, ascii};

/// Why the Worker gets a request. Only these requests are charged.
/// <https://developers.cloudflare.com/workers/static-assets/billing-and-limitations/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerReason {
    /// `run_worker_first` says so.
    RunsFirst,
    /// No asset answers it.
    NoAsset,
}

/// Whether there is a Worker beside the assets.
#[derive(Clone, Copy, Debug)]
pub enum Script<'a> {
    /// There are only assets: what they do not answer is a 404.
    None,
    /// There is one, with these compatibility flags.
    With(&'a Compatibility),
}

/// One version's assets: its files, its settings and its rules, ready to answer.
#[derive(Debug)]
pub struct Site {
    manifest: Manifest,
    html_handling: HtmlHandling,
    not_found_handling: NotFoundHandling,
    run_worker_first: RunWorkerFirst,
    base_path: BasePath,
    headers: HeaderRules,
    redirects: RedirectRules,
    has_worker: bool,
    /// A navigation gets what `not_found_handling` says and not the Worker.
    navigation_prefers_assets: bool,
}

/// What is wrong with lines of a version's rules. They are left out, everything else works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteProblems {
    /// Of `_headers`.
    pub headers: Vec<Problem>,
    /// Of `_redirects`.
    pub redirects: Vec<Problem>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Route<'s> {
    Worker(WorkerReason),
    Redirect(StatusCode, HeaderValue),
    /// A file; with `true` as the page of a 404.
    File(Asset<'s>, bool),
    NotFound,
    MethodNotAllowed,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client.
    Client,
    /// The Worker, by `env.ASSETS.fetch()`.
    Worker,
}

impl Site {
    /// Puts together what a version has.
    pub fn new(manifest: Manifest, config: &Config, script: Script<'_>) -> (Self, SiteProblems) {
        let (headers, header_problems) = HeaderRules::parse(config.headers.as_deref().unwrap_or_default());
        let (redirects, redirect_problems) =
            RedirectRules::parse(config.redirects.as_deref().unwrap_or_default(), config.html_handling);
        let (has_worker, navigation_prefers_assets) = match script {
            Script::None => (false, false),
            Script::With(compatibility) => (true, compatibility.asks_for("assets_navigation_prefers_asset_serving")),
        };
        let site = Self {
            manifest,
            html_handling: config.html_handling,
            not_found_handling: config.not_found_handling,
            run_worker_first: config.run_worker_first.clone(),
            base_path: config.base_path.clone(),
            headers,
            redirects,
            has_worker,
            navigation_prefers_assets,
        };
        (site, SiteProblems { headers: header_problems, redirects: redirect_problems })
    }

    /// The files.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The headers that rules give a response at a path. The host is asked for if it matters.
    pub(crate) fn header_rules<'s, 'p>(&'s self, host: impl FnOnce() -> &'p str, path: &'p str) -> Matched<'s, 'p> {
        if self.headers.is_empty() || self.base_path.strip(path).is_none() {
            return Matched::default();
        }
        self.headers.matching(host(), path)
    }

    /// What becomes of a request.
    /// <https://developers.cloudflare.com/workers/static-assets/routing/worker-script/>
    pub(crate) fn route<B>(&self, asker: Asker, request: &Request<B>, path: &CanonicalPath<'_>) -> Route<'_> {
        let may_run_worker = self.has_worker && asker == Asker::Client;
        let verdict = if may_run_worker { self.run_worker_first.verdict(&path.encoded) } else { Verdict::Assets };
        if verdict == Verdict::Worker {
            return Route::Worker(WorkerReason::RunsFirst);
        }
        let is_open = verdict == Verdict::Open;
        // patterns say which paths are the Worker's, so all others are the assets', found or not
        let has_patterns = matches!(self.run_worker_first, RunWorkerFirst::Paths(_));
        let prefers_worker = is_open && !has_patterns && !(self.navigation_prefers_assets && is_navigation(request));
        let not_found_handling = if prefers_worker { NotFoundHandling::None } else { self.not_found_handling };
        match self.asset(request, path, not_found_handling) {
            Some(route) => route,
            None if is_open => Route::Worker(WorkerReason::NoAsset),
            None => Route::NotFound,
        }
    }

    /// What the assets answer, if they do.
    fn asset<B>(
        &self,
        request: &Request<B>,
        path: &CanonicalPath<'_>,
        not_found_handling: NotFoundHandling,
    ) -> Option<Route<'_>> {
        // rules are for paths below the base path only
        self.base_path.strip(&path.decoded)?;
        let redirect = if self.redirects.is_empty() { None } else { self.redirects.get(&path.encoded) };
        let query = request.uri().query();
        let Some(redirect) = redirect else {
            return self.page(request.method(), path, query, not_found_handling);
        };
        if redirect.status != StatusCode::OK {
            return redirect.location(query).map(|location| Route::Redirect(redirect.status, location));
        }
        let shown = CanonicalPath::of(redirect.path());
        self.page(request.method(), &shown, query, not_found_handling).or(Some(Route::NotFound))
    }

    /// What is at a path.
    fn page(
        &self,
        method: &Method,
        path: &CanonicalPath<'_>,
        query: Option<&str>,
        not_found_handling: NotFoundHandling,
    ) -> Option<Route<'_>> {
        let below = self.base_path.strip(&path.decoded)?;
        let pages = Pages { manifest: &self.manifest, html_handling: self.html_handling };
        let (route, to) = match pages.lookup(below) {
            Lookup::File(asset) => (Route::File(asset, false), self.root(below, &path.decoded)),
            Lookup::Redirect(to) => {
                let public = self.base_path.join(&to);
                (Route::NotFound, Some(self.root(&to, &public).unwrap_or(public)))
            }
            Lookup::Nothing => {
                let (asset, is_404) = not_found(&self.manifest, not_found_handling, below)?;
                (Route::File(asset, is_404), None)
            }
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(Route::MethodNotAllowed);
        }
        let to = match to {
            Some(to) => encode(&to),
            None if !path.is_canonical => path.encoded.to_string(),
            None => return Some(route),
        };
        let location = match query {
            Some(query) => HeaderValue::from_str(&format!("{to}?{}", ascii(query))),
            None => HeaderValue::from_str(&to),
        };
        // what a request's query holds, a header may hold too
        Some(location.map_or(Route::NotFound, |location| Route::Redirect(StatusCode::TEMPORARY_REDIRECT, location)))
    }

    /// Where the page of the base path itself is served, if it is not here: `/docs/`, or `/docs` where slashes are dropped.
    fn root(&self, below: &str, public: &str) -> Option<String> {
        let base = self.base_path.as_str();
        if below != "/" || base == "/" {
            return None;
        }
        let served_at = match self.html_handling {
            HtmlHandling::AutoTrailingSlash | HtmlHandling::ForceTrailingSlash => base,
            HtmlHandling::DropTrailingSlash => &base[..base.len() - 1],
            HtmlHandling::None => return None,
        };
        (served_at != public).then(|| served_at.to_owned())
    }
}

/// Whether a browser goes to a page, rather than a script fetching something.
fn is_navigation<B>(request: &Request<B>) -> bool {
    const SEC_FETCH_MODE: header::HeaderName = header::HeaderName::from_static("sec-fetch-mode");
    request.headers().get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
}
