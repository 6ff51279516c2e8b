//! The keys a configuration may have: a table (`keys.txt`) and what follows from it without knowing what a key means:
//! values of the wrong kind, missing keys, keys that do not exist.

use std::collections::HashMap;
use std::sync::LazyLock;

use skep_worker::compatibility::nearest;

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Entry, Node, Value};

/// One key of a configuration's top level or of an environment.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) support: Support,
    shape: Shape,
}

/// Where a key may stand, and what environments do with the top level's value.
/// <https://developers.cloudflare.com/workers/wrangler/configuration/#environments>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Only at the top level.
    Top,
    /// An environment takes the top level's value unless it has its own.
    Inherited,
    /// An environment has its own or none.
    Own,
}

/// What Skep does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// What it says, or there is nothing to do.
    Works,
    /// It declares bindings.
    Binding,
    /// It concerns deploys only.
    Deploy,
    /// Not supported yet.
    Missing,
}

/// What a value must look like.
#[derive(Clone, Debug)]
enum Shape {
    Any,
    Null,
    String,
    Boolean,
    Number,
    Literal(&'static str),
    Array(Box<Self>),
    Map(Box<Self>),
    Table { fields: Vec<Field>, open: bool },
    OneOf(Vec<Self>),
}

/// One key of a table inside of a key's value.
#[derive(Clone, Debug)]
struct Field {
    name: &'static str,
    required: bool,
    shape: Shape,
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut named = HashMap::new();
    let mut keys = Vec::new();
    for line in include_str!("keys.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, shape)) = line.strip_prefix('@').and_then(|line| line.split_once(" = ")) {
            let shape = ShapeReader { rest: shape, named: &named }.one_of();
            named.insert(name, shape);
            continue;
        }
        let (name, rest) = line.split_once(' ').expect("a line of keys.txt has four columns");
        let (scope, rest) = rest.trim_start().split_once(' ').expect("a line of keys.txt has four columns");
        let (support, shape) = rest.trim_start().split_once(' ').expect("a line of keys.txt has four columns");
        keys.push(Key {
            name,
            scope: match scope {
                "top" => Scope::Top,
                "inherited" => Scope::Inherited,
                "own" => Scope::Own,
                other => panic!("keys.txt: {other} is no scope"),
            },
            support: match support {
                "works" | "quiet" => Support::Works,
                "binding" => Support::Binding,
                "deploy" => Support::Deploy,
                "missing" => Support::Missing,
                other => panic!("keys.txt: {other} is no support"),
            },
            shape: ShapeReader { rest: shape.trim_start(), named: &named }.one_of(),
        });
    }
    keys
});

/// Every key, in the table's order.
pub(crate) fn keys() -> &'static [Key] {
    &KEYS
}

/// Reads the notation of `keys.txt`. The table is part of the program: a mistake in it is a bug and panics.
struct ShapeReader<'a> {
    rest: &'static str,
    named: &'a HashMap<&'static str, Shape>,
}

impl ShapeReader<'_> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> &'static str {
        self.rest = self.rest.trim_start();
        let end =
            self.rest.find(|char: char| !(char.is_alphanumeric() || "_-$".contains(char))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        assert!(!word.is_empty(), "keys.txt: expected a word at \"{rest}\"");
        self.rest = rest;
        word
    }

    fn one_of(&mut self) -> Shape {
        let mut shapes = vec![self.shape()];
        while self.take("|") {
            shapes.push(self.shape());
        }
        if shapes.len() == 1 { shapes.remove(0) } else { Shape::OneOf(shapes) }
    }

