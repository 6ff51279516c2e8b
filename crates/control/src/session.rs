//! Who signed in with a browser: the cookie, from which pages it counts, and how often one may try.
//!
//! A cookie comes along with whatever a page anywhere makes the browser send, so it counts only where the browser says that the page is
//! the dashboard's own. Workers answer below the platform's domain, where `SameSite` alone keeps nobody apart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderMap, HeaderName, ORIGIN};
use http::uri::Scheme;
use http::{HeaderValue, Method, StatusCode, Uri};
use skep_store::{Lifetime, Timestamp};
use skep_worker::Secret;

use crate::error::{ApiError, ApiResult};

/// How long a session lasts.
pub(crate) const LIFETIME: Lifetime =
    Lifetime { idle: Duration::from_secs(12 * 3600), total: Duration::from_secs(7 * 24 * 3600) };
/// The cookie over TLS. No other host, and no page without TLS, can set one of this name:
/// <https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix>
const SECURE: &str = "__Host-skep-session";
/// The cookie on this machine, where there is no TLS.
const LOCAL: &str = "skep-session";
/// A page of another origin cannot send this header, as the API allows no origin to.
const OWN_HEADER: HeaderName = HeaderName::from_static("x-skep-dashboard");
/// What the browser says of the page that calls: <https://www.w3.org/TR/fetch-metadata/>
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How often one client may fail to sign in at once.
const MOST_ATTEMPTS: u32 = 10;
/// After this time one failure is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Clients that are remembered at once.
const MOST_CLIENTS: usize = 10_000;

/// A session that is not over.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// What the cookie has.
    pub(crate) secret: Secret,
    /// When it ends if it is not used.
    pub(crate) expires_on: Timestamp,
}

/// Where a request comes from, as the browser tells it.
pub(crate) struct Site {
    /// Whether TLS is spoken here.
    secure: bool,
    /// Whether it is spoken by who is in front of us: the browser says so.
    secure_before: bool,
    /// Whether it was sent from this machine to itself.
    loopback: bool,
    /// The host and port that was asked.
    authority: String,
    origin: Option<HeaderValue>,
    fetch_site: Option<HeaderValue>,
    is_own: bool,
}

/// Failures to sign in, by client.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, Failures>>);

struct Failures {
    count: u32,
    since: Instant,
}

// === impl Site ===

impl Site {
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let named = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
        let origin = headers.get(ORIGIN).cloned();
        let of_tls = origin.as_ref().is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        Self {
            secure: uri.scheme() == Some(&Scheme::HTTPS),
            secure_before: of_tls || cookie(headers, SECURE).is_some(),
            loopback: named || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
            authority: uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default(),
            origin,
            fetch_site: headers.get(FETCH_SITE).cloned(),
            is_own: headers.get(OWN_HEADER).is_some_and(|value| value == "1"),
        }
    }

    /// The secret in the request's cookie.
    pub(crate) fn cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        // Who is in front of us may speak TLS where we do not; the name says that it was TLS for the browser.
        let names: &[&str] = if self.secure { &[SECURE] } else { &[SECURE, LOCAL] };
        names.iter().find_map(|name| cookie(headers, name))
    }

    /// The cookie that a browser is to have. An empty secret takes it away.
    ///
    /// # Errors
    /// When it would go over a network without TLS.
    pub(crate) fn set_cookie(&self, secret: &str) -> ApiResult<HeaderValue> {
        let age = if secret.is_empty() { 0 } else { LIFETIME.idle.as_secs() };
        let common = format!("Path=/; HttpOnly; SameSite=Strict; Max-Age={age}");
        let cookie = if self.secure || self.secure_before {
            format!("{SECURE}={secret}; Secure; {common}")
        } else if self.loopback {
            format!("{LOCAL}={secret}; {common}")
        } else {
            let message = "Signing in over plain HTTP would show the session to the network: open the dashboard over HTTPS (`skep serve --tls-certificate` or `--acme-directory`), or on the machine itself at http://localhost";
            return Err(ApiError::new(StatusCode::FORBIDDEN, 9109, message));
        };
        HeaderValue::try_from(cookie).map_err(|_| ApiError::internal("a cookie has letters that it cannot have"))
    }

    /// Whether the page that calls is the platform's own, as far as it matters for a call with a cookie. What only reads may also be typed
    /// into the address bar.
    ///
    /// # Errors
    /// When it is another page, or nobody says which.
    pub(crate) fn check(&self, method: &Method) -> ApiResult<()> {
        self.check_origin()?;
        if *method == Method::GET || *method == Method::HEAD {
            return Ok(());
        }
        if !self.is_own {
            return Err(refused(
                "a call with a session's cookie that changes something needs the header \"X-Skep-Dashboard: 1\". Programs send a token: \"Authorization: Bearer …\"",
            ));
        }
        match &self.fetch_site {
            Some(said) if said == "same-origin" => Ok(()),
            Some(said) => Err(other(said)),
            None if self.origin.is_some() => Ok(()),
            None => Err(refused(
                "the browser says neither Origin nor Sec-Fetch-Site, so nobody knows which page calls: use a newer browser, or a token",
            )),
        }
    }

    /// Whether the page that calls is the platform's own, or it is no page.
    ///
    /// # Errors
    /// When it is another page.
    pub(crate) fn check_origin(&self) -> ApiResult<()> {
        match (&self.origin, &self.fetch_site) {
            (Some(origin), _) if !self.is_same(origin) => Err(other(origin)),
            // Browsers do not agree on what they say of a WebSocket besides its origin.
            (Some(_), _) => Ok(()),
            (None, Some(said)) if said != "same-origin" && said != "none" => Err(other(said)),
            (None, _) => Ok(()),
        }
    }

    /// Whether an origin is the one that was asked. Who is in front of us may speak TLS where we do not, and not the other way round.
    fn is_same(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let known = scheme == "https" || (scheme == "http" && !self.secure);
        known && authority.eq_ignore_ascii_case(&self.authority)
    }
}

