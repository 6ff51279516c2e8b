//! What a version says about its assets, under the names that wrangler's metadata has (`assets.config`).
//! <https://developers.cloudflare.com/workers/wrangler/configuration/#assets>

use serde::{Deserialize, Serialize};

use crate::pattern::Glob;

/// The most patterns of `run_worker_first`.
pub const MAX_PATTERNS: usize = 100;
/// The longest pattern of `run_worker_first`, in characters.
pub const MAX_PATTERN: usize = 100;

/// What is wrong with a setting. Each message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An empty list of patterns.
    #[error("\"run_worker_first\" has no pattern: write at least one, or false")]
    NoPatterns,
    /// Only patterns that begin with `!`.
    #[error("\"run_worker_first\" has exceptions only: write at least one pattern without !")]
    OnlyExceptions,
    /// More than [`MAX_PATTERNS`].
    #[error("\"run_worker_first\" has {0} patterns, and {MAX_PATTERNS} are the most: join some with *")]
    ManyPatterns(usize),
    /// A pattern that does not begin with `/` or `!/`.
    #[error("\"{0}\" in \"run_worker_first\" does not begin with /: write it as /{hint}", hint = .0.trim_start_matches(['!', '/']))]
    Pattern(String),
    /// A pattern longer than [`MAX_PATTERN`].
    #[error("\"{0}\" in \"run_worker_first\" is longer than {MAX_PATTERN} characters: shorten it, a * takes anything")]
    LongPattern(String),
    /// A `base_path` that is no path.
    #[error("\"base_path\" cannot be \"{path}\", which {reason}: write a path, as in /docs")]
    BasePath {
        /// As written.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// How `/page.html` and `/page/index.html` are served.
/// <https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// At `/page`, and at `/page/`.
    #[default]
    AutoTrailingSlash,
    /// Both at `/page/`.
    ForceTrailingSlash,
    /// Both at `/page`.
    DropTrailingSlash,
    /// Each at its own path only.
    None,
}

/// How a path without a file is answered.
/// <https://developers.cloudflare.com/workers/static-assets/routing/static-site-generation/>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotFoundHandling {
    /// With an empty 404.
    #[default]
    #[serde(rename = "none")]
    None,
    /// With the nearest `404.html` up the tree and status 404.
    #[serde(rename = "404-page")]
    Page,
    /// With `/index.html` and status 200.
    #[serde(rename = "single-page-application")]
    SinglePageApplication,
}

/// For which paths the Worker runs before a file is looked for.
/// <https://developers.cloudflare.com/workers/static-assets/binding/#run_worker_first>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenWorkerFirst", into = "WrittenWorkerFirst")]
pub enum RunWorkerFirst {
    /// For none.
    #[default]
    Never,
    /// For all.
    Always,
    /// For those that fit a pattern.
    Paths(WorkerPaths),
}

/// Patterns of paths: `*` takes anything. Those that begin with `!` are exceptions, wherever they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPaths {
    written: Vec<String>,
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

/// What patterns say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An exception: its assets answer, whatever they have.
    Assets,
    Worker,
    /// No pattern fits.
    Open,
}

impl RunWorkerFirst {
    /// Reads patterns.
    ///
    /// # Errors
    /// There is none, there are too many, or one is no pattern.
    pub fn paths(written: Vec<String>) -> Result<Self, ConfigError> {
        if written.is_empty() {
            return Err(ConfigError::NoPatterns);
        }
        if written.len() > MAX_PATTERNS {
            return Err(ConfigError::ManyPatterns(written.len()));
        }
        let (mut include, mut exclude) = (Vec::new(), Vec::new());
        for pattern in &written {
            let (list, path) = match pattern.strip_prefix('!') {
                Some(path) => (&mut exclude, path),
                None => (&mut include, pattern.as_str()),
            };
            if pattern.chars().count() > MAX_PATTERN {
                return Err(ConfigError::LongPattern(pattern.chars().take(MAX_PATTERN).collect()));
            }
            if !path.starts_with('/') {
                return Err(ConfigError::Pattern(pattern.clone()));
            }
            list.push(Glob::new(path));
        }
        if include.is_empty() {
            return Err(ConfigError::OnlyExceptions);
        }
        Ok(Self::Paths(WorkerPaths { written, include, exclude }))
    }

