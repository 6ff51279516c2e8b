//! Conditional and range requests: RFC 9110, sections 13 and 14.

use std::ops::Range;

use http::header::{self, HeaderMap};

/// Whether `If-None-Match` names an entity tag. Weak tags count as their strong ones. `tag` is without quotes.
pub(crate) fn none_match(headers: &HeaderMap, tag: &str) -> bool {
    let names = |list: &str| {
        list.split(',').map(str::trim).any(|item| {
            let item = item.strip_prefix("W/").unwrap_or(item);
            item == "*" || item.strip_prefix('"').and_then(|item| item.strip_suffix('"')) == Some(tag)
        })
    };
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.to_str().is_ok_and(names))
}

/// What a `Range` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Everything: there is none, it is not one of bytes, there are several, or `If-Range` does not hold.
    All,
    /// These bytes.
    One(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// What a request asks of a file of that size in bytes and that strong tag, without quotes.
/// RFC 9110, section 14.2, lets a server ignore several ranges at once.
pub(crate) fn ranges(headers: &HeaderMap, tag: &str, size: u64) -> Ranges {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return Ranges::All };
    let holds = headers.get(header::IF_RANGE).is_none_or(|condition| {
        // a date never holds: files have none
        let tagged = condition.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        tagged == Some(tag)
    });
    if holds { parse(range, size).unwrap_or(Ranges::All) } else { Ranges::All }
}

fn parse(range: &str, size: u64) -> Option<Ranges> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => size.saturating_sub(number(suffix)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if range.start < range.end { Ranges::One(range) } else { Ranges::Unsatisfiable })
}

/// A whole number; one that is too large for us is larger than every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderMap, HeaderValue};

    use super::{Ranges, none_match, ranges};

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn tags() {
        let check = |value: &str, expect: bool| {
            assert_eq!(none_match(&headers(&[(header::IF_NONE_MATCH, value)]), "abc"), expect, "{value}");
        };
        check("\"abc\"", true);
        check("W/\"abc\"", true);
        check("\"x\", W/\"abc\" ,\"y\"", true);
        check("*", true);
        check("abc", false);
        check("\"ab\"", false);
        check("\"abcd\"", false);
        check("w/\"abc\"", false);
        check("", false);
        check("\"", false);
        assert!(!none_match(&HeaderMap::new(), "abc"));
    }

    #[test]
    fn a_range_of_ten_bytes() {
        let check = |range: &str, expect: Ranges| {
            assert_eq!(ranges(&headers(&[(header::RANGE, range)]), "abc", 10), expect, "{range}");
        };
        let one = Ranges::One;
        check("bytes=0-0", one(0..1));
        check("bytes=2-5", one(2..6));
        check("bytes=2-", one(2..10));
        check("bytes=2-99", one(2..10));
        check("bytes=-3", one(7..10));
        check("bytes=-99", one(0..10));
        check("Bytes= 2 - 5 ", one(2..6));
        check("bytes=0-18446744073709551615", one(0..10));
        check("bytes=0-99999999999999999999999", one(0..10));
        check("bytes=10-", Ranges::Unsatisfiable);
        check("bytes=10-12", Ranges::Unsatisfiable);
        check("bytes=99999999999999999999999-", Ranges::Unsatisfiable);
        check("bytes=-0", Ranges::Unsatisfiable);
        for ignored in
            ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", ""]
        {
            check(ignored, Ranges::All);
        }
        assert_eq!(ranges(&HeaderMap::new(), "abc", 10), Ranges::All);
    }

    #[test]
    fn if_range_holds_for_the_strong_tag() {
        let check = |condition: &str, expect: Ranges| {
            let headers = headers(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, condition)]);
            assert_eq!(ranges(&headers, "abc", 10), expect, "{condition}");
        };
        check("\"abc\"", Ranges::One(0..2));
        check("W/\"abc\"", Ranges::All);
        check("\"other\"", Ranges::All);
        check("Wed, 21 Oct 2026 07:28:00 GMT", Ranges::All);
    }
}
