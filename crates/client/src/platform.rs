//! Where the platform is, and with which token it is asked.
//!
//! In this order: flags and `SKEP_*` variables, wrangler's `CLOUDFLARE_*` variables (of the process, or of the project's `.env`, as
//! wrangler reads it), the file that `skep login` writes. A token goes only to the platform that it was given for: what one
//! source says of the URL is never joined with another source's token, except where both name the same URL.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use skep_worker::Secret;
use url::{Host, Url};

use crate::error::{Error, Result};
use crate::login::Login;

/// The path of Cloudflare's API, which wrangler's `CLOUDFLARE_API_BASE_URL` ends with.
const API: &str = "/client/v4";

/// The URL of a platform, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformUrl(String);

impl PlatformUrl {
    /// Reads a URL. The path of the API at its end is left out; without a scheme it is https, and http on this machine.
    ///
    /// # Errors
    /// [`Error::Url`] when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Url { text: text.to_owned(), reason: reason.to_owned() };
        let given = text.trim();
        let local = |host: &str| host == "localhost" || host.starts_with("127.") || host.starts_with("[::1]");
        let with_scheme = match given.split_once("://") {
            Some(_) => given.to_owned(),
            None if given.is_empty() => return Err(wrong("it is empty")),
            None if local(given.split([':', '/']).next().unwrap_or_default()) || local(given) => {
                format!("http://{given}")
            }
            None => format!("https://{given}"),
        };
        let url = Url::parse(&with_scheme).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("its scheme is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it has a user name or password in it; the token is given by itself"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let text = url.as_str().trim_end_matches('/');
        Ok(Self(text.strip_suffix(API).unwrap_or(text).trim_end_matches('/').to_owned()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What wrangler wants as `CLOUDFLARE_API_BASE_URL`.
    pub fn api(&self) -> String {
        format!("{}{API}", self.0)
    }

    /// Whether a token would travel over a network without encryption.
    pub fn is_exposed(&self) -> bool {
        let Ok(url) = Url::parse(&self.0) else { return false };
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.scheme() == "http" && !is_local
    }
}

impl fmt::Display for PlatformUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Environment variables, of the process or of a file.
#[derive(Clone, Default)]
pub struct Variables(HashMap<String, String>);

impl Variables {
    /// The variables of this process that matter here, and below them those of the `.env` in a folder, which wrangler reads too.
    pub fn of(folder: &Path) -> Self {
        let mut variables = Self::default();
        let text = std::fs::read_to_string(folder.join(".env")).unwrap_or_default();
        // A file with mistakes in it says so when it is used for what it is.
        let (pairs, _) = skep_bundle::dotenv::parse(Path::new(".env"), &text);
        variables.0.extend(pairs.into_iter().filter(|(name, _)| name.starts_with("CLOUDFLARE_")));
        let own = std::env::vars().filter(|(name, _)| name.starts_with("CLOUDFLARE_"));
        variables.0.extend(own.filter(|(_, value)| !value.is_empty()));
        variables
    }

    /// These variables.
    pub fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// What flags and `SKEP_*` variables say.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The platform's URL.
    pub url: Option<String>,
    /// An API token.
    pub token: Option<Secret>,
    /// The account's id.
    pub account: Option<String>,
}

/// Who said where the platform is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag or a `SKEP_*` variable.
    Given,
    /// wrangler's variables.
    Wrangler,
    /// The file that `skep login` writes.
    Login,
}

/// A platform and the way in.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Where it is.
    pub url: PlatformUrl,
    /// The API token.
    pub token: Secret,
    /// The account's id; if nobody said it, it is the token's.
    pub account: Option<String>,
    /// Who said where it is.
    pub source: Source,
}

impl Platform {
    /// Finds the platform.
    ///
    /// # Errors
    /// [`Error::NoPlatform`], [`Error::NoToken`], or [`Error::Url`].
    pub fn find(given: &Given, variables: &Variables, login: Option<&Login>) -> Result<Self> {
        let wrangler = variables.get("CLOUDFLARE_API_BASE_URL").map(PlatformUrl::parse).transpose();
        let stated = given.url.as_deref().map(PlatformUrl::parse).transpose()?;
        let (url, source) = match (stated, login) {
            (Some(url), _) => (url, Source::Given),
            (None, login) => match (wrangler.as_ref().ok().cloned().flatten(), login) {
                (Some(url), _) => (url, Source::Wrangler),
                (None, Some(login)) => (login.url.clone(), Source::Login),
                (None, None) => return Err(wrangler.err().unwrap_or(Error::NoPlatform)),
            },
        };
        // What each source says counts only where it is about this platform.
        let wranglers = wrangler.ok().flatten().filter(|other| *other == url);
        let wranglers = |name: &str| wranglers.as_ref().and_then(|_| variables.get(name)).map(str::to_owned);
        let logins = login.filter(|login| login.url == url);
        let token = given.token.clone();
        let token = token
            .or_else(|| wranglers("CLOUDFLARE_API_TOKEN").map(Secret::new))
            .or_else(|| logins.map(|login| login.token.clone()))
            .ok_or_else(|| Error::NoToken { url: url.to_string() })?;
        let account = given.account.clone();
        let account = account
            .or_else(|| wranglers("CLOUDFLARE_ACCOUNT_ID"))
            // The login's account belongs to the login's token.
            .or_else(|| logins.filter(|login| login.token == token).map(|login| login.account_id.clone()));
        Ok(Self { url, token, account, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            url: PlatformUrl::parse("https://skep.example.com").unwrap(),
            account_id: "a1".to_owned(),
            account_name: "One".to_owned(),
            token: Secret::new("login-token"),
        }
    }

    fn find(given: &Given, variables: &Variables, login: Option<&Login>) -> String {
        match Platform::find(given, variables, login) {
            Ok(platform) => format!(
                "{} {} {} {:?}",
                platform.url,
                platform.token.reveal(),
                platform.account.unwrap_or_default(),
                platform.source
            ),
            Err(error) => error.to_string().lines().next().unwrap().to_owned(),
        }
    }

    #[test]
    fn a_url_may_be_written_in_many_ways() {
        let check = |text: &str, expect: &str| assert_eq!(PlatformUrl::parse(text).unwrap().as_str(), expect, "{text}");
        check("https://skep.example.com", "https://skep.example.com");
        check("https://skep.example.com/", "https://skep.example.com");
        check("http://localhost:8787/client/v4", "http://localhost:8787");
        check("http://localhost:8787/client/v4/", "http://localhost:8787");
        check("localhost:8787", "http://localhost:8787");
        check("127.0.0.1:8787", "http://127.0.0.1:8787");
        check("skep.example.com", "https://skep.example.com");
        check("https://example.com/skep/client/v4", "https://example.com/skep");
        for wrong in ["", "ftp://x", "https://", "https://user:word@x", "https://x?y", "a b"] {
            assert!(PlatformUrl::parse(wrong).is_err(), "{wrong}");
        }
        assert!(PlatformUrl::parse("http://example.com").unwrap().is_exposed());
        assert!(!PlatformUrl::parse("http://api.localhost:1").unwrap().is_exposed());
        assert!(!PlatformUrl::parse("https://example.com").unwrap().is_exposed());
    }

    #[test]
    fn flags_win_over_wrangler_and_wrangler_over_the_login() {
        let login = login();
        let wrangler = Variables::from_pairs([
            ("CLOUDFLARE_API_BASE_URL", "http://localhost:8787/client/v4"),
            ("CLOUDFLARE_API_TOKEN", "cf-token"),
            ("CLOUDFLARE_ACCOUNT_ID", "a2"),
        ]);
        let none = Variables::default();
        let nothing = Given::default();
        let all = Given {
            url: Some("other.example".to_owned()),
            token: Some(Secret::new("flag-token")),
            account: Some("a3".to_owned()),
        };
        assert_eq!(find(&all, &wrangler, Some(&login)), "https://other.example flag-token a3 Given");
        assert_eq!(find(&nothing, &wrangler, Some(&login)), "http://localhost:8787 cf-token a2 Wrangler");
        assert_eq!(find(&nothing, &none, Some(&login)), "https://skep.example.com login-token a1 Login");
        assert!(find(&nothing, &none, None).contains("`skep login --url"));
    }

    #[test]
    fn a_token_goes_only_where_it_was_meant_to_go() {
        let login = login();
        let elsewhere = Given { url: Some("https://evil.example".to_owned()), ..Given::default() };
        assert!(find(&elsewhere, &Variables::default(), Some(&login)).contains("no token for https://evil.example"));
        // A token for Cloudflare itself, beside a login.
        let cloudflare = Variables::from_pairs([("CLOUDFLARE_API_TOKEN", "real"), ("CLOUDFLARE_ACCOUNT_ID", "c")]);
        assert_eq!(find(&Given::default(), &cloudflare, Some(&login)), "https://skep.example.com login-token a1 Login");
        let base = Variables::from_pairs([("CLOUDFLARE_API_BASE_URL", "https://evil.example/client/v4")]);
        assert!(find(&Given::default(), &base, Some(&login)).contains("no token for https://evil.example"));
        // The same platform, named twice.
        let same = Given { url: Some("https://skep.example.com/".to_owned()), ..Given::default() };
        assert_eq!(find(&same, &base, Some(&login)), "https://skep.example.com login-token a1 Given");
        let other_token = Given { token: Some(Secret::new("t")), ..Given::default() };
        assert_eq!(find(&other_token, &Variables::default(), Some(&login)), "https://skep.example.com t  Login");
    }
}
