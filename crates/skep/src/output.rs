//! What commands say when they are not a server: results on standard output, errors and warnings on standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where commands print")]

use std::io::{self, IsTerminal as _, Write as _};

/// A line of a result. A reader that has gone away is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
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

/// Asks a question with a default answer, if there is a person to ask.
pub(crate) fn ask(question: &str, default: &str) -> Option<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let _ = write!(io::stderr(), "{question} ({default}) ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    let answer = answer.trim();
    Some(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}