/// A cookie of a request, by its name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .find_map(|cookies| cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('=')))
}

fn other(said: &HeaderValue) -> ApiError {
    let said = String::from_utf8_lossy(said.as_bytes()).into_owned();
    refused(&format!("the call comes from another site ({said}): only the dashboard at this address may make it"))
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, 9109, format!("Refused: {message}"))
}

// === impl Attempts ===

impl Attempts {
    /// Counts an attempt before it is made, so that many at once are counted too.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(crate) fn begin(&self, client: Option<&str>, now: Instant) -> Result<(), Duration> {
        let client = group(client);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST_CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, failures| failures.left(now) > 0);
            // All of them are at it: who began first has waited longest.
            if clients.len() >= MOST_CLIENTS
                && let Some(first) =
                    clients.iter().min_by_key(|(_, failures)| failures.since).map(|(client, _)| *client)
            {
                clients.remove(&first);
            }
        }
        let failures = clients.entry(client).or_insert(Failures { count: 0, since: now });
        let left = failures.left(now);
        if left >= MOST_ATTEMPTS {
            let passed = now.saturating_duration_since(failures.since);
            let first = FORGOTTEN * (failures.count - left + 1);
            return Err(first.saturating_sub(passed));
        }
        if left == 0 {
            *failures = Failures { count: 0, since: now };
        }
        failures.count += 1;
        Ok(())
    }

    /// An attempt was none that guesses.
    pub(crate) fn succeeded(&self, client: Option<&str>) {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.remove(&group(client));
    }
}

// === impl Failures ===

