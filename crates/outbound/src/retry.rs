//! When to try again what the other side could not take: pauses that double, and `Retry-After`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How long the pauses between tries are.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first failure. Each further one doubles it.
    pub first: Duration,
    /// The longest one, unless the other side asks for a longer one.
    pub last: Duration,
    /// The longest one that the other side may ask for.
    pub longest_asked: Duration,
    /// The part of a pause by which it is longer at most, at random, so that what failed together is not tried together.
    pub spread: f64,
}

/// How long to wait after the failures so far.
#[derive(Debug, Default)]
pub struct Backoff {
    /// Failures without a success between them.
    failures: u32,
}

impl Backoff {
    /// Counts one more failure. Gives how long to wait: as long as the other side asked for, if that is longer.
    pub fn failed(&mut self, pauses: &Pauses, asked: Option<Duration>) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = pauses.first.saturating_mul(factor).min(pauses.last).mul_f64(1.0 + pauses.spread * chance());
        pause.max(asked.unwrap_or_default().min(pauses.longest_asked))
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1 that nobody else has now.
fn chance() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

/// How long an answer asks to wait: a number of seconds or a date. <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PAUSES: Pauses =
        Pauses { first: SECOND, last: Duration::from_secs(10), longest_asked: Duration::from_secs(60), spread: 0.25 };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for seconds in [1, 2, 4, 8, 10, 10] {
            let (pause, expected) = (backoff.failed(&PAUSES, None), SECOND * seconds);
            assert!(pause >= expected && pause <= expected.mul_f64(1.0 + PAUSES.spread), "{pause:?} for {expected:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed(&PAUSES, None) < 2 * SECOND);
    }

    #[test]
    fn the_other_side_may_ask_for_a_longer_pause_within_reason() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(&PAUSES, Some(30 * SECOND)), 30 * SECOND);
        assert_eq!(backoff.failed(&PAUSES, Some(3600 * SECOND)), 60 * SECOND);
        assert!(backoff.failed(&PAUSES, Some(SECOND)) >= 4 * SECOND);
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        for _ in 0..3 {
            assert!(backoff.failed(&PAUSES, None) >= 10 * SECOND);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").expect("a date");
        let wait = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Wed, 21 Oct 2026 07:29:00 GMT"), Some(60));
        assert_eq!(wait("Wed, 21 Oct 2026 07:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }
}
