//! docs/COMPATIBILITY.md says what is: its globals against the running isolate and against workerd's, its members and
//! flags word for word. With SKEP_UPDATE=1 the members and flags are written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use libtest_mimic::Trial;
use serde_json::Value;
use skep_test_support::test;
use skep_worker::compatibility::{Support, flags};

use crate::conformance::{answers, recorded};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("compatibility::globals", globals),
        test("compatibility::members", members),
        test("compatibility::flags", || async { check_section("flags", &flag_table()) }),
    ]
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMPATIBILITY.md")
}

fn document() -> String {
    std::fs::read_to_string(path()).expect("docs/COMPATIBILITY.md is there")
}

/// The part of the document between the marks of a name, without them.
fn section<'a>(document: &'a str, name: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("<!-- {name} -->\n")).expect("the section begins");
    rest.split_once(&format!("<!-- end of {name} -->")).expect("the section ends").0
}

/// A section of the document is this text, or becomes it.
fn check_section(name: &str, expected: &str) {
    let document = document();
    let given = section(&document, name);
    if given == expected {
        return;
    }
    if std::env::var_os("SKEP_UPDATE").is_some() {
        let marked = |text: &str| format!("<!-- {name} -->\n{text}<!-- end of {name} -->");
        std::fs::write(path(), document.replace(&marked(given), &marked(expected)))
            .expect("the document can be written");
        return;
    }
    panic!("the section \"{name}\" of docs/COMPATIBILITY.md should be this (SKEP_UPDATE=1 writes it):\n{expected}");
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

async fn shape() -> Value {
    Value::Object(answers(include_str!("conformance/shape.js")).await)
}

/// The names in the first cells of the table of globals, each with the word of its row.
fn listed() -> BTreeMap<String, String> {
    let document = document();
    let mut listed = BTreeMap::new();
    for row in section(&document, "globals").lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split('|');
        let names = cells.next().unwrap_or_default();
        let word = cells.next().unwrap_or_default().trim();
        assert!(["works", "differs", "missing"].contains(&word), "{row}");
        for name in names.split('`').skip(1).step_by(2) {
            assert!(listed.insert(name.to_owned(), word.to_owned()).is_none(), "{name} is listed twice");
        }
    }
    listed
}

async fn globals() {
    let shape = shape().await;
    let (ours, recorded, listed) = (strings(&shape["globals"]), recorded(), listed());
    let theirs: BTreeSet<String> =
        strings(&recorded["shape"]["globals"]).union(&strings(&recorded["globalsWithNode"])).cloned().collect();
    let mut wrong = Vec::new();
    for name in ours.union(&theirs) {
        match (ours.contains(name), listed.get(name).map(String::as_str)) {
            (_, None) => wrong.push(format!("{name} is not listed")),
            (true, Some("missing")) => wrong.push(format!("{name} is listed as missing and is there")),
            (false, Some("works" | "differs")) => wrong.push(format!("{name} is listed and is not there")),
            _ => {}
        }
    }
    wrong.extend(
        listed
            .keys()
            .filter(|name| !ours.contains(*name) && !theirs.contains(*name))
            .map(|name| format!("{name} is listed, and neither Skep nor workerd has it")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn members() {
    let (shape, recorded) = (shape().await, recorded());
    let (ours, theirs) = (&shape["members"], &recorded["shape"]["members"]);
    let mut table = "| Class or object | Missing | Only in Skep |\n| --- | --- | --- |\n".to_owned();
    for (class, theirs) in theirs.as_object().expect("an object") {
        let Some(ours) = ours.get(class) else { continue };
        let (ours, theirs) = (strings(ours), strings(theirs));
        let names = |names: Vec<&String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        let missing = names(theirs.difference(&ours).collect());
        let more = names(ours.difference(&theirs).filter(|name| name.ends_with("()")).collect());
        if !missing.is_empty() || !more.is_empty() {
            let _ = writeln!(table, "| `{class}` | {missing} | {more} |");
        }
    }
    check_section("members", &table);
}

fn flag_table() -> String {
    let mut table =
        "| Flag | Turned off by | On by default from | Skep | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for flag in flags() {
        if flag.support == Support::NotApplicable {
            continue;
        }
        let off = flag.disable.map(|name| format!("`{name}`")).unwrap_or_default();
        let from = flag.default_from.map(|date| date.to_string()).unwrap_or_default();
        let _ = writeln!(table, "| `{}` | {off} | {from} | {} | {} |", flag.enable, flag.support.word(), flag.note);
    }
    let others: Vec<String> = flags()
        .iter()
        .filter(|flag| flag.support == Support::NotApplicable)
        .map(|flag| format!("`{}`", flag.enable))
        .collect();
    let _ = write!(table, "\nThese {}: {}.\n", Support::NotApplicable.word().replace("does", "do"), others.join(", "));
    table
}
