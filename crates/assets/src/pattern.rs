//! Patterns of rules: literal text, `:placeholders` and one `*`, and templates that take up what they matched.
//! <https://developers.cloudflare.com/workers/static-assets/redirects/#advanced-redirects>
//!
//! A placeholder takes as much as it can but no separator, a splat takes anything; the leftmost is served first. Matching walks
//! from the right and takes each literal at its last possible place, which gives the same in linear time: rules are the
//! tenant's text, and a backtracking matcher would let it keep a thread busy.

use std::ops::Range;

use crate::path::canonical_piece;

/// The name that a splat has in templates.
const SPLAT: &str = "splat";

/// A part of a pattern that is not literal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wildcard {
    /// Its name; `splat` for a splat.
    name: Box<str>,
    is_splat: bool,
    /// The literal text behind it.
    literal: Box<str>,
}

/// A pattern of a path or of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The literal text before the first wildcard.
    head: Box<str>,
    wildcards: Box<[Wildcard]>,
    /// The character that no placeholder takes.
    separator: char,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// More than one `*`.
    Splats,
    /// Two placeholders of one name.
    Names,
}

impl Pattern {
    /// A pattern of a path.
    pub(crate) fn path(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, '/', canonical_piece)
    }

    /// A pattern of a host.
    pub(crate) fn host(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, '.', str::to_ascii_lowercase)
    }

    fn parse(text: &str, separator: char, canonical: impl Fn(&str) -> String) -> Result<Self, PatternError> {
        let mut wildcards: Vec<Wildcard> = Vec::new();
        let mut head = "".into();
        let mut place = 0;
        loop {
            let next = next_wildcard(text, place);
            let literal = canonical(&text[place..next.as_ref().map_or(text.len(), |next| next.start)]).into_boxed_str();
            match wildcards.last_mut() {
                Some(before) => before.literal = literal,
                None => head = literal,
            }
            let Some(next) = next else { break };
            let name = text[next.clone()].strip_prefix(':');
            let wildcard =
                Wildcard { name: name.unwrap_or(SPLAT).into(), is_splat: name.is_none(), literal: "".into() };
            if wildcard.is_splat && wildcards.iter().any(|other| other.is_splat) {
                return Err(PatternError::Splats);
            }
            if wildcards.iter().any(|other| other.name == wildcard.name) {
                return Err(PatternError::Names);
            }
            wildcards.push(wildcard);
            place = next.end;
        }
        Ok(Self { head, wildcards: wildcards.into_boxed_slice(), separator })
    }

    /// The text, if the pattern is literal.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        self.wildcards.is_empty().then_some(&*self.head)
    }

    /// The names of the wildcards, in the order of what [`Pattern::matches`] finds.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.wildcards.iter().map(|wildcard| &*wildcard.name)
    }

    /// Whether a text fits. What its wildcards took is added to `captures`.
    pub(crate) fn matches<'t>(&self, text: &'t str, captures: &mut Vec<&'t str>) -> bool {
        if let Some(literal) = self.as_literal() {
            return text == literal;
        }
        let before = captures.len();
        captures.resize(before + self.wildcards.len(), "");
        let is_match = self.fill(text, &mut captures[before..]).is_some();
        if !is_match {
            captures.truncate(before);
        }
        is_match
    }

    fn fill<'t>(&self, text: &'t str, captures: &mut [&'t str]) -> Option<()> {
        let last = &self.wildcards.last()?.literal;
        let low = self.head.len();
        if !text.starts_with(&*self.head) || !text.ends_with(&**last) {
            return None;
        }
        let mut high = text.len().checked_sub(last.len()).filter(|high| *high >= low)?;
        let Some(splat) = self.wildcards.iter().position(|wildcard| wildcard.is_splat) else {
            return self.placeholders(text, high, 0..self.wildcards.len(), captures).map(drop);
        };
        // what is right of the splat stands as far right as it can
        for place in (splat + 1..self.wildcards.len()).rev() {
            high = self.placeholder(text, high, place, captures)?;
        }
        if splat == 0 {
            captures[0] = &text[low..high];
            return Some(());
        }
        // what is left of it has no more separators than its literals have, so the next one is beyond it
        let separators = self.literals(splat).map(|literal| literal.matches(self.separator).count()).sum();
        let bound = text[..high].match_indices(self.separator).nth(separators).map_or(high, |(place, _)| place);
        let literal = self.literal_before(splat);
        let start = low + text.get(low..bound)?.rfind(literal)?;
        captures[splat] = &text[start + literal.len()..high];
        self.placeholders(text, start, 0..splat, captures).map(drop)
    }

    /// The literals before a wildcard.
    fn literals(&self, wildcard: usize) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.head).chain(self.wildcards[..wildcard].iter().map(|wildcard| &*wildcard.literal))
    }

    fn literal_before(&self, wildcard: usize) -> &str {
        wildcard.checked_sub(1).map_or(&self.head, |before| &self.wildcards[before].literal)
    }

    /// Fills placeholders from the right; the first of all reaches back to the pattern's head.
    fn placeholders<'t>(
        &self,
        text: &'t str,
        mut high: usize,
        places: Range<usize>,
        captures: &mut [&'t str],
    ) -> Option<usize> {
        for place in places.rev() {
            high = self.placeholder(text, high, place, captures)?;
        }
        Some(high)
    }

    /// Fills a placeholder that ends at `high`: gives where the literal before it begins.
    fn placeholder<'t>(&self, text: &'t str, high: usize, place: usize, captures: &mut [&'t str]) -> Option<usize> {
        let low = self.head.len();
        let (start, end) = if place == 0 {
            (0, low)
        } else {
            let literal = self.literal_before(place);
            // at least one character is the placeholder's
            let last = text.get(low..high)?.char_indices().next_back()?.0;
            let start = low + text[low..low + last].rfind(literal)?;
            (start, start + literal.len())
        };
        let value = text.get(end..high).filter(|value| !value.is_empty() && !value.contains(self.separator))?;
        captures[place] = value;
        Some(start)
    }
}

