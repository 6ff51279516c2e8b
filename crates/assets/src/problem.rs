//! What is wrong with a line of `_headers` or `_redirects`: the line is left out, the rest of the file works.

use std::fmt;

use crate::pattern::PatternError;
use crate::{headers, redirects};

/// How many problems of one file are kept.
const MOST: usize = 100;

/// A line that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.kind)
    }
}

/// What is wrong with a line. Each message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// Longer than a line may be.
    #[error("the line is longer than {0} characters: shorten it")]
    LongLine(usize),
    /// Too few or too many words for a redirect.
    #[error("a redirect has 2 or 3 words, this line has {0}: write it as /from /to 301")]
    Words(usize),
    /// The source of a redirect is on another host.
    #[error("a redirect applies to this site only: write its source without https:// and host")]
    AbsoluteSource,
    /// Neither a path nor an https URL.
    #[error("neither a path nor an https URL: begin it with / or with https://")]
    NotAUrl,
    /// An absolute URL with a port.
    #[error("a rule cannot name a port: leave it out, the rule applies to all")]
    Port,
    /// More than one `*`.
    #[error("there is more than one *: write only one")]
    Splats,
    /// Two placeholders of one name.
    #[error("two placeholders have the same name: give one of them another name")]
    Names,
    /// No status code that a redirect may have.
    #[error("the status must be 200, 301, 302, 303, 307 or 308: write one of them, or none for 302")]
    Status,
    /// A proxied path on another host.
    #[error("a rule with status 200 shows another path of this site: write its destination without https:// and host")]
    AbsoluteProxy,
    /// Leads back to itself by what `html_handling` does.
    #[error(
        "this rule would lead back to itself, as /index.html is redirected to /: remove it; not_found_handling may do what it is for"
    )]
    Loop,
    /// A source that an earlier line has.
    #[error("an earlier line has the same source: remove one of them")]
    Duplicate,
    /// More than [`redirects::MAX_STATIC`].
    #[error("there are more than {} redirects without * and placeholders: remove some", redirects::MAX_STATIC)]
    StaticRedirects,
    /// More than [`redirects::MAX_DYNAMIC`].
    #[error("there are more than {} redirects with * or placeholders: remove some", redirects::MAX_DYNAMIC)]
    DynamicRedirects,
    /// More than [`headers::MAX_RULES`].
    #[error("there are more than {} rules: remove some; this one and all below have no effect", headers::MAX_RULES)]
    HeaderRules,
    /// A header above the first path.
    #[error("a header without a path: write the path it is for above it, beginning with /")]
    NoPath,
    /// A path without headers.
    #[error("a path without headers: write headers below it, or remove it")]
    NoHeaders,
    /// A line that is neither path nor header.
    #[error("neither a path nor a header: write a header as name: value")]
    NotAHeader,
    /// A name that no header may have.
    #[error("no header can be called so: use letters, digits and -")]
    HeaderName,
    /// A value that no header may have.
    #[error("no header can have this value: write one, without control characters")]
    HeaderValue,
    /// A header that belongs to the connection.
    #[error("this header is the server's own: remove it")]
    ServersHeader,
    /// There are more problems than are kept.
    #[error("there are more problems below: mend these first")]
    More,
}

impl From<PatternError> for ProblemKind {
    fn from(error: PatternError) -> Self {
        match error {
            PatternError::Splats => Self::Splats,
            PatternError::Names => Self::Names,
        }
    }
}

/// Collects problems, not more than [`MOST`].
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, line: usize, kind: ProblemKind) {
        match self.0.len() {
            len if len < MOST => self.0.push(Problem { line, kind }),
            len if len == MOST => self.0.push(Problem { line, kind: ProblemKind::More }),
            _ => {}
        }
    }
}

/// The lines of a file that say something, with their numbers.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Splits `https://host/path` into both.
///
/// # Errors
/// It is neither that nor a path.
pub(crate) fn split_url(text: &str) -> Result<(Option<&str>, &str), ProblemKind> {
    let Some(rest) = text.strip_prefix("https://") else {
        return if text.starts_with('/') { Ok((None, text)) } else { Err(ProblemKind::NotAUrl) };
    };
    let rest = rest.trim_start_matches('/');
    let (host, path) = rest.find('/').map_or((rest, "/"), |place| rest.split_at(place));
    if host.is_empty() {
        return Err(ProblemKind::NotAUrl);
    }
    Ok((Some(host), path))
}

/// A path without its query and fragment.
pub(crate) fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}