impl Failures {
    /// Failures that are not forgotten.
    fn left(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_secs() / FORGOTTEN.as_secs();
        self.count.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

/// Whose attempts are counted together: one IPv4 address, or the network of an IPv6 address that one customer has (RFC 6177).
fn group(client: Option<&str>) -> IpAddr {
    match client.and_then(|client| client.parse().ok()) {
        Some(IpAddr::V6(address)) => {
            let [one, two, three, four, ..] = address.segments();
            Ipv6Addr::new(one, two, three, four, 0, 0, 0, 0).into()
        }
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{Attempts, FORGOTTEN, MOST_CLIENTS, Site};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(header).collect()
    }

    fn site(uri: &str, pairs: &[(&str, &str)]) -> Site {
        Site::of(&uri.parse().expect("a URI"), &headers(pairs))
    }

    #[test]
    fn only_the_own_page_may_use_the_cookie() {
        let own = ("x-skep-dashboard", "1");
        let check = |method: Method, uri: &str, pairs: &[(&str, &str)]| site(uri, pairs).check(&method).is_ok();
        let (plain, secure) = ("http://localhost:8787/skep/v1/x", "https://skep.example/skep/v1/x");
        assert!(check(Method::PUT, plain, &[own, ("origin", "http://localhost:8787")]));
        assert!(check(Method::PUT, plain, &[own, ("sec-fetch-site", "same-origin")]));
        assert!(check(Method::PUT, secure, &[own, ("origin", "https://SKEP.example")]));
        // TLS is spoken in front of us.
        assert!(check(Method::PUT, "http://skep.example/", &[own, ("origin", "https://skep.example")]));
        assert!(!check(Method::PUT, secure, &[own, ("origin", "http://skep.example")]));
        assert!(!check(Method::PUT, plain, &[("origin", "http://localhost:8787")]));
        assert!(!check(Method::PUT, plain, &[own]));
        assert!(!check(Method::PUT, plain, &[own, ("origin", "http://localhost")]));
        assert!(!check(Method::PUT, plain, &[own, ("origin", "null")]));
        assert!(!check(Method::DELETE, plain, &[own, ("origin", "http://evil.dev.localhost:8787")]));
        for other in ["same-site", "cross-site", "nonsense"] {
            assert!(!check(
                Method::POST,
                plain,
                &[own, ("origin", "http://localhost:8787"), ("sec-fetch-site", other)]
            ));
            assert!(!check(Method::GET, plain, &[("sec-fetch-site", other)]));
        }
        assert!(!check(Method::PUT, plain, &[own, ("sec-fetch-site", "none")]));
        assert!(!check(Method::GET, plain, &[("origin", "http://evil.dev.localhost:8787")]));
        assert!(check(Method::GET, plain, &[]) && check(Method::HEAD, plain, &[("sec-fetch-site", "none")]));
    }

    #[test]
    fn the_cookie_is_as_strict_as_the_connection_allows() {
        let cookie = |uri: &str, pairs: &[(&str, &str)]| {
            site(uri, pairs).set_cookie("s").map(|value| value.to_str().expect("text").to_owned()).ok()
        };
        let secure = "__Host-skep-session=s; Secure; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200";
        let local = "skep-session=s; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200";
        assert_eq!(cookie("https://skep.example/", &[]).as_deref(), Some(secure));
        assert_eq!(cookie("http://skep.example/", &[("origin", "https://skep.example")]).as_deref(), Some(secure));
        for here in ["http://localhost:8787/", "http://127.0.0.1:1/", "http://[::1]:1/", "http://api.localhost/"] {
            assert_eq!(cookie(here, &[]).as_deref(), Some(local), "{here}");
        }
        assert_eq!(cookie("http://skep.example/", &[("cookie", "__Host-skep-session=s")]).as_deref(), Some(secure));
        assert_eq!(cookie("http://skep.example/", &[]), None);
        assert_eq!(cookie("http://192.0.2.1/", &[]), None);
    }

    #[test]
    fn the_cookie_is_found_by_its_name() {
        let find = |uri: &str, cookies: &[&str]| {
            let pairs: Vec<(&str, &str)> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            let mut map = HeaderMap::new();
            for (_, value) in &pairs {
                map.append(http::header::COOKIE, value.parse().expect("a value"));
            }
            site(uri, &[]).cookie(&map).map(str::to_owned)
        };
        let (plain, secure) = ("http://localhost/", "https://localhost/");
        assert_eq!(find(plain, &["a=b; skep-session=x"]).as_deref(), Some("x"));
        assert_eq!(find(plain, &["a=b", "skep-session=x"]).as_deref(), Some("x"));
        assert_eq!(find(secure, &["skep-session=x"]), None);
        assert_eq!(find(secure, &["skep-session=x; __Host-skep-session=y"]).as_deref(), Some("y"));
        assert_eq!(find(plain, &["skep-session=x; __Host-skep-session=y"]).as_deref(), Some("y"));
        assert_eq!(find(plain, &["skep-sessions=x; other-skep-session=x"]), None);
    }

    #[test]
    fn who_guesses_has_to_wait() {
        let attempts = Attempts::default();
        let begun = Instant::now();
        let (one, other) = (Some("192.0.2.1"), Some("192.0.2.2"));
        for _ in 0..10 {
            assert_eq!(attempts.begin(one, begun), Ok(()));
        }
        assert_eq!(attempts.begin(one, begun + Duration::from_secs(10)), Err(Duration::from_secs(20)));
        assert_eq!(attempts.begin(other, begun), Ok(()));
        assert_eq!(attempts.begin(one, begun + FORGOTTEN), Ok(()));
        assert_eq!(attempts.begin(one, begun + FORGOTTEN), Err(FORGOTTEN));
        assert_eq!(attempts.begin(one, begun + FORGOTTEN * 100), Ok(()));
        attempts.succeeded(one);
        for _ in 0..10 {
            assert_eq!(attempts.begin(one, begun), Ok(()));
        }
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_are_one_client_and_memory_is_bounded() {
        let attempts = Attempts::default();
        let begun = Instant::now();
        for host in 0..10 {
            assert_eq!(attempts.begin(Some(&format!("2001:db8::{host:x}")), begun), Ok(()));
        }
        assert!(attempts.begin(Some("2001:db8::ffff"), begun).is_err());
        assert!(attempts.begin(Some("2001:db8:0:1::1"), begun).is_ok());
        for network in 0..MOST_CLIENTS as u32 + 100 {
            let address = format!("2001:db9:{:x}:{:x}::1", network >> 16, network & 0xffff);
            assert_eq!(attempts.begin(Some(&address), begun), Ok(()));
        }
        assert_eq!(attempts.0.lock().expect("no panic").len(), MOST_CLIENTS);
    }
}
