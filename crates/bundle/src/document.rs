//! Documents: a JSON or TOML file as a tree of values that know where they stand.
//!
//! The configuration is read through this tree, so that every complaint about it can show the line. It knows nothing of
//! what the keys mean.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Number;

use crate::diagnostic::{Diagnostic, Location};

/// A file and the tree of its values.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The file, as messages show it.
    pub(crate) file: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// Its outermost value: always a table.
    pub(crate) root: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: Value,
    /// Its bytes in the file.
    pub(crate) span: Range<usize>,
}

/// A value. TOML's dates are strings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key of a table and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

impl Document {
    /// Reads a text by its file's extension: `.toml` is TOML, all else is JSON with comments and trailing commas.
    ///
    /// # Errors
    /// What is not JSON or TOML, each mistake with its place.
    pub(crate) fn parse(file: &Path, text: String) -> Result<Self, Vec<Diagnostic>> {
        let root = if file.extension().is_some_and(|extension| extension == "toml") {
            parse_toml(file, &text)?
        } else {
            parse_json(file, &text).map_err(|error| vec![error])?
        };
        Ok(Self { file: file.to_owned(), text, root })
    }

    /// What stands for a file that is not there: no keys at all.
    pub(crate) fn empty() -> Self {
        Self {
            file: PathBuf::from("wrangler.jsonc"),
            text: String::new(),
            root: Node { value: Value::Table(Vec::new()), span: 0..0 },
        }
    }

    /// The place of a span.
    pub(crate) fn location(&self, span: &Range<usize>) -> Location {
        Location::of(&self.file, &self.text, span.clone())
    }

    /// Whether the file is TOML: hints are written in the file's own language.
    pub(crate) fn is_toml(&self) -> bool {
        self.file.extension().is_some_and(|extension| extension == "toml")
    }
}

impl Node {
    /// The entry of that key, if this is a table that has it. The last one counts, as in JavaScript.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().rfind(|entry| entry.key == key)
    }

    /// The value of that key, if this is a table that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entries of a table; of anything else, none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of an array; of anything else, none.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match &self.value {
            Value::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The strings of an array of strings.
    pub(crate) fn strings(&self) -> Vec<String> {
        self.elements().iter().filter_map(Self::as_str).map(str::to_owned).collect()
    }

    /// Whether there is nothing in it: null, false, an empty string, array or table.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(elements) => elements.is_empty(),
            Value::Table(entries) => entries.iter().all(|entry| entry.node.is_empty()),
            Value::Bool(true) | Value::Number(_) => false,
        }
    }

    /// The value as JSON, without its places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::String(text) => text.as_str().into(),
            Value::Array(elements) => elements.iter().map(Self::to_json).collect(),
            Value::Table(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
        }
    }
}

impl Value {
    /// What kind of value it is, for "expected …, found …".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Table(_) => "an object",
        }
    }
}

fn parse_json(file: &Path, text: &str) -> Result<Node, Diagnostic> {
    let options = jsonc_parser::ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let is_not_json = |message: String, span: Range<usize>| {
        Diagnostic::error(format!("this is not JSON: {message}"))
            .at(Location::of(file, text, span))
            .hint("mend the syntax; comments and trailing commas are allowed")
    };
    let parsed =
        jsonc_parser::parse_to_ast(text, &jsonc_parser::CollectOptions::default(), &options).map_err(|error| {
            let range = error.range();
            is_not_json(lower_first(&error.kind().to_string()), range.start..range.end)
        })?;
    match parsed.value {
        Some(value @ jsonc_parser::ast::Value::Object(_)) => Ok(json_node(value)),
        Some(_) => Err(is_not_json("expected an object in braces".to_owned(), 0..0)),
        None => Err(is_not_json("the file is empty, expected an object in braces".to_owned(), 0..0)),
    }
}

fn json_node(value: jsonc_parser::ast::Value<'_>) -> Node {
    use jsonc_parser::ast::Value as Json;
    let (value, range) = match value {
        Json::NullKeyword(node) => (Value::Null, node.range),
        Json::BooleanLit(node) => (Value::Bool(node.value), node.range),
        Json::StringLit(node) => (Value::String(node.value.into_owned()), node.range),
        Json::NumberLit(node) => (number(node.value), node.range),
        Json::Array(node) => (Value::Array(node.elements.into_iter().map(json_node).collect()), node.range),
        Json::Object(node) => {
            let entry = |property: jsonc_parser::ast::ObjectProp<'_>| {
                let name_range = match &property.name {
                    jsonc_parser::ast::ObjectPropName::String(name) => name.range,
                    jsonc_parser::ast::ObjectPropName::Word(name) => name.range,
                };
                Entry {
                    key: property.name.into_string(),
                    key_span: name_range.start..name_range.end,
                    node: json_node(property.value),
                }
            };
            (Value::Table(node.properties.into_iter().map(entry).collect()), node.range)
        }
    };
    Node { value, span: range.start..range.end }
}

