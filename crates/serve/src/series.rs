//! How Workers do, in memory: what each has done since the start, for metrics, and in steps of ten seconds of the last hour, for the API.
//!
//! It comes with what is billed ([`Counted`]), and is neither billed nor written down. Everything is bounded: Workers, and steps of all of them
//! together.
//!
//! **Metrics of the busiest.** So many Workers as the settings say have a **seat**: what happens while a Worker sits is told under its name, everything
//! else under `other`. When a Worker loses its seat its series ends, and goes on from where it was when it sits again; `other` gets what
//! comes meanwhile and nothing of what was. So no counter ever goes down, and each event is told once. A seat is given at once while there are free
//! ones. Once a minute a Worker that is twice as busy as the least busy one that sits takes its seat, if that one has sat for ten minutes.
//! A Worker of which nothing was heard for an hour is forgotten: its series ends, and should it come back it begins from nothing, as after a
//! restart.

mod hour;
mod totals;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_control::{Analytics, Doing, Moment};
use skep_meter::Counted;
use uuid::Uuid;

use crate::series::hour::{Hour, Step};

pub(crate) use totals::{SERVER_ERROR, Totals};

/// Seconds of a step.
const STEP: u64 = 10;
/// Steps that are kept: an hour.
const HOUR: u64 = 3600 / STEP;
/// Workers that are known. What others do is told together.
const MOST_WORKERS: usize = 10_000;
/// Steps that are kept of all Workers together, at two hundred bytes each: when there are more, the oldest go.
const MOST_STEPS: usize = 250_000;
/// Processes whose last batch is remembered.
const MOST_PROCESSES: usize = 64;
/// Steps between two looks at who is to have a seat.
const JUDGE: u64 = 60 / STEP;
/// Steps that a seat is kept at least.
const SIT: u64 = 600 / STEP;
/// What of a Worker's busyness is left after a minute.
const FADE: f64 = 0.9;
/// How much busier one is who takes another one's seat, in times and in events.
const BUSIER: (f64, f64) = (2.0, 10.0);

/// A Worker by its account and its name.
pub(crate) type Named = (Arc<str>, Arc<str>);

/// How many events of a Worker there were in a time.
pub(crate) struct Rate {
    pub(crate) account: Arc<str>,
    pub(crate) worker: Arc<str>,
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) errors: u64,
}

/// How all Workers do.
pub(crate) struct Series {
    /// How many Workers have a seat.
    seats: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    workers: HashMap<Named, OfWorker>,
    other: Totals,
    /// Workers that sit.
    sitting: usize,
    /// Steps of all Workers together.
    steps: usize,
    /// The last batch of each process, the latest process last.
    taken: Vec<(Uuid, u64)>,
    /// The step in which was looked who is to have a seat.
    judged: u64,
}

#[derive(Default)]
struct OfWorker {
    /// Since which step it sits.
    sits: Option<u64>,
    /// What it did while it sat.
    totals: Totals,
    hour: Hour,
    /// How busy it is: events of the last minutes, the older ones count less.
    busy: f64,
}

impl Series {
    /// Nothing yet. So many Workers have metrics of their own.
    pub(crate) fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self { seats, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a process has counted. What was taken is not taken again.
    pub(crate) fn take(&self, counted: &Counted) {
        self.take_at(counted, now());
    }

    fn take_at(&self, counted: &Counted, now: u64) {
        let mut state = self.state();
        if !state.is_new(counted.batch.process, counted.batch.number) {
            return;
        }
        for (entry, latency) in counted.batch.entries.iter().zip(&counted.latencies) {
            let named: Named = (entry.account.as_str().into(), entry.worker.as_str().into());
            let State { workers, other, sitting, steps, .. } = &mut *state;
            if workers.len() >= MOST_WORKERS && !workers.contains_key(&named) {
                other.add(entry, latency);
                continue;
            }
            let worker = workers.entry(named).or_default();
            if worker.sits.is_none() && *sitting < self.seats {
                (worker.sits, *sitting) = (Some(now), *sitting + 1);
            }
            let totals = if worker.sits.is_some() { &mut worker.totals } else { other };
            totals.add(entry, latency);
            worker.busy += entry.usage.requests as f64;
            *steps += usize::from(worker.hour.add(now, entry, latency));
        }
        state.tidy(now);
        if now >= state.judged + JUDGE {
            state.judged = now;
            state.judge(now);
        }
    }

    /// What is told of each Worker that sits, and of all others together. In no order.
    pub(crate) fn totals(&self) -> (Vec<(Named, Totals)>, Totals) {
        let state = self.state();
        let told = state.workers.iter().filter(|(_, worker)| worker.sits.is_some());
        (told.map(|(named, worker)| (named.clone(), worker.totals)).collect(), state.other)
    }
}

impl State {
    fn is_new(&mut self, process: Uuid, number: u64) -> bool {
        if let Some((_, last)) = self.taken.iter_mut().find(|(other, _)| *other == process) {
            let is_new = number > *last;
            *last = number.max(*last);
            return is_new;
        }
        if self.taken.len() >= MOST_PROCESSES {
            self.taken.remove(0);
        }
        self.taken.push((process, number));
        true
    }