    /// What is said of a path, which is encoded.
    pub(crate) fn verdict(&self, path: &str) -> Verdict {
        let fits = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(path));
        match self {
            Self::Never => Verdict::Open,
            Self::Always => Verdict::Worker,
            Self::Paths(paths) if fits(&paths.exclude) => Verdict::Assets,
            Self::Paths(paths) if fits(&paths.include) => Verdict::Worker,
            Self::Paths(_) => Verdict::Open,
        }
    }
}

impl WorkerPaths {
    /// The patterns as they were written.
    pub fn written(&self) -> &[String] {
        &self.written
    }
}

/// `true`, `false` or patterns.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenWorkerFirst {
    Always(bool),
    Paths(Vec<String>),
}

impl TryFrom<WrittenWorkerFirst> for RunWorkerFirst {
    type Error = ConfigError;

    fn try_from(written: WrittenWorkerFirst) -> Result<Self, ConfigError> {
        match written {
            WrittenWorkerFirst::Always(true) => Ok(Self::Always),
            WrittenWorkerFirst::Always(false) => Ok(Self::Never),
            WrittenWorkerFirst::Paths(paths) => Self::paths(paths),
        }
    }
}

impl From<RunWorkerFirst> for WrittenWorkerFirst {
    fn from(value: RunWorkerFirst) -> Self {
        match value {
            RunWorkerFirst::Never => Self::Always(false),
            RunWorkerFirst::Always => Self::Always(true),
            RunWorkerFirst::Paths(paths) => Self::Paths(paths.written),
        }
    }
}

/// The path under which the files are served, with a slash at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BasePath(Box<str>);

impl Default for BasePath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl BasePath {
    /// Reads a path: slashes at its ends may be left out, `.` and `..` are resolved.
    ///
    /// # Errors
    /// It is empty, a URL, or has characters that a path in a configuration may not have.
    pub fn new(path: &str) -> Result<Self, ConfigError> {
        let scheme = path.split_once(':').is_some_and(|(scheme, _)| {
            let rest = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '.' | '-');
            scheme.starts_with(|char: char| char.is_ascii_alphabetic()) && scheme.chars().all(rest)
        });
        let has = |wrong: &[char]| path.contains(wrong);
        let reason = match path {
            "" => Some("is empty"),
            _ if path.starts_with("//") || scheme => Some("is a URL"),
            _ if has(&['\\']) => Some("has a backslash"),
            _ if path.contains(|char: char| char.is_ascii_control()) => Some("has a control character"),
            _ if has(&['?', '#']) => Some("has a query or a fragment"),
            _ if has(&['%']) => Some("is percent-encoded"),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(ConfigError::BasePath { path: path.escape_debug().to_string(), reason });
        }
        let mut segments = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
        }
        let joined: String = segments.iter().flat_map(|segment| [segment, "/"]).collect();
        Ok(Self(format!("/{joined}").into()))
    }

    /// The path, with a slash at both ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a file's request below this one, if it is below it. `/docs` and `/docs/` both give `/`.
    pub(crate) fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        let without_slash = &self.0[..self.0.len() - 1];
        match path.strip_prefix(without_slash)? {
            "" => Some("/"),
            below if below.starts_with('/') => Some(below),
            _ => None,
        }
    }

    /// The other way round.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", &self.0[..self.0.len() - 1])
    }
}

impl TryFrom<String> for BasePath {
    type Error = ConfigError;

    fn try_from(path: String) -> Result<Self, ConfigError> {
        Self::new(&path)
    }
}

impl From<BasePath> for String {
    fn from(path: BasePath) -> Self {
        path.0.into()
    }
}

