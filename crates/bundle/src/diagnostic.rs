//! Diagnostics: what is wrong with a project, where, and what to do next.
//!
//! One type for everything a person can cause, whether it was found in the configuration, in an environment file or by
//! the bundler: as data for a page in the browser, and as text with the source line and a caret for a terminal. It does
//! not print and knows no colours.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing was built.
    Error,
    /// It was built; something may not be as meant.
    Warning,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file: relative to the project's folder when it is inside of it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters of the line it covers, at least 1.
    pub length: u32,
    /// The line's text.
    pub source_line: String,
}

impl Location {
    /// The place of a range of bytes in a file's text. A range over several lines covers the rest of its first line.
    pub fn of(file: &Path, text: &str, span: Range<usize>) -> Self {
        let start = floor_char_boundary(text, span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor_char_boundary(text, span.end.clamp(start, line_end));
        Self {
            file: file.to_owned(),
            line: count(text[..line_start].matches('\n').count() + 1),
            column: count(text[line_start..start].chars().count() + 1),
            length: count(text[start..end].chars().count().max(1)),
            source_line: text[line_start..line_end].trim_end_matches('\r').to_owned(),
        }
    }
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, if it has a place.
    pub location: Option<Location>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something that stops the build.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), location: None, hint: None }
    }

    /// Something that does not stop the build.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same, with its place.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The widest piece of a source line that is shown, in characters: a minified line would fill the screen.
const FRAME_WIDTH: usize = 120;

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.severity.word(), self.message)?;
        if let Some(location) = &self.location {
            let number = location.line.to_string();
            let margin = " ".repeat(number.len());
            let (line, column, length) = window(location);
            write!(formatter, "\n{margin}--> {location}\n{margin} |\n{number} | {line}\n{margin} | ")?;
            write!(formatter, "{}{}", " ".repeat(column), "^".repeat(length))?;
        }
        if let Some(hint) = &self.hint {
            let margin = self.location.as_ref().map_or(1, |location| location.line.to_string().len());
            write!(
                formatter,
                "\n{} = {}",
                " ".repeat(margin),
                hint.replace('\n', &format!("\n{}   ", " ".repeat(margin)))
            )?;
        }
        Ok(())
    }
}

/// The piece of the source line to show, where the caret begins in it, and how long it is. A tabulator is one blank wide.
fn window(location: &Location) -> (String, usize, usize) {
    let column = location.column as usize - 1;
    let skipped = if column + 20 > FRAME_WIDTH { column - FRAME_WIDTH / 2 } else { 0 };
    let line: String = location
        .source_line
        .chars()
        .skip(skipped)
        .take(FRAME_WIDTH)
        .map(|char| if char == '\t' { ' ' } else { char })
        .collect();
    let column = column - skipped;
    (line, column, (location.length as usize).min(FRAME_WIDTH - column))
}

/// Why a project could not be built, and what to watch for the mending of it.
#[derive(Clone, Debug, Default)]
pub struct BuildError {
    /// At least one error; all that were found.
    pub errors: Vec<Diagnostic>,
    /// What was found besides.
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read or missed: a change in one of them may mend it.
    pub inputs: Vec<PathBuf>,
    /// Folders in which a new file may mend it, at any depth, `node_modules` and `.wrangler` left out.
    pub watch_dirs: Vec<PathBuf>,
}

impl BuildError {
    /// An error that a change in one of `inputs` may mend.
    pub(crate) fn new(errors: Vec<Diagnostic>, inputs: Vec<PathBuf>) -> Self {
        Self { errors, inputs, ..Self::default() }
    }
}

impl From<Diagnostic> for BuildError {
    fn from(error: Diagnostic) -> Self {
        Self::new(vec![error], Vec::new())
    }
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(formatter, "{gap}{error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Location};
    use std::path::Path;

    fn check(text: &str, span: std::ops::Range<usize>, expect: &str) {
        let diagnostic =
            Diagnostic::error("it is wrong").at(Location::of(Path::new("a.ts"), text, span)).hint("mend it\nnow");
        assert_eq!(diagnostic.to_string(), expect);
    }

    #[test]
    fn a_diagnostic_shows_the_line_with_a_caret() {
        check(
            "one\ntwo three\n",
            8..13,
            "error: it is wrong\n --> a.ts:2:5\n  |\n2 | two three\n  |     ^^^^^\n  = mend it\n    now",
        );
        // a span over several lines, a tabulator, characters of several bytes, the end of the file
        check("\té x\r\ny", 4..9, "error: it is wrong\n --> a.ts:1:4\n  |\n1 |  é x\n  |    ^^\n  = mend it\n    now");
        check("one", 3..3, "error: it is wrong\n --> a.ts:1:4\n  |\n1 | one\n  |    ^\n  = mend it\n    now");
        check("é", 1..9, "error: it is wrong\n --> a.ts:1:1\n  |\n1 | é\n  | ^\n  = mend it\n    now");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}x{}", "a".repeat(1000), "b".repeat(1000));
        let shown = Diagnostic::error("it is wrong").at(Location::of(Path::new("a.js"), &text, 1000..1001)).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].len() - "1 | ".len(), 120);
        assert_eq!(lines[3].find('x'), lines[4].find('^'));
    }
}
