//! Tests of exports: which numbers, for whom, and that the same window is the same event.

use skep_meter::Usage;
use time::macros::datetime;

use super::*;

const CONFIG: &str = r#"
    [stripe]
    customers = { acme = "cus_1", bolt = "cus_2" }

    [[stripe.meters]]
    event_name = "skep_requests"
    value = "requests"
    kinds = ["fetch"]

    [[stripe.meters]]
    event_name = "skep_cpu_ms"
    value = "cpu_ms"

    [meter]
    customers = { acme = "acme" }

    [[meter.meters]]
    event_name = "wall"
    value = "wall_ms"

    [[meter.meters]]
    event_name = "out"
    value = "bytes_out"

    [[meter.meters]]
    event_name = "sub"
    value = "subrequests"
"#;

const LATER: OffsetDateTime = datetime!(2026-12-01 0:00 UTC);

fn exporter(text: &str) -> Result<UsageExporter, String> {
    let config: BTreeMap<String, ExportConfig> = toml::from_str(text).map_err(|error| error.to_string())?;
    UsageExporter::new(config).map_err(|error| error.to_string())
}

fn used() -> Totals {
    let usage = Usage {
        requests: 10,
        cpu_us: 2999,
        wall_us: 11_500,
        wall_ms: 12,
        wall_100ms: 1,
        bytes_in: 5,
        bytes_out: 700,
        subrequests: 3,
        cold_starts: 1,
    };
    let mut totals = Totals::default();
    totals.add_usage(Kind::Fetch, usage);
    totals.add_usage(Kind::Service, usage);
    totals
}

/// Each event's destination, customer, meter and value.
fn shown(items: &[Item]) -> Vec<(&str, &str, &str, u64)> {
    let event = |item: &'_ Item| match &item.message {
        Message::Usage(event) => (event.customer.clone(), event.meter.clone(), event.value),
        Message::Alert(_) => panic!("an alert"),
    };
    let leak = |text: String| &*text.leak();
    items.iter().map(|item| (event(item), &*item.destination)).map(|((c, m, v), d)| (d, leak(c), leak(m), v)).collect()
}

fn keys(items: &[Item]) -> Vec<&str> {
    items.iter().map(Item::key).collect()
}

#[test]
fn each_meter_counts_its_number_exactly() {
    let exporter = exporter(CONFIG).unwrap();
    assert_eq!(exporter.destinations().collect::<Vec<_>>(), ["meter", "stripe"]);
    let hour = Window::hour(datetime!(2026-11-26 21:51:32 UTC)).unwrap();
    let items = exporter.items("acme", hour, &used(), LATER).unwrap();
    let expected = [
        ("meter", "acme", "wall", 24),
        ("meter", "acme", "out", 1400),
        ("meter", "acme", "sub", 6),
        ("stripe", "cus_1", "skep_requests", 10),
        ("stripe", "cus_1", "skep_cpu_ms", 5),
    ];
    assert_eq!(shown(&items), expected);
    let bolt = exporter.items("bolt", hour, &used(), LATER).unwrap();
    assert_eq!(shown(&bolt), [("stripe", "cus_2", "skep_requests", 10), ("stripe", "cus_2", "skep_cpu_ms", 5)]);
    assert!(exporter.items("nobody", hour, &used(), LATER).unwrap().is_empty());
    assert!(exporter.items("acme", hour, &Totals::default(), LATER).unwrap().is_empty());
}

#[test]
fn the_same_window_is_the_same_event_and_every_other_is_another() {
    let exporter = exporter(CONFIG).unwrap();
    let hour = Window::hour(datetime!(2026-11-26 21:51:32 UTC)).unwrap();
    let items = |account, window| exporter.items(account, window, &used(), LATER).unwrap();
    let acme = items("acme", hour);
    let again = items("acme", Window::hour(datetime!(2026-11-26 22:00 +1)).unwrap());
    assert_eq!(acme, again);
    let next = items("acme", Window::hour(datetime!(2026-11-26 22:00 UTC)).unwrap());
    let day = items("acme", Window::day(datetime!(2026-11-26 22:00 UTC).date()).unwrap());
    let bolt = items("bolt", hour);
    let all: Vec<&str> = [&acme, &next, &day, &bolt].into_iter().flat_map(|items| keys(items)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert!(all.iter().all(|key| key.len() == 36), "{all:?}");
    // What was sent by one version of the program is known to all later ones.
    assert_eq!(keys(&bolt), ["6652d780-b1cd-8e5e-894f-4c0805d22af4", "e5c49bfa-9c0d-8704-920f-a60f9ea6b0b7"]);
}

#[test]
fn windows_begin_and_end_on_whole_hours_days_and_months() {
    let hour = Window::hour(datetime!(2026-11-26 23:30 -2)).unwrap();
    assert_eq!((hour.start(), hour.end()), (datetime!(2026-11-27 1:00 UTC), datetime!(2026-11-27 2:00 UTC)));
    let day = Window::day(datetime!(2026-12-31 0:00 UTC).date()).unwrap();
    assert_eq!((day.start(), day.end()), (datetime!(2026-12-31 0:00 UTC), datetime!(2027-01-01 0:00 UTC)));
    let month = |text: &str| Window::month(text.parse().unwrap()).map(|month| (month.start(), month.end())).unwrap();
    assert_eq!(month("2026-12"), (datetime!(2026-12-01 0:00 UTC), datetime!(2027-01-01 0:00 UTC)));
    assert_eq!(month("2028-02"), (datetime!(2028-02-01 0:00 UTC), datetime!(2028-03-01 0:00 UTC)));
    assert_eq!(Window::day(Date::MAX), None);
}

#[test]
fn a_window_is_exported_when_it_is_over() {
    let exporter = exporter(CONFIG).unwrap();
    let hour = Window::hour(datetime!(2026-11-26 21:00 UTC)).unwrap();
    let items = |now| exporter.items("acme", hour, &used(), now);
    assert_eq!(items(datetime!(2026-11-26 21:59:59.9 UTC)), Err(ExportError::NotOver(hour.end())));
    assert!(items(hour.end()).is_ok());
}

#[test]
fn mistakes_name_the_key_and_say_what_to_do() {
    let meter = |name: &str| format!("[[stripe.meters]]\nevent_name = \"{name}\"\nvalue = \"requests\"\n");
    let (one, customers) = (meter("a"), "[stripe]\ncustomers = {}\n");
    for (text, expected) in [
        (format!("{customers}{one}{one}"), "export.stripe.meters: \"a\" is there twice: remove one"),
        (format!("{customers}{}", meter("")), "export.stripe.meters: an event_name has not 1 to 100 bytes"),
        (format!("{customers}{one}kinds = []\n"), "export.stripe.meters: kinds of \"a\" is empty: write some"),
        (format!("[stripe]\ncustomers = {{ a = \"\" }}\n{one}"), "export.stripe.customers: the account \"a\""),
        (
            format!("[stripe]\ncustomers = {{ a = \"c\", b = \"c\" }}\n{one}"),
            "export.stripe.customers: \"a\" and \"b\" are the same customer",
        ),
        (format!("{customers}{one}unit = 1\n"), "unknown field `unit`"),
        (format!("{customers}{}", one.replace("requests", "gb_seconds")), "unknown variant `gb_seconds`"),
        (one.clone(), "missing field `customers`"),
    ] {
        let error = exporter(&text).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}
