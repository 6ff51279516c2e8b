//! Route patterns: any lines are read as patterns, and any address is looked for among them. What the table finds is what a
//! pattern alone finds, and a pattern that is written down is read as the same one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_worker::{RoutePattern, RouteTable};

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let address = lines.next().unwrap_or_default();
    let (host, path) = address.find('/').map_or((address, "/"), |slash| address.split_at(slash));
    let host = host.to_ascii_lowercase();
    let patterns: Vec<RoutePattern> = lines.filter_map(|line| RoutePattern::parse(line).ok()).collect();
    for pattern in &patterns {
        let written = pattern.to_string();
        assert_eq!(RoutePattern::parse(&written).as_ref(), Ok(pattern), "{written}");
    }
    let table = RouteTable::new(patterns.iter().cloned().enumerate().map(|(index, pattern)| (pattern, index)));
    for secure in [false, true] {
        let finds =
            |pattern: &RoutePattern| RouteTable::new([(pattern.clone(), ())]).find(secure, &host, path).is_some();
        match table.find(secure, &host, path) {
            Some(index) => assert!(finds(&patterns[*index]), "{} is not at {host}{path}", patterns[*index]),
            None => assert!(!patterns.iter().any(finds), "nothing is found at {host}{path}"),
        }
    }
});