/// A number by its text; what is too big or too precise for one stays a string, so that nothing is lost silently.
fn number(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| Value::String(text.to_owned()), Value::Number)
}

fn parse_toml(file: &Path, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(Node { value: toml_table(table.into_inner()), span });
    }
    let diagnostic = |error: &toml::de::Error| {
        Diagnostic::error(format!("this is not TOML: {}", error.message()))
            .at(Location::of(file, text, error.span().unwrap_or(0..0)))
            .hint("mend the syntax: https://toml.io")
    };
    Err(errors.iter().map(diagnostic).collect())
}

fn toml_table(table: toml::de::DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry { key_span: key.span(), key: key.into_inner().into_owned(), node: toml_node(value) })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Value::Table(entries)
}

fn toml_node(value: toml::Spanned<toml::de::DeValue<'_>>) -> Node {
    use toml::de::DeValue as Toml;
    let span = value.span();
    let value = match value.into_inner() {
        Toml::String(text) => Value::String(text.into_owned()),
        Toml::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Value::String(integer.to_string()), |integer| Value::Number(integer.into())),
        Toml::Float(float) => number(float.as_str()),
        Toml::Boolean(value) => Value::Bool(value),
        Toml::Datetime(date) => Value::String(date.to_string()),
        Toml::Array(array) => Value::Array(array.into_iter().map(toml_node).collect()),
        Toml::Table(table) => toml_table(table),
    };
    Node { value, span }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Document;

    fn json(file: &str, text: &str) -> String {
        match Document::parse(Path::new(file), text.to_owned()) {
            Ok(document) => document.root.to_json().to_string(),
            Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    }

    #[test]
    fn json_and_toml_give_the_same_tree() {
        let expect = r#"{"name":"a","vars":{"N":1.5,"T":true},"list":[{"x":1},{"x":2}],"day":"2026-10-06"}"#;
        let check = |file, text| assert_eq!(json(file, text), expect);
        check(
            "wrangler.jsonc",
            "{ // a comment\n\"name\": \"a\", \"vars\": {\"N\": 1.5, \"T\": true,}, \"list\": [{\"x\": 1}, {\"x\": 2},], /* */ \"day\": \"2026-10-06\" }",
        );
        check(
            "wrangler.toml",
            "name = 'a'\nvars = { N = 1.5, T = true }\nlist = [{ x = 1 }, { x = 2 }]\nday = 2026-10-06\n",
        );
    }

    #[test]
    fn a_syntax_error_shows_its_line_and_what_was_expected() {
        let check = |file, text, expect: &str| assert_eq!(json(file, text), expect);
        check(
            "wrangler.jsonc",
            "{\n  \"name\": \"a\"\n  \"main\": \"b\"\n}",
            "error: this is not JSON: expected comma\n --> wrangler.jsonc:2:14\n  |\n2 |   \"name\": \"a\"\n  |              ^\n  = mend the syntax; comments and trailing commas are allowed",
        );
        check(
            "wrangler.json",
            "[]",
            "error: this is not JSON: expected an object in braces\n --> wrangler.json:1:1\n  |\n1 | []\n  | ^\n  = mend the syntax; comments and trailing commas are allowed",
        );
        check(
            "wrangler.toml",
            "name = a\nmain = \"b\"\n",
            "error: this is not TOML: string values must be quoted, expected literal string\n --> wrangler.toml:1:8\n  |\n1 | name = a\n  |        ^\n  = mend the syntax: https://toml.io",
        );
    }

    #[test]
    fn a_key_knows_its_place() {
        for (file, text) in [("a.json", "{\n  \"dev\": {\"port\": 1}}"), ("a.toml", "[dev]\nport = 1\n")] {
            let document = Document::parse(Path::new(file), text.to_owned()).unwrap();
            let port = document.root.get("dev").unwrap().entry("port").unwrap();
            assert!(document.text[port.key_span.clone()].contains("port"), "{file}");
            assert_eq!(&document.text[port.node.span.clone()], "1", "{file}");
        }
    }
}