    /// Lets go of what is too old, and of the oldest if there is too much.
    fn tidy(&mut self, now: u64) {
        let mut first = now.saturating_sub(HOUR - 1);
        // Once a minute is enough for what is only old.
        if now < self.judged + JUDGE && self.steps <= MOST_STEPS {
            return;
        }
        loop {
            self.steps = 0;
            let sitting = &mut self.sitting;
            let steps = &mut self.steps;
            self.workers.retain(|_, worker| {
                *steps += worker.hour.forget_before(first);
                let stays = !worker.hour.is_empty();
                *sitting -= usize::from(!stays && worker.sits.is_some());
                stays
            });
            if self.steps <= MOST_STEPS || first >= now {
                return;
            }
            // A twelfth of an hour at a time.
            first = (first + HOUR / 12).min(now);
        }
    }

    /// Gives seats to those that are much busier than others who have one.
    fn judge(&mut self, now: u64) {
        for worker in self.workers.values_mut() {
            worker.busy *= FADE;
        }
        let busy = |(named, worker): (&Named, &OfWorker)| (named.clone(), worker.busy);
        let mut standing: Vec<_> = self.workers.iter().filter(|(_, worker)| worker.sits.is_none()).map(busy).collect();
        let may_rise = |worker: &OfWorker| worker.sits.is_some_and(|since| now >= since + SIT);
        let mut sitting: Vec<_> = self.workers.iter().filter(|(_, worker)| may_rise(worker)).map(busy).collect();
        standing.sort_by(|one, other| other.1.total_cmp(&one.1));
        sitting.sort_by(|one, other| one.1.total_cmp(&other.1));
        for ((comes, busier), (goes, busy)) in standing.into_iter().zip(sitting) {
            if busier < busy * BUSIER.0 + BUSIER.1 {
                break;
            }
            self.seat(&comes, Some(now));
            self.seat(&goes, None);
        }
    }

    fn seat(&mut self, named: &Named, sits: Option<u64>) {
        if let Some(worker) = self.workers.get_mut(named) {
            worker.sits = sits;
        }
    }
}

impl Series {
    /// What an account's Workers did in the time until now, or one of them.
    pub(crate) fn analytics(&self, account: &str, worker: Option<&str>, since: Duration) -> Analytics {
        self.analytics_at(account, worker, since, now())
    }

    /// How many events of each Worker there were in the time until now, and how many failed. At least those of a whole step.
    pub(crate) fn rates(&self, since: Duration) -> Vec<Rate> {
        self.rates_at(since, now())
    }

    fn rates_at(&self, since: Duration, now: u64) -> Vec<Rate> {
        let first = now.saturating_sub(since.as_secs().div_ceil(STEP));
        let state = self.state();
        let rates = state.workers.iter().map(|((account, worker), of_worker)| {
            let mut rate = Rate { account: Arc::clone(account), worker: Arc::clone(worker), requests: 0, errors: 0 };
            for step in of_worker.hour.since(first) {
                rate.requests += step.requests;
                rate.errors += step.errors;
            }
            rate
        });
        rates.filter(|rate| rate.requests > 0).collect()
    }

    fn analytics_at(&self, account: &str, worker: Option<&str>, since: Duration, now: u64) -> Analytics {
        let steps = since.as_secs().div_ceil(STEP).clamp(1, HOUR);
        let first = now + 1 - steps;
        let mut sums = vec![Step::default(); usize::try_from(steps).unwrap_or_default()];
        let mut workers = Vec::new();
        let state = self.state();
        let is_meant = |named: &Named| &*named.0 == account && worker.is_none_or(|worker| &*named.1 == worker);
        for (named, of_worker) in state.workers.iter().filter(|(named, _)| is_meant(named)) {
            let mut all = Step::default();
            for step in of_worker.hour.since(first) {
                all += *step;
                if let Some(sum) = step.at.checked_sub(first).and_then(|place| sums.get_mut(place as usize)) {
                    *sum += *step;
                }
            }
            if !all.is_empty() {
                workers.push(all.doing(&named.1));
            }
        }
        drop(state);
        workers.sort_by(|one: &Doing, other| other.requests.cmp(&one.requests).then(one.worker.cmp(&other.worker)));
        let series: Vec<Moment> = (first..).zip(&sums).map(|(at, sum)| sum.moment(milliseconds(at))).collect();
        Analytics { step: STEP as u32, since: milliseconds(first), series, workers }
    }
}

/// The current step, counted from 1970 on.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / STEP
}

/// When a step begins, in milliseconds since 1970.
fn milliseconds(step: u64) -> i64 {
    i64::try_from(step.saturating_mul(STEP * 1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
