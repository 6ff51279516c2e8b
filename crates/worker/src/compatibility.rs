//! Compatibility dates and flags: which behaviour of the platform a Worker was written for.
//!
//! The table of flags is `compatibility/flags.tsv`: the name that enables, the name that disables, the date from which it
//! is on by default, what else implies it (`flag@date`), how far Skep honours it, and a note. Names and dates are
//! Cloudflare's: <https://developers.cloudflare.com/workers/configuration/compatibility-flags/>.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A calendar day, written `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompatibilityDate {
    year: u16,
    month: u8,
    day: u8,
}

impl CompatibilityDate {
    /// The first date there is, and what a Worker without a date gets.
    pub const FIRST: Self = Self { year: 2021, month: 11, day: 2 };
}

impl fmt::Display for CompatibilityDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for CompatibilityDate {
    type Err = CompatibilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = || -> Option<Self> {
            let (year, rest) = text.split_once('-')?;
            let (month, day) = rest.split_once('-')?;
            if (year.len(), month.len(), day.len()) != (4, 2, 2)
                || !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
            {
                return None;
            }
            let date = Self { year: year.parse().ok()?, month: month.parse().ok()?, day: day.parse().ok()? };
            (1..=days_in_month(date.year, date.month)?).contains(&date.day).then_some(date)
        };
        date().ok_or_else(|| CompatibilityError::BadDate(text.to_owned()))
    }
}

fn days_in_month(year: u16, month: u8) -> Option<u8> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// What is wrong with a compatibility date or flag. Each message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompatibilityError {
    /// Not a day of the calendar.
    #[error("\"{0}\" is not a compatibility date: write it as YYYY-MM-DD, for example 2026-10-06")]
    BadDate(String),
    /// No flag of that name.
    #[error("there is no compatibility flag \"{flag}\"{}", nearest.as_ref().map_or(": remove it".to_owned(), |nearest| format!(": did you mean \"{nearest}\"?")))]
    UnknownFlag {
        /// As written.
        flag: String,
        /// The flag whose name is closest.
        nearest: Option<String>,
    },
    /// Turned on and off at once.
    #[error("the compatibility flags \"{0}\" and \"{1}\" contradict each other: keep one of them")]
    Contradiction(String, String),
}

/// How far Skep honours a compatibility flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// On and off behave as Cloudflare documents.
    Works,
    /// The behaviour is always the one with the flag on.
    AlwaysOn,
    /// The behaviour is always the one with the flag off.
    Missing,
    /// It concerns a part of Cloudflare's platform that Skep does not have (its network, Python, products not built yet).
    NotApplicable,
}

impl Support {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "works" => Some(Self::Works),
            "always" => Some(Self::AlwaysOn),
            "missing" => Some(Self::Missing),
            "n/a" => Some(Self::NotApplicable),
            _ => None,
        }
    }

    /// The word that `docs/COMPATIBILITY.md` uses.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::AlwaysOn => "differs: always on",
            Self::Missing => "missing: always off",
            Self::NotApplicable => "does not apply",
        }
    }
}

/// One compatibility flag.
#[derive(Debug)]
pub struct Flag {
    /// The name that turns it on.
    pub enable: &'static str,
    /// The name that turns it off, if there is one.
    pub disable: Option<&'static str>,
    /// The compatibility date from which it is on by default.
    pub default_from: Option<CompatibilityDate>,
    /// Another flag that turns it on from a date on.
    pub implied_by: Option<(&'static str, CompatibilityDate)>,
    /// How far Skep honours it.
    pub support: Support,
    /// A word on what differs.
    pub note: &'static str,
}

static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let date = |text: &str| text.parse::<CompatibilityDate>().expect("flags.tsv holds valid dates");
    let optional = |text: &'static str| (!text.is_empty()).then_some(text);
    include_str!("compatibility/flags.tsv")
        .lines()
        .map(|line| {
            let mut fields = line.split('\t').map(str::trim);
            let mut next = || fields.next().unwrap_or_default();
            Flag {
                enable: next(),
                disable: optional(next()),
                default_from: optional(next()).map(date),
                implied_by: next().split_once('@').map(|(flag, from)| (flag, date(from))),
                support: Support::parse(next()).expect("flags.tsv holds a known word of support"),
                note: next(),
            }
        })
        .collect()
});

/// Every flag, in the order in which Cloudflare added them.
pub fn flags() -> &'static [Flag] {
    &FLAGS
}

/// A Worker's compatibility date and the flags it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compatibility {
    date: CompatibilityDate,
    named: Vec<String>,
}

impl Default for Compatibility {
    fn default() -> Self {
        Self { date: CompatibilityDate::FIRST, named: Vec::new() }
    }
}

impl Compatibility {
    /// Checks the flags against the table.
    ///
    /// # Errors
    /// A flag that does not exist, or two that contradict each other.
    pub fn new(date: CompatibilityDate, named: Vec<String>) -> Result<Self, CompatibilityError> {
        for name in &named {
            let Some(flag) = flags().iter().find(|flag| flag.enable == name || flag.disable == Some(name)) else {
                return Err(CompatibilityError::UnknownFlag { flag: name.clone(), nearest: nearest_flag(name) });
            };
            if flag.enable == name
                && let Some(disable) = flag.disable
                && named.iter().any(|other| other == disable)
            {
                return Err(CompatibilityError::Contradiction(name.clone(), disable.to_owned()));
            }
        }
        Ok(Self { date, named })
    }

    /// The date.
    pub fn date(&self) -> CompatibilityDate {
        self.date
    }

