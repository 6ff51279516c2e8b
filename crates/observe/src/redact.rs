//! What is left out of what people see who watch a Worker: values that are likely to be secrets.
//! <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#redaction>

use std::borrow::Cow;

/// What stands in its place.
const REDACTED: &str = "REDACTED";
/// Words in the names of headers whose values are secrets.
const SECRET_WORDS: [&str; 6] = ["cookie", "auth", "key", "secret", "token", "jwt"];
/// From so many hexadecimal digits on, a piece of a URL may be a secret.
const HEX: usize = 32;
/// From so many characters of base64 on, a piece of a URL may be one, if it has two of each kind.
const BASE64: usize = 21;

/// A header's value, or what stands in its place. `name` is in lower case.
pub(crate) fn header<'v>(name: &str, value: &'v str) -> &'v str {
    // Quicker than to search for each: names are short.
    let begins = |at: usize| SECRET_WORDS.iter().any(|word| name.as_bytes()[at..].starts_with(word.as_bytes()));
    if (0..name.len()).any(begins) { REDACTED } else { value }
}

/// A URL as people see it: without the pieces that look like identifiers that nobody can guess.
pub fn url(url: &str) -> Cow<'_, str> {
    let is_piece = |character: char| character.is_ascii_alphanumeric() || "+-_".contains(character);
    let Some(authority) = url.find("://").map(|scheme| scheme + 3) else { return url.into() };
    let start = url[authority..].find('/').map_or(url.len(), |path| authority + path);
    if !url[start..].split(|character| !is_piece(character)).any(is_secret) {
        return url.into();
    }
    let mut shown = url[..start].to_owned();
    let mut rest = &url[start..];
    while !rest.is_empty() {
        let end = rest.find(|character| !is_piece(character)).unwrap_or(rest.len());
        shown.push_str(if is_secret(&rest[..end]) { REDACTED } else { &rest[..end] });
        let next = rest[end..].find(is_piece).map_or(rest.len(), |next| end + next);
        shown.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    shown.into()
}

fn is_secret(piece: &str) -> bool {
    let count = |is: fn(&u8) -> bool| piece.bytes().filter(is).count();
    let hex = count(u8::is_ascii_hexdigit);
    let others = count(|byte| !byte.is_ascii_hexdigit() && *byte != b'-' && *byte != b'_');
    (hex >= HEX && others == 0)
        || (piece.len() >= BASE64
            && count(u8::is_ascii_uppercase) >= 2
            && count(u8::is_ascii_lowercase) >= 2
            && count(u8::is_ascii_digit) >= 2)
}

#[cfg(test)]
mod tests {
    use super::{header, url};

    #[test]
    fn secrets_are_left_out() {
        assert_eq!(header("authorization", "Bearer x"), "REDACTED");
        assert_eq!(header("set-cookie", "a=b"), "REDACTED");
        assert_eq!(header("x-api-key", "1"), "REDACTED");
        assert_eq!(header("accept", "*/*"), "*/*");
        let check = |from: &str, to: &str| assert_eq!(url(from), to);
        check("https://a.example/users/42?page=2", "https://a.example/users/42?page=2");
        check("https://a.example/s/0123456789abcdef0123456789ABCDEF/x", "https://a.example/s/REDACTED/x");
        check("https://a.example/s/123e4567-e89b-12d3-a456-426614174000", "https://a.example/s/REDACTED");
        check("https://a.example/?t=aB3dE5fG7hI9jK1lM3nO5&u=1", "https://a.example/?t=REDACTED&u=1");
        check(
            "https://a.example/this-is-only-a-long-word-in-a-path",
            "https://a.example/this-is-only-a-long-word-in-a-path",
        );
        check("https://0123456789abcdef0123456789abcdef.example", "https://0123456789abcdef0123456789abcdef.example");
    }
}