/// Where the next `*` or `:name` is.
fn next_wildcard(text: &str, from: usize) -> Option<Range<usize>> {
    text[from..].char_indices().find_map(|(place, char)| {
        let start = from + place;
        match char {
            '*' => Some(start..start + 1),
            ':' => name_at(text, start + 1).map(|end| start..end),
            _ => None,
        }
    })
}

/// Where the name ends that begins here: a letter, then letters, digits and underscores.
fn name_at(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start..];
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    rest.starts_with(|char: char| char.is_ascii_alphabetic())
        .then(|| start + rest.find(|char| !is_word(char)).unwrap_or(rest.len()))
}

/// A text with places for what a pattern took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Box<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// The capture of that place.
    Capture(usize),
}

impl Template {
    /// Reads a template. A name that the pattern does not have stays as it is.
    pub(crate) fn parse<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut place = 0;
        while let Some(start) = text[place..].find(':').map(|found| place + found) {
            literal.push_str(&text[place..start]);
            let end = name_at(text, start + 1).unwrap_or(start + 1);
            match names.clone().position(|name| name == &text[start + 1..end]) {
                Some(capture) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                    }
                    pieces.push(Piece::Capture(capture));
                }
                None => literal.push_str(&text[start..end]),
            }
            place = end;
        }
        literal.push_str(&text[place..]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Self(pieces.into_boxed_slice())
    }

    /// The text, if nothing is to be filled in.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with everything filled in.
    pub(crate) fn expand(&self, captures: &[&str]) -> String {
        let piece = |piece: &'_ Piece| match piece {
            Piece::Literal(text) => text.to_string(),
            Piece::Capture(place) => captures.get(*place).copied().unwrap_or_default().to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// A pattern of `run_worker_first`: `*` takes anything, any number of times; everything else is literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Box<[Box<str>]>);

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.split('*').map(|piece| canonical_piece(piece).into_boxed_str()).collect())
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &*self.0 else { return false };
        let Some(mut text) = text.strip_prefix(&**first) else { return false };
        let Some((last, middle)) = rest.split_last() else { return text.is_empty() };
        for piece in middle {
            match text.find(&**piece) {
                Some(place) => text = &text[place + piece.len()..],
                None => return false,
            }
        }
        text.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, Pattern, PatternError, Template};

    #[test]
    fn wildcards_take_what_they_can() {
        let check = |pattern: &str, text: &str, expect: Option<&[&str]>| {
            let mut captures = Vec::new();
            let is_match = Pattern::path(pattern).unwrap().matches(text, &mut captures);
            assert_eq!(is_match.then_some(&captures[..]), expect, "{pattern} {text}");
        };
        check("/a", "/a", Some(&[]));
        check("/a", "/ab", None);
        check("/*", "/", Some(&[""]));
        check("/*", "/a/b", Some(&["a/b"]));
        check("/a/*/z", "/a/b/z/c/z", Some(&["b/z/c"]));
        check("/a*a", "/a", None);
        check("/a*a", "/aa", Some(&[""]));
        check("*.jpg", "/x/y.jpg", Some(&["/x/y"]));
        check("/movies/:title", "/movies/alien", Some(&["alien"]));
        check("/movies/:title", "/movies/", None);
        check("/movies/:title", "/movies/alien/cast", None);
        check("/:year/:month", "/2026/11", Some(&["2026", "11"]));
        check("/:a/x/:b", "/1/x/2", Some(&["1", "2"]));
        check("/:a/x/:b", "/x/x/x", Some(&["x", "x"]));
        check("/:a-:b", "/x-y-z", Some(&["x-y", "z"]));
        check("/:a-:b-:c", "/1-2-3-4-5", Some(&["1-2-3", "4", "5"]));
        check("/:a-:b-:c", "/1-2", None);
        check("/:a:b", "/xyz", Some(&["xy", "z"]));
        check("/:a/*", "/x/y/z", Some(&["x", "y/z"]));
        check("/:a-*", "/x-y-z/w-v", Some(&["x-y", "z/w-v"]));
        check("/:a-:b-*", "/1-2-3-4/5-6", Some(&["1-2", "3", "4/5-6"]));
        check("/*/:b", "/x/y/z", Some(&["x/y", "z"]));
        check("/*:b", "/x/yz", Some(&["x/y", "z"]));
        check("/*-:a.:b", "/x-1.2-3.4", Some(&["x-1.2", "3", "4"]));
        check("/:a/*/:b", "/1/2", None);
        check("/:a/*/:b", "/1//2", Some(&["1", "", "2"]));
        check("/a:1", "/a%3A1", Some(&[]));
        check("/föö/:x", "/f%C3%B6%C3%B6/y", Some(&["y"]));
        check("/@a/*", "/%40a/y", Some(&["y"]));
    }

    #[test]
    fn a_hosts_placeholder_is_one_label() {
        let pattern = Pattern::host(":version.:name.Workers.dev").unwrap();
        let mut captures = Vec::new();
        assert!(pattern.matches("v1.site.workers.dev", &mut captures));
        assert_eq!(captures, ["v1", "site"]);
        assert!(!pattern.matches("a.v1.site.workers.dev", &mut captures));
        assert_eq!(captures.len(), 2);
    }

    #[test]
    fn what_is_no_pattern() {
        assert_eq!(Pattern::path("/*/*"), Err(PatternError::Splats));
        assert_eq!(Pattern::path("/:a/:a"), Err(PatternError::Names));
        assert_eq!(Pattern::path("/:splat/*"), Err(PatternError::Names));
    }

    #[test]
    fn templates_name_whole_placeholders() {
        let check = |text: &str, expect: &str| {
            let template = Template::parse(text, ["id", "id_2", "splat"].into_iter());
            assert_eq!(template.expand(&["1", "2", "x/y"]), expect, "{text}");
        };
        check("/p/:id/:id_2", "/p/1/2");
        check("/:splat", "/x/y");
        check("/:other/:id_3", "/:other/:id_3");
        check("https://host:8080/:id", "https://host:8080/1");
        check("/a:", "/a:");
        check("", "");
        assert_eq!(Template::parse("/a:b", std::iter::empty()).as_literal(), Some("/a:b"));
    }

    #[test]
    fn globs() {
        let check = |glob: &str, text: &str, expect: bool| {
            assert_eq!(Glob::new(glob).matches(text), expect, "{glob} {text}");
        };
        check("/api/*", "/api/x/y", true);
        check("/api/*", "/api/", true);
        check("/api/*", "/api", false);
        check("/api", "/api", true);
        check("/api", "/api/x", false);
        check("/*", "/", true);
        check("/*/a/*", "/x/a/y", true);
        check("/*/a/*", "/a/y", false);
        check("/*.json", "/x.json.json", true);
        check("/a*b*b", "/ab", false);
        check("/:x", "/y", false);
        check("/@admin/*", "/%40admin/x", true);
    }

    /// A tenant's rule against a client's path: neither may make the other's cost explode.
    #[test]
    fn hostile_patterns_are_quick() {
        let pattern: String = (0..120).map(|number| format!(":n{number}-")).collect();
        let pattern = Pattern::path(&format!("/{pattern}b")).unwrap();
        let text = format!("/{}/{}b", "-".repeat(8_000), "-".repeat(200));
        let matching = format!("/{}b", "-".repeat(16_000));
        let mut captures = Vec::new();
        let started = std::time::Instant::now();
        for _ in 0..100 {
            assert!(!pattern.matches(&text, &mut captures));
            assert!(pattern.matches(&matching, &mut captures));
            captures.clear();
        }
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}
