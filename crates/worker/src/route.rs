//! Route patterns: which addresses a Worker answers, and which pattern wins.
//! <https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>

mod table;

use std::fmt;

pub use table::RouteTable;

/// A pattern of addresses: `[scheme://]host[/path]`, where the host may begin with `*` and the path may end with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePattern {
    secure: Option<bool>,
    host: String,
    host_kind: HostKind,
    path: String,
    /// The path is only how the path begins.
    open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostKind {
    /// `example.com`
    Exact,
    /// `*.example.com`: names below it.
    Below,
    /// `*example.com`: it and names below it. The patterns of a zone never reach beyond it, so `notexample.com` is not meant.
    AtOrBelow,
}

/// Why a text is no route pattern. Each message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No host.
    #[error("the route pattern \"{0}\" has no host: write it as example.com/* or *.example.com/api/*")]
    NoHost(String),
    /// Something that is not a host name.
    #[error(
        "\"{host}\" in the route pattern \"{pattern}\" is no host name: letters, digits, hyphens and dots, with at most one * at its beginning"
    )]
    BadHost {
        /// The pattern.
        pattern: String,
        /// What stands in the place of the host.
        host: String,
    },
    /// A wildcard inside of the path.
    #[error("the route pattern \"{0}\" has a * inside of its path: only the end of the path may be a wildcard")]
    InnerWildcard(String),
    /// A query.
    #[error("the route pattern \"{0}\" has a query or a fragment: patterns match the host and the path only")]
    Query(String),
    /// Neither http nor https.
    #[error("the route pattern \"{0}\" has another scheme than http or https: leave the scheme out to match both")]
    Scheme(String),
}

impl RoutePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some(_) => return Err(PatternError::Scheme(text.to_owned())),
            None => (None, text),
        };
        if rest.contains(['?', '#']) {
            return Err(PatternError::Query(text.to_owned()));
        }
        let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host_kind, name) = if let Some(name) = host.strip_prefix("*.") {
            (HostKind::Below, name)
        } else if let Some(name) = host.strip_prefix('*') {
            (HostKind::AtOrBelow, name)
        } else {
            (HostKind::Exact, host)
        };
        if host.is_empty() || (name.is_empty() && host_kind != HostKind::AtOrBelow) {
            return Err(PatternError::NoHost(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        if !is_host_name(&name) {
            return Err(PatternError::BadHost { pattern: text.to_owned(), host: host.to_owned() });
        }
        let (path, open) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
        if path.contains('*') {
            return Err(PatternError::InnerWildcard(text.to_owned()));
        }
        // `example.com` alone is its front page.
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { secure, host: name, host_kind, path: path.to_owned(), open })
    }

    /// The host name without its wildcard: the zone of the pattern is it or above it.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.secure {
            Some(true) => "https://",
            Some(false) => "http://",
            None => "",
        };
        let wildcard = match self.host_kind {
            HostKind::Exact => "",
            HostKind::Below => "*.",
            HostKind::AtOrBelow => "*",
        };
        let end = if self.open { "*" } else { "" };
        write!(formatter, "{scheme}{wildcard}{}{}{end}", self.host, self.path)
    }
}

/// RFC 1123, section 2.1; an underscore is common enough.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::{PatternError, RoutePattern, RouteTable};

    fn find(patterns: &[&'static str], url: &str) -> Option<&'static str> {
        let table = RouteTable::new(patterns.iter().map(|text| (RoutePattern::parse(text).expect("a pattern"), *text)));
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        table.find(scheme == "https", host, path).copied()
    }

    #[test]
    fn a_pattern_matches_what_the_documentation_says() {
        // <https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>
        let cases = [
            ("*.example.com/*", "https://www.example.com/page", true),
            ("*.example.com/*", "https://example.com/page", false),
            ("*example.com/*", "https://example.com/page", true),
            ("*example.com/*", "https://www.example.com/page", true),
            ("*example.com/*", "https://notexample.com/page", false),
            ("example.com/*", "http://example.com/", true),
            ("example.com/*", "https://www.example.com/", false),
            ("https://example.com/*", "http://example.com/", false),
            ("https://example.com/*", "https://example.com/", true),
            ("example.com/path*", "https://example.com/path2", true),
            ("example.com/path*", "https://example.com/pat", false),
            ("example.com/path/*", "https://example.com/path", false),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://example.com/page", false),
            ("EXAMPLE.com/*", "https://example.com/", true),
            ("example.com/Case", "https://example.com/case", false),
        ];
        for (pattern, url, expected) in cases {
            assert_eq!(find(&[pattern], url).is_some(), expected, "{pattern} and {url}");
        }
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let patterns = [
            "*.example.com/*",
            "*.a.example.com/*",
            "b.a.example.com/*",
            "b.a.example.com/api/*",
            "b.a.example.com/api/exact",
        ];
        let cases = [
            ("https://x.example.com/", "*.example.com/*"),
            ("https://x.a.example.com/", "*.a.example.com/*"),
            ("https://b.a.example.com/", "b.a.example.com/*"),
            ("https://b.a.example.com/api/1", "b.a.example.com/api/*"),
            ("https://b.a.example.com/api/exact", "b.a.example.com/api/exact"),
        ];
        for (url, expected) in cases {
            assert_eq!(find(&patterns, url), Some(expected), "{url}");
        }
        assert_eq!(find(&["*a.com/*", "*.a.com/*"], "https://x.a.com/"), Some("*.a.com/*"));
        assert_eq!(find(&["a.com/*", "https://a.com/*"], "https://a.com/"), Some("https://a.com/*"));
        // An exact host whose paths do not match leaves the request to a wildcard.
        assert_eq!(find(&["b.a.com/only", "*.a.com/*"], "https://b.a.com/x"), Some("*.a.com/*"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let wrong = |text: &str| RoutePattern::parse(text).expect_err(text);
        assert!(matches!(wrong(""), PatternError::NoHost(_)));
        assert!(matches!(wrong("/path"), PatternError::NoHost(_)));
        assert!(matches!(wrong("ftp://example.com/*"), PatternError::Scheme(_)));
        assert!(matches!(wrong("a.*.com/*"), PatternError::BadHost { .. }));
        assert!(matches!(wrong("exa mple.com/*"), PatternError::BadHost { .. }));
        assert!(matches!(wrong("example.com/*/x"), PatternError::InnerWildcard(_)));
        assert!(matches!(wrong("example.com/a?b=c"), PatternError::Query(_)));
    }

    #[test]
    fn a_pattern_prints_as_it_reads() {
        for text in ["example.com/*", "*.example.com/api/*", "*example.com/*", "https://example.com/x"] {
            assert_eq!(RoutePattern::parse(text).expect("a pattern").to_string(), text);
        }
    }
}
