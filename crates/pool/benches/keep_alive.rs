//! What `skep_pool::keep_alive` costs and spares, compared with keeping every isolate for a fixed time, in traces of five seeds that
//! have the shape of Azure's: `cargo bench -p skep-pool --bench keep_alive`. Fails when it does not have fewer cold starts than ten
//! minutes for everybody, in total and for the third-quartile application, with no more idle isolates, which is what
//! `docs/SPECIFICATION.md` promises (`keep-alive`). With `-- --plot FILE` the numbers are drawn as well (`docs/keep-alive.svg`).

#![allow(clippy::print_stdout, reason = "a benchmark reports to a person")]

#[path = "keep_alive/plot.rs"]
mod plot;
#[path = "keep_alive/random.rs"]
mod random;
#[path = "keep_alive/simulation.rs"]
mod simulation;
#[path = "keep_alive/trace.rs"]
mod trace;

use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, iter, thread};

use plot::Point;
use simulation::{Outcome, Policy};
use trace::{Application, WEEK};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
/// In each trace.
const APPLICATIONS: u64 = 2000;
/// Fixed times to compare with, in minutes.
const MINUTES: [u64; 7] = [1, 5, 10, 20, 30, 60, 120];
/// The place of the field's fixed time among the policies, and of what is learned.
const FIELD: usize = 3;
const LEARNED: usize = MINUTES.len() + 1;

fn policies() -> Vec<Policy> {
    let fixed = MINUTES.iter().map(|minutes| Policy::Fixed(Duration::from_secs(minutes * 60)));
    iter::once(Policy::Nothing).chain(fixed).chain([Policy::Learned]).collect()
}

/// What a trace is like, and what each policy makes of it.
#[derive(Clone, Default)]
struct Week {
    outcomes: Vec<Outcome>,
    applications: f64,
    invocations: f64,
    timers: f64,
    /// Invoked at most once an hour, and at most once a minute, on average.
    hourly: f64,
    minutely: f64,
    /// The coefficients of variation of the inter-arrival times that have one.
    variations: Vec<f64>,
}

impl Week {
    /// The applications of a trace whose number is one of these.
    fn run(seed: u64, numbers: impl Iterator<Item = u64>) -> Self {
        let policies = policies();
        let mut week = Self { outcomes: vec![Outcome::default(); policies.len()], ..Self::default() };
        for number in numbers {
            let application = Application::generate(seed, number);
            for (policy, outcome) in policies.iter().zip(&mut week.outcomes) {
                policy.run(&application, outcome);
            }
            let invocations = application.invocations();
            week.applications += 1.0;
            week.invocations += invocations;
            week.timers += f64::from(u8::from(application.has_timer));
            week.hourly += f64::from(u8::from(invocations <= WEEK / 3600.0 + 1.0));
            week.minutely += f64::from(u8::from(invocations <= WEEK / 60.0 + 1.0));
            week.variations.extend(application.variation());
        }
        week
    }

    fn add(&mut self, other: Self) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(outcome, other)| outcome.add(other));
        self.applications += other.applications;
        self.invocations += other.invocations;
        self.timers += other.timers;
        self.hourly += other.hourly;
        self.minutely += other.minutely;
        self.variations.extend(other.variations);
    }

    /// A whole trace, on all processors.
    fn of(seed: u64) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| scope.spawn(move || Self::run(seed, (part as u64..APPLICATIONS).step_by(threads))))
                .collect();
            let mut week = Self::run(seed, iter::empty());
            for part in parts {
                week.add(part.join().expect("no application makes a simulation panic"));
            }
            week
        })
    }

    /// The part of the applications with a coefficient of variation in this range.
    fn varying(&self, is_meant: impl Fn(f64) -> bool) -> f64 {
        self.variations.iter().filter(|variation| is_meant(**variation)).count() as f64 / self.variations.len() as f64
    }
}

/// One policy over all seeds: medians.
struct Row {
    name: String,
    /// The part of all invocations that are cold starts.
    cold: f64,
    /// The same, relative to the field's fixed time.
    relative: f64,
    third_quartile: f64,
    /// Idle isolate-seconds, relative to the field's fixed time.
    memory: f64,
    /// Isolates that are idle at a time, for each application.
    isolates: f64,
}

impl Row {
    fn of(weeks: &[Week], place: usize) -> Self {
        let median_of = |value: &dyn Fn(&Outcome, &Outcome, &Week) -> f64| {
            median(weeks.iter().map(|week| value(&week.outcomes[place], &week.outcomes[FIELD], week)))
        };
        let name = match policies()[place] {
            Policy::Nothing => "nothing is kept".to_owned(),
            Policy::Fixed(time) => format!("fixed, {} min", time.as_secs() / 60),
            Policy::Learned => "**Skep**".to_owned(),
        };
        Self {
            name,
            cold: median_of(&|outcome, _, _| outcome.cold / outcome.invocations),
            relative: median_of(&|outcome, field, _| outcome.cold / field.cold),
            third_quartile: median_of(&|outcome, _, _| outcome.third_quartile()),
            memory: median_of(&|outcome, field, _| outcome.idle / field.idle),
            isolates: median_of(&|outcome, _, week| outcome.idle / WEEK / week.applications),
        }
    }