    fn shape(&mut self) -> Shape {
        if self.take("[") {
            let item = self.one_of();
            assert!(self.take("]"), "keys.txt: expected ] at \"{}\"", self.rest);
            Shape::Array(Box::new(item))
        } else if self.take("<") {
            let item = self.one_of();
            assert!(self.take(">"), "keys.txt: expected > at \"{}\"", self.rest);
            Shape::Map(Box::new(item))
        } else if self.take("{") {
            self.table()
        } else if self.take("@") {
            let name = self.word();
            self.named.get(name).unwrap_or_else(|| panic!("keys.txt: no shape @{name}")).clone()
        } else if self.take("\"") {
            let (literal, rest) = self.rest.split_once('"').expect("a literal of keys.txt ends");
            self.rest = rest;
            Shape::Literal(literal)
        } else {
            match self.word() {
                "any" => Shape::Any,
                "null" => Shape::Null,
                "string" => Shape::String,
                "boolean" => Shape::Boolean,
                "number" => Shape::Number,
                other => panic!("keys.txt: {other} is no shape"),
            }
        }
    }

    fn table(&mut self) -> Shape {
        let mut fields = Vec::new();
        let mut open = false;
        while !self.take("}") {
            if self.take("...") {
                open = true;
                continue;
            }
            let name = self.word();
            let required = self.take("!");
            assert!(self.take(":"), "keys.txt: expected : at \"{}\"", self.rest);
            fields.push(Field { name, required, shape: self.one_of() });
            self.take(",");
        }
        Shape::Table { fields, open }
    }
}

impl Shape {
    /// Whether a value is of this kind, its inside not looked at.
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Null => matches!(value, Value::Null),
            Self::String => matches!(value, Value::String(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Number => matches!(value, Value::Number(_)),
            Self::Literal(literal) => matches!(value, Value::String(text) if text == literal),
            Self::Array(_) => matches!(value, Value::Array(_)),
            Self::Map(_) | Self::Table { .. } => matches!(value, Value::Table(_)),
            Self::OneOf(shapes) => shapes.iter().any(|shape| shape.fits(value)),
        }
    }

    /// What is expected, and how to write it.
    fn expectation(&self) -> (String, String) {
        let pair = |name: &str, advice: &str| (name.to_owned(), advice.to_owned());
        match self {
            Self::Any => pair("anything", "write a value"),
            Self::Null => pair("null", "write null"),
            Self::String => pair("a string", "write it in double quotes"),
            Self::Boolean => pair("a boolean", "write true or false, without quotes"),
            Self::Number => pair("a number", "write the number without quotes"),
            Self::Literal(literal) => (format!("\"{literal}\""), format!("write \"{literal}\"")),
            Self::Array(_) => pair("an array", "write a list in brackets: [ … ]"),
            Self::Map(_) | Self::Table { .. } => pair("an object", "write keys and values in braces: { … }"),
            Self::OneOf(shapes) => {
                let names: Vec<String> = shapes.iter().map(|shape| shape.expectation().0).collect();
                let names = names.join(" or ");
                (names.clone(), format!("write {names}"))
            }
        }
    }
}

