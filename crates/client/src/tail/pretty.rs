//! An event of a tail as a person reads it: the lines that `wrangler tail --format pretty` prints.

use serde_json::Value;

use crate::times;

/// How deep values are shown.
const DEEPEST: usize = 8;

/// The lines of an event.
pub fn pretty(event: &Value) -> Vec<String> {
    shown(event, &times::american)
}

/// The same with times that `date` writes, of milliseconds since 1970.
fn shown(event: &Value, date: &dyn Fn(i64) -> String) -> Vec<String> {
    let mut lines = vec![head(event, date)];
    for log in list(event, "logs") {
        let words = log.get("message").map(words).unwrap_or_default();
        lines.push(format!("  ({}) {words}", text(log, "level")).trim_end().to_owned());
    }
    for exception in list(event, "exceptions") {
        let message = match exception.get("message") {
            Some(Value::String(message)) => message.clone(),
            Some(other) => inspect(other, 0),
            None => String::new(),
        };
        let title = format!("{}: {message}", text(exception, "name"));
        let stack = text(exception, "stack");
        let stack = stack.strip_prefix(title.as_str()).unwrap_or(&stack).trim_start_matches('\n');
        lines.push(format!("✘ [ERROR] {}", escaped(&title)));
        lines.extend(stack.lines().map(escaped));
    }
    lines
}

fn list<'v>(event: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    event.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A text, or a number as one.
fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// What the event was.
fn head(event: &Value, date: &dyn Fn(i64) -> String) -> String {
    let outcome = match event.get("outcome").and_then(Value::as_str) {
        Some("ok") => "Ok",
        Some("canceled") => "Canceled",
        Some("exceededCpu") => "Exceeded CPU Limit",
        Some("exceededMemory") => "Exceeded Memory Limit",
        Some("exception") => "Exception Thrown",
        _ => "Unknown",
    };
    let at = |value: Option<&Value>| match value {
        Some(Value::String(text)) => times::milliseconds(text).map_or_else(|| text.clone(), date),
        Some(value) => value.as_f64().map_or_else(|| "Invalid Date".to_owned(), |time| date(time as i64)),
        None => "Invalid Date".to_owned(),
    };
    let time = at(event.get("eventTimestamp"));
    let line = match event.get("event").filter(|event| event.is_object()) {
        Some(cron) if cron.get("cron").is_some() => {
            format!("\"{}\" @ {} - {outcome}", text(cron, "cron"), at(cron.get("scheduledTime")))
        }
        Some(fetch) if fetch.get("request").is_some() => {
            let request = &fetch["request"];
            match request.get("url").and_then(Value::as_str).filter(|url| !url.is_empty()) {
                Some(url) => format!("{} {url} - {outcome} @ {time}", text(request, "method").to_uppercase()),
                None => format!("[missing request] - {outcome} @ {time}"),
            }
        }
        Some(email) if email.get("mailFrom").is_some() => format!(
            "Email from:{} to:{} size:{} @ {time} - {outcome}",
            text(email, "mailFrom"),
            text(email, "rcptTo"),
            text(email, "rawSize")
        ),
        Some(queue) if queue.get("queue").is_some() => {
            let size = queue.get("batchSize").and_then(Value::as_u64).unwrap_or_default();
            let plural = if size == 1 { "" } else { "s" };
            format!("Queue {} ({size} message{plural}) - {outcome} @ {time}", text(queue, "queue"))
        }
        Some(alarm) if alarm.get("scheduledTime").is_some() => {
            format!("Alarm @ {} - {outcome}", at(alarm.get("scheduledTime")))
        }
        Some(tail) if tail.get("consumedEvents").is_some() => {
            let mut names: Vec<String> = Vec::new();
            for name in list(tail, "consumedEvents").map(|consumed| text(consumed, "scriptName")) {
                if !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
            format!("Tailing {} - {outcome} @ {time}", names.join(","))
        }
        Some(notice) if notice.get("type").is_some() && notice.get("message").is_some() => text(notice, "message"),
        Some(call) if call.get("rpcMethod").is_some() => {
            let entrypoint = event.get("entrypoint").and_then(Value::as_str).unwrap_or("null");
            format!("{entrypoint}.{} - {outcome} @ {time}", text(call, "rpcMethod"))
        }
        _ => format!("Unknown Event - {outcome} @ {time}"),
    };
    escaped(&line)
}

/// What a console line says: its values with blanks between.
fn words(message: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => escaped(text),
        other => inspect(other, 0),
    };
    match message {
        Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(" "),
        value => word(value),
    }
}

