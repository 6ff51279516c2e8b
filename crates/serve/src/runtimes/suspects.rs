//! Versions whose code ran when a process died. Whoever was there again and again gets a process of its own; who ends that one too runs
//! nowhere for a while.
//!
//! Several versions may run at the moment of a death, and only one has caused it. That is why the first deaths have no consequence, and the
//! second ones none that an innocent version would notice: it answers from another process. In a process of its own there is no doubt.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Deaths within [`MEMORY`] after which a version gets a process of its own.
const SUSPECT: usize = 2;
/// Deaths of its own process after which it runs nowhere.
const GUILTY: usize = 2;
/// How long a death is remembered.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// How long a version runs nowhere, the first time. Each time after it is twice as long.
const FIRST_BAN: Duration = Duration::from_secs(60);
/// The longest time.
const LONGEST_BAN: Duration = Duration::from_secs(24 * 3600);
/// Versions that have a process of their own, at most. The next ones run nowhere.
pub(super) const MOST_OWN: usize = 8;

/// What is known of versions.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<Uuid, Suspect>);

#[derive(Debug, Default)]
struct Suspect {
    /// Deaths at which it ran.
    deaths: Vec<Instant>,
    /// Deaths of its own process.
    own: Vec<Instant>,
    /// How often it was sent away.
    bans: u32,
    /// When it was last.
    banned: Option<Instant>,
}

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets a process of its own, for [`MEMORY`] after the last death.
    Own,
    /// It runs nowhere for so long.
    Nowhere(Duration),
}

impl Suspects {
    /// A process died that all versions share, while the code of these ran. Gives those of which something becomes.
    pub(super) fn shared_died(&mut self, running: &[Uuid], now: Instant) -> Vec<(Uuid, Verdict)> {
        self.forget(now);
        let mut verdicts = Vec::new();
        for version in running {
            let suspect = self.0.entry(*version).or_default();
            suspect.deaths.push(now);
            if suspect.deaths.len() >= SUSPECT {
                verdicts.push((*version, Verdict::Own));
            }
        }
        verdicts
    }

    /// A version's own process died while its code ran.
    pub(super) fn own_died(&mut self, version: Uuid, now: Instant) -> Option<Verdict> {
        self.forget(now);
        let suspect = self.0.entry(version).or_default();
        suspect.own.push(now);
        if suspect.own.len() < GUILTY {
            return None;
        }
        suspect.own.clear();
        let ban = FIRST_BAN.saturating_mul(2_u32.saturating_pow(suspect.bans)).min(LONGEST_BAN);
        suspect.bans += 1;
        suspect.banned = Some(now);
        Some(Verdict::Nowhere(ban))
    }

    /// How long a version has still to run in a process of its own.
    pub(super) fn still(&self, version: Uuid, now: Instant) -> Duration {
        let last = self.0.get(&version).and_then(|suspect| suspect.deaths.last().max(suspect.own.last()));
        last.map_or(Duration::ZERO, |last| MEMORY.saturating_sub(now.duration_since(*last)))
    }

    /// Bans are remembered longer than deaths: who was sent away once is known for a day.
    fn forget(&mut self, now: Instant) {
        let recent = |deaths: &mut Vec<Instant>, most: Duration| deaths.retain(|at| now.duration_since(*at) < most);
        self.0.retain(|_, suspect| {
            recent(&mut suspect.deaths, MEMORY);
            recent(&mut suspect.own, MEMORY);
            let banned = suspect.banned.is_some_and(|banned| now.duration_since(banned) < LONGEST_BAN);
            !suspect.deaths.is_empty() || !suspect.own.is_empty() || banned
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::{LONGEST_BAN, MEMORY, Suspects, Verdict};

    const GUILTY: Uuid = Uuid::from_u128(1);
    const BYSTANDER: Uuid = Uuid::from_u128(2);

    #[test]
    fn only_who_was_there_again_is_moved() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        assert!(suspects.shared_died(&[GUILTY, BYSTANDER], now).is_empty());
        assert_eq!(suspects.shared_died(&[GUILTY], now), [(GUILTY, Verdict::Own)]);
        assert!(suspects.still(GUILTY, now) == MEMORY && suspects.still(GUILTY, now + MEMORY).is_zero());
        // What was long ago does not count.
        assert!(suspects.shared_died(&[BYSTANDER], now + MEMORY + Duration::from_secs(1)).is_empty());
    }

    #[test]
    fn bans_grow_and_end() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        let mut bans = Vec::new();
        for death in 0..30 {
            bans.extend(suspects.own_died(GUILTY, now + Duration::from_millis(death)));
        }
        let seconds: Vec<u64> = bans
            .iter()
            .map(|ban| match ban {
                Verdict::Nowhere(ban) => ban.as_secs(),
                Verdict::Own => 0,
            })
            .collect();
        assert_eq!(seconds[..4], [60, 120, 240, 480]);
        assert_eq!(seconds.last(), Some(&LONGEST_BAN.as_secs()));
        let later = now + LONGEST_BAN + LONGEST_BAN;
        assert!(suspects.shared_died(&[], later).is_empty() && suspects.0.is_empty());
    }
}
