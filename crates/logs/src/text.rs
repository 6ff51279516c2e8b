//! Looking for a text in events: in their console lines, exceptions, and what they were about, and not in headers or names of fields.
//!
//! Most blocks and entries are left out by a quick look at the bytes as they are. What is left is read as JSON, as a text that was logged is escaped
//! there. Letters' case does not matter, in any alphabet.

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::block::Record;

/// Parts of a text that are looked for in bytes: more leave out little more.
const MOST_PARTS: usize = 8;

/// What a text is that somebody looks for.
pub(crate) struct Text {
    /// In small letters.
    folded: String,
    /// The parts of it that are the same in JSON, in small letters, the longest first.
    parts: Vec<Finder<'static>>,
    /// How JSON begins a letter that is written as its number.
    number: Finder<'static>,
}

/// The parts of an event that are of interest.
#[derive(Deserialize)]
struct Event<'e> {
    #[serde(borrow, default)]
    logs: Vec<Line<'e>>,
    #[serde(borrow, default)]
    exceptions: Vec<Exception<'e>>,
}

#[derive(Deserialize)]
struct Line<'e> {
    #[serde(borrow)]
    message: &'e RawValue,
}

#[derive(Deserialize)]
struct Exception<'e> {
    #[serde(borrow)]
    name: Option<&'e RawValue>,
    #[serde(borrow)]
    message: Option<&'e RawValue>,
    #[serde(borrow)]
    stack: Option<&'e RawValue>,
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let folded = fold(text);
        // Spaces and colons may stand between what is apart in JSON: arguments of a line, an exception's name and message.
        let is_plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '/' | ':');
        let mut parts: Vec<&str> = folded.split(|letter| !is_plain(letter)).filter(|part| !part.is_empty()).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.truncate(MOST_PARTS);
        let parts = parts.into_iter().map(|part| Finder::new(part).into_owned()).collect();
        Self { folded, parts, number: Finder::new(b"\\u00") }
    }

    /// Whether bytes of entries may have it. `lowered` is room for them.
    pub(crate) fn may_be_in(&self, bytes: &[u8], lowered: &mut Vec<u8>) -> bool {
        lowered.clear();
        lowered.extend_from_slice(bytes);
        lowered.make_ascii_lowercase();
        self.parts.iter().all(|part| part.find(lowered).is_some()) || self.has_numbers(lowered)
    }

    /// Whether bytes have letters of a part that are written as numbers. Control characters often are, and are in no part.
    fn has_numbers(&self, lowered: &[u8]) -> bool {
        let mut digits = self.number.find_iter(lowered).map(|at| lowered.get(at + 4));
        digits.any(|digit| digit.is_some_and(|digit| (b'2'..=b'7').contains(digit)))
    }

    /// Whether an entry has it. `lowered` is room for its bytes.
    pub(crate) fn is_in(&self, record: &Record<'_>, lowered: &mut Vec<u8>) -> bool {
        if record.what.is_some_and(|what| self.is_part(what)) {
            return true;
        }
        if !self.may_be_in(record.event.as_bytes(), lowered) {
            return false;
        }
        let Ok(event) = serde_json::from_str::<Event<'_>>(record.event) else {
            return self.is_part(record.event);
        };
        let is_logged = |line: &Line<'_>| self.is_part(&line_text(line.message));
        let is_thrown = |exception: &Exception<'_>| {
            let [name, message] = [exception.name, exception.message].map(|part| part.map(text).unwrap_or_default());
            self.is_part(&format!("{name}: {message}"))
                || exception.stack.is_some_and(|stack| self.is_part(&text(stack)))
        };
        event.logs.iter().any(is_logged) || event.exceptions.iter().any(is_thrown)
    }

    fn is_part(&self, of: &str) -> bool {
        fold(of).contains(&self.folded)
    }
}

/// A text in small letters. What is no ASCII never becomes ASCII, so that a look at the bytes finds all that this does.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
        } else if letter.to_lowercase().any(|small| small.is_ascii()) {
            folded.push(letter);
        } else {
            folded.extend(letter.to_lowercase());
        }
    }
    folded
}

/// A console line as a person reads it: its arguments, with spaces between them.
fn line_text(message: &RawValue) -> String {
    match serde_json::from_str::<Vec<&RawValue>>(message.get()) {
        Ok(arguments) => arguments.into_iter().map(text).collect::<Vec<_>>().join(" "),
        Err(_) => text(message),
    }
}

/// A string's text, or another value as JSON. A string that is no text, as JavaScript has them, stays as it is written.
fn text(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[cfg(test)]
mod tests;
