//! A week of visits to applications, with the shape that "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020, section 3)
//! published of Azure Functions. The figures of the paper are named where they are used. What it does not say (which periods timers
//! have, how far apart the invocations of a burst are) is chosen here, and said so. Memory (figure 8) is left out: every isolate
//! counts the same.
//!
//! **Not checked against the paper itself**, which could not be reached when this was written: the trigger shares (figure 2) were read in
//! a summary of it, the other numbers that are called the paper's come from memory. Compare policies with each other here; do not
//! quote the absolute level of cold starts.

use std::f64::consts::TAU;

use super::random::Random;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;
/// The time that is simulated, in seconds. All of it counts, also what comes before anything is known.
pub(crate) const WEEK: f64 = 7.0 * DAY;

/// Figure 5(a): the part of the applications that are invoked at most this often a day on average. 45 % are invoked at most once an
/// hour and 81 % at most once a minute; all are within 8 orders of magnitude. What is between is logarithmic.
const RATES: [(f64, f64); 6] =
    [(0.0, 0.1), (0.18, 1.0), (0.45, 24.0), (0.81, 1440.0), (0.97, 86_400.0), (1.0, 10_000_000.0)];
/// Figure 7: seconds that a function takes on average, as the parameters of a lognormal distribution; and the most that Azure lets it.
const EXECUTION: (f64, f64) = (-0.38, 2.36);
const EXECUTION_MOST: f64 = 600.0;
/// What invokes an application. 29 % have a timer (figure 3(a)), 13 % have nothing else (figure 3(b)); the others are counted by what
/// invokes them most. For those that are invoked at most hourly, at most once a minute, and more often: 95 % of timers fire at most once a
/// minute, and queues and events bring a larger part of the invocations than of the functions (figure 2).
const TRIGGERS: [[f64; 7]; 3] = [
    // timers alone, timer and others, HTTP, queue, storage, event, orchestration
    [0.15, 0.16, 0.50, 0.11, 0.05, 0.01, 0.02],
    [0.15, 0.16, 0.45, 0.15, 0.04, 0.03, 0.02],
    [0.03, 0.16, 0.45, 0.19, 0.01, 0.14, 0.02],
];
const TIMERS: usize = 0;
const TIMER_AND_OTHERS: usize = 1;
/// Periods that people write, in seconds. Our choice.
const PERIODS: [f64; 15] = [
    10.0,
    30.0,
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    10.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    4.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    WEEK,
];
/// Section 3.3 and figure 6: half of the applications with timers alone have one period (CV 0), the others several; one in ten without a
/// timer is called periodically by something else.
const ONE_TIMER: f64 = 0.5;
const CALLED_PERIODICALLY: f64 = 0.1;
/// How far such a caller is off, as a part of its period. Our choice.
const PERIODIC_VARIATION: f64 = 0.03;
/// The part of the applications with a timer and other triggers whose other triggers are hardly used (figure 6, "at least one timer").
const HARDLY_OTHERS: f64 = 0.25;
/// The median CV of irregular inter-arrival times, for the three groups of rates, and the deviation of its logarithm. Fitted to figure 6:
/// about 20 % of all applications have a CV of nearly 0, about 40 % one above 1, some one of 10. The paper has no CV by rate; that
/// rare applications come in bursts more than others is our choice. Without it, fixed times would be worse than they are in figure 14.
const VARIATION: [f64; 3] = [3.0, 0.7, 0.6];
const VARIATION_DEVIATION: f64 = 0.6;
/// Seconds between the invocations of a burst: the median over applications, and the deviation of its logarithm. Our choice.
const PAUSE: (f64, f64) = (30.0, 1.3);
/// Visits that are closer than this on average, in seconds, are generated in clumps of so many that the clumps are this far apart. No
/// policy lets go of an isolate so soon.
const CLUMP: f64 = 10.0;
/// Figure 4: the part of the applications, by trigger, that follow the day and the week, and the amplitude with which they do: about
/// half of all invocations are a constant base, and weekends are lower. That people are behind HTTP most is our choice.
const DIURNAL: [f64; 7] = [0.0, 0.6, 0.75, 0.5, 0.3, 0.5, 0.5];
const AMPLITUDE: f64 = 0.8;
const WEEKEND: f64 = 0.7;

/// One invocation, or several that follow each other closely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// Seconds since the trace began.
    pub(crate) at: f64,
    pub(crate) invocations: f64,
}

/// An application's week.
pub(crate) struct Application {
    pub(crate) visits: Vec<Visit>,
    /// Seconds that an invocation takes.
    pub(crate) execution: f64,
    pub(crate) has_timer: bool,
}

impl Application {
    /// The application with this number in the trace of this seed.
    pub(crate) fn generate(seed: u64, number: u64) -> Self {
        let random = &mut Random::new(seed, number);
        let rate = rate(random);
        let group = if rate <= 24.0 { 0 } else { usize::from(rate > 1440.0) + 1 };
        let trigger = random.choose(&TRIGGERS[group]);
        let mut visits = Vec::new();
        match trigger {
            TIMERS if random.chance(ONE_TIMER) => timer(random, rate, &mut visits),
            TIMERS => {
                let first = random.between(0.2, 0.8);
                timer(random, rate * first, &mut visits);
                timer(random, rate * (1.0 - first), &mut visits);
            }
            TIMER_AND_OTHERS => {
                let part = if random.chance(HARDLY_OTHERS) { 0.97 } else { random.between(0.2, 0.8) };
                timer(random, rate * part, &mut visits);
                others(random, trigger, group, rate * (1.0 - part), &mut visits);
            }
            _ => others(random, trigger, group, rate, &mut visits),
        }
        visits.sort_by(|one, other| one.at.total_cmp(&other.at));
        let execution = random.lognormal(EXECUTION.0, EXECUTION.1).min(EXECUTION_MOST);
        Self { visits, execution, has_timer: trigger <= TIMER_AND_OTHERS }
    }

