//! `_headers`: headers that responses get by their path.
//! <https://developers.cloudflare.com/workers/static-assets/headers/#custom-headers>

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::pattern::{Pattern, Template};
use crate::problem::{Problem, ProblemKind, Problems, lines, split_url, without_query};

/// The most rules a file may have.
pub const MAX_RULES: usize = 100;
/// The longest line in characters.
pub const MAX_LINE: usize = 2_000;

/// Headers that say how a message is framed or what the connection does: one from a rule would break the response.
const SERVERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The rules of a `_headers` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules(Box<[Rule]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    host: Option<Pattern>,
    path: Pattern,
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Fixed(HeaderValue),
    Template(Template),
}

/// The headers of the rules that fit a request, with what their wildcards took.
#[derive(Debug, Default)]
pub(crate) struct Matched<'r, 't>(Vec<(&'r Rule, Vec<&'t str>)>);

impl HeaderRules {
    /// Reads a `_headers` file. Never fails: a line that makes no sense is left out and becomes a [`Problem`].
    pub fn parse(text: &str) -> (Self, Vec<Problem>) {
        let mut reader = Reader::default();
        for (line, text) in lines(text) {
            if let Err(kind) = reader.line(line, text) {
                let is_last = kind == ProblemKind::HeaderRules;
                reader.problems.add(line, kind);
                if is_last {
                    break;
                }
            }
        }
        reader.end_of_rule();
        (Self(reader.rules.into_boxed_slice()), reader.problems.0)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What fits a request. The path is encoded; the host has no port.
    pub(crate) fn matching<'r, 't>(&'r self, host: &'t str, path: &'t str) -> Matched<'r, 't> {
        let fits = |rule: &'r Rule| {
            let mut captures = Vec::new();
            let fits_host = rule.host.as_ref().is_none_or(|pattern| pattern.matches(host, &mut captures));
            (fits_host && rule.path.matches(path, &mut captures)).then_some((rule, captures))
        };
        Matched(self.0.iter().filter_map(fits).collect())
    }
}

impl Matched<'_, '_> {
    /// Whether a rule says how the content is coded: then it is the uploaded file that is so coded.
    pub(crate) fn sets_encoding(&self) -> bool {
        self.0.iter().flat_map(|(rule, _)| &rule.set).any(|(name, _)| *name == header::CONTENT_ENCODING)
    }

    /// Applies the rules in their order. The first that sets a header replaces what was there, later ones add to it.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let mut were_set: Vec<&HeaderName> = Vec::new();
        for (rule, captures) in &self.0 {
            for name in &rule.remove {
                headers.remove(name);
            }
            for (name, value) in &rule.set {
                let value = match value {
                    Value::Fixed(value) => value.clone(),
                    Value::Template(template) => match HeaderValue::from_str(&template.expand(captures)) {
                        Ok(value) => value,
                        // what a path holds is printable ASCII
                        Err(_) => continue,
                    },
                };
                if were_set.contains(&name) {
                    add(headers, name, value);
                } else {
                    were_set.push(name);
                    headers.insert(name, value);
                }
            }
        }
    }
}

/// Adds a value to those of a header, with a comma between; `Set-Cookie` alone is a header that may be there twice.
fn add(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    let joined = match headers.get(name) {
        Some(before) if *name != header::SET_COOKIE => {
            HeaderValue::from_bytes(&[before.as_bytes(), b", ", value.as_bytes()].concat())
        }
        _ => {
            headers.append(name, value);
            return;
        }
    };
    if let Ok(joined) = joined {
        headers.insert(name, joined);
    }
}

#[derive(Debug, Default)]
struct Reader {
    rules: Vec<Rule>,
    problems: Problems,
    current: Current,
}

/// What the lines that come belong to.
#[derive(Debug, Default)]
enum Current {
    /// No path came yet.
    #[default]
    Nothing,
    /// A path that is wrong: its headers are left out with it.
    Wrong,
    /// The rule whose path is in that line.
    Rule(Box<Rule>, usize),
}

impl Reader {
    fn line(&mut self, line: usize, text: &str) -> Result<(), ProblemKind> {
        let is_long = text.chars().count() > MAX_LINE;
        if is_long && !is_url(text) {
            return Err(ProblemKind::LongLine(MAX_LINE));
        }
        if is_url(text) {
            self.end_of_rule();
            if self.rules.len() >= MAX_RULES {
                return Err(ProblemKind::HeaderRules);
            }
            self.current = Current::Wrong;
            if is_long {
                return Err(ProblemKind::LongLine(MAX_LINE));
            }
            self.current = Current::Rule(Box::new(rule(text)?), line);
            return Ok(());
        }
        let rule = match &mut self.current {
            Current::Rule(rule, _) => rule,
            Current::Wrong => return Ok(()),
            Current::Nothing => return Err(ProblemKind::NoPath),
        };
        let header_name = |name: &str| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| ProblemKind::HeaderName)?;
            if SERVERS.contains(&name) { Err(ProblemKind::ServersHeader) } else { Ok(name) }
        };
        let Some((name, value)) = text.split_once(':') else {
            let name = text.strip_prefix("! ").ok_or(ProblemKind::NotAHeader)?;
            rule.remove.push(header_name(name)?);
            return Ok(());
        };
        let name = header_name(name)?;
        let value = value.trim();
        // checks the characters of a template too
        let fixed = HeaderValue::from_str(value).or_else(|_| HeaderValue::from_bytes(value.as_bytes()));
        let fixed = fixed.ok().filter(|_| !value.is_empty()).ok_or(ProblemKind::HeaderValue)?;
        let names = rule.host.iter().flat_map(Pattern::names).chain(rule.path.names());
        let template = Template::parse(value, names);
        let value = if template.as_literal().is_some() { Value::Fixed(fixed) } else { Value::Template(template) };
        rule.set.push((name, value));
        Ok(())
    }

    fn end_of_rule(&mut self) {
        if let Current::Rule(rule, line) = std::mem::take(&mut self.current) {
            if rule.set.is_empty() && rule.remove.is_empty() {
                self.problems.add(line, ProblemKind::NoHeaders);
            } else {
                self.rules.push(*rule);
            }
        }
    }
}

/// Whether a line is meant to be a rule's URL.
fn is_url(text: &str) -> bool {
    text.starts_with('/')
        || text.find("://").is_some_and(|place| place > 0 && !text[..place].contains(char::is_whitespace))
}

/// An empty rule for a URL.
fn rule(text: &str) -> Result<Rule, ProblemKind> {
    let (host, path) = split_url(text)?;
    let port = host.and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    if port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(ProblemKind::Port);
    }
    let host = host.map(Pattern::host).transpose()?;
    let path = Pattern::path(without_query(path))?;
    let twice = host.iter().flat_map(Pattern::names).any(|name| path.names().any(|other| other == name));
    if twice {
        return Err(if text.matches('*').count() > 1 { ProblemKind::Splats } else { ProblemKind::Names });
    }
    Ok(Rule { host, path, remove: Vec::new(), set: Vec::new() })
}
