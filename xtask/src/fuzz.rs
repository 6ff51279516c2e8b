//! Fuzzing: builds the targets of `fuzz/` with libFuzzer's instrumentation and runs them.
//!
//! The flags are those of cargo-fuzz without a sanitizer: the rooms that are fuzzed forbid `unsafe`, so that a mistake is a panic, a
//! loop or memory without bounds, and stable Rust finds these. <https://llvm.org/docs/LibFuzzer.html>

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::process::{self, cargo};
use crate::{Outcome, root, target_dir};

/// What libFuzzer needs of the compiler.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cforce-frame-pointers",
    "--cfg=fuzzing",
];
/// The most memory of a target in MiB.
const MEMORY: u32 = 2048;
/// The longest that a single input may take, in seconds.
const PATIENCE: u32 = 10;
/// The longest input in bytes.
const LONGEST: u32 = 8192;

/// What reads texts of other people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// wrangler.jsonc and wrangler.toml
    Config,
    /// `_headers`
    Headers,
    /// `_redirects`
    Redirects,
    /// Patterns of routes
    Routes,
    /// The multipart upload of a Worker
    Upload,
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only this one
    target: Option<Target>,
    /// How long each runs
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Replaces the committed inputs by the fewest that reach as much
    #[arg(long)]
    minimize: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let built = target_dir().join("fuzz");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo(["build", "--release", "--target", &triple, "--manifest-path", "fuzz/Cargo.toml"]);
    if let Some(target) = arguments.target {
        build.args(["--no-default-features", "--features", &target.name()]);
    }
    // Nothing is to be watched in build scripts: with a target they get no flags.
    process::run(build.env("CARGO_TARGET_DIR", &built).env("RUSTFLAGS", FLAGS.join(" ")))?;
    let chosen = arguments.target.map_or_else(|| Target::value_variants().to_vec(), |target| vec![target]);
    for target in chosen {
        let program = built.join(&triple).join("release").join(target.name());
        let found = built.join("corpus").join(target.name());
        let artifacts = built.join("artifacts").join(target.name());
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        process::run(
            Command::new(&program)
                .args([&found, &target.corpus()])
                .arg(format!("-dict={}", root().join(format!("fuzz/dictionaries/{}.dict", target.name())).display()))
                .arg(format!("-artifact_prefix={}/", artifacts.display()))
                .arg(format!("-max_total_time={}", arguments.minutes * 60))
                .arg(format!("-rss_limit_mb={MEMORY}"))
                .arg(format!("-timeout={PATIENCE}"))
                .arg(format!("-max_len={LONGEST}"))
                .arg("-print_final_stats=1"),
        )?;
        if arguments.minimize {
            minimize(target, &program, &found)?;
        }
    }
    Ok(())
}

/// Keeps the fewest inputs that reach what all of them reach.
fn minimize(target: Target, program: &Path, found: &Path) -> Outcome {
    let (corpus, fewest) = (target.corpus(), found.with_extension("fewest"));
    if fewest.exists() {
        fs::remove_dir_all(&fewest)?;
    }
    fs::create_dir_all(&fewest)?;
    process::run(Command::new(program).args(["-set_cover_merge=1", "-use_counters=0"]).args([
        fewest.as_path(),
        &corpus,
        found,
    ]))?;
    fs::remove_dir_all(&corpus)?;
    fs::create_dir_all(&corpus)?;
    for entry in fs::read_dir(&fewest)? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    Ok(())
}

// === impl Target ===

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The committed inputs.
    fn corpus(self) -> PathBuf {
        root().join("fuzz/corpus").join(self.name())
    }
}