    pub(crate) fn invocations(&self) -> f64 {
        self.visits.iter().map(|visit| visit.invocations).sum()
    }

    /// The coefficient of variation of the inter-arrival times. Nothing with fewer than three of them.
    pub(crate) fn variation(&self) -> Option<f64> {
        let gaps: Vec<f64> = self.visits.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        if gaps.len() < 3 {
            return None;
        }
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        // A clump's gap is the sum of its visits' gaps.
        Some(variance.sqrt() / mean * (self.invocations() / (count + 1.0)).sqrt())
    }
}

/// Invocations a day.
fn rate(random: &mut Random) -> f64 {
    let part = random.unit();
    let next = RATES.iter().position(|(below, _)| part < *below).unwrap_or(RATES.len() - 1);
    let ((low, from), (high, to)) = (RATES[next - 1], RATES[next]);
    (from.ln() + (to.ln() - from.ln()) * (part - low) / (high - low)).exp()
}

/// A timer with the period that is the nearest to this rate. It fires at a whole minute of its period, a moment late.
fn timer(random: &mut Random, rate: f64, visits: &mut Vec<Visit>) {
    let wanted = (DAY / rate).ln();
    let distance = |period: f64| (period.ln() - wanted).abs();
    let period = PERIODS.into_iter().min_by(|one, other| distance(*one).total_cmp(&distance(*other))).unwrap_or(MINUTE);
    let mut due = (random.between(0.0, period) / MINUTE).floor() * MINUTE;
    while due < WEEK {
        visits.push(Visit { at: due + random.exponential(0.3), invocations: 1.0 });
        due += period;
    }
}

/// Visits that no timer of the platform makes.
fn others(random: &mut Random, trigger: usize, group: usize, rate: f64, visits: &mut Vec<Visit>) {
    let is_periodic = random.chance(CALLED_PERIODICALLY);
    let variation =
        if is_periodic { PERIODIC_VARIATION } else { random.lognormal(VARIATION[group].ln(), VARIATION_DEVIATION) };
    let invocations = (CLUMP * rate / DAY).ceil();
    let gaps = Gaps::new(random, DAY * invocations / rate, variation / invocations.sqrt());
    let amplitude = if !is_periodic && random.chance(DIURNAL[trigger]) { AMPLITUDE } else { 0.0 };
    let mut clock = Clock::new(random, amplitude);
    // The trace begins somewhere between two visits.
    let mut elapsed = gaps.first(random);
    while elapsed < WEEK {
        visits.push(Visit { at: clock.time(elapsed), invocations });
        elapsed += gaps.next(random);
    }
}

/// The times between visits, in seconds, with a mean and a coefficient of variation.
enum Gaps {
    /// Lognormal, for a CV below 1: the parameters.
    Even(f64, f64),
    /// Bursts whose number of visits is geometric, at random times: that has a CV of the square root of 2 visits - 1, when the
    /// pauses in a burst are short.
    Bursts { visits: f64, pause: f64, between: f64 },
}

impl Gaps {
    fn new(random: &mut Random, mean: f64, variation: f64) -> Self {
        if variation < 1.0 {
            let square = (1.0 + variation * variation).ln();
            return Self::Even(mean.ln() - square / 2.0, square.sqrt());
        }
        let visits = (1.0 + variation * variation) / 2.0;
        let pause = random.lognormal(PAUSE.0.ln(), PAUSE.1).min(mean / 10.0);
        Self::Bursts { visits, pause, between: visits * mean - (visits - 1.0) * pause }
    }

    fn first(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Even(mean, deviation) => random.lognormal(mean, deviation) * random.unit(),
            Self::Bursts { between, .. } => random.exponential(between),
        }
    }

    fn next(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Even(mean, deviation) => random.lognormal(mean, deviation),
            Self::Bursts { visits, between, .. } if random.chance(1.0 / visits) => random.exponential(between),
            Self::Bursts { pause, .. } => random.exponential(pause),
        }
    }
}

/// When what would happen at an even pace happens: fast by day, slowly at night and at the weekend.
struct Clock {
    /// The pace of each hour of the week, 1 on average. Monday comes first.
    paces: Vec<f64>,
    hour: usize,
    /// What has elapsed, at an even pace, before this hour.
    before: f64,
}

impl Clock {
    fn new(random: &mut Random, amplitude: f64) -> Self {
        // People are in different time zones, most of them in a few.
        let noon = random.between(10.0, 18.0);
        let pace = |hour: usize| {
            let day = 1.0 + amplitude * ((hour as f64 - noon) / 24.0 * TAU).cos();
            if amplitude > 0.0 && hour / 24 >= 5 { day * WEEKEND } else { day }
        };
        let paces: Vec<f64> = (0..168).map(pace).collect();
        let mean = paces.iter().sum::<f64>() / 168.0;
        Self { paces: paces.into_iter().map(|pace| pace / mean).collect(), hour: 0, before: 0.0 }
    }

    /// For times that never go back, below a week.
    fn time(&mut self, elapsed: f64) -> f64 {
        while self.hour < 167 && elapsed >= self.before + self.paces[self.hour] * HOUR {
            self.before += self.paces[self.hour] * HOUR;
            self.hour += 1;
        }
        self.hour as f64 * HOUR + (elapsed - self.before) / self.paces[self.hour]
    }
}