/// A value as a console of Node.js shows it, on one line.
fn inspect(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{}\"", escaped(text)),
        Value::String(text) => format!("'{}'", escaped(text).replace('\'', "\\'")),
        Value::Array(values) if values.is_empty() => "[]".to_owned(),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Array(_) if depth >= DEEPEST => "[Array]".to_owned(),
        Value::Object(_) if depth >= DEEPEST => "[Object]".to_owned(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| inspect(value, depth + 1)).collect();
            format!("[ {} ]", values.join(", "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let is_name = !key.starts_with(|char: char| char.is_ascii_digit())
                    && key.chars().all(|char| char.is_alphanumeric() || char == '_' || char == '$');
                let key = if is_name { key.clone() } else { format!("'{}'", escaped(key)) };
                format!("{key}: {}", inspect(value, depth + 1))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text without what would control the terminal: whoever sends requests decides what is in a log.
fn escaped(text: &str) -> String {
    let is_control = |char: char| char.is_control() && char != '\t' && char != '\n';
    if !text.contains(is_control) {
        return text.to_owned();
    }
    let escape = |char: char| {
        if is_control(char) { format!("\\u{:04x}", u32::from(char)) } else { char.to_string() }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(event: Value, expect: &[&str]) {
        // As in the time zone of UTC.
        let date = |time: i64| format!("<{time}>");
        assert_eq!(shown(&event, &date), expect, "{event}");
    }

    #[test]
    fn requests() {
        let fetch = json!({ "request": { "url": "http://hello.dev.localhost:8787/a?b", "method": "get" }, "response": { "status": 200 } });
        check(
            json!({ "outcome": "ok", "eventTimestamp": 5, "logs": [
                { "level": "log", "message": ["hi", { "a": 1, "b-c": ["x", null, true] }, 1.5], "timestamp": 1 },
                { "level": "warn", "message": [], "timestamp": 1 },
                { "level": "error", "message": ["it's", { "no": {}, "none": [], "say": "it's" }], "timestamp": 1 },
            ], "exceptions": [], "event": fetch }),
            &[
                "GET http://hello.dev.localhost:8787/a?b - Ok @ <5>",
                "  (log) hi { a: 1, 'b-c': [ 'x', null, true ] } 1.5",
                "  (warn)",
                "  (error) it's { no: {}, none: [], say: \"it's\" }",
            ],
        );
        check(
            json!({ "outcome": "exception", "eventTimestamp": 5, "logs": [], "event": fetch, "exceptions": [
                { "name": "Error", "message": "boom", "stack": "Error: boom\n    at fetch (index.js:1:2)\n    at b", "timestamp": 1 },
                { "name": "TypeError", "message": "no", "timestamp": 1 },
            ] }),
            &[
                "GET http://hello.dev.localhost:8787/a?b - Exception Thrown @ <5>",
                "✘ [ERROR] Error: boom",
                "    at fetch (index.js:1:2)",
                "    at b",
                "✘ [ERROR] TypeError: no",
            ],
        );
        check(
            json!({ "outcome": "canceled", "eventTimestamp": 5, "event": { "request": {} } }),
            &["[missing request] - Canceled @ <5>"],
        );
    }

    #[test]
    fn all_other_events() {
        let event = |event: Value, outcome: &str, expect: &str| {
            check(
                json!({ "outcome": outcome, "eventTimestamp": 5, "entrypoint": "Admin", "logs": [], "exceptions": [], "event": event }),
                &[expect],
            );
        };
        event(json!({ "cron": "*/5 * * * *", "scheduledTime": 7 }), "ok", "\"*/5 * * * *\" @ <7> - Ok");
        event(json!({ "scheduledTime": "1970-01-01T00:00:00.009Z" }), "ok", "Alarm @ <9> - Ok");
        event(json!({ "queue": "q", "batchSize": 1 }), "exceededCpu", "Queue q (1 message) - Exceeded CPU Limit @ <5>");
        event(
            json!({ "queue": "q", "batchSize": 2 }),
            "exceededMemory",
            "Queue q (2 messages) - Exceeded Memory Limit @ <5>",
        );
        event(json!({ "rpcMethod": "add" }), "ok", "Admin.add - Ok @ <5>");
        event(json!({ "mailFrom": "a", "rcptTo": "b", "rawSize": 3 }), "ok", "Email from:a to:b size:3 @ <5> - Ok");
        event(
            json!({ "consumedEvents": [{ "scriptName": "a" }, { "scriptName": "b" }, { "scriptName": "a" }, { "scriptName": null }] }),
            "ok",
            "Tailing a,b - Ok @ <5>",
        );
        event(json!({ "type": "overload", "message": "sampling" }), "ok", "sampling");
        event(Value::Null, "new one", "Unknown Event - Unknown @ <5>");
    }

    #[test]
    fn nothing_controls_the_terminal() {
        check(
            json!({ "outcome": "ok", "eventTimestamp": 5, "logs": [{ "level": "log", "message": ["\u{1b}[2Jx\ty\nz\u{9b}"] }],
                "event": { "request": { "method": "GET", "url": "http://x/\u{1b}]0;pwned\u{7}" } } }),
            &["GET http://x/\\u001b]0;pwned\\u0007 - Ok @ <5>", "  (log) \\u001b[2Jx\ty\nz\\u009b"],
        );
    }
}
