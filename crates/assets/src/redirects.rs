//! `_redirects`: paths that lead elsewhere.
//! <https://developers.cloudflare.com/workers/static-assets/redirects/>

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use http::{HeaderValue, StatusCode};

use crate::config::HtmlHandling;
use crate::path::collapse;
use crate::pattern::{Pattern, Template};
use crate::problem::{Problem, ProblemKind, Problems, lines, split_url, without_query};

/// The most redirects without wildcards that a file may have.
pub const MAX_STATIC: usize = 2_000;
/// The most redirects with a splat or placeholders that a file may have.
pub const MAX_DYNAMIC: usize = 100;
/// The longest line in characters.
pub const MAX_LINE: usize = 1_000;

/// The rules of a `_redirects` file. The topmost that fits a path is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectRules {
    /// Those without wildcards, by their source.
    fixed: HashMap<Box<str>, Rule>,
    /// The others, in the order of the file.
    dynamic: Vec<(Pattern, Rule)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: usize,
    status: StatusCode,
    to: Template,
}

/// What a rule does with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect<'a> {
    /// 200 shows another path in this place.
    pub(crate) status: StatusCode,
    to: Cow<'a, str>,
}

impl RedirectRules {
    /// Reads a `_redirects` file. Never fails: a line that makes no sense is left out and becomes a [`Problem`].
    pub fn parse(text: &str, html_handling: HtmlHandling) -> (Self, Vec<Problem>) {
        let mut rules = Self::default();
        let mut problems = Problems::default();
        for (line, text) in lines(text) {
            if let Err(kind) = rules.line(line, text, html_handling) {
                problems.add(line, kind);
            }
        }
        (rules, problems.0)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.fixed.len() + self.dynamic.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rule for a path, which is encoded.
    pub(crate) fn get(&self, path: &str) -> Option<Redirect<'_>> {
        let fixed = self.fixed.get(path);
        let before = |rule: &Rule| fixed.is_none_or(|fixed| rule.line < fixed.line);
        let mut captures = Vec::new();
        for (pattern, rule) in self.dynamic.iter().take_while(|(_, rule)| before(rule)) {
            if pattern.matches(path, &mut captures) {
                return Some(Redirect { status: rule.status, to: Cow::Owned(rule.to.expand(&captures)) });
            }
        }
        fixed.map(|rule| {
            let to = rule.to.as_literal().map_or_else(|| Cow::Owned(rule.to.expand(&[])), Cow::Borrowed);
            Redirect { status: rule.status, to }
        })
    }

    fn line(&mut self, line: usize, text: &str, html_handling: HtmlHandling) -> Result<(), ProblemKind> {
        if text.chars().count() > MAX_LINE {
            return Err(ProblemKind::LongLine(MAX_LINE));
        }
        let words = || text.split_whitespace().enumerate();
        let comment = words().find(|(index, word)| *index >= 2 && word.starts_with('#')).map(|(index, _)| index);
        let count = comment.unwrap_or_else(|| words().count());
        let mut words = text.split_whitespace().take(count);
        let (Some(from), Some(to), status, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(ProblemKind::Words(count));
        };
        let pattern = source(from)?;
        let (host, to_path) = split_url(to)?;
        let status = status.map_or(Some(StatusCode::FOUND), |status| {
            let status: u16 = status.parse().ok()?;
            let status = [200, 301, 302, 303, 307, 308].into_iter().find(|permitted| *permitted == status)?;
            StatusCode::from_u16(status).ok()
        });
        let status = status.ok_or(ProblemKind::Status)?;
        if host.is_none() && leads_back(from, to_path, html_handling) {
            return Err(ProblemKind::Loop);
        }
        if status == StatusCode::OK && host.is_some() {
            return Err(ProblemKind::AbsoluteProxy);
        }
        let rule = Rule { line, status, to: Template::parse(&ascii(to), pattern.names()) };
        if let Some(literal) = pattern.as_literal() {
            let is_full = self.fixed.len() >= MAX_STATIC;
            return match self.fixed.entry(literal.into()) {
                Entry::Occupied(_) => Err(ProblemKind::Duplicate),
                Entry::Vacant(_) if is_full => Err(ProblemKind::StaticRedirects),
                Entry::Vacant(vacant) => {
                    vacant.insert(rule);
                    Ok(())
                }
            };
        }
        if self.dynamic.iter().any(|(other, _)| *other == pattern) {
            return Err(ProblemKind::Duplicate);
        }
        if self.dynamic.len() >= MAX_DYNAMIC {
            return Err(ProblemKind::DynamicRedirects);
        }
        self.dynamic.push((pattern, rule));
        Ok(())
    }
}

impl Redirect<'_> {
    /// The path that is shown in place of this one.
    pub(crate) fn path(&self) -> &str {
        without_query(&self.to)
    }

    /// The `Location`. A destination without a query gets the request's.
    pub(crate) fn location(&self, query: Option<&str>) -> Option<HeaderValue> {
        let path = without_query(&self.to);
        let rest = &self.to[path.len()..];
        let fragment = rest.find('#').unwrap_or(rest.len());
        // what a wildcard took may make two slashes of one, and those would lead to another site
        let mut location = if path.starts_with('/') { collapse(path) } else { path.to_owned() };
        let own = &rest[..fragment];
        if own.len() > 1 {
            location.push_str(own);
        } else if let Some(query) = query.filter(|query| !query.is_empty()) {
            location.push('?');
            // A client may send what is not ASCII; a URL has none. RFC 9110, section 10.2.2.
            location.push_str(&ascii(query));
        }
        location.push_str(&rest[fragment..]);
        HeaderValue::from_bytes(location.as_bytes()).ok()
    }
}

/// The source of a redirect.
fn source(text: &str) -> Result<Pattern, ProblemKind> {
    if text.starts_with("https://") {
        return Err(ProblemKind::AbsoluteSource);
    }
    let path = without_query(text);
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    Ok(Pattern::path(&path)?)
}

/// Whether a rule would send `/` to `/index.html`, which HTML handling sends back.
fn leads_back(from: &str, to: &str, html_handling: HtmlHandling) -> bool {
    let to_index = to.ends_with("/index") || to.ends_with("/index.html");
    let is_root = from.ends_with('/') && html_handling != HtmlHandling::None;
    to_index && (from.ends_with("/*") || is_root)
}

/// Percent-encodes what is not ASCII, control characters, and backslashes: browsers take `/\host` for `//host`, another site.
pub(crate) fn ascii(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'\\' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
