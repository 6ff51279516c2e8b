//! Invoices as a page.

use std::fmt;

use rust_decimal::Decimal;

use super::{Invoice, InvoiceState};
use crate::money::{exact, grouped, plain, rounded, with_currency};
use crate::{LineKind, Usage};

const STYLE: &str = include_str!("page.css");
/// Nothing is loaded and nothing runs, whatever a name may say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Quantities are shown with so many decimal places; amounts come from the exact ones.
const SHOWN_DECIMALS: u32 = 3;

/// A text in a page. What is written right to left does not change the order of what is around it.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<bdi>")?;
        Escaped(self.0).fmt(formatter)?;
        formatter.write_str("</bdi>")
    }
}

/// A text without anything that HTML would read.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;"),
                '<' => formatter.write_str("&lt;"),
                '>' => formatter.write_str("&gt;"),
                '"' => formatter.write_str("&quot;"),
                '\'' => formatter.write_str("&#39;"),
                // HTML forbids them, and nobody could see them.
                character if character.is_control() => formatter.write_str("\u{fffd}"),
                character => fmt::Write::write_char(formatter, character),
            }?;
        }
        Ok(())
    }
}

pub(super) fn page(invoice: &Invoice) -> String {
    let (number, period) = (&invoice.number, invoice.period.title());
    let name = Escaped(&invoice.account_name);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>Invoice {number}, {period}, {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {}{}{}{}</main>\n</body>\n</html>\n",
        head(invoice),
        lines(invoice),
        workers(invoice),
        days(invoice),
    )
}

fn head(invoice: &Invoice) -> String {
    let state = match invoice.state {
        InvoiceState::Open => "Open: the month is not over, and amounts can still change",
        InvoiceState::Final => "Final",
    };
    let issued = invoice.issued;
    let (hour, minute) = (issued.hour(), issued.minute());
    format!(
        "<h1>Invoice</h1>\n<dl>\n<dt>Number</dt><dd>{}</dd>\n<dt>Account</dt><dd>{} <small>{}</small></dd>\n\
         <dt>Month</dt><dd>{}</dd>\n<dt>Plan</dt><dd>{}</dd>\n<dt>Issued</dt><dd>{} {hour:02}:{minute:02} UTC</dd>\n\
         <dt>State</dt><dd>{state}</dd>\n</dl>\n",
        invoice.number,
        Name(&invoice.account_name),
        Name(&invoice.account_id),
        invoice.period.title(),
        Name(&invoice.plan_title),
        issued.date(),
    )
}

fn lines(invoice: &Invoice) -> String {
    let mut rows = String::new();
    for line in &invoice.lines {
        let [quantity, included, billed] = [line.quantity, line.included, line.billed].map(shown);
        let unit = if line.per == 1 { line.unit.clone() } else { format!("{} {}", said_per(line.per), line.unit) };
        // The month is not used: it has a price, and no quantity.
        let cells = if line.what == LineKind::Base {
            "<td></td><td></td><td></td>".to_owned()
        } else {
            let unit = Escaped(&line.unit);
            format!("<td>{quantity} <small>{unit}</small></td><td>{included}</td><td>{billed}</td>")
        };
        rows += &format!(
            "<tr><th scope=\"row\">{}</th>{cells}<td>{} <small>per {}</small></td><td>{}</td></tr>\n",
            line.what.title(),
            exact(line.unit_price),
            Escaped(&unit),
            amount(line.amount),
        );
    }
    let total = with_currency(&amount(invoice.total), &invoice.currency);
    format!(
        "<table>\n<caption>What is paid</caption>\n<thead><tr><th scope=\"col\">Item</th><th scope=\"col\">Used</th>\
         <th scope=\"col\">Included</th><th scope=\"col\">Billed</th><th scope=\"col\">Price</th>\
         <th scope=\"col\">Amount ({})</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         <tfoot><tr><th scope=\"row\" colspan=\"5\">Total</th><td>{}</td></tr></tfoot>\n</table>\n",
        Escaped(&invoice.currency),
        Escaped(&total),
    )
}

fn workers(invoice: &Invoice) -> String {
    let rows = invoice.by_worker.iter().map(|share| usage_row(&Name(&share.worker), &share.usage, share.amount));
    usage_table("Workers", "Worker", rows, &invoice.currency)
}

fn days(invoice: &Invoice) -> String {
    let rows = invoice.by_day.iter().map(|share| usage_row(&share.day, &share.usage, share.amount));
    usage_table("Days (UTC)", "Day", rows, &invoice.currency)
}

fn usage_table(caption: &str, first: &str, rows: impl ExactSizeIterator<Item = String>, currency: &str) -> String {
    if rows.len() == 0 {
        return String::new();
    }
    format!(
        "<table>\n<caption>{caption}</caption>\n<thead><tr><th scope=\"col\">{first}</th><th scope=\"col\">Events</th>\
         <th scope=\"col\">CPU time</th><th scope=\"col\">Sent</th><th scope=\"col\">Amount ({})</th></tr></thead>\n\
         <tbody>\n{}</tbody>\n</table>\n",
        Escaped(currency),
        rows.collect::<String>(),
    )
}

fn usage_row(name: &dyn fmt::Display, usage: &Usage, share: Decimal) -> String {
    format!(
        "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{} <small>ms</small></td><td>{}</td><td>{}</td></tr>\n",
        grouped(&usage.requests.to_string()),
        grouped(&(usage.cpu_us / 1000).to_string()),
        bytes(usage.bytes_out),
        amount(share),
    )
}

fn amount(amount: Decimal) -> String {
    grouped(&exact(amount))
}

fn shown(quantity: Decimal) -> String {
    grouped(&plain(rounded(quantity, SHOWN_DECIMALS)))
}

fn said_per(per: u32) -> String {
    if per == 1_000_000 { "million".to_owned() } else { grouped(&per.to_string()) }
}

/// Bytes with one decimal place, in units of a thousand.
fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} <small>B</small>");
    }
    let mut number = Decimal::from(bytes);
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // What is rounded to a thousand is one of the next.
        if rounded(number, 1) < Decimal::ONE_THOUSAND {
            break;
        }
        number /= Decimal::ONE_THOUSAND;
        unit = larger;
    }
    let mut number = rounded(number, 1);
    number.rescale(1);
    format!("{number} <small>{unit}</small>")
}

#[cfg(test)]
mod tests {
    use super::{Name, bytes};

    #[test]
    fn names_are_only_text() {
        for (name, expect) in [
            ("api", "<bdi>api</bdi>"),
            ("<script>alert(1)</script>", "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"),
            ("\" onload='x", "<bdi>&quot; onload=&#39;x</bdi>"),
            ("a & b &amp;", "<bdi>a &amp; b &amp;amp;</bdi>"),
            ("a\0b", "<bdi>a\u{fffd}b</bdi>"),
            ("Bäckerei 蜂", "<bdi>Bäckerei 蜂</bdi>"),
        ] {
            assert_eq!(Name(name).to_string(), expect);
        }
    }

    #[test]
    fn bytes_are_shown_short() {
        for (number, expect) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_550_000, "1.6 MB"),
            (999_940_000, "999.9 MB"),
            (999_960_000, "1.0 GB"),
            (5_000_000_000, "5.0 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number).replace("<small>", "").replace("</small>", ""), expect);
        }
    }
}
