//! What a person reads in the end, in Markdown.

use std::fmt;

use crate::promise::Finding;
use crate::table::Table;

/// What one benchmark found.
pub(crate) struct Section {
    pub(crate) title: String,
    /// How it was measured.
    pub(crate) method: String,
    pub(crate) table: Table,
    /// What a reader has to know about the numbers.
    pub(crate) notes: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "## {}\n\n{}\n\n{}", self.title, self.method, self.table)?;
        for note in &self.notes {
            writeln!(formatter, "- {note}")?;
        }
        if self.notes.is_empty() { Ok(()) } else { writeln!(formatter) }
    }
}