    /// The flags as the configuration names them.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Whether Cloudflare would turn a flag on for this date and these flags.
    pub fn asks_for(&self, enable: &str) -> bool {
        flags().iter().find(|flag| flag.enable == enable).is_some_and(|flag| self.asks_for_flag(flag))
    }

    fn asks_for_flag(&self, flag: &Flag) -> bool {
        if self.named.iter().any(|name| name == flag.enable) {
            return true;
        }
        if flag.disable.is_some_and(|disable| self.named.iter().any(|name| name == disable)) {
            return false;
        }
        flag.default_from.is_some_and(|from| self.date >= from)
            || flag.implied_by.is_some_and(|(other, from)| self.date >= from && self.asks_for(other))
    }

    /// Whether the behaviour behind a flag is on in Skep.
    pub fn is_on(&self, enable: &str) -> bool {
        flags().iter().find(|flag| flag.enable == enable).is_some_and(|flag| self.is_flag_on(flag))
    }

    fn is_flag_on(&self, flag: &Flag) -> bool {
        match flag.support {
            Support::Works => self.asks_for_flag(flag),
            Support::AlwaysOn => true,
            Support::Missing | Support::NotApplicable => false,
        }
    }

    /// The flags that are on and could be off.
    pub fn chosen(&self) -> impl Iterator<Item = &'static str> {
        flags().iter().filter(|flag| flag.support == Support::Works && self.asks_for_flag(flag)).map(|flag| flag.enable)
    }

    /// Every flag and whether its behaviour is on in Skep: what `Cloudflare.compatibilityFlags` shows.
    pub fn states(&self) -> BTreeMap<&'static str, bool> {
        flags().iter().map(|flag| (flag.enable, self.is_flag_on(flag))).collect()
    }

    /// The named flags that Skep cannot honour, each with the reason, for a warning.
    pub fn not_honoured(&self) -> Vec<String> {
        self.named
            .iter()
            .filter_map(|name| {
                let flag = flags().iter().find(|flag| flag.enable == name || flag.disable == Some(name))?;
                let turned_on = flag.enable == name;
                let reason = match (flag.support, turned_on) {
                    (Support::Missing, true) => "is not supported yet",
                    (Support::AlwaysOn, false) => "cannot be turned off",
                    _ => return None,
                };
                let note = if flag.note.is_empty() { String::new() } else { format!(" ({})", flag.note) };
                Some(format!("compatibility flag \"{name}\" {reason}{note}"))
            })
            .collect()
    }
}

fn nearest_flag(name: &str) -> Option<String> {
    let names = flags().iter().flat_map(|flag| std::iter::once(flag.enable).chain(flag.disable));
    nearest(name, names).map(str::to_owned)
}

/// The candidate closest to `name` by edit distance, if it is close enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, case ignored; two neighbours that changed places count once.
fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut before = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut current = vec![row + 1; right.len() + 1];
        for (column, to) in right.iter().enumerate() {
            let substitute = above[column] + usize::from(from != to);
            current[column + 1] = substitute.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to;
            if swapped {
                current[column + 1] = current[column + 1].min(before[column - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compatibility(date: &str, named: &[&str]) -> Result<Compatibility, CompatibilityError> {
        Compatibility::new(date.parse()?, named.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn dates() {
        let check = |text: &str, valid: bool| assert_eq!(text.parse::<CompatibilityDate>().is_ok(), valid, "{text}");
        check("2026-10-06", true);
        check("2024-02-29", true);
        check("2023-02-29", false);
        check("2026-13-01", false);
        check("2026-1-01", false);
        check("2026-01-32", false);
        check("+026-01-01", false);
        check("yesterday", false);
        check("", false);
    }

    #[test]
    fn a_flag_is_on_by_name_by_date_or_by_another() {
        let asks = |date, named: &[&str], flag| compatibility(date, named).unwrap().asks_for(flag);
        assert!(!asks("2022-03-20", &[], "global_navigator"));
        assert!(asks("2022-03-21", &[], "global_navigator"));
        assert!(asks("2021-11-02", &["global_navigator"], "global_navigator"));
        assert!(!asks("2026-01-01", &["no_global_navigator"], "global_navigator"));
        assert!(asks("2024-09-23", &["nodejs_compat"], "nodejs_compat_v2"));
        assert!(!asks("2024-09-22", &["nodejs_compat"], "nodejs_compat_v2"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |named: &[&str], expect: &str| {
            assert_eq!(compatibility("2026-01-01", named).unwrap_err().to_string(), expect);
        };
        check(
            &["nodejs_compact"],
            "there is no compatibility flag \"nodejs_compact\": did you mean \"nodejs_compat\"?",
        );
        check(
            &["zzzzzzzzzzzzzzzzzzzzzzzzzzz"],
            "there is no compatibility flag \"zzzzzzzzzzzzzzzzzzzzzzzzzzz\": remove it",
        );
        check(
            &["global_navigator", "no_global_navigator"],
            "the compatibility flags \"global_navigator\" and \"no_global_navigator\" contradict each other: keep one of them",
        );
    }

    #[test]
    fn the_nearest_name() {
        let check =
            |name: &str, expect: Option<&str>| assert_eq!(nearest(name, ["name", "main", "rules"]), expect, "{name}");
        check("nmae", Some("name"));
        check("Names", Some("name"));
        check("rule", Some("rules"));
        check("vars", None);
    }

    #[test]
    fn every_implied_flag_is_in_the_table() {
        for flag in flags() {
            if let Some((other, _)) = flag.implied_by {
                assert!(flags().iter().any(|flag| flag.enable == other), "{other}");
            }
        }
    }
}
