//! 100 KB of JSON, read and written.

use std::error::Error;
use std::fmt::Write as _;

use crate::Bench;
use crate::client::post;
use crate::contest::Contest;
use crate::items::throughput;
use crate::report::Section;

const BYTES: usize = 100_000;
const CONNECTIONS: usize = 8;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let document = document();
    let request = post(document.as_bytes());
    let contest = Contest::run(bench, &bench.contestants(), "parse", "parse", |server| {
        throughput::measure(bench, server, CONNECTIONS, &request, document.as_bytes())
    })?;
    Ok(Section {
        title: format!("parse: 100 KB of JSON parsed and stringified, {CONNECTIONS} connections"),
        method: "`POST /` with a document that is answered with the same document.".to_owned(),
        table: throughput::table(&contest, "requests/s", "CPU µs/request"),
        findings: Vec::new(),
        notes: contest.remarks(),
    })
}

/// A list of orders, written as `JSON.stringify` writes it.
fn document() -> String {
    let mut text = "[".to_owned();
    let mut number = 0_u32;
    while text.len() < BYTES {
        let separator = if number == 0 { "" } else { "," };
        let paid = number.is_multiple_of(3);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{separator}{{"id":{number},"name":"Order {number} of the day","price":{}.25,"paid":{paid},"tags":["new","größer",null],"address":{{"street":"Main Street {number}","city":"Springfield"}}}}"#,
            number * 7 % 1000
        );
        number += 1;
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::{BYTES, document};

    #[test]
    fn the_document_is_json_of_the_right_size() {
        let document = document();
        assert!((BYTES..BYTES + 300).contains(&document.len()), "{}", document.len());
        let orders: Vec<serde_json::Value> = serde_json::from_str(&document).unwrap();
        assert!(orders.len() > 500);
    }
}
