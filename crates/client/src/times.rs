//! Times as people read them, in the time zone of this machine.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tz::TimeZoneRef;

/// Seconds from UTC to this machine's time, at a moment in seconds since 1970. UTC where the machine says nothing.
fn offset(seconds: i64) -> i64 {
    let zone = tz::TimeZone::local();
    let offset = |zone: TimeZoneRef<'_>| zone.find_local_time_type(seconds).map(|local| local.ut_offset());
    zone.ok().and_then(|zone| offset(zone.as_ref()).ok()).map_or(0, i64::from)
}

/// A time in milliseconds since 1970 as browsers in the United States write it, which is what wrangler prints:
/// `11/22/2026, 1:02:03 PM`.
pub fn american(milliseconds: i64) -> String {
    let seconds = milliseconds.div_euclid(1000);
    american_at(seconds.saturating_add(offset(seconds)))
}

fn american_at(seconds: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return "Invalid Date".to_owned() };
    let hour = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if time.hour() < 12 { "AM" } else { "PM" };
    format!(
        "{}/{}/{}, {hour}:{:02}:{:02} {half}",
        u8::from(time.month()),
        time.day(),
        time.year(),
        time.minute(),
        time.second()
    )
}

/// The milliseconds since 1970 of a time in RFC 3339.
pub fn milliseconds(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// A moment as a person writes it, in milliseconds since 1970: a time in RFC 3339, the beginning of a day (`2027-01-31`, UTC), or so
/// long before `now` (`90s`, `30m`, `2h`, `7d`).
pub fn moment(text: &str, now: i64) -> Option<i64> {
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let ago = units.into_iter().find_map(|(unit, length): (_, i64)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        now.checked_sub(i64::from(count) * length)
    });
    ago.or_else(|| milliseconds(text)).or_else(|| milliseconds(&format!("{text}T00:00:00Z")))
}

/// A time of the API as a list shows it: `2026-11-22 13:02:03`. What is no time is shown as it is.
pub fn local(text: &str) -> String {
    milliseconds(text).map_or_else(|| text.to_owned(), local_at)
}

/// The same of milliseconds since 1970.
pub fn local_at(milliseconds: i64) -> String {
    let seconds = milliseconds.div_euclid(1000);
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds.saturating_add(offset(seconds))) else {
        return milliseconds.to_string();
    };
    let (year, month, day) = time.to_calendar_date();
    format!("{year:04}-{:02}-{day:02} {:02}:{:02}:{:02}", u8::from(month), time.hour(), time.minute(), time.second())
}

/// When a token expires, in RFC 3339: a day (`2027-01-31`), a time in RFC 3339, or days from now (`30d`).
///
/// # Errors
/// When it is none of these: the message says how to write it.
pub fn expiry(text: &str) -> Result<String, String> {
    expiry_from(text, OffsetDateTime::now_utc())
}

fn expiry_from(text: &str, now: OffsetDateTime) -> Result<String, String> {
    let wrong = || format!("\"{text}\" is no time: write it like 30d, 2027-01-31 or 2027-01-31T12:00:00Z");
    let time = match text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()) {
        Some(days) => now.checked_add(time::Duration::days(days)).ok_or_else(wrong)?,
        None => {
            let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
            OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| wrong())?
        }
    };
    if time <= now {
        return Err(format!("{text} is in the past: choose a later time"));
    }
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_as_wranglers() {
        // 2026-11-22T13:02:03Z
        let check = |seconds: i64, expect: &str| assert_eq!(american_at(seconds), expect);
        check(1_795_352_523, "11/22/2026, 1:02:03 PM");
        check(1_795_352_523 - 13 * 3600, "11/22/2026, 12:02:03 AM");
        check(1_795_352_523 - 3600, "11/22/2026, 12:02:03 PM");
        check(0, "1/1/1970, 12:00:00 AM");
        check(i64::MAX, "Invalid Date");
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now = 1_795_352_523_000;
        let check = |text: &str, expect: Option<i64>| assert_eq!(moment(text, now), expect, "{text}");
        check("90s", Some(now - 90_000));
        check("2h", Some(now - 7_200_000));
        check("7d", Some(now - 7 * 86_400_000));
        check("2026-11-22T13:02:03Z", Some(now));
        check("2026-11-22", Some(now - 46_923_000));
        for text in ["", "h", "-1h", "1.5h", "yesterday", "2026-13-01", "99999999999d"] {
            check(text, None);
        }
    }

    #[test]
    fn a_token_expires_when_it_is_said() {
        let now = OffsetDateTime::parse("2026-11-22T13:02:03.5Z", &Rfc3339).unwrap();
        let check = |text: &str| expiry_from(text, now);
        assert_eq!(check("30d").unwrap(), "2026-12-22T13:02:03Z");
        assert_eq!(check("2027-01-31").unwrap(), "2027-01-31T00:00:00Z");
        assert_eq!(check("2027-01-31T12:00:00+01:00").unwrap(), "2027-01-31T12:00:00+01:00");
        assert!(check("2026-01-31").unwrap_err().contains("past"));
        for text in ["", "tomorrow", "d", "31.1.2027", "99999999999999d"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