/// The settings of a version's assets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How pages are served.
    pub html_handling: HtmlHandling,
    /// How a path without a file is answered.
    pub not_found_handling: NotFoundHandling,
    /// For which paths the Worker runs first.
    pub run_worker_first: RunWorkerFirst,
    /// Where the files are served.
    pub base_path: BasePath,
    /// The text of `_headers`, if there is one.
    #[serde(rename = "_headers", skip_serializing_if = "Option::is_none")]
    pub headers: Option<String>,
    /// The text of `_redirects`, if there is one.
    #[serde(rename = "_redirects", skip_serializing_if = "Option::is_none")]
    pub redirects: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wranglers_metadata_is_read() {
        let json = r#"{"html_handling":"drop-trailing-slash","not_found_handling":"404-page","base_path":"docs","run_worker_first":["/api/*","!/api/docs/*"],"_redirects":"/a /b","_headers":"/*\n  X: y"}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!(config.html_handling, HtmlHandling::DropTrailingSlash);
        assert_eq!(config.not_found_handling, NotFoundHandling::Page);
        assert_eq!(config.base_path.as_str(), "/docs/");
        assert_eq!(config.redirects.as_deref(), Some("/a /b"));
        let again: Config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        let first = |json: &str| serde_json::from_str::<RunWorkerFirst>(json).unwrap();
        assert_eq!((first("true"), first("false")), (RunWorkerFirst::Always, RunWorkerFirst::Never));
        for name in ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"] {
            let value: HtmlHandling = serde_json::from_value(name.into()).unwrap();
            assert_eq!(serde_json::to_value(value).unwrap(), name);
        }
        for name in ["none", "404-page", "single-page-application"] {
            let value: NotFoundHandling = serde_json::from_value(name.into()).unwrap();
            assert_eq!(serde_json::to_value(value).unwrap(), name);
        }
        assert!(serde_json::from_str::<HtmlHandling>("\"trailing\"").is_err());
    }

    #[test]
    fn exceptions_win_over_patterns() {
        let paths = |paths: &[&str]| RunWorkerFirst::paths(paths.iter().map(|path| (*path).to_owned()).collect());
        let first = paths(&["!/api/docs/*", "/api/*", "/oauth/callback"]).unwrap();
        let check = |path: &str, expect: Verdict| assert_eq!(first.verdict(path), expect, "{path}");
        check("/api/name", Verdict::Worker);
        check("/api/docs/x", Verdict::Assets);
        check("/api", Verdict::Open);
        check("/oauth/callback", Verdict::Worker);
        check("/oauth/callback/x", Verdict::Open);

        assert_eq!(paths(&[]), Err(ConfigError::NoPatterns));
        assert_eq!(paths(&["!/a"]), Err(ConfigError::OnlyExceptions));
        assert_eq!(paths(&["/a"; 101]), Err(ConfigError::ManyPatterns(101)));
        for wrong in ["api/*", "!api/*", ""] {
            assert_eq!(paths(&["/x", wrong]), Err(ConfigError::Pattern(wrong.to_owned())));
        }
        assert!(paths(&["/a".repeat(50).as_str()]).is_ok());
        assert!(matches!(paths(&["/a".repeat(51).as_str()]), Err(ConfigError::LongPattern(_))));
        let message = ConfigError::Pattern("!api/*".to_owned()).to_string();
        assert_eq!(message, "\"!api/*\" in \"run_worker_first\" does not begin with /: write it as /api/*");
    }

    #[test]
    fn base_paths() {
        let check = |path: &str, expect: &str| assert_eq!(BasePath::new(path).unwrap().as_str(), expect, "{path}");
        check("/", "/");
        check("/docs", "/docs/");
        check("docs/", "/docs/");
        check("./docs", "/docs/");
        check("/a/./b/../c//d", "/a/c/d/");
        check("..", "/");
        for wrong in ["", "//x", "https://x/y", "/a\\b", "/a?b", "/a#b", "/a%20b", "/a\nb"] {
            assert!(matches!(BasePath::new(wrong), Err(ConfigError::BasePath { .. })), "{wrong}");
        }
        let base = BasePath::new("/docs").unwrap();
        assert_eq!(base.strip("/docs"), Some("/"));
        assert_eq!(base.strip("/docs/"), Some("/"));
        assert_eq!(base.strip("/docs/a"), Some("/a"));
        assert_eq!(base.strip("/docs-other/a"), None);
        assert_eq!(base.strip("/"), None);
        assert_eq!(BasePath::default().strip("/a"), Some("/a"));
        assert_eq!(base.join("/a"), "/docs/a");
    }
}
