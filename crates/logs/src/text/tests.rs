//! What is found in an event, and what is not.

use serde_json::json;
use skep_worker::{Event, Outcome};

use super::Text;
use crate::block::Record;

fn is_in(text: &str, what: &str, event: &str) -> bool {
    let record = Record {
        sequence: 1,
        at: 0,
        kind: Event::Fetch,
        outcome: Outcome::Ok,
        level: None,
        status: None,
        cpu_us: 0,
        wall_us: 0,
        cold: false,
        interval: 1,
        version: "v",
        ray: "",
        method: None,
        what: Some(what),
        event,
    };
    let raw = postcard::to_stdvec(&record).unwrap();
    let found = Text::new(text).is_in(&record, &mut Vec::new());
    // What is found in an entry must be found by the look at its block.
    assert!(!found || Text::new(text).may_be_in(&raw, &mut Vec::new()), "{text}");
    found
}

#[test]
fn texts_are_found_as_people_read_them() {
    let event = json!({
        "event": { "request": { "headers": { "accept": "everything" } } },
        "logs": [
            { "message": ["Order", 17, "of \"Ann\"\n\u{0}", { "total": 3 }], "level": "log" },
            { "message": ["ÄRGER \u{212a}elvin \\ C:/x"], "level": "error" },
            { "message": "a text", "level": "log" },
        ],
        "exceptions": [{ "name": "TypeError", "message": "no <b>such</b> thing", "stack": "TypeError: no\n    at shop.js:3:5", "timestamp": 1 }],
    });
    let event = event.to_string();
    let url = "https://shop.example/Cart?q=1";
    let found = [
        "order 17 of \"ann\"",
        "{\"total\":3}",
        "ärger",
        "Ärger \u{212a}ELVIN",
        "\\ c:/X",
        "A TEXT",
        "typeerror: NO <B>",
        "shop.js:3",
        "/cart?Q=",
        "\n\u{0}",
        "17",
    ];
    for text in found {
        assert!(is_in(text, url, &event), "{text:?}");
    }
    for text in ["accept", "everything", "headers", "message", "kelvin", "order  17", "arger", "\\u0000", "exceptions"]
    {
        assert!(!is_in(text, url, &event), "{text:?}");
    }
}

#[test]
fn what_is_no_event_is_looked_at_as_it_is() {
    assert!(is_in("Half", "", "{\"logs\": half"));
    assert!(is_in("\\ud800", "", r#"{"logs":[{"message":["\ud800"]}]}"#));
    assert!(is_in("abc", "", r#"{"logs":[{"message":["\u0061bc"]}]}"#));
    assert!(!is_in("abc", "", r#"{"logs":[{"message":[null]}],"exceptions":[{}]}"#));
}
