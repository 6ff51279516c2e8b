//! What commands say when they are not a server: results on standard output, errors, warnings and progress on standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where commands print")]

use std::error::Error;
use std::io::{self, IsTerminal as _, Read as _, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

/// A line of a result. A reader that has gone away is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// A result for programs: one JSON document on one line.
pub(crate) fn document(value: &impl Serialize) {
    // What commands show is all JSON.
    line(&serde_json::to_value(value).unwrap_or_default().to_string());
}

/// A value of the API as people read it.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Bytes of a result as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}

/// A warning.
pub(crate) fn warning(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error. Those that begin with their own word for it are shown as they are.
pub(crate) fn error(text: &str) {
    let prefix = if text.starts_with("error") { "" } else { "error: " };
    let _ = writeln!(io::stderr(), "{prefix}{text}");
}

/// An error for programs: `{"error": {"message", "code", "status", "diagnostics"}}`, where the last three are there if they are known.
pub(crate) fn error_document(error: &(dyn Error + 'static)) {
    let mut shown = json!({ "message": error.to_string() });
    let known = error.downcast_ref::<skep_client::Error>();
    if let Some(known) = known {
        shown["code"] = json!(known.code());
        shown["status"] = json!(known.status());
    }
    let build = match known {
        Some(skep_client::Error::Build(build)) => Some(build),
        _ => error.downcast_ref::<skep_bundle::BuildError>(),
    };
    if let Some(build) = build {
        shown["diagnostics"] = json!(build.errors);
    }
    let _ = writeln!(io::stderr(), "{}", json!({ "error": shown }));
}

/// Rows in columns that are as wide as they need to be.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let shown = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    shown(&heads.map(str::to_owned));
    rows.iter().for_each(shown);
}

/// How far something is: on a terminal one line that changes, else a line for each step.
pub(crate) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
}

impl Progress {
    /// Progress of a command; of one whose output is for a program there is none.
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: io::stderr().is_terminal() }
    }

    /// A step has begun, or got further.
    pub(crate) fn step(&self, text: &str) {
        if self.is_quiet {
            return;
        }
        // ECMA-48: back to the first column, erase the line.
        let _ =
            if self.is_terminal { write!(io::stderr(), "\r\u{1b}[2K{text}") } else { writeln!(io::stderr(), "{text}") };
        let _ = io::stderr().flush();
    }

    /// All steps are done: the line is free again.
    pub(crate) fn done(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = write!(io::stderr(), "\r\u{1b}[2K");
            let _ = io::stderr().flush();
        }
    }
}

/// Whether there is somebody to ask.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether somebody looks at the results.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Asks a question with a default answer, if there is a person to ask.
pub(crate) fn ask(question: &str, default: &str) -> Option<String> {
    if !is_attended() {
        return None;
    }
    let _ = write!(io::stderr(), "{question} ({default}) ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    let answer = answer.trim();
    Some(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}

/// Asks whether to go on.
///
/// # Errors
/// When nobody can be asked, or the answer is no.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Box<dyn Error>> {
    if yes {
        return Ok(());
    }
    match ask(&format!("{question} [y/N]"), "no").map(|answer| answer.to_lowercase()) {
        Some(answer) if answer == "y" || answer == "yes" => Ok(()),
        Some(_) => Err("nothing was changed".into()),
        None => Err(format!("{question} Nobody can be asked here: add -y to say yes").into()),
    }
}

/// A text that nobody should see: from standard input, or typed without an echo. A line break at its end does not belong to it.
///
/// # Errors
/// When there is none.
pub(crate) fn secret(question: &str) -> Result<String, Box<dyn Error>> {
    let text = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{question}: "))?
    } else {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input cannot be read: {error}"))?;
        let end = text.strip_suffix('\n').map_or(text.len(), str::len);
        text.truncate(end);
        let end = text.strip_suffix('\r').map_or(text.len(), str::len);
        text.truncate(end);
        text
    };
    if text.is_empty() {
        return Err(format!("{question}: nothing was given. Pass it through standard input, or type it").into());
    }
    Ok(text)
}

/// The whole standard input as a text.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub(crate) fn input() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input cannot be read: {error}"))?;
    Ok(text)
}

/// A size as people read it.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / KIB),
        _ => format!("{:.1} MiB", bytes as f64 / KIB / KIB),
    }
}
