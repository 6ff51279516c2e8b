//! The header `tracestate`: what other tracing systems know of a trace. It is checked, bounded and passed on.
//!
//! <https://www.w3.org/TR/trace-context/#tracestate-header>

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most members of a list. One that has more is no list.
const MEMBERS: usize = 32;
/// The most that is passed on, in bytes. <https://www.w3.org/TR/trace-context/#tracestate-limits>
const LONGEST: usize = 512;
/// Members that are longer go first when a list is too long, in bytes.
const LONG_MEMBER: usize = 128;
/// The longest name and the longest value, in bytes.
const LONGEST_PART: usize = 256;
/// The longest parts of a name with an "@" in it, in bytes.
const LONGEST_TENANT: (usize, usize) = (241, 14);

/// What other tracing systems know of a trace: members, the latest first. It may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceState(String);

/// Why a text is no `tracestate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceStateError {
    /// There are too many members.
    #[error("a tracestate has {MEMBERS} members at most")]
    Members,
    /// A member is not as it should be.
    #[error(
        "a member of a tracestate is a name of lower-case letters, digits, _-*/ and one @, then = and a value of visible ASCII"
    )]
    Member,
    /// Two members have the same name.
    #[error("each name is in a tracestate only once")]
    Twice,
}

impl TraceState {
    /// The members in all values of the header, in their order. What is longer than 512 bytes is made shorter: members of more than 128 bytes go
    /// first, then the last ones.
    ///
    /// # Errors
    /// When it makes no sense: all of it is left out then.
    pub fn from_headers<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Result<Self, TraceStateError> {
        let mut members: Vec<(String, String)> = Vec::new();
        for value in values {
            for member in value.as_ref().split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty()) {
                let (name, value) = member_of(member).ok_or(TraceStateError::Member)?;
                if members.iter().any(|(found, _)| *found == name) {
                    return Err(TraceStateError::Twice);
                }
                if members.len() == MEMBERS {
                    return Err(TraceStateError::Members);
                }
                members.push((name, value));
            }
        }
        Ok(Self(shortened(members.into_iter().map(|(name, value)| format!("{name}={value}")).collect())))
    }

    /// The header's value. Empty: the header is left out.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Without the white space around it that HTTP allows (OWS, RFC 9110, section 5.6.3).
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// As many members as there is room for.
fn shortened(mut members: Vec<String>) -> String {
    // Each has a comma, but for the last one.
    let length = |members: &[String]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    while length(&members) > LONGEST {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    members.join(",")
}

/// The name and the value of a member. <https://www.w3.org/TR/trace-context/#list>
fn member_of(member: &[u8]) -> Option<(String, String)> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&member[..at], &member[at + 1..]);
    let visible = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let good = is_name(name) && (1..=LONGEST_PART).contains(&value.len()) && value.iter().all(visible);
    good.then_some((text(name)?, text(value)?))
}

/// Whether this is a name: of a system, or of a tenant "@" a system.
fn is_name(name: &[u8]) -> bool {
    let follows = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_part = |part: &[u8], longest: usize, digit_first: bool| {
        let first = part.first();
        let begins = first.is_some_and(|byte| byte.is_ascii_lowercase() || digit_first && byte.is_ascii_digit());
        begins && part.len() <= longest && part.iter().all(follows)
    };
    match name.iter().position(|byte| *byte == b'@') {
        None => is_part(name, LONGEST_PART, false),
        Some(at) => is_part(&name[..at], LONGEST_TENANT.0, true) && is_part(&name[at + 1..], LONGEST_TENANT.1, false),
    }
}
