//! New projects: what `skep init` writes, without the network.
//!
//! A project is a template's program and its test (`templates/`, real files that can be read and run) and around them the files
//! that every project has. It works with wrangler too.
//!
//! ```no_run
//! use skep_scaffold::{Language, NewProject, Template};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let project = NewProject::new("my-worker", Template::Hello, Language::TypeScript, "2026-10-06".parse()?)?;
//! let written = skep_scaffold::write(std::path::Path::new("my-worker"), &project)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod files;
mod template;
mod write;

use skep_worker::CompatibilityDate;

pub use files::files;
pub use template::{Language, Template};
pub use write::write;

/// A project to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProject {
    name: String,
    template: Template,
    language: Language,
    compatibility_date: CompatibilityDate,
}

impl NewProject {
    /// Checks the name: it becomes the Worker's and the package's.
    ///
    /// # Errors
    /// It cannot be a Worker's name.
    pub fn new(
        name: impl Into<String>,
        template: Template,
        language: Language,
        compatibility_date: CompatibilityDate,
    ) -> Result<Self, ScaffoldError> {
        let name = name.into();
        if !skep_bundle::is_valid_name(&name) {
            let suggestion = suggest(&name);
            return Err(ScaffoldError::Name { name, suggestion });
        }
        Ok(Self { name, template, language, compatibility_date })
    }
}

/// A name that a Worker may have and that looks like this one.
fn suggest(name: &str) -> String {
    let char = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(char).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "my-worker".to_owned() } else { name.to_owned() }
}

/// Why no project was made. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Not a Worker's name.
    #[error(
        "\"{name}\" cannot be a Worker's name (lower-case letters, digits, - and _, at most 63): \"{suggestion}\" could be"
    )]
    Name {
        /// As given.
        name: String,
        /// One that would do.
        suggestion: String,
    },
    /// The folder has files that would be overwritten. Nothing was changed.
    #[error("{folder} already has {}: choose another folder, or move them away", files.join(", "))]
    Exists {
        /// The folder.
        folder: String,
        /// The files, relative to it.
        files: Vec<String>,
    },
    /// A file or folder could not be written. What was written before it is gone again.
    #[error("cannot write {path}: {source}; check the folder's permissions and the space on the disk")]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::{Language, NewProject, Template};

    #[test]
    fn names() {
        let check = |name: &str, expect: Option<&str>| {
            let project = NewProject::new(name, Template::Hello, Language::TypeScript, "2026-10-06".parse().unwrap());
            assert_eq!(
                project
                    .err()
                    .map(|error| error.to_string().rsplit('"').nth(1).unwrap_or_default().to_owned())
                    .as_deref(),
                expect,
                "{name}"
            );
        };
        check("my-worker", None);
        check("a_1", None);
        check("My App", Some("my-app"));
        check("-x-", Some("x"));
        check("é", Some("my-worker"));
        check("", Some("my-worker"));
        check(&"a".repeat(64), Some(&"a".repeat(63)));
    }
}