    /// The fixed time that has the memory of the learned policy: between two that were simulated.
    fn with_memory_of(learned: &Self, fixed: &[Self]) -> Option<Self> {
        let above = fixed.iter().position(|row| row.memory > learned.memory).filter(|above| *above > 0)?;
        let (low, high) = (&fixed[above - 1], &fixed[above]);
        let part = (learned.memory - low.memory) / (high.memory - low.memory);
        let between = |value: &dyn Fn(&Self) -> f64| value(low) + (value(high) - value(low)) * part;
        let minutes = (MINUTES[above - 1] as f64).powf(1.0 - part) * (MINUTES[above] as f64).powf(part);
        Some(Self {
            name: format!("fixed with Skep's memory, {minutes:.1} min (interpolated)"),
            cold: between(&|row| row.cold),
            relative: between(&|row| row.relative),
            third_quartile: between(&|row| row.third_quartile),
            memory: learned.memory,
            isolates: learned.isolates,
        })
    }

    fn print(&self) {
        println!(
            "| {} | {:.4} % | {:.2} × | {:.1} % | {:.2} × | {:.3} |",
            self.name,
            self.cold * 100.0,
            self.relative,
            self.third_quartile * 100.0,
            self.memory,
            self.isolates
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the traces are like, next to what the paper says of Azure's.
fn print_shape(weeks: &[Week]) {
    let part = |value: &dyn Fn(&Week) -> f64| median(weeks.iter().map(value)) * 100.0;
    println!("{} traces of a week, {APPLICATIONS} applications each; medians over the seeds {SEEDS:?}\n", SEEDS.len());
    println!("| Applications | published | here |\n|---|---|---|");
    let hourly = part(&|week| week.hourly / week.applications);
    println!("| invoked at most once an hour (figure 5a) | 45 % | {hourly:.0} % |");
    let minutely = part(&|week| week.minutely / week.applications);
    println!("| invoked at most once a minute (figure 5a) | 81 % | {minutely:.0} % |");
    println!("| with a timer (figure 3a) | 29 % | {:.0} % |", part(&|week| week.timers / week.applications));
    println!("| CV of nearly 0 (figure 6) | about 20 % | {:.0} % |", part(&|week| week.varying(|cv| cv < 0.1)));
    println!("| CV above 1 (figure 6) | about 40 % | {:.0} % |\n", part(&|week| week.varying(|cv| cv > 1.0)));
}

/// Whether what is promised is kept.
fn is_kept(weeks: &[Week], learned: &Row, field: &Row) -> bool {
    println!("\n| Seed | cold starts | third-quartile application | idle isolates |\n|---|---|---|---|");
    for (seed, week) in SEEDS.iter().zip(weeks) {
        let (own, field) = (&week.outcomes[LEARNED], &week.outcomes[FIELD]);
        println!(
            "| {seed} | {:.2} × | {:.1} % instead of {:.1} % | {:.2} × |",
            own.cold / field.cold,
            own.third_quartile() * 100.0,
            field.third_quartile() * 100.0,
            own.idle / field.idle
        );
    }
    let kept = [
        ("fewer cold starts", learned.relative < 1.0),
        ("fewer cold starts of the third-quartile application", learned.third_quartile < field.third_quartile),
        ("no more idle isolates", learned.memory <= 1.0),
    ];
    println!();
    for (promise, is_kept) in kept {
        println!("{promise} than with {}: {}", field.name, if is_kept { "kept" } else { "not kept, but promised" });
    }
    kept.iter().all(|(_, is_kept)| *is_kept)
}

fn point(row: &Row, label: String) -> Point {
    Point { label, memory: row.memory, cold: row.third_quartile * 100.0 }
}

/// The file after `--plot`.
fn plot_file() -> Option<String> {
    env::args().skip_while(|argument| argument != "--plot").nth(1)
}

fn main() -> ExitCode {
    let weeks: Vec<Week> = SEEDS.into_iter().map(Week::of).collect();
    print_shape(&weeks);
    let rows: Vec<Row> = (0..policies().len()).map(|place| Row::of(&weeks, place)).collect();
    let (fixed, learned) = (&rows[1..LEARNED], &rows[LEARNED]);
    println!("| Policy | cold starts | relative | third-quartile application | idle isolates | per application |");
    println!("|---|---|---|---|---|---|");
    rows.iter().for_each(Row::print);
    Row::with_memory_of(learned, fixed).iter().for_each(Row::print);
    if let Some(file) = plot_file() {
        let points: Vec<Point> =
            fixed.iter().zip(MINUTES).map(|(row, minutes)| point(row, format!("{minutes} min"))).collect();
        if let Err(error) = fs::write(&file, plot::svg(&points, &point(learned, "Skep".to_owned()))) {
            println!("{file} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    if is_kept(&weeks, learned, &rows[FIELD]) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
