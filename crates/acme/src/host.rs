//! Host names as they come from a handshake or a request, made safe to compare and to name files with.

use std::borrow::Cow;

/// The longest name in bytes: with a suffix it must be a file's name. DNS allows 253.
const LONGEST: usize = 240;

/// A host name in lower case without a final dot, or nothing if it is none: an address, a wildcard, an empty label.
pub(crate) fn host_name(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    let is_address = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() > LONGEST || is_address || !text.split('.').all(label) {
        return None;
    }
    Some(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn only_names_are_names() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(host_name(text).as_deref(), expected, "{text}");
        check("example.com", Some("example.com"));
        check("Example.COM.", Some("example.com"));
        check("a-b.xn--bcher-kva.example", Some("a-b.xn--bcher-kva.example"));
        check("localhost", Some("localhost"));
        check("", None);
        check(".", None);
        check("a..b", None);
        check("../etc/passwd", None);
        check("a/b.example", None);
        check("*.example.com", None);
        check("127.0.0.1", None);
        check("[::1]", None);
        check("example.com:443", None);
        check("b\u{fc}cher.example", None);
        check(&format!("{}.example", "a".repeat(64)), None);
        check(&["a"; 121].join("."), None);
    }
}