/// Compares a document's tables with the table of keys.
pub(crate) struct Checker<'a> {
    pub(crate) document: &'a Document,
    /// Values of the wrong kind and missing keys.
    pub(crate) errors: Vec<Diagnostic>,
    /// Keys that do not exist.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Checker<'_> {
    /// Checks the top level, or with a name an environment. `also` are further keys that are known there.
    pub(crate) fn settings(&mut self, table: &Node, environment: Option<&str>, also: &[&str]) {
        for entry in table.entries() {
            let path = environment.map_or_else(|| entry.key.clone(), |name| format!("env.{name}.{}", entry.key));
            match keys().iter().find(|key| key.name == entry.key) {
                Some(key) if environment.is_some() && key.scope == Scope::Top => {
                    let message = format!("\"{path}\" has no effect: \"{}\" is a key of the top level", key.name);
                    self.warn(entry, message, "move it out of the environment");
                }
                Some(key) => self.value(&key.shape, &entry.node, &path),
                None if also.contains(&entry.key.as_str()) => {}
                None => {
                    let known = keys().iter().filter(|key| environment.is_none() || key.scope != Scope::Top);
                    let known: Vec<&str> = known.map(|key| key.name).collect();
                    self.unknown(entry, &path, &known);
                }
            }
        }
    }

    fn value(&mut self, shape: &Shape, node: &Node, path: &str) {
        let shape = match shape {
            Shape::OneOf(shapes) => shapes.iter().find(|shape| shape.fits(&node.value)).unwrap_or(shape),
            _ => shape,
        };
        if !shape.fits(&node.value) {
            return self.mismatch(shape, node, path);
        }
        match shape {
            Shape::Array(item) => {
                for (index, element) in node.elements().iter().enumerate() {
                    self.value(item, element, &format!("{path}[{index}]"));
                }
            }
            Shape::Map(item) => {
                for entry in node.entries() {
                    self.value(item, &entry.node, &format!("{path}.{}", entry.key));
                }
            }
            Shape::Table { fields, open } => self.table(fields, *open, node, path),
            _ => {}
        }
    }

    fn table(&mut self, fields: &[Field], open: bool, node: &Node, path: &str) {
        for entry in node.entries() {
            let path = format!("{path}.{}", entry.key);
            match fields.iter().find(|field| field.name == entry.key) {
                Some(field) => self.value(&field.shape, &entry.node, &path),
                None if open => {}
                None => self.unknown(entry, &path, &fields.iter().map(|field| field.name).collect::<Vec<_>>()),
            }
        }
        for field in fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
            let (expected, _) = field.shape.expectation();
            let error = Diagnostic::error(format!("\"{path}\" has no \"{}\"", field.name))
                .at(self.document.location(&node.span))
                .hint(format!("add \"{}\": it is {expected}", field.name));
            self.errors.push(error);
        }
    }

    fn mismatch(&mut self, shape: &Shape, node: &Node, path: &str) {
        let (expected, mut advice) = shape.expectation();
        if let (Shape::OneOf(shapes), Some(text)) = (shape, node.as_str()) {
            let literals = shapes
                .iter()
                .filter_map(|shape| if let Shape::Literal(literal) = shape { Some(*literal) } else { None });
            advice = nearest(text, literals)
                .map_or_else(|| "choose one of them".to_owned(), |nearest| format!("did you mean \"{nearest}\"?"));
        }
        let found = match &node.value {
            Value::String(text) if expected.starts_with('"') => format!("\"{text}\""),
            value => value.kind().to_owned(),
        };
        let error = Diagnostic::error(format!("\"{path}\" must be {expected}, found {found}"))
            .at(self.document.location(&node.span))
            .hint(advice);
        self.errors.push(error);
    }

    fn unknown(&mut self, entry: &Entry, path: &str, known: &[&str]) {
        let hint = if let Some(nearest) = nearest(&entry.key, known.iter().copied()) {
            format!("did you mean \"{nearest}\"? An unknown key is ignored")
        } else if path.contains('.') && keys().iter().any(|key| key.name == entry.key) {
            "it is a key of the top level: move it there (in TOML: above the first [table])".to_owned()
        } else if path.contains(['.', '[']) && known.len() <= 12 {
            format!("an unknown key is ignored; here can be {}", known.join(", "))
        } else {
            "remove it: an unknown key is ignored".to_owned()
        };
        self.warn(entry, format!("there is no key \"{path}\""), &hint);
    }

    fn warn(&mut self, entry: &Entry, message: String, hint: &str) {
        self.warnings.push(Diagnostic::warning(message).at(self.document.location(&entry.key_span)).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Shape, keys};

    #[test]
    fn the_table_of_keys_is_read() {
        assert_eq!(keys().len(), 91);
        let key = |name: &str| keys().iter().find(|key| key.name == name).unwrap();
        assert_eq!(key("main").scope, Scope::Inherited);
        assert_eq!(key("vars").scope, Scope::Own);
        assert_eq!(key("alias").scope, Scope::Top);
        assert!(
            matches!(&key("kv_namespaces").shape, Shape::Array(item) if matches!(&**item, Shape::Table { fields, open: false } if fields.len() == 4))
        );
    }
}
