//! Invoices for spreadsheets.

use std::borrow::Cow;

use super::Invoice;
use crate::money;

const COLUMNS: [&str; 14] = [
    "invoice",
    "month",
    "state",
    "account",
    "section",
    "item",
    "quantity",
    "unit",
    "included",
    "billed",
    "unit_price",
    "per",
    "amount",
    "currency",
];

pub(super) fn table(invoice: &Invoice) -> String {
    let mut text = String::new();
    row(&mut text, &COLUMNS);
    let period = invoice.period.to_string();
    let mut add = |cells: [&str; 9]| {
        let before = [&invoice.number, &*period, invoice.state.name(), &invoice.account_id];
        let after = [invoice.currency.as_str()];
        row(&mut text, &[&before[..], &cells, &after].concat());
    };
    for line in &invoice.lines {
        let [quantity, included, billed] = [line.quantity, line.included, line.billed].map(money::plain);
        let [price, amount] = [line.unit_price, line.amount].map(money::exact);
        let per = line.per.to_string();
        add(["line", line.what.name(), &quantity, &line.unit, &included, &billed, &price, &per, &amount]);
    }
    for share in &invoice.by_worker {
        let (requests, amount) = (share.usage.requests.to_string(), money::exact(share.amount));
        add(["worker", &share.worker, &requests, "events", "", "", "", "", &amount]);
    }
    for share in &invoice.by_day {
        let (requests, amount) = (share.usage.requests.to_string(), money::exact(share.amount));
        add(["day", &share.day.to_string(), &requests, "events", "", "", "", "", &amount]);
    }
    add(["total", "", "", "", "", "", "", "", &money::exact(invoice.total)]);
    text
}

fn row(text: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&quoted(cell));
    }
    text.push_str("\r\n");
}

/// A field. No number here is negative, so that whatever begins with a sign is a text.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{guard}{}\"", text.replace('"', "\"\"")).into();
    }
    if is_formula { format!("{guard}{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_are_quoted_and_are_no_formulas() {
        for (text, expect) in [
            ("", ""),
            ("api", "api"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("a-b", "a-b"),
            ("-b", "'-b"),
            ("+1", "'+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("=1+1", "'=1+1"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
        ] {
            assert_eq!(quoted(text), expect);
        }
    }
}
